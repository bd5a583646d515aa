//! The options of a stream's socket, as the system has them: nobody sees them from the other end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use socket2::SockRef;
use tidewire_core::{Start, StreamStart};
use tidewire_log::{Clock, EventLog, Filter, MemoryLog, MemoryLogConfig, SimDisk, Tail, Types};
use tidewire_topic::MatcherSet;

use crate::mailbox::Message;
use crate::transport::Transport;
use crate::{Admission, Admit, Engine, EngineConfig, Head, Refusal};

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
        Admission::Stream(StreamStart {
            head: b"begins".to_vec(),
            retry_ms: 1,
            filter,
            start,
            subject: None,
            client: None,
        })
    }

    fn refuse(&self, _: Refusal) -> Vec<u8> {
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

#[test]
fn a_streams_socket_holds_little_and_gives_up_in_time_and_its_buffer_is_left_to_the_system() {
    let log = MemoryLog::open(SimDisk::default(), &MemoryLogConfig::default(), Arc::new(Standing)).expect("opened");
    let tail = Arc::new(Tail::new(1 << 20));
    log.follow(tail.follower());
    let start = Start { place: log.head(), gap: None };
    let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0)).into()];
    let config = EngineConfig { listen, stall_timeout: STALL, ..EngineConfig::default() };
    let hand_over = Box::new(|_, _, _| Ok(()));
    let engine = Engine::start(config, Arc::new(log), tail, Arc::new(Everything(start)), hand_over);
    let engine = engine.expect("a free port");
    let mut client = TcpStream::connect(engine.addresses()[0]).expect("it listens");
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
