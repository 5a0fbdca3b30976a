//! A glommio stream as hyper wants to read and write it, noting when bytes moved.
//!
//! hyper's own timers must be `Send`; the notes kept here let the connection's task see a slow peer without them.

use std::cell::{Cell, RefCell};
use std::io;
use std::mem::ManuallyDrop;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, FromRawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_io::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;
use hyper::rt::{Read, ReadBufCursor, Write};
use rollcall_core::limits;

use super::Urgency;

/// Bytes taken from a socket at once.
const READ_BYTES: usize = 8 << 10;

/// Where a connection stands, as far as its patience goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No byte has come.
    Opened,
    /// Between requests.
    Idle,
    /// A head was begun.
    Head,
    /// The head is there, the body is not.
    Body,
    /// Our turn: the answer is being made and sent.
    Answering(Urgency),
    /// All was said; the peer may hang up.
    Over,
}

/// What the watcher of a connection needs to know about it.
pub(super) struct Progress {
    phase: Cell<Phase>,
    since: Cell<Instant>,
    /// Since when a write waits for the peer.
    stalled: Cell<Option<Instant>>,
    /// How long writes have waited before that for the bytes in `taken`.
    waited: Cell<Duration>,
    /// Bytes that the peer took since it last made good progress.
    taken: Cell<usize>,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            phase: Cell::new(Phase::Opened),
            since: Cell::new(Instant::now()),
            stalled: Cell::new(None),
            waited: Cell::default(),
            taken: Cell::default(),
        }
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(Instant::now());
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// When the phase began, or a byte of an answer was last taken.
    pub(super) fn since(&self) -> Instant {
        self.since.get()
    }

    /// Since when a write waits for the peer, if one does.
    pub(super) fn stalled_since(&self) -> Option<Instant> {
        self.stalled.get()
    }

    /// How long the peer has made us wait since it last made good progress.
    pub(super) fn waited(&self, now: Instant) -> Duration {
        let waiting = self.stalled.get().map(|since| now.duration_since(since));
        self.waited.get() + waiting.unwrap_or_default()
    }

    fn wait(&self) {
        if self.stalled.get().is_none() {
            self.stalled.set(Some(Instant::now()));
        }
    }

    /// A peer that takes a byte now and then makes no good progress: what it made us wait is forgiven for many bytes only.
    fn take(&self, bytes: usize) {
        let now = Instant::now();
        self.waited.set(self.waited(now));
        self.taken.set(self.taken.get() + bytes);
        if self.taken.get() >= limits::HTTP_PROGRESS_BYTES_MIN {
            self.waited.set(Duration::ZERO);
            self.taken.set(0);
        }
        self.stalled.set(None);
        // An answer on its way keeps its connection from being idle.
        self.since.set(now);
    }
}

/// The stream, shared with the connection's task, which ends it.
#[derive(Clone)]
pub(super) struct Wire {
    pub(super) stream: Rc<RefCell<TcpStream>>,
    pub(super) progress: Rc<Progress>,
}

impl Read for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // On the stack, so that an idle connection holds no buffer of ours.
        let mut scratch = [0; READ_BYTES];
        let room = into.remaining().min(READ_BYTES);
        let mut stream = self.stream.borrow_mut();
        let read = ready!(Pin::new(&mut *stream).poll_read(context, &mut scratch[..room]))?;
        into.put_slice(&scratch[..read]);
        if read > 0 && matches!(self.progress.phase(), Phase::Opened | Phase::Idle) {
            self.progress.enter(Phase::Head);
        }
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut stream = self.stream.borrow_mut();
        let written = Pin::new(&mut *stream).poll_write(context, bytes);
        match &written {
            Poll::Pending => self.progress.wait(),
            Poll::Ready(Ok(bytes)) => self.progress.take(*bytes),
            Poll::Ready(Err(_)) => self.progress.take(0),
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        shut_down(&self.stream.borrow(), Shutdown::Write);
        Poll::Ready(Ok(()))
    }
}

/// Ends one or both directions. Before a drop it makes the FIN leave at once; a peer that is gone already is no error.
pub(super) fn shut_down(stream: &TcpStream, how: Shutdown) {
    if let Ok(handle) = handle_of(stream) {
        let _ = handle.shutdown(how);
    }
}

/// The stream as std's, for calls that do not wait; dropping it closes nothing.
#[expect(
    unsafe_code,
    reason = "glommio's stream gives its descriptor away only as a number"
)]
pub(super) fn handle_of(stream: &TcpStream) -> io::Result<ManuallyDrop<std::net::TcpStream>> {
    let descriptor = stream.as_raw_fd();
    if descriptor < 0 {
        return Err(io::ErrorKind::NotConnected.into());
    }
    // SAFETY: the descriptor is a connected TCP socket that `stream` keeps open for as long as the caller borrows it, and
    // `ManuallyDrop` keeps this second owner from closing it.
    Ok(ManuallyDrop::new(unsafe {
        std::net::TcpStream::from_raw_fd(descriptor)
    }))
}
