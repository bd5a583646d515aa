//! What an idle stream over HTTP/2 weighs, by how many share a connection.

use tidewire_harness::{Cost, Http2, Http2Stream, Hub, runtime};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
const STREAMS: usize = 2_000;

/// Bytes of the hub's resident memory a stream, with so many on a connection.
fn weight(on_a_connection: usize) -> u64 {
    let hub = Hub::start(BINARY);
    let runtime = runtime();
    let mut open: Vec<(Http2, Vec<Http2Stream>)> = Vec::new();
    let mut connect = |streams: usize| {
        let mut http = Http2::connect_on(&runtime, hub.address(), 65_535);
        let streams = (0..streams).map(|_| {
            let mut stream = http.stream("/api/v1/events?topic=a", &[]).expect("it begins");
            stream.event().expect("it begins").expect("it begins");
            stream
        });
        let streams = streams.collect();
        open.push((http, streams));
    };
    // Before these are open, buffers are made that all share.
    (0..100).for_each(|_| connect(1));
    let before = Cost::of(hub.process()).resident;
    (0..STREAMS / on_a_connection).for_each(|_| connect(on_a_connection));
    assert_eq!(hub.figure("tidewire_streams"), (100 + STREAMS) as u64);
    let weight = Cost::of(hub.process()).resident.saturating_sub(before) / STREAMS as u64;
    println!("{on_a_connection} on a connection: {weight} bytes a stream");
    weight
}

#[test]
fn an_idle_stream_weighs_what_it_may_alone_on_a_connection_or_among_others() {
    for (on_a_connection, bytes_max) in [(100, 4 * 1024), (1, 28 * 1024)] {
        let weight = weight(on_a_connection);
        assert!(weight <= bytes_max, "{on_a_connection} on a connection: {weight} bytes a stream");
    }
}
