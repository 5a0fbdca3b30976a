//! What a network table tells its owner, and what the owner may answer.

use std::net::SocketAddr;

use rollcall_core::names::ConnectId;

use super::outgoing::Outgoing;

/// How bytes are cut into frames; the table knows no protocol.
pub trait Framing {
    /// Why bytes cannot be a frame.
    type Error;

    /// The length of the frame at the start of `bytes`, header included. `bytes` is never empty.
    fn frame_len(bytes: &[u8]) -> Result<FrameLen, Self::Error>;
}

/// What is known about the frame at the start of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameLen {
    /// It is all there and this long.
    Complete(usize),
    /// It is known to need at least so many bytes; more than there are.
    Incomplete {
        /// Bytes from the start of the frame.
        needed: usize,
    },
}

/// The owner of the connections of one core. Everything is called from [`super::Net::poll`].
pub trait Service<F: Framing> {
    /// A connection was accepted; `local` tells the listener.
    fn opened(&mut self, id: ConnectId, peer: SocketAddr, local: SocketAddr);

    /// One complete frame. Answers are appended to `out`, which belongs to this connection.
    fn frame(&mut self, id: ConnectId, bytes: &[u8], out: &mut Outgoing) -> Flow;

    /// What came is no frame. A last answer may be appended; the connection is closed when it was written.
    fn bad_frame(&mut self, id: ConnectId, error: &F::Error, out: &mut Outgoing);

    /// The last byte before this mark went to the kernel.
    fn sent(&mut self, id: ConnectId, tag: u32);

    /// There is room again, after [`Outgoing::has_room`] said no.
    fn writable(&mut self, id: ConnectId);

    /// Nothing more comes from or goes to this connection. Called once for each `opened`, after its last frame.
    fn closed(&mut self, id: ConnectId, ended_by: EndedBy);
}

/// What to do after a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It was taken; the next one may come.
    Continue,
    /// It was not taken: nothing more is read until [`super::Net::resume`], then it is offered again.
    Pause,
    /// It was taken and is the last: the connection is closed when what is queued was written.
    Close(EndedBy),
}

/// Who ended a connection; decides what happens to what the client published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndedBy {
    /// The peer closed or reset it, or the kernel found the peer gone.
    Peer,
    /// The same, while this core stood still: perhaps because of that.
    PeerUnheard,
    /// No byte came for the idle time.
    Silent,
    /// We did.
    Us(Reason),
    /// An operator asked for it.
    Operator,
}

/// Why we ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It owed more than a slow reader may.
    SlowReader,
    /// It took no byte for too long.
    Stalled,
    /// The partial frames of its core took too much memory.
    PartialLimit,
    /// What it sent is no frame.
    BadFrame,
    /// A limit of connections or registrations.
    Limit,
    /// This node is going down.
    Drain,
    /// A begun frame did not end in time.
    FrameDeadline,
    /// This host lacks memory for it.
    LocalError,
}

impl EndedBy {
    /// Whether what is queued is written before the end; the others cannot or should not take it.
    pub(crate) fn flushes(self) -> bool {
        matches!(
            self,
            Self::Peer
                | Self::PeerUnheard
                | Self::Operator
                | Self::Us(Reason::BadFrame | Reason::Limit | Reason::Drain)
        )
    }
}
