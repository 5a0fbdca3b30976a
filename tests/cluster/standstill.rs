//! A node that stood still judges nobody by that time.

use std::time::{Duration, Instant};

use rollcall_tests::program::signal;
use rollcall_tests::{Options, RawClient, Registration, Rollcall, Text};

use crate::idle::Heartbeats;

/// Longer than the idle close of these nodes.
const PAUSE: Duration = Duration::from_secs(5);

/// Stops a node, and lets it go on after the pause.
fn pause(node: &Rollcall, meanwhile: impl FnOnce()) {
    signal(node.pid(), "STOP");
    let over = Instant::now() + PAUSE;
    meanwhile();
    while Instant::now() < over {
        std::thread::park_timeout(over - Instant::now());
    }
    signal(node.pid(), "CONT");
}

fn value(number: usize) -> String {
    format!("value {number}")
}

fn publishes(client: &mut RawClient, number: usize) {
    let registration = Registration::new("standstill", &format!("p{number}"));
    client.send(&registration.publish(Some(&[value(number).as_str().into()])));
}

on_one_and_two_cores! {
    fn a_stop_makes_no_list_shorter(cores: usize) {
        let options = Options::cores(cores).set("session.idle_close_ms", 4_000);
        let node = Rollcall::with(options.set("session.grace_ms", 3_000));
        let mut observer = node.client();
        let mut clients: Vec<_> = (0..12).map(|_| node.client()).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            publishes(client, number);
            client.heartbeat();
        }
        observer.register_well(&Registration::new("standstill", "s").subscribe("zone"));
        observer.list_until(|list| list.strings().len() == 12);
        let mut dead = node.client();
        publishes(&mut dead, 12);
        observer.list_until(|list| list.strings().len() == 13);

        pause(&node, || {
            drop(dead);
            // These give up and come back, under the same names; the others are merely quiet.
            for (number, client) in clients.iter_mut().enumerate().take(6) {
                *client = node.client();
                publishes(client, number);
            }
        });

        let _beats: Vec<_> = clients.iter().chain([&observer]).map(Heartbeats::of).collect();
        // Only who died is missing at last, and nobody before.
        let all: Vec<Text> = (0..12).map(|number| value(number).as_str().into()).collect();
        observer.list_until(|list| {
            let listed = list.strings();
            assert!(all.iter().all(|living| listed.contains(living)), "{list:?}");
            listed.len() == all.len()
        });
        let told = "this core stood still: what queued up is heard before anybody's end is taken, silence counts anew";
        assert_eq!(node.logged(told).len(), cores);
        assert!(node.metric("rollcall_standstills_total") >= 1);
        assert!(node.metric("rollcall_standstill_milliseconds_total") >= 4_000);
    }
}
