//! More clients than there may be streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tidewire_harness::{Clock, Http, Hub, Standing, Throng, wait_until};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
/// The name of the test that is a process of clients.
const CLIENTS: &str = "clients_of_the_other_test";
/// How long anything that must happen may take, beside a build.
const WITHIN: Duration = Duration::from_secs(120);
const PROCESSES: u8 = 2;
const CLIENTS_A_PROCESS: usize = 10_000;
/// As many as fit, with what the log and others need, where 20,000 files may be open.
const STREAMS_MAX: usize = 19_000;
/// So many leave.
const LEAVING: usize = 1_500;
/// How long the admin listener may take for an answer, beside a build.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Does nothing, but in a process that the other test starts.
#[test]
fn clients_of_the_other_test() {
    Throng::serve();
}

fn sum(throngs: &mut [Throng]) -> Standing {
    throngs.iter_mut().map(Throng::standing).fold(Standing::default(), |a, b| Standing {
        unanswered: a.unanswered + b.unanswered,
        open: a.open + b.open,
        refused: a.refused + b.refused,
        odd: a.odd + b.odd,
        told: a.told + b.told,
    })
}

fn publish(http: &mut Http, data: &str) {
    let body = json!({"topic": "a", "data": data}).to_string();
    let answer = http.request("POST", "/api/v1/events", &[("content-type", "application/json")], body.as_bytes());
    assert_eq!(answer.expect("the hub answers").status, 200);
}

#[test]
fn twenty_thousand_come_and_as_many_as_may_be_are_served_and_the_others_once_there_is_room() {
    let streams_max = STREAMS_MAX.to_string();
    let hub = Hub::start_with(BINARY, &["--dev"], &[("TIDEWIRE_MAX_STREAMS", &streams_max)]);
    assert!(!hub.has_told("max_streams is more than open files allow"), "this test needs 20,000 open files a process");
    let (clock, admin, is_over) = (Clock::start(), hub.admin(), Arc::new(AtomicBool::new(false)));
    // Each time by a new connection, which needs a file.
    let asking = std::thread::spawn({
        let is_over = Arc::clone(&is_over);
        move || {
            let (mut slowest, mut asked) = (0, 0);
            while !is_over.load(Ordering::SeqCst) {
                let before = clock.now();
                let mut http = Http::connect(admin).expect("the admin listener accepts");
                let answer = http.request("GET", "/health/ready", &[], b"").expect("the admin listener answers");
                assert_eq!(answer.status, 200);
                slowest = slowest.max(clock.now().0 - before.0);
                asked += 1;
                std::thread::park_timeout(Duration::from_millis(10));
            }
            (Duration::from_micros(slowest), asked)
        }
    });

    let mut throngs: Vec<Throng> =
        (0..PROCESSES).map(|number| Throng::start(hub.address(), 2 + number, CLIENTS)).collect();
    for throng in &mut throngs {
        throng.connect(CLIENTS_A_PROCESS);
    }
    let all = usize::from(PROCESSES) * CLIENTS_A_PROCESS;
    wait_until("all have an answer", WITHIN, || sum(&mut throngs).unanswered == 0);
    let full = Standing { open: STREAMS_MAX, refused: all - STREAMS_MAX, ..Standing::default() };
    assert_eq!(sum(&mut throngs), full);
    assert_eq!(hub.figure("tidewire_streams"), STREAMS_MAX as u64);
    println!("{} files open with {STREAMS_MAX} streams", hub.open_files());
    // Publishing goes on, and still nobody else is served.
    let mut http = Http::connect(hub.address()).expect("the hub accepts");
    publish(&mut http, "something");
    for throng in &mut throngs {
        throng.try_again();
    }
    wait_until("all have an answer", WITHIN, || sum(&mut throngs).unanswered == 0);
    assert_eq!(sum(&mut throngs), full);

    throngs[0].leave(LEAVING);
    wait_until("they have left", WITHIN, || hub.figure("tidewire_streams") == (STREAMS_MAX - LEAVING) as u64);
    for throng in &mut throngs {
        throng.try_again();
    }
    wait_until("all have an answer", WITHIN, || sum(&mut throngs).unanswered == 0);
    let served = Standing { open: all - LEAVING, ..Standing::default() };
    assert_eq!(sum(&mut throngs), served);
    publish(&mut http, "to all");
    wait_until("all are told", WITHIN, || sum(&mut throngs) == Standing { told: served.open, ..served });
    is_over.store(true, Ordering::SeqCst);
    let (slowest, asked) = asking.join().expect("the admin listener answered throughout");
    println!("the admin listener answered {asked} times, the slowest in {slowest:?}");
    assert!(slowest < ANSWER_MAX, "the admin listener took {slowest:?}");
    assert_eq!(hub.figure("tidewire_accept_failures_total"), 0);
}
