//! Streams over TLS: where they are served, that they resume, that nothing is lost or doubled however slowly they are
//! read, and how they end.

use std::process::{Command, Stdio};

use tidewire_harness::{figure, wait_until};
use tidewire_sse::Item;

use super::*;

/// An event that many records of TLS carry.
const LARGE: usize = 300_000;

#[test]
fn streams_in_both_versions_are_on_a_shard_and_resume() {
    let tls = TlsHub::start();
    for version in VERSIONS {
        let client = tls.authority.client(&[*version]);
        let connect = || Http::connect_tls(tls.hub.address(), &client).expect("TLS is agreed on");
        let mut stream = begin(connect(), "");
        assert_eq!((tls.hub.figure("tidewire_tls_streams"), tls.hub.figure("tidewire_streams")), (1, 1));
        let ids: Vec<String> = (0..3).map(|n| publish(&mut connect(), &format!("{n}"))).collect();
        let seen: Vec<String> = (0..3).map(|_| stream.published().id).collect();
        assert_eq!(seen, ids);
        drop(stream);
        wait_until("the stream is gone", WITHIN, || tls.hub.figure("tidewire_tls_streams") == 0);
        let headers = [("last-event-id", ids[0].as_str())];
        let mut again = EventStream::open_on(connect(), "/api/v1/events?topic=a", &headers).expect("an answer");
        assert_eq!([again.published().id, again.published().id], ids[1..]);
        drop(again);
        wait_until("the stream is gone", WITHIN, || tls.hub.figure("tidewire_tls_streams") == 0);
    }
    assert_eq!(tls.hub.figure("tidewire_http_requests_total{status=\"200\"}"), 6);
}

#[test]
fn a_connection_that_loaded_the_page_turns_into_a_stream() {
    let tls = TlsHub::start();
    let mut http = tls.connect();
    for target in ["/", "/assets/app.js"] {
        assert_eq!(http.request("GET", target, &[], b"").expect("the page").status, 200);
    }
    publish(&mut http, "before");
    let mut stream = begin(http, "");
    assert_eq!(tls.hub.figure("tidewire_tls_streams"), 1);
    // Once to be read for its first head, and once as a stream.
    assert_eq!(tls.hub.figure("tidewire_connections_adopted_total"), 2);
    let id = tls.publish("after");
    assert_eq!(stream.published().id, id);
}

#[test]
fn a_large_body_comes_whole() {
    let tls = TlsHub::start();
    let mut stream = tls.open("");
    let data: String = (0..LARGE).map(|n| char::from(b'a' + u8::try_from(n % 26).expect("a letter"))).collect();
    let mut http = tls.connect();
    let id = publish(&mut http, &data);
    let event = stream.published();
    assert!((event.id.as_str(), event.data.as_str()) == (&id, &data));
    let answer = http.request("GET", &format!("/api/v1/events/{}", id.replace('#', "%23")), &[], b"");
    assert!(answer.expect("the hub answers").json()["data"] == data.as_str());
}

/// It reads nothing while much more is published than sockets and the tail hold, says things meanwhile that nobody
/// asked for, and then gets every byte once.
#[test]
fn a_reader_that_stops_gets_everything_when_it_goes_on() {
    const EVENTS: usize = 60;
    let tls = TlsHub::start_with(&["--tail-bytes", "1MiB", "--durability", "os"]);
    for version in VERSIONS {
        let client = tls.authority.client(&[*version]);
        let mut stream = begin(Http::connect_tls(tls.hub.address(), &client).expect("TLS is agreed on"), "");
        let (mut admin, mut publisher) = (Http::connect(tls.hub.admin()).expect("it accepts"), tls.connect());
        let before = figure(&mut admin, "tidewire_short_writes_total");
        let data = |n: usize| format!("{n} ").repeat(LARGE / 8);
        let ids: Vec<String> = (0..EVENTS).map(|n| publish(&mut publisher, &data(n))).collect();
        wait_until("it is written to no more", WITHIN, || figure(&mut admin, "tidewire_short_writes_total") > before);
        let http = stream.connection();
        for _ in 0..4 {
            if version.version == rustls::ProtocolVersion::TLSv1_3 {
                http.session().expect("it is TLS").refresh_traffic_keys().expect("TLS 1.3 has it");
            }
            http.send_raw(b"nobody wants to know").expect("it is read");
        }
        for (n, id) in ids.iter().enumerate() {
            let event = stream.published();
            assert!(event.id == *id && event.data == data(n), "event {n} is another");
        }
        assert_eq!(figure(&mut admin, "tidewire_tls_streams"), 1, "it stays open");
        publish(&mut publisher, "last");
        assert_eq!(stream.published().data, "last");
        drop(stream);
        wait_until("the stream is gone", WITHIN, || figure(&mut admin, "tidewire_tls_streams") == 0);
    }
}

/// The last record that TLS took may wait for room like any other, and then nothing else is written that would push it.
#[test]
fn what_tls_holds_at_last_is_sent_without_another_event() {
    const EVENTS: usize = 8;
    let tls = TlsHub::start_with(&["--heartbeat", "10min"]);
    let narrow = Http::connect_narrow(tls.hub.address()).expect("the hub accepts");
    let mut stream = begin(narrow.greet(&tls.client).expect("TLS is agreed on"), "");
    let data = |n: usize| format!("{n} ").repeat(20_000);
    let mut publisher = tls.connect();
    (0..EVENTS).for_each(|n| drop(publish(&mut publisher, &data(n))));
    for n in 0..EVENTS {
        assert!(stream.published().data == data(n), "event {n} is another");
    }
}

#[test]
fn a_client_that_takes_nothing_is_closed_and_one_that_is_silent_is_not() {
    let tls = TlsHub::start_with(&["--stall-timeout", "3s", "--heartbeat", "2s"]);
    let _stalled = tls.open("");
    let mut good = begin(tls.connect(), "&type=other");
    let mut publisher = tls.connect();
    (0..60).for_each(|_| drop(publish(&mut publisher, &"x".repeat(LARGE))));
    wait_until("it is given up", WITHIN, || tls.hub.figure("tidewire_stalls_total") == 1);
    let mut comments = 0;
    while comments < 3 {
        // Its place moves on with what it does not see.
        if !matches!(good.item().expect("it goes on").expect("it goes on"), Item::Event(_)) {
            comments += 1;
        }
    }
    assert_eq!(tls.hub.figure("tidewire_tls_streams"), 1);
}

#[test]
fn a_client_that_talks_without_end_is_closed() {
    let tls = TlsHub::start();
    let mut stream = tls.open("");
    let talk = vec![b'x'; 1 << 20];
    // Until the hub does not read any more.
    while stream.connection().send_raw(&talk).is_ok() {}
    wait_until("the stream is gone", WITHIN, || tls.hub.figure("tidewire_tls_streams") == 0);
}

#[test]
fn streams_that_the_hub_ends_are_ended_between_events_and_tls_is_as_well() {
    let mut tls = TlsHub::start();
    let mut streams = [tls.open(""), tls.open("")];
    tls.publish("before");
    let mut http = tls.connect();
    let list = http.request("GET", "/api/v1/connections", &[], b"").expect("the hub answers").json();
    let id = list["connections"][0]["id"].as_str().expect("an id").to_owned();
    let answer = http.request("DELETE", &format!("/api/v1/connections/{id}"), &[], b"").expect("the hub answers");
    assert_eq!(answer.status, 204);
    wait_until("it has ended", WITHIN, || tls.hub.figure("tidewire_streams") == 1);
    tls.hub.signal("TERM");
    let mut whys = Vec::new();
    for stream in &mut streams {
        let mut events = 0;
        while let Some(item) = stream.item().expect("it ends with its last chunk") {
            match item {
                Item::Event(event) if event.data == "before" => events += 1,
                Item::Comment(text) if !text.is_empty() => whys.push(text),
                _ => {}
            }
        }
        assert_eq!(events, 1);
        assert!(stream.connection().is_closed().expect("it is said that this is the end"));
    }
    assert_eq!(whys, ["the hub is stopping"]);
    assert!(tls.hub.ended().success());
}

/// A client may say at once that it has no more to say: that is the end of a stream, as it is without TLS.
#[test]
fn a_client_that_closes_tls_ends_its_stream() {
    let tls = TlsHub::start();
    let mut stream = tls.open("");
    stream.connection().session().expect("it is TLS").send_close_notify();
    stream.connection().send_raw(b"").expect("it is sent");
    wait_until("the stream is gone", WITHIN, || tls.hub.figure("tidewire_tls_streams") == 0);
    let mut http = tls.connect();
    http.send("GET", "/api/v1/events?topic=a", &[], b"").expect("it is read");
    http.session().expect("it is TLS").send_close_notify();
    http.send_raw(b"").expect("it is sent");
    wait_until("it came and went", WITHIN, || {
        let begun = tls.hub.figure("tidewire_streams_begun_total");
        begun == 2 && tls.hub.figure("tidewire_tls_streams") == 0
    });
}

#[test]
fn the_commands_publish_and_subscribe() {
    let tls = TlsHub::start();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(BINARY);
        command
            .args(arguments)
            .args(["--topic", "a", "--url", &tls.hub.url()])
            .env("SSL_CERT_FILE", tls.authority.root());
        command.stdout(Stdio::piped());
        command
    };
    let published = run(&["publish", "hello"]).status().expect("it can be run");
    assert!(published.success());
    let output = run(&["subscribe", "--from", "earliest", "--count", "1"]).output().expect("it can be run");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("hello"), "{text}");
}
