//! Values out of the bytes of a peer that may be hostile.
//!
//! The caller asks for what it expects and skips what it does not know. Lists, maps and objects take a place in the
//! reference table when they begin; class definitions may stand in front of any value. Both hold while skipping, too.

use super::cursor::{Cursor, Result, Scalar};
use super::spill::Spill;
use super::{Class, Definition, HessianError, Text};
use crate::limits::{HESSIAN_DEPTH_MAX, HESSIAN_REPEATED_BYTES_MAX, HESSIAN_VALUES_MAX};

/// Reads one Hessian body from its beginning.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    pub(super) cursor: Cursor<'a>,
    pub(super) expected: &'static [Definition],
    values_left: usize,
    repeated_bytes_left: usize,
    /// Inside a value that is read again through a reference: it has its places in the tables already.
    pub(super) is_repeating: bool,
    pub(super) classes: Spill<Class<'a>, 4>,
    pub(super) types: Spill<&'a [u8], 2>,
    /// Where each list, map and object begins.
    pub(super) references: Spill<u32, 8>,
}

/// A list of which the items are being read.
#[derive(Clone, Copy, Debug)]
pub struct List<'a> {
    pub(super) type_name: Option<&'a [u8]>,
    /// Announced items that were not read yet; nothing if the list only has an end.
    pub(super) left: Option<usize>,
    pub(super) has_end: bool,
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
        Self::expecting(bytes, &[])
    }

    /// The same, of a body that most probably has these class definitions.
    pub fn expecting(bytes: &'a [u8], expected: &'static [Definition]) -> Self {
        Self {
            cursor: Cursor::new(bytes),
            expected,
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
        self.cursor.at
    }

    /// Reads a string, or nothing for null.
    pub fn text(&mut self) -> Result<Option<Text<'a>>> {
        let tag = self.tag()?;
        match tag {
            b'N' => Ok(None),
            0..=0x1f | b'S' | b's' => self.cursor.text_after(tag).map(Some),
            tag => Err(self.cursor.unexpected(tag, "a string")),
        }
    }

    /// Reads a whole number, or nothing for null. Takes what Java takes for a field of type `long`.
    #[expect(clippy::cast_possible_truncation, reason = "Java truncates, too")]
    pub fn long(&mut self) -> Result<Option<i64>> {
        let tag = self.tag()?;
        match self.cursor.scalar_after(tag)? {
            Some(Scalar::Null) => Ok(None),
            Some(Scalar::Int(value)) => Ok(Some(value.into())),
            Some(Scalar::Long(value)) => Ok(Some(value)),
            Some(Scalar::Double(value)) => Ok(Some(value as i64)),
            Some(Scalar::Bool(value)) => Ok(Some(value.into())),
            Some(Scalar::Date(_)) | None => Err(self.cursor.unexpected(tag, "a number")),
        }
    }

    /// Reads true or false, or nothing for null. Takes what Java takes for a field of type `boolean`.
    pub fn boolean(&mut self) -> Result<Option<bool>> {
        let tag = self.tag()?;
        match self.cursor.scalar_after(tag)? {
            Some(Scalar::Null) => Ok(None),
            Some(Scalar::Bool(value)) => Ok(Some(value)),
            Some(Scalar::Int(value)) => Ok(Some(value != 0)),
            Some(Scalar::Long(value)) => Ok(Some(value != 0)),
            Some(Scalar::Double(value)) => Ok(Some(value != 0.0)),
            Some(Scalar::Date(_)) | None => Err(self.cursor.unexpected(tag, "true or false")),
        }
    }

    /// Begins an object, or nothing for null. One value per field of its class follows.
    pub fn object(&mut self) -> Result<Option<Class<'a>>> {
        match self.tag()? {
            b'N' => Ok(None),
            b'o' => self.object_after().map(Some),
            tag => Err(self.cursor.unexpected(tag, "an object")),
        }
    }

    /// Begins a list, or nothing for null. Its items are read as long as [`Reader::has_item`] says so.
    pub fn list(&mut self) -> Result<Option<List<'a>>> {
        let tag = self.tag()?;
        match tag {
            b'N' => Ok(None),
            b'V' | b'v' => self.list_after(tag).map(Some),
            tag => Err(self.cursor.unexpected(tag, "a list")),
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
            tag => Err(self.cursor.unexpected(tag, "a map")),
        }
    }

    /// Whether another entry of the map follows. Reads over the end of the map.
    pub fn has_entry(&mut self) -> Result<bool> {
        if self.cursor.peek()? != b'z' {
            return Ok(true);
        }
        self.cursor.at += 1;
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
        let tag = self.cursor.peek()?;
        if !matches!(tag, b'J' | b'K' | b'R') {
            return read(self);
        }
        self.tag()?;
        let target = self.reference_after(tag)?;
        let begin = self.references.at(target).expect("the index was checked") as usize;
        let back = std::mem::replace(&mut self.cursor.at, begin);
        let was_repeating = std::mem::replace(&mut self.is_repeating, true);
        let value = read(self)?;
        self.count_repeated(self.cursor.at.saturating_sub(begin))?;
        self.is_repeating = was_repeating;
        self.cursor.at = back;
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
            0..=0x1f | b'S' | b's' => self.cursor.text_after(tag).map(drop),
            0x20..=0x2f | b'B' | b'b' => self.cursor.binary_after(tag, |_| {}),
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
            tag => match self.cursor.scalar_after(tag)? {
                Some(_) => Ok(()),
                None => Err(HessianError::UnknownTag {
                    at: self.cursor.at - 1,
                    tag,
                }),
            },
        }
    }

    pub(super) fn check_depth(&self, depth: usize) -> Result<()> {
        if depth > HESSIAN_DEPTH_MAX {
            return Err(HessianError::TooDeep {
                at: self.cursor.at,
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
                at: self.cursor.at,
                limit: HESSIAN_VALUES_MAX,
            });
        };
        self.values_left = left;
        let [tag] = self.cursor.take()?;
        Ok(tag)
    }

    fn count_repeated(&mut self, bytes: usize) -> Result<()> {
        let left = self.repeated_bytes_left.checked_sub(bytes);
        let too_much = HessianError::TooMuchRepeated {
            at: self.cursor.at,
            limit: HESSIAN_REPEATED_BYTES_MAX,
        };
        self.repeated_bytes_left = left.ok_or(too_much)?;
        Ok(())
    }

    fn end(&mut self) -> Result<bool> {
        let [tag] = self.cursor.take()?;
        if tag == b'z' {
            Ok(false)
        } else {
            Err(self.cursor.unexpected(tag, "the end of the list"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_followed_and_the_reader_returns() {
        let mut reader = Reader::new(b"Vn\x03Vn\x01\x97zJ\x01\x93z");
        let mut outer = reader.list().unwrap().unwrap();
        assert!(reader.has_item(&mut outer).unwrap());
        reader.skip().unwrap();

        assert!(reader.has_item(&mut outer).unwrap());
        let repeated = reader.follow(|reader| {
            let mut inner = reader.list()?.expect("a list");
            assert!(reader.has_item(&mut inner)?);
            let item = reader.long()?;
            assert!(!reader.has_item(&mut inner)?);
            Ok::<_, HessianError>(item)
        });

        assert_eq!(repeated, Ok(Some(7)));
        assert!(reader.has_item(&mut outer).unwrap());
        assert_eq!(reader.long(), Ok(Some(3)));
        assert!(!reader.has_item(&mut outer).unwrap());
    }

    #[test]
    fn numbers_are_taken_as_java_takes_them() {
        let long = |bytes| Reader::new(bytes).long();

        assert_eq!(long(b"\xb7"), Ok(Some(39)));
        assert_eq!(long(b"\x3f\xff\xff"), Ok(Some(262_143)));
        assert_eq!(long(b"\x38\x00\x00"), Ok(Some(-262_144)));
        assert_eq!(long(b"\xf0\x00"), Ok(Some(-2048)));
        assert_eq!(long(b"I\xff\xff\xff\xff"), Ok(Some(-1)));
        assert_eq!(long(b"\x69\xfe"), Ok(Some(-2)));
        assert_eq!(long(b"T"), Ok(Some(1)));
        assert_eq!(long(b"N"), Ok(None));
        assert!(long(b"\x011").is_err());
        assert_eq!(Reader::new(b"\x91").boolean(), Ok(Some(true)));
        assert_eq!(Reader::new(b"N").boolean(), Ok(None));
    }

    #[test]
    fn a_list_must_have_as_many_items_as_it_says() {
        assert!(Reader::new(b"Vn\x01\x91\x91z").skip().is_err());
        assert!(Reader::new(b"Vn\x02\x91z\x91").skip().is_err());
        assert!(Reader::new(b"V\x91\x91z").skip().is_ok());
    }

    #[test]
    fn errors_say_where() {
        let error = Reader::new(b"Vn\x02\x91E").skip().unwrap_err();

        assert_eq!(error, HessianError::UnknownTag { at: 4, tag: b'E' });
        assert_eq!(error.to_string(), "unknown tag 0x45 at offset 4");
    }

    #[test]
    fn a_field_name_has_a_bounded_length() {
        let definition = |len: u16| {
            let name = vec![b'x'; usize::from(len)];
            [b"O\x91A\x91S", &len.to_be_bytes()[..], &name, b"o\x90N"].concat()
        };

        assert!(Reader::new(&definition(256)).skip().is_ok());
        assert!(Reader::new(&definition(257)).skip().is_err());
    }
}
