//! Who may change something over HTTP, and under which names this node answers.
//!
//! As long as there is no token, this host may; once there is one, everybody needs it, because behind a sidecar, a port-forward
//! or a proxy everybody comes from this host. What a browser sends is never an operator's word without the token: a web page can
//! have it sent, under a name of its own too, which it then lets point here.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use hyper::header::{
    AUTHORIZATION, FORWARDED, HOST, HeaderName, HeaderValue, ORIGIN, REFERER, USER_AGENT,
};
use rollcall_io::http::{RequestHead, Urgency};

use super::reply::Problem;
use super::routes::Route;
use crate::config::{Config, MaskedString};

/// The rules for requests.
#[derive(Clone)]
pub struct Access {
    /// The bearer token; without one only the host itself may change things.
    pub token: Option<MaskedString>,
    /// Whether everybody may, without a token.
    pub allow_unauthenticated: bool,
    /// Whether who connects over loopback may, without a token.
    pub trust_loopback: bool,
    /// Names of this node in requests, in lower case; addresses and `localhost` are known anyway.
    pub host_names: Vec<String>,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            token: None,
            allow_unauthenticated: false,
            trust_loopback: true,
            host_names: Vec::new(),
        }
    }
}

/// Why a request was let pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// It changes nothing.
    None,
    /// It has the token.
    Token,
    /// It comes from this host, which is trusted.
    Loopback,
    /// Everybody may.
    Anybody,
}

impl Right {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Token => "token",
            Self::Loopback => "loopback",
            Self::Anybody => "anybody",
        }
    }
}

impl Access {
    /// The rules that an operator configured.
    pub fn of(config: &Config) -> Self {
        let admin = &config.admin;
        let advertised = config.node.advertise.iter();
        let advertised = advertised.map(|advertise| advertise.host().to_ascii_lowercase());
        Self {
            token: admin.token.clone(),
            allow_unauthenticated: admin.allow_unauthenticated_admin,
            trust_loopback: admin.trust_loopback,
            host_names: advertised.chain(admin.host_names.clone()).collect(),
        }
    }

    /// Lets a request pass or says what it lacks.
    pub(super) fn check(
        &self,
        route: &Route,
        head: &RequestHead,
        peer: SocketAddr,
    ) -> Result<Right, Problem> {
        let shown = self.token_shown(&head.headers);
        // Clients, probes and scrapers come by whatever name leads here, and what they learn is no secret.
        if shown != Some(true) && route.urgency != Urgency::Vital {
            self.check_host(head)?;
        }
        match route.changes() {
            true => self.check_change(shown, &head.headers, peer),
            false => Ok(Right::None),
        }
    }

    /// Whether the token was shown rightly, if there is one and anything was shown.
    fn token_shown(&self, headers: &HeaderMap) -> Option<bool> {
        let given = bearer(headers)?;
        Some(self.token.as_ref()?.matches(given))
    }

    fn check_change(
        &self,
        shown: Option<bool>,
        headers: &HeaderMap,
        peer: SocketAddr,
    ) -> Result<Right, Problem> {
        match shown {
            Some(true) => return Ok(Right::Token),
            Some(false) => {
                return Err(Problem::Unauthorized {
                    why: "the bearer token is wrong",
                });
            }
            None => (),
        }
        if is_of_a_browser(headers) {
            return Err(Problem::Forbidden {
                why: "a browser may change nothing here without the bearer token",
            });
        }
        if self.allow_unauthenticated {
            return Ok(Right::Anybody);
        }
        let is_of_this_host = is_of_this_host(headers, peer);
        if self.trust_loopback && is_of_this_host {
            return Ok(Right::Loopback);
        }
        Err(self.lacking(is_of_this_host))
    }

    fn lacking(&self, is_of_this_host: bool) -> Problem {
        match (&self.token, is_of_this_host) {
            (Some(_), true) => Problem::Unauthorized {
                why: "a bearer token is needed, from this host too unless [admin] trust_loopback = true",
            },
            (Some(_), false) => Problem::Unauthorized {
                why: "a bearer token is needed",
            },
            (None, true) => Problem::Forbidden {
                why: "changes from this host need [admin] token, or trust_loopback = true",
            },
            (None, false) => Problem::Forbidden {
                why: "changes from another host need [admin] token, or allow_unauthenticated_admin = true",
            },
        }
    }

    /// A page that lets its own name point to this node is recognised by that name. Who names no host is no browser.
    fn check_host(&self, head: &RequestHead) -> Result<(), Problem> {
        let said = head.headers.get_all(HOST).iter();
        let said = said.map(|host: &HeaderValue| host.to_str().ok());
        let mut names = said.chain(head.uri.host().map(Some));
        match names.all(|name| name.is_some_and(|name| self.is_ours(name))) {
            true => Ok(()),
            false => Err(Problem::Misdirected {
                why: "this node does not know the name in Host as its own: ask by address, or list the name under [admin] host_names",
            }),
        }
    }

    /// Whether `host`, with or without a port, is a name of this node.
    fn is_ours(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(bracketed) => bracketed.split(']').next().unwrap_or_default(),
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        if host.parse::<IpAddr>().is_ok() || name.parse::<IpAddr>().is_ok() {
            return true;
        }
        let name = name.strip_suffix('.').unwrap_or(name);
        let known = self.host_names.iter().map(String::as_str);
        known
            .chain(["localhost"])
            .any(|known| known.eq_ignore_ascii_case(name))
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("has_token", &self.token.is_some())
            .field("allow_unauthenticated", &self.allow_unauthenticated)
            .field("trust_loopback", &self.trust_loopback)
            .field("host_names", &self.host_names)
            .finish()
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// A proxy on this host is not the one who asks.
fn is_of_this_host(headers: &HeaderMap, peer: SocketAddr) -> bool {
    let is_forwarded = [FORWARDED, FORWARDED_FOR, REAL_IP]
        .iter()
        .any(|name| headers.contains_key(name));
    peer.ip().to_canonical().is_loopback() && !is_forwarded
}

/// Whether a browser made the request, be it for a page or for a person: each of them says so in one of these ways.
fn is_of_a_browser(headers: &HeaderMap) -> bool {
    let is_mozilla = |agent: &HeaderValue| agent.as_bytes().starts_with(b"Mozilla/");
    headers.contains_key(ORIGIN)
        || headers.contains_key(REFERER)
        || headers
            .keys()
            .any(|name| name.as_str().starts_with("sec-fetch-"))
        || headers.get_all(USER_AGENT).iter().any(is_mozilla)
}

#[cfg(test)]
mod tests {
    use hyper::Method;

    use super::*;
    use crate::admin::{Role, routes};

    const FAR: &str = "10.0.0.9:5000";
    const NEAR: &str = "127.0.0.1:5000";
    const TOKEN: (&str, &str) = ("authorization", "Bearer s3cret");

    /// The status with which a request is turned away.
    fn asked(
        access: &Access,
        path: &str,
        peer: &str,
        headers: &[(&'static str, &'static str)],
    ) -> Option<u16> {
        let mut request = hyper::Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let head = request.body(()).expect("a request").into_parts().0;
        let found = routes::find(Role::Meta, &Method::GET, head.uri.path()).expect("a path");
        let checked = access.check(found.route, &head, peer.parse().expect("an address"));
        checked.err().map(|problem| problem.status().as_u16())
    }

    fn check(access: &Access, peer: &str, headers: &[(&'static str, &'static str)]) -> Option<u16> {
        asked(access, "/stopPushDataSwitch/open", peer, headers)
    }

    fn with_token() -> Access {
        Access {
            token: Some(MaskedString::new("s3cret".to_owned())),
            trust_loopback: false,
            ..Access::default()
        }
    }

    #[test]
    fn without_a_token_only_the_host_itself_may_change_things() {
        let access = Access::default();

        assert_eq!(check(&access, NEAR, &[]), None);
        assert_eq!(check(&access, "[::1]:5000", &[]), None);
        assert_eq!(check(&access, "[::ffff:127.0.0.1]:5000", &[]), None);
        assert_eq!(check(&access, FAR, &[]), Some(403));
        assert_eq!(check(&access, FAR, &[TOKEN]), Some(403));
    }

    #[test]
    fn a_token_has_to_be_shown_by_everybody() {
        let access = with_token();

        for peer in [FAR, NEAR] {
            assert_eq!(check(&access, peer, &[]), Some(401));
            assert_eq!(check(&access, peer, &[TOKEN]), None);
            let spaced = ("authorization", "bearer  s3cret");
            assert_eq!(check(&access, peer, &[spaced]), None);
        }
        for wrong in [
            "Bearer s3cre",
            "Bearer s3crett",
            "Bearer s3creT",
            "Basic s3cret",
            "Bearer ",
            "s3cret",
        ] {
            let wrong = ("authorization", wrong);
            assert_eq!(check(&access, FAR, &[wrong]), Some(401), "{wrong:?}");
        }
    }

    #[test]
    fn an_operator_can_trust_loopback_beside_the_token() {
        let access = Access {
            trust_loopback: true,
            ..with_token()
        };

        assert_eq!(check(&access, NEAR, &[]), None);
        assert_eq!(check(&access, FAR, &[]), Some(401));
        let guess = ("authorization", "Bearer guess");
        assert_eq!(check(&access, NEAR, &[guess]), Some(401));
        let forwarded = ("x-forwarded-for", "10.0.0.9");
        assert_eq!(check(&access, NEAR, &[forwarded]), Some(401));
        let nobody = Access {
            trust_loopback: false,
            ..Access::default()
        };
        assert_eq!(check(&nobody, NEAR, &[]), Some(403));
    }

    #[test]
    fn what_passed_through_a_proxy_of_this_host_is_not_its_own() {
        let forwarded = ("forwarded", "for=10.0.0.9");

        assert_eq!(check(&Access::default(), NEAR, &[forwarded]), Some(403));
    }

    #[test]
    fn a_browser_may_change_nothing_without_the_token() {
        let open = Access {
            allow_unauthenticated: true,
            ..Access::default()
        };
        let signs = [
            ("origin", "https://example.org"),
            ("origin", "http://127.0.0.1:9615"),
            ("referer", "http://127.0.0.1:9615/"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-mode", "navigate"),
            ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)"),
        ];

        for sign in signs {
            assert_eq!(check(&Access::default(), NEAR, &[sign]), Some(403));
            assert_eq!(check(&open, FAR, &[sign]), Some(403), "{sign:?}");
            assert_eq!(check(&with_token(), NEAR, &[sign, TOKEN]), None);
            let question = asked(&Access::default(), "/digest/pushSwitch", FAR, &[sign]);
            assert_eq!(question, None);
        }
        assert_eq!(check(&open, FAR, &[("user-agent", "curl/8.5.0")]), None);
    }

    #[test]
    fn a_name_that_is_not_ours_is_another_site_pointed_here() {
        let access = Access {
            host_names: vec!["registry.example".into()],
            ..Access::default()
        };
        let host = |name| [("host", name)];

        for ours in [
            "127.0.0.1:9615",
            "10.0.0.1",
            "[::1]:9615",
            "[fd00::1]",
            "localhost:9615",
            "LOCALHOST",
            "Registry.Example.:9615",
        ] {
            assert_eq!(check(&access, NEAR, &host(ours)), None, "{ours}");
        }
        for theirs in [
            "evil.example:9615",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "",
        ] {
            let changed = check(&access, NEAR, &host(theirs));
            let questioned = asked(&access, "/digest/pushSwitch", NEAR, &host(theirs));
            assert_eq!((changed, questioned), (Some(421), Some(421)), "{theirs}");
        }
        let proxied = "http://evil.example/digest/pushSwitch";
        assert_eq!(asked(&access, proxied, NEAR, &host("localhost")), Some(421));
    }

    #[test]
    fn probes_and_whoever_has_the_token_come_by_any_name() {
        let other = ("host", "rollcall-0.registry.svc");

        assert_eq!(asked(&with_token(), "/livez", FAR, &[other]), None);
        assert_eq!(check(&with_token(), FAR, &[other, TOKEN]), None);
    }

    #[test]
    fn an_operator_can_open_the_door() {
        let access = Access {
            allow_unauthenticated: true,
            ..Access::default()
        };

        assert_eq!(check(&access, FAR, &[]), None);
    }

    #[test]
    fn a_token_does_not_show_in_logs() {
        assert!(!format!("{:?}", with_token()).contains("s3cret"));
    }
}
