use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Protocol, Socket, Type};

use crate::hub::lines;

/// What makes a test program a process of clients: the hub's address and where they come from.
const VARIABLE: &str = "THRONG_OF";
/// Connections of which no answer has come yet, at a time: with two processes, fewer than a listener's queue takes.
const UNANSWERED_MAX: usize = 1_500;
/// How often a process of clients looks at what it is told.
const LOOK: Duration = Duration::from_millis(20);
/// How long it may take to answer.
const WITHIN: Duration = Duration::from_secs(120);
/// What is kept of what came, to find what it is: an answer's beginning, and an event that is cut.
const KEPT_BYTES: usize = 1_024;

/// Very many clients in a process of their own, so that their sockets count against no other's open files. Each has one
/// connection, and asks for a stream of the topic `a`.
#[derive(Debug)]
pub struct Throng {
    child: Child,
    orders: ChildStdin,
    reports: Receiver<String>,
}

/// How the clients stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// No answer has come yet.
    pub unanswered: usize,
    /// They have a stream.
    pub open: usize,
    /// They were told that there are too many streams, and closed.
    pub refused: usize,
    /// Something else happened to them.
    pub odd: usize,
    /// Of those that have a stream, these were told an event that says `to all`.
    pub told: usize,
}

impl Throng {
    /// Starts the process: this test program again, and in it only the test `test`, which calls [`Throng::serve`]. The
    /// clients come from 127.0.0.`from`.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start(address: SocketAddr, from: u8, test: &str) -> Throng {
        let program = std::env::current_exe().expect("the test program has a name");
        let mut child = Command::new(program)
            .args(["--exact", test, "--nocapture"])
            .env(VARIABLE, format!("{address} {from}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the test program can be run again");
        let orders = child.stdin.take().expect("it is piped");
        let reports = lines(child.stdout.take().expect("it is piped"));
        Throng { child, orders, reports }
    }

    /// In a process that was started as one of clients, serves as such to its end; else does nothing.
    ///
    /// # Panics
    /// If the machine does not poll, or a connection cannot be begun.
    pub fn serve() {
        let Ok(text) = std::env::var(VARIABLE) else { return };
        let (address, from) = text.split_once(' ').expect("an address and a number");
        let from = Ipv4Addr::new(127, 0, 0, from.parse().expect("a number"));
        Clients::new(address.parse().expect("an address"), from).serve();
    }

    /// So many more clients connect.
    pub fn connect(&mut self, count: usize) {
        self.order(&format!("connect {count}"));
    }

    /// Those that were refused try again.
    pub fn try_again(&mut self) {
        self.order("again 0");
    }

    /// So many that have a stream leave.
    pub fn leave(&mut self, count: usize) {
        self.order(&format!("leave {count}"));
    }

    /// How they stand.
    ///
    /// # Panics
    /// If the process has ended.
    pub fn standing(&mut self) -> Standing {
        self.order("tell 0");
        loop {
            let line = self.reports.recv_timeout(WITHIN).expect("the process of clients answers");
            // The test program's own lines come first.
            let Some((_, report)) = line.split_once("clients: ") else { continue };
            let mut numbers = report.split(' ').map(|number| number.parse().expect("a number"));
            let mut next = || numbers.next().expect("five numbers");
            return Standing { unanswered: next(), open: next(), refused: next(), odd: next(), told: next() };
        }
    }

    fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").expect("the process of clients runs");
    }
}

impl Drop for Throng {
    fn drop(&mut self) {
        // Dropped while a test panics: nothing more can be done about a failure.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unanswered,
    Open,
    Refused,
    Odd,
    Left,
}

struct Client {
    stream: Option<TcpStream>,
    is_asked: bool,
    state: State,
    is_told: bool,
    kept: Vec<u8>,
}

struct Clients {
    poll: Poll,
    address: SocketAddr,
    from: Ipv4Addr,
    clients: Vec<Client>,
    /// Those that are to connect.
    due: VecDeque<usize>,
    unanswered: usize,
}

impl Clients {
    fn new(address: SocketAddr, from: Ipv4Addr) -> Clients {
        let poll = Poll::new().expect("the machine polls");
        Clients { poll, address, from, clients: Vec::new(), due: VecDeque::new(), unanswered: 0 }
    }

    /// Until standard input ends.
    fn serve(mut self) {
        let (sender, orders) = sync_channel(16);
        std::thread::spawn(move || {
            for line in BufReader::new(io::stdin()).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut events = Events::with_capacity(1_024);
        loop {
            match orders.try_recv() {
                Ok(order) => self.obey(&order),
                Err(std::sync::mpsc::TryRecvError::Empty) => {}
                Err(std::sync::mpsc::TryRecvError::Disconnected) => return,
            }
            while self.unanswered < UNANSWERED_MAX
                && let Some(number) = self.due.pop_front()
            {
                self.connect(number);
            }
            match self.poll.poll(&mut events, Some(LOOK)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => panic!("the machine polls: {error}"),
                _ => {}
            }
            for event in &events {
                self.ready(event.token().0);
            }
        }
    }

    fn obey(&mut self, order: &str) {
        let (what, count) = order.split_once(' ').expect("an order and a number");
        let count: usize = count.parse().expect("a number");
        match what {
            "connect" => {
                for _ in 0..count {
                    self.due.push_back(self.clients.len());
                    let (state, kept) = (State::Unanswered, Vec::new());
                    self.clients.push(Client { stream: None, is_asked: false, state, is_told: false, kept });
                }
            }
            "again" => {
                for (number, client) in self.clients.iter_mut().enumerate() {
                    if client.state == State::Refused {
                        client.state = State::Unanswered;
                        self.due.push_back(number);
                    }
                }
            }
            "leave" => {
                let open = (0..self.clients.len()).filter(|&number| self.clients[number].state == State::Open);
                for number in open.take(count).collect::<Vec<_>>() {
                    self.clients[number].close(State::Left);
                }
            }
            "tell" => {
                let count = |state| self.clients.iter().filter(|client| client.state == state).count();
                let told = self.clients.iter().filter(|client| client.is_told).count();
                let (unanswered, open) = (count(State::Unanswered), count(State::Open));
                println!("clients: {unanswered} {open} {} {} {told}", count(State::Refused), count(State::Odd));
            }
            _ => panic!("an order like {order:?}"),
        }
    }

    fn connect(&mut self, number: usize) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).expect("files may be opened");
        let from = SocketAddr::new(IpAddr::V4(self.from), 0);
        socket.bind(&from.into()).expect("an address of this machine, and a free port");
        socket.set_nonblocking(true).expect("it may be set");
        // It is connected, or fails, when it is writable.
        let _ = socket.connect(&self.address.into());
        let mut stream = TcpStream::from_std(socket.into());
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(number), interest).expect("the machine polls");
        let client = &mut self.clients[number];
        (client.stream, client.is_asked) = (Some(stream), false);
        client.kept.clear();
        self.unanswered += 1;
    }

    fn ready(&mut self, number: usize) {
        let Some(client) = self.clients.get_mut(number) else { return };
        let before = client.state;
        client.go_on();
        if before == State::Unanswered && client.state != State::Unanswered {
            self.unanswered -= 1;
        }
    }
}

impl Client {
    fn go_on(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        if !self.is_asked {
            match stream.write_all(b"GET /api/v1/events?topic=a HTTP/1.1\r\nhost: hub\r\n\r\n") {
                Ok(()) => self.is_asked = true,
                Err(error) if matches!(error.kind(), io::ErrorKind::NotConnected | io::ErrorKind::WouldBlock) => return,
                Err(_) => return self.close(State::Odd),
            }
        }
        let mut buffer = [0; 4 * 1_024];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => {
                    let end = if is_refusal(&self.kept) { State::Refused } else { State::Odd };
                    return self.close(end);
                }
                Ok(length) => {
                    self.kept.extend_from_slice(&buffer[..length]);
                    if self.state == State::Unanswered && self.kept.starts_with(b"HTTP/1.1 200 OK\r\n") {
                        self.state = State::Open;
                    }
                    self.is_told |= has(&self.kept, b"data: to all\n");
                    if self.state == State::Open {
                        let old = self.kept.len().saturating_sub(KEPT_BYTES);
                        self.kept.drain(..old);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.close(State::Odd),
            }
        }
    }

    fn close(&mut self, state: State) {
        (self.stream, self.state) = (None, state);
    }
}

/// The answer that is documented for one stream too many.
fn is_refusal(answer: &[u8]) -> bool {
    answer.starts_with(b"HTTP/1.1 503 ") && has(answer, b"\"urn:tidewire:error:streams\"")
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
