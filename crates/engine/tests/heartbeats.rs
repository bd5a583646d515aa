//! Heartbeats come slice by slice, and to everybody in time. Alone in its file, since it measures time.

#[expect(dead_code, reason = "what else the shards do is tested elsewhere")]
mod support;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use support::{Hub, read_until};
use tidewire_engine::EngineConfig;

/// The silence that is announced, and within which some eight slices are looked at twice.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// So many streams that each slice has some.
const STREAMS: usize = 40;
const HEARTBEATS: usize = 3;
/// One run in which this machine did nothing else is enough.
const RUNS: usize = 5;

/// The longest silence on a stream, over some heartbeats. Whoever has none fails at the deadline.
#[expect(clippy::disallowed_methods, reason = "a stream's silence is measured")]
fn longest_silence(mut socket: TcpStream) -> Duration {
    read_until(&mut socket, "data: \n\n\r\n");
    let mut last = Instant::now();
    let silences = (0..HEARTBEATS).map(|_| {
        assert_eq!(read_until(&mut socket, ":\n\r\n"), "2\r\n:\n\r\n");
        std::mem::replace(&mut last, Instant::now()).elapsed()
    });
    silences.max().expect("there are some")
}

#[test]
fn no_stream_is_silent_for_longer_than_announced_whichever_slice_it_is_in() {
    let mut measured = Vec::new();
    for _ in 0..RUNS {
        let hub = Hub::start(EngineConfig { heartbeat: HEARTBEAT, ..EngineConfig::default() });
        let reading: Vec<_> = (0..STREAMS)
            .map(|_| {
                let socket = hub.ask("/streams/a");
                std::thread::spawn(move || longest_silence(socket))
            })
            .collect();
        let silences = reading.into_iter().map(|thread| thread.join().expect("every stream has its heartbeats"));
        let longest = silences.max().expect("there are some");
        if longest <= HEARTBEAT {
            return;
        }
        measured.push(longest);
    }
    panic!("the longest silences were {measured:?}");
}
