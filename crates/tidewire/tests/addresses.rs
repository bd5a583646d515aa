//! Where clients are that come through proxies.

use std::io::{Read, Write};
use std::time::Duration;

use serde_json::Value;
use tidewire_harness::{EventStream, Http, Http2, Hub, wait_until};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
const WITHIN: Duration = Duration::from_secs(60);

/// A hub that trusts these proxies.
fn start(trusted: &str) -> Hub {
    Hub::start_with(BINARY, &["--dev"], &[("TIDEWIRE_TRUSTED_PROXIES", trusted)])
}

fn connect(hub: &Hub) -> (Http, String) {
    let http = Http::connect(hub.address()).expect("the hub listens");
    let address = http.socket().local_addr().expect("it is connected").to_string();
    (http, address)
}

/// The addresses of the streams that are listed for a query, once there are so many.
fn addresses(hub: &Hub, query: &str, count: usize) -> Vec<String> {
    let mut found = Vec::new();
    wait_until("the streams are listed", WITHIN, || {
        let (mut http, _) = connect(hub);
        let page = http.request("GET", &format!("/api/v1/connections?{query}"), &[], b"").expect("an answer").json();
        let address = |shown: &Value| shown["address"].as_str().expect("an address").to_owned();
        found = page["connections"].as_array().expect("a list").iter().map(address).collect();
        found.len() == count
    });
    found
}

const CLIENT: &str = "192.0.2.7:4711";
const FORWARDED: (&str, &str) = ("forwarded", "for=203.0.113.9, for=\"192.0.2.7:4711\";proto=https, for=127.0.0.9");
const X_FORWARDED_FOR: (&str, &str) = ("x-forwarded-for", "203.0.113.9, 192.0.2.7:4711, 127.0.0.9");

#[test]
fn a_stream_is_listed_with_the_address_that_a_trusted_proxy_tells() {
    let hub = start("127.0.0.0/8");
    // On a shard at once, put off to be read, put off to seek a place, and on a connection that was used before.
    for (topic, query) in
        [("a", "topic=a"), ("b", "topic=b&pattern=/(x|y)"), ("c", "topic=c&lastId=mine"), ("d", "topic=d")]
    {
        let streams = [FORWARDED, X_FORWARDED_FOR].map(|header| {
            let (mut http, _) = connect(&hub);
            if topic == "d" {
                http.request("GET", "/nothing", &[], b"").expect("an answer");
            }
            EventStream::open_on(http, &format!("/api/v1/events?{query}"), &[header]).expect("a stream")
        });
        assert!(streams.iter().all(|stream| stream.head.status == 200), "{query}");
        assert_eq!(addresses(&hub, &format!("topic={topic}"), 2), [CLIENT, CLIENT], "{query}");
        for (address, count) in [("192.0.2.7", 2), (CLIENT, 2), ("127.0.0.1", 0), ("192.0.2.7:80", 0)] {
            addresses(&hub, &format!("topic={topic}&address={address}"), count);
        }
    }
    // Over HTTP/2 each request says it for itself.
    let mut http = Http2::connect(hub.address());
    let streams = [FORWARDED, X_FORWARDED_FOR].map(|header| http.stream("/api/v1/events?topic=f", &[header]));
    assert!(streams.iter().all(|stream| stream.as_ref().is_ok_and(|stream| stream.head.status == 200)));
    assert_eq!(addresses(&hub, "topic=f", 2), [CLIENT, CLIENT]);
    let (http, address) = connect(&hub);
    let _direct = EventStream::open_on(http, "/api/v1/events?topic=e", &[]).expect("a stream");
    assert_eq!(addresses(&hub, "topic=e", 1), [address]);
}

#[test]
fn nobody_else_is_believed() {
    for trusted in ["", "10.0.0.0/8, ::1, unix:"] {
        let hub = start(trusted);
        for header in [FORWARDED, X_FORWARDED_FOR] {
            let (http, address) = connect(&hub);
            let stream = EventStream::open_on(http, "/api/v1/events?topic=a", &[header]).expect("a stream");
            assert_eq!(addresses(&hub, "topic=a", 1), [address], "{trusted:?}");
            drop(stream);
            addresses(&hub, "topic=a", 0);
        }
    }
}

#[test]
fn what_cannot_be_believed_is_no_error() {
    let hub = start("127.0.0.1");
    let many_proxies = "::1,".repeat(10_000);
    let many_trusted = "127.0.0.1,".repeat(5_000);
    for (forwarded, list, expected) in [
        ("for=192.0.2.7", "203.0.113.9", None),
        ("for=unknown", "", None),
        ("for=_hidden;by=\"", "", None),
        ("", &*many_proxies, Some("::1")),
        ("", &*many_trusted, Some("127.0.0.1")),
        ("\",;=\\", "\u{1}, 999.1.1.1", None),
    ] {
        let (mut http, address) = connect(&hub);
        let head = format!(
            "GET /api/v1/events?topic=a HTTP/1.1\r\nHost: hub\r\nForwarded: {forwarded}\r\nX-Forwarded-For: {list}\r\n\r\n"
        );
        http.send_raw(head.replace('\u{1}', "\u{e9}").as_bytes()).expect("it is taken");
        let stream = EventStream::receive_on(http).expect("an answer");
        assert_eq!(stream.head.status, 200, "{forwarded}");
        assert_eq!(addresses(&hub, "topic=a", 1), [expected.unwrap_or(&address)], "{forwarded} {list:.20}");
        drop(stream);
        addresses(&hub, "topic=a", 0);
    }
}

/// Answers of a hub do not change with what a proxy says of the scheme and the host: `public_url` says where the hub is.
#[test]
fn the_scheme_and_the_host_that_a_proxy_tells_mean_nothing() {
    let hub = start("127.0.0.1");
    let (mut socket, _) = (std::net::TcpStream::connect(hub.address()).expect("the hub listens"), ());
    let told = "X-Forwarded-Host: a\r\nX-Forwarded-Host: b c\r\nX-Forwarded-Proto: gopher\r\nForwarded: host=\"x y\";proto=z\r\n";
    let head = format!("GET /api/v1/topics HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n{told}\r\n");
    socket.write_all(head.as_bytes()).expect("it is taken");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn a_list_of_proxies_that_is_none_is_refused_at_the_start() {
    let folder = tempfile::tempdir().expect("a directory can be made");
    for (variable, value, said) in [
        (
            "TIDEWIRE_TRUSTED_PROXIES",
            "10.0.0.1/8",
            "TIDEWIRE_TRUSTED_PROXIES: the network of 10.0.0.1/8 begins at 10.0.0.0",
        ),
        ("TIDEWIRE_TRUSTED_PROXIES", "localhost", "not \"localhost\""),
        ("TIDEWIRE_PROXY_PROTOCOL", "true", "TIDEWIRE_PROXY_PROTOCOL: name the proxies"),
    ] {
        let refusal = Hub::new(folder.path(), BINARY, &["--dev"], &[(variable, value)]).refuse();
        assert!(refusal.said.contains(said), "{}", refusal.said);
    }
}

/// The story: all who came through a proxy had its address, and shared the streams that one address may have.
#[test]
fn streams_are_counted_for_the_client_and_not_for_the_proxy() {
    let environment = [("TIDEWIRE_TRUSTED_PROXIES", "127.0.0.1"), ("TIDEWIRE_MAX_STREAMS_PER_ADDRESS", "2")];
    let hub = Hub::start_with(BINARY, &["--dev"], &environment);
    let statuses = |client: &str, is_kept_alive: bool, query: &str| {
        let open = |_| {
            let (mut http, _) = connect(&hub);
            if is_kept_alive {
                http.request("GET", "/nothing", &[], b"").expect("an answer");
            }
            EventStream::open_on(http, &format!("/api/v1/events?{query}"), &[("x-forwarded-for", client)])
        };
        let streams: Vec<_> = (0..3).map(|n| open(n).expect("an answer")).collect();
        let statuses: Vec<u16> = streams.iter().map(|stream| stream.head.status).collect();
        (streams, statuses)
    };
    let mut streams = Vec::new();
    for (n, query) in ["topic=a", "topic=a&lastId=mine", "topic=a&pattern=/(x|y)"].into_iter().enumerate() {
        for is_kept_alive in [false, true] {
            let client = format!("192.0.2.{}", 2 * n + usize::from(is_kept_alive));
            let (of_it, statuses) = statuses(&client, is_kept_alive, query);
            assert_eq!((statuses[0], statuses[1]), (200, 200), "{client} {query}");
            assert_ne!(statuses[2], 200, "{client} {query}");
            streams.push(of_it);
        }
    }
    let (of_the_proxy, statuses) = statuses("unknown", false, "topic=a");
    assert_eq!(statuses[..2], [200, 200], "nobody else was counted for it");
    drop(of_the_proxy);
}
