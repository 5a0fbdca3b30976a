//! One HTTP connection: hyper's state machine, a watch over its patience, and an end that loses no answer.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_io::AsyncRead;
use glommio::net::TcpStream;
use glommio::timer::Timer;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{StatusCode, http};
use rollcall_core::limits::{HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX};

use super::body::{Body, Interrupted};
use super::places::{Place, Stop};
use super::wire::{Phase, Progress, Wire, shut_down};
use super::{Admitted, HttpLimits, Request, Response, Service};

/// Both ends of a connection, the peer's first.
type Ends = (SocketAddr, SocketAddr);

/// Serves one accepted connection until it ends.
pub(super) async fn serve<S: Service>(
    stream: TcpStream,
    (place, progress): (Place, Rc<Progress>),
    ends: Ends,
    service: Rc<S>,
) {
    let peer = ends.0;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, %peer, "no TCP_NODELAY");
    }
    let wire = Wire {
        stream: Rc::new(stream.into()),
        progress,
    };
    let end = converse(&wire, &place, ends, &*service).await;
    match end {
        End::Over => {
            wire.progress.enter(Phase::Over);
            linger(&wire, &place).await;
        }
        End::Cut(reason) => tracing::debug!(%peer, reason, "HTTP connection cut"),
    }
    shut_down(&wire.stream.borrow(), Shutdown::Both);
}

/// How a conversation ended.
enum End {
    /// hyper has said all it had to say, be it an answer or that the request was bad.
    Over,
    /// Our patience ended.
    Cut(&'static str),
}

async fn converse<S: Service>(wire: &Wire, place: &Place, ends: Ends, service: &S) -> End {
    let places = place.places();
    let limits = &places.limits;
    let respond = service_fn(|request| respond(request, ends, &wire.progress, place, service));
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(limits.head_bytes.max(HTTP_HEAD_BYTES_MAX))
        .max_header_size(limits.head_bytes)
        .max_headers(HTTP_HEADERS_MAX)
        .serve_connection(wire.clone(), respond);
    let mut connection = pin!(connection);
    let mut watch = Watch::over(limits);
    let mut told_to_stop = false;
    poll_fn(|context| {
        place.remember(context.waker());
        if places.is_stopping() && !told_to_stop {
            told_to_stop = true;
            connection.as_mut().graceful_shutdown();
        }
        if connection.as_mut().poll(context).is_ready() {
            return Poll::Ready(End::Over);
        }
        if place.is_leaving() {
            return Poll::Ready(End::Cut("made room for another"));
        }
        match places.stopping() {
            Stop::AtOnce => return Poll::Ready(End::Cut("stopping")),
            Stop::Orderly if wire.progress.phase() == Phase::Opened => {
                return Poll::Ready(End::Cut("stopping"));
            }
            _ => (),
        }
        watch.poll(context, &wire.progress).map(End::Cut)
    })
    .await
}

/// Looks at a connection's progress now and then.
struct Watch<'a> {
    limits: &'a HttpLimits,
    tick: Duration,
    timer: Timer,
}

impl<'a> Watch<'a> {
    fn over(limits: &'a HttpLimits) -> Self {
        let shortest = limits.receive.min(limits.idle).min(limits.write_stall);
        let tick = (shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(1));
        let timer = Timer::new(tick);
        Self {
            limits,
            tick,
            timer,
        }
    }

    /// Ready with the reason when the peer has used up our patience.
    fn poll(&mut self, context: &mut Context<'_>, progress: &Progress) -> Poll<&'static str> {
        while Pin::new(&mut self.timer).poll(context).is_ready() {
            if let Some(reason) = self.overdue(progress) {
                return Poll::Ready(reason);
            }
            self.timer = Timer::new(self.tick);
        }
        Poll::Pending
    }

    fn overdue(&self, progress: &Progress) -> Option<&'static str> {
        let now = Instant::now();
        let has_lasted = |since: Instant, limit: Duration| now.duration_since(since) >= limit;
        if progress.waited(now) >= self.limits.write_stall {
            return Some("takes an answer too slowly");
        }
        let since = progress.since();
        match progress.phase() {
            Phase::Opened => has_lasted(since, self.limits.receive).then_some("sent nothing"),
            Phase::Head => has_lasted(since, self.limits.receive).then_some("slow head"),
            Phase::Body => has_lasted(since, self.limits.receive).then_some("slow body"),
            Phase::Idle => has_lasted(since, self.limits.idle).then_some("idle"),
            Phase::Answering(_) | Phase::Over => None,
        }
    }
}

async fn respond<S: Service>(
    request: hyper::Request<Incoming>,
    ends: Ends,
    progress: &Rc<Progress>,
    place: &Place,
    service: &S,
) -> Result<hyper::Response<Sent>, Infallible> {
    progress.enter(Phase::Body);
    let mut response = answer(request, ends, place, service).await;
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response.map(|body| Sent {
        body,
        progress: Rc::clone(progress),
    }))
}

/// Decides on the head alone first, so that whoever is refused sends no body and holds no memory.
async fn answer<S: Service>(
    request: hyper::Request<Incoming>,
    (peer, local): Ends,
    place: &Place,
    service: &S,
) -> Response {
    let (head, body) = request.into_parts();
    let Admitted { known, urgency } = match service.admit(&head, peer) {
        Ok(admitted) => admitted,
        Err(mut refusal) => {
            if !body.is_end_stream() {
                close_after(&mut refusal);
            }
            return *refusal;
        }
    };
    let body = match receive(body, place.places().limits.body_bytes).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    if !place.begin_answer(urgency) {
        let text = "{\"success\":false,\"message\":\"too many HTTP requests at a time, retry\"}";
        return refusal(StatusCode::SERVICE_UNAVAILABLE, text.into());
    }
    let request = Request {
        head,
        body,
        peer,
        local,
    };
    service.answer(known, request).await
}

/// The body of an answer on its way; the connection waits for its next request when it is gone.
struct Sent {
    body: Body,
    progress: Rc<Progress>,
}

impl hyper::body::Body for Sent {
    type Data = Bytes;
    type Error = Interrupted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Interrupted>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.progress.enter(Phase::Idle);
    }
}

/// The whole body, or the answer that says why not.
async fn receive(body: Incoming, limit: usize) -> Result<Bytes, Response> {
    let too_long = || {
        let text =
            format!("{{\"success\":false,\"message\":\"the body is longer than {limit} bytes\"}}");
        refusal(StatusCode::PAYLOAD_TOO_LARGE, text)
    };
    if body.size_hint().lower() > limit as u64 {
        return Err(too_long());
    }
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_long()),
        Err(_) => Err(refusal(
            StatusCode::BAD_REQUEST,
            "{\"success\":false,\"message\":\"the body is incomplete\"}".into(),
        )),
    }
}

fn refusal(status: StatusCode, text: String) -> Response {
    let mut response = http::Response::new(Body::whole(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    close_after(&mut response);
    response
}

/// What the peer still sends cannot be told from a next request.
fn close_after(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
}

const LINGER: Duration = Duration::from_millis(500);
const LINGER_READS: usize = 64;

/// Reads a little of what the peer still sends after our last byte: closing over unread bytes would be a reset, and a reset
/// takes an answer away that the peer has not read yet. A server that stops does not wait for peers to hang up.
async fn linger(wire: &Wire, place: &Place) {
    shut_down(&wire.stream.borrow(), Shutdown::Write);
    let mut timer = Timer::new(LINGER);
    let mut scratch = [0; 4 << 10];
    for _ in 0..LINGER_READS {
        let read = poll_fn(|context| {
            place.remember(context.waker());
            let is_over = place.places().is_stopping() || place.is_leaving();
            if is_over || Pin::new(&mut timer).poll(context).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            Pin::new(&mut *wire.stream.borrow_mut()).poll_read(context, &mut scratch)
        });
        if !matches!(read.await, Ok(1..)) {
            return;
        }
    }
}
