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
use std::time::Instant;

use futures_io::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;
use hyper::rt::{Read, ReadBufCursor, Write};

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
    /// Our turn: the answer is being made.
    Answering,
}

/// What the watcher of a connection needs to know about it.
pub(super) struct Progress {
    pub(super) phase: Cell<Phase>,
    pub(super) since: Cell<Instant>,
    /// Since when a write waits for the peer.
    pub(super) stalled: Cell<Option<Instant>>,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            phase: Cell::new(Phase::Opened),
            since: Cell::new(Instant::now()),
            stalled: Cell::new(None),
        }
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(Instant::now());
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
        if read > 0 && matches!(self.progress.phase.get(), Phase::Opened | Phase::Idle) {
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
        let stalled = &self.progress.stalled;
        match &written {
            Poll::Pending if stalled.get().is_none() => stalled.set(Some(Instant::now())),
            Poll::Pending => (),
            Poll::Ready(_) => {
                stalled.set(None);
                // An answer on its way keeps its connection from being idle.
                self.progress.since.set(Instant::now());
            }
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
