//! What a reader finds in segments that are whole, cut, mutated, or full of what a client forged.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use super::*;
use crate::data::journal::record::samples::{self, Random};
use crate::data::journal::record::{Entry, Record};
use crate::publisher::Publisher;
use crate::version::DatumVersion;

const MUTATIONS: usize = 10_000;
const MUTATIONS_PER_SEGMENT: usize = 250;

fn header() -> Header {
    Header {
        cluster: 7,
        shard: 1,
        segment: 5,
        salt: 0x0123_4567_89ab_cdef,
        boot_id: [9; 16],
    }
}

fn expected() -> Expected {
    Expected {
        cluster: Some(7),
        shard: 1,
        segment: 5,
        salt: Some(header().salt),
    }
}

/// A segment and what is in it.
struct Written {
    bytes: Vec<u8>,
    writer: SegmentWriter,
    /// Fingerprints of all records.
    contents: Vec<u64>,
    /// The records that are in batches which are closed, each with the place of its batch.
    records: Vec<(Range<usize>, u64)>,
}

impl Written {
    fn new() -> Self {
        let mut bytes = Vec::new();
        Self {
            writer: SegmentWriter::new(&header(), &mut bytes),
            bytes,
            contents: Vec::new(),
            records: Vec::new(),
        }
    }

    /// Records of all kinds and sizes, some longer than a block.
    fn random(random: &mut Random, blocks: usize) -> Self {
        let mut written = Self::new();
        let version = DatumVersion::new(random.next());
        written.append(&Entry::Ceiling { version });
        written.close();
        while written.bytes.len() < blocks * BLOCK_BYTES {
            let number = random.below(1_000);
            let service = samples::service(number);
            let version = DatumVersion::new(random.next());
            let units = match random.below(50) {
                0 => 200_000,
                1..=3 => 20_000,
                _ => 1_000,
            };
            let publisher = samples::publisher(random, number, units);
            let entry = match random.below(10) {
                0 => Entry::removed(&service, &publisher.register_id, version),
                1 => Entry::empty(&service, version),
                2 => Entry::Ceiling { version },
                _ => Entry::put(&service, &publisher, version),
            };
            written.append(&entry);
            if random.below(4) == 0 {
                written.writer.close(&mut written.bytes);
            }
        }
        written.close();
        written
    }

    fn append(&mut self, entry: &Entry<'_>) {
        self.writer.append(entry, &mut self.bytes);
        self.contents.push(fingerprint(&entry.to_record()));
        assert_eq!(self.writer.len(), self.bytes.len() as u64);
    }

    fn close(&mut self) {
        self.writer.close(&mut self.bytes);
        let places = batches(&self.bytes)
            .into_iter()
            .flat_map(|(place, records)| std::iter::repeat_n(place, records));
        self.records = places.zip(self.contents.iter().copied()).collect();
        assert_eq!(self.records.len(), self.contents.len());
        assert_eq!(self.writer.len(), self.bytes.len() as u64);
    }

    /// The records as they are found.
    fn found(&self) -> Vec<(usize, u64)> {
        let found = |(place, content): &(Range<usize>, u64)| (place.start, *content);
        self.records.iter().map(found).collect()
    }

    /// The places of two batches, in any order.
    fn two_batches(&self, random: &mut Random) -> [Range<usize>; 2] {
        let mut places: Vec<_> = self.records.iter().map(|(place, _)| place).collect();
        places.dedup();
        let one = random.below(places.len());
        let other = (one + 1 + random.below(places.len() - 1)) % places.len();
        [one, other].map(|index| places[index].clone())
    }
}

/// Where each batch of a sound segment lies, and how many records it has.
fn batches(bytes: &[u8]) -> Vec<(Range<usize>, usize)> {
    let mut batches = Vec::new();
    let mut begun = None;
    let mut at = 56;
    while at < bytes.len() {
        let room = BLOCK_BYTES - at % BLOCK_BYTES;
        if room == BLOCK_BYTES {
            at += HEAD_BYTES;
        } else if room <= FRAGMENT_HEAD_BYTES {
            at += room;
        } else {
            let head = &bytes[at..];
            let (start, records) = *begun.get_or_insert((at, usize::from(head[7])));
            at += FRAGMENT_HEAD_BYTES + usize::from(u16::from_le_bytes([head[4], head[5]]));
            if [Kind::Full as u8, Kind::Last as u8].contains(&head[6]) {
                batches.push((start..at, records));
                begun = None;
            }
        }
    }
    batches
}

fn fingerprint(record: &Record<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    record.hash(&mut hasher);
    hasher.finish()
}

/// What a reader found.
#[derive(Debug, PartialEq)]
struct Found {
    records: Vec<(usize, u64)>,
    damages: Vec<(Range<usize>, Why)>,
    tail: Tail,
}

fn scan(bytes: &[u8]) -> Found {
    scan_in_pieces(bytes, 3 * BLOCK_BYTES).expect("the manifest knows the salt")
}

fn scan_in_pieces(bytes: &[u8], piece: usize) -> Result<Found, HeaderError> {
    scan_as(expected(), bytes, piece)
}

fn scan_as(expected: Expected, bytes: &[u8], piece: usize) -> Result<Found, HeaderError> {
    let mut scanner = Scanner::new(expected);
    let (mut records, mut damages) = (Vec::new(), Vec::new());
    let at = |offset: u64| usize::try_from(offset).expect("in memory");
    for piece in bytes.chunks(piece) {
        scanner.scan(piece, |found| match found {
            Scanned::Record { offset, record } => {
                records.push((at(offset), fingerprint(&record)));
            }
            Scanned::Damage { from, to, why } => damages.push((at(from)..at(to), why)),
        })?;
    }
    Ok(Found {
        records,
        damages,
        tail: scanner.finish(),
    })
}

#[test]
fn what_was_written_is_read_in_pieces_of_any_size() {
    let written = Written::random(&mut Random(1), 20);

    for blocks in [1, 2, 3, 100] {
        let found = scan_in_pieces(&written.bytes, blocks * BLOCK_BYTES).unwrap();

        assert_eq!(found.records, written.found());
        assert_eq!(found.damages, []);
        assert_eq!(found.tail, Tail::Whole);
    }
}

#[test]
fn golden_bytes() {
    let mut bytes = Vec::new();
    let mut writer = SegmentWriter::new(&header(), &mut bytes);
    let version = DatumVersion::new(5);
    writer.append(&Entry::Ceiling { version }, &mut bytes);
    writer.close(&mut bytes);
    writer.append_content(&[7; BLOCK_BYTES - 56 - 10 - 7 - 7], &mut bytes);
    writer.append(&Entry::Sealed, &mut bytes);
    writer.close(&mut bytes);

    let head = b"RLCLSEG\x97\x03\0\x07\0\0\0\0\0\0\0\x01\0\x05\0\0\0\0\0\0\0\xef\xcd\xab\x89\x67\x45\x23\x01";
    assert_eq!(&bytes[..36], head);
    assert_eq!(&bytes[36..52], header().boot_id);
    assert_eq!(&bytes[52..56], b"\x57\xf6\xcd\xef");
    assert_eq!(&bytes[56..66], b"\x42\x15\xdb\x38\x03\0\x01\x01\x04\x05");
    assert_eq!(&bytes[BLOCK_BYTES - 8..BLOCK_BYTES], b"\x07\0\0\0\0\0\0\0");
    let block = b"\x02\0\0\0\0\0\0\0\xd1\xcc\xc9\x9d\xc7\xbc\x1a\x3c\x02\0\x01\x01\x05";
    assert_eq!(&bytes[BLOCK_BYTES..], block);
}

#[test]
fn every_truncation_is_a_torn_tail_or_ends_with_a_whole_record() {
    let written = Written::random(&mut Random(2), 3);
    let near_a_block = |len: &usize| (len + 40) % BLOCK_BYTES < 80;
    let lens = (0..written.bytes.len()).filter(|len| near_a_block(len) || len % 61 == 0);

    for len in lens {
        let found = scan(&written.bytes[..len]);

        let whole = written.records.iter().filter(|(place, _)| place.end <= len);
        let whole = whole.count();
        assert_eq!(found.records, written.found()[..whole], "{len} bytes");
        assert_eq!(found.damages, [], "{len} bytes");
        let end = written.records[..whole]
            .last()
            .map_or(0, |(place, _)| place.end);
        match found.tail {
            Tail::Torn { offset } | Tail::Damaged { offset, .. } => {
                assert!((end..=len).contains(&(offset as usize)))
            }
            // Zeros at the end of a block belong to the record in front of them.
            tail => assert!(tail == Tail::Whole && len - end < FRAGMENT_HEAD_BYTES),
        }
    }
}

#[test]
fn a_segment_is_sealed_if_nothing_comes_behind_the_seal() {
    let mut written = Written::new();
    assert_eq!(scan(&[]).tail, Tail::Torn { offset: 0 });
    assert_eq!(scan(&written.bytes).tail, Tail::Whole);

    written.append(&Entry::Sealed);
    written.close();
    assert_eq!(scan(&written.bytes).tail, Tail::Sealed);

    let version = DatumVersion::new(5);
    written.append(&Entry::Ceiling { version });
    written.close();
    assert_eq!(scan(&written.bytes).tail, Tail::Whole);
}

#[test]
fn a_damaged_head_costs_no_record() {
    let written = Written::random(&mut Random(3), 4);
    let heads = (0..written.bytes.len()).filter(|at| match at / BLOCK_BYTES {
        0 => *at < 56,
        _ => at % BLOCK_BYTES < HEAD_BYTES,
    });

    for at in heads {
        let mut bytes = written.bytes.clone();
        bytes[at] ^= 0x10;

        let found = scan(&bytes);

        assert_eq!(found.records, written.found(), "byte {at}");
        let [(place, why)] = &found.damages[..] else {
            panic!("byte {at}: {:?}", found.damages);
        };
        assert!(place.contains(&at));
        assert_eq!(*why, if at < 56 { Why::Header } else { Why::Head });
    }
}

#[test]
fn without_a_sound_header_and_a_manifest_nothing_is_guessed() {
    let mut written = Written::random(&mut Random(4), 2);
    let unknown = Expected {
        salt: None,
        ..expected()
    };
    assert_eq!(
        scan_as(unknown.clone(), &written.bytes, BLOCK_BYTES).map(|found| found.records),
        Ok(written.found())
    );

    written.bytes[40] ^= 1;

    assert_eq!(
        scan_as(unknown.clone(), &written.bytes, BLOCK_BYTES),
        Err(HeaderError::Damaged)
    );
    assert_eq!(
        scan_as(unknown, &[0; BLOCK_BYTES], BLOCK_BYTES),
        Err(HeaderError::NotASegment)
    );
}

#[test]
fn a_record_without_end_takes_no_memory_without_end() {
    let longest = crate::limits::JOURNAL_RECORD_BYTES_MAX;
    let malformed = Why::Record(crate::data::journal::record::RecordError::Malformed);
    for (len, why) in [(longest, malformed), (longest + 1, Why::Pieces)] {
        let mut bytes = Vec::new();
        let mut writer = SegmentWriter::new(&header(), &mut bytes);
        writer.append_content(&vec![0xff; len], &mut bytes);
        let end = bytes.len();
        writer.append(&Entry::Sealed, &mut bytes);
        writer.close(&mut bytes);

        let found = scan(&bytes);

        assert_eq!(found.records, [(end, fingerprint(&Record::Sealed))]);
        let whys: Vec<_> = found.damages.iter().map(|(_, why)| *why).collect();
        assert_eq!(whys, [why]);
    }
}

#[test]
fn what_is_as_before_is_left_out_within_a_block_only() {
    let mut written = Written::new();
    let service = samples::service(0);
    let first = samples::publisher(&mut Random(7), 4, 10);
    let next = Publisher {
        zone: Arc::clone(&first.zone),
        app: Arc::clone(&first.app),
        registered_ms: first.registered_ms + 1,
        ..samples::publisher(&mut Random(7), 4, 10)
    };
    let put = |publisher| Entry::put(&service, publisher, DatumVersion::new(1 << 58));
    while written.bytes.len() < 3 * BLOCK_BYTES {
        written.append(&put(&first));
        written.append(&put(&next));
    }
    written.close();

    let all = written.contents.len();
    let told = written.bytes.len() - 3 * BLOCK_BYTES / crate::limits::JOURNAL_BATCH_BYTES;
    let whole = FRAGMENT_HEAD_BYTES + Entry::put_len(&service, &first);
    assert!(told + 50 * all < whole * all, "{told} for {all} of {whole}");
    assert_eq!(scan(&written.bytes).records, written.found());
    for block in 1..3 {
        let mut bytes = written.bytes.clone();
        bytes[(block - 1) * BLOCK_BYTES + 100] ^= 1;
        let behind = |found: &[(usize, u64)]| {
            let behind = found.iter().filter(|(at, _)| *at >= block * BLOCK_BYTES);
            behind.count()
        };
        assert_eq!(
            behind(&scan(&bytes).records),
            behind(&written.found()),
            "block {block} needs nothing of the one before"
        );
    }
}

/// What was done to a segment.
struct Mutated {
    bytes: Vec<u8>,
    /// Where bytes may be others than they were.
    hits: Vec<Range<usize>>,
    kind: usize,
}

impl Mutated {
    const KINDS: usize = 11;

    fn new(written: &Written, kind: usize, random: &mut Random) -> Self {
        let mut bytes = written.bytes.clone();
        let hits = match kind {
            0..6 => hit_in_place(&mut bytes, written, kind, random),
            _ => {
                let rest = move_all_from(&mut bytes, written, kind, random)..usize::MAX;
                vec![rest]
            }
        };
        Self { bytes, hits, kind }
    }

    /// Whether a record must survive: it ends before all damage, or no damage is in a block of it.
    fn spares(&self, record: &Range<usize>) -> bool {
        let blocks =
            |bytes: &Range<usize>| bytes.start / BLOCK_BYTES..bytes.end.div_ceil(BLOCK_BYTES);
        let is_apart = |hit: &Range<usize>| {
            let (hit, record) = (blocks(hit), blocks(record));
            hit.end <= record.start || record.end <= hit.start
        };
        self.hits.iter().all(|hit| record.end <= hit.start) || self.hits.iter().all(is_apart)
    }

    fn check(&self, written: &Written) {
        let found = scan(&self.bytes);

        let sound = written.found();
        for record in &found.records {
            assert!(sound.contains(record), "never written: {record:?}");
        }
        for (place, content) in &written.records {
            let is_found = found.records.contains(&(place.start, *content));
            assert!(is_found || !self.spares(place), "lost: {place:?}");
            let is_told = found
                .damages
                .iter()
                .any(|(damage, _)| damage.contains(&place.start))
                || matches!(found.tail, Tail::Torn { offset } | Tail::Damaged { offset, .. } if offset as usize <= place.start)
                || self.bytes.len() <= place.start;
            assert!(
                is_found != is_told,
                "found and damaged, or neither: {place:?}"
            );
        }
        let mut last = 0;
        for (damage, why) in &found.damages {
            assert!(
                last <= damage.start && damage.start < damage.end,
                "{damage:?}, {why}"
            );
            last = damage.end;
        }
        let is_told = !found.damages.is_empty() || found.tail != Tail::Whole;
        let is_cut = written.bytes.starts_with(&self.bytes);
        assert!(is_told || is_cut, "nothing is told of the damage");
    }
}

/// Changes bytes that stay where they are, and tells which.
fn hit_in_place(
    bytes: &mut [u8],
    written: &Written,
    kind: usize,
    random: &mut Random,
) -> Vec<Range<usize>> {
    let blocks = bytes.len() / BLOCK_BYTES;
    let [one, other] = written.two_batches(random);
    match kind {
        0 => {
            let places = [(); 3].map(|()| random.below(bytes.len()));
            let places = &places[..1 + random.below(3)];
            places
                .iter()
                .for_each(|&at| bytes[at] ^= 1 << random.below(8));
            places.iter().map(|&at| at..at + 1).collect()
        }
        1 => {
            let span = span(bytes.len(), random);
            bytes[span.clone()].fill(0);
            vec![span]
        }
        2 => {
            let span = span(bytes.len(), random);
            bytes[span.clone()].fill_with(|| random.next() as u8);
            vec![span]
        }
        3 => {
            let [from, to] = [(); 2].map(|()| random.below(blocks) * BLOCK_BYTES);
            let hit = to..to + BLOCK_BYTES;
            bytes.copy_within(from..from + BLOCK_BYTES, to);
            vec![hit]
        }
        4 => {
            let len = one.len().min(bytes.len() - other.start);
            let hit = other.start..other.start + len;
            bytes.copy_within(one.start..one.start + len, other.start);
            vec![hit]
        }
        _ => {
            let (one, other) = match one.start < other.start {
                true => (one, other),
                false => (other, one),
            };
            let both = one.start..other.end;
            let swapped = [other.clone(), one.end..other.start, one];
            let swapped = swapped.map(|place| &written.bytes[place]).concat();
            bytes[both.clone()].copy_from_slice(&swapped);
            vec![both]
        }
    }
}

/// Puts in or takes out bytes, and tells from where on all is moved or gone.
fn move_all_from(
    bytes: &mut Vec<u8>,
    written: &Written,
    kind: usize,
    random: &mut Random,
) -> usize {
    let blocks = bytes.len() / BLOCK_BYTES;
    let span = span(bytes.len(), random);
    let [record, _] = written.two_batches(random);
    let (at, put_in) = match kind {
        6 => {
            bytes.truncate(span.start);
            return span.start;
        }
        7 => {
            bytes.drain(span.clone());
            return span.start;
        }
        8 => {
            let [from, to] = [(); 2].map(|()| random.below(blocks) * BLOCK_BYTES);
            (to, bytes[from..from + BLOCK_BYTES].to_vec())
        }
        9 => (record.end, bytes[record].to_vec()),
        _ => {
            let garbage = span.clone().map(|_| random.next() as u8);
            (span.start, garbage.collect())
        }
    };
    bytes.splice(at..at, put_in);
    at
}

/// Some bytes, a few or more than a block.
fn span(len: usize, random: &mut Random) -> Range<usize> {
    let start = random.below(len);
    let longest = [16, 600, 2 * BLOCK_BYTES][random.below(3)];
    start..(start + 1 + random.below(longest)).min(len)
}

#[test]
fn ten_thousand_mutations_lose_no_more_than_they_hit_and_invent_nothing() {
    let mut random = Random(0x0006_10a7);
    for _ in 0..MUTATIONS / MUTATIONS_PER_SEGMENT {
        let blocks = 2 + random.below(3);
        let written = Written::random(&mut random, blocks);
        for number in 0..MUTATIONS_PER_SEGMENT {
            let state = random.0;
            let mutated = Mutated::new(&written, number % Mutated::KINDS, &mut random);
            let checked = std::panic::catch_unwind(|| mutated.check(&written));
            assert!(
                checked.is_ok(),
                "kind {} of state {state:#x}, bytes {:?}",
                mutated.kind,
                mutated.hits
            );
        }
    }
}

/// What a client would love to have in the journal.
fn forged(salt: u64) -> Vec<u8> {
    let header = Header { salt, ..header() };
    let mut bytes = Vec::new();
    let mut writer = SegmentWriter::new(&header, &mut bytes);
    let version = DatumVersion::new(u64::MAX);
    while bytes.len() < 3 * BLOCK_BYTES {
        writer.append(&Entry::Ceiling { version }, &mut bytes);
    }
    writer.close(&mut bytes);
    bytes
}

#[test]
fn forged_blocks_in_a_clients_data_are_never_taken_for_blocks() {
    // Even with the salt, which nobody knows: where a block begins there is no data of clients.
    let mut bytes = Vec::new();
    let mut writer = SegmentWriter::new(&header(), &mut bytes);
    writer.append_content(&forged(header().salt), &mut bytes);
    writer.append(&Entry::Sealed, &mut bytes);
    writer.close(&mut bytes);

    for at in (0..bytes.len()).step_by(61).chain(0..100) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0xff;

        let found = scan(&damaged);

        let sealed = fingerprint(&Record::Sealed);
        assert!(
            found.records.iter().all(|(_, content)| *content == sealed),
            "byte {at}"
        );
    }
}

#[test]
fn forged_blocks_that_a_cut_moves_to_where_blocks_begin_have_the_wrong_salt() {
    let found_behind_a_cut = |salt, cut| {
        let mut bytes = Vec::new();
        let mut writer = SegmentWriter::new(&header(), &mut bytes);
        let lure = [0; 100];
        let data = [&lure, &forged(salt)[lure.len()..]].concat();
        writer.append_content(&data, &mut bytes);
        bytes.drain(100..100 + cut);
        scan(&bytes).records.len()
    };
    // In front of what the client wants to be the second block stand the heads of that block and of its fragment of ours.
    let to_the_block = FRAGMENT_HEAD_BYTES + HEAD_BYTES + FRAGMENT_HEAD_BYTES + 56;

    assert!(
        found_behind_a_cut(header().salt, to_the_block) > 1_000,
        "the very place"
    );
    for cut in 0..2 * to_the_block {
        assert_eq!(found_behind_a_cut(1, cut), 0, "{cut} bytes");
    }
}
