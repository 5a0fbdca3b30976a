//! The heads of lists, maps and objects, and the tables that they fill: classes, types, and where each value begins.

use super::cursor::Result;
use super::reader::{List, Reader};
use super::{Class, HessianError};
use crate::limits::{
    CLASS_NAME_BYTES_MAX, HESSIAN_CLASSES_MAX, HESSIAN_FIELD_NAME_MAX, HESSIAN_FIELDS_MAX,
};

impl<'a> Reader<'a> {
    /// Reads the class definitions in front of a value.
    pub(super) fn definitions(&mut self) -> Result<()> {
        while self.cursor.peek()? == b'O' {
            if !self.expected_definition() {
                self.cursor.at += 1;
                self.definition()?;
            }
        }
        Ok(())
    }

    /// Takes a definition over that is one of those expected; or reads nothing and says false.
    fn expected_definition(&mut self) -> bool {
        let rest = self.cursor.rest();
        let mut expected = self.expected.iter();
        let Some(definition) = expected.find(|expected| rest.starts_with(expected.bytes())) else {
            return false;
        };
        let index = self.classes.len();
        if self.is_repeating || index == HESSIAN_CLASSES_MAX {
            return false;
        }
        self.cursor.at += definition.bytes().len();
        self.classes.push(definition.class(index));
        true
    }

    fn definition(&mut self) -> Result<()> {
        let name_units = self.cursor.length("class name", CLASS_NAME_BYTES_MAX)?;
        let name_at = self.cursor.at;
        self.cursor.units(name_units)?;
        let name = self.cursor.since(name_at);
        let field_count = self.cursor.length("field count", HESSIAN_FIELDS_MAX)?;
        let fields_at = self.cursor.at;
        for _ in 0..field_count {
            self.field_name()?;
        }
        let fields = self.cursor.since(fields_at);
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
            index: self.classes.len(),
            name,
            fields,
            field_count,
            is_expected: false,
        });
        Ok(())
    }

    fn field_name(&mut self) -> Result<()> {
        let at = self.cursor.at;
        let [tag] = self.cursor.take()?;
        let name = match tag {
            0..=0x1f | b'S' | b's' => self.cursor.text_after(tag)?,
            tag => return Err(self.cursor.unexpected(tag, "a field name")),
        };
        let length = i32::try_from(name.units()).unwrap_or(i32::MAX);
        let limit = HESSIAN_FIELD_NAME_MAX;
        self.cursor
            .bounded(at, "field name length", length, limit)?;
        Ok(())
    }

    /// Reads the head of an object whose first byte was read.
    pub(super) fn object_after(&mut self) -> Result<Class<'a>> {
        self.begin_referable();
        let at = self.cursor.at;
        let index = self.cursor.int()?;
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
            let left = Some(self.cursor.length("list length", self.cursor.left())?);
            return Ok(List {
                type_name,
                left,
                has_end: false,
            });
        }
        let type_name = self.type_name()?;
        let left = match self.cursor.peek()? {
            b'n' => {
                self.cursor.at += 1;
                let at = self.cursor.at;
                let [len] = self.cursor.take()?;
                Some(
                    self.cursor
                        .bounded(at, "list length", len.into(), self.cursor.left())?,
                )
            }
            b'l' => {
                self.cursor.at += 1;
                let at = self.cursor.at;
                let len = i32::from_be_bytes(self.cursor.take()?);
                Some(
                    self.cursor
                        .bounded(at, "list length", len, self.cursor.left())?,
                )
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
        let at = self.cursor.at;
        let index = match tag {
            b'J' => u8::from_be_bytes(self.cursor.take()?).into(),
            b'K' => u16::from_be_bytes(self.cursor.take()?).into(),
            _ => i32::from_be_bytes(self.cursor.take()?),
        };
        usize::try_from(index)
            .ok()
            .filter(|&index| index < self.references.len())
            .ok_or_else(|| self.bad_index(at, "reference", index.into(), self.references.len()))
    }

    fn begin_referable(&mut self) {
        if !self.is_repeating {
            let at = u32::try_from(self.cursor.at - 1).expect("a frame is smaller than 4 GiB");
            self.references.push(at);
        }
    }

    fn type_name(&mut self) -> Result<Option<&'a [u8]>> {
        match self.cursor.peek()? {
            b't' => {
                self.cursor.at += 1;
                let units = u16::from_be_bytes(self.cursor.take()?).into();
                let name_at = self.cursor.at;
                self.cursor.units(units)?;
                let name = self.cursor.since(name_at);
                if !self.is_repeating {
                    self.types.push(name);
                }
                Ok(Some(name))
            }
            // `T` is an old spelling of `u`; so is it read by all, even where a map begins with the key `true`.
            b'u' | b'T' => {
                self.cursor.at += 1;
                self.known_type().map(Some)
            }
            _ => Ok(None),
        }
    }

    fn known_type(&mut self) -> Result<&'a [u8]> {
        let at = self.cursor.at;
        let index = self.cursor.int()?;
        usize::try_from(index)
            .ok()
            .and_then(|index| self.types.at(index))
            .ok_or_else(|| self.bad_index(at, "type", index.into(), self.types.len()))
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
