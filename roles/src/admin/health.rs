//! Whether a node is alive and ready, in the words of SOFARegistry and in those of today's platforms.
//!
//! All parts of a role come up before its port answers, so there is no moment at which it says ready and is not.

use hyper::StatusCode;
use rollcall_io::http::Response;

use super::Role;
use super::node::{Facts, Phase};
use super::reply::{Outcome, json_with, text};

/// `/health/check`: 200 or 500 with the parts, as monitoring of SOFARegistry reads them, and why it is degraded if it is.
pub(super) fn check(role: Role, facts: &Facts) -> Response {
    let started = facts.phase != Phase::Starting;
    let success = is_ready(role, facts);
    let mut message = match role {
        Role::Session => format!(
            "SessionServerBoot RaftClientManager:{started}, MetaServerStart:{started}, SchedulerStart:{started}, \
             HttpServerStart:true, SessionServerStart:{success}, ConnectDataServer:{started}"
        ),
        Role::Meta => format!(
            "MetaServerBoot sessionRegisterServer:{started}, dataRegisterServerStart:{started}, \
             otherMetaRegisterServerStart:{started}, httpServerStart:true, raftServerStart:{started}, \
             raftClientStart:{started}, raftManagerStart:{started}, raftStatus:{}",
            if started { "Leader" } else { "false" }
        ),
        Role::Data => format!(
            "DataServerBoot severForSession:{started}, severForDataSync:{started}, httpServer:true, \
             schedulerStarted:{started}, status:{}",
            if started { "WORKING" } else { "INITIAL" }
        ),
    };
    if let Some(degraded) = degraded(facts) {
        message = format!("{message}, {degraded}");
    }
    let status = if success {
        StatusCode::OK
    } else {
        StatusCode::INTERNAL_SERVER_ERROR
    };
    json_with(
        status,
        &Outcome {
            success,
            message: Some(&message),
        },
    )
}

/// `/livez`: whoever can answer is alive.
pub(super) fn alive() -> Response {
    text("ok")
}

/// `/readyz`: whether traffic should come here.
pub(super) fn ready(role: Role, facts: &Facts) -> Response {
    if is_ready(role, facts) {
        return degraded(facts).map_or_else(|| text("ok"), text);
    }
    let mut response = text(if facts.phase == Phase::Starting {
        "starting"
    } else {
        "draining"
    });
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

/// What is wrong with a node that serves all the same.
fn degraded(facts: &Facts) -> Option<String> {
    let troubles = facts.troubles.join("; ");
    (!troubles.is_empty()).then(|| format!("degraded: {troubles}"))
}

/// `/version`.
pub(super) fn version() -> Response {
    text(concat!("rollcall ", env!("CARGO_PKG_VERSION")))
}

/// A draining node still stores and still takes operators' commands; it only wants no clients.
fn is_ready(role: Role, facts: &Facts) -> bool {
    match facts.phase {
        Phase::Starting => false,
        Phase::Serving => true,
        Phase::Draining => role != Role::Session,
    }
}
