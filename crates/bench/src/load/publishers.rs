use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::body::Body;
use super::payload::Payload;
use super::plan::Plan;
use super::schedule::Schedule;
use super::socket::{Received, Sources, receive, write_rest};
use super::stamp::Stamp;
use super::target::Request;
use super::template::Values;
use crate::BenchError;
use crate::http::Head;
use crate::stats::Latency;

/// What is read at once of an answer.
const BUFFER_BYTES: usize = 16 * 1_024;

/// The longest answer to a publisher.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Everything that publishes: each publisher with as many connections as it takes, up to a limit, so that answers that come
/// late do not lessen what is offered.
#[derive(Debug)]
pub(crate) struct Publishers {
    lanes: Vec<Lane>,
    /// For each publisher the event that it sends next, of the schedule under way.
    next: Vec<u64>,
    lanes_each: usize,
    request: Request,
    sources: Sources,
    run: u32,
    payload: Payload,
    /// That of the event that is sent.
    data: Vec<u8>,
    /// Events sent before the schedule under way.
    before: u64,
    /// For each topic and lane, how many were sent.
    numbers: Vec<u32>,
    began: Instant,
    /// Up to which event it was looked for those that must wait.
    looked_at: u64,
    /// The token of the first lane.
    first_token: usize,
    pub(crate) offered: Offers,
}

/// What became of what was to be sent.
#[derive(Debug)]
pub(crate) struct Offers {
    pub(crate) sent: u64,
    /// Events that wait for their answers.
    pub(crate) in_flight: usize,
    /// For each topic, how many were answered with success.
    pub(crate) published: Vec<u64>,
    pub(crate) failed: u64,
    /// Why, the first time.
    pub(crate) first_failure: Option<String>,
    /// Events that were due while all connections of their publisher waited for answers.
    pub(crate) held_back: u64,
    /// How late the generator itself was, at most, with an event for which a connection was free.
    pub(crate) late_max: Duration,
    /// From when an event was due to its answer.
    pub(crate) latency: Latency,
    pub(crate) measured_from: Duration,
    /// Connections that were opened.
    pub(crate) connections: u64,
}

/// One connection, with one request in flight.
#[derive(Debug)]
struct Lane {
    socket: Option<TcpStream>,
    request: Vec<u8>,
    written: usize,
    received: Vec<u8>,
    /// The event that waits for its answer: when it was due, and its topic.
    waiting: Option<(Duration, u32)>,
}

impl Publishers {
    /// Lanes have tokens from `first_token` on.
    pub(crate) fn new(request: &Request, plan: &Plan, run: u32, began: Instant, first_token: usize) -> Publishers {
        let lane = || Lane { socket: None, request: Vec::new(), written: 0, received: Vec::new(), waiting: None };
        Publishers {
            lanes: (0..plan.lanes()).map(|_| lane()).collect(),
            next: Vec::new(),
            lanes_each: plan.publisher_connections as usize,
            request: request.clone(),
            sources: Sources::new(request.address, plan.lanes() as u32, None),
            run,
            payload: Payload::new(plan.payload),
            data: Vec::with_capacity(plan.payload as usize),
            before: 0,
            numbers: vec![0; plan.topics as usize * plan.lanes()],
            began,
            looked_at: 0,
            first_token,
            offered: Offers {
                sent: 0,
                in_flight: 0,
                published: vec![0; plan.topics as usize],
                failed: 0,
                first_failure: None,
                held_back: 0,
                late_max: Duration::ZERO,
                latency: Latency::new(),
                measured_from: Duration::MAX,
                connections: 0,
            },
        }
    }

    /// Begins with a schedule, once another one is done.
    pub(crate) fn begin(&mut self, schedule: &Schedule) {
        self.before = self.offered.sent;
        self.next = (0..u64::from(schedule.publishers)).collect();
        self.looked_at = 0;
    }

    /// Sends all that is due, as far as there are connections.
    pub(crate) fn offer(&mut self, schedule: &Schedule, from: Duration, registry: &Registry) -> Result<(), BenchError> {
        let elapsed = self.began.elapsed();
        let Some(elapsed_here) = elapsed.checked_sub(from) else { return Ok(()) };
        let due = schedule.due_by(elapsed_here);
        let looked_at = std::mem::replace(&mut self.looked_at, due);
        for publisher in 0..self.next.len() {
            while self.next[publisher] < due {
                let event = self.next[publisher];
                let Some(lane) = self.idle_lane(publisher) else {
                    let unseen = event.max(next_of(publisher as u64, looked_at, self.next.len() as u64));
                    self.offered.held_back += due.saturating_sub(unseen).div_ceil(self.next.len() as u64);
                    break;
                };
                self.next[publisher] += self.next.len() as u64;
                let due_at = from + schedule.due(event);
                // One that was held back before is late by the server.
                if event >= looked_at {
                    self.offered.late_max = self.offered.late_max.max(elapsed - due_at);
                }
                self.send(lane, event, schedule.topic(event), due_at, registry)?;
            }
        }
        Ok(())
    }

    /// Whether everything is sent and answered.
    pub(crate) fn is_done(&self, schedule: &Schedule) -> bool {
        self.offered.in_flight == 0 && self.next.iter().all(|&next| next >= schedule.events)
    }

    /// Whether a token is that of a lane.
    pub(crate) fn has(&self, token: usize) -> bool {
        token >= self.first_token && token - self.first_token < self.lanes.len()
    }

    /// Goes on with a lane that is ready.
    pub(crate) fn turn(&mut self, token: usize) {
        let lane = &mut self.lanes[token - self.first_token];
        let Some(socket) = &mut lane.socket else { return };
        if let Err(error) = write_rest(socket, &lane.request, &mut lane.written) {
            return lane.fail(&mut self.offered, &error.to_string());
        }
        let mut buffer = [0; BUFFER_BYTES];
        loop {
            match receive(socket, &mut buffer) {
                Ok(Received::Bytes(length)) if lane.received.len() + length <= ANSWER_BYTES_MAX => {
                    lane.received.extend_from_slice(&buffer[..length]);
                }
                Ok(Received::Bytes(_)) => return lane.fail(&mut self.offered, "answered with more than 1 MiB"),
                Ok(Received::Nothing) => break,
                Ok(Received::End) => return lane.end(&mut self.offered, self.began),
                Err(error) => return lane.fail(&mut self.offered, &error.to_string()),
            }
        }
        match answer(&lane.received, false) {
            Ok(None) => {}
            Ok(Some(status)) => lane.answered(&mut self.offered, status, self.began.elapsed()),
            Err(what) => lane.fail(&mut self.offered, &what),
        }
    }

    /// One of a publisher's connections that waits for nothing, the first first: so no more are opened than it takes.
    fn idle_lane(&self, publisher: usize) -> Option<usize> {
        let first = publisher * self.lanes_each;
        (first..first + self.lanes_each).find(|&lane| self.lanes[lane].waiting.is_none())
    }

    fn send(
        &mut self,
        number: usize,
        event: u64,
        topic: u32,
        due: Duration,
        registry: &Registry,
    ) -> Result<(), BenchError> {
        let sent = &mut self.numbers[topic as usize * self.lanes.len() + number];
        let stamp = Stamp { run: self.run, topic, lane: number as u32, number: *sent, due };
        *sent += 1;
        self.payload.write(stamp, &mut self.data);
        let lane = &mut self.lanes[number];
        lane.request.clear();
        lane.written = 0;
        let values = Values { topic, event: self.before + event, payload: &self.data, connection: number, token: "" };
        self.request.write(&values, &mut lane.request);
        lane.waiting = Some((due, topic));
        self.offered.sent += 1;
        self.offered.in_flight += 1;
        if lane.socket.is_none() {
            let refused = |what: &str| BenchError::io(format!("{what} {}", self.request.address));
            let mut socket =
                self.sources.connect(number as u32, self.request.address).map_err(refused("connect to"))?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            let token = Token(self.first_token + number);
            registry.register(&mut socket, token, interest).map_err(refused("wait for"))?;
            lane.socket = Some(socket);
            self.offered.connections += 1;
            // It is written once it is connected.
            return Ok(());
        }
        if let Some(socket) = &mut lane.socket
            && let Err(error) = write_rest(socket, &lane.request, &mut lane.written)
        {
            lane.fail(&mut self.offered, &error.to_string());
        }
        Ok(())
    }
}

impl Lane {
    fn answered(&mut self, offered: &mut Offers, status: u16, at: Duration) {
        self.received.clear();
        let Some((due, topic)) = self.waiting.take() else {
            self.socket = None;
            return offered.fail("an answer to nothing");
        };
        offered.in_flight -= 1;
        if !(200..300).contains(&status) {
            return offered.fail(&format!("answered with {status}"));
        }
        offered.published[topic as usize] += 1;
        if due >= offered.measured_from {
            offered.latency.record(at.saturating_sub(due));
        }
    }

    /// The server closed it, which may be the end of an answer.
    fn end(&mut self, offered: &mut Offers, began: Instant) {
        match answer(&self.received, true) {
            Ok(Some(status)) => {
                self.answered(offered, status, began.elapsed());
                self.socket = None;
            }
            _ => self.fail(offered, "closed without an answer"),
        }
    }

    /// It is no more. That is a failure if it waited for an answer; else it is opened anew when there is an event for it.
    fn fail(&mut self, offered: &mut Offers, why: &str) {
        self.socket = None;
        self.received.clear();
        if self.waiting.take().is_some() {
            offered.in_flight -= 1;
            offered.fail(why);
        }
    }
}

impl Offers {
    fn fail(&mut self, why: &str) {
        self.failed += 1;
        self.first_failure.get_or_insert_with(|| why.to_owned());
    }
}

/// The first number from `from` on that is a publisher's, of so many.
fn next_of(publisher: u64, from: u64, publishers: u64) -> u64 {
    from + (publisher + publishers - from % publishers) % publishers
}

/// The status of an answer, once it is whole. The error says what it is instead.
fn answer(bytes: &[u8], is_all: bool) -> Result<Option<u16>, String> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let Some(head) = Head::parse(bytes).map_err(|what| format!("answered with {what}"))? else { return Ok(None) };
    let mut body = Body::new(head.body);
    let mut rest = &bytes[head.bytes..];
    while !rest.is_empty() && !body.has_ended() {
        let (_, used) = body.next(rest).map_err(|_| "answered with what is not chunked".to_owned())?;
        rest = &rest[used..];
    }
    let ends_with_head = matches!(head.status, 204 | 304);
    let whole = body.has_ended() || ends_with_head || (is_all && matches!(body, Body::UntilClose));
    if whole && !rest.is_empty() {
        return Err("answered with more than one answer".to_owned());
    }
    Ok(whole.then_some(head.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_whole_or_not_yet() {
        let chunked = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
        for length in 0..chunked.len() {
            assert_eq!(answer(&chunked[..length], false), Ok(None), "{length}");
        }
        assert_eq!(answer(chunked, false), Ok(Some(201)));
        assert_eq!(answer(b"HTTP/1.1 204 No Content\r\n\r\n", false), Ok(Some(204)));
        assert_eq!(answer(b"HTTP/1.1 503 Busy\r\nContent-Length: 1\r\n\r\nx", false), Ok(Some(503)));
        let until_close = b"HTTP/1.1 200 OK\r\n\r\nabc";
        assert_eq!((answer(until_close, false), answer(until_close, true)), (Ok(None), Ok(Some(200))));
        assert!(answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1", false).is_err());
        assert!(answer(b"+OK\r\n", false).is_err());
    }

    #[test]
    fn the_next_event_of_a_publisher() {
        assert_eq!([0, 1, 2, 3, 4].map(|from| next_of(1, from, 3)), [1, 1, 4, 4, 4]);
        assert_eq!([0, 3, 7].map(|from| next_of(0, from, 1)), [0, 3, 7]);
    }
}
