use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tidewire_sim::{Connection, End, Place, Subscriber};

use crate::clock::pause;
use crate::stream::{Parser, request};
use crate::{Clock, Life, wait_until};

/// How much a reader reads at once.
const READ_BYTES: usize = 16 * 1024;
/// What the kernel may hold for a slow reader, so that what it has not read lies with the hub.
const SLOW_BUFFER_BYTES: usize = 32 * 1024;
/// How soon a reader knocks again.
const KNOCK: Duration = Duration::from_millis(2);
/// How soon a reader sees that it is to stop.
const LOOK: Duration = Duration::from_millis(200);

/// How fast a reader reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As fast as it can.
    Fast,
    /// About so many bytes a second, with small buffers in the kernel.
    Slow {
        /// Bytes a second.
        bytes_per_second: usize,
    },
}

/// A reader over a bare socket, on a thread of its own. It connects again at once whenever
/// its stream ends, and asks for what comes after the last id it saw.
#[derive(Debug)]
pub struct RawReader {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    headers: Vec<(String, String)>,
    life: Life,
    clock: Clock,
    pace: Pace,
    hurry: AtomicBool,
    stop: AtomicBool,
    events: AtomicUsize,
    /// The last place it was told.
    place: Mutex<Place>,
    /// One more than the life in which the last head came.
    head_in: AtomicUsize,
    record: Mutex<Subscriber>,
}

impl RawReader {
    /// Begins to read as `subscriber` says: its first connection tells where to begin, and is
    /// replaced by what happens.
    ///
    /// # Panics
    /// If `subscriber` has no connection.
    #[must_use]
    pub fn start(address: SocketAddr, life: Life, clock: Clock, pace: Pace, subscriber: Subscriber) -> RawReader {
        RawReader::start_with(address, life, clock, pace, subscriber, &[])
    }

    /// Begins to read with these headers.
    ///
    /// # Panics
    /// If `subscriber` has no connection.
    #[must_use]
    pub fn start_with(
        address: SocketAddr,
        life: Life,
        clock: Clock,
        pace: Pace,
        mut subscriber: Subscriber,
        headers: &[(&str, &str)],
    ) -> RawReader {
        let first = subscriber.connections.pop().expect("the subscriber says where it begins");
        let shared = Arc::new(Shared {
            address,
            headers: headers.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
            life,
            clock,
            pace,
            hurry: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            events: AtomicUsize::new(0),
            place: Mutex::new(Place::ZERO),
            head_in: AtomicUsize::new(0),
            record: Mutex::new(subscriber),
        });
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let mut asked = first.asked;
                while !shared.stop.load(Ordering::SeqCst) {
                    if let Ok(connection) = shared.connect(asked.clone()) {
                        shared.finish(connection);
                        let record = shared.record.lock().expect("no reader panics with the record in hand");
                        asked = record.asks_next().unwrap_or(asked);
                    }
                    pause(KNOCK);
                }
            }
        });
        RawReader { shared, thread }
    }

    /// How many events of publishers it has seen.
    #[must_use]
    pub fn events(&self) -> usize {
        self.shared.events.load(Ordering::SeqCst)
    }

    /// The last place it was told: of an event, a gap or a checkpoint.
    ///
    /// # Panics
    /// If its thread did.
    #[must_use]
    pub fn place(&self) -> Place {
        *self.shared.place.lock().expect("no reader panics with its place in hand")
    }

    /// Whether the head of a stream came in this life of the hub.
    #[must_use]
    pub fn has_head_in(&self, life: usize) -> bool {
        self.shared.head_in.load(Ordering::SeqCst) == life + 1
    }

    /// From now on it reads as fast as it can.
    pub fn hurry(&self) {
        self.shared.hurry.store(true, Ordering::SeqCst);
    }

    /// Stops when it was told this place or a later one, and answers what it saw.
    ///
    /// # Panics
    /// If that takes longer than `within`, or the hub broke the framing.
    #[must_use]
    #[track_caller]
    pub fn stop_at(self, place: Place, within: Duration) -> Subscriber {
        wait_until(&format!("a reader comes to {place}"), within, || self.place() >= place);
        self.stop()
    }

    /// Stops, and answers what it saw.
    ///
    /// # Panics
    /// If the hub broke the framing.
    #[must_use]
    pub fn stop(self) -> Subscriber {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("the reader understood what it read");
        let record = self.shared.record.lock().expect("its thread has ended");
        record.clone()
    }
}

impl Shared {
    /// Opens a stream and reads it to its end. An error is a port that refuses.
    fn connect(&self, asked: tidewire_sim::Asked) -> io::Result<Connection> {
        let life = self.life.number();
        let mut connection = Connection::begin(asked, self.clock.now());
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, None)?;
        if matches!(self.pace, Pace::Slow { .. }) {
            socket.set_recv_buffer_size(SLOW_BUFFER_BYTES)?;
        }
        socket.connect(&self.address.into())?;
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(LOOK))?;
        connection.end = End::InHead;
        let filter = self.record.lock().expect("no reader panics with the record in hand").filter.clone();
        if stream.write_all(&request(self.address, &filter, &connection.asked, &self.headers)).is_err() {
            return Ok(connection);
        }
        self.read(&mut stream, life, &mut connection);
        Ok(connection)
    }

    fn read(&self, stream: &mut TcpStream, life: usize, connection: &mut Connection) {
        let mut parser = Parser::new(&connection.asked);
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let length = match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    if self.stop.load(Ordering::SeqCst) {
                        connection.end = End::Unknown;
                        return;
                    }
                    continue;
                }
                Err(_) => break,
            };
            let before = connection.items.len();
            parser
                .feed(&buffer[..length], connection, self.clock.now())
                .unwrap_or_else(|error| panic!("{}: {error}", self.address));
            if connection.head.is_some() {
                self.head_in.store(life + 1, Ordering::SeqCst);
            }
            let new = &connection.items[before..];
            if let Some(place) = new.last().and_then(|item| item.id().parse().ok()) {
                *self.place.lock().expect("nobody panics with the place in hand") = place;
            }
            let events = new.iter().filter(|item| matches!(item, tidewire_sim::Item::Event { .. })).count();
            self.events.fetch_add(events, Ordering::SeqCst);
            if self.stop.load(Ordering::SeqCst) {
                connection.end = End::Unknown;
                return;
            }
            self.take_time(life, length);
        }
        connection.end = parser.end();
    }

    /// A slow reader waits, unless the life it reads from is over.
    fn take_time(&self, life: usize, bytes: usize) {
        if let Pace::Slow { bytes_per_second } = self.pace
            && !self.hurry.load(Ordering::SeqCst)
            && self.life.number() == life
        {
            pause(Duration::from_secs_f64(bytes as f64 / bytes_per_second as f64));
        }
    }

    fn finish(&self, mut connection: Connection) {
        if connection.end != End::Unknown {
            connection.ended = Some(self.clock.now());
        }
        self.record.lock().expect("no reader panics with the record in hand").connections.push(connection);
    }
}
