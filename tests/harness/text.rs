//! Text of UTF-16 units, lone surrogates included: what a Java or JavaScript string can hold and a Rust string cannot.
//!
//! A registry passes its clients' strings on as they came, so tests need the strings that are hardest to keep.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Visitor};

/// Any sequence of UTF-16 units.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Vec<u16>);

impl Text {
    /// The text of these units, which need not be well formed.
    pub fn of_units(units: impl Into<Vec<u16>>) -> Self {
        Self(units.into())
    }

    /// The units.
    pub fn units(&self) -> &[u16] {
        &self.0
    }

    /// The text as a JSON string of ASCII characters.
    pub fn json(&self) -> String {
        let mut json = String::with_capacity(self.0.len() + 2);
        json.push('"');
        for unit in &self.0 {
            match u8::try_from(*unit) {
                Ok(byte @ (b' '..=b'~')) if byte != b'"' && byte != b'\\' => {
                    json.push(char::from(byte))
                }
                _ => json.push_str(&format!("\\u{unit:04x}")),
            }
        }
        json.push('"');
        json
    }

    /// The bytes of Hessian text: each unit encoded by itself, so that a pair takes six bytes.
    pub fn cesu_8(units: &[u16], out: &mut Vec<u8>) {
        for unit in units {
            match unit {
                0..=0x7f => out.push(low_byte(*unit)),
                0x80..=0x7ff => out.extend([0xc0 | low_byte(unit >> 6), continuation(*unit)]),
                _ => out.extend([
                    0xe0 | low_byte(unit >> 12),
                    continuation(unit >> 6),
                    continuation(*unit),
                ]),
            }
        }
    }

    /// Reads `units` units from the start of `bytes`; also tells how many bytes they took.
    pub fn from_cesu_8(bytes: &[u8], units: usize) -> (Vec<u16>, usize) {
        let mut text = Vec::with_capacity(units);
        let mut at = 0;
        while text.len() < units {
            let (unit, length) = match bytes[at] {
                first @ 0..=0x7f => (u16::from(first), 1),
                first @ 0xc0..=0xdf => (u16::from(first & 0x1f) << 6 | low_bits(bytes[at + 1]), 2),
                first @ 0xe0..=0xef => (
                    u16::from(first & 0x0f) << 12
                        | low_bits(bytes[at + 1]) << 6
                        | low_bits(bytes[at + 2]),
                    3,
                ),
                first => panic!("byte {first:#04x} begins no UTF-16 unit"),
            };
            text.push(unit);
            at += length;
        }
        (text, at)
    }
}

fn low_byte(unit: u16) -> u8 {
    unit.to_be_bytes()[1]
}

fn continuation(unit: u16) -> u8 {
    0x80 | (low_byte(unit) & 0x3f)
}

fn low_bits(byte: u8) -> u16 {
    u16::from(byte & 0x3f)
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.encode_utf16().collect())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        other.encode_utf16().eq(self.0.iter().copied())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf16_lossy(&self.0))
    }
}

impl fmt::Debug for Text {
    /// The JSON spelling, shortened: a failing test should not print a megabyte.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 60;
        match self.0.get(..SHOWN) {
            Some(start) => write!(
                f,
                "{}…[{} units]",
                Self(start.to_vec()).json(),
                self.0.len()
            ),
            None => f.write_str(&self.json()),
        }
    }
}

impl<'de> Deserialize<'de> for Text {
    /// Asks for bytes: for a lone surrogate the JSON reader then gives the three bytes it refuses in a string.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Text, E> {
                Ok(of_wtf_8(bytes))
            }
        }

        deserializer.deserialize_bytes(Bytes)
    }
}

/// UTF-8 in which a lone surrogate stands as three bytes.
fn of_wtf_8(bytes: &[u8]) -> Text {
    let mut units = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        match std::str::from_utf8(rest) {
            Ok(text) => {
                units.extend(text.encode_utf16());
                rest = &[];
            }
            Err(error) => {
                let (text, other) = rest.split_at(error.valid_up_to());
                units.extend(String::from_utf8_lossy(text).encode_utf16());
                let (lone, length) = Text::from_cesu_8(other, 1);
                units.extend(lone);
                rest = &other[length..];
            }
        }
    }
    Text(units)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hard_texts() -> Vec<Text> {
        let pair_over_border = [vec![0x61; 32_767], vec![0xd83d, 0xde00]].concat();
        vec![
            Text::default(),
            Text::from("plain \"quoted\" back\\slash \u{7f} é 漢 😀"),
            Text::of_units([0xd800]),
            Text::of_units([0x61, 0xdc00, 0xd800, 0x62]),
            Text::of_units(pair_over_border),
        ]
    }

    #[test]
    fn every_text_survives_json() {
        for text in hard_texts() {
            let json = text.json();
            assert!(json.is_ascii());
            assert_eq!(
                serde_json::from_str::<Text>(&json).expect("our own JSON"),
                text
            );
        }
    }

    #[test]
    fn every_text_survives_hessian_bytes() {
        for text in hard_texts() {
            let mut bytes = Vec::new();
            Text::cesu_8(text.units(), &mut bytes);
            assert_eq!(
                Text::from_cesu_8(&bytes, text.units().len()),
                (text.units().to_vec(), bytes.len())
            );
        }
    }
}
