//! What every path has in common: errors, methods, types, access.

use super::*;

#[test]
fn an_unknown_path_is_404_and_says_so() {
    for role in [SESSION, META, DATA] {
        for path in ["/", "/no/such/path", "/health", "/manage/queryPeer"] {
            let seen = Port::of(&golden(), role).get(path);
            assert_eq!(seen.status, StatusCode::NOT_FOUND);
            let message = format!("no such path on this port: {path}");
            assert_eq!(seen.json(), json!({ "success": false, "message": message }));
        }
    }
}

#[test]
fn a_wrong_method_is_405_with_the_right_ones() {
    let put = Port::of(&golden(), META).send(Method::PUT, "/persistentData/put", "{}");
    let get = Port::of(&golden(), SESSION).get("/api/clients/off");
    let post = Port::of(&golden(), SESSION).post("/health/check", "");
    let options = Port::of(&golden(), SESSION).send(Method::OPTIONS, "/health/check", "");

    for (seen, allow) in [(&put, "POST"), (&get, "POST"), (&post, "GET, HEAD")] {
        assert_eq!(seen.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(seen.headers["allow"], allow);
        assert_eq!(seen.json()["message"], format!("allowed methods: {allow}"));
    }
    assert_eq!(
        (options.status, options.body.as_str()),
        (StatusCode::NO_CONTENT, "")
    );
    assert_eq!(options.headers["allow"], "GET, HEAD");
}

#[test]
fn a_bad_parameter_is_400_and_named() {
    let node = golden();
    let bad = [
        (SESSION, "/digest/pub/data/query", "dataInfoId"),
        (SESSION, "/digest/pub/data/query?dataInfoId=x", "dataInfoId"),
        (
            SESSION,
            "/digest/nonsense/data/query?dataInfoId=a%23@%23b%23@%23c",
            "type",
        ),
        (SESSION, "/digest/nonsense/serverList/query", "type"),
        (SESSION, "/connections/details?address=x", "address"),
        (DATA, "/digest/nonsense/serverList/query", "type"),
        (DATA, "/digest/datum/query?dataId=x", "instanceId"),
        (DATA, "/digest/datum/query", "dataId"),
        (META, "/digest/nonsense/node/query", "type"),
    ];

    for (role, path, name) in bad {
        let seen = Port::of(&node, role).get(path);
        assert_eq!(seen.status, StatusCode::BAD_REQUEST, "{path}");
        let message = seen.json()["message"].as_str().expect("a text").to_owned();
        assert!(
            message.starts_with(&format!("parameter {name} ")),
            "{message}"
        );
    }
}

#[test]
fn a_bad_body_is_400_and_told_why() {
    let node = golden();
    let bad = [
        (SESSION, "/digest/all/connect/query", "{}"),
        (SESSION, "/digest/all/connect/query", ""),
        (SESSION, "/digest/all/connect/query", "[\"nonsense\"]"),
        (DATA, "/digest/connect/query", "[]"),
        (DATA, "/digest/connect/query", "{\"127.0.0.1\":\"x\"}"),
        (META, "/persistentData/put", "{\"dataId\":\"x\""),
        (
            META,
            "/persistentData/put",
            "{\"dataId\":\"x\",\"extra\":1}",
        ),
        (META, "/persistentData/put", ""),
    ];

    for (role, path, body) in bad {
        let seen = Port::of(&node, role).post(path, body);
        assert_eq!(seen.status, StatusCode::BAD_REQUEST, "{path} {body}");
        assert_eq!(seen.json()["success"], false);
    }
}

#[test]
fn what_a_client_does_not_accept_or_send_rightly_is_406_and_415() {
    let choosy = Port::of(&golden(), SESSION).with("accept", "text/html");
    let typed = Port::of(&golden(), SESSION).with("content-type", "text/plain");

    assert_eq!(
        choosy.get("/health/check").status,
        StatusCode::NOT_ACCEPTABLE
    );
    assert_eq!(
        choosy.get("/api/servers/query").status,
        StatusCode::NOT_ACCEPTABLE
    );
    assert_eq!(choosy.get("/metrics").status, StatusCode::OK);
    assert_eq!(
        typed.post("/api/clients/off", "x").status,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
    assert_eq!(
        typed.post("/api/clientManager/clientOff", "x").status,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
}

#[test]
fn changes_from_another_host_need_the_token_and_questions_do_not() {
    let node = golden();
    let far = |access: Access| {
        let mut port = Port::of(&node, META).between("10.0.0.9:1", "10.0.0.1:9615");
        port.admin = Admin::new(Rc::new(Rc::clone(&node)), access);
        port
    };
    let with_token = || Access {
        token: Some(crate::config::MaskedString::new("s3cret".to_owned())),
        trust_loopback: false,
        ..Access::default()
    };

    let closed = far(Access::default()).get("/stopPushDataSwitch/open");
    let asked = far(with_token()).get("/stopPushDataSwitch/open");
    assert_eq!(
        (closed.status, asked.status),
        (StatusCode::FORBIDDEN, StatusCode::UNAUTHORIZED)
    );
    assert_eq!(asked.headers["www-authenticate"], "Bearer");
    assert!(!node.meta.borrow().is_push_stopped());

    assert_eq!(
        far(Access::default()).get("/digest/pushSwitch").status,
        StatusCode::OK
    );
    let shown = far(with_token()).with("authorization", "Bearer s3cret");
    assert_eq!(shown.get("/stopPushDataSwitch/open").status, StatusCode::OK);
    assert!(node.meta.borrow().is_push_stopped());
}

#[test]
fn requests_are_counted_by_role_and_status() {
    let port = Port::of(&golden(), SESSION);
    port.get("/api/servers/query");
    port.get("/no/such/path");

    let text = port.get("/metrics");

    assert_eq!(
        text.content_type(),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    assert!(
        text.body
            .contains("rollcall_http_requests_total{role=\"session\",status=\"200\"} 1\n")
    );
    assert!(
        text.body
            .contains("rollcall_http_requests_total{role=\"session\",status=\"404\"} 1\n")
    );
}
