//! The body of an answer: whole, or produced while it is sent.
//!
//! A producer is polled by the connection that sends it, so it needs no task of its own, and it goes on only when its last
//! piece was taken: an answer over a million rows holds one piece in memory, and a slow reader slows only its own producer.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

/// The body of an answer.
pub struct Body(Kind);

enum Kind {
    Whole(Option<Bytes>),
    Produced { slot: Slot, producer: Producer },
}

/// The piece that waits to be sent.
type Slot = Rc<RefCell<Option<Bytes>>>;
/// `None` when it has ended.
type Producer = Option<Pin<Box<dyn Future<Output = Result<(), Interrupted>>>>>;

/// Why a produced body ended early. The connection is cut, so that the peer cannot take the part for the whole.
#[derive(Debug, PartialEq, Eq)]
pub struct Interrupted(pub String);

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Interrupted {}

/// Where a producer puts its pieces.
#[derive(Debug)]
pub struct Sink(Slot);

impl Sink {
    /// Hands over a piece and waits until the one before it was taken.
    pub async fn send(&mut self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        // No waker is kept: the body that takes a piece polls its producer right after.
        poll_fn(|_| match self.0.borrow().is_none() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
        *self.0.borrow_mut() = Some(piece);
    }
}

impl Body {
    /// A body that is there already.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self(Kind::Whole(Some(bytes.into())))
    }

    /// No body.
    pub fn empty() -> Self {
        Self::whole(Bytes::new())
    }

    /// A body that `produce` makes while it is sent. Waits for the first piece: what fails before is an error here, not a cut
    /// connection, and what is over with the first piece has a content length.
    pub async fn produced<P>(produce: impl FnOnce(Sink) -> P) -> Result<Self, Interrupted>
    where
        P: Future<Output = Result<(), Interrupted>> + 'static,
    {
        let slot = Slot::default();
        let mut producer: Producer = Some(Box::pin(produce(Sink(Rc::clone(&slot)))));
        poll_fn(|context| poll_producer(&mut producer, &slot, context)).await?;
        if producer.is_some() {
            return Ok(Self(Kind::Produced { slot, producer }));
        }
        let only = slot.take().unwrap_or_default();
        Ok(Self::whole(only))
    }
}

/// Ready when there is a piece to send, or when there will be none.
fn poll_producer(
    producer: &mut Producer,
    slot: &Slot,
    context: &mut Context<'_>,
) -> Poll<Result<(), Interrupted>> {
    if let Some(running) = producer
        && let Poll::Ready(end) = running.as_mut().poll(context)
    {
        *producer = None;
        end?;
    }
    match producer.is_none() || slot.borrow().is_some() {
        true => Poll::Ready(Ok(())),
        false => Poll::Pending,
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Interrupted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Interrupted>>> {
        match &mut self.0 {
            Kind::Whole(bytes) => Poll::Ready(
                bytes
                    .take()
                    .filter(|bytes| !bytes.is_empty())
                    .map(Frame::data)
                    .map(Ok),
            ),
            Kind::Produced { slot, producer } => match poll_producer(producer, slot, context) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Err(error)) => Poll::Ready(Some(Err(error))),
                Poll::Ready(Ok(())) => Poll::Ready(slot.take().map(Frame::data).map(Ok)),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Kind::Produced { slot, producer } => producer.is_none() && slot.borrow().is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Kind::Produced { .. } => SizeHint::default(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Whole(bytes) => f.debug_tuple("Whole").field(bytes).finish(),
            Kind::Produced { .. } => f.write_str("Produced"),
        }
    }
}

impl From<Infallible> for Interrupted {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}
