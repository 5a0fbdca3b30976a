//! A push to a thousand subscribers costs one encoding and no allocation per subscriber, and a service that is empty little memory: counted,
//! not believed.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;

use rollcall_core::bolt::Protocol;
use rollcall_core::data::journal::Journal;
use rollcall_core::data::{self, Data};
use rollcall_core::limits;
use rollcall_core::machine::{Instant, Machine, Now};
use rollcall_core::message::Boxes;
use rollcall_core::names::{ConnectId, CoreId, DataInfoId, Member, RegisterId, Scope};
use rollcall_core::ring::HashRing;
use rollcall_core::session::answer::ReplyTo;
use rollcall_core::session::request::{Declared, Request};
use rollcall_core::session::{Effect, Event, Place, Session};
use rollcall_core::tables::Seed;
use rollcall_core::version::DatumVersion;

const SUBSCRIBERS: u32 = 1000;
/// The record, its notice, the body and what holds it: none of it per subscriber.
const ALLOCATIONS_PER_CHANGE_MAX: u64 = 40;

/// With its name of 55 bytes.
const SERVICE_BYTES_MAX: i64 = 400;

/// The system's allocator, counting.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<i64> = const { Cell::new(0) };
}

fn count_bytes(layout: Layout, sign: i64) {
    let len = i64::try_from(layout.size()).unwrap_or(i64::MAX);
    BYTES.with(|bytes| bytes.set(bytes.get() + sign * len));
}

#[expect(unsafe_code, reason = "only a global allocator sees every allocation")]
// SAFETY: everything is the system allocator's; counting touches a thread-local cell that needs no allocation.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        count_bytes(layout, 1);
        // SAFETY: the caller's promises are those that the system allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count_bytes(layout, -1);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

/// One core and a driver that reuses its buffers, as the real one does.
struct Node {
    session: Session,
    data: Data,
    now: Now,
    effects: Vec<Effect>,
    queue: Vec<Effect>,
    said: Vec<data::Effect>,
    bytes: Vec<u8>,
    pushed: Vec<(ConnectId, u32)>,
    me: Member,
}

impl Node {
    fn new() -> Self {
        let me = Member::default();
        let place = Place {
            me,
            incarnation: 1,
            cores: 1,
            ring: HashRing::of_node(me.node, 1),
        };
        Self {
            session: Session::new(place, Seed(1)),
            data: Data::new(Seed(1), DatumVersion::NOTHING_KNOWN, Journal::off()),
            now: Now {
                monotonic: Instant(1),
                wall_ms: 1_800_000_000_000,
            },
            effects: Vec::new(),
            queue: Vec::new(),
            said: Vec::new(),
            bytes: Vec::new(),
            pushed: Vec::new(),
            me,
        }
    }

    fn tell(&mut self, event: Event) {
        self.session.handle(self.now, event, &mut self.effects);
        self.perform();
    }

    /// Turns until nothing is due.
    fn run(&mut self) {
        let is_due = |at: Option<Instant>, now: Now| at.is_some_and(|at| at <= now.monotonic);
        while is_due(self.session.next_timeout(), self.now)
            || is_due(self.data.next_timeout(), self.now)
        {
            self.data.handle_timeout(self.now, &mut self.said);
            self.pass_on();
            self.session.handle_timeout(self.now, &mut self.effects);
            self.perform();
        }
    }

    fn perform(&mut self) {
        while !self.effects.is_empty() {
            std::mem::swap(&mut self.effects, &mut self.queue);
            let mut queue = std::mem::take(&mut self.queue);
            for effect in queue.drain(..) {
                self.perform_one(effect);
            }
            self.queue = queue;
        }
    }

    fn perform_one(&mut self, effect: Effect) {
        match effect {
            Effect::ToData { message, .. } => {
                let session = self.me;
                let event = data::Event::FromSession { session, message };
                self.data.handle(self.now, event, &mut self.said);
                self.pass_on();
            }
            Effect::Push {
                connect_id,
                request_id,
            } => {
                self.bytes.clear();
                let written = self
                    .session
                    .write_push(connect_id, request_id, &mut self.bytes);
                assert!(written.is_some_and(|written| !written.body.is_empty()));
                self.pushed.push((connect_id, request_id));
            }
            _ => {}
        }
    }

    fn pass_on(&mut self) {
        let mut said = std::mem::take(&mut self.said);
        for effect in said.drain(..) {
            let data::Effect::ToSession { message, .. } = effect else {
                panic!("without a journal there is nothing else to do: {effect:?}");
            };
            self.session
                .handle(self.now, Event::FromData(message), &mut self.effects);
        }
        self.said = said;
    }

    /// What was pushed is sent and acknowledged; gives how many that were.
    fn deliver(&mut self) -> usize {
        let mut delivered = 0;
        while !self.pushed.is_empty() {
            let mut pushed = std::mem::take(&mut self.pushed);
            delivered += pushed.len();
            for (connect_id, request_id) in pushed.drain(..) {
                self.tell(Event::Sent {
                    connect_id,
                    request_id,
                });
                self.tell(Event::Acknowledged {
                    connect_id,
                    request_id,
                    delivered: true,
                });
            }
            if self.pushed.is_empty() {
                self.pushed = pushed;
            }
            self.run();
        }
        delivered
    }

    fn open(&mut self, slot: u32) -> ConnectId {
        let connect_id = ConnectId {
            core: CoreId(0),
            slot,
            generation: 1,
        };
        self.tell(Event::Opened {
            connect_id,
            stamp: u64::from(slot),
            peer: SocketAddr::from(([127, 0, 0, 1], 1)),
            local: SocketAddr::from(([127, 0, 0, 1], 9600)),
        });
        connect_id
    }

    fn ask(&mut self, connect_id: ConnectId, request: Request) {
        let reply_to = ReplyTo {
            protocol: Protocol::V1,
            codec: 1,
            request_id: 1,
            one_way: false,
        };
        self.tell(Event::Asked {
            connect_id,
            reply_to,
            request,
        });
        self.run();
    }

    fn declare(&mut self, on: ConnectId, data_info_id: &DataInfoId, text: Option<&str>) {
        let request = Request::Publisher {
            declared: Declared {
                data_info_id: data_info_id.clone(),
                ..declared("6ed653d2-e57c-4947-a14d-f8d1319bf4d4", 1)
            },
            boxes: text.map(|text| [text].into_iter().collect()),
        };
        self.ask(on, request);
    }

    fn publish(&mut self, on: ConnectId, version: i64) {
        let text: Vec<u16> = vec![u16::from(b'x'); 1024];
        let request = Request::Publisher {
            declared: declared("6ed653d2-e57c-4947-a14d-f8d1319bf4d4", version),
            boxes: Some(Boxes::from_utf16([
                text.as_slice(),
                &[u16::try_from(version).expect("few")],
            ])),
        };
        self.ask(on, request);
    }
}

fn declared(register_id: &str, version: i64) -> Declared {
    Declared {
        data_info_id: DataInfoId::new("service", "", ""),
        register_id: RegisterId::new(register_id),
        version,
        timestamp: 1,
        zone: "zone".into(),
        app: "app".into(),
    }
}

#[test]
fn a_change_pushed_to_a_thousand_subscribers_allocates_nothing_for_each() {
    let mut node = Node::new();
    let publisher = node.open(0);
    for slot in 1..=SUBSCRIBERS {
        let subscriber = node.open(slot);
        let register_id = format!("6ed653d2-e57c-4947-a14d-{slot:012x}");
        let request = Request::Subscriber {
            declared: declared(&register_id, 1),
            scope: Scope::DataCenter,
            registers: true,
        };
        node.ask(subscriber, request);
    }
    node.deliver();
    for version in 1..=3 {
        node.publish(publisher, version);
        node.deliver();
    }
    let encoded = node.session.gauge().bodies_encoded;

    let before = allocations();
    node.publish(publisher, 4);
    let pushed = allocations() - before;
    let delivered = node.deliver();
    let acknowledged = allocations() - before - pushed;

    println!("allocations: {pushed} to push, {acknowledged} to take the acknowledgements");
    assert_eq!(delivered, SUBSCRIBERS as usize);
    assert_eq!(node.session.gauge().bodies_encoded, encoded + 1);
    assert!(pushed <= ALLOCATIONS_PER_CHANGE_MAX, "{pushed} allocations");
    assert_eq!(acknowledged, 0);
}

/// Once its publisher is gone for longer than anything is remembered of that, only the version of a service is kept.
#[test]
fn a_service_without_publishers_takes_little_memory() {
    const SERVICES: usize = 20_000;
    let mut node = Node::new();
    let client = node.open(0);
    let service = |number: usize| {
        let name = format!("com.example.orders.OrderService{number:06}:1.0@DEFAULT");
        DataInfoId::new(&name, "", "")
    };

    let before = BYTES.with(Cell::get);
    for service in (0..SERVICES).map(service) {
        node.declare(client, &service, Some("10.0.0.1:12200?weight=100"));
        node.declare(client, &service, None);
    }
    node.now.monotonic = node.now.monotonic + 2 * limits::TOMBSTONE_KEPT;
    node.run();
    let bytes = (BYTES.with(Cell::get) - before) / i64::try_from(SERVICES).expect("few");

    println!("bytes of a service without publishers: {bytes}");
    assert_eq!(node.data.gauge().datums, SERVICES as u64);
    assert!(bytes <= SERVICE_BYTES_MAX, "{bytes} bytes");
}
