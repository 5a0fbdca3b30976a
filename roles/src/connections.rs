//! Who wants to know when clients come and go.
//!
//! A listener lives on one data core and is told there, between two frames: it must not wait, and what it collects for
//! others it hands over by message. The log of connections is one; a program that embeds the node brings its own.

use std::net::SocketAddr;
use std::sync::Arc;

use rollcall_core::names::{ConnectId, CoreId};
use rollcall_io::net::{EndedBy, Reason};

/// Is told of each client connection of one core: once when it opens, once when it ends.
pub trait ConnectionListener {
    /// A client has connected; `local` is the address of ours that it dialled.
    fn connected(&mut self, connect_id: ConnectId, peer: SocketAddr, local: SocketAddr);

    /// The connection ended, after everything that came on it was handled.
    fn disconnected(&mut self, connect_id: ConnectId, ended_by: EndedBy);
}

/// Makes the listeners of a core, on that core's thread.
pub type MakeListeners = Arc<dyn Fn(CoreId) -> Vec<Box<dyn ConnectionListener>> + Send + Sync>;

/// A line per connection: at `debug` when it comes and goes by itself, at `info` when it was our doing.
#[derive(Debug)]
pub struct ConnectionLog;

impl ConnectionListener for ConnectionLog {
    fn connected(&mut self, connect_id: ConnectId, peer: SocketAddr, local: SocketAddr) {
        tracing::debug!(connection = %connect_id, %peer, %local, "client connected");
    }

    fn disconnected(&mut self, connect_id: ConnectId, ended_by: EndedBy) {
        match ended_by {
            // Bad frames are told of by the address, and not each.
            EndedBy::Us(reason) if !matches!(reason, Reason::Drain | Reason::BadFrame) => {
                tracing::info!(connection = %connect_id, ?reason, "client cut off");
            }
            ended_by => tracing::debug!(connection = %connect_id, ?ended_by, "client disconnected"),
        }
    }
}
