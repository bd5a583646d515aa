//! A hub whose log takes long to open: nobody is let in before.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::json;
use tidewire_harness::{Clock, EventStream, Http, Hub, wait_until};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
/// How long the disk takes for the newest file of the log.
const SLOW: Duration = Duration::from_secs(3);
const WITHIN: Duration = Duration::from_secs(60);

/// A connection that is taken in before could not be answered, and whoever spreads requests over hubs would count it in.
#[test]
fn the_hub_listens_once_its_log_is_open() {
    let folder = tempfile::tempdir().expect("a directory can be made");
    let data = folder.path().join("data");
    let mut hub = Hub::start_in(&data, BINARY, &["--dev"], &[]);
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    let body = json!({"topic": "a", "data": "x"}).to_string();
    let answer = http.request("POST", "/api/v1/events", &[("content-type", "application/json")], body.as_bytes());
    let id = answer.expect("the hub answers").json()["id"].as_str().expect("an id").to_owned();
    assert!(hub.terminate().success());

    let files = fs::read_dir(&data).expect("it is there").map(|file| file.expect("it can be read").path());
    let newest = files.filter(|file| file.extension().is_some_and(|end| end == "seg")).max().expect("a segment");
    let slow = folder.path().join("slow");
    let inject = format!("-e trace=openat -e inject=openat:delay_enter={}:when=1", SLOW.as_micros());
    let script =
        format!("#!/bin/sh\nexec strace -D -f -o /dev/null -P {} {inject} {BINARY} \"$@\"\n", newest.display());
    fs::write(&slow, script).expect("it can be written");
    fs::set_permissions(&slow, fs::Permissions::from_mode(0o755)).expect("it is ours");

    let mut hub = Hub::new(&data, slow.to_str().expect("text"), &["--dev"], &[]);
    let (address, admin) = (hub.address(), hub.admin());
    let clock = Clock::start();
    let starting = std::thread::spawn(move || {
        hub.restart();
        hub
    });
    wait_until("the hub listens", WITHIN, || {
        TcpStream::connect(address).or_else(|_| TcpStream::connect(admin)).is_ok()
    });
    let listened = Duration::from_micros(clock.now().0);
    let mut hub = starting.join().expect("it starts");
    assert!(listened >= SLOW, "it listened after {listened:?}, and its log was not open");
    let mut stream = EventStream::open(address, "/api/v1/events?topic=*&from=earliest", &[]).expect("the hub answers");
    assert_eq!(stream.published().id, id);
    drop(stream);
    assert!(hub.terminate().success());
}
