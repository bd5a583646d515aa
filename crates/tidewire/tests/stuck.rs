//! A thread that has work and does nothing: the hub says that it is not alive, and that it is again.

use std::time::Duration;

use serde_json::json;
use tidewire_harness::{Clock, Http, Hub, Tracer, wait_until};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
const WITHIN: Duration = Duration::from_secs(60);
const STUCK_AFTER: Duration = Duration::from_secs(2);
/// For how long a system call is held, in strace's microseconds: until it is let go.
const HELD: &str = "delay_enter=600000000";

fn start() -> Hub {
    Hub::start_with(BINARY, &["--dev"], &[("TIDEWIRE_STUCK_AFTER", "2s"), ("TIDEWIRE_SHARDS", "2")])
}

/// The status of `/health/live`, and who is said to be stuck.
fn live(hub: &Hub) -> (u16, String) {
    let mut http = Http::connect(hub.admin()).expect("the admin listener accepts");
    let answer = http.request("GET", "/health/live", &[], b"").expect("the hub answers");
    (answer.status, answer.text())
}

/// Waits until the hub says who is stuck, which takes its time, and then until it is well again.
fn is_stuck_until(hub: &Hub, who: &str, let_go: impl FnOnce()) {
    let clock = Clock::start();
    wait_until("the hub is not alive", WITHIN, || live(hub).0 == 503);
    let took = Duration::from_micros(clock.now().0);
    assert!(took >= STUCK_AFTER, "after {took:?} already");
    let (_, said) = live(hub);
    assert!(said.contains("urn:tidewire:error:stuck") && said.contains(who), "{said}");
    assert_eq!((hub.figure("tidewire_live"), hub.figure("tidewire_ready")), (0, 0));
    let_go();
    wait_until("the hub is alive again", WITHIN, || live(hub).0 == 200);
    assert_eq!((hub.figure("tidewire_live"), hub.figure("tidewire_ready")), (1, 1));
}

#[test]
fn a_committer_that_is_held_with_work_waiting_is_stuck_and_one_without_is_not() {
    let hub = start();
    let tracer = Tracer::inject(hub.process(), &format!("fdatasync:{HELD}"));
    // What must not happen is given some time to happen.
    let clock = Clock::start();
    wait_until("some time has passed", WITHIN, || {
        assert_eq!(live(&hub).0, 200, "nothing waits");
        Duration::from_micros(clock.now().0) > 2 * STUCK_AFTER
    });
    let address = hub.address();
    let publisher = std::thread::spawn(move || {
        let mut http = Http::connect(address).expect("the hub listens");
        let body = json!({"topic": "a", "data": "x"}).to_string();
        http.request("POST", "/api/v1/events", &[("content-type", "application/json")], body.as_bytes())
    });
    is_stuck_until(&hub, "the log's committer", || drop(tracer));
    assert_eq!(publisher.join().expect("no panic").expect("the hub answers").status, 200);
}

/// However stuck it is, what restarts it need not kill it.
#[test]
fn a_hub_that_is_stuck_ends_nevertheless_and_says_that_it_did_not_finish() {
    let settings = [("TIDEWIRE_DRAIN_TIMEOUT", "1s"), ("TIDEWIRE_SHARDS", "1")];
    for held in ["shard-0", "committer"] {
        let mut hub = Hub::start_with(BINARY, &["--dev"], &settings);
        let mut http = Http::connect(hub.address()).expect("the hub listens");
        let tracer = if held == "committer" {
            Tracer::inject(hub.process(), &format!("fdatasync:{HELD}"))
        } else {
            Tracer::inject_thread(hub.process(), held, &format!("?epoll_wait,epoll_pwait:{HELD}"))
        };
        let body = json!({"topic": "a", "data": "x"}).to_string();
        http.send("POST", "/api/v1/events", &[("content-type", "application/json")], body.as_bytes()).expect("sent");
        let waits = || held != "committer" || hub.figure("tidewire_append_queue_bytes") > 0;
        wait_until("the event waits to be committed", WITHIN, waits);
        let clock = Clock::start();
        hub.signal("TERM");
        wait_until("the hub gives up", WITHIN, || hub.has_told("not stopped within 10s"));
        let took = Duration::from_micros(clock.now().0);
        // A second for the drain and ten for what is under way; and this machine may have much to do.
        assert!(took < Duration::from_secs(1 + 10 + 5), "{held}: it took {took:?}");
        // What is traced has ended once strace lets go of it.
        tracer.abandon();
        assert_eq!(hub.ended().code(), Some(1), "{held}");
        assert!(http.receive().is_err(), "{held}: it was answered");
    }
}

#[test]
fn a_shard_that_is_held_is_stuck() {
    let hub = start();
    let held = format!("?epoll_wait,epoll_pwait:{HELD}");
    let tracer = Tracer::inject_thread(hub.process(), "shard-1", &held);
    is_stuck_until(&hub, "shard 1", || drop(tracer));
}

/// The story: whoever asked for a place in the log that a disk was to be read for waited for as long as the disk hung, and held
/// the place of a stream that needs no disk.
#[test]
fn a_disk_that_hangs_keeps_nobodys_place_for_long() {
    let settings = [
        ("TIDEWIRE_SEGMENT_BYTES", "2MiB"),
        ("TIDEWIRE_BODY_BYTES", "1MiB"),
        ("TIDEWIRE_EVENT_BYTES", "512KiB"),
        ("TIDEWIRE_MAX_STREAMS", "1"),
        ("TIDEWIRE_DECIDE_TIMEOUT", "2s"),
    ];
    let hub = Hub::start_with(BINARY, &["--dev"], &settings);
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    for _ in 0..16 {
        let body = json!({"topic": "a", "data": "x".repeat(400_000)}).to_string();
        let answer = http.request("POST", "/api/v1/events", &[("content-type", "application/json")], body.as_bytes());
        assert_eq!(answer.expect("the hub answers").status, 200);
    }
    let ask = |target: &str| {
        let mut http = Http::connect(hub.address()).expect("the hub listens");
        http.send("GET", target, &[], b"").expect("the hub reads");
        http
    };
    let tracer = Tracer::inject_thread(hub.process(), "place-seeker-0", &format!("pread64:{HELD}"));
    let clock = Clock::start();
    let mut seeking = ask("/api/v1/events?topic=a&lastId=mine");
    let refused = seeking.receive().expect("the hub answers");
    let took = Duration::from_micros(clock.now().0);
    assert!(took >= Duration::from_secs(2), "after {took:?} already");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(refused.json()["type"], "urn:tidewire:error:busy");
    assert_eq!(hub.figure("tidewire_undecided_timeouts_total"), 1);
    let mut stream = ask("/api/v1/events?topic=a");
    assert_eq!(stream.receive_head().expect("the hub answers").0, 200, "its place is free");
    drop(stream);
    wait_until("the stream has ended", WITHIN, || hub.figure("tidewire_streams") == 0);
    drop(tracer);
    assert_eq!(ask("/api/v1/events?topic=a&lastId=mine").receive_head().expect("the hub answers").0, 200);
}
