//! What operators did, and what somebody wanted to do and was not allowed: a line each in the log.
//!
//! Values that are stored are not shown; they may be secrets. Strangers can cause refusals, so of each kind only so many lines are
//! written.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use rollcall_io::http::{RequestHead, Response};
use rollcall_io::seldom::Seldom;
use serde_json::Value;

use super::access::Right;
use super::params::Params;
use super::reply::{Came, Problem};
use super::{Asked, Role};

/// Lines about one kind of refusal ...
const REFUSALS_TOLD: u32 = 30;
/// ... in so much time.
const REFUSALS_TOLD_IN: Duration = Duration::from_secs(60);
/// Longest text of parameters in a line.
const ASKED_BYTES_MAX: usize = 1 << 10;

/// The lines about requests that were not let pass.
#[derive(Default)]
pub(super) struct Audit {
    refusals: RefCell<BTreeMap<&'static str, Seldom>>,
}

impl Audit {
    /// Tells that a request was turned away at the door, if it wanted to change something or came under a false name.
    pub(super) fn refused(
        &self,
        role: Role,
        head: &RequestHead,
        peer: SocketAddr,
        problem: &Problem,
    ) {
        let (method, path, status) = (&head.method, head.uri.path(), problem.status().as_u16());
        let (Problem::Unauthorized { why }
        | Problem::Forbidden { why }
        | Problem::Misdirected { why }) = problem
        else {
            tracing::debug!(role = role.as_str(), %method, path, %peer, %problem, "HTTP request not served");
            return;
        };
        let mut refusals = self.refusals.borrow_mut();
        let seldom = refusals
            .entry(why)
            .or_insert_with(|| Seldom::new(REFUSALS_TOLD, REFUSALS_TOLD_IN));
        if let Some(unsaid) = seldom.pass() {
            let asked = shortened(of_pairs(&Params::of_query(head.uri.query())));
            tracing::warn!(role = role.as_str(), %method, path, asked, %peer, status, why, unsaid, "HTTP request refused");
        }
    }
}

/// An operator's change on its way.
pub(super) struct Entry {
    role: Role,
    right: Right,
    path: String,
    asked: String,
    peer: SocketAddr,
}

impl Entry {
    pub(super) fn of(role: Role, right: Right, asked: &Asked) -> Self {
        Self {
            role,
            right,
            path: asked.request.head.uri.path().to_owned(),
            asked: shortened(what_is_asked(asked)),
            peer: asked.request.peer,
        }
    }

    /// Tells what it came to.
    pub(super) fn tell(&self, outcome: &Result<Response, Problem>) {
        let came = match outcome {
            Ok(response) => response.extensions().get::<Came>().cloned(),
            Err(problem) => Some(Came::Refused(problem.to_string())),
        };
        let Self {
            role,
            right,
            path,
            asked,
            peer,
        } = self;
        let (role, right) = (role.as_str(), right.as_str());
        match came {
            Some(Came::Refused(why)) => {
                tracing::warn!(role, path, asked, %peer, right, applied = false, why, "operator's change");
            }
            Some(Came::Met(met)) => {
                tracing::info!(role, path, asked, %peer, right, applied = true, met, "operator's change");
            }
            None => {
                tracing::info!(role, path, asked, %peer, right, applied = true, "operator's change");
            }
        }
    }
}

/// The parameters of a request as an operator would recognise them.
fn what_is_asked(asked: &Asked) -> String {
    let texts = [of_pairs(&asked.params), of_body(&asked.request.body)];
    let texts = texts.into_iter().filter(|text| !text.is_empty());
    texts.collect::<Vec<_>>().join(" ")
}

fn of_body(body: &[u8]) -> String {
    if let Ok(mut value) = serde_json::from_slice::<Value>(body) {
        mask(&mut value);
        return value.to_string();
    }
    match std::str::from_utf8(body) {
        // What a broken object holds cannot be told apart, so none of it is shown.
        Ok(form) if !form.trim_start().starts_with(['{', '[']) => {
            of_pairs(&Params::of_query(Some(form)))
        }
        _ => format!("a body of {} bytes that cannot be read", body.len()),
    }
}

/// The field of a request that holds what is stored.
const STORED: &str = "data";

fn mask(value: &mut Value) {
    if let Some(stored) = value.get_mut(STORED) {
        *stored = "***".into();
    }
}

fn of_pairs(params: &Params) -> String {
    let pairs = params.pairs().map(|(name, value)| match name == STORED {
        true => format!("{name}=***"),
        // Nobody writes lines of their own into the log.
        false => format!("{}={}", name.escape_debug(), value.escape_debug()),
    });
    pairs.collect::<Vec<_>>().join("&")
}

fn shortened(mut text: String) -> String {
    if text.len() > ASKED_BYTES_MAX {
        let end = text.floor_char_boundary(ASKED_BYTES_MAX);
        let more = text.len() - end;
        text.truncate(end);
        text.push_str(&format!("… and {more} bytes more"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_shown_and_stored_values_are_not() {
        let put = br#"{"dataId":"a","version":1,"data":"s3cret"}"#;

        assert_eq!(of_body(put), r#"{"dataId":"a","version":1,"data":"***"}"#);
        assert_eq!(of_body(b"ips=10.0.0.7;10.0.0.8"), "ips=10.0.0.7;10.0.0.8");
        assert_eq!(of_body(b"data=s3cret&x=1"), "data=***&x=1");
        assert_eq!(of_body(b""), "");
        for broken in [
            &put[..put.len() - 1],
            b"[\"data\", \"s3cret",
            b"\xff s3cret",
        ] {
            assert!(!of_body(broken).contains("s3cret"));
        }
    }

    #[test]
    fn nobody_writes_lines_of_the_log_or_fills_it() {
        let forged = of_body(b"ips=1%0a2026-01-01 INFO forged");
        let long = shortened("x".repeat(1 << 20));

        assert!(!forged.contains('\n'), "{forged}");
        assert!(long.len() < ASKED_BYTES_MAX + 50, "{}", long.len());
    }
}
