//! What does the wire cost: per request that comes in, per answer and push that goes out, per push body that is encoded?
//!
//! Bodies are those of the Java client; boxes are 200 bytes long, as addresses with their parameters are.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rollcall_core::bolt::{Head, Kind, Protocol, Shared, Status, decode};
use rollcall_core::message::received_data::{self, Prefix, encode_body, write_prefix};
use rollcall_core::message::{
    BaseRegister, Boxes, ConfiguratorRegister, EventType, PublisherRegister, PushResult,
    ReceivedData, RegisterResponse, Request, SubscriberRegister, SyncConfigRequest,
    SyncConfigResponse, acknowledgement, configurator_register, publisher_register,
    received_config_data, register_response, result, subscriber_register, sync_config_request,
};
use rollcall_core::names::{DataInfoId, RegisterId, Scope};

const DATA_ID: &str = "com.alipay.trade.facade.OrderQueryService:1.0@DEFAULT";
const REGISTER_ID: &str = "6ed653d2-e57c-4947-a14d-f8d1319bf4d4";

fn box_text(publisher: usize) -> String {
    let mut text = format!(
        "10.{}.{}.1:12200?appName=trade",
        publisher / 256,
        publisher % 256
    );
    text.extend(std::iter::repeat_n('x', 200 - text.len()));
    text
}

fn boxes(publisher: usize) -> Boxes {
    [box_text(publisher).as_str()].into_iter().collect()
}

fn base() -> BaseRegister<'static> {
    BaseRegister {
        zone: Some("DEFAULT_ZONE".into()),
        app_name: Some("trade".into()),
        data_id: Some(DATA_ID.into()),
        group: Some("SOFA".into()),
        regist_id: Some(REGISTER_ID.into()),
        event_type: EventType::Register,
        version: Some(1),
        timestamp: Some(1_795_322_734_228),
        ..BaseRegister::default()
    }
}

fn publisher() -> PublisherRegister<'static> {
    PublisherRegister {
        base: base(),
        boxes: boxes(1),
    }
}

fn subscriber() -> SubscriberRegister<'static> {
    SubscriberRegister {
        base: base(),
        scope: Scope::DataCenter,
        accept_encoding: None,
        accept_multi: false,
    }
}

fn response() -> RegisterResponse<'static> {
    RegisterResponse {
        success: true,
        regist_id: Some(REGISTER_ID.into()),
        version: 1,
        refused: false,
        message: Some("Publisher register success!".into()),
    }
}

fn framed(protocol: Protocol, kind: Kind, class: &str, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Head {
        protocol,
        kind,
        codec: 1,
        request_id: 7,
        class,
    }
    .write(&mut out, |out| out.extend_from_slice(content));
    out
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

fn frames(c: &mut Criterion) {
    let content = written(|out| publisher().encode(out));
    let kind = Kind::Request { timeout_ms: 1_000 };
    let mut group = c.benchmark_group("frame_decode");
    for (name, protocol) in [("v1", Protocol::V1), ("v2_crc", Protocol::V2 { crc: true })] {
        let bytes = framed(protocol, kind, publisher_register::CLASS, &content);
        group.bench_function(name, |b| b.iter(|| decode(black_box(&bytes))));
    }
    let result = written(|out| {
        PushResult {
            success: true,
            message: None,
        }
        .encode(out)
    });
    let response = framed(
        Protocol::V1,
        Kind::Response {
            status: Status::Success,
        },
        result::CLASS,
        &result,
    );
    group.bench_function("acknowledgement", |b| {
        b.iter(|| match decode(black_box(&response)) {
            Ok(rollcall_core::bolt::Decoded::Frame { frame, .. }) => Some(acknowledgement(&frame)),
            _ => None,
        });
    });
    group.finish();
}

fn requests(c: &mut Criterion) {
    let sync = SyncConfigRequest {
        data_center: Some("DefaultDataCenter".into()),
        zone: Some("DEFAULT_ZONE".into()),
    };
    let configurator = ConfiguratorRegister { base: base() };
    let requests = [
        (
            "publisher",
            publisher_register::CLASS,
            written(|out| publisher().encode(out)),
        ),
        (
            "subscriber",
            subscriber_register::CLASS,
            written(|out| subscriber().encode(out)),
        ),
        (
            "configurator",
            configurator_register::CLASS,
            written(|out| configurator.encode(out)),
        ),
        (
            "sync_config",
            sync_config_request::CLASS,
            written(|out| sync.encode(out)),
        ),
    ];
    let mut group = c.benchmark_group("request_decode");
    for (name, class, content) in &requests {
        group.bench_function(*name, |b| {
            b.iter(|| Request::decode(class.as_bytes(), black_box(content)))
        });
    }
    group.finish();
    let mut group = c.benchmark_group("request_encode");
    let mut out = Vec::with_capacity(4 << 10);
    group.bench_function("publisher", |b| {
        let publisher = publisher();
        b.iter(|| {
            out.clear();
            publisher.encode(&mut out);
        });
    });
    group.bench_function("subscriber", |b| {
        let subscriber = subscriber();
        b.iter(|| {
            out.clear();
            subscriber.encode(&mut out);
        });
    });
    group.finish();
}

fn answers(c: &mut Criterion) {
    let mut out = Vec::with_capacity(4 << 10);
    let mut group = c.benchmark_group("answer_encode");
    group.bench_function("register_response_in_its_frame", |b| {
        let response = response();
        let kind = Kind::Response {
            status: Status::Success,
        };
        let class = register_response::CLASS;
        let head = Head {
            protocol: Protocol::V1,
            kind,
            codec: 1,
            request_id: 7,
            class,
        };
        b.iter(|| {
            out.clear();
            head.write(&mut out, |out| black_box(&response).encode(out));
        });
    });
    group.bench_function("sync_config_response", |b| {
        b.iter(|| {
            out.clear();
            rollcall_core::message::sync_config_response::write_success(
                &mut out,
                black_box("DefaultDataCenter"),
            );
        });
    });
    group.finish();
    let mut group = c.benchmark_group("answer_decode");
    let response = written(|out| response().encode(out));
    group.bench_function("register_response", |b| {
        b.iter(|| RegisterResponse::decode(black_box(&response)).is_ok())
    });
    let sync = written(|out| {
        rollcall_core::message::sync_config_response::write_success(out, "DefaultDataCenter")
    });
    group.bench_function("sync_config_response", |b| {
        b.iter(|| SyncConfigResponse::decode(black_box(&sync)).is_ok())
    });
    group.finish();
}

fn pushes(c: &mut Criterion) {
    let id = DataInfoId::new(DATA_ID, "", "SOFA");
    let prefix = Prefix {
        data_info_id: &id,
        segment: "DefaultDataCenter",
        scope: Scope::DataCenter,
        version: 8_160_894_713_397_248,
        local_zone: "DEFAULT_ZONE",
    };
    let register_id = RegisterId::new(REGISTER_ID);
    let mut group = c.benchmark_group("push_own_part");
    for (name, protocol) in [("v1", Protocol::V1), ("v2_crc", Protocol::V2 { crc: true })] {
        let shared = Shared::of(&[0; 200_000]);
        let mut out = Vec::with_capacity(4 << 10);
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                let begun = Head::request(protocol, 7, 4_000, received_data::CLASS).begin(&mut out);
                write_prefix(&mut out, black_box(&prefix), std::iter::once(&register_id));
                begun.finish_with_shared(&mut out, shared)
            });
        });
    }
    group.bench_function("config", |b| {
        let mut out = Vec::with_capacity(4 << 10);
        b.iter(|| {
            out.clear();
            received_config_data::write_prefix(&mut out, &id, 7, std::iter::once(&register_id));
            out.extend(received_config_data::encode_body(black_box(Some("on"))));
        });
    });
    group.finish();
}

fn push_bodies(c: &mut Criterion) {
    let mut group = c.benchmark_group("push_body");
    group.sample_size(20);
    for publishers in [10, 1_000, 10_000] {
        let all: Vec<_> = (0..publishers).map(boxes).collect();
        let zones = || std::iter::once(("DEFAULT_ZONE", all.iter()));
        let body = encode_body(zones());
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_with_input(BenchmarkId::new("encode", publishers), &all, |b, _| {
            b.iter_batched(|| (), |()| encode_body(zones()), BatchSize::PerIteration);
        });
        group.bench_with_input(
            BenchmarkId::new("checksum", publishers),
            &body,
            |b, body| b.iter(|| Shared::of(body)),
        );
        let id = DataInfoId::new(DATA_ID, "", "SOFA");
        let (segment, scope, local_zone) = ("DefaultDataCenter", Scope::DataCenter, "DEFAULT_ZONE");
        let prefix = Prefix {
            data_info_id: &id,
            segment,
            scope,
            version: 7,
            local_zone,
        };
        let mut push = written(|out| write_prefix(out, &prefix, [].iter()));
        push.extend(&body);
        group.bench_with_input(BenchmarkId::new("decode", publishers), &push, |b, push| {
            b.iter(|| ReceivedData::decode(black_box(push)).is_ok());
        });
    }
    group.finish();
}

criterion_group!(benches, frames, requests, answers, pushes, push_bodies);
criterion_main!(benches);
