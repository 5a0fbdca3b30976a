//! A node with two cores and real rows, for tests of what HTTP makes of them.

use std::cell::{Cell, Ref, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use rollcall_core::machine::Instant;
use rollcall_core::message::Boxes;
use rollcall_core::meta::{Applied, MetaCommand, MetaState};
use rollcall_core::names::{CoreId, DataInfoId, RegisterId, Scope};
use rollcall_core::publisher::{Holder, Publisher};
use rollcall_core::query::{
    Answer, ConfiguratorRow, ConnectionRow, Counts, Cursor, DataInfoIdRow, DatumRow, HeldPublisher,
    Order, PublisherRow, Query, RegistrationRow, Selection, Slice, SubscriberRow,
};
use rollcall_core::stats::Stats;

use super::node::{
    Facts, Node, NotProposed, Pending, Phase, Proposed, Roles, Unanswered, WholeAnswer,
};

/// Rows of one core.
#[derive(Default)]
pub(super) struct FakeCore {
    pub(super) publishers: Vec<PublisherRow>,
    pub(super) subscribers: Vec<SubscriberRow>,
    pub(super) configurators: Vec<ConfiguratorRow>,
    pub(super) datums: Vec<DatumRow>,
    pub(super) connections: Vec<ConnectionRow>,
    pub(super) stats: Stats,
}

pub(super) struct FakeNode {
    pub(super) facts: RefCell<Facts>,
    pub(super) cores: RefCell<Vec<FakeCore>>,
    pub(super) meta: RefCell<MetaState>,
    pub(super) orders: RefCell<Vec<Order>>,
    /// The addresses of its one interface beside loopback.
    pub(super) interface: RefCell<Vec<IpAddr>>,
    /// Rows per slice; few, so that paging is always tested.
    pub(super) slice: usize,
    /// A core that is silent.
    pub(super) silent: Option<CoreId>,
    pub(super) now: Cell<Instant>,
    /// What each question takes.
    pub(super) answers_within: Duration,
    /// How many questions there were.
    pub(super) asked: Cell<usize>,
    /// How often a producer let others have their turn.
    pub(super) rests: Cell<usize>,
    pub(super) whole_answer: WholeAnswer,
}

pub(super) const CLIENT: &str = "127.0.0.1:58568";

/// The client of the captures: a publisher and a configurator on core 0, a subscriber on core 1, the datum on core 0.
pub(super) fn golden() -> FakeNode {
    let publisher = PublisherRow {
        registration: registration(
            "com.example.golden.Echo",
            "7d81966d-0d1f-4d69-aff9-1d8af914796d",
            1,
        ),
        boxes: vec!["10.0.0.1:12200?weight=100".into()],
    };
    let subscriber = SubscriberRow {
        registration: registration(
            "com.example.golden.Echo",
            "942a31f0-439a-446f-934d-89c34ab02c0a",
            1,
        ),
        scope: Scope::DataCenter,
    };
    let configurator = ConfiguratorRow {
        registration: registration(
            "com.example.golden.Config",
            "8d2bc38f-b86e-4c3a-9092-d721251a844e",
            0,
        ),
    };
    let datum = DatumRow {
        data_info_id: id("com.example.golden.Echo"),
        version: 8_162_278_206_996_480,
        publishers: 1,
    };
    let first = FakeCore {
        publishers: vec![publisher],
        configurators: vec![configurator],
        datums: vec![datum],
        connections: vec![connection(CLIENT)],
        ..FakeCore::default()
    };
    let second = FakeCore {
        subscribers: vec![subscriber],
        ..FakeCore::default()
    };
    with_cores(vec![first, second])
}

pub(super) fn empty() -> FakeNode {
    with_cores(vec![FakeCore::default(), FakeCore::default()])
}

pub(super) fn with_cores(cores: Vec<FakeCore>) -> FakeNode {
    let facts = Facts {
        cores: u16::try_from(cores.len()).expect("a few"),
        phase: Phase::Serving,
        roles: Roles::ALL,
        data_center: "DefaultDataCenter".into(),
        zone: "DEFAULT_ZONE".into(),
        bolt: "0.0.0.0:9600".parse().expect("an address"),
        advertise: None,
        started_ms: 1_795_364_900_000,
        troubles: Vec::new(),
        others: Vec::new(),
    };
    FakeNode {
        facts: RefCell::new(facts),
        cores: RefCell::new(cores),
        meta: RefCell::default(),
        orders: RefCell::default(),
        interface: RefCell::default(),
        slice: 2,
        silent: None,
        now: Cell::default(),
        answers_within: Duration::ZERO,
        asked: Cell::default(),
        rests: Cell::default(),
        whole_answer: WholeAnswer::default(),
    }
}

pub(super) fn id(data_id: &str) -> DataInfoId {
    DataInfoId::new(data_id, "", "")
}

pub(super) fn registration(data_id: &str, regist_id: &str, version: i64) -> RegistrationRow {
    RegistrationRow {
        data_info_id: id(data_id),
        regist_id: RegisterId::new(regist_id),
        zone: Some("DEFAULT_ZONE".into()),
        app: Some("golden-app".into()),
        process_id: None,
        address: address(CLIENT),
        version,
        client_ms: 1_795_364_962_334,
        registered_ms: 1_795_364_962_342,
    }
}

pub(super) fn connection(text: &str) -> ConnectionRow {
    ConnectionRow {
        address: address(text),
        core: CoreId(0),
        protocol: "bolt1".into(),
        client_version: None,
        app: Some("golden-app".into()),
        labels: vec![("zone".into(), "DEFAULT_ZONE".into())],
        received_bytes: 1200,
        sent_bytes: 3400,
        opened_ms: 1_795_364_962_000,
        publishers: 1,
        subscribers: 1,
        configurators: 1,
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

impl FakeNode {
    fn answer(&self, core: CoreId, query: Query) -> Answer {
        let cores = self.cores.borrow();
        let core = &cores[core.index()];
        match query {
            Query::Counts => Answer::Counts(core.counts()),
            Query::Publishers { of, after } | Query::StoredPublishers { of, after } => {
                let rows = self.slice(&core.publishers, after, |row| is_of(&of, &row.registration));
                Answer::Publishers(Slice {
                    rows: rows.rows.iter().map(held).collect(),
                    next: rows.next,
                })
            }
            Query::Subscribers { of, after } => {
                Answer::Subscribers(self.slice(&core.subscribers, after, |row| {
                    is_of(&of, &row.registration)
                }))
            }
            Query::Configurators { of, after } => {
                Answer::Configurators(self.slice(&core.configurators, after, |row| {
                    is_of(&of, &row.registration)
                }))
            }
            Query::DataInfoIds { after } => {
                Answer::DataInfoIds(self.slice(&core.ids(), after, |_| true))
            }
            Query::Datum { data_info_id } => Answer::Datum(
                core.datums
                    .iter()
                    .find(|datum| datum.data_info_id == data_info_id)
                    .cloned(),
            ),
            Query::Datums { after } => Answer::Datums(self.slice(&core.datums, after, |_| true)),
            Query::Connections { address, after } => {
                let is_meant = |row: &ConnectionRow| address.is_none_or(|it| row.address == it);
                Answer::Connections(self.slice(&core.connections, after, is_meant))
            }
            Query::Stats => Answer::Stats(Box::new(core.stats.clone())),
        }
    }

    /// A cursor is a place in the list, as a core that looks at a few rows at a time would have it.
    fn slice<T: Clone>(
        &self,
        rows: &[T],
        after: Cursor,
        is_wanted: impl Fn(&T) -> bool,
    ) -> Slice<T> {
        let start = match after {
            Cursor::Place { place, .. } => usize::try_from(place).expect("a small place"),
            _ => 0,
        };
        let end = rows.len().min(start + self.slice);
        let wanted = rows[start..end].iter().filter(|row| is_wanted(row));
        Slice {
            rows: wanted.cloned().collect(),
            next: (end < rows.len()).then_some(Cursor::at(end as u64)),
        }
    }

    /// What every core, and the control executor, does with a command.
    pub(super) fn apply(&self, command: MetaCommand) -> Result<Applied, NotProposed> {
        self.meta
            .borrow_mut()
            .apply(command)
            .map_err(NotProposed::Refused)
    }

    pub(super) fn is_off(&self, ip: &str) -> bool {
        let ip: IpAddr = ip.parse().expect("an address");
        self.meta
            .borrow()
            .is_client_off(rollcall_core::meta::Side::Publisher, ip)
    }
}

impl FakeCore {
    fn counts(&self) -> Counts {
        Counts {
            connections: self.connections.len() as u64,
            publishers: self.publishers.len() as u64,
            subscribers: self.subscribers.len() as u64,
            configurators: self.configurators.len() as u64,
            datums: self.datums.len() as u64,
            stored_publishers: self.datums.iter().map(|datum| datum.publishers).sum(),
            awaiting_publishers: 0,
        }
    }

    /// The fake has one home per id: the core with its publishers.
    fn ids(&self) -> Vec<DataInfoIdRow> {
        let rows = self.datums.iter().map(|datum| DataInfoIdRow {
            data_info_id: datum.data_info_id.clone(),
            publishers: datum.publishers,
        });
        rows.collect()
    }
}

/// The record that a core would hold.
fn held(row: &PublisherRow) -> HeldPublisher {
    let registration = &row.registration;
    let order = rollcall_core::publisher::Order {
        version: registration.version,
        stamp: 1,
        timestamp: registration.client_ms,
    };
    let publisher = Publisher {
        register_id: registration.regist_id.clone(),
        holder: Holder::NOBODY,
        order,
        zone: registration.zone.clone().expect("publishers have a zone"),
        app: registration.app.clone().unwrap_or_default(),
        address: registration.address,
        registered_ms: registration
            .registered_ms
            .try_into()
            .expect("a time of our age"),
        boxes: row.boxes.iter().map(String::as_str).collect::<Boxes>(),
    };
    HeldPublisher {
        data_info_id: registration.data_info_id.clone(),
        publisher: publisher.into(),
    }
}

fn is_of(of: &Selection, row: &RegistrationRow) -> bool {
    match of {
        Selection::All => true,
        Selection::DataInfoId(id) => row.data_info_id == *id,
        Selection::Connections(addresses) => addresses.contains(&row.address),
    }
}

impl Node for Rc<FakeNode> {
    fn facts(&self) -> Facts {
        self.facts.borrow().clone()
    }

    fn addresses_beside(&self, ip: IpAddr) -> Vec<IpAddr> {
        let interface = self.interface.borrow();
        match interface.contains(&ip) {
            true => interface.clone(),
            false => Vec::new(),
        }
    }

    fn wall_ms(&self) -> u64 {
        1_795_365_000_000
    }

    fn monotonic(&self) -> Instant {
        self.now.get()
    }

    fn rest(&self) -> Pending<()> {
        self.rests.set(self.rests.get() + 1);
        Box::pin(std::future::ready(()))
    }

    fn whole_answer(&self) -> Option<WholeAnswer> {
        self.whole_answer.take()
    }

    fn meta(&self) -> Ref<'_, MetaState> {
        self.meta.borrow()
    }

    fn ask(&self, core: CoreId, query: Query) -> Pending<Result<Answer, Unanswered>> {
        let node = Self::clone(self);
        self.now.set(self.now.get() + self.answers_within);
        self.asked.set(self.asked.get() + 1);
        Box::pin(async move {
            match node.silent {
                Some(silent) if silent == core => Err(Unanswered {
                    core: Some(core),
                    why: "it is busy".into(),
                }),
                _ => Ok(node.answer(core, query)),
            }
        })
    }

    fn order(&self, order: Order) -> Pending<Result<u64, Unanswered>> {
        self.orders.borrow_mut().push(order);
        Box::pin(std::future::ready(Ok(1)))
    }

    fn propose(&self, command: MetaCommand) -> Pending<Result<Proposed, NotProposed>> {
        let applied = self.apply(command);
        let proposed = applied.map(|applied| Proposed { applied, met: 2 });
        Box::pin(std::future::ready(proposed))
    }
}
