//! Health and readiness by role and phase.

use super::*;

#[test]
fn a_node_at_work_answers_as_the_original() {
    let node = golden();
    let checks = [
        (
            SESSION,
            "SessionServerBoot RaftClientManager:true, MetaServerStart:true, SchedulerStart:true, \
             HttpServerStart:true, SessionServerStart:true, ConnectDataServer:true",
        ),
        (
            META,
            "MetaServerBoot sessionRegisterServer:true, dataRegisterServerStart:true, \
             otherMetaRegisterServerStart:true, httpServerStart:true, raftServerStart:true, raftClientStart:true, \
             raftManagerStart:true, raftStatus:Leader",
        ),
        (
            DATA,
            "DataServerBoot severForSession:true, severForDataSync:true, httpServer:true, schedulerStarted:true, \
             status:WORKING",
        ),
    ];

    for (role, message) in checks {
        let seen = Port::of(&node, role).get("/health/check");
        let body = format!("{{\"success\":true,\"message\":\"{message}\"}}");
        assert!(seen.is_ok("application/json", &body), "{seen:?}");
    }
}

#[test]
fn who_is_not_ready_says_so_with_500_and_503() {
    let node = golden();
    let phases = |phase| {
        node.facts.borrow_mut().phase = phase;
        [SESSION, META, DATA].map(|role| {
            let port = Port::of(&node, role);
            (
                port.get("/health/check").status.as_u16(),
                port.get("/readyz").status.as_u16(),
            )
        })
    };

    assert_eq!(phases(Phase::Starting), [(500, 503); 3]);
    assert_eq!(
        phases(Phase::Draining),
        [(500, 503), (200, 200), (200, 200)]
    );
    assert_eq!(phases(Phase::Serving), [(200, 200); 3]);
    assert!(
        Port::of(&node, DATA)
            .get("/livez")
            .is_ok("text/plain", "ok")
    );
}
