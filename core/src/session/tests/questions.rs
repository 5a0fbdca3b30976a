//! What HTTP asks of a session core, and what the answers cost the core.

use super::node::Node;
use crate::names::ConnectId;
use crate::query::{Answer, Counts, Order, Query};
use crate::session::EndedBy;
use crate::session::questions::Traffic;

fn ask(node: &Node, query: &Query) -> Answer {
    let answer = node.sessions[0].answer(query, |_| Traffic::default());
    answer.expect("a question for the session role")
}

/// Subscribers and configurators, as they are kept and as a walk over all groups finds them.
fn seated(node: &Node) -> [[u64; 2]; 2] {
    let Answer::Counts(Counts {
        subscribers,
        configurators,
        ..
    }) = ask(node, &Query::Counts)
    else {
        panic!("counts are answered with counts");
    };
    [[subscribers, configurators], node.sessions[0].recount()]
}

#[test]
fn the_numbers_of_subscribers_are_kept_however_they_come_and_go() {
    let mut node = Node::new(1);
    let clients: [ConnectId; 3] = std::array::from_fn(|_| node.open(0));
    for client in clients {
        node.subscribe(client, "s", "one");
        node.subscribe(client, "s", "two");
        node.subscribe(client, "s", "two");
        node.subscribe(client, "t", "three");
        node.configure(client, "c", "four");
    }
    assert_eq!(seated(&node), [[9, 3]; 2], "after they have come");

    node.unsubscribe(clients[0], "s", "one");
    node.unsubscribe(clients[0], "s", "one");
    assert_eq!(seated(&node), [[8, 3]; 2], "after one has left");

    node.close(clients[1], EndedBy::Peer);
    assert_eq!(seated(&node), [[5, 2]; 2], "after a connection has ended");

    let off = node.sessions[0].peer(clients[2]).expect("a connection");
    node.tell_all(|| crate::session::Event::Order(Order::ConnectionsOff(vec![off])));
    assert_eq!(seated(&node), [[2, 1]; 2], "after one was taken off");

    node.configure(clients[2], "c", "four");
    assert_eq!(seated(&node), [[2, 2]; 2], "after it has come again");
}
