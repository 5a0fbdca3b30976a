//! The server is killed again and again while everybody publishes, and no subscriber is ever shown that it was away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rollcall_tests::{
    Client, Ledger, Published, Random, RawClient, Registration, Rollcall, Witness,
};

const CLIENT: Published = Published::Java("6.5.6");
const CORES: usize = 2;
const SERVICES: usize = 200;
const PUBLISHERS: usize = 3;
const KILLS: usize = 20;
/// Clients come back after up to 10 s: most lives end while some are still on their way, and some when all are back.
const LIFE_MS_MAX: u64 = 5_000;
/// A start takes about so long; every fourth does not live to see its end.
const START_MS_MAX: u64 = 200;
/// How often each process publishes something.
const PACE: Duration = Duration::from_millis(10);

#[test]
fn no_list_is_shorter_or_older_over_twenty_crashes() {
    let seed = Random::seed();
    println!("ROLLCALL_CRASH_SEED={seed}");
    let mut random = Random::new(seed);
    let mut node = Rollcall::start(CORES);
    let ledger = Ledger::new(SERVICES, PUBLISHERS);
    let publishers = or_skip!(publishers(&node, &ledger));
    let subscribers = or_skip!(subscribers(&node, 2));
    let (violated, violations) = mpsc::channel();

    let (paces, publishers): (Vec<_>, Vec<_>) = publishers
        .into_iter()
        .enumerate()
        .map(|(number, client)| publish(client, &ledger, number, random.below(u64::MAX)))
        .unzip();
    let mut witnesses = Vec::new();
    for (number, client) in subscribers.into_iter().enumerate() {
        let witness = Witness::new(&format!("Java subscriber {number}"), &ledger);
        let violated = violated.clone();
        witnesses.push(thread::spawn(move || read(client, witness, &violated)));
    }
    for scope in ["zone", "global"] {
        let witness = Witness::new(&format!("raw subscriber of scope {scope}"), &ledger);
        let (session, violated) = (node.addresses.bolt, violated.clone());
        witnesses.push(thread::spawn(move || {
            watch(session, scope, witness, &violated)
        }));
    }
    drop(violated);

    let began = Instant::now();
    crash(&mut node, &mut random, &violations);
    let took = began.elapsed();
    drop(paces);
    let _publishers: Vec<_> = publishers
        .into_iter()
        .map(|it| it.join().expect("it publishes to the end"))
        .collect();

    let lists: Vec<_> = witnesses
        .into_iter()
        .map(|it| it.join().expect("it is shown the last of all"))
        .collect();
    expect_none(&violations, Duration::ZERO);
    println!(
        "{KILLS} crashes in {took:?}, all over after {:?}; lists checked: {lists:?}; degraded {} times",
        began.elapsed(),
        node.logged("journal degraded, pushes go on without it")
            .len()
    );
    assert!(
        lists.iter().all(|lists| *lists > 4 * SERVICES),
        "too little happened: {lists:?}"
    );
    assert_everybody_is_there(&node);
}

/// Kills the node at random moments, now and then before it is ready, and starts it again.
fn crash(node: &mut Rollcall, random: &mut Random, violations: &Receiver<String>) {
    for kill in 0..KILLS {
        let life = Duration::from_millis(random.below(LIFE_MS_MAX));
        expect_none(violations, life);
        node.kill();
        if kill % 4 == 0 {
            node.restart_on_and_kill(CORES, Duration::from_millis(random.below(START_MS_MAX)));
        }
        node.restart();
    }
}

fn assert_everybody_is_there(node: &Rollcall) {
    let everybody = SERVICES * PUBLISHERS;
    let counts = node.counts();
    let expected = format!("Publisher count: {everybody}");
    assert!(counts.contains(&expected), "{counts}");
    assert_eq!(node.metric("rollcall_stored_publishers"), everybody as u64);
    assert_eq!(node.metric("rollcall_publishers_awaiting"), 0);
    let damaged = node.logged("journal damaged, what is sound is kept");
    assert!(damaged.is_empty(), "{damaged:?}");
}

/// Three processes, of which each has a publisher of every service.
fn publishers(node: &Rollcall, ledger: &Ledger) -> Option<Vec<Client>> {
    let mut clients = Vec::new();
    for publisher in 0..PUBLISHERS {
        let mut client = Client::of(CLIENT, node)?;
        for (number, service) in ledger.services().iter().enumerate() {
            client.publish(service, service.as_str(), &[ledger.next(number, publisher)]);
        }
        clients.push(client);
    }
    for client in &mut clients {
        ledger
            .services()
            .iter()
            .for_each(|service| client.acknowledged(service, service));
    }
    Some(clients)
}

/// Processes that each subscribe to every service.
fn subscribers(node: &Rollcall, count: usize) -> Option<Vec<Client>> {
    let mut clients = (0..count)
        .map(|_| Client::of(CLIENT, node))
        .collect::<Option<Vec<_>>>()?;
    for client in &mut clients {
        for service in (0..SERVICES).map(|service| service.to_string()) {
            client.subscribe(&service, service.as_str(), "global");
        }
    }
    Some(clients)
}

/// Publishes changes until it is told to stop, and then the last of every service; what it published stays with the client it gives back.
fn publish(
    mut client: Client,
    ledger: &Arc<Ledger>,
    number: usize,
    seed: u64,
) -> (Sender<()>, JoinHandle<Client>) {
    let (stop, stopped) = mpsc::channel();
    let ledger = Arc::clone(ledger);
    let run = move || {
        let mut random = Random::new(seed);
        while stopped.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
            let service = usize::try_from(random.below(SERVICES as u64)).expect("a small number");
            client.republish(&service.to_string(), &[ledger.next(service, number)]);
        }
        for service in 0..SERVICES {
            client.republish(&service.to_string(), &[ledger.last(service, number)]);
        }
        ledger
            .services()
            .iter()
            .for_each(|service| client.acknowledged(service, service));
        client
    };
    (stop, thread::spawn(run))
}

/// Checks what a published client is shown, to the last; tells how many lists that were.
fn read(mut client: Client, mut witness: Witness, violated: &Sender<String>) -> usize {
    while !witness.has_last() {
        let (service, seen) = client.any_list();
        tell(violated, witness.sees(&service, None, &seen.strings()));
    }
    witness.lists()
}

/// Checks what a raw client is shown, which tells versions, to the last; tells how many lists that were.
fn watch(
    session: SocketAddr,
    scope: &str,
    mut witness: Witness,
    violated: &Sender<String>,
) -> usize {
    while !witness.has_last() {
        let mut client = RawClient::reconnect(session);
        let mut bytes = Vec::new();
        for service in (0..SERVICES).map(|service| service.to_string()) {
            let registration = Registration::new(&service, &format!("{scope} {service}"));
            bytes.extend(client.request(&registration.subscribe(scope)).encode());
        }
        if client.try_send_bytes(&bytes).is_err() {
            continue;
        }
        while !witness.has_last()
            && let Some(list) = client.list_or_close()
        {
            let service = list.data_id.to_string();
            tell(
                violated,
                witness.sees(&service, Some(list.version), &list.strings()),
            );
        }
    }
    witness.lists()
}

fn tell(violated: &Sender<String>, seen: Result<(), String>) {
    if let Err(violation) = seen {
        // Whoever hears of the first hears no others.
        let _ = violated.send(violation);
    }
}

/// Lets the time pass, unless something goes wrong.
fn expect_none(violations: &Receiver<String>, during: Duration) {
    if let Ok(violation) = violations.recv_timeout(during) {
        panic!("{violation}");
    }
}
