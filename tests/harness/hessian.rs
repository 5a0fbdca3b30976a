//! Hessian values as sofa-hessian 3.x writes them, spelled a second time.
//!
//! Raw clients use this instead of the server's codec, so that a mistake there cannot agree with itself. It knows what the registry's
//! messages need, trusts what it reads, and panics where it is wrong to: this is test code.

use crate::text::Text;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// A boolean.
    Bool(bool),
    /// A 32-bit number.
    Int(i32),
    /// A 64-bit number.
    Long(i64),
    /// A string.
    Text(Text),
    /// A list, of whatever type.
    List(Vec<Self>),
    /// A map, of whatever type.
    Map(Vec<(Self, Self)>),
    /// An object: class name, then fields by name.
    Object(String, Vec<(String, Self)>),
}

impl Value {
    /// A string, or null.
    pub fn text_or_null(text: Option<Text>) -> Self {
        text.map_or(Self::Null, Self::Text)
    }

    /// The field of an object; null where it has none of that name.
    pub fn field(&self, name: &str) -> &Self {
        let Self::Object(class, fields) = self else {
            panic!("{self:?} has no fields, wanted {name}")
        };
        assert!(!fields.is_empty(), "{class} has no fields at all");
        fields
            .iter()
            .find(|(field, _)| field == name)
            .map_or(&Self::Null, |(_, value)| value)
    }

    /// The string, if it is one.
    pub fn text(&self) -> Option<Text> {
        match self {
            Self::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    /// The number, if it is one.
    pub fn number(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(i64::from(*number)),
            Self::Long(number) => Some(*number),
            _ => None,
        }
    }

    /// The items of a list; nothing of anything else.
    pub fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// The bytes of this value.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.value(self);
        writer.out
    }

    /// The value at the start of `bytes`.
    pub fn decode(bytes: &[u8]) -> Self {
        Reader {
            bytes,
            at: 0,
            classes: Vec::new(),
            seen: Vec::new(),
        }
        .value()
    }
}

#[derive(Default)]
struct Writer {
    out: Vec<u8>,
    classes: Vec<String>,
}

impl Writer {
    fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.out.push(b'N'),
            Value::Bool(true) => self.out.push(b'T'),
            Value::Bool(false) => self.out.push(b'F'),
            Value::Int(number) => self.int(*number),
            Value::Long(number) => {
                self.out.push(b'L');
                self.out.extend(number.to_be_bytes());
            }
            Value::Text(text) => self.text(text.units()),
            Value::List(items) => {
                self.out.extend([b'V', b'l']);
                self.out.extend(
                    i32::try_from(items.len())
                        .expect("lists of tests are short")
                        .to_be_bytes(),
                );
                items.iter().for_each(|item| self.value(item));
                self.out.push(b'z');
            }
            Value::Map(pairs) => {
                self.out.push(b'M');
                for (key, value) in pairs {
                    self.value(key);
                    self.value(value);
                }
                self.out.push(b'z');
            }
            Value::Object(class, fields) => self.object(class, fields),
        }
    }

    fn object(&mut self, class: &str, fields: &[(String, Value)]) {
        let known = self.classes.iter().position(|known| known == class);
        let index = known.unwrap_or_else(|| {
            self.out.push(b'O');
            self.int(i32::try_from(class.len()).expect("class names are short"));
            self.out.extend(class.bytes());
            self.int(i32::try_from(fields.len()).expect("classes have few fields"));
            fields
                .iter()
                .for_each(|(name, _)| self.text(Text::from(name.as_str()).units()));
            self.classes.push(class.to_owned());
            self.classes.len() - 1
        });
        self.out.push(b'o');
        self.int(i32::try_from(index).expect("messages have few classes"));
        fields.iter().for_each(|(_, value)| self.value(value));
    }

    fn int(&mut self, number: i32) {
        match u8::try_from(number + 0x90) {
            Ok(byte @ 0x80..=0xbf) => self.out.push(byte),
            _ => {
                self.out.push(b'I');
                self.out.extend(number.to_be_bytes());
            }
        }
    }

    fn text(&mut self, units: &[u16]) {
        const CHUNK: usize = 0x8000;
        let mut rest = units;
        while rest.len() > CHUNK {
            self.out.extend([b's', 0x80, 0x00]);
            Text::cesu_8(&rest[..CHUNK], &mut self.out);
            rest = &rest[CHUNK..];
        }
        match u8::try_from(rest.len()) {
            Ok(length @ 0..=31) if units.len() <= 31 => self.out.push(length),
            _ => {
                self.out.push(b'S');
                self.out.extend(
                    u16::try_from(rest.len())
                        .expect("a chunk has at most 32,768 units")
                        .to_be_bytes(),
                );
            }
        }
        Text::cesu_8(rest, &mut self.out);
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    classes: Vec<(String, Vec<String>)>,
    /// Lists, maps and objects in order of appearance, for back references; null while still open.
    seen: Vec<Value>,
}

impl Reader<'_> {
    fn value(&mut self) -> Value {
        let tag = self.byte();
        match tag {
            b'N' => Value::Null,
            b'T' => Value::Bool(true),
            b'F' => Value::Bool(false),
            0x80..=0xd7 | b'I' => Value::Int(self.int_after(tag)),
            0xd8..=0xef => Value::Long(i64::from(tag) - 0xe0),
            0xf0..=0xff => Value::Long(((i64::from(tag) - 0xf8) << 8) + self.unsigned(1)),
            0x38..=0x3f => Value::Long(((i64::from(tag) - 0x3c) << 16) + self.unsigned(2)),
            b'w' => Value::Long(i64::from(self.i32())),
            b'L' => Value::Long(i64::from_be_bytes(self.array())),
            0x00..=0x1f | b's' | b'S' => Value::Text(Text::of_units(self.units_after(tag))),
            b'V' | b'v' => self.list(tag),
            b'M' => self.map(),
            b'O' => {
                self.class_definition();
                self.value()
            }
            b'o' => self.object(),
            b'J' => self.referred(1),
            b'K' => self.referred(2),
            other => panic!(
                "tag {other:#04x} at {} begins no value the tests know",
                self.at - 1
            ),
        }
    }

    fn list(&mut self, tag: u8) -> Value {
        let place = self.open();
        let mut items = Vec::new();
        if tag == b'v' {
            self.int();
            let length = self.int();
            (0..length).for_each(|_| items.push(self.value()));
        } else {
            self.skip_type();
            match self.peek() {
                b'n' => self.at += 2,
                b'l' => self.at += 5,
                _ => {}
            }
            while self.peek() != b'z' {
                items.push(self.value());
            }
            self.at += 1;
        }
        self.close(place, Value::List(items))
    }

    fn map(&mut self) -> Value {
        let place = self.open();
        self.skip_type();
        let mut pairs = Vec::new();
        while self.peek() != b'z' {
            let key = self.value();
            pairs.push((key, self.value()));
        }
        self.at += 1;
        self.close(place, Value::Map(pairs))
    }

    fn class_definition(&mut self) {
        let length = usize::try_from(self.int()).expect("a class name has a length");
        let (name, taken) = Text::from_cesu_8(&self.bytes[self.at..], length);
        self.at += taken;
        let fields = (0..self.int()).map(|_| self.text()).collect();
        self.classes.push((String::from_utf16_lossy(&name), fields));
    }

    fn object(&mut self) -> Value {
        let index = usize::try_from(self.int()).expect("a class index");
        let (class, names) = self.classes[index].clone();
        let place = self.open();
        let fields = names.into_iter().map(|name| (name, self.value())).collect();
        self.close(place, Value::Object(class, fields))
    }

    fn referred(&mut self, bytes: usize) -> Value {
        let index = usize::try_from(self.unsigned(bytes)).expect("two bytes at most");
        self.seen[index].clone()
    }

    fn open(&mut self) -> usize {
        self.seen.push(Value::Null);
        self.seen.len() - 1
    }

    fn close(&mut self, place: usize, value: Value) -> Value {
        self.seen[place] = value.clone();
        value
    }

    fn skip_type(&mut self) {
        match self.peek() {
            b't' => {
                self.at += 1;
                let length = self.unsigned(2);
                self.at += usize::try_from(length).expect("a length of two bytes");
            }
            b'u' => {
                self.at += 1;
                self.int();
            }
            _ => {}
        }
    }

    fn text(&mut self) -> String {
        let tag = self.byte();
        String::from_utf16_lossy(&self.units_after(tag))
    }

    fn units_after(&mut self, tag: u8) -> Vec<u16> {
        let length = if tag < 0x20 {
            usize::from(tag)
        } else {
            usize::try_from(self.unsigned(2)).expect("two bytes")
        };
        let (mut units, taken) = Text::from_cesu_8(&self.bytes[self.at..], length);
        self.at += taken;
        if tag == b's' {
            let next = self.byte();
            units.extend(self.units_after(next));
        }
        units
    }

    fn int(&mut self) -> i32 {
        let tag = self.byte();
        self.int_after(tag)
    }

    fn int_after(&mut self, tag: u8) -> i32 {
        let wide = |number: i64| i32::try_from(number).expect("three bytes fit");
        match tag {
            0x80..=0xbf => i32::from(tag) - 0x90,
            0xc0..=0xcf => wide(((i64::from(tag) - 0xc8) << 8) + self.unsigned(1)),
            0xd0..=0xd7 => wide(((i64::from(tag) - 0xd4) << 16) + self.unsigned(2)),
            b'I' => self.i32(),
            other => panic!("tag {other:#04x} at {} begins no int", self.at - 1),
        }
    }

    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.array())
    }

    fn unsigned(&mut self, bytes: usize) -> i64 {
        (0..bytes).fold(0, |number, _| number << 8 | i64::from(self.byte()))
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    fn byte(&mut self) -> u8 {
        self.at += 1;
        self.bytes[self.at - 1]
    }

    fn peek(&self) -> u8 {
        self.bytes[self.at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive() {
        let boxed = |text: &str| {
            Value::Object(
                "Box".into(),
                vec![("data".into(), Value::Text(Text::from(text)))],
            )
        };
        let value = Value::Object(
            "Whole".into(),
            vec![
                ("small".into(), Value::Int(-16)),
                ("large".into(), Value::Int(70_000)),
                ("long".into(), Value::Long(i64::MAX)),
                (
                    "border".into(),
                    Value::Text(Text::of_units(
                        [vec![0x61; 32_767], vec![0xd83d, 0xde00]].concat(),
                    )),
                ),
                (
                    "list".into(),
                    Value::List(vec![
                        boxed("one"),
                        boxed("two"),
                        Value::Null,
                        Value::Bool(true),
                    ]),
                ),
                (
                    "map".into(),
                    Value::Map(vec![(Value::Text("zone".into()), Value::List(Vec::new()))]),
                ),
            ],
        );

        assert_eq!(Value::decode(&value.encode()), value);
    }
}
