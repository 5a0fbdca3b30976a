//! Values into the buffer that will be sent, in the same bytes as the Java library writes them.

/// Most units of one chunk of a string, and most bytes of one chunk of binary data.
pub(super) const CHUNK_MAX: usize = 0x8000;

/// Appends Hessian values to a buffer.
#[derive(Debug)]
pub struct Writer<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> Writer<'o> {
    /// A writer at the end of `out`.
    pub fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out }
    }

    /// Bytes that are already Hessian: class definitions, texts as received.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Nothing.
    pub fn null(&mut self) {
        self.out.push(b'N');
    }

    /// True or false.
    pub fn boolean(&mut self, value: bool) {
        self.out.push(if value { b'T' } else { b'F' });
    }

    /// A number of 32 bits.
    pub fn int(&mut self, value: i32) {
        let [_, b1, b2, b3] = value.to_be_bytes();
        match value {
            -16..=47 => self.out.push(0x90_u8.wrapping_add(b3)),
            -2048..=2047 => self.out.extend([0xc8_u8.wrapping_add(b2), b3]),
            -262_144..=262_143 => self.out.extend([0xd4_u8.wrapping_add(b1), b2, b3]),
            _ => self.tagged(b'I', &value.to_be_bytes()),
        }
    }

    /// A number of 64 bits.
    pub fn long(&mut self, value: i64) {
        let [.., b5, b6, b7] = value.to_be_bytes();
        match value {
            -8..=15 => self.out.push(0xe0_u8.wrapping_add(b7)),
            -2048..=2047 => self.out.extend([0xf8_u8.wrapping_add(b6), b7]),
            -262_144..=262_143 => self.out.extend([0x3c_u8.wrapping_add(b5), b6, b7]),
            _ => match i32::try_from(value) {
                Ok(short) => self.tagged(b'w', &short.to_be_bytes()),
                Err(_) => self.tagged(b'L', &value.to_be_bytes()),
            },
        }
    }

    /// A floating-point number.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the casts are the tests for the short forms"
    )]
    pub fn double(&mut self, value: f64) {
        let whole = value as i32;
        if f64::from(whole) == value {
            match (whole, i8::try_from(whole), i16::try_from(whole)) {
                (0, ..) => return self.out.push(0x67),
                (1, ..) => return self.out.push(0x68),
                (_, Ok(byte), _) => return self.tagged(0x69, &byte.to_be_bytes()),
                (_, _, Ok(short)) => return self.tagged(0x6a, &short.to_be_bytes()),
                _ => {}
            }
        }
        let float = value as f32;
        if f64::from(float) == value {
            self.tagged(0x6b, &float.to_be_bytes());
        } else {
            self.tagged(b'D', &value.to_be_bytes());
        }
    }

    /// A point in time, in milliseconds since 1970.
    pub fn date(&mut self, ms: i64) {
        self.tagged(b'd', &ms.to_be_bytes());
    }

    /// A string.
    pub fn text(&mut self, text: &str) {
        // Up to one chunk of ASCII, bytes and units are the same.
        if text.len() <= CHUNK_MAX && text.is_ascii() {
            self.last_chunk_head(text.len());
            return self.out.extend_from_slice(text.as_bytes());
        }
        let (mut chunk, mut rest) = split_chunk(text);
        while !rest.is_empty() {
            self.out.push(b's');
            self.length16(utf16_len(chunk));
            self.characters(chunk);
            (chunk, rest) = split_chunk(rest);
        }
        self.last_chunk_head(utf16_len(chunk));
        self.characters(chunk);
    }

    /// A string or nothing.
    pub fn optional_text(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.text(text),
            None => self.null(),
        }
    }

    /// A string of any UTF-16 units, lone surrogates too.
    pub fn utf16(&mut self, mut units: &[u16]) {
        while units.len() > CHUNK_MAX {
            let ends_in_half_a_pair = matches!(units[CHUNK_MAX - 1], 0xd800..=0xdbff);
            let (chunk, rest) = units.split_at(CHUNK_MAX - usize::from(ends_in_half_a_pair));
            self.out.push(b's');
            self.length16(chunk.len());
            self.units(chunk);
            units = rest;
        }
        self.last_chunk_head(units.len());
        self.units(units);
    }

    /// Bytes.
    pub fn binary(&mut self, mut bytes: &[u8]) {
        while bytes.len() > CHUNK_MAX {
            let (chunk, rest) = bytes.split_at(CHUNK_MAX);
            self.out.push(b'b');
            self.length16(chunk.len());
            self.raw(chunk);
            bytes = rest;
        }
        match u8::try_from(bytes.len()) {
            Ok(short @ 0..=15) => self.out.push(0x20 + short),
            _ => {
                self.out.push(b'B');
                self.length16(bytes.len());
            }
        }
        self.raw(bytes);
    }

    /// The head of a list without a type; its items and [`Writer::end`] follow.
    pub fn list(&mut self, len: usize) {
        self.out.push(b'V');
        self.list_len(len);
    }

    /// The head of a list whose type is named for the first time in this message.
    pub fn typed_list(&mut self, type_name: &str, len: usize) {
        self.out.push(b'V');
        self.type_name(type_name);
        self.list_len(len);
    }

    /// The head of a list whose type was named before; its items follow, and no end.
    pub fn list_of_known_type(&mut self, type_index: usize, len: usize) {
        self.out.push(b'v');
        self.index(type_index);
        self.index(len);
    }

    /// The head of a map without a type; its keys and values in turn and [`Writer::end`] follow.
    pub fn map(&mut self) {
        self.out.push(b'M');
    }

    /// The head of a map whose type is named for the first time in this message.
    pub fn typed_map(&mut self, type_name: &str) {
        self.out.push(b'M');
        self.type_name(type_name);
    }

    /// The head of a map whose type was named before.
    pub fn map_of_known_type(&mut self, type_index: usize) {
        self.out.extend(b"Mu");
        self.index(type_index);
    }

    /// The end of a list or map.
    pub fn end(&mut self) {
        self.out.push(b'z');
    }

    /// A class definition whose names are known only here; see [`definition`](super::definition) for constants.
    pub fn class<'f>(&mut self, name: &str, fields: impl ExactSizeIterator<Item = &'f str>) {
        self.out.push(b'O');
        self.index(utf16_len(name));
        self.characters(name);
        self.index(fields.len());
        fields.for_each(|field| self.text(field));
    }

    /// The head of an object; the values of its fields follow.
    pub fn object(&mut self, class_index: usize) {
        self.out.push(b'o');
        self.index(class_index);
    }

    /// The list, map or object that began as the `index`th in this message.
    pub fn reference(&mut self, index: u32) {
        match (u8::try_from(index), u16::try_from(index)) {
            (Ok(byte), _) => self.tagged(b'J', &[byte]),
            (_, Ok(short)) => self.tagged(b'K', &short.to_be_bytes()),
            _ => self.tagged(b'R', &index.to_be_bytes()),
        }
    }

    fn tagged(&mut self, tag: u8, bytes: &[u8]) {
        self.out.push(tag);
        self.out.extend_from_slice(bytes);
    }

    fn index(&mut self, index: usize) {
        self.int(i32::try_from(index).expect("tables and lists have far fewer than 2^31 entries"));
    }

    fn length16(&mut self, length: usize) {
        let length = u16::try_from(length).expect("a chunk has at most 32,768 units");
        self.out.extend(length.to_be_bytes());
    }

    fn list_len(&mut self, len: usize) {
        match u8::try_from(len) {
            Ok(short) => self.tagged(b'n', &[short]),
            Err(_) => {
                // A list of more items is longer than a frame can be, which is found when its frame is written.
                let len = i32::try_from(len).unwrap_or(i32::MAX);
                self.tagged(b'l', &len.to_be_bytes());
            }
        }
    }

    fn type_name(&mut self, name: &str) {
        self.out.push(b't');
        self.length16(utf16_len(name));
        self.characters(name);
    }

    fn last_chunk_head(&mut self, units: usize) {
        match u8::try_from(units) {
            Ok(short @ 0..=31) => self.out.push(short),
            _ => {
                self.out.push(b'S');
                self.length16(units);
            }
        }
    }

    fn characters(&mut self, text: &str) {
        for char in text.chars() {
            self.units(char.encode_utf16(&mut [0; 2]));
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "every part is masked to its bits"
    )]
    fn units(&mut self, units: &[u16]) {
        for &unit in units {
            match unit {
                0..=0x7f => self.out.push(unit as u8),
                0x80..=0x7ff => self
                    .out
                    .extend([0xc0 | (unit >> 6) as u8, 0x80 | (unit & 0x3f) as u8]),
                _ => self.out.extend([
                    0xe0 | (unit >> 12) as u8,
                    0x80 | (unit >> 6 & 0x3f) as u8,
                    0x80 | (unit & 0x3f) as u8,
                ]),
            }
        }
    }
}

/// How many bytes [`Writer::text`] appends.
pub fn text_len(text: &str) -> usize {
    let (mut chunk, mut rest) = split_chunk(text);
    let mut len = 0;
    while !rest.is_empty() {
        len += 3 + characters_len(chunk);
        (chunk, rest) = split_chunk(rest);
    }
    let head = if utf16_len(chunk) <= 31 { 1 } else { 3 };
    len + head + characters_len(chunk)
}

/// The longest beginning that fits in a chunk, and the rest. A pair of surrogates is kept together, as Java does.
fn split_chunk(text: &str) -> (&str, &str) {
    if text.len() <= CHUNK_MAX {
        return (text, "");
    }
    let mut units = 0;
    let border = text.char_indices().find(|(_, char)| {
        units += char.len_utf16();
        units > CHUNK_MAX
    });
    text.split_at(border.map_or(text.len(), |(at, _)| at))
}

fn utf16_len(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// A character beyond U+FFFF takes two bytes more than in UTF-8.
fn characters_len(text: &str) -> usize {
    text.len() + 2 * text.chars().filter(|char| char.len_utf16() == 2).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut Writer::new(&mut out));
        out
    }

    #[test]
    fn numbers_take_the_shortest_form() {
        let int = |value| written(|writer| writer.int(value));
        let long = |value| written(|writer| writer.long(value));

        assert_eq!([int(-16), int(47)], [[0x80], [0xbf]]);
        assert_eq!(
            [int(-17), int(48), int(2047)],
            [[0xc7, 0xef], [0xc8, 0x30], [0xcf, 0xff]]
        );
        assert_eq!(
            [int(2048), int(262_143)],
            [[0xd4, 8, 0], [0xd7, 0xff, 0xff]]
        );
        assert_eq!(int(262_144), [0x49, 0, 4, 0, 0]);
        assert_eq!([long(0), long(15)], [[0xe0], [0xef]]);
        assert_eq!(long(16), [0xf8, 0x10]);
        assert_eq!(long(2048), [0x3c, 8, 0]);
        assert_eq!(long(262_144), [0x77, 0, 4, 0, 0]);
        assert_eq!(long(1 << 31), [0x4c, 0, 0, 0, 0, 0x80, 0, 0, 0]);
    }

    #[test]
    fn a_pair_is_never_split_between_chunks() {
        let mut text = "a".repeat(CHUNK_MAX - 1);
        text.push('\u{1f600}');

        let bytes = written(|writer| writer.text(&text));

        assert_eq!(bytes[..3], [b's', 0x7f, 0xff]);
        assert_eq!(bytes[3 + CHUNK_MAX - 1..], *b"\x02\xed\xa0\xbd\xed\xb8\x80");
    }

    #[test]
    fn the_length_of_a_text_is_known_before_it_is_written() {
        for part in [
            "",
            "a",
            "\u{e9}",
            "\u{4e2d}",
            "\u{1f600}",
            "a\u{1f600}\u{e9}",
        ] {
            for count in [1, 15, 31, 32, 10_923, 16_384, 32_767, 32_768, 65_537] {
                let text = part.repeat(count);
                let units: Vec<u16> = text.encode_utf16().collect();

                let bytes = written(|writer| writer.text(&text));

                assert_eq!(bytes.len(), text_len(&text));
                assert!(bytes == written(|writer| writer.utf16(&units)));
            }
        }
    }

    #[test]
    fn the_short_string_ends_at_31_units() {
        assert_eq!(written(|writer| writer.text(&"a".repeat(31)))[0], 31);
        assert_eq!(
            written(|writer| writer.text(&"a".repeat(32)))[..3],
            [b'S', 0, 32]
        );
    }
}
