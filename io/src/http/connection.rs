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
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{StatusCode, http};
use rollcall_core::limits;

use super::body::Body;
use super::wire::{Phase, Progress, Wire, shut_down};
use super::{HttpLimits, Place, Request, Response, Stop};

/// Serves one accepted connection until it ends.
pub(super) async fn serve<A>(stream: TcpStream, place: Place, answer: Rc<A>)
where
    A: AsyncFn(Request) -> Response + 'static,
{
    // Both fail only for a peer that has gone again.
    let (Ok(peer), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else {
        return;
    };
    let ends = (canonical(peer), canonical(local));
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, %peer, "no TCP_NODELAY");
    }
    let wire = Wire {
        stream: Rc::new(stream.into()),
        progress: Rc::new(Progress::new()),
    };
    let end = converse(&wire, &place, ends, answer).await;
    match end {
        End::Over => linger(&wire, &place).await,
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

async fn converse<A>(
    wire: &Wire,
    place: &Place,
    ends: (SocketAddr, SocketAddr),
    answer: Rc<A>,
) -> End
where
    A: AsyncFn(Request) -> Response + 'static,
{
    let shared = &place.shared;
    let service =
        service_fn(|request| respond(request, ends, &wire.progress, &shared.limits, &*answer));
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(shared.limits.head_bytes.max(limits::HTTP_HEAD_BYTES_MAX))
        .max_header_size(shared.limits.head_bytes)
        .max_headers(limits::HTTP_HEADERS_MAX)
        .serve_connection(wire.clone(), service);
    let mut connection = pin!(connection);
    let mut watch = Watch::over(&shared.limits);
    let mut told_to_stop = false;
    poll_fn(|context| {
        place.remember(context.waker());
        if shared.is_stopping() && !told_to_stop {
            told_to_stop = true;
            connection.as_mut().graceful_shutdown();
        }
        if connection.as_mut().poll(context).is_ready() {
            return Poll::Ready(End::Over);
        }
        match shared.stop.get() {
            Stop::AtOnce => return Poll::Ready(End::Cut("stopping")),
            Stop::Orderly if wire.progress.phase.get() == Phase::Opened => {
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
        if let Some(since) = progress.stalled.get() {
            return has_lasted(since, self.limits.write_stall).then_some("takes no answer");
        }
        let since = progress.since.get();
        match progress.phase.get() {
            Phase::Opened => has_lasted(since, self.limits.receive).then_some("sent nothing"),
            Phase::Head => has_lasted(since, self.limits.receive).then_some("slow head"),
            Phase::Body => has_lasted(since, self.limits.receive).then_some("slow body"),
            Phase::Idle => has_lasted(since, self.limits.idle).then_some("idle"),
            Phase::Answering => None,
        }
    }
}

async fn respond<A>(
    request: hyper::Request<Incoming>,
    (peer, local): (SocketAddr, SocketAddr),
    progress: &Progress,
    limits: &HttpLimits,
    answer: &A,
) -> Result<Response, Infallible>
where
    A: AsyncFn(Request) -> Response,
{
    let (head, body) = request.into_parts();
    progress.enter(Phase::Body);
    let response = match receive(body, limits.body_bytes).await {
        Ok(body) => {
            progress.enter(Phase::Answering);
            answer(Request {
                head,
                body,
                peer,
                local,
            })
            .await
        }
        Err(refusal) => refusal,
    };
    progress.enter(Phase::Idle);
    Ok(response)
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
    // What the peer still sends cannot be told from a next request.
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
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
            let is_over = place.shared.is_stopping();
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

/// An IPv4 address of an IPv6 socket as the IPv4 address that it is.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
