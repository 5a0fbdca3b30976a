//! Strings as they differ from those before: what a client publishes is mostly alike, whichever the service.

use serde::{Deserialize, Serialize};

/// What makes strings of those before them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Edit<'a> {
    /// So many bytes at the head are as before.
    pub(super) head: u8,
    /// And so many at the tail.
    pub(super) tail: u8,
    /// These are between them.
    #[serde(with = "serde_bytes")]
    pub(super) between: &'a [u8],
}

/// The bytes that edits start from: those that came last, unless they were many.
#[derive(Debug, Default)]
pub(super) struct Before(Vec<u8>);

/// Strings of more bytes are not kept: they would be copied twice, and at most half of a kilobyte can be left out of them.
const KEPT_MAX: usize = 1 << 10;

impl Before {
    /// The edit that makes these bytes; the next starts from them.
    #[inline]
    pub(super) fn edit_to<'a>(&mut self, bytes: &'a [u8]) -> Edit<'a> {
        let Self(before) = self;
        let head = equal_at_head(before, bytes);
        let tail = equal_at_tail(&before[usize::from(head)..], &bytes[usize::from(head)..]);
        let end = bytes.len() - usize::from(tail);
        let between = &bytes[usize::from(head)..end];
        if before.len() == bytes.len() {
            before[usize::from(head)..end].copy_from_slice(between);
        } else {
            self.keep(bytes);
        }
        Edit {
            head,
            tail,
            between,
        }
    }

    /// The bytes that this edit makes; none if it speaks of more bytes than there were. The next starts from them.
    pub(super) fn apply(&mut self, edit: Edit<'_>) -> Option<&[u8]> {
        let Self(before) = self;
        if before.len() > KEPT_MAX {
            before.clear();
        }
        let (head, tail_len) = (usize::from(edit.head), usize::from(edit.tail));
        let tail_at = before.len().checked_sub(tail_len)?;
        if head > tail_at {
            return None;
        }
        let mut tail = [0; u8::MAX as usize];
        let tail = &mut tail[..tail_len];
        tail.copy_from_slice(&before[tail_at..]);
        before.truncate(head);
        before.extend_from_slice(edit.between);
        before.extend_from_slice(tail);
        Some(before)
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.0.clear();
        if bytes.len() <= KEPT_MAX {
            self.0.extend_from_slice(bytes);
        }
    }
}

/// How many bytes are the same in both, from the first on.
#[inline]
fn equal_at_head(one: &[u8], other: &[u8]) -> u8 {
    let most = one.len().min(other.len()).min(u8::MAX.into());
    let [one, other] = [one, other].map(|bytes| &bytes[..most]);
    // In steps that are one comparison each, then byte by byte.
    let [(ones, _), (others, _)] = [one, other].map(<[u8]>::as_chunks::<STEP>);
    let steps = ones
        .iter()
        .zip(others)
        .take_while(|(one, other)| one == other);
    let equal = steps.count() * STEP;
    let rest = one[equal..].iter().zip(&other[equal..]);
    (equal + rest.take_while(|(one, other)| one == other).count()) as u8
}

/// How many bytes are the same in both, up to the last.
#[inline]
fn equal_at_tail(one: &[u8], other: &[u8]) -> u8 {
    let most = one.len().min(other.len()).min(u8::MAX.into());
    let [one, other] = [one, other].map(|bytes| &bytes[bytes.len() - most..]);
    let [(_, ones), (_, others)] = [one, other].map(<[u8]>::as_rchunks::<STEP>);
    let steps = ones
        .iter()
        .zip(others)
        .rev()
        .take_while(|(one, other)| one == other);
    let equal = steps.count() * STEP;
    let rest = one[..most - equal].iter().zip(&other[..most - equal]).rev();
    (equal + rest.take_while(|(one, other)| one == other).count()) as u8
}

const STEP: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::journal::record::samples::Random;

    #[test]
    fn what_is_as_before_is_left_out() {
        let mut before = Before::default();
        let mut edit = |bytes| {
            let Edit {
                head,
                tail,
                between,
            } = before.edit_to(bytes);
            (head, tail, between)
        };
        let long = [7; 600];

        assert_eq!(
            edit(b"10.0.0.1:12200?app=a"),
            (0, 0, &b"10.0.0.1:12200?app=a"[..])
        );
        assert_eq!(edit(b"10.0.0.1:12200?app=a"), (20, 0, &b""[..]));
        assert_eq!(edit(b"10.0.0.7:12200?app=a"), (7, 12, &b"7"[..]));
        assert_eq!(edit(b"10.0.0.77:12200?app=a"), (8, 12, &b"7"[..]));
        assert_eq!(edit(b""), (0, 0, &b""[..]));
        assert_eq!(edit(&long), (0, 0, &long[..]));
        assert_eq!(edit(&long), (255, 255, &long[510..]));
        assert_eq!(
            edit(&[7; KEPT_MAX + 1]),
            (255, 255, &[7; KEPT_MAX + 1][510..])
        );
        assert_eq!(edit(&long), (0, 0, &long[..]), "behind many bytes");
    }

    #[test]
    fn every_edit_is_undone() {
        let mut random = Random(1);
        let (mut told, mut known) = (Before::default(), Before::default());
        let mut bytes = Vec::new();
        for _ in 0..20_000 {
            if random.below(10) == 0 {
                let len = [20, 300, KEPT_MAX + 5][random.below(3)];
                bytes = vec![random.next() as u8; random.below(len)];
            }
            for _ in 0..random.below(3) {
                let at = random.below(bytes.len());
                bytes.splice(
                    at..(at + random.below(4)).min(bytes.len()),
                    [random.next() as u8],
                );
            }

            let edit = told.edit_to(&bytes);

            assert_eq!(known.apply(edit), Some(&bytes[..]));
        }
    }

    #[test]
    fn an_edit_of_more_than_there_was_is_none() {
        let made = |head, tail| {
            let edit = Edit {
                head,
                tail,
                between: b"-",
            };
            let mut known = Before(b"abc".to_vec());
            known.apply(edit).map(<[u8]>::to_vec)
        };

        assert_eq!(made(1, 2).as_deref(), Some(&b"a-bc"[..]));
        for (head, tail) in [(2, 2), (4, 0), (0, 4), (255, 255)] {
            assert_eq!(made(head, tail), None);
        }
    }
}
