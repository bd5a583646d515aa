//! A client and the hub's end of TLS in memory, over a socket that takes as much as it is told to.

use std::collections::VecDeque;
use std::sync::Arc;

use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::*;

/// What a record takes beyond what it carries, in bytes, at most.
const RECORD_OVERHEAD_MAX: usize = 256;

/// A socket without a system.
#[derive(Default)]
struct Wire {
    /// What the client sent.
    incoming: VecDeque<u8>,
    is_over: bool,
    /// What the hub sent.
    outgoing: Vec<u8>,
    /// How much of it is taken.
    room: usize,
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.incoming.read(into)? {
            0 if !self.is_over => Err(ErrorKind::WouldBlock.into()),
            read => Ok(read),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(self.room);
        if length == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.room -= length;
        self.outgoing.extend_from_slice(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Both ends, after the handshake.
struct Ends {
    client: ClientConnection,
    hub: TlsSocket<Wire>,
}

/// What the hub's end and a client that trusts it begin with.
pub(crate) fn configs(version: &'static SupportedProtocolVersion) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let key = KeyPair::generate().expect("randomness");
    let params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let cert = params.self_signed(&key).expect("a certificate").der().clone();
    let key = PrivateKeyDer::Pkcs8(key.serialized_der().to_vec().into());
    let provider = Arc::new(aws_lc_rs::default_provider());
    let hub = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&[version]);
    let hub = hub.expect("suites").with_no_client_auth().with_single_cert(vec![cert.clone()], key);
    let mut roots = RootCertStore::empty();
    roots.add(cert).expect("a certificate");
    let client = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]);
    let client = client.expect("suites").with_root_certificates(roots).with_no_client_auth();
    (Arc::new(hub.expect("a pair")), Arc::new(client))
}

/// A client that has said nothing.
pub(crate) fn client(config: Arc<ClientConfig>) -> ClientConnection {
    ClientConnection::new(config, ServerName::try_from("localhost").expect("a name")).expect("a session")
}

impl Ends {
    fn new(version: &'static SupportedProtocolVersion) -> Ends {
        let (config, theirs) = configs(version);
        let mut session = ServerConnection::new(config).expect("a session");
        let mut client = client(theirs);
        while client.is_handshaking() || session.is_handshaking() || session.wants_write() {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes).expect("memory takes it");
            }
            session.read_tls(&mut bytes.as_slice()).expect("it reads");
            session.process_new_packets().expect("it understands");
            let mut bytes = Vec::new();
            while session.wants_write() {
                session.write_tls(&mut bytes).expect("memory takes it");
            }
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                client.read_tls(&mut rest).expect("it reads");
                client.process_new_packets().expect("it understands");
            }
        }
        Ends { client, hub: TlsSocket::new(Wire::default(), session) }
    }

    /// What the client reads of what was sent up to now.
    fn received(&mut self) -> Vec<u8> {
        let sent = std::mem::take(&mut self.hub.socket.outgoing);
        let (mut rest, mut received) = (sent.as_slice(), Vec::new());
        while !rest.is_empty() {
            self.client.read_tls(&mut rest).expect("it reads");
            self.client.process_new_packets().expect("it understands");
            let mut chunk = [0; 4_096];
            while let Ok(length @ 1..) = self.client.reader().read(&mut chunk) {
                received.extend_from_slice(&chunk[..length]);
            }
        }
        received
    }

    /// What the client has to say comes to the hub's socket.
    fn say(&mut self) {
        while self.client.wants_write() {
            self.client.write_tls(&mut self.hub.socket.incoming).expect("memory takes it");
        }
    }
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|n| u8::try_from(n % 251).expect("small")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the socket takes and whenever: what was taken comes once and in order, and at most a record of it is
    /// not with the socket.
    #[test]
    fn what_was_taken_comes_and_little_is_held(
        length in 1_usize..200_000,
        rooms in prop::collection::vec(prop_oneof![Just(0), 1_usize..100, 1_usize..40_000], 1..200),
        is_old in any::<bool>(),
    ) {
        let mut ends = Ends::new(if is_old { &TLS12 } else { &TLS13 });
        let bytes = pattern(length);
        let (mut taken, mut received) = (0, Vec::new());
        for &room in rooms.iter().chain(std::iter::repeat_n(&usize::MAX, 2)) {
            ends.hub.socket.room = room;
            let held_before = ends.hub.holds();
            match ends.hub.write(&bytes[taken..]) {
                Ok(some) => taken += some,
                Err(error) => {
                    prop_assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    prop_assert!(held_before, "nothing was in its way");
                }
            }
            prop_assert!(taken == length || ends.hub.holds(), "it takes what it can");
            received.extend(ends.received());
            prop_assert!(taken - received.len() <= TLS_HELD_BYTES_MAX + RECORD_OVERHEAD_MAX);
        }
        prop_assert!(!ends.hub.holds() && taken == length);
        prop_assert!(received == bytes);
    }
}

#[test]
fn nothing_is_taken_while_something_is_held() {
    let mut ends = Ends::new(&TLS13);
    let bytes = pattern(100_000);
    assert_eq!(ends.hub.write(&bytes).expect("a record is taken"), TLS_HELD_BYTES_MAX);
    assert!(ends.hub.holds());
    for room in [0, 10] {
        ends.hub.socket.room = room;
        assert_eq!(ends.hub.write(&bytes).expect_err("it holds a record").kind(), ErrorKind::WouldBlock);
    }
    ends.hub.socket.room = 100;
    assert_eq!(ends.hub.send_held().expect("it goes"), 100);
    assert!(ends.hub.holds());
    assert_eq!(ends.hub.flush().expect_err("not all goes").kind(), ErrorKind::WouldBlock);
    ends.hub.socket.room = usize::MAX;
    ends.hub.flush().expect("all goes");
    assert!(!ends.hub.holds() && ends.received() == bytes[..TLS_HELD_BYTES_MAX]);
}

#[test]
fn new_keys_are_answered_with_what_is_written_next() {
    let mut ends = Ends::new(&TLS13);
    for round in 0..10 {
        ends.client.refresh_traffic_keys().expect("TLS 1.3 has it");
        ends.client.writer().write_all(b"x").expect("memory takes it");
        ends.say();
        let mut byte = [0];
        assert_eq!((ends.hub.read(&mut byte).expect("it is read"), byte), (1, *b"x"));
        ends.hub.socket.room = usize::MAX;
        let text = format!("round {round}");
        assert_eq!(ends.hub.write(text.as_bytes()).expect("it goes"), text.len());
        assert_eq!(ends.received(), text.as_bytes());
    }
}

#[test]
fn ends_are_told_apart_from_silence_and_from_what_is_no_tls() {
    for version in [&TLS13, &TLS12] {
        let mut chunk = [0; 100];
        let mut ends = Ends::new(version);
        assert!(!ends.hub.has_left());
        assert_eq!(ends.hub.read(&mut chunk).expect_err("silence").kind(), ErrorKind::WouldBlock);
        ends.client.writer().write_all(b"last").expect("memory takes it");
        ends.client.send_close_notify();
        ends.say();
        assert!(!ends.hub.has_left(), "there is something to read");
        assert_eq!(ends.hub.read(&mut chunk).expect("data"), 4);
        assert!(ends.hub.has_left());
        assert_eq!(ends.hub.read(&mut chunk).expect("the end"), 0);
        // It may still be given an answer.
        ends.hub.socket.room = usize::MAX;
        assert_eq!(ends.hub.write(b"answer").expect("it goes"), 6);
        ends.hub.end_writing().expect("it goes");
        assert_eq!(ends.received(), b"answer");
        assert_eq!(ends.client.reader().read(&mut chunk).expect("it was said that this is the end"), 0);

        let mut ends = Ends::new(version);
        ends.hub.socket.is_over = true;
        assert!(ends.hub.has_left());
        assert_eq!(ends.hub.read(&mut chunk).expect("an end that was not said"), 0);

        let mut ends = Ends::new(version);
        ends.hub.socket.incoming.extend(*b"GET / HTTP/1.1\r\n\r\n");
        assert_eq!(ends.hub.read(&mut chunk).expect_err("no TLS").kind(), ErrorKind::InvalidData);
        assert!(ends.hub.has_left());
    }
}
