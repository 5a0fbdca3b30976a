//! Changes that their owner has not confirmed: who waits for the answer, and when the owner is told again.

use std::collections::VecDeque;

use slab::Slab;

use crate::exchange::{Removal, Token};
use crate::limits;
use crate::machine::Instant;
use crate::names::{DataInfoId, RegisterId};

use super::Waiting;

/// A change the owner has not confirmed.
#[derive(Debug)]
pub(super) struct Unconfirmed {
    generation: u32,
    pub(super) data_info_id: DataInfoId,
    pub(super) register_id: RegisterId,
    pub(super) change: Change,
    /// Who waits for the answer; nobody after `ANSWER_WITHIN`, for the session itself vouches for the registration.
    pub(super) waiting: Option<Waiting>,
}

/// What was told.
#[derive(Debug)]
pub(super) enum Change {
    /// A registration: what stands when it is sent again is sent.
    Put,
    /// Boxed, for few changes are removals.
    Remove(Box<Removal>),
}

/// All changes that are not confirmed, each found by its token.
#[derive(Debug, Default)]
pub(super) struct Changes {
    slots: Slab<Unconfirmed>,
    generation: u32,
    /// Sent in this turn; what is not confirmed at its end gets a deadline.
    sent: Vec<Token>,
    deadlines: VecDeque<(Instant, Token)>,
}

impl Changes {
    /// The token of the next change, unless none follows.
    pub(super) fn next_token(&self) -> Token {
        let generation = self.generation.wrapping_add(1);
        Token(u64::from(generation) << 32 | self.slots.vacant_key() as u64)
    }

    /// Waits until the owner has confirmed the change with the next token.
    pub(super) fn await_done(
        &mut self,
        token: Token,
        data_info_id: &DataInfoId,
        register_id: RegisterId,
        change: Change,
        waiting: Option<Waiting>,
    ) {
        debug_assert_eq!(token, self.next_token(), "one change per token");
        self.generation = self.generation.wrapping_add(1);
        self.slots.insert(Unconfirmed {
            generation: self.generation,
            data_info_id: data_info_id.clone(),
            register_id,
            change,
            waiting,
        });
        self.sent.push(token);
    }

    pub(super) fn find(&mut self, Token(token): Token) -> Option<&mut Unconfirmed> {
        let place = usize::try_from(token & u64::from(u32::MAX)).ok()?;
        let unconfirmed = self.slots.get_mut(place)?;
        (u64::from(unconfirmed.generation) == token >> 32).then_some(unconfirmed)
    }

    pub(super) fn take(&mut self, token: Token) -> Option<Unconfirmed> {
        self.find(token)?;
        let Token(place) = token;
        let place = usize::try_from(place & u64::from(u32::MAX)).ok()?;
        Some(self.slots.remove(place))
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        match self.sent.is_empty() {
            true => self.deadlines.front().map(|&(at, _)| at),
            false => Some(Instant::default()),
        }
    }

    /// What was sent in this turn and is not confirmed has a deadline from here on.
    pub(super) fn end_turn(&mut self, now: Instant) {
        for token in std::mem::take(&mut self.sent) {
            if self.find(token).is_some() {
                // Bounded by what is unconfirmed: each has one deadline.
                self.deadlines
                    .push_back((now + limits::ANSWER_WITHIN, token));
            }
        }
    }

    /// The next whose owner is silent for too long.
    pub(super) fn pop_overdue(&mut self, now: Instant) -> Option<Token> {
        let &(at, token) = self.deadlines.front()?;
        if at > now {
            return None;
        }
        self.deadlines.pop_front();
        Some(token)
    }

    /// It is told again, and once more after a while.
    pub(super) fn retry_at(&mut self, at: Instant, token: Token) {
        // Bounded by what is unconfirmed: this is the only deadline it has.
        self.deadlines.push_back((at, token));
    }
}
