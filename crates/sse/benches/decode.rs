//! Decoding speed: `cargo bench -p tidewire-sse`. Each run asserts how many events and bytes came out.
//!
//! The target is 1 GiB/s for events of 40 KiB.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tidewire_sse::{Decoder, Event, Item, Limits};

/// What one read of a socket brings.
const PIECE_BYTES: usize = 64 << 10;

struct Case {
    name: &'static str,
    data: String,
    events: usize,
}

fn cases() -> [Case; 4] {
    let json = |bytes: usize| {
        let mut text = String::from("[");
        while text.len() < bytes {
            text.push_str(r#"{"symbol":"TIDE","price":101.25,"size":300},"#);
        }
        text.truncate(bytes);
        text
    };
    [
        Case { name: "40 KiB, one line of JSON", data: json(40 << 10), events: 256 },
        Case { name: "40 KiB, lines of 80 bytes", data: format!("{}\n", "x".repeat(79)).repeat(512), events: 256 },
        Case { name: "40 KiB, Cyrillic", data: "прилив ".repeat((40 << 10) / 13), events: 256 },
        Case { name: "64 bytes", data: json(64), events: 40_000 },
    ]
}

fn decode(wire: &[u8]) -> (usize, usize) {
    let mut decoder = Decoder::new(Limits::default());
    let (mut events, mut bytes) = (0, 0);
    for piece in wire.chunks(PIECE_BYTES) {
        decoder.feed(piece);
        while let Some(item) = decoder.next() {
            if let Ok(Item::Event(message)) = black_box(item) {
                events += 1;
                bytes += message.data.len();
            }
        }
    }
    (events, bytes)
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    for case in cases() {
        let mut wire = Vec::new();
        for number in 0..case.events {
            let event = Event::new(case.data.as_str()).with_id(format!("#1700000000000-{number}"));
            event.expect("digits can be sent").encode(&mut wire);
        }
        group.throughput(Throughput::Bytes(wire.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(case.name), |bencher| {
            bencher.iter(|| assert_eq!(decode(&wire), (case.events, case.events * case.data.len())));
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
