//! Which cores of this node want which part of which service, the session's view of these datums, and their encoded bodies.
//!
//! A view follows its owner by notices that carry the change itself; one that does not fit makes the session ask for the
//! whole. A body is encoded once per version and part, however many subscribers and cores wait for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::exchange::{Change, ToData};
use crate::limits;
use crate::machine::{Instant, Now};
use crate::message::received_data;
use crate::names::{CoreId, DataInfoId, Name, RegisterId};
use crate::publisher::{Publisher, Publishers};
use crate::stats::Stats;
use crate::tables::{Seed, Table};
use crate::version::DatumVersion;

use super::lane::Slice;
use super::roster::Roster;

/// One service as the subscribers of this node see it.
#[derive(Debug)]
struct Watched {
    view: Option<View>,
    interested: BTreeMap<Slice, BTreeSet<CoreId>>,
    bodies: BTreeMap<Slice, Body>,
    /// Cores that wait for a first body, or for one they let go.
    asking: BTreeSet<(Slice, CoreId)>,
    changed: bool,
    /// When it was handed out last; kept only where there is a floor between two times.
    handed_out_at: Option<Instant>,
    /// It changed again too soon, and is handed out then unless somebody asks before.
    postponed_until: Option<Instant>,
    /// The owner was asked and has not answered.
    asked_owner: bool,
    /// Nobody here wants it: it is dropped then.
    dropped_at: Option<Instant>,
}

/// The session's copy of a datum.
#[derive(Debug)]
struct View {
    version: DatumVersion,
    publishers: Publishers,
    /// The version that zones have which did not change since this view began.
    base: DatumVersion,
    zone_versions: BTreeMap<Name, DatumVersion>,
}

#[derive(Debug)]
struct Body {
    version: DatumVersion,
    /// None when evicted: that this part has not changed since must still be known.
    bytes: Option<Bytes>,
}

/// What the table of contents has to do for the interests.
#[derive(Debug)]
pub(super) enum Need {
    Tell(ToData),
    Body {
        core: CoreId,
        data_info_id: DataInfoId,
        slice: Slice,
        version: DatumVersion,
        body: Bytes,
    },
}

/// The watched services whose home is this core.
#[derive(Debug)]
pub(super) struct Interests {
    watched: Table<DataInfoId, Watched>,
    /// The same services in order.
    roster: Roster,
    /// Services with something to hand out at the end of this turn, each once.
    changed: VecDeque<DataInfoId>,
    /// Owners that were asked: when to ask again.
    unanswered: VecDeque<(Instant, DataInfoId)>,
    /// Services nobody wants, each once, by when to tell the owner.
    idle: BTreeSet<(Instant, DataInfoId)>,
    /// Bodies in the order of their encoding, for the bound of the cache; some were replaced meanwhile.
    cached: VecDeque<(DataInfoId, Slice, DatumVersion)>,
    /// Length of the bodies that are held.
    cached_bytes: usize,
    /// Cores whose lane is full: they get the newest body when it is not.
    congested: BTreeMap<CoreId, BTreeSet<(DataInfoId, Slice)>>,
    /// Shortest time between two changes of one service that subscribers are told; what comes sooner is merged.
    floor: Duration,
    /// Services that changed again too soon, each once, by when they may be handed out.
    postponed: BTreeSet<(Instant, DataInfoId)>,
}

impl Interests {
    pub(super) fn new(seed: Seed, floor: Duration) -> Self {
        Self {
            watched: seed.table(),
            roster: Roster::default(),
            changed: VecDeque::new(),
            unanswered: VecDeque::new(),
            idle: BTreeSet::new(),
            cached: VecDeque::new(),
            cached_bytes: 0,
            congested: BTreeMap::new(),
            floor,
            postponed: BTreeSet::new(),
        }
    }

    /// Bytes of encoded bodies that are held for late subscribers.
    pub(super) fn held_bytes(&self) -> usize {
        self.cached_bytes
    }

    /// The services watched here in the order of the ring, from this one on.
    pub(super) fn services_from(
        &self,
        first: Option<&DataInfoId>,
    ) -> impl Iterator<Item = &DataInfoId> {
        self.roster.from(first)
    }

    /// A core has subscribers of this part.
    pub(super) fn watch(
        &mut self,
        now: Instant,
        core: CoreId,
        data_info_id: DataInfoId,
        slice: Slice,
        needs: &mut Vec<Need>,
    ) {
        let is_unknown = !self.watched.contains_key(&data_info_id);
        if is_unknown {
            self.roster.add(&data_info_id);
        }
        let watched = self
            .watched
            .entry(data_info_id.clone())
            .or_insert_with(Watched::new);
        watched
            .interested
            .entry(slice.clone())
            .or_default()
            .insert(core);
        if let Some(until) = watched.dropped_at.take() {
            self.idle.remove(&(until, data_info_id.clone()));
        }
        watched.asking.insert((slice, core));
        if is_unknown {
            self.ask_owner(now, data_info_id, needs);
        } else if watched.view.is_some() {
            self.mark_changed(data_info_id);
        }
    }

    /// A core needs a body again.
    pub(super) fn body_wanted(&mut self, core: CoreId, data_info_id: DataInfoId, slice: Slice) {
        let Some(watched) = self.watched.get_mut(&data_info_id) else {
            return;
        };
        watched.asking.insert((slice, core));
        if watched.view.is_some() {
            self.mark_changed(data_info_id);
        }
    }

    /// A core's last subscriber of this part left.
    pub(super) fn unwatch(
        &mut self,
        now: Instant,
        core: CoreId,
        data_info_id: DataInfoId,
        slice: Slice,
    ) {
        let Some(watched) = self.watched.get_mut(&data_info_id) else {
            return;
        };
        if let Some(cores) = watched.interested.get_mut(&slice) {
            cores.remove(&core);
            if cores.is_empty() {
                watched.interested.remove(&slice);
                let body = watched.bodies.remove(&slice);
                self.cached_bytes -= body.map_or(0, |body| body.len());
            }
        }
        watched.asking.remove(&(slice, core));
        if watched.interested.is_empty() && watched.dropped_at.is_none() {
            let until = now + limits::INTEREST_KEPT;
            watched.dropped_at = Some(until);
            self.idle.insert((until, data_info_id));
        }
    }

    /// The owner says what changed.
    pub(super) fn on_notice(
        &mut self,
        now: Instant,
        data_info_id: DataInfoId,
        Range {
            start: from,
            end: to,
        }: Range<DatumVersion>,
        changes: &[Change],
        needs: &mut Vec<Need>,
    ) {
        let Some(watched) = self.watched.get_mut(&data_info_id) else {
            tell_no_interest(data_info_id, needs);
            return;
        };
        let Some(view) = &mut watched.view else {
            return;
        };
        if to <= view.version {
            return;
        }
        if from != view.version {
            // One question at a time: its answer comes after this notice, or it is asked again when none comes.
            if !watched.asked_owner {
                self.ask_owner(now, data_info_id, needs);
            }
            return;
        }
        view.apply(to, changes);
        self.mark_changed(data_info_id);
    }

    /// The owner says what there is. Older than what is held, it counts for nothing.
    pub(super) fn on_snapshot(
        &mut self,
        data_info_id: DataInfoId,
        version: DatumVersion,
        publishers: Vec<Arc<Publisher>>,
        needs: &mut Vec<Need>,
    ) {
        let Some(watched) = self.watched.get_mut(&data_info_id) else {
            tell_no_interest(data_info_id, needs);
            return;
        };
        watched.asked_owner = false;
        if watched
            .view
            .as_ref()
            .is_some_and(|view| view.version >= version)
        {
            return;
        }
        watched.view = Some(View::new(version, publishers));
        self.mark_changed(data_info_id);
    }

    /// The owner says that the view is the newest.
    pub(super) fn on_unchanged(&mut self, data_info_id: DataInfoId, needs: &mut Vec<Need>) {
        match self.watched.get_mut(&data_info_id) {
            Some(watched) => watched.asked_owner = false,
            None => tell_no_interest(data_info_id, needs),
        }
    }

    /// A lane has no room: its core gets the newest bodies when it has.
    pub(super) fn on_congested(&mut self, core: CoreId) {
        self.congested.entry(core).or_default();
    }

    /// The lane has room again.
    pub(super) fn on_uncongested(&mut self, core: CoreId) {
        for (data_info_id, slice) in self.congested.remove(&core).into_iter().flatten() {
            self.body_wanted(core, data_info_id, slice);
        }
    }

    /// Asks the owners of everything watched whether it is the newest: finds what a lost notice hid.
    pub(super) fn compare(
        &mut self,
        now: Instant,
        is_remote: impl Fn(&DataInfoId) -> bool,
        needs: &mut Vec<Need>,
    ) {
        let mut remote: Vec<_> = self
            .watched
            .iter()
            .filter(|&(id, watched)| !watched.asked_owner && is_remote(id))
            .map(|(id, _)| id.clone())
            .collect();
        remote.sort_unstable();
        for data_info_id in remote {
            self.ask_owner(now, data_info_id, needs);
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        if !self.changed.is_empty() {
            return Some(Instant::default());
        }
        let unanswered = self.unanswered.front().map(|&(at, _)| at);
        let idle = self.idle.first().map(|&(at, _)| at);
        let postponed = self.postponed.first().map(|&(at, _)| at);
        [unanswered, idle, postponed].into_iter().flatten().min()
    }

    pub(super) fn handle_timeout(&mut self, now: Now, stats: &mut Stats, needs: &mut Vec<Need>) {
        while let Some((at, _)) = self.postponed.first()
            && *at <= now.monotonic
            && let Some((_, data_info_id)) = self.postponed.pop_first()
        {
            if let Some(watched) = self.watched.get_mut(&data_info_id) {
                watched.postponed_until = None;
            }
            // Bounded by the services watched: each is in one of the two once.
            self.changed.push_back(data_info_id);
        }
        while let Some(data_info_id) = self.changed.pop_front() {
            if !self.postpone(now.monotonic, &data_info_id) {
                self.hand_out(data_info_id, stats, needs);
            }
        }
        self.evict();
        self.ask_again(now.monotonic, needs);
        self.drop_idle(now.monotonic, needs);
    }

    /// Whether the service was handed out too short a time ago. Nobody who asks waits for that.
    fn postpone(&mut self, now: Instant, data_info_id: &DataInfoId) -> bool {
        let Some(watched) = self.watched.get_mut(data_info_id) else {
            return false;
        };
        let at = watched.handed_out_at.map(|at| at + self.floor);
        match at.filter(|at| *at > now && watched.asking.is_empty()) {
            Some(at) => {
                watched.postponed_until = Some(at);
                self.postponed.insert((at, data_info_id.clone()));
                true
            }
            None => {
                watched.handed_out_at = (!self.floor.is_zero()).then_some(now);
                false
            }
        }
    }

    fn ask_owner(&mut self, now: Instant, data_info_id: DataInfoId, needs: &mut Vec<Need>) {
        let Some(watched) = self.watched.get_mut(&data_info_id) else {
            return;
        };
        let have = watched
            .view
            .as_ref()
            .map_or(DatumVersion::NOTHING_KNOWN, |view| view.version);
        if !watched.asked_owner {
            watched.asked_owner = true;
            // Bounded by the services watched: each is asked about once at a time.
            self.unanswered
                .push_back((now + limits::RESEND_AFTER, data_info_id.clone()));
        }
        let interest = ToData::Interest {
            data_info_id: data_info_id.clone(),
            have,
        };
        needs.push(Need::Tell(interest));
    }

    fn mark_changed(&mut self, data_info_id: DataInfoId) {
        let Some(watched) = self.watched.get_mut(&data_info_id) else {
            return;
        };
        // Bounded by the services watched: each is in one of the two once.
        if !std::mem::replace(&mut watched.changed, true) {
            self.changed.push_back(data_info_id);
        } else if !watched.asking.is_empty()
            && let Some(at) = watched.postponed_until.take()
        {
            self.postponed.remove(&(at, data_info_id.clone()));
            self.changed.push_back(data_info_id);
        }
    }

    /// Sends each part that is newer than its last body to all cores that want it, and the others to those that ask.
    fn hand_out(&mut self, data_info_id: DataInfoId, stats: &mut Stats, needs: &mut Vec<Need>) {
        let Some(watched) = self.watched.get_mut(&data_info_id) else {
            return;
        };
        watched.changed = false;
        let Some(view) = &watched.view else {
            return;
        };
        let asking = std::mem::take(&mut watched.asking);
        for (slice, cores) in &watched.interested {
            let version = view.slice_version(slice);
            let held = watched.bodies.get(slice).map(|body| body.version);
            let is_newer = held.is_none_or(|held| held < version);
            let wants = |core: &CoreId| is_newer || asking.contains(&(slice.clone(), *core));
            if !cores.iter().any(wants) {
                continue;
            }
            let cached = watched
                .bodies
                .get(slice)
                .filter(|body| body.version == version);
            let body = match cached.and_then(|body| body.bytes.clone()) {
                Some(bytes) => bytes,
                None => {
                    let bytes = view.encode(slice);
                    stats.bodies_encoded += 1;
                    self.cached_bytes += bytes.len();
                    // Bounded by `evict` at the end of the turn.
                    self.cached
                        .push_back((data_info_id.clone(), slice.clone(), version));
                    let body = Body {
                        version,
                        bytes: Some(bytes.clone()),
                    };
                    let former = watched.bodies.insert(slice.clone(), body);
                    self.cached_bytes -= former.map_or(0, |body| body.len());
                    bytes
                }
            };
            for &core in cores.iter().filter(|core| wants(core)) {
                if let Some(missed) = self.congested.get_mut(&core) {
                    missed.insert((data_info_id.clone(), slice.clone()));
                    continue;
                }
                needs.push(Need::Body {
                    core,
                    data_info_id: data_info_id.clone(),
                    slice: slice.clone(),
                    version,
                    body: body.clone(),
                });
            }
        }
    }

    fn evict(&mut self) {
        while self.cached_bytes > limits::BODY_CACHE_BYTES_MAX
            || self.cached.len() > limits::BODY_CACHE_ENTRIES_MAX
        {
            let Some((data_info_id, slice, version)) = self.cached.pop_front() else {
                return;
            };
            let Some(watched) = self.watched.get_mut(&data_info_id) else {
                continue;
            };
            if let Some(body) = watched.bodies.get_mut(&slice)
                && body.version == version
            {
                self.cached_bytes -= body.len();
                body.bytes = None;
            }
        }
    }

    fn ask_again(&mut self, now: Instant, needs: &mut Vec<Need>) {
        while let Some((at, _)) = self.unanswered.front()
            && *at <= now
        {
            let Some((_, data_info_id)) = self.unanswered.pop_front() else {
                return;
            };
            if let Some(watched) = self.watched.get_mut(&data_info_id)
                && watched.asked_owner
            {
                watched.asked_owner = false;
                self.ask_owner(now, data_info_id, needs);
            }
        }
    }

    fn drop_idle(&mut self, now: Instant, needs: &mut Vec<Need>) {
        while let Some((at, _)) = self.idle.first()
            && *at <= now
            && let Some((_, data_info_id)) = self.idle.pop_first()
        {
            self.watched.remove(&data_info_id);
            self.roster.remove(&data_info_id);
            needs.push(Need::Tell(ToData::NoInterest { data_info_id }));
        }
    }
}

impl Body {
    fn len(&self) -> usize {
        self.bytes.as_ref().map_or(0, Bytes::len)
    }
}

/// The owner counts this session among those who watch a service, and it does not.
fn tell_no_interest(data_info_id: DataInfoId, needs: &mut Vec<Need>) {
    needs.push(Need::Tell(ToData::NoInterest { data_info_id }));
}

impl Watched {
    fn new() -> Self {
        Self {
            view: None,
            interested: BTreeMap::new(),
            bodies: BTreeMap::new(),
            asking: BTreeSet::new(),
            changed: false,
            handed_out_at: None,
            postponed_until: None,
            asked_owner: false,
            dropped_at: None,
        }
    }
}

impl View {
    fn new(version: DatumVersion, publishers: Vec<Arc<Publisher>>) -> Self {
        Self {
            version,
            publishers: publishers.into_iter().collect(),
            base: version,
            zone_versions: BTreeMap::new(),
        }
    }

    fn apply(&mut self, to: DatumVersion, changes: &[Change]) {
        for change in changes {
            let former = match change {
                Change::Put(publisher) => {
                    self.zone_versions.insert(Name::clone(&publisher.zone), to);
                    self.publishers.put(Arc::clone(publisher))
                }
                Change::Removed(register_id) => self.publishers.remove(register_id),
            };
            if let Some(former) = former {
                self.zone_versions.insert(Name::clone(&former.zone), to);
            }
        }
        self.version = to;
        if self.zone_versions.len() > 2 * limits::ZONES_PER_DATUM_MAX {
            // Names of zones that came and went are forgotten, at the price of one more push per zone.
            self.zone_versions.clear();
            self.base = to;
        }
    }

    /// The version of the last change that this part shows.
    fn slice_version(&self, slice: &Slice) -> DatumVersion {
        match slice {
            Slice::Zone(zone) => self.zone_versions.get(zone).copied().unwrap_or(self.base),
            Slice::All | Slice::Nothing | Slice::Config => self.version,
        }
    }

    fn encode(&self, slice: &Slice) -> Bytes {
        Bytes::from(match slice {
            Slice::Zone(zone) => encode_zones(self.publishers.zone(zone).into_iter()),
            Slice::All => encode_zones(self.publishers.zones()),
            Slice::Nothing | Slice::Config => encode_zones(std::iter::empty()),
        })
    }
}

/// The `data` map of a push.
fn encode_zones<'a>(
    zones: impl Iterator<Item = (&'a Name, &'a BTreeMap<RegisterId, Arc<Publisher>>)> + Clone,
) -> Vec<u8> {
    let zones = zones.map(|(zone, publishers)| {
        let boxes = publishers.values().map(|publisher| &publisher.boxes);
        (zone.as_ref(), boxes)
    });
    received_data::encode_body(zones)
}
