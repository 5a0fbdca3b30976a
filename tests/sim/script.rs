//! Stories with their full trace: a script says what happens, the file says what the machines did about it.
//!
//! Lines with `#` are prose, lines with `>` are commands, all others are the trace. `ROLLCALL_REWRITE=1` writes the trace anew.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use rollcall_core::names::Scope;
use rollcall_core::session::{EndedBy, Event};
use rollcall_core::tables::Seed;

use crate::client::{Client, Publishing, Sending, Subscribing};
use crate::invariants;
use crate::life::Zone;
use crate::world::{Size, World};

const TICK: Duration = Duration::from_millis(10);

/// Runs the story in this file and compares its trace.
pub(crate) fn tells(path: &Path) {
    let written = std::fs::read_to_string(path).expect("a script");
    let mut story = Story::new();
    for line in written.lines() {
        story.line(line);
    }
    story.end();
    if std::env::var_os("ROLLCALL_REWRITE").is_some() {
        std::fs::write(path, &story.text).expect("the script can be written");
        return;
    }
    assert_eq!(story.text, written, "{}", path.display());
}

struct Story {
    world: World,
    text: String,
}

impl Story {
    fn new() -> Self {
        let mut world = World::new(1, Size { nodes: 1, cores: 2 }, None, Seed(1));
        world.calm = true;
        world.story = Some(Vec::new());
        Self {
            world,
            text: String::new(),
        }
    }

    fn line(&mut self, line: &str) {
        if line.starts_with('#') || line.is_empty() {
            writeln!(self.text, "{line}").expect("memory");
        }
        let Some(command) = line.strip_prefix("> ") else {
            return;
        };
        writeln!(self.text, "{line}").expect("memory");
        let words: Vec<&str> = command.split_whitespace().collect();
        self.perform(&words);
        for told in self
            .world
            .story
            .iter_mut()
            .flat_map(|story| story.drain(..))
        {
            writeln!(self.text, "{told}").expect("memory");
        }
    }

    fn end(&mut self) {
        let broken = self.world.broken.take();
        assert_eq!(broken, None);
        assert_eq!(
            invariants::check_quiet(&self.world),
            Ok(()),
            "{}",
            self.text
        );
    }

    fn perform(&mut self, words: &[&str]) {
        match *words {
            ["client", name] => self.client(name),
            ["connect", name, core] => {
                let core = core.parse().expect("a core");
                self.world.connect(client(name), 0, core);
            }
            ["publish", name, register_id, zone] => self.publish(name, register_id, zone),
            ["republish", name, register_id, text] => {
                let one = self.publishing(name, register_id);
                one.text = text.to_owned();
                one.version += 1;
                one.sending = Sending::Due;
            }
            ["unpublish", name, register_id] => {
                let one = self.publishing(name, register_id);
                one.wanted = false;
                one.version += 1;
                one.sending = Sending::Due;
            }
            ["subscribe", name, register_id, scope, zone] => {
                self.subscribe(name, register_id, scope, zone);
            }
            ["leave", name, ms, by] => {
                let noticed = Duration::from_millis(ms.parse().expect("milliseconds"));
                self.world.leave(client(name), noticed, by_whom(by));
            }
            ["kill", name] => {
                self.world
                    .leave(client(name), Duration::ZERO, EndedBy::Peer);
                self.world.clients[client(name)].lives = false;
            }
            ["end", name, by] => {
                let key = self.world.clients[client(name)].connection;
                self.world.end(key.expect("it is connected"), by_whom(by));
            }
            ["drain"] => (0..2).for_each(|core| self.world.tell_session(core, Event::Draining)),
            ["run", ms] => {
                let ms: u64 = ms.parse().expect("milliseconds");
                for _ in 0..ms.div_ceil(10) {
                    self.world.tick(TICK);
                }
            }
            _ => panic!("no such command: {words:?}"),
        }
    }

    fn client(&mut self, name: &str) {
        assert_eq!(
            client(name),
            self.world.clients.len(),
            "clients are numbered"
        );
        let number = u16::try_from(client(name)).expect("few clients");
        self.world.clients.push(Client {
            clock_ms: 0,
            renews_timestamps: true,
            peer: SocketAddr::from(([10, 0, 0, 1], 10_000 + number)),
            lives: true,
            connection: None,
            reconnects_at: self.world.now.monotonic,
            one_at_a_time: false,
            publishers: Vec::new(),
            subscribers: Vec::new(),
        });
    }

    fn publish(&mut self, name: &str, register_id: &str, zone: &str) {
        self.world.clients[client(name)]
            .publishers
            .push(Publishing {
                timestamp: 0,
                service: service(register_id),
                register_id: register_id.to_owned(),
                zone: known_zone(zone),
                version: 1,
                text: "one".to_owned(),
                wanted: true,
                sending: Sending::Due,
                acknowledged: None,
            });
    }

    fn publishing(&mut self, name: &str, register_id: &str) -> &mut Publishing {
        let mut publishers = self.world.clients[client(name)].publishers.iter_mut();
        let one = publishers.find(|one| one.register_id == register_id);
        one.expect("it is published")
    }

    fn subscribe(&mut self, name: &str, register_id: &str, scope: &str, zone: &str) {
        self.world.clients[client(name)]
            .subscribers
            .push(Subscribing {
                service: service(register_id),
                register_id: register_id.to_owned(),
                zone: known_zone(zone),
                scope: Scope::from_wire(Some(scope)),
                wanted: true,
                sending: Sending::Due,
                held: None,
            });
    }
}

/// `c3` is the fourth client.
fn client(name: &str) -> usize {
    let number = name
        .strip_prefix('c')
        .and_then(|number| number.parse().ok());
    number.expect("a client is named c and its number")
}

/// `p1@2.c0` is of service 2.
pub(crate) fn service(register_id: &str) -> usize {
    let (_, rest) = register_id.split_once('@').expect("name@service.client");
    let (service, _) = rest.split_once('.').expect("name@service.client");
    service.parse().expect("a number")
}

fn known_zone(zone: &str) -> Zone {
    match zone {
        "zone-a" => "zone-a",
        "zone-b" => "zone-b",
        _ => panic!("no such zone: {zone}"),
    }
}

fn by_whom(by: &str) -> EndedBy {
    match by {
        "peer" => EndedBy::Peer,
        "silence" => EndedBy::Silence,
        "us" => EndedBy::Us,
        _ => panic!("nobody ends connections so: {by}"),
    }
}
