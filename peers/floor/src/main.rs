//! The floor: the least that a server of event streams can do for each event and each subscriber, which is one `sendto`.
//!
//! It has one thread, one `epoll` and blocking sockets. It checks nothing, keeps no order but that of its loop, and waits
//! for whoever reads slowly: it is no server, it is what one is measured against.
//!
//! - `GET /count`: how many times it has called `sendto` for subscribers, as a number.
//! - any other `GET`: an event stream. With a `Last-Event-ID`, it begins with the last events, as many as `--history` says.
//! - `POST`: the body, one event as it goes on the wire, is sent to each stream as a chunk, and then answered.
//!
//! Usage: `floor [--listen ADDRESS] [--head FILE] [--history EVENTS]`. The head of its streams is that in the file.

mod request;

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use request::{Method, Request};
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The token of the listener; connections have the number of their slot.
const LISTENER: u64 = u64::MAX;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4_096;

/// What is read at once.
const BUFFER_BYTES: usize = 64 * 1_024;

/// The head of a stream, if no file has another one.
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n\
    Transfer-Encoding: chunked\r\n\r\n";

fn main() -> ExitCode {
    match Floor::from_arguments().and_then(Floor::run) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("floor: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What never comes.
enum Never {}

struct Floor {
    poll: OwnedFd,
    listener: OwnedFd,
    /// Connections that are no streams yet.
    connections: Vec<Option<Connection>>,
    /// Slots of the above that are free.
    free: Vec<usize>,
    streams: Vec<OwnedFd>,
    head: Vec<u8>,
    /// The last events as chunks.
    history: VecDeque<Vec<u8>>,
    history_max: usize,
    /// What one that comes back gets, made once: head and history. None: an event has come since.
    beginning: Option<Vec<u8>>,
    /// Calls of `sendto` for streams.
    sends: u64,
}

struct Connection {
    socket: OwnedFd,
    received: Vec<u8>,
}

impl Floor {
    fn from_arguments() -> io::Result<Floor> {
        let (mut listen, mut head, mut history_max) = ("127.0.0.1:0".to_owned(), HEAD.to_vec(), 0);
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| wrong(format!("{name} needs a value")))?;
            match name.as_str() {
                "--listen" => listen = value,
                "--head" => head = std::fs::read(value)?,
                "--history" => history_max = value.parse().map_err(|_| wrong("--history takes a number".to_owned()))?,
                _ => return Err(wrong(format!("{name} is not known"))),
            }
        }
        let address: SocketAddr = listen.parse().map_err(|_| wrong(format!("{listen} is no address")))?;
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let listener = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        rustix::net::sockopt::set_socket_reuseaddr(&listener, true)?;
        rustix::net::bind(&listener, &address)?;
        rustix::net::listen(&listener, BACKLOG)?;
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&poll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        Ok(Floor {
            poll,
            listener,
            connections: Vec::new(),
            free: Vec::new(),
            streams: Vec::new(),
            head,
            history: VecDeque::new(),
            history_max,
            beginning: None,
            sends: 0,
        })
    }

    fn run(mut self) -> io::Result<Never> {
        raise_open_files()?;
        let address = TcpListener::from(self.listener.try_clone()?).local_addr()?;
        println!("listening on http://{address}");
        io::stdout().flush()?;
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut ready = Vec::with_capacity(1_024);
        loop {
            match epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut ready), None) {
                Err(Errno::INTR) => continue,
                waited => waited?,
            };
            for event in ready.drain(..) {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    slot => self.read(slot as usize, &mut buffer)?,
                }
            }
        }
    }

    /// All who wait.
    fn accept(&mut self) -> io::Result<()> {
        loop {
            let socket = match rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(error) => return Err(error.into()),
            };
            rustix::net::sockopt::set_tcp_nodelay(&socket, true)?;
            let slot = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            epoll::add(&self.poll, &socket, epoll::EventData::new_u64(slot as u64), epoll::EventFlags::IN)?;
            self.connections[slot] = Some(Connection { socket, received: Vec::new() });
        }
    }

    /// What a connection has sent, and what it asks for once that is whole.
    fn read(&mut self, slot: usize, buffer: &mut [u8]) -> io::Result<()> {
        let Some(mut connection) = self.connections[slot].take() else { return Ok(()) };
        let length = match rustix::net::recv(&connection.socket, &mut *buffer, RecvFlags::empty()) {
            Ok((length, _)) => length,
            // Whoever is gone is gone.
            Err(_) => 0,
        };
        connection.received.extend_from_slice(&buffer[..length]);
        let request = Request::parse(&connection.received);
        if length == 0 || request == Request::Wrong {
            self.free.push(slot);
            return Ok(());
        }
        let Request::Whole { method, body, resumes } = request else {
            self.connections[slot] = Some(connection);
            return Ok(());
        };
        match method {
            Method::Stream => {
                epoll::delete(&self.poll, &connection.socket)?;
                self.free.push(slot);
                let beginning = if resumes { self.beginning() } else { &self.head };
                if send_all(&connection.socket, beginning).is_ok() {
                    self.streams.push(connection.socket);
                }
                return Ok(());
            }
            Method::Publish => {
                let mut chunk = format!("{:x}\r\n", body.len()).into_bytes();
                chunk.extend_from_slice(&connection.received[body]);
                chunk.extend_from_slice(b"\r\n");
                self.deliver(&chunk);
                if self.history_max > 0 {
                    if self.history.len() == self.history_max {
                        self.history.pop_front();
                    }
                    self.history.push_back(chunk);
                    self.beginning = None;
                }
                // A publisher that is gone is noticed by the next read.
                let _ = send_all(&connection.socket, &answer("published"));
            }
            Method::Count => _ = send_all(&connection.socket, &answer(&self.sends.to_string())),
        }
        connection.received.clear();
        self.connections[slot] = Some(connection);
        Ok(())
    }

    /// What one that comes back gets.
    fn beginning(&mut self) -> &[u8] {
        self.beginning.get_or_insert_with(|| {
            let mut bytes = self.head.clone();
            self.history.iter().for_each(|chunk| bytes.extend_from_slice(chunk));
            bytes
        })
    }

    /// One call for each stream; those that are gone are left out from now on.
    fn deliver(&mut self, chunk: &[u8]) {
        let mut sends = 0;
        self.streams.retain(|stream| {
            sends += 1;
            match rustix::net::send(stream, chunk, SendFlags::NOSIGNAL) {
                Ok(sent) if sent == chunk.len() => true,
                // A signal came while it waited for room: the rest is sent like anything else.
                Ok(sent) => {
                    sends += 1;
                    send_all(stream, &chunk[sent..]).is_ok()
                }
                Err(_) => false,
            }
        });
        self.sends += sends;
    }
}

/// As many open files as the system lets it have: a shell often gives 1,024, which are fewer than there are subscribers.
fn raise_open_files() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?)
}

fn answer(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn send_all(socket: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::net::send(socket, bytes, SendFlags::NOSIGNAL) {
            Ok(sent) => bytes = &bytes[sent..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn wrong(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_open_files_is_raised_to_the_hard_one() {
        let maximum = getrlimit(Resource::Nofile).maximum;
        let low = maximum.map_or(64, |maximum| maximum.min(64));
        setrlimit(Resource::Nofile, Rlimit { current: Some(low), maximum }).expect("it may be lowered");
        raise_open_files().expect("it may be raised");
        assert_eq!(getrlimit(Resource::Nofile).current, maximum);
    }
}
