//! What a shard does with publishers known from before a restart, as they come back or do not.

use std::time::Duration;

use crate::clients::Clients;
use crate::limits;
use crate::machine::{Instant, Now};
use crate::names::{DataInfoId, RegisterId};

use super::awaiting::{Asking, Awaiting, End};
use super::datum::Datum;
use super::journal::replay::ReplayedService;
use super::{Data, Effect, Report};

impl Data {
    /// Takes what was replayed: it is served from here on, and its publishers await their clients for this grace.
    ///
    /// If the journal may lack something, because the machine went down, lists are held back until all in them are back, for a while.
    pub fn recover(&mut self, now: Instant, grace: Duration, replayed: Vec<ReplayedService>) {
        let is_complete = self.journal.is_complete();
        let mut awaited = Vec::new();
        for service in replayed {
            let data_info_id = service.data_info_id;
            self.stored_publishers += service.publishers.len();
            for publisher in &service.publishers {
                self.journal.put_unseen(&data_info_id, publisher, None);
            }
            let datum = Datum::replayed(service.version, service.publishers);
            let is_empty = datum.publishers().is_empty();
            *self.datums.get_or_insert(&data_info_id) = datum;
            match is_empty {
                true => self.forget_later(now, &data_info_id),
                false => awaited.push(data_info_id),
            }
        }
        let publishers = self.stored_publishers;
        if !is_complete {
            self.unsure = self.versions.highest();
            self.renewing = Some(0);
        }
        if publishers > 0 || !is_complete {
            let awaiting = Awaiting::new(now, grace, awaited, publishers, is_complete);
            self.awaiting = Some(awaiting);
        }
    }

    /// What is wrong with this shard, for whoever asks after its health.
    pub fn trouble(&self) -> Option<String> {
        let missing = self.awaiting.as_ref().filter(|it| it.is_extended());
        let missing = missing.map(|awaiting| {
            let (left, replayed) = (awaiting.left(), awaiting.replayed());
            format!("{left} of {replayed} publishers from before the restart are missing")
        });
        self.journal.trouble().or(missing)
    }

    /// How many publishers from before the restart await their client.
    pub fn awaiting(&self) -> usize {
        self.awaiting.as_ref().map_or(0, Awaiting::left)
    }

    /// A publisher of this service need not be waited for any more.
    pub(super) fn on_returned(&mut self, now: Now, data_info_id: &DataInfoId) {
        let Some(awaiting) = &mut self.awaiting else {
            return;
        };
        awaiting.settle_one();
        let Some(datum) = self.datums.get_mut(data_info_id) else {
            return;
        };
        datum.awaiting -= 1;
        datum.is_whole_again = datum.awaiting == 0;
        if datum.is_whole_again {
            datum.forget_former_lives();
        }
        if datum.is_whole_again
            && let Some(asking) = awaiting.release(data_info_id)
        {
            self.show(now, data_info_id, asking);
        }
    }

    /// After a loss of power: gives every list a version of its own, and counts as complete once all are and none is held any more.
    ///
    /// Not before the journal takes them down: a further restart would go back behind what was shown.
    pub(super) fn renew_unsure(&mut self, now: Now) {
        if !self.journal.is_ready() {
            return;
        }
        for _ in 0..limits::SERVICES_SETTLED_PER_TURN {
            let Some(place) = self.renewing else {
                return;
            };
            if let Some((place, data_info_id, datum)) = self.datums.next_from(place) {
                self.renewing = Some(place + 1);
                // One of which nothing is known may have been lost as a whole: it is renewed when it is shown.
                if !datum.was_never_published() {
                    let data_info_id = data_info_id.clone();
                    self.renew_if_unsure(now, &data_info_id);
                }
            } else if self.awaiting.as_ref().is_some_and(Awaiting::holds_any) {
                return;
            } else {
                self.renewing = None;
                self.journal.be_complete();
            }
        }
    }

    /// Whether the walk of `renew_unsure` has something to do.
    pub(super) fn is_renewing(&self) -> bool {
        let holds_any = || self.awaiting.as_ref().is_some_and(Awaiting::holds_any);
        let renewing = self.renewing.filter(|_| self.journal.is_ready());
        renewing.is_some_and(|place| self.datums.next_from(place).is_some() || !holds_any())
    }

    /// Ends what is over at `now`: lists that were held, then the grace; in slices.
    pub(super) fn settle_returning(&mut self, now: Now, out: &mut Vec<Effect>) {
        for _ in 0..limits::SERVICES_SETTLED_PER_TURN {
            let Some(awaiting) = &mut self.awaiting else {
                return;
            };
            if let Some((data_info_id, asking)) = awaiting.release_next(now.monotonic) {
                self.show(now, &data_info_id, asking);
                continue;
            }
            let (left, replayed) = (awaiting.left(), awaiting.replayed());
            match awaiting.end(now.monotonic) {
                None => return,
                Some(End::Extended) => out.push(Effect::Report(Report::ReturnExtended {
                    missing: left,
                    awaited: replayed,
                })),
                Some(End::Expired(data_info_id)) => self.expire(now, &data_info_id),
                Some(End::Over) => {
                    self.awaiting = None;
                    out.push(Effect::Report(Report::ReturnOver {
                        removed: self.removed_awaiting,
                        awaited: replayed,
                    }));
                }
            }
        }
    }

    /// Whoever has not come back to this service is gone; all of them are one notice.
    fn expire(&mut self, now: Now, data_info_id: &DataInfoId) {
        let Some(datum) = self.datums.get(data_info_id) else {
            return;
        };
        let gone: Vec<_> = datum.awaited().map(|it| it.register_id.clone()).collect();
        self.removed_awaiting += gone.len();
        self.take_all_out(now, data_info_id, gone);
    }

    /// These clients are not awaited any more, on an operator's word.
    pub(super) fn expel(&mut self, now: Now, clients: &Clients) {
        let services = self.awaiting.as_ref().map_or(&[][..], Awaiting::services);
        let of_service = |data_info_id: &DataInfoId| {
            let awaited = self.datums.get(data_info_id)?.awaited();
            let meant = awaited.filter(|it| clients.have(it.address));
            let meant: Vec<_> = meant.map(|it| it.register_id.clone()).collect();
            (!meant.is_empty()).then(|| (data_info_id.clone(), meant))
        };
        let meant: Vec<_> = services.iter().filter_map(of_service).collect();
        for (data_info_id, gone) in meant {
            self.take_all_out(now, &data_info_id, gone);
        }
    }

    fn take_all_out(&mut self, now: Now, data_info_id: &DataInfoId, gone: Vec<RegisterId>) {
        for register_id in gone {
            if let Some(datum) = self.datums.get_mut(data_info_id) {
                let shift = datum.take_out(&register_id);
                self.on_shift(now, data_info_id, shift);
            }
        }
    }

    /// A list that was held is shown to those who asked for it.
    fn show(&mut self, now: Now, data_info_id: &DataInfoId, asking: Asking) {
        self.renew_if_unsure(now, data_info_id);
        let asking = asking.into_iter();
        self.asking
            .extend(asking.map(|(session, have)| (session, data_info_id.clone(), have)));
    }

    /// What is shown under a version may not be what was shown under it before the machine went down: so it gets another.
    pub(super) fn renew_if_unsure(&mut self, now: Now, data_info_id: &DataInfoId) {
        let datum = self.datums.get(data_info_id);
        if datum.is_some_and(|datum| datum.version() <= self.unsure) {
            self.renew(now, data_info_id);
        }
    }
}
