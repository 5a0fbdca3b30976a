//! What a registration that cannot be taken says of itself, for the log: read without judging it, and only the beginnings of names.

use super::fields::read_message;
use crate::bolt::Frame;

/// Most of a name that is kept for the log.
const EXCERPT_BYTES_MAX: usize = 256;

/// The beginnings of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Glance {
    /// `dataId`.
    pub data_id: String,
    /// `appName`.
    pub app: String,
}

impl Glance {
    /// What there is of it in this frame, as far as that can be read.
    pub fn at(frame: &Frame<'_>) -> Self {
        let mut glance = Self::default();
        let class = String::from_utf8_lossy(frame.class);
        // What cannot be read is left out: the frame was refused already.
        let _ = read_message(frame.content, &class, |field, reader| {
            let name = match field {
                b"dataId" => &mut glance.data_id,
                b"appName" => &mut glance.app,
                _ => return Ok(false),
            };
            let text = reader.text()?;
            *name = text.map_or_else(String::new, |text| excerpt(&text.to_string_lossy()));
            Ok(true)
        });
        glance
    }
}

/// The beginning of a name.
pub(crate) fn excerpt(text: &str) -> String {
    text[..text.floor_char_boundary(EXCERPT_BYTES_MAX)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bolt::{CODEC_HESSIAN, Kind, Protocol};
    use crate::message::{PublisherRegister, publisher_register};

    #[test]
    fn what_is_too_long_is_seen_by_its_beginning() {
        let mut register = PublisherRegister::empty();
        register.base.data_id = Some("é".repeat(2_000).into());
        register.base.app_name = Some("shop".into());
        let mut content = Vec::new();
        register.encode(&mut content);
        assert!(PublisherRegister::empty().read(&content).is_err());
        let mut frame = Frame {
            protocol: Protocol::V1,
            kind: Kind::Request { timeout_ms: 1_000 },
            codec: CODEC_HESSIAN,
            request_id: 1,
            class: publisher_register::CLASS.as_bytes(),
            header: &[],
            content: &content,
        };

        let glance = Glance::at(&frame);
        frame.content = &content[..10];
        let nothing = Glance::at(&frame);

        assert_eq!(glance.data_id, "é".repeat(EXCERPT_BYTES_MAX / 2));
        assert_eq!(glance.app, "shop");
        assert_eq!(nothing, Glance::default());
    }
}
