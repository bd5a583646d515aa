//! Clients that do not get as far as HTTP.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, RootCertStore};
use tidewire_harness::wait_until;

use super::*;

fn failures(tls: &TlsHub, reason: &str) -> u64 {
    tls.hub.figure(&format!("tidewire_tls_handshake_failures_total{{reason=\"{reason}\"}}"))
}

fn connect(tls: &TlsHub) -> TcpStream {
    let socket = TcpStream::connect(tls.hub.address()).expect("the hub accepts");
    socket.set_nodelay(true).expect("it may be set");
    socket.set_read_timeout(Some(WITHIN)).expect("a deadline");
    socket
}

/// What the hub says until it closes.
fn said(socket: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    match socket.read_to_end(&mut said) {
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => panic!("{error}"),
        _ => said,
    }
}

#[test]
fn http_without_tls_is_told_so() {
    let tls = TlsHub::start();
    let mut http = Http::connect(tls.hub.address()).expect("the hub accepts");
    let answer = http.request("GET", "/api/v1/events?topic=a", &[], b"").expect("an answer");
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("this port speaks TLS"), "{}", answer.text());
    assert!(http.is_closed().expect("it closes"));
    assert_eq!(failures(&tls, "plain-http"), 1);
}

/// A first message of TLS 1.1 and nothing newer, without extensions.
fn old_hello() -> Vec<u8> {
    let body = [&[3, 2][..], &[7; 32], &[0], &[0, 2, 0xc0, 0x13], &[1, 0]].concat();
    let length = u8::try_from(body.len()).expect("short");
    [&[0x16, 3, 1, 0, length + 4, 1, 0, 0, length][..], &body].concat()
}

#[test]
fn what_is_no_tls_or_too_old_is_closed_with_an_alert() {
    const ALERT: u8 = 0x15;
    let tls = TlsHub::start();
    let mut socket = connect(&tls);
    socket.write_all(&old_hello()).expect("it is read");
    // That the handshake failed, or that its version did.
    let alert = said(&mut socket);
    assert!([40, 70].map(|why| [ALERT, 3, 3, 0, 2, 2, why]).iter().any(|expected| alert == expected), "{alert:?}");
    wait_until("it is counted", WITHIN, || failures(&tls, "incompatible") == 1);
    for (count, garbage) in
        [&b"\x16\x03\x01\xff\xff"[..], b"\x16\x03\x01\x00\x04\x01\x00\x00\x00", b"\x00\x01\x02\x03\x04\x05"]
            .into_iter()
            .enumerate()
    {
        let mut socket = connect(&tls);
        socket.write_all(garbage).expect("it is read");
        let said = said(&mut socket);
        assert!(said.is_empty() || said[0] == ALERT, "{said:?}");
        wait_until("it is counted", WITHIN, || failures(&tls, "malformed") == count as u64 + 1);
    }
    for begin in [&b""[..], &old_hello()[..20]] {
        let before = failures(&tls, "closed");
        let mut socket = connect(&tls);
        socket.write_all(begin).expect("it is read");
        socket.shutdown(Shutdown::Write).expect("it may be closed");
        said(&mut socket);
        wait_until("it is counted", WITHIN, || failures(&tls, "closed") == before + 1);
    }
    tls.publish("still there");
}

#[test]
fn a_client_that_does_not_trust_the_hub_is_counted() {
    let tls = TlsHub::start();
    let mut stranger = (*tls.client).clone();
    stranger = {
        let mut config = ClientConfig::builder_with_provider(Arc::clone(stranger.crypto_provider()))
            .with_protocol_versions(VERSIONS)
            .expect("suites for both")
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        config.alpn_protocols = stranger.alpn_protocols;
        config
    };
    assert!(Http::connect_tls(tls.hub.address(), &Arc::new(stranger.clone())).is_err());
    wait_until("it is counted", WITHIN, || failures(&tls, "refused") == 1);
    stranger.alpn_protocols = vec![b"gopher".to_vec()];
    assert!(Http::connect_tls(tls.hub.address(), &Arc::new(stranger)).is_err());
    wait_until("it is counted", WITHIN, || failures(&tls, "incompatible") == 1);
}

#[test]
fn a_client_that_says_nothing_is_closed_in_time() {
    let tls = TlsHub::start_with(&["--head-timeout", "1s"]);
    let mut silent = connect(&tls);
    let mut slow = connect(&tls);
    slow.write_all(&old_hello()[..9]).expect("it is read");
    assert!(said(&mut silent).is_empty() && said(&mut slow).is_empty());
    // A client hears of it a moment before it is counted.
    wait_until("both are counted", WITHIN, || failures(&tls, "timeout") == 2);
    // Behind the handshake a request's head has the same time.
    let mut http = tls.connect();
    assert!(http.is_closed().unwrap_or(true), "nothing was asked");
}

/// Whoever says nothing does not keep the others from being served for long, though the hub takes few.
#[test]
fn those_who_say_nothing_make_room_for_others() {
    let tls = TlsHub::start_with(&["--head-timeout", "5min", "--max-connections", "4"]);
    let _silent: Vec<TcpStream> = (0..12).map(|_| connect(&tls)).collect();
    tls.publish("in spite of them");
    let mut stream = tls.open("&from=earliest");
    assert_eq!(stream.published().data, "in spite of them");
}

/// The story: connections between two requests had the places in which handshakes take place, and with all of them taken
/// nobody was accepted any more.
#[test]
fn connections_that_are_idle_keep_nobody_from_a_stream() {
    let tls = TlsHub::start_with(&["--max-connections", "4", "--idle-timeout", "5min"]);
    let idle = |_| {
        let mut http = tls.connect();
        assert_eq!(http.request("GET", "/api/v1/topics", &[], b"").expect("an answer").status, 200);
        http
    };
    let _idle: Vec<Http> = (0..4).map(idle).collect();
    assert_eq!(tls.hub.figure("tidewire_connection_places_free"), 0);
    let _stream = tls.open("");
    // Another request is refused, and says so.
    assert_eq!(tls.connect().request("GET", "/api/v1/topics", &[], b"").expect("an answer").status, 503);
}

/// Every byte that the client says, one by one.
fn say_slowly(session: &mut ClientConnection, mut socket: &TcpStream) {
    let mut bytes = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut bytes).expect("memory takes it");
    }
    for byte in bytes {
        socket.write_all(&[byte]).expect("it is read");
    }
}

#[test]
fn a_handshake_and_a_head_that_come_byte_by_byte_are_served() {
    let tls = TlsHub::start();
    for version in VERSIONS {
        let socket = connect(&tls);
        let name = ServerName::try_from("localhost").expect("a name");
        let mut session = ClientConnection::new(tls.authority.client(&[*version]), name).expect("a client");
        while session.is_handshaking() {
            say_slowly(&mut session, &socket);
            if session.is_handshaking() {
                session.read_tls(&mut &socket).expect("the hub answers");
                session.process_new_packets().expect("the hub speaks TLS");
            }
        }
        session
            .writer()
            .write_all(b"GET /api/v1/events?topic=a HTTP/1.1\r\nhost: hub\r\n\r\n")
            .expect("memory takes it");
        say_slowly(&mut session, &socket);
        let mut text = String::new();
        while !text.contains("tidewire.checkpoint") {
            session.read_tls(&mut &socket).expect("the hub answers");
            session.process_new_packets().expect("the hub speaks TLS");
            let mut chunk = [0; 4_096];
            while let Ok(length @ 1..) = session.reader().read(&mut chunk) {
                text.push_str(&String::from_utf8_lossy(&chunk[..length]));
            }
        }
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    }
}

/// A second request on a connection, and what is none: the answers are those of a connection without TLS.
#[test]
fn what_is_wrong_above_tls_is_answered_over_tls() {
    let tls = TlsHub::start();
    for (request, status) in [
        ("GET /\r\n\r\n".to_owned(), 400),
        (format!("GET / HTTP/1.1\r\nhost: hub\r\nx: {}\r\n\r\n", "y".repeat(70_000)), 431),
        ("CONNECT hub:443 HTTP/1.1\r\nhost: hub\r\n\r\n".to_owned(), 405),
        ("GET /nothing HTTP/1.1\r\nhost: hub\r\n\r\n".to_owned(), 404),
    ] {
        for is_second in [false, true] {
            let mut http = tls.connect();
            if is_second {
                assert_eq!(http.request("GET", "/", &[], b"").expect("an answer").status, 200);
            }
            // It may be refused before it is read whole.
            let _ = http.send_raw(request.as_bytes());
            let answer = http.receive().expect("an answer");
            assert_eq!(answer.status, status, "{is_second} {}", answer.text());
        }
    }
}
