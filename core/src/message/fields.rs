//! What the decoders of all messages share: objects by field name, names with their limit.

use std::borrow::Cow;

use super::MessageError;
use crate::hessian::{Class, Definition, Reader, Text};
use crate::limits::NAME_BYTES_MAX;

/// Reads the one object of a body. `field` is called for each field with its name; it reads the value and says true, or
/// reads nothing and says false.
pub(super) fn read_message<'a>(
    body: &'a [u8],
    class_name: &str,
    field: impl FnMut(&[u8], &mut Reader<'a>) -> Result<bool, MessageError>,
) -> Result<(), MessageError> {
    let (class, mut reader) = begin_message(body, class_name, &[])?;
    read_fields(class, &mut reader, field)
}

/// Reads the head of the one object of a body; what stands in it follows.
pub(super) fn begin_message<'a>(
    body: &'a [u8],
    class_name: &str,
    expected: &'static [Definition],
) -> Result<(Class<'a>, Reader<'a>), MessageError> {
    if body.is_empty() {
        return Err(MessageError::NoBody);
    }
    let mut reader = Reader::expecting(body, expected);
    let Some(class) = reader.object()? else {
        return Err(MessageError::NoBody);
    };
    if class.name() != class_name.as_bytes() {
        let class = String::from_utf8_lossy(class.name()).into_owned();
        return Err(MessageError::WrongClass { class });
    }
    Ok((class, reader))
}

/// Reads the fields of an object whose head was read, as [`read_message`] does.
pub(super) fn read_fields<'a>(
    class: Class<'a>,
    reader: &mut Reader<'a>,
    mut field: impl FnMut(&[u8], &mut Reader<'a>) -> Result<bool, MessageError>,
) -> Result<(), MessageError> {
    for name in class.fields() {
        if !field(name.payload(), reader)? {
            reader.skip()?;
        }
    }
    Ok(())
}

/// Reads a name: a text that is bounded and has no lone surrogates.
pub(super) fn read_name<'a>(
    reader: &mut Reader<'a>,
    field: &'static str,
) -> Result<Option<Cow<'a, str>>, MessageError> {
    reader.text()?.map(|text| name(text, field)).transpose()
}

fn name<'a>(text: Text<'a>, field: &'static str) -> Result<Cow<'a, str>, MessageError> {
    let over_limit = |size| MessageError::OverLimit {
        field,
        size,
        limit: NAME_BYTES_MAX,
    };
    if text.units() > NAME_BYTES_MAX {
        return Err(over_limit(text.units()));
    }
    let name = text.to_str().map_err(|_| MessageError::NotText { field })?;
    if name.len() > NAME_BYTES_MAX {
        return Err(over_limit(name.len()));
    }
    Ok(name)
}

/// Reads a text of any length into an owned string; a missing one is empty.
pub(super) fn read_string(
    reader: &mut Reader<'_>,
    field: &'static str,
) -> Result<Option<String>, MessageError> {
    let text = reader.text()?.map(|text| text.to_str());
    let text = text
        .transpose()
        .map_err(|_| MessageError::NotText { field })?;
    Ok(text.map(Cow::into_owned))
}

/// Reads a list of names; null is an empty one.
pub(super) fn read_strings(
    reader: &mut Reader<'_>,
    field: &'static str,
) -> Result<Vec<String>, MessageError> {
    reader.follow(|reader| {
        let mut names = Vec::new();
        let Some(mut list) = reader.list()? else {
            return Ok(names);
        };
        while reader.has_item(&mut list)? {
            names.extend(read_string(reader, field)?);
        }
        Ok(names)
    })
}
