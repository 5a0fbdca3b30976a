//! What does the journal cost: per record that is written, and per publisher that is replayed, checksums included?
//!
//! 100,000 publishers of 1,000 services; boxes are 200 bytes long, as addresses with their parameters are.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rollcall_core::data::journal::record::{Entry, Record, Told};
use rollcall_core::data::journal::replay::{Replay, Replayed};
use rollcall_core::data::journal::segment::{
    BLOCK_BYTES, Expected, Header, Scanned, Scanner, SegmentWriter,
};
use rollcall_core::names::{DataInfoId, Interner, RegisterId};
use rollcall_core::publisher::{Holder, Order, Publisher};
use rollcall_core::tables::Seed;
use rollcall_core::version::DatumVersion;

/// Who keep renewing what they publish, a service each, so many registrations in a run.
const CLIENTS: usize = 2;
const RUN: usize = 32;
/// What one write takes.
const GATHERED_BYTES: usize = 256 << 10;

const SEED: Seed = Seed(7);
const SERVICES: usize = 1_000;
const PUBLISHERS: usize = 100_000;
/// What io reads at once.
const PIECE_BYTES: usize = 32 * BLOCK_BYTES;

fn service(number: usize) -> DataInfoId {
    DataInfoId::new(
        &format!("com.example.Service{number}:1.0@DEFAULT"),
        "",
        "SOFA",
    )
}

fn publisher(number: usize, names: &mut Interner) -> Publisher {
    let client = number / RUN;
    let address = [10, 0, (client >> 8) as u8, client as u8];
    let mut text = format!("{address:?}:{number}?appName=bench");
    text.extend(std::iter::repeat_n('x', 200 - text.len()));
    Publisher {
        register_id: RegisterId::new(&format!("6ed653d2-e57c-4947-a14d-{number:012x}")),
        holder: Holder::NOBODY,
        order: Order {
            version: 1,
            stamp: 0,
            timestamp: 1_795_322_736_982,
        },
        zone: names.intern("DEFAULT_ZONE"),
        app: names.intern("bench"),
        address: (address, 12_200).into(),
        registered_ms: 1_795_322_736_990,
        boxes: [text.as_str()].into_iter().collect(),
    }
}

fn version(number: usize) -> DatumVersion {
    DatumVersion::new((1 << 53) + number as u64 * 8)
}

fn put<'a>(data_info_id: &'a DataInfoId, publisher: &'a Publisher, number: usize) -> Entry<'a> {
    Entry::put(data_info_id, publisher, version(number))
}

fn writer(out: &mut Vec<u8>) -> SegmentWriter {
    let header = Header {
        cluster: 1,
        shard: 0,
        segment: 1,
        salt: 0x5a17,
        boot_id: [0; 16],
    };
    SegmentWriter::new(&header, out)
}

/// A segment with all publishers; each of the services in a run of its own, or each with one after the other.
fn segment(services: &[DataInfoId], is_snapshot: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = writer(&mut bytes);
    let mut names = Interner::new(SEED);
    for number in 0..PUBLISHERS {
        let service = if is_snapshot {
            number / (PUBLISHERS / SERVICES)
        } else {
            number % SERVICES
        };
        let publisher = publisher(number, &mut names);
        writer.append(&put(&services[service], &publisher, number), &mut bytes);
    }
    writer.close(&mut bytes);
    bytes
}

fn scan(segment: &[u8], mut take: impl FnMut(&Record<'_>)) {
    let expected = Expected {
        segment: 1,
        ..Expected::default()
    };
    let mut scanner = Scanner::new(expected);
    for piece in segment.chunks(PIECE_BYTES) {
        let read = scanner.scan(piece, |found| match found {
            Scanned::Record { record, .. } => take(&record),
            damage @ Scanned::Damage { .. } => panic!("{damage:?}"),
        });
        read.expect("a sound header");
    }
}

fn replay(segment: &[u8]) -> Replayed {
    let mut names = Interner::new(SEED);
    let mut replay = Replay::new(SEED);
    scan(segment, |record| replay.take(record, &mut names, |_| true));
    replay.finish()
}

fn append(c: &mut Criterion) {
    let services: Vec<_> = (0..CLIENTS).map(service).collect();
    let mut names = Interner::new(SEED);
    let publishers: Vec<_> = (0..CLIENTS * RUN)
        .map(|number| publisher(number, &mut names))
        .collect();
    let entry = put(&services[0], &publishers[0], 1);
    let mut out = Vec::with_capacity(1 << 20);
    let mut writer = writer(&mut out);
    let mut group = c.benchmark_group("journal_write");
    group.throughput(Throughput::Elements(1));
    let mut number = 0;
    group.bench_function("append", |b| {
        b.iter(|| {
            if out.len() > GATHERED_BYTES {
                writer.close(&mut out);
                out.clear();
            }
            number += 1;
            let client = number / RUN % CLIENTS;
            let publisher = &publishers[number % publishers.len()];
            writer.append(&put(&services[client], publisher, number), &mut out);
        });
    });
    group.bench_function("encode", |b| {
        b.iter(|| {
            out.clear();
            black_box(entry).encode(&mut Told::default(), &mut out);
        });
    });
    group.finish();
}

fn read(c: &mut Criterion) {
    let services: Vec<_> = (0..SERVICES).map(service).collect();
    let mut group = c.benchmark_group("journal_read_100000_publishers");
    group.throughput(Throughput::Elements(PUBLISHERS as u64));
    group.sample_size(20);
    for (order, is_snapshot) in [("snapshot", true), ("mixed", false)] {
        let segment = segment(&services, is_snapshot);
        group.bench_function(format!("scan_{order}"), |b| {
            b.iter(|| {
                let mut records = 0;
                scan(&segment, |record| {
                    records += usize::from(black_box(record).version().is_some())
                });
                assert_eq!(records, PUBLISHERS);
            });
        });
        group.bench_function(format!("replay_{order}"), |b| {
            // What was replayed stays: a start gives nothing back.
            b.iter_with_large_drop(|| {
                let replayed = replay(&segment);
                assert_eq!(replayed.services.len(), SERVICES);
                replayed
            });
        });
    }
    group.finish();
}

criterion_group!(benches, append, read);
criterion_main!(benches);
