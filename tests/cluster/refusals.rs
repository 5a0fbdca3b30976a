//! Registrations that are not taken, and what the published clients make of that.

use std::time::Duration;

use rollcall_tests::program::Options;
use rollcall_tests::{Client, EVERY_CLIENT, ONE_OF_EACH, Registration, Rollcall, Text, eventually};

const REFUSED: &str = r#"rollcall_responses_total{outcome="refused"}"#;
const TOO_LONG: &str = r#"rollcall_registrations_refused_total{bound="name_length"}"#;

on_one_and_two_cores! {
    fn what_can_never_be_taken_is_asked_once_by_every_published_client(cores: usize) {
        let node = Rollcall::start(cores);
        let of = |kind: &_| Client::of(*kind, &node);
        let mut clients: Vec<Client> = or_skip!(EVERY_CLIENT.iter().map(of).collect());
        let long = Text::from("x".repeat(5_000));

        for client in &mut clients {
            client.subscribe("watch", "service", "zone");
            client.list("watch");
            client.publish("long", long.clone(), &[]);
        }
        let asked = clients.len() as u64;
        eventually("each has asked", || node.metric(TOO_LONG) >= asked);
        // A client that goes on asking does so twice a second.
        for client in &mut clients {
            client.lists_during("watch", Duration::from_millis(500));
        }

        assert_eq!(node.metric(TOO_LONG), asked);
        let lines = node.logged("request refused; further ones of this address are counted");
        assert!((1..=cores).contains(&lines.len()), "{lines:?}");
        assert_eq!((&lines[0]["service"], &lines[0]["app"]), (&"x".repeat(256).into(), &"tests".into()));
        assert!(lines[0]["reason"].as_str().is_some_and(|reason| reason.contains("1024")));
    }

    fn what_an_earlier_publisher_keeps_out_is_taken_when_that_is_gone(cores: usize) {
        let node = Rollcall::with(Options::cores(cores).set("session.list_bytes_max", 1 << 20));
        let of = |kind: &_| Client::of(*kind, &node);
        let clients: Vec<Client> = or_skip!(ONE_OF_EACH.iter().map(of).collect());
        for mut client in clients {
            let mut first = node.client();
            let large = [Text::from("x".repeat(600_000))];
            let registration = Registration::new("service", "first");
            first.register_well(&registration.publish(Some(&large)));
            let refused = node.metric(REFUSED);

            client.publish("mine", "service", &large);
            eventually("it has asked and asked again", || node.metric(REFUSED) >= refused + 2);
            first.close();

            client.subscribe("watch", "service", "zone");
            client.lists_until_strings("watch", &large);
            client.unregister("mine");
            client.lists_until("watch", |seen| seen.zones.is_empty());
        }
    }
}
