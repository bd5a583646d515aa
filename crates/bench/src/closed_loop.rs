//! Closed-loop load: many connections on one thread, each with one request in flight.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::BenchError;
use crate::clock::now;
use crate::mark::Mark;
use crate::process::CpuTime;
use crate::stats::Latency;

/// Readiness that is looked at in one turn.
const EVENTS_AT_ONCE: usize = 256;

/// How much is read at once; answers are shorter.
const READ_BYTES: usize = 16 * 1_024;

/// How long answers may fail to come before the server counts as hung.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// How one publishes.
pub(crate) trait Protocol {
    /// A request for one event with this payload.
    fn request(&self, payload: &[u8]) -> Vec<u8>;

    /// The length of the answer that these bytes begin with; none if it is not whole yet. The error, a fragment that fits
    /// "answered with …", says why it is not the answer of a success.
    fn answer(&self, bytes: &[u8]) -> Result<Option<usize>, String>;
}

/// How much load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) publishers: usize,
    /// Of each event, in bytes; not less than [`Mark::BYTES`].
    pub(crate) payload_bytes: usize,
    /// Before anything is counted.
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// How many events of each publisher were answered, warming up and running out included: those numbered from 0.
    pub(crate) answered: Vec<u64>,
    /// The time that counts.
    pub(crate) measured: Duration,
    /// From the sending of a request to its answer, of each answer within that time.
    pub(crate) latency: Latency,
    /// What the server used in that time.
    pub(crate) cpu: Option<CpuTime>,
    /// What the generator used: with its core fully in use, it is what was measured.
    pub(crate) own_cpu: Option<CpuTime>,
}

impl Load {
    /// Puts the load on a server whose process is `process`.
    pub(crate) fn run(
        &self,
        address: SocketAddr,
        process: u32,
        protocol: &impl Protocol,
    ) -> Result<Outcome, BenchError> {
        let refused = |what: &str| BenchError::io(format!("{what} {address}"));
        let mut poll = Poll::new().map_err(refused("wait for"))?;
        let mut publishers = Vec::with_capacity(self.publishers);
        for number in 0..self.publishers {
            let publisher = Publisher::connect(address, number, self.payload_bytes, protocol);
            let mut publisher = publisher.map_err(refused("connect to"))?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut publisher.socket, Token(number), interest).map_err(refused("wait for"))?;
            publishers.push(publisher);
        }
        let mut run = Run { publishers, counting: false, sending: true, latency: Latency::new() };
        for publisher in &mut run.publishers {
            publisher.send().map_err(refused("send to"))?;
        }
        run.for_a_time(self.warm_up, &mut poll, protocol)?;
        let own = std::process::id();
        let (began, cpu, own_cpu) = (now(), CpuTime::of(process), CpuTime::of(own));
        run.counting = true;
        run.for_a_time(self.measured, &mut poll, protocol)?;
        let (measured, cpu_after, own_cpu_after) = (began.elapsed(), CpuTime::of(process), CpuTime::of(own));
        run.counting = false;
        run.sending = false;
        run.until(&mut poll, protocol, |run| run.publishers.iter().all(|publisher| publisher.sent_at.is_none()))?;
        Ok(Outcome {
            answered: run.publishers.iter().map(|publisher| publisher.answered).collect(),
            measured,
            latency: run.latency,
            cpu: cpu_after.zip(cpu).map(|(after, before)| after - before),
            own_cpu: own_cpu_after.zip(own_cpu).map(|(after, before)| after - before),
        })
    }
}

struct Run {
    publishers: Vec<Publisher>,
    /// Whether this is the time that counts.
    counting: bool,
    sending: bool,
    latency: Latency,
}

impl Run {
    fn for_a_time(&mut self, time: Duration, poll: &mut Poll, protocol: &impl Protocol) -> Result<(), BenchError> {
        let began = now();
        self.until(poll, protocol, |_| began.elapsed() >= time)
    }

    fn until(
        &mut self,
        poll: &mut Poll,
        protocol: &impl Protocol,
        done: impl Fn(&Run) -> bool,
    ) -> Result<(), BenchError> {
        let mut events = Events::with_capacity(EVENTS_AT_ONCE);
        while !done(self) {
            match poll.poll(&mut events, Some(SILENCE_MAX)) {
                Ok(()) if events.is_empty() => return Err(server("did not answer for 30 s")),
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(BenchError::io("wait for answers")(error));
                }
                _ => {}
            }
            for event in &events {
                self.turn(event.token().0, protocol)?;
            }
        }
        Ok(())
    }

    fn turn(&mut self, number: usize, protocol: &impl Protocol) -> Result<(), BenchError> {
        let publisher = &mut self.publishers[number];
        publisher.write().map_err(BenchError::io("send a request"))?;
        if !publisher.receive(protocol)? {
            return Ok(());
        }
        let at = now();
        if let Some(sent_at) = publisher.sent_at.take() {
            publisher.answered += 1;
            if self.counting {
                self.latency.record(at - sent_at);
            }
        }
        if self.sending {
            publisher.send().map_err(BenchError::io("send a request"))?;
        }
        Ok(())
    }
}

/// A connection, and the one request that it sends again and again with another number.
struct Publisher {
    socket: TcpStream,
    number: usize,
    request: Vec<u8>,
    /// Where the payload lies in it.
    payload_at: usize,
    written: usize,
    received: Vec<u8>,
    sent_at: Option<Instant>,
    answered: u64,
}

impl Publisher {
    fn connect(address: SocketAddr, number: usize, payload: usize, protocol: &impl Protocol) -> io::Result<Publisher> {
        let socket = std::net::TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let mut payload = vec![b'x'; payload.max(Mark::BYTES)];
        Mark { publisher: number, number: 0 }.write(&mut payload);
        let request = protocol.request(&payload);
        let payload_at = request.windows(payload.len()).position(|part| part == payload);
        let payload_at = payload_at.ok_or_else(|| io::Error::other("the request does not hold its payload"))?;
        let written = request.len();
        Ok(Publisher {
            socket: TcpStream::from_std(socket),
            number,
            request,
            payload_at,
            written,
            received: Vec::new(),
            sent_at: None,
            answered: 0,
        })
    }

    /// Sends the next event.
    fn send(&mut self) -> io::Result<()> {
        Mark { publisher: self.number, number: self.answered }.write(&mut self.request[self.payload_at..]);
        self.written = 0;
        self.sent_at = Some(now());
        self.write()
    }

    /// Writes what is left of the request.
    fn write(&mut self) -> io::Result<()> {
        while self.written < self.request.len() {
            match self.socket.write(&self.request[self.written..]) {
                Ok(length) => self.written += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what there is. Whether the answer is whole.
    fn receive(&mut self, protocol: &impl Protocol) -> Result<bool, BenchError> {
        let mut buffer = [0; READ_BYTES];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return Err(server("closed a connection")),
                Ok(length) => {
                    self.received.extend_from_slice(&buffer[..length]);
                    // Less than was asked for is all there is: asking again would cost a system call an answer.
                    if length < buffer.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(BenchError::io("receive an answer")(error)),
            }
        }
        if self.received.is_empty() {
            return Ok(false);
        }
        let answer = protocol.answer(&self.received);
        match answer.map_err(|what| server(&format!("answered with {what}")))? {
            Some(length) if length == self.received.len() && self.sent_at.is_some() => {
                self.received.clear();
                Ok(true)
            }
            Some(_) => Err(server("sent more than one answer to one request")),
            None => Ok(false),
        }
    }
}

fn server(what: &str) -> BenchError {
    BenchError::Program { program: "the server", what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::net::TcpListener;

    use super::*;

    /// A request is a payload and a line end, an answer `ok` and a line end, in two pieces.
    struct Lines;

    impl Protocol for Lines {
        fn request(&self, payload: &[u8]) -> Vec<u8> {
            [payload, b"\n"].concat()
        }

        fn answer(&self, bytes: &[u8]) -> Result<Option<usize>, String> {
            match bytes {
                b"ok\n" => Ok(Some(3)),
                b"o" | b"ok" => Ok(None),
                other => Err(format!("{other:?}")),
            }
        }
    }

    /// Answers every line, and says which it got.
    fn server(connections: usize, answer: &'static [&'static [u8]]) -> (SocketAddr, impl FnOnce() -> Vec<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let threads: Vec<_> = (0..connections)
            .map(|_| {
                let listener = listener.try_clone().expect("a second handle");
                std::thread::spawn(move || {
                    let (mut socket, _) = listener.accept().expect("a connection");
                    let lines = io::BufRead::lines(io::BufReader::new(socket.try_clone().expect("a second handle")));
                    let mut got = Vec::new();
                    for line in lines.map_while(Result::ok) {
                        got.push(line);
                        // The client may have given up.
                        answer.iter().for_each(|piece| _ = socket.write_all(piece));
                    }
                    got
                })
            })
            .collect();
        let join = || threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect();
        (address, join)
    }

    fn load(publishers: usize) -> Load {
        let (warm_up, measured) = (Duration::from_millis(10), Duration::from_millis(50));
        Load { publishers, payload_bytes: 20, warm_up, measured }
    }

    #[test]
    fn every_event_is_sent_once_in_order_and_counted() {
        let (address, received) = server(3, &[b"o", b"k\n"]);
        let outcome = load(3).run(address, std::process::id(), &Lines).expect("it runs");
        let mut next = HashMap::new();
        for line in received() {
            assert_eq!(line.len(), 20);
            let mark = Mark::read(&line).expect("a mark");
            let number = next.entry(mark.publisher).or_insert(0);
            assert_eq!(mark.number, *number);
            *number += 1;
        }
        assert_eq!(outcome.answered, (0..3).map(|publisher| next[&publisher]).collect::<Vec<u64>>());
        assert!(outcome.latency.count() > 0 && outcome.latency.count() < outcome.answered.iter().sum());
        assert!(outcome.measured >= Duration::from_millis(50));
    }

    #[test]
    fn a_wrong_answer_ends_the_run() {
        for answer in [&[b"no\n" as &[u8]], &[b"ok\nok\n"]] {
            let (address, received) = server(1, answer);
            assert!(load(1).run(address, 1, &Lines).is_err());
            received();
        }
    }
}
