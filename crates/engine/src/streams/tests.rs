//! What nobody sees from the other end: the options of a stream's socket, as the system has them, and what TLS holds.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use rustls::{ServerConnection, StreamOwned};
use socket2::SockRef;
use tidewire_core::{Start, StreamStart};
use tidewire_log::{Clock, EventLog, Filter, MemoryLog, MemoryLogConfig, SimDisk, Tail, Types};
use tidewire_topic::MatcherSet;

use crate::mailbox::Message;
use crate::tls::tests::{client, configs};
use crate::transport::Transport;
use crate::{Admission, Admit, Engine, EngineConfig, Head, Refusal, Socket, TlsSocket};

const STALL: Duration = Duration::from_secs(77);

/// A clock that stands.
struct Standing;

impl Clock for Standing {
    fn now_ms(&self) -> u64 {
        1_000
    }
}

/// Whoever asks is given a stream of everything.
struct Everything(Start);

impl Admit for Everything {
    fn admit(&self, _: &Head<'_>) -> Admission {
        let filter = Filter { topics: MatcherSet::any(), types: Types::All, grants: None };
        let start = self.0.clone();
        Admission::Stream(StreamStart { head: b"begins".to_vec(), retry_ms: 1, filter, start, subject: None })
    }

    fn refuse(&self, _: Refusal, _: SocketAddr) -> Vec<u8> {
        Vec::new()
    }

    fn retry_ms(&self) -> u64 {
        1
    }
}

/// What the system has of a socket.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    no_delay: bool,
    user_timeout: Option<Duration>,
    not_sent_bytes_max: u32,
    send_buffer_bytes: usize,
}

impl Options {
    fn of(socket: SockRef<'_>) -> Options {
        Options {
            no_delay: socket.tcp_nodelay().expect("it can be asked"),
            user_timeout: socket.tcp_user_timeout().expect("it can be asked"),
            not_sent_bytes_max: socket.tcp_notsent_lowat().expect("it can be asked"),
            send_buffer_bytes: socket.send_buffer_size().expect("it can be asked"),
        }
    }
}

/// What the system gives a socket of which nothing is asked.
fn plain() -> Options {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    let _client = TcpStream::connect(listener.local_addr().expect("an address")).expect("it listens");
    let (socket, _) = listener.accept().expect("a client");
    Options::of(SockRef::from(&socket))
}

/// An engine on a log in which nothing is, and where a stream of it begins.
fn engine(config: EngineConfig) -> (Engine, Start) {
    let log = MemoryLog::open(SimDisk::default(), &MemoryLogConfig::default(), Arc::new(Standing)).expect("opened");
    let tail = Arc::new(Tail::new(1 << 20));
    log.follow(tail.follower());
    let start = Start { place: log.head(), gap: None };
    let config = EngineConfig { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..config };
    let hand_over = Box::new(|_, _, _| Ok(()));
    let engine = Engine::start(config, Arc::new(log), tail, Arc::new(Everything(start.clone())), hand_over);
    (engine.expect("a free port"), start)
}

/// The story: a record that TLS had taken and the socket had not is nobody's business but the transport's, and where that
/// was the last one owed, nothing brought it up before the next event or heartbeat.
#[test]
fn the_last_record_is_sent_though_nothing_follows_it() {
    // Four records, none of which the socket takes at once.
    let head: Vec<u8> = (0..3 * 16 * 1024 + 14_000).map(|n| u8::try_from(n % 251).expect("small")).collect();
    let (engine, start) = engine(EngineConfig { heartbeat: Duration::from_secs(600), ..EngineConfig::default() });
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    let theirs = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    // Before it is connected: room that was told once is not taken back.
    theirs.set_recv_buffer_size(4 * 1024).expect("a small buffer");
    theirs.connect(&listener.local_addr().expect("an address").into()).expect("it listens");
    let theirs = TcpStream::from(theirs);
    theirs.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    let (mut ours, peer) = listener.accept().expect("a client");
    let (config, theirs_config) = configs(&rustls::version::TLS13);
    let reader = std::thread::spawn(move || {
        let mut stream = StreamOwned::new(client(theirs_config), theirs);
        let mut bytes = vec![0; 3 * 16 * 1024 + 14_000];
        stream.read_exact(&mut bytes).map(|()| bytes)
    });
    let mut session = ServerConnection::new(config).expect("a session");
    while session.is_handshaking() || session.wants_write() {
        session.complete_io(&mut ours).expect("TLS is agreed on");
    }
    SockRef::from(&ours).set_send_buffer_size(4 * 1024).expect("a small buffer");
    ours.set_nonblocking(true).expect("it may be set");
    let filter = Filter { topics: MatcherSet::any(), types: Types::All, grants: None };
    let stream = StreamStart { head: head.clone(), retry_ms: 1, filter, start, subject: None };
    let socket = Socket::Tls(Box::new(TlsSocket::new(ours, session)));
    engine.handle().adopt(socket, Box::new(move || Admission::Stream(stream)), peer);
    let read = reader.join().expect("it does not panic").expect("all of it comes");
    assert!(read == head);
    engine.stop();
}

#[test]
fn a_streams_socket_holds_little_and_gives_up_in_time_and_its_buffer_is_left_to_the_system() {
    let (engine, _) = engine(EngineConfig { stall_timeout: STALL, ..EngineConfig::default() });
    let mut client = TcpStream::connect(engine.address()).expect("it listens");
    client.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("it is read");
    client.read_exact(&mut [0]).expect("the stream begins");

    let (sender, answer) = sync_channel(1);
    engine.handle.mailboxes[0].post(Message::Asked(Box::new(move |reactor| {
        let socket = reactor.shard.key_at(0).and_then(|key| reactor.shard.transport(key)).expect("the stream");
        let Transport::Tcp(socket) = socket else { panic!("it has no socket") };
        sender.send(Options::of(SockRef::from(&*socket))).expect("somebody waits");
    })));
    let options = answer.recv_timeout(Duration::from_secs(30)).expect("an answer");
    let expected = Options { no_delay: true, user_timeout: Some(STALL), not_sent_bytes_max: 16 * 1024, ..plain() };
    assert_eq!(options, expected);
    engine.stop();
}
