//! Clients off and on again.

use super::*;

const DONE: &str = "{\"success\":true,\"message\":\"\"}";

#[test]
fn connections_are_taken_off_in_the_forms_of_both_versions() {
    let node = golden();
    let port = Port::of(&node, SESSION).with("content-type", "application/json; charset=utf-8");
    let five = json!({ "connectIds": [CLIENT] }).to_string();
    let six = json!({ "connectIds": [{
        "clientHostAddress": "127.0.0.1", "clientPort": 58568, "sessionHostAddress": "127.0.0.1", "sessionPort": 9600,
    }] });

    for body in [five, six.to_string()] {
        assert!(
            port.post("/api/clients/off", &body)
                .is_ok("application/json", DONE)
        );
        assert!(
            port.post("/api/clients/on", &body)
                .is_ok("application/json", DONE)
        );
    }

    let (off, on) = (
        Order::ConnectionsOff(vec![at(CLIENT)]),
        Order::ConnectionsOpen(vec![at(CLIENT)]),
    );
    assert_eq!(*node.orders.borrow(), [off.clone(), on.clone(), off, on]);
}

#[test]
fn a_request_without_connections_is_refused_in_the_words_of_the_original() {
    let port = Port::of(&golden(), SESSION);
    let none = "{\"success\":false,\"message\":\"ConnectIds can not be null.\"}";

    let nothing = port.post("/api/clients/off", "");
    assert!(nothing.is_ok(
        "application/json",
        "{\"success\":false,\"message\":\"Request can not be null.\"}"
    ));
    for body in ["{}", "{\"connectIds\":[]}", "{\"connectIds\":null}"] {
        assert!(
            port.post("/api/clients/off", body)
                .is_ok("application/json", none),
            "{body}"
        );
    }
}

#[test]
fn rubbish_takes_nobody_off() {
    let node = golden();
    let port = Port::of(&node, SESSION);
    let rubbish = [
        "{\"connectIds\":[",
        "{\"connectIds\":\"x\"}",
        "{\"unknown\":1}",
        "[]",
        "{\"connectIds\":[\"nonsense\"]}",
        "{\"connectIds\":[{\"clientHostAddress\":\"127.0.0.1\"}]}",
        "{\"connectIds\":[7]}",
    ];

    for body in rubbish {
        let seen = port.post("/api/clients/off", body);
        assert_eq!(seen.status, StatusCode::BAD_REQUEST, "{body}");
    }

    assert!(node.orders.borrow().is_empty());
}

#[test]
fn addresses_are_off_for_good_until_they_are_on() {
    let node = golden();
    let port = Port::of(&node, META).with("content-type", "application/x-www-form-urlencoded");
    let query = || port.get("/api/clientManager/query").body;

    assert_eq!(
        query(),
        "{\"success\":false,\"message\":\"data not found\",\"data\":null}"
    );
    assert!(
        port.post("/api/clientManager/clientOff", "ips=127.0.0.1")
            .is_ok("application/json", DONE)
    );
    assert_eq!(
        query(),
        "{\"success\":true,\"message\":null,\"data\":{\"version\":1,\"clientOffAddress\":{\"127.0.0.1\":\
         {\"version\":0,\"address\":\"127.0.0.1\",\"pub\":true,\"sub\":true}},\"reduces\":[]}}"
    );
    assert!(node.is_off("127.0.0.1"));
    assert!(
        port.post("/api/clientManager/clientOpen", "ips=127.0.0.1")
            .is_ok("application/json", DONE)
    );
    assert_eq!(
        query(),
        "{\"success\":true,\"message\":null,\"data\":{\"version\":2,\"clientOffAddress\":{},\"reduces\":[]}}"
    );
    let nobody = "{\"success\":false,\"message\":\"ips is empty\"}";
    assert!(
        port.post("/api/clientManager/clientOff", "")
            .is_ok("application/json", nobody)
    );
    assert_eq!(
        port.post("/api/clientManager/clientOff", "ips=host").status,
        StatusCode::BAD_REQUEST
    );
}

#[test]
fn one_side_of_a_client_can_be_off() {
    let node = golden();
    let port = Port::of(&node, META);
    let ips = "ips=[{\"address\":\"1.1.1.1\",\"pub\":true,\"sub\":false}]";

    assert!(
        port.post("/api/clientManager/clientOffWithSub", ips)
            .is_ok("application/json", DONE)
    );

    let client = OffClient {
        ip: "1.1.1.1".parse().expect("an address"),
        publishers: true,
        subscribers: false,
    };
    assert!(
        node.meta
            .borrow()
            .clients_off()
            .any(|off| off.client == client)
    );
    for body in ["ips=1.1.1.1", "ips=[{\"address\":\"1.1.1.1\"}]", "ips=[7]"] {
        assert_eq!(
            port.post("/api/clientManager/clientOffWithSub", body)
                .status,
            StatusCode::BAD_REQUEST
        );
    }
}

#[test]
fn the_session_port_takes_clients_off_here_or_for_good() {
    let node = golden();
    let port = Port::of(&node, SESSION);

    assert!(
        port.post("/api/clientManager/clientOff", "ips=127.0.0.9")
            .is_ok("application/json", DONE)
    );
    let ip = "127.0.0.9".parse().expect("an address");
    assert_eq!(*node.orders.borrow(), [Order::ClientsOff(vec![ip])]);
    assert!(!node.is_off("127.0.0.9"));

    let lasting = port.post(
        "/api/clientManager/persistence/clientOff",
        "ips=127.0.0.9;127.0.0.8",
    );
    assert!(lasting.is_ok(
        "application/json",
        "{\"success\":true,\"message\":null,\"data\":1}"
    ));
    let zone = port
        .post("/api/clientManager/zone/queryClientOff", "")
        .json();
    assert_eq!(
        zone["data"]["127.0.0.1"],
        json!({ "success": true, "ips": ["127.0.0.8", "127.0.0.9"] })
    );
}
