//! SIGTERM: the node hands its clients over and tells nobody that anything is gone.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use rollcall_tests::frame::Kind;
use rollcall_tests::{Options, RawClient, Registration, Rollcall, eventually, http};

const PAIRS: usize = 100;

on_one_and_two_cores! {
    fn a_drain_pushes_nothing_and_ends_with_exit_code_0(cores: usize) {
        let mut node = Rollcall::with(Options::cores(cores).set("session.drain_ms", 2_000));
        let mut publishers: Vec<_> = (0..PAIRS).map(|_| node.client()).collect();
        let mut subscribers: Vec<_> = (0..PAIRS).map(|_| node.client()).collect();
        for (number, publisher) in publishers.iter_mut().enumerate() {
            let service = Registration::new(&format!("service {}", number % 10), &format!("p{number}"));
            publisher.register_well(&service.publish(Some(&[format!("value {number}").into()])));
        }
        for (number, subscriber) in subscribers.iter_mut().enumerate() {
            let service = Registration::new(&format!("service {}", number % 10), &format!("s{number}"));
            subscriber.register_well(&service.subscribe("global"));
            subscriber.list_until(|list| list.strings().len() == PAIRS / 10);
        }

        node.terminate();

        let started = Instant::now();
        let ends: Vec<_> = subscribers.into_iter().chain(publishers).map(closed_without_a_push).collect();
        let ends: Vec<_> = ends.into_iter().map(|end| end.join().expect("no push, and a close in time")).collect();
        let first = ends.iter().min().expect("there are some").duration_since(started);
        let last = ends.iter().max().expect("there are some").duration_since(started);
        assert!(last - first > Duration::from_millis(500), "the closes are spread: {first:?} to {last:?}");
        assert_eq!(node.ended(Duration::from_secs(10)).code(), Some(0));
    }

    fn a_node_without_clients_ends_at_once(cores: usize) {
        let mut node = Rollcall::start(cores);
        let started = Instant::now();

        assert_eq!(node.stop().code(), Some(0));

        assert!(started.elapsed() < Duration::from_secs(2), "it took {:?}", started.elapsed());
    }

    fn a_second_signal_ends_at_once(cores: usize) {
        let mut node = Rollcall::with(Options::cores(cores).set("session.drain_ms", 60_000));
        let mut clients: Vec<_> = (0..10).map(|_| node.client()).collect();
        clients.iter_mut().for_each(|client| drop(client.heartbeat()));
        node.terminate();
        lists_itself_no_more(&node);

        node.terminate();

        node.ended(Duration::from_secs(5));
    }

    fn a_draining_node_lists_itself_no_more_and_takes_no_connection(cores: usize) {
        let node = Rollcall::with(Options::cores(cores).set("session.drain_ms", 10_000));
        let mut clients: Vec<_> = (0..20).map(|_| node.client()).collect();
        clients.iter_mut().for_each(|client| drop(client.heartbeat()));

        node.terminate();

        lists_itself_no_more(&node);
        eventually("a draining node takes no connection", || TcpStream::connect(node.addresses.bolt).is_err());
        clients.iter_mut().for_each(|client| drop(client.until_closed(Duration::from_secs(20))));
    }
}

fn lists_itself_no_more(node: &Rollcall) {
    eventually("a draining node lists itself no more", || {
        http::get(node.addresses.session, "/api/servers/query")
            .body
            .is_empty()
    });
}

/// Reads one connection to its end, when told; a push on the way is a failure.
fn closed_without_a_push(mut client: RawClient) -> std::thread::JoinHandle<Instant> {
    std::thread::spawn(move || {
        let heard = client.until_closed(Duration::from_secs(30));
        let end = Instant::now();
        let pushes: Vec<_> = heard
            .iter()
            .filter(|frame| frame.kind == Kind::Request)
            .collect();
        assert!(pushes.is_empty(), "pushed while draining: {pushes:?}");
        end
    })
}
