//! Class definitions: the names of a class and its fields, sent once per message before its first object.

use super::Text;

/// A class as the peer defined it, borrowed from the message.
#[derive(Clone, Copy, Debug)]
pub struct Class<'a> {
    pub(super) index: usize,
    pub(super) name: &'a [u8],
    pub(super) fields: &'a [u8],
    pub(super) field_count: usize,
    pub(super) is_expected: bool,
}

/// A definition that most peers send byte for byte, so that comparing it once stands for reading it.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    bytes: &'static [u8],
    name: &'static str,
    fields: &'static [&'static str],
}

impl Definition {
    /// The definition of this class; `bytes` are what [`definition`] makes of it.
    pub const fn new(
        bytes: &'static [u8],
        name: &'static str,
        fields: &'static [&'static str],
    ) -> Self {
        assert!(
            bytes.len() == definition_len(name, fields),
            "the definition of another class"
        );
        Self {
            bytes,
            name,
            fields,
        }
    }

    /// Its bytes.
    pub fn bytes(&self) -> &'static [u8] {
        self.bytes
    }

    /// The class, at its place among those of a message.
    pub(super) fn class(&'static self, index: usize) -> Class<'static> {
        let field_count = self.fields.len();
        let fields_at = 1 + int_len(self.name.len()) + self.name.len() + int_len(field_count);
        Class {
            index,
            name: self.name.as_bytes(),
            fields: &self.bytes[fields_at..],
            field_count,
            is_expected: true,
        }
    }
}

impl<'a> Class<'a> {
    /// Its place among the class definitions of the message.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The class name as it was sent.
    pub fn name(&self) -> &'a [u8] {
        self.name
    }

    /// How many fields an object of it has.
    pub fn field_count(&self) -> usize {
        self.field_count
    }

    /// Whether its definition is one of those that were expected: its fields are known, and their order.
    pub fn is_expected(&self) -> bool {
        self.is_expected
    }

    /// The names of its fields, in the order in which an object has their values.
    pub fn fields(&self) -> impl Iterator<Item = Text<'a>> + use<'a> {
        let mut rest = self.fields;
        (0..self.field_count).map_while(move |_| {
            let (name, behind) = Text::split_first(rest)?;
            rest = behind;
            Some(name)
        })
    }
}

/// The bytes of a class definition, for a constant: `[u8; definition_len(NAME, FIELDS)]`.
///
/// Every message of ours starts with the same definition each time: Node clients may cache them.
pub const fn definition<const N: usize>(name: &str, fields: &[&str]) -> [u8; N] {
    let mut out = [0; N];
    out[0] = b'O';
    let mut at = put_int(&mut out, 1, name.len());
    at = put_bytes(&mut out, at, name.as_bytes());
    at = put_int(&mut out, at, fields.len());
    let mut field = 0;
    while field < fields.len() {
        assert!(
            fields[field].len() < 32,
            "a field name must be a short string"
        );
        out[at] = fields[field].len() as u8;
        at = put_bytes(&mut out, at + 1, fields[field].as_bytes());
        field += 1;
    }
    assert!(at == N, "the array must have the length of the definition");
    out
}

/// How many bytes [`definition`] takes.
pub const fn definition_len(name: &str, fields: &[&str]) -> usize {
    let mut len = 1 + int_len(name.len()) + name.len() + int_len(fields.len());
    let mut field = 0;
    while field < fields.len() {
        len += 1 + fields[field].len();
        field += 1;
    }
    len
}

const fn int_len(value: usize) -> usize {
    if value < 48 { 1 } else { 2 }
}

const fn put_int<const N: usize>(out: &mut [u8; N], at: usize, value: usize) -> usize {
    assert!(value < 2048, "names of our classes are short");
    if value < 48 {
        out[at] = 0x90 + value as u8;
        return at + 1;
    }
    out[at] = 0xc8 + (value >> 8) as u8;
    out[at + 1] = value as u8;
    at + 2
}

const fn put_bytes<const N: usize>(out: &mut [u8; N], at: usize, bytes: &[u8]) -> usize {
    let mut byte = 0;
    while byte < bytes.len() {
        out[at + byte] = bytes[byte];
        byte += 1;
    }
    at + bytes.len()
}

#[cfg(test)]
mod tests {
    use super::super::Reader;
    use super::*;

    const NAME: &str = "demo.Car";
    const FIELDS: &[&str] = &["color", "model"];
    const CAR: [u8; definition_len(NAME, FIELDS)] = definition(NAME, FIELDS);

    #[test]
    fn golden_bytes() {
        assert_eq!(CAR, *b"O\x98demo.Car\x92\x05color\x05model");
    }

    #[test]
    fn a_definition_is_read_back() {
        let object = [&CAR[..], b"o\x90\x03red\x01x"].concat();

        let class = Reader::new(&object).object().unwrap().unwrap();

        assert_eq!(class.name(), NAME.as_bytes());
        let fields: Vec<_> = class
            .fields()
            .map(|field| field.to_str().unwrap().into_owned())
            .collect();
        assert_eq!(fields, FIELDS);
    }

    #[test]
    fn an_expected_definition_reads_as_any_other() {
        static EXPECTED: [Definition; 2] = [
            Definition::new(&TRAIN, "demo.Train", &[]),
            Definition::new(&CAR, NAME, FIELDS),
        ];
        const TRAIN: [u8; definition_len("demo.Train", &[])] = definition("demo.Train", &[]);
        let object = [&CAR[..], &TRAIN[..], b"o\x90\x03red\x01x"].concat();
        let mut plain = Reader::new(&object);
        let mut expecting = Reader::expecting(&object, &EXPECTED);

        let read = plain.object().unwrap().unwrap();
        let known = expecting.object().unwrap().unwrap();

        assert_eq!(expecting.offset(), plain.offset());
        assert_eq!((known.index, known.name), (read.index, read.name));
        assert_eq!(
            (known.fields, known.field_count),
            (read.fields, read.field_count)
        );
        assert!(known.is_expected() && !read.is_expected());
        for len in 0..object.len() {
            let (mut plain, mut expecting) = (
                Reader::new(&object[..len]),
                Reader::expecting(&object[..len], &EXPECTED),
            );
            assert_eq!(expecting.skip(), plain.skip(), "{len} bytes");
        }
    }
}
