//! What do the decisions of a registry cost: finding an owner, keeping a registration, and a change for 1,000 subscribers without a kernel?

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rollcall_core::bolt::{CODEC_HESSIAN, Protocol};
use rollcall_core::data::journal::Journal;
use rollcall_core::data::{self, Data};
use rollcall_core::exchange::{ToData, Token};
use rollcall_core::machine::{Instant, Machine, Now};
use rollcall_core::message::Boxes;
use rollcall_core::names::{
    ConnectId, CoreId, DataInfoId, Member, Name, NodeId, RegisterId, Scope,
};
use rollcall_core::publisher::{Holder, Order, Publisher};
use rollcall_core::ring::HashRing;
use rollcall_core::session::answer::ReplyTo;
use rollcall_core::session::request::{Declared, Request};
use rollcall_core::session::{self, Place, Session};
use rollcall_core::tables::Seed;
use rollcall_core::version::DatumVersion;

const NODE: NodeId = NodeId(1);
const ME: Member = Member {
    node: NODE,
    core: CoreId(0),
};
const SEED: Seed = Seed(7);

fn now(ms: u64) -> Now {
    Now {
        monotonic: Instant(ms * 1_000_000),
        wall_ms: 1_795_322_736_982 + ms,
    }
}

fn service(number: usize) -> DataInfoId {
    DataInfoId::new(
        &format!("com.example.Service{number}:1.0@DEFAULT"),
        "",
        "SOFA",
    )
}

fn register_id(kind: u16, number: usize) -> RegisterId {
    RegisterId::new(&format!("00000000-0000-4000-{kind:04x}-{number:012x}"))
}

fn connection(slot: usize) -> ConnectId {
    ConnectId {
        core: ME.core,
        slot: u32::try_from(slot).expect("a handful"),
        generation: 1,
    }
}

fn boxes(change: u64) -> Boxes {
    // As long as a real address with its parameters.
    let text = format!(
        "10.0.0.1:12200?change={change:020}&{}",
        "weight=100&".repeat(14)
    );
    [text.as_str()].into_iter().collect()
}

/// Which core of which node owns a service, in a cluster of 8 nodes with 16 cores each?
fn ring(c: &mut Criterion) {
    let members = (0..8).flat_map(|node| {
        (0..16).map(move |core| Member {
            node: NodeId(node),
            core: CoreId(core),
        })
    });
    let ring = HashRing::new(members);
    let ids: Vec<_> = (0..1_000).map(service).collect();
    let mut next = ids.iter().cycle();
    let mut group = c.benchmark_group("ring");
    group.bench_function("owner", |b| {
        b.iter(|| ring.owner(next.next().expect("it cycles")))
    });
    group.bench_function("three_owners", |b| {
        b.iter(|| ring.owners(next.next().expect("it cycles"), 3))
    });
    group.finish();
}

/// What does an owner need to keep a registration, in a service of so many publishers?
fn datum_put(c: &mut Criterion) {
    let mut group = c.benchmark_group("datum_put");
    for publishers in [10, 1_000, 10_000] {
        let mut data = Data::new(SEED, DatumVersion::NOTHING_KNOWN, Journal::off());
        let mut out = Vec::new();
        let mut put = |data: &mut Data, (version, event): (u64, data::Event)| {
            data.handle(now(version), event, &mut out);
            data.handle_timeout(now(version), &mut out);
            out.clear();
        };
        for number in 0..publishers {
            put(&mut data, (1, event(number, 1)));
        }
        let mut version = 1;
        let mut next = || {
            version += 1;
            let number = usize::try_from(version).expect("64 bits") % publishers;
            (version, event(number, version))
        };
        group.bench_function(publishers.to_string(), |b| {
            b.iter_batched(
                &mut next,
                |event| put(&mut data, event),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn event(number: usize, version: u64) -> data::Event {
    let publisher = Publisher {
        register_id: register_id(1, number),
        holder: Holder {
            node: NODE,
            incarnation: 1,
            connect_id: connection(number),
        },
        order: Order {
            version: i64::try_from(version).expect("a run ends"),
            stamp: 1,
            timestamp: 1,
        },
        zone: Name::from("DEFAULT_ZONE"),
        app: Name::from("bench"),
        address: address(),
        registered_ms: 1,
        boxes: boxes(version),
    };
    let message = ToData::Put {
        data_info_id: service(0),
        publisher: Arc::new(publisher),
        token: Token(version),
    };
    data::Event::FromSession {
        session: ME,
        message,
    }
}

fn address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 12_200))
}

/// One core's machines and as many clients as subscribe to one service.
struct Core {
    session: Session,
    data: Data,
    wanted: Vec<session::Effect>,
    said: Vec<data::Effect>,
    out: Vec<u8>,
    changes: u64,
}

impl Core {
    fn with_subscribers(count: usize) -> Self {
        let place = Place {
            me: ME,
            incarnation: 1,
            cores: 1,
            ring: HashRing::of_node(NODE, 1),
        };
        let mut core = Self {
            session: Session::new(place, SEED),
            data: Data::new(SEED, DatumVersion::NOTHING_KNOWN, Journal::off()),
            wanted: Vec::new(),
            said: Vec::new(),
            out: Vec::with_capacity(64 << 10),
            changes: 0,
        };
        for slot in 0..=count {
            core.tell(session::Event::Opened {
                connect_id: connection(slot),
                stamp: slot as u64 + 1,
                peer: address(),
                local: address(),
            });
        }
        for slot in 1..=count {
            let request = Request::Subscriber {
                declared: declared(2, slot, 1),
                scope: Scope::DataCenter,
                registers: true,
            };
            core.ask(slot, request);
        }
        let pushes = core.turns();
        assert_eq!(pushes, count, "everyone gets a first push");
        core
    }

    fn ask(&mut self, slot: usize, request: Request) {
        let reply_to = ReplyTo {
            protocol: Protocol::V1,
            codec: CODEC_HESSIAN,
            request_id: 1,
            one_way: false,
        };
        self.tell(session::Event::Asked {
            connect_id: connection(slot),
            reply_to,
            request,
        });
    }

    /// Publishes a change; every subscriber is pushed and acknowledges. Answers with the number of pushes.
    fn change(&mut self) -> usize {
        self.changes += 1;
        let request = Request::Publisher {
            declared: declared(1, 0, i64::try_from(self.changes).expect("a run ends")),
            boxes: Some(boxes(self.changes)),
        };
        self.ask(0, request);
        self.turns()
    }

    fn now(&self) -> Now {
        now(1 + self.changes)
    }

    fn tell(&mut self, event: session::Event) {
        self.session.handle(self.now(), event, &mut self.wanted);
    }

    /// Turns until nothing is left to do.
    fn turns(&mut self) -> usize {
        let mut pushes = 0;
        loop {
            let now = self.now();
            pushes += self.perform();
            self.data.handle_timeout(now, &mut self.said);
            self.hear_data();
            self.session.handle_timeout(now, &mut self.wanted);
            if self.wanted.is_empty() && self.said.is_empty() {
                return pushes;
            }
        }
    }

    fn perform(&mut self) -> usize {
        let mut pushes = 0;
        let now = self.now();
        for effect in std::mem::take(&mut self.wanted) {
            match effect {
                session::Effect::ToData { message, .. } => {
                    let event = data::Event::FromSession {
                        session: ME,
                        message,
                    };
                    self.data.handle(now, event, &mut self.said);
                }
                session::Effect::Push {
                    connect_id,
                    request_id,
                } => {
                    pushes += 1;
                    self.out.clear();
                    black_box(
                        self.session
                            .write_push(connect_id, request_id, &mut self.out),
                    );
                    self.tell(session::Event::Sent {
                        connect_id,
                        request_id,
                    });
                    self.tell(session::Event::Acknowledged {
                        connect_id,
                        request_id,
                        delivered: true,
                    });
                }
                session::Effect::Answer {
                    reply_to, answer, ..
                } => {
                    self.out.clear();
                    answer.encode(reply_to, &mut self.out);
                }
                _ => {}
            }
        }
        self.hear_data();
        pushes
    }

    fn hear_data(&mut self) {
        for effect in std::mem::take(&mut self.said) {
            let data::Effect::ToSession { message, .. } = effect else {
                panic!("without a journal there is nothing else to do: {effect:?}");
            };
            self.tell(session::Event::FromData(message));
        }
    }
}

fn declared(kind: u16, number: usize, version: i64) -> Declared {
    Declared {
        data_info_id: service(0),
        register_id: register_id(kind, number),
        version,
        timestamp: version,
        zone: Name::from("DEFAULT_ZONE"),
        app: Name::from("bench"),
    }
}

/// What is our own share of a change for N subscribers: decide, encode once, write each prefix, take each acknowledgement?
fn fan_out(c: &mut Criterion) {
    let mut group = c.benchmark_group("change_for_subscribers");
    for subscribers in [1, 1_000] {
        let mut core = Core::with_subscribers(subscribers);
        group.throughput(Throughput::Elements(subscribers as u64));
        group.bench_function(subscribers.to_string(), |b| {
            b.iter(|| assert_eq!(core.change(), subscribers));
        });
    }
    group.finish();
}

criterion_group!(benches, ring, datum_put, fan_out);
criterion_main!(benches);
