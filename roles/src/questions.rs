//! The questions that wait at a core: it answers one slice of one of them in a turn, so that however many ask, clients wait for one.

use std::collections::VecDeque;

use rollcall_core::limits;
use rollcall_core::query::Query;

use crate::lanes::Ticket;

/// In the order in which they came: who asks for slice after slice stands in line for each.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    waiting: VecDeque<(Ticket, Query)>,
}

impl Questions {
    pub(crate) fn put(&mut self, ticket: Ticket, query: Query) {
        if self.waiting.len() == limits::QUESTIONS_WAITING_MAX {
            // The control executor never has so many under way: it has given up on this one.
            self.waiting.pop_front();
        }
        self.waiting.push_back((ticket, query));
    }

    /// The one to answer in this turn.
    pub(crate) fn next(&mut self) -> Option<(Ticket, Query)> {
        self.waiting.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_may_wait_push_out_the_oldest() {
        let mut questions = Questions::default();

        for ticket in 0..limits::QUESTIONS_WAITING_MAX as u64 + 2 {
            questions.put(Ticket(ticket), Query::Counts);
        }

        let left = std::iter::from_fn(|| questions.next()).map(|(Ticket(ticket), _)| ticket);
        let left: Vec<_> = left.collect();
        assert_eq!((left[0], left.len()), (2, limits::QUESTIONS_WAITING_MAX));
    }
}
