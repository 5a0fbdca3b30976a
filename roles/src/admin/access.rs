//! Who may change something over HTTP.
//!
//! The host itself may; everybody else needs the token. A request that only passed through this host (a proxy, a web page in
//! somebody's browser) is not the host's own.

use std::fmt;
use std::net::SocketAddr;

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, FORWARDED, HOST, HeaderName, ORIGIN};

use super::reply::Problem;
use crate::config::MaskedString;

/// The rules for requests that change something.
#[derive(Clone, Default)]
pub struct Access {
    /// The bearer token; without one only the host itself may change things.
    pub token: Option<MaskedString>,
    /// Whether everybody may, without a token.
    pub allow_unauthenticated: bool,
}

impl Access {
    /// Lets a changing request pass or says what it lacks.
    pub(super) fn check(&self, headers: &HeaderMap, peer: SocketAddr) -> Result<(), Problem> {
        if let (Some(token), Some(given)) = (&self.token, bearer(headers)) {
            return match token.matches(given) {
                true => Ok(()),
                false => Err(Problem::Unauthorized {
                    why: "the bearer token is wrong",
                }),
            };
        }
        if is_from_a_page(headers) {
            return Err(Problem::Forbidden {
                why: "a web page may change nothing here without the bearer token",
            });
        }
        if self.allow_unauthenticated || is_of_this_host(headers, peer) {
            return Ok(());
        }
        match self.token {
            Some(_) => Err(Problem::Unauthorized {
                why: "a bearer token is needed from another host",
            }),
            None => Err(Problem::Forbidden {
                why: "changes from another host need an admin token in the configuration, or allow_unauthenticated_admin = true",
            }),
        }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("has_token", &self.token.is_some())
            .field("allow_unauthenticated", &self.allow_unauthenticated)
            .finish()
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A proxy on this host is not the one who asks.
fn is_of_this_host(headers: &HeaderMap, peer: SocketAddr) -> bool {
    let is_forwarded = [FORWARDED, FORWARDED_FOR, REAL_IP]
        .iter()
        .any(|name| headers.contains_key(name));
    peer.ip().to_canonical().is_loopback() && !is_forwarded
}

/// Browsers say when a page of another site, and not a person or a program, makes the request.
fn is_from_a_page(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get(FETCH_SITE) {
        return site != "none" && site != "same-origin";
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return false;
    };
    let own = headers.get(HOST).and_then(|host| host.to_str().ok());
    let origin = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"));
    own.is_none() || origin.map(|(_, host)| host) != own
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: &str = "10.0.0.9:5000";
    const NEAR: &str = "127.0.0.1:5000";

    fn check(access: &Access, peer: &str, headers: &[(&'static str, &'static str)]) -> Option<u16> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().expect("a header value"));
        }
        let checked = access.check(&map, peer.parse().expect("an address"));
        checked.err().map(|problem| problem.status().as_u16())
    }

    fn with_token() -> Access {
        Access {
            token: Some(MaskedString::new("s3cret".to_owned())),
            allow_unauthenticated: false,
        }
    }

    #[test]
    fn without_a_token_only_the_host_itself_may_change_things() {
        let access = Access::default();

        assert_eq!(check(&access, NEAR, &[]), None);
        assert_eq!(check(&access, "[::1]:5000", &[]), None);
        assert_eq!(check(&access, "[::ffff:127.0.0.1]:5000", &[]), None);
        assert_eq!(check(&access, FAR, &[]), Some(403));
        assert_eq!(
            check(&access, FAR, &[("authorization", "Bearer s3cret")]),
            Some(403)
        );
    }

    #[test]
    fn with_a_token_another_host_has_to_show_it() {
        let access = with_token();

        assert_eq!(check(&access, FAR, &[]), Some(401));
        assert_eq!(
            check(&access, FAR, &[("authorization", "Bearer s3cret")]),
            None
        );
        assert_eq!(
            check(&access, FAR, &[("authorization", "bearer  s3cret")]),
            None
        );
        for wrong in [
            "Bearer s3cre",
            "Bearer s3crett",
            "Bearer s3creT",
            "Basic s3cret",
            "Bearer ",
            "s3cret",
        ] {
            assert_eq!(
                check(&access, FAR, &[("authorization", wrong)]),
                Some(401),
                "{wrong}"
            );
        }
        assert_eq!(check(&access, NEAR, &[]), None);
    }

    #[test]
    fn a_wrong_token_is_wrong_from_this_host_too() {
        assert_eq!(
            check(&with_token(), NEAR, &[("authorization", "Bearer guess")]),
            Some(401)
        );
    }

    #[test]
    fn what_passed_through_a_proxy_of_this_host_is_not_its_own() {
        assert_eq!(
            check(&with_token(), NEAR, &[("x-forwarded-for", "10.0.0.9")]),
            Some(401)
        );
        assert_eq!(
            check(&Access::default(), NEAR, &[("forwarded", "for=10.0.0.9")]),
            Some(403)
        );
    }

    #[test]
    fn a_web_page_may_change_nothing_without_the_token() {
        let page = ("origin", "https://example.org");

        assert_eq!(check(&Access::default(), NEAR, &[page]), Some(403));
        assert_eq!(
            check(
                &Access::default(),
                NEAR,
                &[("sec-fetch-site", "cross-site")]
            ),
            Some(403)
        );
        assert_eq!(
            check(&Access::default(), NEAR, &[("sec-fetch-site", "none")]),
            None
        );
        let own = [
            ("origin", "http://127.0.0.1:9615"),
            ("host", "127.0.0.1:9615"),
        ];
        assert_eq!(check(&Access::default(), NEAR, &own), None);
        assert_eq!(
            check(
                &with_token(),
                NEAR,
                &[page, ("authorization", "Bearer s3cret")]
            ),
            None
        );
    }

    #[test]
    fn an_operator_can_open_the_door() {
        let access = Access {
            token: None,
            allow_unauthenticated: true,
        };

        assert_eq!(check(&access, FAR, &[]), None);
    }

    #[test]
    fn a_token_does_not_show_in_logs() {
        assert!(!format!("{:?}", with_token()).contains("s3cret"));
    }
}
