//! The forms of single values: numbers, texts and binary data, each checked against what is there.

use super::text::unit_at;
use super::{HessianError, Text};

pub(super) type Result<T, E = HessianError> = std::result::Result<T, E>;

/// A place in a body.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    /// The offset of the next byte; never behind the end.
    pub(super) at: usize,
}

/// A value that is complete in itself and no text.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Int(i32),
    Long(i64),
    Double(f64),
    Date(i64),
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The bytes that were read since this offset.
    pub(super) fn since(&self, begin: usize) -> &'a [u8] {
        &self.bytes[begin..self.at]
    }

    /// The bytes that are left.
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    pub(super) fn peek(&self) -> Result<u8> {
        self.bytes.get(self.at).copied().ok_or(HessianError::End {
            at: self.at,
            need: 1,
            have: 0,
        })
    }

    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let Some((taken, _)) = self.bytes[self.at..].split_first_chunk() else {
            return Err(HessianError::End {
                at: self.at,
                need: N,
                have: self.left(),
            });
        };
        self.at += N;
        Ok(*taken)
    }

    pub(super) fn take_bytes(&mut self, len: usize) -> Result<&'a [u8]> {
        let Some(taken) = self.bytes[self.at..].get(..len) else {
            return Err(HessianError::End {
                at: self.at,
                need: len,
                have: self.left(),
            });
        };
        self.at += len;
        Ok(taken)
    }

    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(super) fn int(&mut self) -> Result<i32> {
        let [tag] = self.take()?;
        self.int_after(tag)
    }

    /// A length that is an int; what it counts takes at least a byte each.
    pub(super) fn length(&mut self, what: &'static str, limit: usize) -> Result<usize> {
        let at = self.at;
        let length = self.int()?;
        self.bounded(at, what, length, limit)
    }

    pub(super) fn bounded(
        &self,
        at: usize,
        what: &'static str,
        length: i32,
        limit: usize,
    ) -> Result<usize> {
        usize::try_from(length)
            .ok()
            .filter(|&length| length <= limit)
            .ok_or(HessianError::BadLength {
                at,
                what,
                length: length.into(),
                limit,
            })
    }

    #[expect(
        clippy::cast_lossless,
        reason = "the signs of the high bits are the point of these forms"
    )]
    pub(super) fn int_after(&mut self, tag: u8) -> Result<i32> {
        match tag {
            0x80..=0xbf => Ok(i32::from(tag) - 0x90),
            0xc0..=0xcf => {
                Ok((i32::from(tag) - 0xc8) << 8 | u8::from_be_bytes(self.take()?) as i32)
            }
            0xd0..=0xd7 => {
                Ok((i32::from(tag) - 0xd4) << 16 | u16::from_be_bytes(self.take()?) as i32)
            }
            b'I' => Ok(i32::from_be_bytes(self.take()?)),
            tag => Err(self.unexpected(tag, "an int")),
        }
    }

    #[expect(
        clippy::cast_lossless,
        reason = "the signs of the high bits are the point of these forms"
    )]
    pub(super) fn scalar_after(&mut self, tag: u8) -> Result<Option<Scalar>> {
        let scalar = match tag {
            b'N' => Scalar::Null,
            b'T' => Scalar::Bool(true),
            b'F' => Scalar::Bool(false),
            0x80..=0xbf | 0xc0..=0xcf | 0xd0..=0xd7 | b'I' => Scalar::Int(self.int_after(tag)?),
            0xd8..=0xef => Scalar::Long(i64::from(tag) - 0xe0),
            0xf0..=0xff => {
                Scalar::Long((i64::from(tag) - 0xf8) << 8 | u8::from_be_bytes(self.take()?) as i64)
            }
            0x38..=0x3f => Scalar::Long(
                (i64::from(tag) - 0x3c) << 16 | u16::from_be_bytes(self.take()?) as i64,
            ),
            b'w' => Scalar::Long(i32::from_be_bytes(self.take()?).into()),
            b'L' => Scalar::Long(i64::from_be_bytes(self.take()?)),
            0x67 => Scalar::Double(0.0),
            0x68 => Scalar::Double(1.0),
            0x69 => Scalar::Double(i8::from_be_bytes(self.take()?).into()),
            0x6a => Scalar::Double(i16::from_be_bytes(self.take()?).into()),
            0x6b => Scalar::Double(f32::from_be_bytes(self.take()?).into()),
            b'D' => Scalar::Double(f64::from_be_bytes(self.take()?)),
            b'd' => Scalar::Date(i64::from_be_bytes(self.take()?)),
            _ => return Ok(None),
        };
        Ok(Some(scalar))
    }

    /// Reads a string whose first byte was read.
    pub(super) fn text_after(&mut self, first_tag: u8) -> Result<Text<'a>> {
        let begin = self.at - 1;
        let (mut tag, mut units, mut chunks) = (first_tag, 0, 0);
        let head = if first_tag <= 0x1f { 1 } else { 3 };
        loop {
            let chunk_units = match tag {
                0..=0x1f => tag.into(),
                b'S' | b's' => u16::from_be_bytes(self.take()?).into(),
                tag => return Err(self.unexpected(tag, "a chunk of a string")),
            };
            self.units(chunk_units)?;
            units += chunk_units;
            chunks += 1;
            if tag != b's' {
                return Ok(Text {
                    raw: self.since(begin),
                    units,
                    head,
                    chunks,
                });
            }
            [tag] = self.take()?;
        }
    }

    /// Reads over the characters of this many UTF-16 units.
    pub(super) fn units(&mut self, count: usize) -> Result<()> {
        let have = self.bytes.len() - self.at;
        let Some(plain) = self.bytes[self.at..].get(..count) else {
            return Err(HessianError::End {
                at: self.at,
                need: count,
                have,
            });
        };
        if plain.is_ascii() {
            self.at += count;
            return Ok(());
        }
        for _ in 0..count {
            let rest = &self.bytes[self.at..];
            match (unit_at(rest), rest.first()) {
                (Some((_, len)), _) => self.at += len,
                (None, Some(&byte)) if rest.len() >= 3 => {
                    return Err(HessianError::BadText { at: self.at, byte });
                }
                _ => {
                    return Err(HessianError::End {
                        at: self.at,
                        need: 3,
                        have: rest.len(),
                    });
                }
            }
        }
        Ok(())
    }

    /// Reads binary data whose first byte was read, piece by piece.
    pub(super) fn binary_after(
        &mut self,
        first_tag: u8,
        mut each: impl FnMut(&'a [u8]),
    ) -> Result<()> {
        let mut tag = first_tag;
        loop {
            let len = match tag {
                0x20..=0x2f => usize::from(tag - 0x20),
                b'B' | b'b' => u16::from_be_bytes(self.take()?).into(),
                tag => return Err(self.unexpected(tag, "a chunk of binary data")),
            };
            each(self.take_bytes(len)?);
            if tag != b'b' {
                return Ok(());
            }
            [tag] = self.take()?;
        }
    }

    pub(super) fn unexpected(&self, tag: u8, wanted: &'static str) -> HessianError {
        HessianError::Unexpected {
            at: self.at - 1,
            tag,
            wanted,
        }
    }
}
