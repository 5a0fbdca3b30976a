//! The texts of one publisher, kept exactly as they will stand in a push.
//!
//! A value reaches subscribers byte for byte as it was published, lone surrogates included, so it is never decoded on
//! the way: per text the head of a `DataBox` object of class definition 1, then the Hessian string as it was received.

use std::ops::Range;

use ahash::RandomState;
use serde::{Deserialize, Serialize};

use super::MessageError;
use crate::hessian::{Class, Definition, Reader, Text, Writer, definition, definition_len};
use crate::limits::{BOXES_PER_PUBLISHER_MAX, HESSIAN_VALUES_MAX};

const CLASS: &str = "com.alipay.sofa.registry.core.model.DataBox";
const FIELDS: &[&str] = &["data"];

/// Defines the class of the boxes; must be definition 1 of its message and stand in front of the first box.
pub(super) const DEFINITION: [u8; definition_len(CLASS, FIELDS)] = definition(CLASS, FIELDS);

/// The same, as it is met in most messages.
pub(super) const EXPECTED: Definition = Definition::new(&DEFINITION, CLASS, FIELDS);

/// An object of class definition 1: in front of each text.
const OBJECT: [u8; 2] = [b'o', 0x91];

/// The same for the same bytes, in this process and build.
const HASHER: RandomState = RandomState::with_seeds(1, 2, 3, 4);

/// The texts of one publisher, in its order, with duplicates and nulls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredBoxes", into = "StoredBoxes")]
pub struct Boxes {
    // Compared in this order: most that differ are told apart without a look at their bytes, which are in no cache any more.
    count: u32,
    hash: u32,
    bytes: Box<[u8]>,
}

/// The form in which they travel.
#[derive(Serialize, Deserialize)]
struct StoredBoxes {
    count: u32,
    bytes: Box<[u8]>,
}

impl From<StoredBoxes> for Boxes {
    fn from(stored: StoredBoxes) -> Self {
        Self::new(stored.count, &stored.bytes)
    }
}

impl From<Boxes> for StoredBoxes {
    fn from(Boxes { count, bytes, .. }: Boxes) -> Self {
        Self { count, bytes }
    }
}

impl Boxes {
    fn new(count: u32, bytes: &[u8]) -> Self {
        Self {
            count,
            // Of where they come from, which was just read; the copy is on its way to memory that nobody used for long.
            hash: match bytes {
                [] => 0,
                bytes => HASHER.hash_one(bytes) as u32,
            },
            bytes: bytes.into(),
        }
    }

    /// How many texts there are.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The boxes as they stand in a list of a message in which `DataBox` is class definition 1.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A number that is the same for the same boxes, in this process and build.
    pub(crate) fn fingerprint(&self) -> u32 {
        self.hash
    }

    /// How many texts there are, as it is stored.
    pub(crate) fn raw_count(&self) -> u32 {
        self.count
    }

    /// Whether these bytes are so many boxes and nothing else.
    pub(crate) fn are_whole(count: u32, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        (0..count).all(|_| split_box(&mut rest).is_some()) && rest.is_empty()
    }

    /// Boxes that [`Self::are_whole`].
    pub(crate) fn from_whole(count: u32, bytes: &[u8]) -> Self {
        debug_assert!(Self::are_whole(count, bytes), "{count} boxes");
        Self::new(count, bytes)
    }

    /// The texts, for the eyes of operators; a box without a text is nothing.
    pub fn texts(&self) -> impl Iterator<Item = Option<Text<'_>>> {
        let mut rest = &*self.bytes;
        (0..self.count).map_while(move |_| split_box(&mut rest))
    }

    /// The boxes of texts in any UTF-16 units, lone surrogates too.
    pub fn from_utf16<'a>(texts: impl IntoIterator<Item = &'a [u16]>) -> Self {
        Self::written(texts, |writer, text| writer.utf16(text))
    }

    fn written<T>(texts: impl IntoIterator<Item = T>, write: impl Fn(&mut Writer<'_>, T)) -> Self {
        let mut bytes = Vec::new();
        let mut count = 0;
        for text in texts {
            bytes.extend(OBJECT);
            write(&mut Writer::new(&mut bytes), text);
            count += 1;
        }
        Self::new(count, &bytes)
    }

    /// Reads a list of boxes; null is an empty one. Null boxes are dropped: clients fail on them.
    pub(super) fn read(reader: &mut Reader<'_>, body: &[u8]) -> Result<Self, MessageError> {
        Self::read_up_to(BOXES_PER_PUBLISHER_MAX, reader, body)
    }

    /// Reads the boxes of all publishers of a zone, in a push.
    pub(super) fn read_any_number(
        reader: &mut Reader<'_>,
        body: &[u8],
    ) -> Result<Self, MessageError> {
        Self::read_up_to(HESSIAN_VALUES_MAX, reader, body)
    }

    fn read_up_to(
        limit: usize,
        reader: &mut Reader<'_>,
        body: &[u8],
    ) -> Result<Self, MessageError> {
        reader.follow(|reader| {
            let Some(mut list) = reader.list()? else {
                return Ok(Self::default());
            };
            if let Some(size) = list.left().filter(|&size| size > limit) {
                return Err(MessageError::OverLimit {
                    field: "dataList",
                    size,
                    limit,
                });
            }
            let mut kept = Kept {
                body,
                limit,
                bytes: Vec::new(),
                run: 0..0,
                count: 0,
                data_at: None,
            };
            while reader.has_item(&mut list)? {
                reader.follow(|reader| kept.read_box(reader))?;
            }
            Ok(kept.finish())
        })
    }
}

/// Takes the first box off: a text, or none.
fn split_box<'a>(rest: &mut &'a [u8]) -> Option<Option<Text<'a>>> {
    let data = rest.strip_prefix(&OBJECT)?;
    let (text, behind) = match data.strip_prefix(b"N") {
        Some(behind) => (None, behind),
        None => Text::split_first(data).map(|(text, behind)| (Some(text), behind))?,
    };
    *rest = behind;
    Some(text)
}

impl<'a> FromIterator<&'a str> for Boxes {
    fn from_iter<I: IntoIterator<Item = &'a str>>(texts: I) -> Self {
        Self::written(texts, |writer, text| writer.text(text))
    }
}

/// The boxes read so far. All known clients send them in the very bytes that are kept, one behind the other, so that
/// whole runs are copied at once, in one allocation of the exact size.
struct Kept<'a> {
    body: &'a [u8],
    limit: usize,
    bytes: Vec<u8>,
    run: Range<usize>,
    count: usize,
    /// Class of the last box and which of its fields is the text: boxes have one class, whose field names are read once.
    data_at: Option<(usize, Option<usize>)>,
}

impl Kept<'_> {
    fn read_box(&mut self, reader: &mut Reader<'_>) -> Result<(), MessageError> {
        let Some(class) = reader.object()? else {
            return Ok(());
        };
        if self.count == self.limit {
            return Err(MessageError::OverLimit {
                field: "dataList",
                size: self.count + 1,
                limit: self.limit,
            });
        }
        self.count += 1;
        let text = read_field(reader, class, self.data_at(class))?;
        let end = reader.offset();
        let begin = end - text.map_or(1, |text| text.raw().len()) - OBJECT.len();
        let is_as_kept = class.field_count() == 1
            && self
                .body
                .get(begin..)
                .is_some_and(|box_| box_.starts_with(&OBJECT));
        if is_as_kept {
            self.keep(begin..end);
        } else {
            self.keep(0..0);
            self.bytes.extend(OBJECT);
            self.bytes
                .extend_from_slice(text.map_or(b"N", |text| text.raw()));
        }
        Ok(())
    }

    fn data_at(&mut self, class: Class<'_>) -> Option<usize> {
        match self.data_at {
            Some((index, data_at)) if index == class.index() => data_at,
            _ => {
                let found = data_field(class);
                self.data_at = Some((class.index(), found));
                found
            }
        }
    }

    fn keep(&mut self, place: Range<usize>) {
        if place.start == self.run.end {
            self.run.end = place.end;
        } else {
            self.bytes.extend_from_slice(&self.body[self.run.clone()]);
            self.run = place;
        }
    }

    fn finish(mut self) -> Boxes {
        let count =
            u32::try_from(self.count).expect("bounded by the number of boxes per publisher");
        if self.bytes.is_empty() {
            return Boxes::new(count, &self.body[self.run]);
        }
        self.keep(0..0);
        Boxes::new(count, &self.bytes)
    }
}

/// The text of the one box whose head was read.
pub(super) fn read_data<'a>(
    reader: &mut Reader<'a>,
    class: Class<'a>,
) -> Result<Option<Text<'a>>, MessageError> {
    read_field(reader, class, data_field(class))
}

/// Which field is the text. Of several of that name the last counts, as in Java.
fn data_field(class: Class<'_>) -> Option<usize> {
    let texts = class
        .fields()
        .enumerate()
        .filter(|(_, name)| name.payload() == FIELDS[0].as_bytes());
    texts.map(|(index, _)| index).last()
}

fn read_field<'a>(
    reader: &mut Reader<'a>,
    class: Class<'a>,
    data_at: Option<usize>,
) -> Result<Option<Text<'a>>, MessageError> {
    let mut data = None;
    for index in 0..class.field_count() {
        if Some(index) == data_at {
            data = reader.text()?;
        } else {
            reader.skip()?;
        }
    }
    Ok(data)
}

/// Writes a list of the boxes of some publishers. The class is defined before the first box of the message.
pub(super) fn write_list<'a>(
    out: &mut Vec<u8>,
    boxes: impl Iterator<Item = &'a Boxes> + Clone,
    is_defined: &mut bool,
) {
    let count = boxes.clone().map(Boxes::count).sum();
    Writer::new(out).list(count);
    if count > 0 && !std::mem::replace(is_defined, true) {
        out.extend(DEFINITION);
    }
    boxes.for_each(|boxes| out.extend_from_slice(&boxes.bytes));
    Writer::new(out).end();
}

/// How many bytes [`write_list`] appends.
pub(super) fn list_len<'a>(boxes: impl Iterator<Item = &'a Boxes>, is_defined: &mut bool) -> usize {
    let (count, bytes) = boxes.fold((0, 0), |(count, bytes), boxes| {
        (count + boxes.count(), bytes + boxes.bytes.len())
    });
    let is_first = count > 0 && !std::mem::replace(is_defined, true);
    let definition = if is_first { DEFINITION.len() } else { 0 };
    let head = if count <= usize::from(u8::MAX) { 3 } else { 6 };
    head + definition + bytes + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: Option<Text<'_>>) -> Option<String> {
        text.map(|text| text.to_string_lossy().into_owned())
    }

    #[test]
    fn texts_are_shown_in_order_and_a_box_without_one_as_nothing() {
        let list = b"VO\x91B\x91\x04datao\x90\x01ao\x90No\x90\x03x\xed\xa0\x80yz";

        let boxes = Boxes::read(&mut Reader::new(list), list).unwrap();

        let shown: Vec<_> = boxes.texts().map(text).collect();
        assert_eq!(shown, [Some("a".into()), None, Some("x\u{fffd}y".into())]);
        assert_eq!(boxes.bytes(), b"o\x91\x01ao\x91No\x91\x03x\xed\xa0\x80y");
    }

    #[test]
    fn written_texts_are_those_that_are_read() {
        let long = "\u{1f600}".repeat(20_000);
        let boxes: Boxes = ["", "a", &long].into_iter().collect();
        let mut list = Vec::new();

        write_list(&mut list, std::iter::once(&boxes), &mut false);
        // The boxes say class definition 1, so one must be in front of theirs.
        let body = [b"O\x91A\x90", &list[..]].concat();
        let read = Boxes::read(&mut Reader::new(&body), &body).unwrap();

        assert_eq!(read, boxes);
        assert_eq!(list.len(), list_len(std::iter::once(&boxes), &mut false));
        assert_eq!(text(read.texts().last().flatten()), Some(long));
    }

    #[test]
    fn bytes_that_are_no_boxes_show_nothing() {
        let broken = Boxes::new(3, b"o\x91\x05ab");

        assert_eq!(broken.texts().count(), 0);
    }

    #[test]
    fn nothing_is_the_same_however_it_came() {
        let mut empty = Vec::new();
        write_list(&mut empty, std::iter::empty(), &mut false);

        let read = Boxes::read(&mut Reader::new(&empty), &empty).unwrap();

        assert_eq!(read, Boxes::default());
        assert_eq!(Boxes::from_whole(0, b""), Boxes::default());
        assert_ne!(["a"].into_iter().collect::<Boxes>(), Boxes::default());
    }

    #[test]
    fn utf16_and_text_make_the_same_boxes() {
        let units: Vec<u16> = "\u{4e2d}\u{1f600}".encode_utf16().collect();

        assert_eq!(
            Boxes::from_utf16([&units[..]]),
            ["\u{4e2d}\u{1f600}"].into_iter().collect()
        );
    }
}
