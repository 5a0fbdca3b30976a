//! What travels on the lanes between the executors of one process.

use std::time::Duration;

use rollcall_core::meta::MetaCommand;
use rollcall_core::names::CoreId;
use rollcall_core::query::{Answer, Order, Query};
use rollcall_core::session::lane::Lane;

/// One message between two executors.
#[derive(Debug)]
pub(crate) enum Message {
    /// From one data core to another: sessions among themselves.
    Lane(Lane),
    /// From the control executor to a data core.
    ToCore(ToCore),
    /// From a data core to the control executor.
    ToControl(ToControl),
}

/// Pairs an answer of a core with the question of the control executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(pub(crate) u64);

/// What the control executor wants of a data core.
#[derive(Debug)]
pub(crate) enum ToCore {
    /// Answer this.
    Ask(Ticket, Query),
    /// Apply this to the operators' data.
    Apply(Ticket, MetaCommand),
    /// Do this once.
    Order(Ticket, Order),
    /// Take no new client, and hand over those there are within this time.
    Drain(Duration),
    /// End now.
    Stop,
}

/// What a data core tells the control executor.
#[derive(Debug)]
pub(crate) enum ToControl {
    /// The answer to a question.
    Answered(Ticket, Answer),
    /// A command or an order is carried out, and touched so many connections.
    Done(Ticket, u64),
    /// What is wrong with this core by now, if anything is.
    Trouble(CoreId, Option<String>),
    /// No client is left.
    Drained,
}
