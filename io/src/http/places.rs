//! The places of a port: who holds one, and who gives one up so that a newcomer is answered.
//!
//! A connection between requests holds nothing that its peer could not open again, so it is the first to go, the longest
//! waiting before all others. What is being answered stays. Only so many answers at a time are for ordinary requests; the
//! rest of the places is for what must be answered always.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;
use std::task::Waker;
use std::time::Instant;

use slab::Slab;

use super::wire::{Phase, Progress};
use super::{HttpLimits, Urgency};

/// The connections of one port.
pub(super) struct Places {
    pub(super) limits: HttpLimits,
    stop: Cell<Stop>,
    open: RefCell<Slab<Open>>,
}

/// How a server is being stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Not at all.
    No,
    /// Requests that were begun are answered.
    Orderly,
    /// The patience for that has ended.
    AtOnce,
}

/// One open connection.
struct Open {
    crowd: IpAddr,
    progress: Rc<Progress>,
    /// How to wake it when it has to end.
    waker: Option<Waker>,
    is_leaving: bool,
}

impl Open {
    /// How early this one has to go: who stands in the way of nothing but itself before who takes an answer slowly, the longest
    /// waiting first. Nothing for what is at work.
    fn turn_to_go(&self) -> Option<(bool, Instant)> {
        let progress = &self.progress;
        let stalled = progress.stalled_since();
        match progress.phase() {
            _ if self.is_leaving => None,
            _ if stalled.is_some() => stalled.map(|since| (true, since)),
            Phase::Answering(_) => None,
            Phase::Opened | Phase::Idle | Phase::Head | Phase::Body | Phase::Over => {
                Some((false, progress.since()))
            }
        }
    }
}

impl Places {
    pub(super) fn new(limits: HttpLimits) -> Rc<Self> {
        Rc::new(Self {
            limits,
            stop: Cell::new(Stop::No),
            open: RefCell::default(),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.open.borrow().len()
    }

    pub(super) fn stopping(&self) -> Stop {
        self.stop.get()
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop.get() != Stop::No
    }

    pub(super) fn stop(&self, how: Stop) {
        self.stop.set(how);
        for (_, open) in &mut *self.open.borrow_mut() {
            if let Some(waker) = open.waker.take() {
                waker.wake();
            }
        }
    }

    /// A place for a connection from `peer`. Another may have to leave for it; none is had where all are at work.
    pub(super) fn take(self: &Rc<Self>, peer: IpAddr, progress: &Rc<Progress>) -> Option<Place> {
        let crowd = crowd(peer);
        let mut open = self.open.borrow_mut();
        // An address that has its share makes room itself, so that it never takes the places of others.
        if staying(&open, |open| open.crowd == crowd) >= self.limits.connections_per_address {
            send_away(&mut open, |open| open.crowd == crowd);
        }
        let is_full = staying(&open, |_| true) >= self.limits.connections;
        if is_full && !send_away(&mut open, |_| true) {
            return None;
        }
        let key = open.insert(Open {
            crowd,
            progress: Rc::clone(progress),
            waker: None,
            is_leaving: false,
        });
        let places = Rc::clone(self);
        Some(Place { places, key })
    }
}

fn staying(open: &Slab<Open>, of: impl Fn(&Open) -> bool) -> usize {
    let staying = open.iter().filter(|(_, open)| !open.is_leaving && of(open));
    staying.count()
}

/// Has the first one leave whose turn it is; says whether there is one.
fn send_away(open: &mut Slab<Open>, of: impl Fn(&Open) -> bool) -> bool {
    let candidates = open.iter_mut().filter(|(_, open)| of(open));
    let first = candidates
        .filter_map(|(_, open)| Some((open.turn_to_go()?, open)))
        .min_by_key(|(turn, _)| *turn);
    let Some((_, first)) = first else {
        return false;
    };
    first.is_leaving = true;
    if let Some(waker) = first.waker.take() {
        waker.wake();
    }
    true
}

/// Whom an address stands for. Whoever has one IPv6 address as a rule has its whole /64.
fn crowd(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
        ip => ip,
    }
}

/// One of the places; given back on drop.
pub(super) struct Place {
    places: Rc<Places>,
    key: usize,
}

impl Place {
    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    /// Whom to wake when the connection has to end.
    pub(super) fn remember(&self, waker: &Waker) {
        let known = &mut self.places.open.borrow_mut()[self.key].waker;
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }

    /// Whether a newcomer was promised this place.
    pub(super) fn is_leaving(&self) -> bool {
        self.places.open.borrow()[self.key].is_leaving
    }

    /// Begins an answer, if there is room for one more of its kind.
    pub(super) fn begin_answer(&self, urgency: Urgency) -> bool {
        let open = self.places.open.borrow();
        let ordinary = |open: &Open| open.progress.phase() == Phase::Answering(Urgency::Ordinary);
        let me = &open[self.key];
        let limits = &self.places.limits;
        let has_room = urgency == Urgency::Vital
            || staying(&open, ordinary) < limits.ordinary
                && staying(&open, |open| open.crowd == me.crowd && ordinary(open))
                    < limits.ordinary_per_address;
        if has_room {
            me.progress.enter(Phase::Answering(urgency));
        }
        has_room
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.open.borrow_mut().remove(self.key);
    }
}
