//! The entry points of the fuzz targets over changed recordings: a small, fixed part of what fuzzing does for hours.

use crate::entry_points::{
    bolt_frame, hessian_value, journal_segment, push_messages, request_message,
};
use crate::golden::{Recording, recordings};

const SEED: u64 = 0x5eed_0f0a_1100;
const ROUNDS_PER_RECORDING: usize = 60;

#[test]
fn no_mutation_of_a_frame_panics() {
    mutate(&recordings("bolt", "frames"), |bytes| {
        bolt_frame(bytes);
        // Behind the shortest header begins the class, behind that the content: let the bodies be tried as well.
        for head in [20, 22, 24].into_iter().filter(|&head| head < bytes.len()) {
            let class_len = usize::from(u16::from_be_bytes([bytes[head - 8], bytes[head - 7]]));
            if let Some(content) = bytes.get(head + class_len..) {
                request_message(content);
                push_messages(content);
            }
        }
    });
}

#[test]
fn no_mutation_of_a_value_panics() {
    let short: Vec<_> = recordings("hessian", "vectors")
        .into_iter()
        .filter(|vector| vector.bytes.len() < 8_192)
        .collect();
    mutate(&short, |bytes| {
        hessian_value(bytes);
        request_message(bytes);
        push_messages(bytes);
    });
}

#[test]
fn no_mutation_of_a_segment_is_read_as_another_record() {
    let damage = |bytes: &[u8]| Recording {
        facts: serde_json::Value::Null,
        bytes: bytes.to_vec(),
    };
    let recordings = [
        damage(b"\x02\x07\x01a\x01b\x01c"),
        damage(b"\x38\0\0\x01\x40\x80\0\xff"),
        damage(b"\0\0\0\x01\0\0\x01\x10\xff\xff\xff\x80\x07"),
    ];
    mutate(&recordings, journal_segment);
}

fn mutate(recordings: &[Recording], try_out: impl Fn(&[u8])) {
    let mut random = Random(SEED);
    for recording in recordings {
        try_out(&recording.bytes);
        for _ in 0..ROUNDS_PER_RECORDING {
            let other = &recordings[random.below(recordings.len())];
            try_out(&random.mutated(&recording.bytes, &other.bytes));
        }
    }
}

/// SplitMix64: the same numbers from the same seed, everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// One to four changes: bytes set, bits flipped, pieces cut, doubled, or taken from the other recording.
    fn mutated(&mut self, bytes: &[u8], other: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let len = self.below(16).min(bytes.len() - at);
            match self.below(6) {
                0 if at < bytes.len() => bytes[at] = self.next() as u8,
                1 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                2 => drop(bytes.drain(at..at + len)),
                3 => bytes.truncate(at),
                4 => {
                    let piece = bytes[at..at + len].to_vec();
                    bytes.splice(at..at, piece);
                }
                _ => {
                    let from = self.below(other.len() + 1);
                    let piece = other[from..(from + len).min(other.len())].to_vec();
                    bytes.splice(at..at, piece);
                }
            }
        }
        bytes
    }
}
