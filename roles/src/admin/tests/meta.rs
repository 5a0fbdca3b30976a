//! Nodes, switches, values and lists of the meta port.

use super::*;

const SUCCESS: &str = "{\"success\":true,\"message\":null}";

#[test]
fn nodes_have_the_fields_of_the_original_in_their_sequence() {
    let port = Port::of(&golden(), META);
    let url = "{\"protocol\":null,\"host\":\"\",\"ipAddress\":\"127.0.0.1\",\"port\":0,\"path\":\"\",\
               \"serializerIndex\":1,\"parameters\":null,\"addressString\":\"127.0.0.1:0\"}";
    let nodes = |entry: &str| {
        format!("{{\"DefaultDataCenter\":{{\"127.0.0.1\":{entry}}}}}").replace("URL", url)
    };

    assert_eq!(
        port.get("/digest/session/node/query").body,
        nodes(
            "{\"nodeUrl\":URL,\"regionId\":\"DEFAULT_ZONE\",\"name\":null,\"nodeStatus\":\"INIT\",\
             \"nodeType\":\"SESSION\",\"ip\":\"127.0.0.1\"}"
        )
    );
    assert_eq!(
        port.get("/digest/data/node/query").body,
        nodes(
            "{\"nodeUrl\":URL,\"nodeName\":\"127.0.0.1\",\"dataCenter\":\"DefaultDataCenter\",\"regionId\":null,\
             \"nodeStatus\":\"INIT\",\"registrationTimestamp\":0,\"nodeType\":\"DATA\",\"ip\":\"127.0.0.1\"}"
        )
    );
    assert_eq!(
        port.get("/digest/meta/node/query").body,
        nodes(
            "{\"nodeType\":\"META\",\"nodeUrl\":URL,\"dataCenter\":\"DefaultDataCenter\",\"name\":\"127.0.0.1\",\
             \"regionId\":null,\"nodeStatus\":\"INIT\",\"ip\":\"127.0.0.1\"}"
        )
    );
}

#[test]
fn the_push_switch_is_told_on_both_ports() {
    let node = golden();
    let (meta, session) = (Port::of(&node, META), Port::of(&node, SESSION));
    let told = || {
        (
            meta.get("/digest/pushSwitch").body,
            session.get("/digest/pushSwitch").body,
        )
    };
    let (open, closed) = ("{\"pushSwitch\":\"open\"}", "{\"pushSwitch\":\"closed\"}");

    let never = "{\"msg\":\"OperationStatus is NOTFOUND\",\"pushSwitch\":\"open\"}";
    assert_eq!(told(), (never.into(), open.into()));
    assert!(
        meta.get("/stopPushDataSwitch/open")
            .is_ok("application/json", SUCCESS)
    );
    assert_eq!(told(), (closed.into(), closed.into()));
    assert!(
        meta.get("/stopPushDataSwitch/close")
            .is_ok("application/json", SUCCESS)
    );
    assert_eq!(told(), (open.into(), open.into()));
}

#[test]
fn the_renew_switches_turn_together_and_apart() {
    let port = Port::of(&golden(), META);
    let turned = |path: &str| {
        assert!(port.get(path).is_ok("application/json", SUCCESS), "{path}");
        let told = port.get("/renewSwitch/get").json();
        let text = |name: &str| told[name].as_str().expect("a text").to_owned();
        (
            text("enableDataDatumExpire"),
            text("enableDataRenewSnapshot"),
        )
    };
    let texts = |expire: &str, renew: &str| (expire.to_owned(), renew.to_owned());

    let never = "{\"enableDataDatumExpire\":\"null\",\"enableDataRenewSnapshot\":\"null\"}";
    assert!(
        port.get("/renewSwitch/get")
            .is_ok("application/json", never)
    );
    assert_eq!(turned("/renewSwitch/disable"), texts("false", "false"));
    assert_eq!(turned("/renewSwitch/enable"), texts("true", "true"));
    assert_eq!(
        turned("/renewSwitch/session/disable"),
        texts("true", "false")
    );
    assert_eq!(turned("/renewSwitch/session/enable"), texts("true", "true"));
    assert_eq!(turned("/renewSwitch/data/disable"), texts("false", "true"));
    assert_eq!(turned("/renewSwitch/data/enable"), texts("true", "true"));
}

fn value(version: i64, data: &str) -> String {
    json!({
        "dataId": "com.example.golden.Config", "group": "DEFAULT_GROUP", "instanceId": "DEFAULT_INSTANCE_ID",
        "version": version, "data": data,
    })
    .to_string()
}

#[test]
fn a_value_is_put_asked_for_and_removed() {
    let port = Port::of(&golden(), META);
    let query = "/persistentData/query?dataInfoId=com.example.golden.Config%23@%23DEFAULT_INSTANCE_ID%23@%23DEFAULT_GROUP";

    assert!(
        port.post("/persistentData/put", &value(1024, "hello"))
            .is_ok("application/json", SUCCESS)
    );
    assert!(
        port.post("/persistentData/put", &value(1024, "hello"))
            .is_ok("application/json", SUCCESS)
    );
    let older = port.post("/persistentData/put", &value(1000, "older"));
    let why = "{\"success\":false,\"message\":\"version 1000 is not newer than 1024\"}";
    assert!(older.is_ok("application/json", why), "{older:?}");
    let shown = "{\"success\":true,\"message\":null,\"data\":{\"dataId\":\"com.example.golden.Config\",\
                 \"group\":\"DEFAULT_GROUP\",\"instanceId\":\"DEFAULT_INSTANCE_ID\",\"version\":1024,\"data\":\"hello\"}}";
    assert!(port.get(query).is_ok("application/json", shown));
    assert!(
        port.post("/persistentData/remove", &value(1025, ""))
            .is_ok("application/json", SUCCESS)
    );
    assert_eq!(port.get(query).json()["data"], Value::Null);
}

#[test]
fn a_value_without_what_it_needs_is_told_what_it_lacks() {
    let port = Port::of(&golden(), META);
    let lacks = |path: &str, name: &str| {
        let mut body: Value = serde_json::from_str(&value(1, "v")).expect("JSON");
        body.as_object_mut().expect("an object").remove(name);
        let seen = port.post(path, &body.to_string());
        assert_eq!(seen.status, StatusCode::BAD_REQUEST, "{seen:?}");
        assert_eq!(
            seen.json(),
            json!({ "success": false, "message": format!("parameter {name} is missing") })
        );
    };

    for name in ["dataId", "group", "instanceId", "version", "data"] {
        lacks("/persistentData/put", name);
    }
    lacks("/persistentData/remove", "version");
}

#[test]
fn a_setting_put_as_a_value_is_what_it_means() {
    let node = golden();
    let port = Port::of(&node, META);
    let put = |data: &str| {
        let setting = json!({
            "dataId": "session.stop.push.data.switch", "instanceId": "9600", "group": "CONFIG", "version": 1, "data": data,
        });
        port.post("/persistentData/put", &setting.to_string())
    };

    assert!(put("true").is_ok("application/json", SUCCESS));
    assert!(node.meta.borrow().is_push_stopped());
    assert_eq!(put("perhaps").status, StatusCode::BAD_REQUEST);
}

#[test]
fn a_blacklist_replaces_the_one_before() {
    let node = golden();
    let port = Port::of(&node, META);
    let lists = r#"{"FORBIDDEN_PUB":{"IP_FULL":["1.1.1.1","10.15.233.150"]},"FORBIDDEN_SUB_BY_PREFIX":{"IP_FULL":["1.1.1.1"]}}"#;
    let is_forbidden = |side, ip: &str| {
        node.meta
            .borrow()
            .is_blacklisted(side, ip.parse().expect("an address"))
    };

    assert!(
        port.post("/blacklist/update", lists)
            .is_ok("application/json", SUCCESS)
    );
    assert!(
        is_forbidden(Side::Publisher, "10.15.233.150")
            && !is_forbidden(Side::Subscriber, "10.15.233.150")
    );
    assert!(
        port.post("/blacklist/update", "{}")
            .is_ok("application/json", SUCCESS)
    );
    assert!(!is_forbidden(Side::Publisher, "10.15.233.150"));
}

#[test]
fn rubbish_is_no_blacklist() {
    let port = Port::of(&golden(), META);
    let rubbish = [
        "",
        "not json",
        "[]",
        "{\"FORBIDDEN\":{}}",
        "{\"FORBIDDEN_PUB\":[]}",
        "{\"FORBIDDEN_PUB\":{\"IP_PREFIX\":[]}}",
        "{\"FORBIDDEN_PUB\":{\"IP_FULL\":[\"host\"]}}",
    ];

    for body in rubbish {
        let seen = port.post("/blacklist/update", body);
        assert_eq!(seen.status, StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(seen.json()["success"], false);
    }
}

#[test]
fn sessions_stop_only_after_pushing_was_stopped() {
    let port = Port::of(&golden(), META).with("content-type", "application/x-www-form-urlencoded");

    let early = port.post("/shutdown/update", "shutdown=true").json();
    port.get("/stopPushDataSwitch/open");
    let late = port.post("/shutdown/update", "shutdown=true").json();

    assert_eq!(
        (&early["success"], &late["success"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(
        port.get("/shutdown/query").json(),
        json!({ "switch": "true" })
    );
    assert_eq!(
        port.post("/shutdown/update", "shutdown=maybe").status,
        StatusCode::BAD_REQUEST
    );
}
