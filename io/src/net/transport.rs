//! The seam between the table of connections and the kernel: what is asked of it, and what it reports.
//!
//! Two implementations stand behind it: `ring` (one private io_uring per core) and `plain` (readiness), which serves kernels that lack what
//! the ring needs. A send owns its bytes while it is in flight, so that neither side can touch what the kernel reads.

use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;

use rollcall_core::machine::Instant;

use super::outgoing::Flight;

/// The place of a connection in its core's table and how often that place was used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// The place.
    pub(crate) slot: u32,
    /// How often it was used.
    pub(crate) generation: u32,
}

/// What the kernel has done.
#[derive(Debug)]
pub(crate) enum Event {
    /// A connection came in.
    Accepted(OwnedFd),
    /// Accepting stopped for want of a resource; it goes on when it is asked for again.
    AcceptStopped(io::Error),
    /// Bytes came. The chunk must be given back.
    Received(Key, Chunk),
    /// Nothing more comes: `None` for the peer's orderly end.
    ReceiveEnded(Key, Option<io::Error>),
    /// The kernel took so many bytes of a send, or ended it.
    Sent(Key, Box<Flight>, io::Result<usize>),
    /// The socket is closed and nothing of it is under way.
    Released(Key),
    /// The kernel has dropped some of what it had to tell, nobody knows of which connections.
    Lost,
}

/// A received piece that lies in the transport's memory.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Which buffer.
    pub(crate) buffer: u16,
    /// How much of it.
    pub(crate) len: usize,
}

/// What a core needs from the kernel for its connections. Everything asked for starts with [`Transport::submit`].
pub(crate) trait Transport {
    /// Takes up what the kernel has done. Returns at once.
    fn poll(&mut self);
    /// The next thing that was taken up.
    fn next_event(&mut self) -> Option<Event>;
    /// The bytes of a chunk.
    fn bytes(&self, chunk: &Chunk) -> &[u8];
    /// Returns a chunk's memory.
    fn give_back(&mut self, chunk: Chunk);

    /// Accepts from the listeners, or stops that.
    fn accept(&mut self, on: bool);
    /// Closes the listeners.
    fn close_listeners(&mut self);
    /// Takes over the socket of a new connection, or closes it and says why. Nothing is received yet.
    fn adopt(&mut self, key: Key, socket: OwnedFd) -> io::Result<()>;
    /// Receives from a connection, or stops that; what is already on its way may still come.
    fn receive(&mut self, key: Key, on: bool);
    /// Sends the next parts of a flight. One per connection at a time.
    fn send(&mut self, key: Key, flight: Box<Flight>);
    /// Shuts a connection in one or both directions.
    fn shutdown(&mut self, key: Key, how: Shutdown);
    /// Makes the end of a connection a reset.
    fn reset_on_close(&mut self, key: Key);
    /// Ends everything under way and closes the socket; `Released` is its last event.
    fn release(&mut self, key: Key);

    /// Frees a connection whose release takes too long; whatever the kernel may still touch is leaked. `Released` is its last event.
    fn abandon(&mut self, key: Key);

    /// Starts what was asked for.
    fn submit(&mut self);
    /// Makes anything that happens from here on ring the core's bell, at `deadline` at the latest. False if something already happened.
    fn prepare_sleep(&mut self, now: Instant, deadline: Option<Instant>) -> bool;
    /// What went wrong or was dropped so far.
    fn trouble(&self) -> Trouble;
}

/// Whether this host lacks something, be it descriptors or memory, and the peer has no part in it.
pub(crate) fn lacks_resource(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}

/// Counts of what should be rare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// Completions of connections that were gone.
    pub stale_completions: u64,
    /// Receives that found no free buffer.
    pub no_buffers: u64,
    /// Times the completion queue overflowed.
    pub completion_overflows: u64,
    /// Completions that the kernel has dropped for want of memory.
    pub lost_completions: u64,
    /// Connections that were freed although the kernel did not end what was under way.
    pub abandoned: u64,
    /// Calls into the ring that failed and were repeated.
    pub failed_submits: u64,
}
