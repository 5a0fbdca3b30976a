//! Where clients are told to connect.

use std::net::IpAddr;

use super::*;

#[test]
fn servers_are_told_in_the_form_that_clients_parse() {
    let port = Port::of(&golden(), SESSION);

    assert!(
        port.get("/api/servers/query")
            .is_ok("text/plain", "127.0.0.1:9600")
    );
    assert!(
        port.get("/api/servers/query.json")
            .is_ok("application/json", "[\"127.0.0.1:9600\"]")
    );
    assert!(
        port.get("/api/servers/queryWithWeight")
            .is_ok("text/plain", "127.0.0.1:9600?weight=1")
    );
    assert!(
        port.get("/api/servers/connectionNum")
            .is_ok("text/plain", "1")
    );
    assert!(
        port.get("/api/servers/dataCenter")
            .is_ok("application/json", "[\"127.0.0.1:9600\"]")
    );
    assert!(port.get("/api/servers/alive").is_ok("text/plain", "OK"));
    assert!(
        port.with("accept", "application/json")
            .get("/api/servers/alive")
            .is_ok("application/json", "OK")
    );
}

#[test]
fn the_parameters_of_the_real_clients_are_taken() {
    let port = Port::of(&golden(), SESSION);
    let java = "?env=null&zone=DEFAULT_ZONE&dataCenter=DefaultDataCenter&appName=golden-app&instanceId=null";
    let node = "?env=&zone=DEFAULT_ZONE&dataCenter=DefaultDataCenter&appName=app&instanceId=";

    for query in [
        java,
        node,
        "?zone=null",
        "?zone=",
        "?zone=default_zone",
        "?appName=100%&zone",
    ] {
        let seen = port.get(&format!("/api/servers/query{query}"));
        assert!(
            seen.is_ok("text/plain", "127.0.0.1:9600"),
            "{query}: {seen:?}"
        );
    }
}

fn other(host: &str, zone: &str) -> NodeEntry {
    NodeEntry {
        roles: Roles::ALL,
        host: host.into(),
        bolt_port: 9700,
        zone: zone.into(),
        connections: 80,
        draining: false,
    }
}

#[test]
fn a_zone_has_its_own_servers_and_without_any_all() {
    let node = golden();
    node.facts.borrow_mut().others =
        vec![other("10.0.0.2", "SHANGHAI"), other("::2", "DEFAULT_ZONE")];
    let port = Port::of(&node, SESSION);

    assert_eq!(
        port.get("/api/servers/query").body,
        "127.0.0.1:9600;[::2]:9700"
    );
    assert_eq!(
        port.get("/api/servers/query?zone=shanghai").body,
        "10.0.0.2:9700"
    );
    assert_eq!(
        port.get("/api/servers/queryWithWeight?zone=Shanghai").body,
        "10.0.0.2:9700?weight=80"
    );
    let all = "127.0.0.1:9600;10.0.0.2:9700;[::2]:9700";
    assert_eq!(port.get("/api/servers/query?zone=NO_SUCH_ZONE").body, all);
}

#[test]
fn a_draining_node_does_not_list_itself() {
    let node = golden();
    node.facts.borrow_mut().phase = Phase::Draining;
    let port = Port::of(&node, SESSION);

    assert!(port.get("/api/servers/query").is_ok("text/plain", ""));
    assert!(
        port.get("/api/servers/query.json")
            .is_ok("application/json", "[]")
    );
    node.facts.borrow_mut().others = vec![other("10.0.0.2", "SHANGHAI")];
    assert_eq!(port.get("/api/servers/query").body, "10.0.0.2:9700");
}

/// What a client is told that comes from `peer` to `local` while Bolt listens at `bolt`.
fn told(bolt: &str, advertise: Option<(&str, Option<u16>)>, peer: &str, local: &str) -> String {
    let node = golden();
    node.facts.borrow_mut().bolt = at(bolt);
    node.facts.borrow_mut().advertise = advertise.map(|(host, port)| Advertise {
        host: host.into(),
        port,
    });
    Port::of(&node, SESSION)
        .between(peer, local)
        .get("/api/servers/query")
        .body
}

#[test]
fn a_client_is_told_the_address_at_which_it_reached_us() {
    let (near, far, six) = ("127.0.0.1:1", "10.0.0.9:1", "[fd00::9]:1");

    assert_eq!(
        told("0.0.0.0:9611", None, far, "10.0.0.1:9603"),
        "10.0.0.1:9611"
    );
    assert_eq!(
        told("[::]:9600", None, six, "[fd00::1]:9603"),
        "[fd00::1]:9600"
    );
    assert_eq!(
        told("[::]:9600", None, "[::1]:1", "[::1]:9603"),
        "127.0.0.1:9600",
        "which Java can parse"
    );
    assert_eq!(
        told("0.0.0.0:9600", None, near, "127.0.0.1:9603"),
        "127.0.0.1:9600"
    );
    assert_eq!(
        told("0.0.0.0:9600", None, "[::1]:1", "[::1]:9603"),
        "127.0.0.1:9600"
    );
}

#[test]
fn a_port_bound_to_one_address_is_told_as_that() {
    assert_eq!(
        told("10.0.0.5:9600", None, "127.0.0.1:1", "127.0.0.1:9603"),
        "10.0.0.5:9600"
    );
    assert_eq!(
        told("127.0.0.1:9600", None, "127.0.0.1:1", "127.0.0.1:9603"),
        "127.0.0.1:9600"
    );
}

#[test]
fn an_advertised_address_goes_first() {
    let far = ("10.0.0.9:1", "10.0.0.1:9603");

    assert_eq!(
        told(
            "0.0.0.0:9600",
            Some(("registry.example", None)),
            far.0,
            far.1
        ),
        "registry.example:9600"
    );
    assert_eq!(
        told(
            "0.0.0.0:9600",
            Some(("10.1.1.1", Some(30600))),
            far.0,
            far.1
        ),
        "10.1.1.1:30600"
    );
}

#[test]
fn nobody_is_told_an_address_that_cannot_be_reached() {
    let far = ("10.0.0.9:1", "10.0.0.1:9603");

    assert_eq!(
        told("0.0.0.0:9600", Some(("0.0.0.0", None)), far.0, far.1),
        "10.0.0.1:9600"
    );
    assert_eq!(
        told("0.0.0.0:9600", Some(("127.0.0.1", None)), far.0, far.1),
        "10.0.0.1:9600"
    );
    assert_eq!(told("127.0.0.1:9600", None, far.0, far.1), "");
    assert_eq!(
        told("0.0.0.0:9600", None, "10.0.0.9:1", "127.0.0.1:9603"),
        ""
    );
}

/// The same where an interface has these addresses, and under the name that the client used.
fn told_on(interface: &[&str], host: &'static str, bolt: &str, local: &str) -> String {
    let node = golden();
    node.facts.borrow_mut().bolt = at(bolt);
    let addresses = interface
        .iter()
        .map(|ip| ip.parse::<IpAddr>().expect("an address"));
    node.interface.borrow_mut().extend(addresses);
    Port::of(&node, SESSION)
        .between("[fd00::9]:1", local)
        .with("host", host)
        .get("/api/servers/query")
        .body
}

#[test]
fn a_client_on_ipv6_is_told_what_java_can_parse() {
    let (dual, six) = (&["fd00::1", "10.0.0.1", "fe80::1"], &["fd00::1", "fe80::1"]);
    let (address, name) = ("[fd00::1]:9603", "registry.example:9603");

    for bolt in ["[::]:9600", "0.0.0.0:9600"] {
        for local in ["[fd00::1]:9603", "[fe80::1]:9603"] {
            assert_eq!(told_on(dual, address, bolt, local), "10.0.0.1:9600");
        }
    }
    let by_name = told_on(six, name, "[::]:9600", "[fd00::1]:9603");
    assert_eq!(by_name, "registry.example:9600");
    let own = told_on(six, name, "[fd00::1]:9600", "[fd00::1]:9603");
    assert_eq!(own, "registry.example:9600");
    let other = told_on(six, name, "[fd00::2]:9600", "[fd00::1]:9603");
    assert_eq!(other, "[fd00::2]:9600", "the name leads elsewhere");
}

#[test]
fn only_what_is_listened_at_and_can_be_reached_is_told() {
    let six = &["fd00::1", "fe80::1"];
    let asked = |bolt, local| told_on(six, "[fd00::1]:9603", bolt, local);

    assert_eq!(asked("0.0.0.0:9600", "[fd00::1]:9603"), "");
    assert_eq!(asked("[::]:9600", "[fe80::1]:9603"), "[fd00::1]:9600");
    let only_link = told_on(&["fe80::1"], "x", "[::]:9600", "[fe80::1]:9603");
    assert_eq!(only_link, "", "a link-local address needs its zone");
    assert_eq!(asked("127.0.0.1:9600", "[fd00::1]:9603"), "");
}
