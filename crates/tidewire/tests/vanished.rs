//! Clients that vanish without a word, as those do whose cable is cut: what they hold is free soon.

#![cfg(target_os = "linux")]

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use tidewire_harness::{Clock, Elsewhere, EventStream, Http, Hub, wait_until};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
const STREAM: &str = "/api/v1/events?topic=a";
const HEARTBEAT: Duration = Duration::from_secs(2);
const STALL_TIMEOUT: Duration = Duration::from_secs(3);
/// How much later than it should one may see that they are gone, beside a build.
const LATER: Duration = Duration::from_secs(3);
const STREAMS: usize = 5;

#[test]
fn clients_that_vanish_are_found_within_the_stall_timeout_and_a_heartbeat() {
    if !Elsewhere::run("in_a_network_of_its_own") {
        eprintln!("not tested: it takes `unshare` and `ip`, and leave to make a network namespace");
    }
}

/// Does nothing, but in a process that the test above starts.
#[test]
fn in_a_network_of_its_own() {
    let Some(mut clients) = Elsewhere::new("clients_of_the_other_test") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("key").display().to_string();
    run(&["token", "new-key", &key]);
    let token = run(&["token", "mint", "--key-file", &key, "--publish", "*"]);
    let arguments = ["--key-file", &key, "--public-url", "https://hub.example", "--anonymous", "true"];
    let settings = [
        ("TIDEWIRE_HEARTBEAT", format!("{}s", HEARTBEAT.as_secs())),
        ("TIDEWIRE_STALL_TIMEOUT", format!("{}s", STALL_TIMEOUT.as_secs())),
        ("TIDEWIRE_HEAD_TIMEOUT", "2s".to_owned()),
        ("TIDEWIRE_IDLE_TIMEOUT", "3s".to_owned()),
    ];
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, &**value)).collect();
    let mut hub = Hub::new(folder.path(), BINARY, &arguments, &settings).with_ip(Elsewhere::HERE.into());
    hub.restart();
    let places = hub.figure("tidewire_connection_places_free");
    let mut witness = EventStream::open(hub.address(), STREAM, &[]).expect("a stream");
    clients.order(&format!("{} {}", hub.address(), token.trim()));
    wait_until("they are there", Duration::from_secs(60), || hub.figure("tidewire_streams") == 1 + STREAMS as u64);
    assert!(hub.figure("tidewire_connection_places_free") < places);

    clients.vanish();
    let clock = Clock::start();
    let are_gone = || hub.figure("tidewire_streams") == 1 && hub.figure("tidewire_connection_places_free") == places;
    wait_until("they are gone", 4 * (STALL_TIMEOUT + HEARTBEAT + LATER), are_gone);
    let took = Duration::from_micros(clock.now().0);
    println!("found after {took:?}");
    assert!(took < STALL_TIMEOUT + HEARTBEAT + LATER, "found after {took:?}");
    assert_eq!(hub.figure("tidewire_stalls_total"), STREAMS as u64);
    witness.item().expect("it goes on").expect("it goes on");
}

fn run(arguments: &[&str]) -> String {
    let output = Command::new(BINARY).args(arguments).output().expect("it runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Does nothing, but in a process that the test above starts.
#[test]
fn clients_of_the_other_test() {
    Elsewhere::serve(|order| {
        let (hub, token) = order.split_once(' ').expect("the hub's address, and a token");
        let hub: SocketAddr = hub.parse().expect("an address");
        let streams: Vec<EventStream> =
            (0..STREAMS).map(|_| EventStream::open(hub, STREAM, &[]).expect("a stream")).collect();
        let post = |fields: &str, body: &str| {
            let head = "POST /api/v1/events HTTP/1.1\r\nhost: hub\r\ncontent-type: application/json\r\n";
            format!("{head}authorization: Bearer {token}\r\n{fields}\r\n{body}")
        };
        let connect = || Http::connect(hub).expect("the hub accepts");
        let begun = [
            // In a head, between two, in a later one, and in bodies of both kinds.
            "GET /api".to_owned(),
            "GET / HTTP/1.1\r\nhost: hub\r\n\r\n".to_owned(),
            "GET / HTTP/1.1\r\nhost: hub\r\n\r\nGET /api".to_owned(),
            post("content-length: 100\r\n", "{\"topic\""),
            post("transfer-encoding: chunked\r\n", "19\r\n{\"topic\""),
        ];
        let begun = begun.map(|bytes: String| {
            let mut http = connect();
            http.send_raw(bytes.as_bytes()).expect("the hub reads");
            http
        });
        (streams, begun)
    });
}
