//! A UUID as two numbers: compared at a glance, and read and written without a branch per digit.

use serde::{Deserialize, Serialize};

/// A UUID; its order is that of its text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Uuid {
    high: u64,
    low: u64,
}

/// Where the two digits of each byte stand in the text.
const PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

const DIGITS: &[u8; 16] = b"0123456789abcdef";
/// No value of a digit.
const INVALID: u8 = 0xff;
/// The value of each byte as a lower-case digit.
const VALUES: [u8; 256] = {
    let mut values = [INVALID; 256];
    let mut value = 0;
    while value < DIGITS.len() {
        values[DIGITS[value] as usize] = value as u8;
        value += 1;
    }
    values
};

impl Uuid {
    /// The UUID with these bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let number = u128::from_be_bytes(bytes);
        Self {
            high: (number >> 64) as u64,
            low: number as u64,
        }
    }

    /// Its bytes.
    pub fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.high) << 64 | u128::from(self.low)).to_be_bytes()
    }

    /// The UUID of this text, if that is the lower-case hyphenated form.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text: &[u8; 36] = text.try_into().ok()?;
        if HYPHENS.iter().any(|&place| text[place] != b'-') {
            return None;
        }
        let mut all = 0;
        let bytes = PLACES.map(|place| {
            let [high, low] =
                [text[place], text[place + 1]].map(|digit| VALUES[usize::from(digit)]);
            all |= high | low;
            high << 4 | low
        });
        (all != INVALID).then(|| Self::from_bytes(bytes))
    }

    /// Its text.
    pub fn text(self) -> [u8; 36] {
        let mut text = [b'-'; 36];
        for (byte, place) in self.to_bytes().into_iter().zip(PLACES) {
            text[place] = DIGITS[usize::from(byte >> 4)];
            text[place + 1] = DIGITS[usize::from(byte & 0xf)];
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8; 36] = b"6ed653d2-e57c-4947-a14d-f8d1319bf4d4";

    #[test]
    fn a_text_is_read_and_written_alike() {
        let uuid = Uuid::parse(TEXT).expect("canonical");

        assert_eq!(&uuid.text(), TEXT);
        assert_eq!(uuid.to_bytes()[..4], [0x6e, 0xd6, 0x53, 0xd2]);
        assert!(Uuid::from_bytes(uuid.to_bytes()) == uuid);
    }

    #[test]
    fn any_other_byte_makes_it_another_text() {
        for place in 0..TEXT.len() {
            for byte in 0..=u8::MAX {
                let mut text = *TEXT;
                text[place] = byte;
                let is_one = match HYPHENS.contains(&place) {
                    true => byte == b'-',
                    false => DIGITS.contains(&byte),
                };

                let uuid = Uuid::parse(&text);

                assert_eq!(uuid.map(Uuid::text), is_one.then_some(text));
            }
        }
        assert!(Uuid::parse(&TEXT[1..]).is_none());
    }

    #[test]
    fn the_order_is_that_of_the_texts() {
        let texts = [
            b"00000000-0000-0000-0000-00000000000f",
            b"00000000-0000-0000-8000-000000000000",
            TEXT,
            b"ffffffff-ffff-ffff-ffff-ffffffffffff",
        ];

        assert!(texts.map(|text| Uuid::parse(text)).is_sorted());
    }
}
