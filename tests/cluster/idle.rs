//! Silence: who may be silent for how long, and who is gone.

use std::io::Write;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use rollcall_tests::frame::Frame;
use rollcall_tests::{Client, ONE_OF_EACH, Options, Published, RawClient, Registration, Rollcall};

/// Longer than the idle close of 90 s, and than three rounds of the clients' periodic traffic.
const IDLE: Duration = Duration::from_secs(100);

/// Often enough for the shortest idle close of these tests.
const HEARTBEATS_APART: Duration = Duration::from_millis(300);

/// Keeps a raw client lively while it waits for something else.
pub(crate) struct Heartbeats(Sender<()>);

impl Heartbeats {
    pub(crate) fn of(client: &RawClient) -> Self {
        let (end, ended) = mpsc::channel();
        let mut writer = client.writer();
        std::thread::spawn(move || {
            while ended.recv_timeout(HEARTBEATS_APART) == Err(RecvTimeoutError::Timeout) {
                if writer
                    .write_all(&Frame::heartbeat(1_000_000).encode())
                    .is_err()
                {
                    return;
                }
            }
        });
        Self(end)
    }

    fn end(self) {
        drop(self.0);
    }
}

/// With the real limit and real time, because only that shows what the clients do on their own. One node is enough: silence crosses no core.
#[test]
fn an_idle_publisher_stays() {
    let node = Rollcall::start(2);
    let mut publishers: Vec<_> = or_skip!(
        ONE_OF_EACH
            .iter()
            .map(|kind| Client::of(*kind, &node))
            .collect::<Option<_>>()
    );
    let mut observer = or_skip!(Client::of(Published::Java("5.4.3"), &node));
    observer.subscribe("list", "idle", "global");
    observer.subscribe("empty", "nobody publishes this", "global");
    for (place, publisher) in publishers.iter_mut().enumerate() {
        publisher.publish("service", "idle", &[format!("publisher {place}").into()]);
    }
    let all = ["publisher 0", "publisher 1", "publisher 2"];
    observer.lists_until_strings("list", &all);
    let connections = node.addresses.connections("").len();

    let meanwhile = observer.lists_during("list", IDLE);

    // After 30 s the client learns which segments there are and calls its observers again, with what they know.
    assert!(
        meanwhile
            .iter()
            .all(|seen| seen.strings().len() == all.len()),
        "{meanwhile:#?}"
    );
    assert!(observer.peek("empty").is_empty());
    assert_eq!(
        node.addresses.connections("").len(),
        connections,
        "nobody was cut"
    );
    publishers[0].republish("service", &["news".into()]);
    observer.lists_until_strings("list", &["news", "publisher 1", "publisher 2"]);
}

on_one_and_two_cores! {
    fn a_silent_connection_is_closed_and_what_it_owned_goes(cores: usize) {
        let node = Rollcall::with(Options::cores(cores).set("session.idle_close_ms", 2_000));
        let mut silent = node.client();
        let mut lively = node.client();
        lively.register_well(&Registration::new("silence", "s").subscribe("zone"));
        lively.list();
        silent.register_well(&Registration::new("silence", "p").publish(Some(&["value".into()])));
        lively.list_of(&["value"]);

        let heartbeats = Heartbeats::of(&lively);
        silent.until_closed(Duration::from_secs(10));

        assert!(lively.list().zones.is_empty());
        heartbeats.end();
    }

    fn a_frozen_publisher_leaves_with_the_idle_close(cores: usize) {
        let node = Rollcall::with(Options::cores(cores).set("session.idle_close_ms", 3_000));
        let mut observer = node.client();
        observer.register_well(&Registration::new("frozen", "s").subscribe("zone"));
        observer.list();
        let mut publisher = or_skip!(Client::of(Published::Java("6.5.6"), &node));
        publisher.publish("service", "frozen", &["value".into()]);
        observer.list_of(&["value"]);

        let heartbeats = Heartbeats::of(&observer);
        publisher.freeze();
        assert!(observer.list().zones.is_empty());
        publisher.thaw();

        observer.list_of(&["value"]);
        heartbeats.end();
    }
}
