//! Parameters of a request, from its address or from a form, and the words of the registry in them.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use rollcall_core::limits;
use rollcall_core::names::DataInfoId;
use serde_json::Value;

use super::json::canonical;
use super::reply::{Problem, check_type};

/// Names and values, decoded.
#[derive(Debug, Default)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Of the part after the question mark. Java clients do not encode their values, so nothing here is an error.
    pub(super) fn of_query(query: Option<&str>) -> Self {
        let pairs = query
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty());
        Self(pairs.map(decode_pair).collect())
    }

    /// Of a form in the body.
    pub(super) fn of_form(headers: &HeaderMap, body: &[u8]) -> Result<Self, Problem> {
        check_type(headers, "application/x-www-form-urlencoded")?;
        let body = std::str::from_utf8(body).map_err(|_| Problem::Body {
            why: "is not text".into(),
        })?;
        Ok(Self::of_query(Some(body)))
    }

    /// All of them, as they came.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.0.iter();
        pairs.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The first value of this name. Absent, empty and the four letters `null`, which Java clients send for nothing, are one.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(known, _)| known == name)?;
        let value = value.trim();
        (!value.is_empty() && value != "null").then_some(value)
    }

    pub(super) fn required(&self, name: &'static str) -> Result<&str, Problem> {
        self.value(name).ok_or(Problem::missing(name))
    }
}

fn decode_pair(pair: &str) -> (String, String) {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    (decode(name), decode(value))
}

/// Percent-decoding that leaves alone what is no escape.
fn decode(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = match (first, after) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        let byte = match (escaped, first) {
            (Some((high, low)), _) => high << 4 | low,
            (None, b'+') => b' ',
            (None, other) => other,
        };
        decoded.push(byte);
        rest = if escaped.is_some() {
            &after[2..]
        } else {
            after
        };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

/// An id written as `dataId#@#instanceId#@#group`. A data id may contain the separator, so the last two count.
pub(super) fn data_info_id(name: &'static str, text: &str) -> Result<DataInfoId, Problem> {
    let mut parts = text.rsplitn(3, "#@#");
    match (parts.next(), parts.next(), parts.next()) {
        (Some(group), Some(instance_id), Some(data_id)) if !data_id.trim().is_empty() => {
            Ok(DataInfoId::new(data_id, instance_id, group))
        }
        _ => Err(Problem::Parameter {
            name,
            why: format!("must be dataId#@#instanceId#@#group, not {text:?}"),
        }),
    }
}

/// A connection written as `ip:port`, or as 6.x does, `ip:port_sessionIp:port`.
pub(super) fn connection(name: &'static str, text: &str) -> Result<SocketAddr, Problem> {
    let client = text.split('_').next().unwrap_or_default();
    let parsed = client.parse::<SocketAddr>().map(canonical);
    parsed.map_err(|_| Problem::Parameter {
        name,
        why: format!("must be ip:port, not {text:?}"),
    })
}

/// An address.
pub(super) fn ip(name: &'static str, text: &str) -> Result<IpAddr, Problem> {
    let parsed = text.trim().parse::<IpAddr>();
    parsed
        .map(|ip| ip.to_canonical())
        .map_err(|_| Problem::Parameter {
            name,
            why: format!("must be addresses, not {text:?}"),
        })
}

/// Addresses with semicolons or commas between them.
pub(super) fn ips(name: &'static str, text: &str) -> Result<Vec<IpAddr>, Problem> {
    let parts = text
        .split([';', ','])
        .filter(|part| !part.trim().is_empty());
    let ips: Result<Vec<IpAddr>, Problem> = parts.map(|part| ip(name, part)).collect();
    ips.and_then(|ips| bounded(name, ips))
}

/// No more addresses than a request may name.
pub(super) fn bounded<T>(name: &'static str, items: Vec<T>) -> Result<Vec<T>, Problem> {
    let limit = limits::HTTP_ADDRESSES_MAX;
    match items.len() > limit {
        true => Err(Problem::Parameter {
            name,
            why: format!("may list {limit} addresses, not {}", items.len()),
        }),
        false => Ok(items),
    }
}

/// The body as JSON.
pub(super) fn json_body(headers: &HeaderMap, body: &[u8]) -> Result<Value, Problem> {
    check_type(headers, super::reply::JSON)?;
    serde_json::from_slice(body).map_err(|error| Problem::Body {
        why: format!("is not JSON: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_what_is_no_escape_stays() {
        let params = Params::of_query(Some("a=x%23%40%23y&b=100%&c=%zz+%e4%bd%a0&c=second"));

        assert_eq!(params.value("a"), Some("x#@#y"));
        assert_eq!(params.value("b"), Some("100%"));
        assert_eq!(params.value("c"), Some("%zz 你"));
    }

    #[test]
    fn null_and_empty_values_are_absent() {
        let params = Params::of_query(Some("env=null&instanceId=&zone=%20&flag"));

        for name in ["env", "instanceId", "zone", "flag", "missing"] {
            assert_eq!(params.value(name), None, "{name}");
        }
    }

    #[test]
    fn an_id_keeps_a_separator_in_its_data_id() {
        let id = data_info_id("dataInfoId", "a#@#b#@#TENANT#@#GROUP").expect("three parts");

        assert_eq!(
            (id.data_id(), id.instance_id(), id.group()),
            ("a#@#b", "TENANT", "GROUP")
        );
        assert!(data_info_id("dataInfoId", "a#@#b").is_err());
        assert!(data_info_id("dataInfoId", "#@#TENANT#@#GROUP").is_err());
    }

    #[test]
    fn a_connection_is_understood_in_both_spellings() {
        let plain = connection("connectIds", "127.0.0.1:45660");
        let with_session = connection("connectIds", "127.0.0.1:45660_127.0.0.1:9600");

        assert!(plain.is_ok());
        assert_eq!(plain, with_session);
        assert!(connection("connectIds", "nonsense").is_err());
    }

    #[test]
    fn addresses_are_separated_by_semicolons_or_commas() {
        assert_eq!(
            ips("ips", "1.1.1.1;2.2.2.2, ::1;").map(|ips| ips.len()),
            Ok(3)
        );
        assert!(ips("ips", "1.1.1.1;host").is_err());
    }
}
