//! What subscribers of one service are shown, and when all of its publishers are in it.

use rollcall_core::message::{Boxes, ReceivedData};

use crate::wire::{self, Opening};

/// The service of this number.
pub(super) fn data_id(service: usize) -> String {
    format!("com.example.Storm{service}:1.0@DEFAULT")
}

/// The list of one service.
#[derive(Debug)]
pub(super) struct List {
    data_id: String,
    publishers: usize,
    opening: Opening,
    /// How long it is when it is complete.
    len: usize,
    /// The last that was complete when somebody looked into it: others of the same bytes are too.
    complete: Vec<u8>,
}

/// What a push showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) version: i64,
    /// Whether every publisher was there.
    pub(super) is_complete: bool,
}

impl List {
    /// Of so many publishers, whose texts are as long as this one.
    pub(super) fn new(service: usize, publishers: usize, text: &Boxes) -> Self {
        let data_id = data_id(service);
        Self {
            opening: Opening::new(&data_id),
            len: wire::list_len(text, publishers),
            complete: Vec::new(),
            publishers,
            data_id,
        }
    }

    /// What a push shows this subscriber; nothing if it is of another service or for somebody else.
    pub(super) fn shown(&mut self, content: &[u8], register_id: &str) -> Option<Shown> {
        let Some(push) = self.opening.open(content) else {
            return self.decoded(content, register_id);
        };
        if !push.is_for(register_id) {
            return None;
        }
        let mut is_complete = push.list == self.complete;
        if push.list.len() >= self.len && !is_complete {
            is_complete = self.decoded(content, register_id)?.is_complete;
            if is_complete {
                self.complete = push.list.to_vec();
            }
        }
        Some(Shown {
            version: push.version,
            is_complete,
        })
    }

    /// The same of a push that another codec wrote, or whose list is not known.
    fn decoded(&self, content: &[u8], register_id: &str) -> Option<Shown> {
        let push = ReceivedData::decode(content).ok()?;
        let is_mine = push.data_id == self.data_id && push.subscriber_regist_ids == [register_id];
        let boxes = push.data.iter().flat_map(|(_, boxes)| boxes.texts());
        let mut texts: Vec<_> = boxes.flatten().map(|text| text.to_string_lossy()).collect();
        texts.sort_unstable();
        texts.dedup();
        is_mine.then_some(Shown {
            version: push.version.unwrap_or(0),
            is_complete: texts.len() == self.publishers,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: &str = "00000000-0000-4000-0002-000000000007";

    fn boxes<'a>(texts: impl IntoIterator<Item = &'a str>) -> Boxes {
        texts.into_iter().collect()
    }

    fn push(version: i64, boxes: &Boxes) -> Vec<u8> {
        wire::push_content(&data_id(3), ME, version, boxes)
    }

    #[test]
    fn a_list_is_complete_when_every_publisher_is_in_it() {
        let mut list = List::new(3, 2, &boxes(["a"]));
        let mut shown = |version, texts: &[&str]| {
            let push = push(version, &boxes(texts.iter().copied()));
            list.shown(&push, ME).map(|shown| shown.is_complete)
        };

        assert_eq!(shown(1, &["a"]), Some(false));
        assert_eq!(shown(2, &["a", "a"]), Some(false));
        assert_eq!(shown(3, &["a", "b"]), Some(true));
        assert_eq!(shown(4, &["a", "b"]), Some(true));
        assert_eq!(shown(5, &["b", "a"]), Some(true));
        assert_eq!(shown(6, &["b", "b"]), Some(false));
    }

    #[test]
    fn a_push_for_another_or_of_another_service_shows_nothing() {
        let (mut mine, mut other) = (
            List::new(3, 1, &boxes(["a"])),
            List::new(4, 1, &boxes(["a"])),
        );
        let push = push(1, &boxes(["a"]));

        assert_eq!(mine.shown(&push, &ME.replace('7', "8")), None);
        assert_eq!(other.shown(&push, ME), None);
    }
}
