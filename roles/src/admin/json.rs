//! Rows in the JSON of SOFARegistry 5.4.2: the same names in the same order, so that scripts which read them go on working.

use std::net::SocketAddr;

use rollcall_core::query::{
    ConfiguratorRow, ConnectionRow, PublisherRow, RegistrationRow, SubscriberRow,
};
use serde::Serialize;

/// A publisher, subscriber or watcher.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Registration<'a> {
    data_info_id: String,
    data_id: &'a str,
    client_id: Option<&'a str>,
    instance_id: &'a str,
    cell: Option<&'a str>,
    app_name: Option<&'a str>,
    process_id: String,
    register_id: String,
    version: i64,
    source_address: Url,
    client_version: &'static str,
    group: &'a str,
    register_timestamp: i64,
    client_register_timestamp: i64,
    attributes: Empty,
    #[serde(flatten)]
    kind: Kind<'a>,
}

/// What only one kind of registration has.
#[derive(Serialize)]
#[serde(untagged)]
enum Kind<'a> {
    #[serde(rename_all = "camelCase")]
    Publisher {
        data_list: Vec<DataBox<'a>>,
        publish_type: &'static str,
    },
    #[serde(rename_all = "camelCase")]
    Subscriber {
        scope: &'static str,
        element_type: Option<&'static str>,
    },
    #[serde(rename_all = "camelCase")]
    Watcher { data_type: &'static str },
}

/// An object without fields. Attributes may hold signatures, which are nobody's business.
#[derive(Serialize)]
struct Empty {}

/// An address as 5.4.2 shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Url {
    protocol: Option<&'static str>,
    host: &'static str,
    ip_address: String,
    port: u16,
    path: &'static str,
    serializer_index: Option<u8>,
    parameters: Option<&'static str>,
    address_string: String,
}

impl Url {
    pub(super) fn of_host(host: &str) -> Self {
        Self::new(host.to_owned(), 0, format!("{host}:0"), Some(1))
    }

    fn of_client(address: SocketAddr, serializer_index: Option<u8>) -> Self {
        let address = canonical(address);
        Self::new(
            address.ip().to_string(),
            address.port(),
            address.to_string(),
            serializer_index,
        )
    }

    fn new(
        ip_address: String,
        port: u16,
        address_string: String,
        serializer_index: Option<u8>,
    ) -> Self {
        Self {
            protocol: None,
            host: "",
            ip_address,
            port,
            path: "",
            serializer_index,
            parameters: None,
            address_string,
        }
    }
}

/// One published string: as 5.4.2 shows it, a serialized Java string in base64, and readable beside.
#[derive(Serialize)]
struct DataBox<'a> {
    bytes: String,
    serialization: u8,
    object: &'a str,
}

pub(super) fn publisher(row: &PublisherRow) -> Registration<'_> {
    let data_list = row.boxes.iter().map(|text| DataBox {
        bytes: base64(&java_string(text)),
        serialization: 1,
        object: text,
    });
    let kind = Kind::Publisher {
        data_list: data_list.collect(),
        publish_type: "NORMAL",
    };
    registration(&row.registration, Some(1), kind)
}

pub(super) fn subscriber(row: &SubscriberRow) -> Registration<'_> {
    let kind = Kind::Subscriber {
        scope: row.scope.as_str(),
        element_type: None,
    };
    registration(&row.registration, None, kind)
}

pub(super) fn configurator(row: &ConfiguratorRow) -> Registration<'_> {
    registration(
        &row.registration,
        None,
        Kind::Watcher {
            data_type: "WATCHER",
        },
    )
}

fn registration<'a>(
    row: &'a RegistrationRow,
    serializer_index: Option<u8>,
    kind: Kind<'a>,
) -> Registration<'a> {
    let id = &row.data_info_id;
    let process_id = row.process_id.as_deref().filter(|id| !id.is_empty());
    Registration {
        data_info_id: id.to_string(),
        data_id: id.data_id(),
        client_id: None,
        instance_id: id.instance_id(),
        cell: row.zone.as_deref(),
        app_name: row.app.as_deref(),
        process_id: process_id.map_or_else(|| canonical(row.address).to_string(), str::to_owned),
        register_id: row.regist_id.to_string(),
        version: row.version,
        source_address: Url::of_client(row.address, serializer_index),
        client_version: "StoreData",
        group: id.group(),
        register_timestamp: row.registered_ms,
        client_register_timestamp: row.client_ms,
        attributes: Empty {},
        kind,
    }
}

/// A connection with all that is known of it; no original shows this.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Connection<'a> {
    address: String,
    core: u16,
    protocol: &'a str,
    client_version: Option<&'a str>,
    app_name: Option<&'a str>,
    labels: serde_json::Map<String, serde_json::Value>,
    received_bytes: u64,
    sent_bytes: u64,
    opened_timestamp: u64,
    publishers: u64,
    subscribers: u64,
    watchers: u64,
}

pub(super) fn connection(row: &ConnectionRow) -> Connection<'_> {
    let labels = row
        .labels
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string().into()));
    Connection {
        address: canonical(row.address).to_string(),
        core: row.core.0,
        protocol: &row.protocol,
        client_version: row.client_version.as_deref(),
        app_name: row.app.as_deref(),
        labels: labels.collect(),
        received_bytes: row.received_bytes,
        sent_bytes: row.sent_bytes,
        opened_timestamp: row.opened_ms,
        publishers: row.publishers,
        subscribers: row.subscribers,
        watchers: row.configurators,
    }
}

/// An IPv4 client of an IPv6 socket as the IPv4 address that it is.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// A string as Java serializes it: stream magic, type, length, modified UTF-8.
fn java_string(text: &str) -> Vec<u8> {
    let body = modified_utf8(text);
    let mut bytes = vec![0xac, 0xed, 0x00, 0x05];
    match u16::try_from(body.len()) {
        Ok(length) => {
            bytes.push(b't');
            bytes.extend(length.to_be_bytes());
        }
        Err(_) => {
            bytes.push(b'|');
            bytes.extend((body.len() as u64).to_be_bytes());
        }
    }
    bytes.extend(body);
    bytes
}

/// Two bytes for NUL, and three for each half of a surrogate pair.
fn modified_utf8(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for unit in text.encode_utf16() {
        let [high, low] = unit.to_be_bytes();
        let (top, middle, last) = (high >> 4, (high & 0x0f) << 2 | low >> 6, low & 0x3f);
        match unit {
            0x0001..=0x007f => bytes.push(low),
            0x0000 | 0x0080..=0x07ff => bytes.extend([0xc0 | middle, 0x80 | last]),
            _ => bytes.extend([0xe0 | top, 0x80 | middle, 0x80 | last]),
        }
    }
    bytes
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut padded = [0; 4];
        padded[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(padded);
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= group.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    text
}

/// What Java's `String.hashCode` makes of a text.
pub(super) fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0, |hash: i32, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_the_java_string_that_the_original_shows() {
        assert_eq!(
            base64(&java_string("10.0.0.1:12200?weight=100")),
            "rO0ABXQAGTEwLjAuMC4xOjEyMjAwP3dlaWdodD0xMDA="
        );
        assert_eq!(base64(&java_string("one")), "rO0ABXQAA29uZQ==");
        assert_eq!(base64(&java_string("zwei-ü")), "rO0ABXQAB3p3ZWktw7w=");
    }

    #[test]
    fn a_long_value_has_an_eight_byte_length() {
        let bytes = java_string(&"a".repeat(65_536));

        assert_eq!(&bytes[4..13], b"|\0\0\0\0\0\x01\0\0");
    }

    #[test]
    fn modified_utf8_has_no_zero_byte_and_no_four_byte_form() {
        assert_eq!(
            modified_utf8("\0é€𝄞"),
            b"\xc0\x80\xc3\xa9\xe2\x82\xac\xed\xa0\xb4\xed\xb4\x9e"
        );
    }

    #[test]
    fn base64_pads_to_groups_of_four() {
        assert_eq!(
            ["", "f", "fo", "foo", "foob"].map(|text| base64(text.as_bytes())),
            ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]
        );
    }

    #[test]
    fn the_checksum_is_javas() {
        let echo = java_hash("com.example.golden.Echo#@#DEFAULT_INSTANCE_ID#@#DEFAULT_GROUP");
        let two = java_hash("com.example.golden.Two#@#DEFAULT_INSTANCE_ID#@#DEFAULT_GROUP");

        assert_eq!(echo, 2_054_259_957);
        assert_eq!(echo.wrapping_add(two), 256_361_833);
    }
}
