//! What HTTP asks of a session core, and what the answers cost the core.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::node::{Node, ZONE, service};
use crate::limits;
use crate::names::ConnectId;
use crate::query::{
    Answer, Counts, Cursor, DataInfoIdRow, HeldPublisher, Order, Query, Selection, Slice,
};
use crate::session::EndedBy;
use crate::session::questions::Traffic;

fn ask(node: &Node, query: &Query) -> Answer {
    let session = || node.sessions[0].answer(query, |_| Traffic::default());
    let answer = node.datas[0].answer(query).or_else(session);
    answer.expect("a question for one of the roles")
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

/// Asks the first core slice by slice; says what came in each. Between two slices `meanwhile` happens.
fn slices<T>(
    node: &mut Node,
    query: impl Fn(Cursor) -> Query,
    slice_of: impl Fn(Answer) -> Option<Slice<T>>,
    mut meanwhile: impl FnMut(&mut Node, usize),
) -> Vec<Vec<T>> {
    let mut slices = Vec::new();
    let mut after = Cursor::Start;
    loop {
        let answer = ask(node, &query(after));
        let slice = slice_of(answer).expect("the rows that were asked for");
        slices.push(slice.rows);
        match slice.next {
            Some(next) => after = next,
            None => return slices,
        }
        meanwhile(node, slices.len());
    }
}

fn publishers(answer: Answer) -> Option<Slice<HeldPublisher>> {
    match answer {
        Answer::Publishers(slice) => Some(slice),
        _ => None,
    }
}

fn ids(answer: Answer) -> Option<Slice<DataInfoIdRow>> {
    match answer {
        Answer::DataInfoIds(slice) => Some(slice),
        _ => None,
    }
}

/// The registered and the stored publishers: two tables, one expectation.
const LISTINGS: [fn(Selection, Cursor) -> Query; 2] = [
    |of, after| Query::Publishers { of, after },
    |of, after| Query::StoredPublishers { of, after },
];

fn names(slices: &[Vec<HeldPublisher>]) -> Vec<String> {
    let rows = slices.iter().flatten();
    let mut names: Vec<_> = rows
        .map(|row| {
            format!(
                "{} {}",
                row.data_info_id.data_id(),
                row.publisher.register_id
            )
        })
        .collect();
    names.sort_unstable();
    names
}

fn of_connection(node: &Node, connect_id: ConnectId) -> Selection {
    let peer = node.sessions[0].peer(connect_id).expect("a connection");
    Selection::Connections(Arc::new([peer].into()))
}

#[test]
fn whoever_stays_is_listed_once_while_others_come_and_go() {
    for listing in LISTINGS {
        let mut node = Node::new(1);
        let client = node.open(0);
        for number in 0..700 {
            let (service, id) = (format!("stays-{}", number % 70), format!("pub-{number}"));
            node.publish_as(&id, ZONE, client, &service, 1, "here");
            node.publish(client, &format!("goes-{number}"), 1, "for now");
        }

        let query = |after| listing(Selection::All, after);
        let told = slices(&mut node, query, publishers, |node, slice| {
            for number in slice * 100..slice * 100 + 100 {
                node.unpublish(client, &format!("goes-{number}"), 2);
                node.publish(client, &format!("comes-{number}"), 1, "later");
            }
        });

        let stayed = names(&told)
            .into_iter()
            .filter(|name| name.starts_with("stays"));
        let mut expected: Vec<_> = (0..700)
            .map(|number| format!("stays-{} pub-{number}", number % 70))
            .collect();
        expected.sort_unstable();
        assert_eq!(stayed.collect::<Vec<_>>(), expected);
        assert!(told.iter().all(|rows| rows.len() <= limits::QUERY_ROWS_MAX));
    }
}

#[test]
fn a_service_with_many_publishers_is_told_in_slices_too() {
    for listing in LISTINGS {
        let mut node = Node::new(1);
        let client = node.open(0);
        for number in 0..1_000 {
            let zone = format!("zone-{}", number % 3);
            node.publish_as(&format!("pub-{number}"), &zone, client, "s", 1, "here");
        }
        for of in [Selection::All, Selection::DataInfoId(service("s"))] {
            let query = |after| listing(of.clone(), after);

            let told = slices(&mut node, query, publishers, |_, _| {});

            let mut expected: Vec<_> = (0..1_000).map(|number| format!("s pub-{number}")).collect();
            expected.sort_unstable();
            assert_eq!(names(&told), expected);
            assert!(told.iter().all(|rows| rows.len() <= limits::QUERY_ROWS_MAX));
        }
    }
}

#[test]
fn nobody_is_left_out_when_the_table_of_a_service_grows_meanwhile() {
    let mut node = Node::new(1);
    let client = node.open(0);
    for number in 0..600 {
        node.publish_as(&format!("pub-{number}"), ZONE, client, "s", 1, "here");
    }

    let query = |after| Query::Publishers {
        of: Selection::DataInfoId(service("s")),
        after,
    };
    let told = slices(&mut node, query, publishers, |node, slice| {
        if slice == 1 {
            for number in 600..1_200 {
                node.publish_as(&format!("pub-{number}"), ZONE, client, "s", 1, "later");
            }
        }
    });

    let told: BTreeSet<_> = names(&told).into_iter().collect();
    for number in 0..600 {
        assert!(told.contains(&format!("s pub-{number}")), "{number}");
    }
}

#[test]
fn a_slice_looks_at_a_bounded_number_of_entries_whatever_it_is_asked_for() {
    for listing in LISTINGS {
        let mut node = Node::new(1);
        let (many, few, none) = (node.open(0), node.open(0), node.open(0));
        for number in 0..9_000 {
            node.publish(many, &format!("service-{number}"), 1, "here");
        }
        node.publish(few, "few", 1, "here");

        for (of, rows) in [(few, 1), (none, 0)] {
            let of = of_connection(&node, of);
            let query = |after| listing(of.clone(), after);

            let told = slices(&mut node, query, publishers, |_, _| {});

            assert_eq!(told.iter().map(Vec::len).sum::<usize>(), rows);
            assert!(
                told.len() > 9_000 / limits::QUERY_LOOKS_MAX,
                "{}",
                told.len()
            );
        }
    }
}

#[test]
fn as_many_connections_as_one_may_ask_for_are_one_walk() {
    for listing in LISTINGS {
        let mut node = Node::new(1);
        let clients: Vec<_> = (0..100).map(|_| node.open(0)).collect();
        for (number, &client) in clients.iter().cycle().take(1_000).enumerate() {
            node.publish(client, &format!("service-{number}"), 1, "here");
        }
        let walk = |node: &mut Node, of: Selection| {
            let query = |after| listing(of.clone(), after);
            slices(node, query, publishers, |_, _| {})
        };
        let peers = clients.iter().map(|&client| node.sessions[0].peer(client));
        let peers: BTreeSet<_> = peers.map(|peer| peer.expect("a connection")).collect();

        let all = walk(&mut node, Selection::All);
        let of_each = walk(&mut node, Selection::Connections(Arc::new(peers)));

        assert_eq!(names(&of_each), names(&all));
        assert_eq!(of_each.len(), all.len());
    }
}

#[test]
fn a_slice_ends_with_the_row_that_fills_it_by_its_bytes() {
    let text = "x".repeat(limits::QUERY_SLICE_BYTES_MAX / 2);
    for listing in LISTINGS {
        let mut node = Node::new(1);
        let client = node.open(0);
        for number in 0..6 {
            let (service, id) = (format!("service-{}", number % 2), format!("pub-{number}"));
            node.publish_as(&id, ZONE, client, &service, 1, &text);
        }

        let query = |after| listing(Selection::All, after);
        let told = slices(&mut node, query, publishers, |_, _| {});

        let with_rows = told.iter().map(Vec::len).filter(|&rows| rows > 0);
        assert_eq!(with_rows.collect::<Vec<_>>(), [2, 2, 2]);
        assert_eq!(names(&told).len(), 6);
    }
}

#[test]
fn an_id_comes_once_whether_it_is_published_or_watched() {
    let mut node = Node::new(1);
    let client = node.open(0);
    for number in 0..400 {
        if number % 2 == 0 {
            node.publish(client, &format!("service-{number}"), 1, "here");
        }
        if number % 3 == 0 {
            node.subscribe(client, &format!("service-{number}"), "sub");
        }
    }

    let query = |after| Query::DataInfoIds { after };
    let told = slices(&mut node, query, ids, |_, _| {});

    let mut told: Vec<_> = told.into_iter().flatten().collect();
    told.sort_by_key(|row| row.data_info_id.data_id().to_owned());
    let in_use = (0..400).filter(|number| number % 2 == 0 || number % 3 == 0);
    let mut expected: Vec<_> = in_use
        .map(|number| DataInfoIdRow {
            data_info_id: service(&format!("service-{number}")),
            publishers: u64::from(number % 2 == 0),
        })
        .collect();
    expected.sort_by_key(|row| row.data_info_id.data_id().to_owned());
    assert_eq!(told, expected);
}

#[test]
fn subscribers_and_connections_are_listed_in_slices() {
    let mut node = Node::new(1);
    let clients: Vec<_> = (0..600).map(|_| node.open(0)).collect();
    for &client in &clients {
        node.subscribe(client, "s", "one");
        node.subscribe(client, "s", "two");
        node.configure(client, "c", "three");
    }
    let subscribers = |of: Selection, node: &mut Node| {
        let query = |after| Query::Subscribers {
            of: of.clone(),
            after,
        };
        let slice_of = |answer| match answer {
            Answer::Subscribers(slice) => Some(slice),
            _ => None,
        };
        slices(node, query, slice_of, |_, _| {}).concat().len()
    };

    assert_eq!(subscribers(Selection::All, &mut node), 1_200);
    assert_eq!(
        subscribers(Selection::DataInfoId(service("s")), &mut node),
        1_200
    );
    assert_eq!(
        subscribers(Selection::DataInfoId(service("c")), &mut node),
        0
    );
    let of = of_connection(&node, clients[7]);
    assert_eq!(subscribers(of, &mut node), 2);

    let address = node.sessions[0].peer(clients[7]);
    let connections = |address, node: &mut Node| {
        let query = |after| Query::Connections { address, after };
        let slice_of = |answer| match answer {
            Answer::Connections(slice) => Some(slice),
            _ => None,
        };
        slices(node, query, slice_of, |_, _| {}).concat()
    };
    assert_eq!(connections(None, &mut node).len(), 600);
    let one = connections(address, &mut node);
    assert_eq!(
        one.iter()
            .map(|row| (row.subscribers, row.configurators))
            .collect::<Vec<_>>(),
        [(2, 1)]
    );
}
