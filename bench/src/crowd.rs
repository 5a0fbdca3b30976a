//! Clients that behave: they acknowledge every push and remember what they were told, but expect nothing in particular.

use std::io;
use std::time::Duration;

use rollcall_core::bolt::{Frame, Kind, Status};
use rollcall_core::message::{RegisterResponse, received_data};

use crate::clients::{Clients, Hears};
use crate::wire;

/// Connections that send their registrations at once before anyone waits for an answer.
const BATCH: usize = 500;
/// How long a batch may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What many clients were told together.
#[derive(Debug)]
pub(crate) struct Crowd {
    acknowledgement: Vec<u8>,
    /// Registrations that were taken.
    pub(crate) taken: usize,
    /// Registrations that were not.
    pub(crate) refused: usize,
    /// Pushes that came.
    pub(crate) pushes: usize,
    /// Answers to heartbeats.
    pub(crate) heartbeats: usize,
    /// Connections that the server ended.
    pub(crate) closed: usize,
}

impl Default for Crowd {
    fn default() -> Self {
        Self {
            acknowledgement: wire::acknowledgement(),
            taken: 0,
            refused: 0,
            pushes: 0,
            heartbeats: 0,
            closed: 0,
        }
    }
}

impl Crowd {
    /// Sends the frames that `write` makes for each connection, in batches, and waits until every registration is answered and every
    /// `pushes_each` pushes came.
    pub(crate) fn register(
        &mut self,
        clients: &mut Clients,
        connections: std::ops::Range<usize>,
        pushes_each: usize,
        mut write: impl FnMut(usize, &mut Vec<u8>) -> usize,
    ) -> io::Result<()> {
        let mut frames = Vec::new();
        let (mut answers, mut pushes) = (self.taken + self.refused, self.pushes);
        let mut next = connections.start;
        while next < connections.end {
            let end = connections.end.min(next + BATCH);
            for connection in next..end {
                frames.clear();
                answers += write(connection, &mut frames);
                pushes += pushes_each;
                clients.send(connection, &frames)?;
            }
            next = end;
            let done = clients.poll_until(PATIENCE, self, |crowd| {
                crowd.taken + crowd.refused >= answers && crowd.pushes >= pushes
            })?;
            if !done {
                let missing = answers - self.taken - self.refused;
                return Err(io::Error::other(format!(
                    "{missing} registrations were not answered"
                )));
            }
        }
        Ok(())
    }

    /// What the server did wrong, if anything.
    pub(crate) fn problem(&self) -> Option<String> {
        let Self {
            refused, closed, ..
        } = self;
        (refused + closed > 0)
            .then(|| format!("{refused} registrations refused, {closed} connections ended"))
    }
}

impl Hears for Crowd {
    fn frame(&mut self, _: usize, frame: &Frame<'_>, out: &mut Vec<u8>) {
        match frame.kind {
            Kind::Request { .. } => {
                self.pushes += usize::from(frame.class == received_data::CLASS.as_bytes());
                wire::append_as(out, &self.acknowledgement, frame.request_id);
            }
            Kind::Response {
                status: Status::Success,
            } if is_taken(frame) => self.taken += 1,
            Kind::HeartbeatAck { .. } => self.heartbeats += 1,
            _ => self.refused += 1,
        }
    }

    fn closed(&mut self, _: usize) {
        self.closed += 1;
    }
}

/// Whether an answer says that the registration holds.
pub(crate) fn is_taken(frame: &Frame<'_>) -> bool {
    RegisterResponse::decode(frame.content).is_ok_and(|answer| answer.success && !answer.refused)
}
