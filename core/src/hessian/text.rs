//! A Hessian string as it was received: what is passed on is never transcoded.
//!
//! Strings are counted in UTF-16 units, and each unit is written on its own in 1 to 3 bytes (CESU-8), so a character beyond
//! U+FFFF takes two times three bytes. Long strings come in chunks, each with its own head. Lone surrogates are legal.

use std::borrow::Cow;
use std::fmt;

/// A validated string, borrowed with its tag and its chunk heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<'a> {
    pub(super) raw: &'a [u8],
    pub(super) units: usize,
    /// Length of the first chunk's head.
    pub(super) head: usize,
    pub(super) chunks: usize,
}

/// A text has half a surrogate pair, which no Rust string can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoneSurrogate {
    /// The unit that lacks its other half.
    pub unit: u16,
}

impl<'a> Text<'a> {
    /// The text at the head of bytes that were read before, and the bytes behind it; nothing if there is no text.
    pub fn split_first(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        if let Some(short) = Self::split_first_short(bytes) {
            return Some(short);
        }
        let (mut units, mut chunks) = (0, 0);
        let mut rest = bytes;
        loop {
            let is_last = *rest.first()? != b's';
            let (chunk_units, chunk) = chunk_head(rest)?;
            rest = skip_units(chunk, chunk_units)?;
            units += chunk_units;
            chunks += 1;
            if is_last {
                break;
            }
        }
        let head = if bytes[0] <= 0x1f { 1 } else { 3 };
        let (raw, behind) = bytes.split_at(bytes.len() - rest.len());
        Some((
            Self {
                raw,
                units,
                head,
                chunks,
            },
            behind,
        ))
    }

    /// The form of nearly all names: up to 31 units, plain ASCII.
    fn split_first_short(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let units = usize::from(*bytes.first().filter(|&&head| head <= 0x1f)?);
        let (raw, behind) = bytes.split_at_checked(1 + units)?;
        let text = Self {
            raw,
            units,
            head: 1,
            chunks: 1,
        };
        raw.is_ascii().then_some((text, behind))
    }

    /// The bytes as received, tag and chunk heads included: can be written into another message as they are.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Its length in UTF-16 units.
    pub fn units(&self) -> usize {
        self.units
    }

    /// Whether it has no units.
    pub fn is_empty(&self) -> bool {
        self.units == 0
    }

    /// The encoded units of a text of one chunk; empty for one of many chunks, which no name is.
    pub fn payload(&self) -> &'a [u8] {
        if self.chunks == 1 {
            &self.raw[self.head..]
        } else {
            &[]
        }
    }

    /// The text, borrowed where it is plain UTF-8, with surrogate pairs joined.
    pub fn to_str(&self) -> Result<Cow<'a, str>, LoneSurrogate> {
        if let Some(text) = self.as_utf8() {
            return Ok(Cow::Borrowed(text));
        }
        let decoded: Result<String, _> = char::decode_utf16(self.utf16()).collect();
        decoded.map(Cow::Owned).map_err(|lone| LoneSurrogate {
            unit: lone.unpaired_surrogate(),
        })
    }

    /// The text with U+FFFD in the place of lone surrogates: for eyes, never to be sent back.
    pub fn to_string_lossy(&self) -> Cow<'a, str> {
        if let Some(text) = self.as_utf8() {
            return Cow::Borrowed(text);
        }
        let chars = char::decode_utf16(self.utf16());
        Cow::Owned(
            chars
                .map(|char| char.unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect(),
        )
    }

    /// Its UTF-16 units.
    pub fn utf16(&self) -> impl Iterator<Item = u16> + use<'a> {
        Units {
            rest: self.raw,
            left_in_chunk: 0,
        }
    }

    fn as_utf8(&self) -> Option<&'a str> {
        if self.chunks != 1 {
            return None;
        }
        std::str::from_utf8(&self.raw[self.head..]).ok()
    }
}

impl fmt::Display for LoneSurrogate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lone surrogate {:#06x}", self.unit)
    }
}

impl std::error::Error for LoneSurrogate {}

/// Walks over a validated text; ends where something is not as validated.
struct Units<'a> {
    rest: &'a [u8],
    left_in_chunk: usize,
}

impl Iterator for Units<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        while self.left_in_chunk == 0 {
            let (units, rest) = chunk_head(self.rest)?;
            self.left_in_chunk = units;
            self.rest = rest;
        }
        let (unit, len) = unit_at(self.rest)?;
        self.rest = &self.rest[len..];
        self.left_in_chunk -= 1;
        Some(unit)
    }
}

fn chunk_head(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes {
        [units @ 0..=0x1f, rest @ ..] => Some(((*units).into(), rest)),
        [b'S' | b's', high, low, rest @ ..] => {
            Some((u16::from_be_bytes([*high, *low]).into(), rest))
        }
        _ => None,
    }
}

fn skip_units(mut bytes: &[u8], units: usize) -> Option<&[u8]> {
    if bytes.get(..units)?.is_ascii() {
        return Some(&bytes[units..]);
    }
    for _ in 0..units {
        let (_, len) = unit_at(bytes)?;
        bytes = &bytes[len..];
    }
    Some(bytes)
}

/// The unit at the head of `bytes` and how many bytes it takes; nothing if the bytes are no unit.
pub(super) fn unit_at(bytes: &[u8]) -> Option<(u16, usize)> {
    let is_continuation = |byte: u8| byte & 0xc0 == 0x80;
    let low_bits = |byte: u8| u16::from(byte & 0x3f);
    match *bytes {
        [one @ 0..=0x7f, ..] => Some((one.into(), 1)),
        [one @ 0xc0..=0xdf, two, ..] if is_continuation(two) => {
            Some((u16::from(one & 0x1f) << 6 | low_bits(two), 2))
        }
        [one @ 0xe0..=0xef, two, three, ..] if is_continuation(two) && is_continuation(three) => {
            Some((
                u16::from(one & 0x0f) << 12 | low_bits(two) << 6 | low_bits(three),
                3,
            ))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Reader;
    use super::*;

    fn text(raw: &[u8]) -> Text<'_> {
        Reader::new(raw).text().unwrap().unwrap()
    }

    #[test]
    fn a_surrogate_pair_is_one_character() {
        let emoji = text(b"\x02\xed\xa0\xbd\xed\xb8\x80");

        assert_eq!(emoji.units(), 2);
        assert_eq!(emoji.to_str().unwrap(), "\u{1f600}");
    }

    #[test]
    fn a_pair_across_a_chunk_border_is_one_character() {
        let emoji = text(b"s\x00\x01\xed\xa0\xbd\x01\xed\xb8\x80");

        assert_eq!(emoji.to_str().unwrap(), "\u{1f600}");
    }

    #[test]
    fn a_lone_surrogate_is_kept_in_the_bytes_and_no_name() {
        let raw = b"\x03x\xed\xa0\x80y";

        let lone = text(raw);

        assert_eq!(lone.raw(), raw);
        assert_eq!(lone.to_str(), Err(LoneSurrogate { unit: 0xd800 }));
        assert_eq!(lone.to_string_lossy(), "x\u{fffd}y");
    }

    #[test]
    fn plain_text_is_borrowed() {
        assert!(matches!(
            text("\x02äö".as_bytes()).to_str(),
            Ok(Cow::Borrowed("äö"))
        ));
    }
}
