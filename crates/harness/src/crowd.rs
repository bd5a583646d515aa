use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use tidewire_sim::{Connection, Item, Place, Subscriber};

use crate::Clock;
use crate::clock::instant;
use crate::stream::{Parser, request};

/// How many connections are opened before their heads are waited for, so that the listener's
/// queue is not what is tested.
const OPENED_AT_ONCE: usize = 200;
/// How much is read at once.
const READ_BYTES: usize = 16 * 1024;

/// Very many readers on one thread, one connection each.
#[derive(Debug)]
pub struct Crowd {
    poll: Poll,
    clock: Clock,
    members: Vec<Member>,
    heads: usize,
    events: usize,
}

#[derive(Debug)]
struct Member {
    stream: Option<TcpStream>,
    /// What is to be asked, until it has been.
    request: Option<Vec<u8>>,
    parser: Parser,
    subscriber: Subscriber,
    connection: Connection,
    /// The last place it was told.
    place: Place,
}

impl Crowd {
    /// Opens a stream for each subscriber and waits for all heads. The first connection of each
    /// tells where to begin.
    ///
    /// # Panics
    /// If a stream does not open within `within`.
    #[must_use]
    pub fn open(address: SocketAddr, clock: Clock, subscribers: Vec<Subscriber>, within: Duration) -> Crowd {
        let poll = Poll::new().expect("the machine polls");
        let mut crowd = Crowd { poll, clock, members: Vec::new(), heads: 0, events: 0 };
        let began = instant();
        for mut subscriber in subscribers {
            let first = subscriber.connections.pop().expect("the subscriber says where it begins");
            let mut stream = TcpStream::connect(address).expect("a connection can be begun");
            let interest = Interest::READABLE | Interest::WRITABLE;
            crowd.poll.registry().register(&mut stream, Token(crowd.members.len()), interest).expect("it polls");
            let connection = Connection::begin(first.asked, clock.now());
            let parser = Parser::new(&connection.asked);
            let request = Some(request(address, &subscriber.filter, &connection.asked, &[]));
            let place = Place::ZERO;
            crowd.members.push(Member { stream: Some(stream), request, parser, subscriber, connection, place });
            if crowd.members.len().is_multiple_of(OPENED_AT_ONCE) {
                crowd.read(within.saturating_sub(began.elapsed()), |crowd| crowd.heads == crowd.members.len());
            }
        }
        crowd.read(within.saturating_sub(began.elapsed()), |crowd| crowd.heads == crowd.members.len());
        crowd
    }

    /// Reads until all of them together have seen so many events of publishers.
    ///
    /// # Panics
    /// If that is not within `within`.
    pub fn read_events(&mut self, events: usize, within: Duration) {
        self.read(within, |crowd| crowd.events >= events);
    }

    /// Reads until each of them was told this place or a later one.
    ///
    /// # Panics
    /// If that is not within `within`.
    pub fn read_to(&mut self, place: Place, within: Duration) {
        self.read(within, |crowd| crowd.members.iter().all(|member| member.place >= place));
    }

    /// What they saw.
    #[must_use]
    pub fn finish(self) -> Vec<Subscriber> {
        self.members.into_iter().map(|member| member.subscriber.connection(member.connection)).collect()
    }

    fn read(&mut self, within: Duration, done: impl Fn(&Crowd) -> bool) {
        let began = instant();
        let mut events = Events::with_capacity(1_024);
        while !done(self) {
            let (heads, seen, members) = (self.heads, self.events, self.members.len());
            let left = within.checked_sub(began.elapsed());
            let left = left.unwrap_or_else(|| panic!("{heads} heads and {seen} events for {members} in {within:?}"));
            self.poll.poll(&mut events, Some(left)).expect("the machine polls");
            for event in &events {
                let member = &mut self.members[event.token().0];
                if event.is_writable() {
                    member.ask();
                }
                let (heads, events) = member.read(self.clock);
                self.heads += heads;
                self.events += events;
            }
        }
    }
}

impl Member {
    /// Asks, once connected. The request is far smaller than the kernel's buffer.
    fn ask(&mut self) {
        let (Some(stream), Some(request)) = (&mut self.stream, &self.request) else { return };
        match stream.write_all(request) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
            // A failure is seen again by the next read.
            _ => self.request = None,
        }
    }

    /// Reads what there is; how many heads and events of publishers were in it.
    fn read(&mut self, clock: Clock) -> (usize, usize) {
        let Some(stream) = &mut self.stream else { return (0, 0) };
        let had_head = self.connection.head.is_some();
        let before = self.connection.items.len();
        let mut buffer = [0; READ_BYTES];
        let ended = loop {
            match stream.read(&mut buffer) {
                Ok(0) => break true,
                Ok(length) => {
                    let fed = self.parser.feed(&buffer[..length], &mut self.connection, clock.now());
                    fed.unwrap_or_else(|error| panic!("{}: {error}", self.subscriber.name));
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) => {
                    break false;
                }
                Err(_) => break true,
            }
        };
        if ended {
            self.connection.end = self.parser.end();
            self.connection.ended = Some(clock.now());
            self.stream = None;
        }
        if let Some(place) = self.connection.items[before..].last().and_then(|item| item.id().parse().ok()) {
            self.place = place;
        }
        let events = self.connection.items[before..].iter().filter(|item| matches!(item, Item::Event { .. })).count();
        (usize::from(!had_head && self.connection.head.is_some()), events)
    }
}
