//! The operators' door: who is let in, who is always answered, and what is written down.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use rollcall_tests::hessian::Value;
use rollcall_tests::http::{self, Reply, get, post};
use rollcall_tests::messages::cancel_addresses;
use rollcall_tests::{Options, RawClient, Registration, Rollcall, eventually};
use serde_json::Value as Json;

const TOKEN: &str = "a-token-nobody-guesses";
/// More than a port has places.
const HELD: usize = 300;

/// A GET with headers of its own.
fn get_with(server: SocketAddr, path: &str, headers: &str) -> Reply {
    http::exchange(
        server,
        &format!("GET {path} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n"),
    )
}

/// A connection that was answered and stays, or that never says anything.
fn hold(server: SocketAddr, is_mute: bool) -> TcpStream {
    let mut stream = TcpStream::connect(server).expect("the port takes connections");
    if !is_mute {
        let asked = b"GET /api/servers/alive HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(asked).expect("an open connection");
        let mut begun = [0; 15];
        stream.read_exact(&mut begun).expect("an answer");
        assert_eq!(&begun, b"HTTP/1.1 200 OK");
    }
    stream
}

/// Whether clients could be taken off over Bolt.
fn cancels(client: &mut RawClient) -> bool {
    let id = client.send(&cancel_addresses(&["127.0.0.1:1"]));
    let result = Value::decode(&client.answer(id).content);
    *result.field("success") == Value::Bool(true)
}

/// The last line of an operator's change, once there are so many.
fn change(node: &Rollcall, number: usize) -> Json {
    let lines = || node.logged("operator's change");
    eventually("the change is written down", || lines().len() >= number);
    lines().remove(number - 1)
}

on_one_and_two_cores! {
    fn newcomers_are_answered_beside_held_connections(cores: usize) {
        let node = Rollcall::start(cores);
        let session = node.addresses.session;

        let _held: Vec<_> = (0..HELD).map(|number| hold(session, number % 2 == 0)).collect();

        for path in ["/livez", "/readyz", "/metrics", "/health/check", "/api/servers/query?zone=DEFAULT_ZONE", "/digest/pushSwitch"] {
            assert_eq!(get(session, path).status, 200, "{path}");
        }
    }

    fn a_token_is_needed_from_this_host_too(cores: usize) {
        let node = Rollcall::with(Options::cores(cores).set("admin.token", TOKEN));
        let (meta, path) = (node.addresses.meta, "/stopPushDataSwitch/open");

        let without = get(meta, path);
        assert_eq!((without.status, without.header("www-authenticate")), (401, Some("Bearer")), "{without:?}");
        assert_eq!(get(meta, "/digest/pushSwitch").json()["pushSwitch"], "open");
        assert!(!cancels(&mut node.client()), "nor over Bolt");
        assert_eq!(get_with(meta, path, &format!("Authorization: Bearer {TOKEN}\r\n")).status, 200);
        assert_eq!(get(meta, "/digest/pushSwitch").json()["pushSwitch"], "closed");
    }

    fn loopback_may_be_trusted_beside_a_token(cores: usize) {
        let node = Rollcall::with(Options::cores(cores).set("admin.token", TOKEN).set("admin.trust_loopback", true));

        assert_eq!(get(node.addresses.meta, "/stopPushDataSwitch/open").status, 200);
        assert!(cancels(&mut node.client()));
    }

    fn a_web_page_learns_and_changes_nothing(cores: usize) {
        let node = Rollcall::start(cores);
        let meta = node.addresses.meta;

        let rebound = get_with(meta, "/digest/pushSwitch", "Host: evil.example:9615\r\n");
        let page = get_with(meta, "/stopPushDataSwitch/open", "Host: localhost\r\nReferer: http://localhost:9615/\r\n");
        let person = get_with(meta, "/stopPushDataSwitch/open", "Host: localhost\r\nUser-Agent: Mozilla/5.0\r\n");

        assert_eq!((rebound.status, page.status, person.status), (421, 403, 403), "{rebound:?} {page:?} {person:?}");
        assert_eq!(get(meta, "/digest/pushSwitch").json()["pushSwitch"], "open");
        for reply in [rebound, page, get(meta, "/livez")] {
            assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{reply:?}");
        }
        eventually("each refusal has its line", || node.logged("HTTP request refused").len() >= 3);
        let whys: Vec<_> = node.logged("HTTP request refused").iter().map(|line| line["why"].clone()).collect();
        assert!(whys[0] != whys[1] && whys[1] == whys[2], "{whys:?}");
    }

    fn a_change_is_written_down_with_whom_it_met(cores: usize) {
        let node = Rollcall::start(cores);
        let mut client = node.client();
        client.register_well(&Registration::new("audited", "p").publish(Some(&["value".into()])));
        let asked = format!(r#"{{"connectIds":["{}"]}}"#, client.address());

        assert_eq!(post(node.addresses.session, "/api/clients/off", &asked).status, 200);
        let line = change(&node, 1);
        assert_eq!((&line["met"], &line["applied"], &line["right"]), (&1.into(), &true.into(), &"loopback".into()), "{line}");
        assert!(line["asked"].as_str().is_some_and(|told| told.contains(&client.address().to_string())), "{line}");

        node.put_config("audited", 2, "what-nobody-should-read");
        let line = change(&node, 2).to_string();
        assert!(line.contains("audited") && !line.contains("nobody-should-read"), "{line}");

        let older = r#"{"dataId":"audited","group":"DEFAULT_GROUP","instanceId":"DEFAULT_INSTANCE_ID","version":1,"data":"x"}"#;
        assert_eq!(post(node.addresses.meta, "/persistentData/put", older).json()["success"], false);
        let line = change(&node, 3);
        assert_eq!(line["applied"], false, "{line}");
        assert!(line["why"].is_string(), "{line}");
    }
}

#[test]
fn both_loopbacks_answer_by_default() {
    let node = Rollcall::with(Options::cores(2).on_localhost());
    let at_six =
        |address: SocketAddr| SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, address.port()));

    let told = get(at_six(node.addresses.session), "/api/servers/query").body;

    assert_eq!(told, node.addresses.bolt.to_string(), "what Java can parse");
    let mut client = RawClient::connect(at_six(node.addresses.bolt));
    client.heartbeat();
}
