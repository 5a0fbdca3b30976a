//! Answers and errors as HTTP: every error is JSON of the shape of 5.4.2's results and says what is wrong.

use std::fmt;

use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{HeaderMap, StatusCode};
use rollcall_core::meta::Refusal;
use rollcall_io::http::{Body, Interrupted, Response};
use serde::Serialize;

use super::node::{NotProposed, Unanswered};

pub(super) const JSON: &str = "application/json";
pub(super) const TEXT: &str = "text/plain";

/// What an endpoint makes, for those who are choosy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Makes {
    Json,
    Text,
    /// Text that 5.4.2 declares as JSON; whoever asks for text gets it as that.
    Either,
    /// Whatever is asked for.
    Anything,
}

impl Makes {
    fn types(self) -> &'static [&'static str] {
        match self {
            Self::Json => &[JSON],
            Self::Text => &[TEXT],
            Self::Either => &[JSON, TEXT],
            Self::Anything => &[],
        }
    }
}

/// The shape of `Result` and `CommonResponse` in 5.4.2.
#[derive(Serialize)]
pub(super) struct Outcome<'a> {
    pub(super) success: bool,
    pub(super) message: Option<&'a str>,
}

/// The shape of `GenericResponse` in 6.x.
#[derive(Serialize)]
pub(super) struct OutcomeWith<'a, T> {
    pub(super) success: bool,
    pub(super) message: Option<&'a str>,
    pub(super) data: T,
}

/// Why a request is not served.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    NotFound { path: String },
    MethodNotAllowed { allow: String },
    NotAcceptable { makes: &'static [&'static str] },
    UnsupportedType { takes: &'static str },
    Parameter { name: &'static str, why: String },
    Body { why: String },
    Unauthorized { why: &'static str },
    Forbidden { why: &'static str },
    Misdirected { why: &'static str },
    Unavailable { why: String },
}

impl Problem {
    pub(super) fn missing(name: &'static str) -> Self {
        Self::Parameter {
            name,
            why: "is missing".into(),
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::NotFound { .. } => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable { .. } => StatusCode::NOT_ACCEPTABLE,
            Self::UnsupportedType { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Parameter { .. } | Self::Body { .. } => StatusCode::BAD_REQUEST,
            Self::Unauthorized { .. } => StatusCode::UNAUTHORIZED,
            Self::Forbidden { .. } => StatusCode::FORBIDDEN,
            Self::Misdirected { .. } => StatusCode::MISDIRECTED_REQUEST,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(super) fn into_response(self) -> Response {
        let message = self.to_string();
        let outcome = Outcome {
            success: false,
            message: Some(&message),
        };
        let mut response = json_with(self.status(), &outcome);
        let header = match &self {
            Self::MethodNotAllowed { allow } => HeaderValue::from_str(allow)
                .ok()
                .map(|value| (ALLOW, value)),
            Self::Unauthorized { .. } => {
                Some((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")))
            }
            _ => None,
        };
        if let Some((name, value)) = header {
            response.headers_mut().insert(name, value);
        }
        response
    }

    /// The answer to OPTIONS: what another method would have been allowed.
    pub(super) fn into_options(self) -> Response {
        let is_known = matches!(self, Self::MethodNotAllowed { .. });
        let mut response = self.into_response();
        if is_known {
            *response.status_mut() = StatusCode::NO_CONTENT;
            *response.body_mut() = Body::empty();
            response.headers_mut().remove(CONTENT_TYPE);
        }
        response
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { path } => write!(f, "no such path on this port: {path}"),
            Self::MethodNotAllowed { allow } => write!(f, "allowed methods: {allow}"),
            Self::NotAcceptable { makes } => write!(f, "this path answers {}", makes.join(" or ")),
            Self::UnsupportedType { takes } => write!(f, "the body must be {takes}"),
            Self::Parameter { name, why } => write!(f, "parameter {name} {why}"),
            Self::Body { why } => write!(f, "body: {why}"),
            Self::Unauthorized { why } | Self::Forbidden { why } | Self::Misdirected { why } => {
                f.write_str(why)
            }
            Self::Unavailable { why } => f.write_str(why),
        }
    }
}

impl From<Unanswered> for Problem {
    fn from(unanswered: Unanswered) -> Self {
        Self::Unavailable {
            why: unanswered.to_string(),
        }
    }
}

impl From<Interrupted> for Problem {
    fn from(interrupted: Interrupted) -> Self {
        Self::Unavailable {
            why: interrupted.to_string(),
        }
    }
}

/// An answer whose body is there.
pub(super) fn typed(content_type: &'static str, body: impl Into<bytes::Bytes>) -> Response {
    typed_body(content_type, Body::whole(body))
}

pub(super) fn typed_body(content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

pub(super) fn text(body: impl Into<bytes::Bytes>) -> Response {
    typed(TEXT, body)
}

pub(super) fn json(value: &impl Serialize) -> Response {
    json_with(StatusCode::OK, value)
}

pub(super) fn json_with(status: StatusCode, value: &impl Serialize) -> Response {
    let body = serde_json::to_vec(value).expect("strings, numbers and lists always serialize");
    let mut response = typed(JSON, body);
    *response.status_mut() = status;
    response
}

/// `{"success":true,"message":null}`, as all changes at meta are answered.
pub(super) fn success() -> Response {
    json(&Outcome {
        success: true,
        message: None,
    })
}

/// A request that was understood and not followed: 200, as in SOFARegistry, with the reason.
pub(super) fn refused(why: &str) -> Response {
    let outcome = Outcome {
        success: false,
        message: Some(why),
    };
    with_note(json(&outcome), Came::Refused(why.to_owned()))
}

/// What a change came to, beside its answer; without it, it is applied and met nobody in particular.
#[derive(Clone)]
pub(super) enum Came {
    /// Applied, to so many connections.
    Met(u64),
    /// Not applied.
    Refused(String),
}

/// An answer with a note for whoever writes down what became of the request; the client does not see it.
pub(super) fn with_note(mut response: Response, came: Came) -> Response {
    response.extensions_mut().insert(came);
    response
}

/// The answer to a command: refusals are ordinary answers, silence is not.
pub(super) fn of_command<T>(result: Result<T, NotProposed>) -> Result<Result<T, Refusal>, Problem> {
    match result {
        Ok(applied) => Ok(Ok(applied)),
        Err(NotProposed::Refused(refusal)) => Ok(Err(refusal)),
        Err(NotProposed::NotStored(why)) => Err(Problem::Unavailable { why }),
        Err(NotProposed::Unanswered(unanswered)) => Err(unanswered.into()),
    }
}

/// Whether the client takes what the endpoint makes. No Accept header takes everything.
pub(super) fn check_accept(headers: &HeaderMap, makes: Makes) -> Result<(), Problem> {
    let types = makes.types();
    let is_wanted = |header: &HeaderValue| {
        let text = header.to_str().unwrap_or("*/*");
        text.split(',')
            .any(|range| types.iter().any(|made| takes(range, made)))
    };
    let mut accepts = headers.get_all(ACCEPT).iter().peekable();
    if types.is_empty() || accepts.peek().is_none() || accepts.any(is_wanted) {
        return Ok(());
    }
    Err(Problem::NotAcceptable { makes: types })
}

/// Whether JSON is refused and text is wanted.
pub(super) fn wants_text(headers: &HeaderMap) -> bool {
    check_accept(headers, Makes::Json).is_err()
}

/// Whether a media range such as `text/*;q=0.8` covers a type.
fn takes(range: &str, made: &str) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let wanted = parts.next().unwrap_or_default();
    let is_refused = parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
    let covers = match wanted.split_once('/') {
        Some(("*", "*")) => true,
        Some((kind, "*")) => made
            .split('/')
            .next()
            .is_some_and(|made| made.eq_ignore_ascii_case(kind)),
        _ => wanted.eq_ignore_ascii_case(made),
    };
    covers && !is_refused
}

/// The type of a body, if told, must be the one that is read. A client that tells none is believed.
pub(super) fn check_type(headers: &HeaderMap, takes: &'static str) -> Result<(), Problem> {
    let Some(given) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let given = given
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    match given.eq_ignore_ascii_case(takes) {
        true => Ok(()),
        false => Err(Problem::UnsupportedType { takes }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_accepted(accept: &str, makes: Makes) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().expect("a header value"));
        check_accept(&headers, makes).is_ok()
    }

    #[test]
    fn what_a_client_accepts_is_respected() {
        assert!(is_accepted("*/*", Makes::Json));
        assert!(is_accepted(
            "text/html, application/json;q=0.5",
            Makes::Json
        ));
        assert!(is_accepted("text/*", Makes::Text));
        assert!(is_accepted("text/html,*/*;q=0.8", Makes::Text));
        assert!(!is_accepted("text/html", Makes::Json));
        assert!(!is_accepted("application/json;q=0", Makes::Json));
        assert!(is_accepted("text/html", Makes::Anything));
    }
}
