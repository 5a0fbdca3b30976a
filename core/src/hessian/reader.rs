//! Values out of the bytes of a peer that may be hostile.
//!
//! The caller asks for what it expects and skips what it does not know. Lists, maps and objects take a place in the
//! reference table when they begin; class definitions may stand in front of any value. Both hold while skipping, too.

use super::spill::Spill;
use super::text::unit_at;
use super::{Class, HessianError, Text};
use crate::limits::{
    CLASS_NAME_BYTES_MAX, HESSIAN_CLASSES_MAX, HESSIAN_DEPTH_MAX, HESSIAN_FIELDS_MAX,
    HESSIAN_REPEATED_BYTES_MAX, HESSIAN_VALUES_MAX,
};

type Result<T, E = HessianError> = std::result::Result<T, E>;

/// Reads one Hessian body from its beginning.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    values_left: usize,
    repeated_bytes_left: usize,
    /// Inside a value that is read again through a reference: it has its places in the tables already.
    is_repeating: bool,
    classes: Spill<Class<'a>, 4>,
    types: Spill<&'a [u8], 2>,
    /// Where each list, map and object begins.
    references: Spill<u32, 8>,
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

/// A list of which the items are being read.
#[derive(Clone, Copy, Debug)]
pub struct List<'a> {
    pub(super) type_name: Option<&'a [u8]>,
    /// Announced items that were not read yet; nothing if the list only has an end.
    left: Option<usize>,
    has_end: bool,
}

impl List<'_> {
    /// How many items are still to come, if the list says so. Never more than there are bytes.
    pub fn left(&self) -> Option<usize> {
        self.left
    }
}

impl<'a> Reader<'a> {
    /// A reader at the beginning of a body.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            values_left: HESSIAN_VALUES_MAX,
            repeated_bytes_left: HESSIAN_REPEATED_BYTES_MAX,
            is_repeating: false,
            classes: Spill::new(),
            types: Spill::new(),
            references: Spill::new(),
        }
    }

    /// The offset of the next byte.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// Reads a string, or nothing for null.
    pub fn text(&mut self) -> Result<Option<Text<'a>>> {
        let tag = self.tag()?;
        match tag {
            b'N' => Ok(None),
            0..=0x1f | b'S' | b's' => self.text_after(tag).map(Some),
            tag => Err(self.unexpected(tag, "a string")),
        }
    }

    /// Reads a whole number, or nothing for null. Takes what Java takes for a field of type `long`.
    #[expect(clippy::cast_possible_truncation, reason = "Java truncates, too")]
    pub fn long(&mut self) -> Result<Option<i64>> {
        let tag = self.tag()?;
        match self.scalar_after(tag)? {
            Some(Scalar::Null) => Ok(None),
            Some(Scalar::Int(value)) => Ok(Some(value.into())),
            Some(Scalar::Long(value)) => Ok(Some(value)),
            Some(Scalar::Double(value)) => Ok(Some(value as i64)),
            Some(Scalar::Bool(value)) => Ok(Some(value.into())),
            Some(Scalar::Date(_)) | None => Err(self.unexpected(tag, "a number")),
        }
    }

    /// Reads true or false, or nothing for null. Takes what Java takes for a field of type `boolean`.
    pub fn boolean(&mut self) -> Result<Option<bool>> {
        let tag = self.tag()?;
        match self.scalar_after(tag)? {
            Some(Scalar::Null) => Ok(None),
            Some(Scalar::Bool(value)) => Ok(Some(value)),
            Some(Scalar::Int(value)) => Ok(Some(value != 0)),
            Some(Scalar::Long(value)) => Ok(Some(value != 0)),
            Some(Scalar::Double(value)) => Ok(Some(value != 0.0)),
            Some(Scalar::Date(_)) | None => Err(self.unexpected(tag, "true or false")),
        }
    }

    /// Begins an object, or nothing for null. One value per field of its class follows.
    pub fn object(&mut self) -> Result<Option<Class<'a>>> {
        match self.tag()? {
            b'N' => Ok(None),
            b'o' => self.object_after().map(Some),
            tag => Err(self.unexpected(tag, "an object")),
        }
    }

    /// Begins a list, or nothing for null. Its items are read as long as [`Reader::has_item`] says so.
    pub fn list(&mut self) -> Result<Option<List<'a>>> {
        let tag = self.tag()?;
        match tag {
            b'N' => Ok(None),
            b'V' | b'v' => self.list_after(tag).map(Some),
            tag => Err(self.unexpected(tag, "a list")),
        }
    }

    /// Whether another item of the list follows. Reads over the end of the list.
    pub fn has_item(&mut self, list: &mut List<'a>) -> Result<bool> {
        match &mut list.left {
            Some(0) if list.has_end => self.end(),
            Some(0) => Ok(false),
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None => self.has_entry(),
        }
    }

    /// Begins a map, or nothing for null. Keys and values in turn follow, as long as [`Reader::has_entry`] says so.
    pub fn map(&mut self) -> Result<Option<()>> {
        match self.tag()? {
            b'N' => Ok(None),
            b'M' => self.map_after().map(|_| Some(())),
            tag => Err(self.unexpected(tag, "a map")),
        }
    }

    /// Whether another entry of the map follows. Reads over the end of the map.
    pub fn has_entry(&mut self) -> Result<bool> {
        if self.peek()? != b'z' {
            return Ok(true);
        }
        self.at += 1;
        Ok(false)
    }

    /// Reads a value that may be a reference to an earlier one: `read` sees the value itself, wherever it stands.
    ///
    /// What references repeat is bounded in bytes; a caller must not follow a reference from within itself without end.
    pub fn follow<T, E: From<HessianError>>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        self.definitions()?;
        let tag = self.peek()?;
        if !matches!(tag, b'J' | b'K' | b'R') {
            return read(self);
        }
        self.tag()?;
        let target = self.reference_after(tag)?;
        let begin = self.references.at(target).expect("the index was checked") as usize;
        let back = std::mem::replace(&mut self.at, begin);
        let was_repeating = std::mem::replace(&mut self.is_repeating, true);
        let value = read(self)?;
        self.count_repeated(self.at.saturating_sub(begin))?;
        self.is_repeating = was_repeating;
        self.at = back;
        Ok(value)
    }

    /// Reads over a value of any kind.
    pub fn skip(&mut self) -> Result<()> {
        self.skip_nested(0)
    }

    fn skip_nested(&mut self, depth: usize) -> Result<()> {
        self.check_depth(depth)?;
        let tag = self.tag()?;
        match tag {
            0..=0x1f | b'S' | b's' => self.text_after(tag).map(drop),
            0x20..=0x2f | b'B' | b'b' => self.binary_after(tag, |_| {}),
            b'J' | b'K' | b'R' => self.reference_after(tag).map(drop),
            b'V' | b'v' => {
                let mut list = self.list_after(tag)?;
                while self.has_item(&mut list)? {
                    self.skip_nested(depth + 1)?;
                }
                Ok(())
            }
            b'M' => {
                self.map_after()?;
                while self.has_entry()? {
                    self.skip_nested(depth + 1)?;
                    self.skip_nested(depth + 1)?;
                }
                Ok(())
            }
            b'o' => {
                let class = self.object_after()?;
                (0..class.field_count).try_for_each(|_| self.skip_nested(depth + 1))
            }
            tag => match self.scalar_after(tag)? {
                Some(_) => Ok(()),
                None => Err(HessianError::UnknownTag {
                    at: self.at - 1,
                    tag,
                }),
            },
        }
    }

    pub(super) fn check_depth(&self, depth: usize) -> Result<()> {
        if depth > HESSIAN_DEPTH_MAX {
            return Err(HessianError::TooDeep {
                at: self.at,
                limit: HESSIAN_DEPTH_MAX,
            });
        }
        Ok(())
    }

    /// Reads the class definitions in front of a value, then the value's first byte.
    pub(super) fn tag(&mut self) -> Result<u8> {
        self.definitions()?;
        let Some(left) = self.values_left.checked_sub(1) else {
            return Err(HessianError::TooManyValues {
                at: self.at,
                limit: HESSIAN_VALUES_MAX,
            });
        };
        self.values_left = left;
        let [tag] = self.take()?;
        Ok(tag)
    }

    fn definitions(&mut self) -> Result<()> {
        while self.peek()? == b'O' {
            self.at += 1;
            self.definition()?;
        }
        Ok(())
    }

    fn definition(&mut self) -> Result<()> {
        let name_units = self.length("class name", CLASS_NAME_BYTES_MAX)?;
        let name_at = self.at;
        self.units(name_units)?;
        let name = &self.bytes[name_at..self.at];
        let field_count = self.length("field count", HESSIAN_FIELDS_MAX)?;
        let fields_at = self.at;
        for _ in 0..field_count {
            let [tag] = self.take()?;
            match tag {
                0..=0x1f | b'S' | b's' => self.text_after(tag)?,
                tag => return Err(self.unexpected(tag, "a field name")),
            };
        }
        let fields = &self.bytes[fields_at..self.at];
        if self.is_repeating {
            return Ok(());
        }
        if self.classes.len() == HESSIAN_CLASSES_MAX {
            return Err(HessianError::TooManyClasses {
                at: name_at,
                limit: HESSIAN_CLASSES_MAX,
            });
        }
        self.classes.push(Class {
            name,
            fields,
            field_count,
        });
        Ok(())
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

    #[expect(
        clippy::cast_lossless,
        reason = "the signs of the high bits are the point of these forms"
    )]
    fn int_after(&mut self, tag: u8) -> Result<i32> {
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
                    raw: &self.bytes[begin..self.at],
                    units,
                    head,
                    chunks,
                });
            }
            [tag] = self.take()?;
        }
    }

    /// Reads over the characters of this many UTF-16 units.
    fn units(&mut self, count: usize) -> Result<()> {
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

    /// Reads the head of an object whose first byte was read.
    pub(super) fn object_after(&mut self) -> Result<Class<'a>> {
        self.begin_referable();
        let at = self.at;
        let index = self.int()?;
        usize::try_from(index)
            .ok()
            .and_then(|index| self.classes.at(index))
            .ok_or_else(|| self.bad_index(at, "class", index.into(), self.classes.len()))
    }

    /// Reads the head of a list whose first byte was read.
    pub(super) fn list_after(&mut self, tag: u8) -> Result<List<'a>> {
        self.begin_referable();
        if tag == b'v' {
            let type_name = Some(self.known_type()?);
            let left = Some(self.length("list length", self.left())?);
            return Ok(List {
                type_name,
                left,
                has_end: false,
            });
        }
        let type_name = self.type_name()?;
        let left = match self.peek()? {
            b'n' => {
                self.at += 1;
                let at = self.at;
                let [len] = self.take()?;
                Some(self.bounded(at, "list length", len.into(), self.left())?)
            }
            b'l' => {
                self.at += 1;
                let at = self.at;
                let len = i32::from_be_bytes(self.take()?);
                Some(self.bounded(at, "list length", len, self.left())?)
            }
            _ => None,
        };
        Ok(List {
            type_name,
            left,
            has_end: true,
        })
    }

    /// Reads the head of a map whose first byte was read, with its type.
    pub(super) fn map_after(&mut self) -> Result<Option<&'a [u8]>> {
        self.begin_referable();
        self.type_name()
    }

    /// Reads a reference whose first byte was read: which list, map or object of those that have begun.
    pub(super) fn reference_after(&mut self, tag: u8) -> Result<usize> {
        let at = self.at;
        let index = match tag {
            b'J' => u8::from_be_bytes(self.take()?).into(),
            b'K' => u16::from_be_bytes(self.take()?).into(),
            _ => i32::from_be_bytes(self.take()?),
        };
        usize::try_from(index)
            .ok()
            .filter(|&index| index < self.references.len())
            .ok_or_else(|| self.bad_index(at, "reference", index.into(), self.references.len()))
    }

    fn begin_referable(&mut self) {
        if !self.is_repeating {
            let at = u32::try_from(self.at - 1).expect("a frame is smaller than 4 GiB");
            self.references.push(at);
        }
    }

    fn type_name(&mut self) -> Result<Option<&'a [u8]>> {
        match self.peek()? {
            b't' => {
                self.at += 1;
                let units = u16::from_be_bytes(self.take()?).into();
                let name_at = self.at;
                self.units(units)?;
                let name = &self.bytes[name_at..self.at];
                if !self.is_repeating {
                    self.types.push(name);
                }
                Ok(Some(name))
            }
            // `T` is an old spelling of `u`; so is it read by all, even where a map begins with the key `true`.
            b'u' | b'T' => {
                self.at += 1;
                self.known_type().map(Some)
            }
            _ => Ok(None),
        }
    }

    fn known_type(&mut self) -> Result<&'a [u8]> {
        let at = self.at;
        let index = self.int()?;
        usize::try_from(index)
            .ok()
            .and_then(|index| self.types.at(index))
            .ok_or_else(|| self.bad_index(at, "type", index.into(), self.types.len()))
    }

    fn count_repeated(&mut self, bytes: usize) -> Result<()> {
        let left = self.repeated_bytes_left.checked_sub(bytes);
        let too_much = HessianError::TooMuchRepeated {
            at: self.at,
            limit: HESSIAN_REPEATED_BYTES_MAX,
        };
        self.repeated_bytes_left = left.ok_or(too_much)?;
        Ok(())
    }

    fn end(&mut self) -> Result<bool> {
        let [tag] = self.take()?;
        if tag == b'z' {
            Ok(false)
        } else {
            Err(self.unexpected(tag, "the end of the list"))
        }
    }

    /// A length that is an int; what it counts takes at least a byte each.
    fn length(&mut self, what: &'static str, limit: usize) -> Result<usize> {
        let at = self.at;
        let length = self.int()?;
        self.bounded(at, what, length, limit)
    }

    fn bounded(&self, at: usize, what: &'static str, length: i32, limit: usize) -> Result<usize> {
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

    fn int(&mut self) -> Result<i32> {
        let [tag] = self.take()?;
        self.int_after(tag)
    }

    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn peek(&self) -> Result<u8> {
        self.bytes.get(self.at).copied().ok_or(HessianError::End {
            at: self.at,
            need: 1,
            have: 0,
        })
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
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

    fn take_bytes(&mut self, len: usize) -> Result<&'a [u8]> {
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

    fn unexpected(&self, tag: u8, wanted: &'static str) -> HessianError {
        HessianError::Unexpected {
            at: self.at - 1,
            tag,
            wanted,
        }
    }

    fn bad_index(&self, at: usize, table: &'static str, index: i64, len: usize) -> HessianError {
        HessianError::BadIndex {
            at,
            table,
            index,
            len,
        }
    }
}
