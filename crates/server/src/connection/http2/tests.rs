use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use tokio::time::Instant;

use super::*;
use crate::shutdown::{Stopper, shutdown};
use crate::testing::Bench;

/// A client's end of a connection that is served. Time stands still while anybody has something to do.
struct Served {
    client: DuplexStream,
    served: tokio::task::JoinHandle<()>,
    stopper: Stopper,
    began: Instant,
}

impl Served {
    fn new() -> Served {
        let (client, io) = tokio::io::duplex(1 << 20);
        let (stopper, stop) = shutdown();
        let flags = vec![("heartbeat", "2s".to_owned()), ("stall_timeout", "3s".to_owned())];
        let hub = Bench::with(flags).hub;
        let permit = Arc::clone(&hub.connections).try_acquire_owned().expect("a place");
        let peer = ClientAddress::Unix;
        let served = tokio::spawn(async move { serve(hub, io, peer, permit, &stop).await });
        Served { client, served, stopper, began: Instant::now() }
    }

    /// How long it lasted.
    async fn lasted(self) -> Duration {
        self.served.await.expect("it is served");
        self.began.elapsed()
    }
}

/// The client's preface and its settings.
const BEGINNING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// `POST /api/v1/events` with a body that has not come.
const POST: &[u8] = b"\0\0\x2a\x01\x04\0\0\0\x01\x83\x86\x01\x03hub\x04\x0e/api/v1/events\x0f\x10\x10application/json";

#[tokio::test(start_paused = true)]
async fn who_connects_and_says_nothing_has_as_long_as_for_a_head() {
    assert_eq!(Served::new().lasted().await.as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_requests_is_ended_in_time_whether_its_client_goes_or_not() {
    let mut silent = Served::new();
    silent.client.write_all(BEGINNING).await.expect("it is served");
    let idle_timeout = Bench::dev().hub.idle_timeout;
    assert_eq!(silent.lasted().await, idle_timeout + Duration::from_secs(5));

    let mut polite = Served::new();
    let (io, _other) = tokio::io::duplex(1);
    let client = std::mem::replace(&mut polite.client, io);
    let (_requests, connection) = h2::client::handshake(client).await.expect("HTTP/2");
    let (ended, lasted) = tokio::join!(connection, polite.lasted());
    assert!(ended.is_ok(), "it is told to go, and that nothing is wrong");
    assert_eq!(lasted.as_secs(), idle_timeout.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_answer_is_given_up_after_a_heartbeat_and_the_time_of_a_stall() {
    let mut frozen = Served::new();
    frozen.client.write_all(&[BEGINNING, POST].concat()).await.expect("it is served");
    assert_eq!(frozen.lasted().await.as_secs(), 2 + 3);
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_requests_ends_when_the_hub_stops() {
    let Served { client, served, stopper, began } = Served::new();
    let (_requests, connection) = h2::client::handshake(client).await.expect("HTTP/2");
    let client = tokio::spawn(connection);
    stopper.stop().await;
    served.await.expect("it is served");
    assert!(client.await.expect("no panic").is_ok());
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_http_2_behind_the_preface_is_told_so() {
    let mut served = Served::new();
    served.client.write_all(&[BEGINNING, b"GET / HTTP/1.1\r\n\r\n"].concat()).await.expect("it is served");
    let mut told = Vec::new();
    served.client.read_to_end(&mut told).await.expect("it ends");
    assert!(told.windows(9).any(|head| head[3] == 7), "{told:?}");
    assert!(served.lasted().await < Duration::from_secs(1));
}

/// The story: the handshake's future, and that of HTTP/1.1, lay for as long as a connection lasted in the task that it had:
/// 4 KB of the 28 that a connection with one stream took.
#[tokio::test]
async fn little_lasts_with_a_connection_beside_what_the_protocol_needs() {
    let hub = Bench::dev().hub;
    let (_stopper, stop) = shutdown();
    let permit = Arc::clone(&hub.connections).try_acquire_owned().expect("a place");
    let (_client, io) = tokio::io::duplex(1);
    let bytes = size_of_val(&serve(hub, io, ClientAddress::Unix, permit, &stop));
    assert!(bytes <= 640, "{bytes} bytes");
}

/// The story: whoever did not listen to the goodbye had its requests answered, and lasted for as long as it asked.
#[tokio::test(start_paused = true)]
async fn who_is_told_to_go_and_asks_on_and_on_is_ended() {
    let mut deaf = Served::new();
    deaf.client.write_all(BEGINNING).await.expect("it is served");
    let idle_timeout = Bench::dev().hub.idle_timeout;
    tokio::time::sleep(idle_timeout + Duration::from_secs(1)).await;
    for stream in (1_u32..100).step_by(2) {
        // `GET /` of `hub`.
        let head = [b"\0\0\x08\x01\x05", &stream.to_be_bytes()[..], b"\x82\x86\x84\x01\x03hub"].concat();
        if deaf.client.write_all(&head).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(4)).await;
    }
    assert!(deaf.served.is_finished());
    assert!(deaf.began.elapsed() < idle_timeout + Duration::from_secs(30), "{:?}", deaf.began.elapsed());
}
