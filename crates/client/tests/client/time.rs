//! What the client does when, in paused time: the servers are at the other end of a pipe, so that nothing but timers
//! can be waited for.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{Answer, STREAM, Server, close, hold, messages, status, to_end};
use tidewire_client::{Backoff, Client, Connect, Connecting, DisconnectReason, Events, RequestError, Target, Update};
use tokio::time::{Instant, sleep};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Reads until the connection is lost; returns why, the wait that follows, and after how long.
async fn lost(events: &mut Events) -> (DisconnectReason, Duration, Duration) {
    let start = Instant::now();
    loop {
        match events.next().await.expect("the subscription goes on") {
            Update::Disconnected { reason, retry_in } => return (reason, retry_in, start.elapsed()),
            Update::Failed(error) => panic!("{error}"),
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_left_after_45_seconds() {
    let server = Server::new([hold(STREAM), hold(format!("{STREAM}:\n")).later(seconds(44), ":\n")]);
    let mut events = server.piped().subscribe();
    let (reason, _, after) = lost(&mut events).await;
    assert!(matches!(reason, DisconnectReason::Silent { after } if after == seconds(45)), "{reason}");
    assert_eq!(after, seconds(45));

    let connected = events.next().await;
    assert!(matches!(connected, Some(Update::Connected { .. })));
    let (reason, _, after) = lost(&mut events).await;
    assert!(matches!(reason, DisconnectReason::Silent { .. }), "{reason}");
    assert_eq!(after, seconds(44 + 45));
}

#[tokio::test(start_paused = true)]
async fn the_announced_heartbeat_counts_twice() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTidewire-Heartbeat: 20\r\n\r\n";
    let server = Server::new([hold(head).later(seconds(39), ":").later(seconds(39), "\n")]);
    let (reason, _, after) = lost(&mut server.piped().subscribe()).await;
    assert!(matches!(reason, DisconnectReason::Silent { after } if after == seconds(40)), "{reason}");
    assert_eq!(after, seconds(39 + 39 + 40));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_does_not_listen_does_not_blame_the_server() {
    let server = Server::new([close(format!("{STREAM}data: a\n\n")).later(seconds(100), "data: b\n\n")]);
    let mut events = server.piped().subscribe();
    while !matches!(events.next().await, Some(Update::Event(_))) {}
    sleep(seconds(101)).await;
    assert!(matches!(events.next().await, Some(Update::Event(message)) if message.data == "b"));
}

#[tokio::test(start_paused = true)]
async fn a_connection_has_ten_seconds_and_an_answer_thirty() {
    struct Stuck;
    impl Connect for Stuck {
        fn connect(&self, _: &Target) -> Connecting {
            Box::pin(std::future::pending())
        }
    }
    let stuck = Client::with_connector("http://hub", Arc::new(Stuck)).expect("a URL");
    let (reason, _, after) = lost(&mut stuck.subscribe()).await;
    assert!(matches!(reason, DisconnectReason::Request(RequestError::ConnectTimeout { .. })), "{reason}");
    assert_eq!(after, seconds(10));

    for begun in ["", "HTTP/1.1 200 OK\r\nContent-"] {
        let (reason, _, after) = lost(&mut Server::new([hold(begun)]).piped().subscribe()).await;
        assert!(matches!(reason, DisconnectReason::Request(RequestError::AnswerTimeout { .. })), "{reason}");
        assert_eq!(after, seconds(30));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_does_not_end_holds_nothing_up() {
    let head = "HTTP/1.1 503 Busy\r\nContent-Type: application/problem+json\r\nContent-Length: 99\r\n\r\n{";
    let (reason, _, after) = lost(&mut Server::new([hold(head)]).piped().subscribe()).await;
    assert!(matches!(reason, DisconnectReason::Busy(_)), "{reason}");
    assert_eq!(after, seconds(2));
}

#[tokio::test(start_paused = true)]
async fn retry_is_the_least_that_is_waited_and_outlives_its_connection() {
    let server = Server::new([close(format!("{STREAM}retry: 5000\ndata: a\n\n")), close(""), close("")]);
    let mut events = server.piped().subscribe();
    for ceiling in [1, 2, 4] {
        let (_, retry_in, _) = lost(&mut events).await;
        assert!((seconds(5)..=seconds(5 + ceiling)).contains(&retry_in), "{retry_in:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_client_waits_as_long_as_it_says() {
    let server = Server::new([close(format!("{STREAM}retry: 5000\ndata: a\n\n"))]);
    let mut events = server.piped().subscribe();
    let (_, retry_in, _) = lost(&mut events).await;
    let start = Instant::now();
    assert!(to_end(&mut events).await.is_empty());
    assert!(start.elapsed().abs_diff(retry_in) <= Duration::from_millis(1), "{retry_in:?}, {:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn retry_after_counts_once() {
    let server = Server::new([close(status("503 Busy", "Retry-After: 100\r\n", "")), close("")]);
    let mut events = server.piped().subscribe();
    let (_, retry_in, _) = lost(&mut events).await;
    assert!((seconds(100)..=seconds(101)).contains(&retry_in), "{retry_in:?}");
    let (_, retry_in, _) = lost(&mut events).await;
    assert!(retry_in <= seconds(2), "{retry_in:?}");
}

/// An overloaded hub answers 200, a `retry:` and an end, since a browser gives up on anything else. Were that a success,
/// every such client would come back at the shortest interval for as long as the overload lasts.
#[tokio::test(start_paused = true)]
async fn an_answer_without_an_event_is_no_success() {
    let turned_away = || close(format!("{STREAM}retry: 0\n\n"));
    let served = || close(format!("{STREAM}:\n"));
    let script = [turned_away(), turned_away(), turned_away(), turned_away(), served(), turned_away()];
    let server = Server::new(script);
    let mut events = server.piped().backoff(Backoff::new(seconds(1), seconds(8))).subscribe();
    let mut waits = Vec::new();
    for _ in 0..6 {
        waits.push(lost(&mut events).await.1);
    }
    for (wait, ceiling) in waits.iter().zip([1, 2, 4, 8, 1, 2]) {
        assert!(*wait <= seconds(ceiling), "{waits:?}");
    }
    assert!(waits[..4].iter().max() > Some(&seconds(1)), "the ceiling rises: {waits:?}");
}

#[tokio::test(start_paused = true)]
async fn it_never_gives_up() {
    let server = Server::new([close(format!("{STREAM}data: a\n\n"))]).failing(10_000);
    let start = Instant::now();
    let mut events = server.piped().subscribe();
    let mut failures = 0;
    loop {
        match events.next().await.expect("the subscription goes on") {
            Update::Disconnected { reason: DisconnectReason::Request(RequestError::Connect(_)), .. } => failures += 1,
            Update::Connected { .. } => break,
            update => panic!("{update:?}"),
        }
    }
    assert_eq!(failures, 10_000);
    // Full jitter: half of the longest on average.
    let mean = start.elapsed() / failures;
    assert!((seconds(14)..seconds(16)).contains(&mean), "{mean:?}");
}

#[tokio::test(start_paused = true)]
async fn clients_that_lost_one_server_do_not_come_back_together() {
    let mut waits = Vec::new();
    for seed in 0..1_000 {
        let server = Server::new([close(format!("{STREAM}data: a\n\n"))]);
        waits.push(lost(&mut server.piped().jitter_seed(seed).subscribe()).await.1);
    }
    for tenth in 0..10 {
        let slice = seconds(1) * tenth / 10..seconds(1) * (tenth + 1) / 10;
        let count = waits.iter().filter(|&wait| slice.contains(wait)).count();
        assert!((60..140).contains(&count), "{count} of 1,000 in {slice:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_may_be_slower_than_every_timeout_but_the_watchdog() {
    let beat = |answer: Answer, number| answer.later(seconds(44), format!("id: {number}\ndata: {number}\n\n"));
    let server = Server::new([(0..100).fold(close(STREAM), beat)]);
    let updates = to_end(&mut server.piped().subscribe()).await;
    assert_eq!(messages(&updates).len(), 100);
    assert_eq!(server.seen().len(), 2);
}
