//! Streams without a socket, beside those that have one.

#[expect(dead_code, reason = "sockets are tested elsewhere")]
mod support;

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use support::{DEADLINE, Hub, Room, read_until, until};
use tidewire_core::{Start, StreamStart};
use tidewire_engine::{Admission, ClientAddress, EngineConfig, PipeReader, Piped, Refusal};
use tidewire_log::{Filter, HubId, Types};
use tidewire_topic::{Matcher, MatcherSet};

struct Parked(Thread);

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Asks for everything on the topic, from the first event on.
fn open(hub: &Hub, topic: &str) -> PipeReader {
    let topics = MatcherSet::new([Matcher::parse(topic).expect("a topic")]).expect("one matcher");
    let filter = Filter { topics, types: Types::All, grants: None };
    // Before the first that this clock gives.
    let start = Start { place: HubId { ms: 1_000, seq: 0 }, gap: None };
    let stream = StreamStart { head: Vec::new(), retry_ms: 7, filter, start, subject: None, client: None };
    hub.engine.handle().open(Box::new(|| Admission::Stream(stream)), ClientAddress::Unix)
}

/// How a stream stands, once there is something to do about it.
fn stands(reader: &PipeReader) -> Piped {
    let waker = Waker::from(Arc::new(Parked(std::thread::current())));
    let mut left = DEADLINE;
    loop {
        if let Poll::Ready(piped) = reader.poll(&mut Context::from_waker(&waker)) {
            return piped;
        }
        std::thread::park_timeout(Duration::from_secs(1));
        left = left.checked_sub(Duration::from_secs(1)).expect("something happens in time");
    }
}

/// Reads, so many bytes at a time, until what was read ends so, or the stream does.
fn read(reader: &PipeReader, at_a_time: usize, ends: &str) -> String {
    let mut text = Vec::new();
    while let Piped::Bytes(_) = stands(reader) {
        text.extend_from_slice(&reader.take(at_a_time));
        if text.ends_with(ends.as_bytes()) {
            break;
        }
    }
    String::from_utf8(text).expect("text")
}

#[test]
fn a_pipe_holds_what_a_socket_is_sent_without_its_framing_however_little_is_taken_at_a_time() {
    let hub = Hub::start(EngineConfig::default());
    let readers = [1, 1_000, usize::MAX].map(|at_a_time| (open(&hub, "a"), at_a_time));
    let mut socket = hub.ask("/streams/a");
    read_until(&mut socket, "data: \n\n\r\n");
    let long = "x".repeat(200_000);
    for data in ["first", &long, "last"] {
        hub.publish("a", data);
    }
    let framed = read_until(&mut socket, "data: last\n\n\r\n");
    for (reader, at_a_time) in &readers {
        let text = read(reader, *at_a_time, "data: last\n\n");
        let events = &text[text.find("data: \n\n").expect("a checkpoint") + 8..];
        let blocks: Vec<&str> = events.split_inclusive("\n\n").collect();
        assert_eq!(blocks.len(), 3);
        let chunks: String = blocks.iter().map(|block| format!("{:x}\r\n{block}\r\n", block.len())).collect();
        let without_zeros =
            |text: &str| text.split("\r\n").map(|line| line.trim_start_matches('0').to_owned()).collect::<Vec<_>>();
        assert_eq!(without_zeros(&chunks), without_zeros(&framed), "{at_a_time} at a time");
    }
}

#[test]
fn what_is_older_than_the_tail_is_read_from_the_log_as_it_is_taken() {
    let hub = Hub::start_with(EngineConfig::default(), &Room { log: 64 << 20, tail: 64 << 10 });
    for n in 0..300 {
        hub.publish("a", &format!("{n} {}", "x".repeat(1_000)));
    }
    let reader = open(&hub, "a");
    hub.publish("a", "last");
    let text = read(&reader, 5_000, "data: last\n\n");
    let numbers = text.lines().filter_map(|line| line.strip_prefix("data: ")?.split_once(' ')?.0.parse::<usize>().ok());
    assert!(numbers.eq(0..300));
    assert!(hub.engine.handle().stats().catch_up_reads > 1);
}

#[test]
fn a_reader_that_takes_nothing_is_closed_and_one_that_leaves_is_gone() {
    let stall_timeout = Duration::from_millis(600);
    let hub = Hub::start(EngineConfig { stall_timeout, heartbeat: stall_timeout, ..EngineConfig::default() });
    let streams = || hub.engine.handle().stats().streams;
    let (stuck, leaves) = (open(&hub, "a"), open(&hub, "b"));
    until("both have begun", || streams() == 2);
    drop(leaves);
    until("one has left", || streams() == 1);
    hub.publish("a", &"x".repeat(100_000));
    until("the other is closed", || streams() == 0);
    assert_eq!((stands(&stuck), hub.engine.handle().stats().stalls), (Piped::Torn, 1));
}

#[test]
fn one_more_than_there_may_be_is_refused_whatever_carries_it() {
    let hub = Hub::start(EngineConfig { max_streams: 2, ..EngineConfig::default() });
    let first = open(&hub, "a");
    let mut socket = hub.ask("/streams/a");
    read_until(&mut socket, "data: \n\n\r\n");
    let second = open(&hub, "a");
    assert_eq!(stands(&second), Piped::Refused(Refusal::TooManyStreams));
    drop(first);
    until("one has left", || hub.engine.handle().stats().streams == 1);
    assert!(matches!(stands(&open(&hub, "a")), Piped::Bytes(_)));
}

/// Whoever leaves before the shard has looked has no stream that nobody would end.
#[test]
fn a_reader_that_leaves_before_its_stream_begins_leaves_nothing() {
    let hub = Hub::start(EngineConfig::default());
    for _ in 0..200 {
        drop(open(&hub, "a"));
    }
    let last = open(&hub, "a");
    assert!(matches!(stands(&last), Piped::Bytes(_)));
    until("the others are gone", || hub.engine.handle().stats().streams == 1);
}

#[test]
fn a_stream_ends_with_what_is_owed_and_a_farewell_and_none_begins_afterwards() {
    let hub = Hub::start(EngineConfig::default());
    let reader = open(&hub, "a");
    read(&reader, usize::MAX, "data: \n\n");
    hub.publish("a", "last words");
    let handle = hub.engine.handle();
    hub.engine.stop();
    let text = read(&reader, usize::MAX, "nothing");
    assert!(text.contains("data: last words\n\n: the hub is stopping\nretry: 9\n\n"), "{text:?}");
    assert_eq!(stands(&reader), Piped::Ended);
    let late = handle.open(Box::new(|| unreachable!("no shard is there")), ClientAddress::Unix);
    assert_eq!(stands(&late), Piped::Torn);
}
