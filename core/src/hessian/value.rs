//! Any Hessian body as a tree: for tests, fuzzing and tools. The messages are read without it.

use super::cursor::Scalar;
use super::{Class, HessianError, Reader, Text, Writer};

/// One Hessian value, borrowed from its body.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A number of 32 bits.
    Int(i32),
    /// A number of 64 bits.
    Long(i64),
    /// A floating-point number.
    Double(f64),
    /// Milliseconds since 1970.
    Date(i64),
    /// A string.
    Text(Text<'a>),
    /// Bytes, all chunks together.
    Binary(Vec<u8>),
    /// A list; arrays and sets are lists, too.
    List {
        /// Its class, if it was named.
        type_name: Option<&'a [u8]>,
        /// Its items.
        items: Vec<Self>,
    },
    /// A map.
    Map {
        /// Its class, if it was named.
        type_name: Option<&'a [u8]>,
        /// Its entries, in the order in which they were sent.
        entries: Vec<(Self, Self)>,
    },
    /// An object.
    Object {
        /// Its class.
        class: Class<'a>,
        /// The values of the fields of its class.
        fields: Vec<Self>,
    },
    /// The list, map or object that began as the so-manyth in the body, counted from 0; may be one around this value.
    Reference(usize),
}

impl<'a> Value<'a> {
    /// Reads the one value of a body. Bytes behind it are ignored, as Java does.
    pub fn decode(body: &'a [u8]) -> Result<Self, HessianError> {
        Reader::new(body).value(0)
    }

    /// Appends the value as the Java library would write it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let tables = Tables {
            classes: Vec::new(),
            types: Vec::new(),
        };
        Encoder { tables, out }.value(self);
    }
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value<'a>, HessianError> {
        self.check_depth(depth)?;
        let tag = self.tag()?;
        match tag {
            0..=0x1f | b'S' | b's' => self.cursor.text_after(tag).map(Value::Text),
            0x20..=0x2f | b'B' | b'b' => {
                let mut bytes = Vec::new();
                self.cursor
                    .binary_after(tag, |chunk| bytes.extend_from_slice(chunk))?;
                Ok(Value::Binary(bytes))
            }
            b'J' | b'K' | b'R' => self.reference_after(tag).map(Value::Reference),
            b'V' | b'v' => self.list_value(tag, depth),
            b'M' => self.map_value(depth),
            b'o' => {
                let class = self.object_after()?;
                let fields = (0..class.field_count()).map(|_| self.value(depth + 1));
                Ok(Value::Object {
                    class,
                    fields: fields.collect::<Result<_, _>>()?,
                })
            }
            tag => match self.cursor.scalar_after(tag)? {
                Some(scalar) => Ok(scalar.into()),
                None => Err(HessianError::UnknownTag {
                    at: self.offset() - 1,
                    tag,
                }),
            },
        }
    }

    fn list_value(&mut self, tag: u8, depth: usize) -> Result<Value<'a>, HessianError> {
        let mut list = self.list_after(tag)?;
        let mut items = Vec::new();
        while self.has_item(&mut list)? {
            items.push(self.value(depth + 1)?);
        }
        Ok(Value::List {
            type_name: list.type_name,
            items,
        })
    }

    fn map_value(&mut self, depth: usize) -> Result<Value<'a>, HessianError> {
        let type_name = self.map_after()?;
        let mut entries = Vec::new();
        while self.has_entry()? {
            entries.push((self.value(depth + 1)?, self.value(depth + 1)?));
        }
        Ok(Value::Map { type_name, entries })
    }
}

impl From<Scalar> for Value<'_> {
    fn from(scalar: Scalar) -> Self {
        match scalar {
            Scalar::Null => Self::Null,
            Scalar::Bool(value) => Self::Bool(value),
            Scalar::Int(value) => Self::Int(value),
            Scalar::Long(value) => Self::Long(value),
            Scalar::Double(value) => Self::Double(value),
            Scalar::Date(ms) => Self::Date(ms),
        }
    }
}

/// What was named in the body so far.
struct Tables<'v> {
    classes: Vec<&'v [u8]>,
    types: Vec<&'v [u8]>,
}

struct Encoder<'v, 'o> {
    tables: Tables<'v>,
    out: &'o mut Vec<u8>,
}

impl<'v> Encoder<'v, '_> {
    fn writer(&mut self) -> Writer<'_> {
        Writer::new(self.out)
    }

    fn value(&mut self, value: &'v Value<'_>) {
        match value {
            Value::Null => self.writer().null(),
            Value::Bool(value) => self.writer().boolean(*value),
            Value::Int(value) => self.writer().int(*value),
            Value::Long(value) => self.writer().long(*value),
            Value::Double(value) => self.writer().double(*value),
            Value::Date(ms) => self.writer().date(*ms),
            Value::Text(text) => {
                let units: Vec<u16> = text.utf16().collect();
                self.writer().utf16(&units);
            }
            Value::Binary(bytes) => self.writer().binary(bytes),
            Value::List { type_name, items } => self.list(*type_name, items),
            Value::Map { type_name, entries } => self.map(*type_name, entries),
            Value::Object { class, fields } => self.object(*class, fields),
            Value::Reference(index) => {
                let index = u32::try_from(*index).expect("a body has fewer than 2^32 bytes");
                self.writer().reference(index);
            }
        }
    }

    fn list(&mut self, type_name: Option<&'v [u8]>, items: &'v [Value<'_>]) {
        match self.known_type(type_name) {
            Some(Ok(index)) => {
                self.writer().list_of_known_type(index, items.len());
                return items.iter().for_each(|item| self.value(item));
            }
            Some(Err(name)) => self.writer().typed_list(&name, items.len()),
            None => self.writer().list(items.len()),
        }
        items.iter().for_each(|item| self.value(item));
        self.writer().end();
    }

    fn map(&mut self, type_name: Option<&'v [u8]>, entries: &'v [(Value<'_>, Value<'_>)]) {
        match self.known_type(type_name) {
            Some(Ok(index)) => self.writer().map_of_known_type(index),
            Some(Err(name)) => self.writer().typed_map(&name),
            None => self.writer().map(),
        }
        for (key, value) in entries {
            self.value(key);
            self.value(value);
        }
        self.writer().end();
    }

    /// The index of a type that was named before, or the name of one that was not. An empty name is no type.
    fn known_type(&mut self, name: Option<&'v [u8]>) -> Option<Result<usize, String>> {
        let name = name.filter(|name| !name.is_empty())?;
        if let Some(index) = self.tables.types.iter().position(|known| *known == name) {
            return Some(Ok(index));
        }
        self.tables.types.push(name);
        Some(Err(String::from_utf8_lossy(name).into_owned()))
    }

    fn object(&mut self, class: Class<'v>, fields: &'v [Value<'_>]) {
        let known = self
            .tables
            .classes
            .iter()
            .position(|known| *known == class.name());
        let index = known.unwrap_or_else(|| {
            let names: Vec<_> = class
                .fields()
                .map(|field| field.to_string_lossy())
                .collect();
            let name = String::from_utf8_lossy(class.name()).into_owned();
            self.writer().class(&name, names.iter().map(AsRef::as_ref));
            self.tables.classes.push(class.name());
            self.tables.classes.len() - 1
        });
        self.writer().object(index);
        fields.iter().for_each(|field| self.value(field));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Value::decode(body).unwrap().encode(&mut out);
        out
    }

    #[test]
    fn references_and_classes_survive_a_round_trip() {
        let cars: &[u8] =
            b"Vn\x03O\x98demo.Car\x91\x05colorO\x98demo.Bus\x90o\x90\x03redJ\x01o\x91z";
        let canonical: &[u8] =
            b"Vn\x03O\x98demo.Car\x91\x05coloro\x90\x03redJ\x01O\x98demo.Bus\x90o\x91z";

        assert_eq!(round_trip(cars), canonical);
        assert_eq!(round_trip(canonical), canonical);
    }

    #[test]
    fn a_named_type_is_referred_to_afterwards() {
        let lists: &[u8] = b"Vn\x02Vt\x00\x04[intn\x01\x91zv\x90\x92\x92\x93z";

        assert_eq!(round_trip(lists), lists);
    }

    #[test]
    fn every_truncation_is_an_error() {
        let body: &[u8] = b"Vn\x05O\x98demo.Car\x91\x05coloro\x90\x03redJ\x00Mt\x00\x01k\x91S\x00\x02abzs\x00\x01a\x01bBzz";
        let body = &body[..body.len() - 2];

        for len in 0..body.len() {
            assert!(Value::decode(&body[..len]).is_err(), "{len}");
        }
    }
}
