use std::collections::VecDeque;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::body::Body;
use super::events::{EventReader, Found};
use super::payload::Payload;
use super::plan::Plan;
use super::socket::{Received, Sources, receive, write_rest};
use super::tally::{Counts, Tally};
use super::target::{Request, Target};
use super::template::Values;
use crate::BenchError;
use crate::http::Head;
use crate::stats::Latency;

/// What is read at once, of whichever connection: one buffer for all.
const BUFFER_BYTES: usize = 64 * 1_024;

/// Reads of one stream in a turn, 1 MiB with full buffers: one that never runs dry keeps neither the others from their turn
/// nor the run from its end.
const READS_A_TURN_MAX: usize = 16;

/// Everything that receives.
#[derive(Debug)]
pub(crate) struct Subscribers {
    streams: Vec<Stream>,
    request: Request,
    tokens: Vec<String>,
    sources: Sources,
    topics: u32,
    /// Those before this one read all the time.
    readers: usize,
    /// Whether the others do not, for now.
    paused: bool,
    buffer: Vec<u8>,
    payload: Payload,
    /// Streams that had more to read than a turn takes: nothing tells of them again.
    unread: VecDeque<usize>,
    began: Instant,
    pub(crate) received: Receipts,
}

/// What was received.
#[derive(Debug)]
pub(crate) struct Receipts {
    tally: Tally,
    /// Of deliveries due at or after this; by those who read all the time.
    pub(crate) measured_from: Duration,
    pub(crate) latency: Latency,
    /// Deliveries to those who read all the time.
    pub(crate) to_readers: u64,
    pub(crate) last_to_readers_at: Duration,
    pub(crate) bytes: u64,
    /// Streams whose head was there.
    pub(crate) open: usize,
    /// Streams that the server ended.
    pub(crate) ended: u64,
    /// Why, the first time.
    pub(crate) first_end: Option<String>,
}

#[derive(Debug)]
struct Stream {
    socket: Option<TcpStream>,
    state: State,
    /// The server was seen to end it: it is read to the end.
    closing: bool,
    /// It is in the queue of those with more to read.
    queued: bool,
}

#[derive(Debug)]
enum State {
    /// The request, how much of it is written, and what there is of the head of the answer.
    Asking {
        request: Vec<u8>,
        written: usize,
        head: Vec<u8>,
    },
    Open {
        body: Body,
        events: EventReader,
    },
}

impl Subscribers {
    pub(crate) fn new(target: &Target, plan: &Plan, run: u32, began: Instant) -> Subscribers {
        let connections = plan.connections as usize;
        Subscribers {
            streams: Vec::with_capacity(connections),
            request: target.subscribe.clone(),
            tokens: target.tokens.clone(),
            sources: Sources::new(target.subscribe.address, plan.connections, plan.source_addresses),
            topics: plan.topics,
            readers: plan.readers() as usize,
            paused: true,
            buffer: vec![0; BUFFER_BYTES],
            payload: Payload::new(plan.payload),
            unread: VecDeque::new(),
            began,
            received: Receipts {
                tally: Tally::new(run, connections, plan.topics, plan.lanes()),
                measured_from: Duration::MAX,
                latency: Latency::new(),
                to_readers: 0,
                last_to_readers_at: Duration::ZERO,
                bytes: 0,
                open: 0,
                ended: 0,
                first_end: None,
            },
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.streams.len()
    }

    /// Begins with one more.
    pub(crate) fn connect(&mut self, registry: &Registry) -> Result<(), BenchError> {
        let number = self.streams.len();
        let refused = |what: &str| BenchError::io(format!("{what} {}", self.request.address));
        let mut socket = self.sources.connect(number as u32, self.request.address).map_err(refused("connect to"))?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut socket, Token(number), interest).map_err(refused("wait for"))?;
        let mut request = Vec::new();
        let topic = number as u32 % self.topics;
        let token = self.tokens.get(number % self.tokens.len().max(1)).map_or("", String::as_str);
        self.request.write(&Values { topic, connection: number, token, ..Values::default() }, &mut request);
        let state = State::Asking { request, written: 0, head: Vec::new() };
        self.streams.push(Stream { socket: Some(socket), state, closing: false, queued: false });
        Ok(())
    }

    /// Whether some have more to read than their last turn took.
    pub(crate) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Goes on with so many of those that have more to read.
    pub(crate) fn turn_unread(&mut self, most: usize, registry: &Registry) -> Result<(), BenchError> {
        for _ in 0..most.min(self.unread.len()) {
            let Some(number) = self.unread.pop_front() else { break };
            if std::mem::take(&mut self.streams[number].queued) {
                self.turn(number, registry, false)?;
            }
        }
        Ok(())
    }

    /// Goes on with one that is ready: reads what is there, up to a limit, beyond which its turn comes again.
    pub(crate) fn turn(&mut self, number: usize, registry: &Registry, read_closed: bool) -> Result<(), BenchError> {
        let stream = &mut self.streams[number];
        let Some(socket) = &mut stream.socket else { return Ok(()) };
        stream.closing |= read_closed;
        if let State::Asking { request, written, .. } = &mut stream.state {
            write_rest(socket, request, written).map_err(BenchError::io(format!("ask for stream {number}")))?;
        }
        for _ in 0..READS_A_TURN_MAX {
            if self.paused && number >= self.readers && matches!(stream.state, State::Open { .. }) {
                // What it has read so far is the head and what came with it.
                stream.queued = false;
                return registry.deregister(socket).map_err(BenchError::io("leave a stream alone"));
            }
            match receive(socket, &mut self.buffer) {
                Ok(Received::Bytes(length)) => {
                    let at = self.began.elapsed();
                    let bytes = &self.buffer[..length];
                    let reads_always = number < self.readers;
                    let state = &mut stream.state;
                    if let Err(why) = self.received.take(number, state, bytes, &self.payload, at, reads_always)? {
                        self.received.end(stream, why);
                        return Ok(());
                    }
                    // Less than there was room for is all there is, but for the end of the connection.
                    if length < self.buffer.len() && !stream.closing {
                        return Ok(());
                    }
                }
                Ok(Received::Nothing) => return Ok(()),
                Ok(Received::End) => {
                    return self.received.ended_early(number, stream, "the server closed it".to_owned());
                }
                Err(error) => return self.received.ended_early(number, stream, error.to_string()),
            }
        }
        if !std::mem::replace(&mut stream.queued, true) {
            self.unread.push_back(number);
        }
        Ok(())
    }

    /// Lets those read that did not.
    pub(crate) fn resume_slow(&mut self, registry: &Registry) -> Result<(), BenchError> {
        self.paused = false;
        for (number, stream) in self.streams.iter_mut().enumerate().skip(self.readers) {
            if let Some(socket) = &mut stream.socket {
                // It is still registered if nothing came since its head.
                let _ = registry.deregister(socket);
                registry
                    .register(socket, Token(number), Interest::READABLE)
                    .map_err(BenchError::io("go on with a stream"))?;
            }
        }
        Ok(())
    }
}

impl Receipts {
    pub(crate) fn counts(&self) -> Counts {
        self.tally.counts()
    }

    /// Takes what was received. The inner error says why the stream is no more.
    fn take(
        &mut self,
        number: usize,
        state: &mut State,
        bytes: &[u8],
        payload: &Payload,
        at: Duration,
        reads_always: bool,
    ) -> Result<Result<(), String>, BenchError> {
        self.bytes += bytes.len() as u64;
        let rest;
        let mut bytes = bytes;
        if let State::Asking { head, .. } = state {
            head.extend_from_slice(bytes);
            let answered = |what: String| BenchError::Program {
                program: "the server",
                what: format!("answered subscription {number} with {what}"),
            };
            let Some(parsed) = Head::parse(head).map_err(answered)? else { return Ok(Ok(())) };
            if parsed.status != 200 {
                return Err(answered(parsed.status.to_string()));
            }
            rest = head.split_off(parsed.bytes);
            bytes = &rest;
            *state = State::Open { body: Body::new(parsed.body), events: EventReader::new() };
            self.open += 1;
        }
        let State::Open { body, events } = state else { return Ok(Ok(())) };
        while !bytes.is_empty() {
            if body.has_ended() {
                return Ok(Err("it ended".to_owned()));
            }
            let Ok((content, used)) = body.next(bytes) else { return Ok(Err("what came is not chunked".to_owned())) };
            events.read(&bytes[content], payload, |found| self.deliver(number, found, at, reads_always));
            bytes = &bytes[used..];
        }
        Ok(if body.has_ended() { Err("it ended".to_owned()) } else { Ok(()) })
    }

    fn deliver(&mut self, number: usize, found: Option<Found>, at: Duration, reads_always: bool) {
        if !self.tally.deliver(number, found) {
            return;
        }
        let Some(Found { stamp, .. }) = found.filter(|_| reads_always) else { return };
        self.last_to_readers_at = at;
        self.to_readers += 1;
        if stamp.due >= self.measured_from {
            self.latency.record(at.saturating_sub(stamp.due));
        }
    }

    fn ended_early(&mut self, number: usize, stream: &mut Stream, why: String) -> Result<(), BenchError> {
        if matches!(stream.state, State::Asking { .. }) {
            let what = format!("did not answer subscription {number}: {why}");
            return Err(BenchError::Program { program: "the server", what });
        }
        self.end(stream, why);
        Ok(())
    }

    fn end(&mut self, stream: &mut Stream, why: String) {
        stream.socket = None;
        self.ended += 1;
        self.first_end.get_or_insert(why);
    }
}
