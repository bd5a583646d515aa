use std::io::{Read, Write};
use std::thread::JoinHandle;

use tidewire_engine::Admission;

use super::*;
use crate::shutdown::{Stopper, shutdown};
use crate::testing::Bench;

const PAGE: &[u8] = b"GET /assets/app.js HTTP/1.1\r\nhost: hub\r\n\r\n";
const STREAM: &[u8] = b"GET /api/v1/events?topic=a HTTP/1.1\r\nhost: hub\r\nlast-event-id: 1-0\r\n\r\n";

/// A connection that is served, and its client's end.
struct Connection {
    client: std::net::TcpStream,
    served: tokio::task::JoinHandle<Option<Returned>>,
    _stopper: Stopper,
}

impl Connection {
    /// `first` was read before the connection was handed over.
    async fn new(first: &[u8]) -> Connection {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let client = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        // So little that answers have to wait for the client to read.
        client.set_recv_buffer_size(4 * 1024).expect("a small buffer");
        let address = listener.local_addr().expect("an address");
        client.connect(&address.into()).expect("a connection");
        let (socket, _) = listener.accept().await.expect("a connection");
        socket2::SockRef::from(&socket).set_send_buffer_size(4 * 1024).expect("a small buffer");
        let (stopper, stop) = shutdown();
        let (hub, first) = (Bench::dev().hub, first.to_vec());
        let (peer, carrier) = (SocketAddr::from(([127, 0, 0, 1], 1)), Carrier::Tcp(TokioIo::new(socket)));
        let served = tokio::spawn(async move { serve(hub, carrier, peer, first, &stop).await });
        Connection { client: client.into(), served, _stopper: stopper }
    }

    /// What came back, once nobody but a reader holds the client's end: the hub waits for it to be closed.
    async fn returned(self) -> Option<Returned> {
        let Connection { client, served, _stopper } = self;
        drop(client);
        served.await.expect("it was served")
    }
}

/// Reads to the end, with a deadline for each read.
fn read_all(mut socket: std::net::TcpStream) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a deadline");
        let mut all = Vec::new();
        socket.read_to_end(&mut all).expect("the end");
        all
    })
}

fn count(text: &[u8], part: &[u8]) -> usize {
    text.windows(part.len()).filter(|window| *window == part).count()
}

/// A browser asks for the stream on the connection that loaded the page. Whatever was answered
/// before must reach it, however slowly it reads, and what it sent after is no request.
#[tokio::test]
async fn a_connection_goes_back_once_everything_before_is_flushed() {
    const PAGES: usize = 40;
    for read_before in [0, 10, PAGE.len() * PAGES + 7, PAGE.len() * PAGES + STREAM.len() + 3] {
        let mut sent = PAGE.repeat(PAGES);
        sent.extend_from_slice(STREAM);
        sent.extend_from_slice(PAGE);
        let (first, rest) = sent.split_at(read_before);
        let mut connection = Connection::new(first).await;
        connection.client.write_all(rest).expect("small enough for the buffers");
        connection.client.shutdown(std::net::Shutdown::Write).expect("a connection");
        let reader = read_all(connection.client.try_clone().expect("a clone"));
        let Returned { socket, admit } = connection.returned().await.expect("it came back");
        let Socket::Tcp(mut socket) = socket else { panic!("it is no TLS") };
        assert!(matches!(admit(), Admission::Stream(_)), "{read_before}");
        socket.set_nonblocking(false).expect("a blocking socket");
        socket.write_all(b"the stream").expect("a client");
        // A socket that is closed with something unread takes what was written with it.
        socket.read_to_end(&mut Vec::new()).expect("the end");
        drop(socket);
        let answers = tokio::task::spawn_blocking(|| reader.join()).await.expect("a thread").expect("answers");
        assert_eq!(count(&answers, b"HTTP/1.1 200 OK\r\n"), PAGES, "{read_before}");
        assert_eq!(count(&answers, include_bytes!("../../assets/app.js")), PAGES, "{read_before}");
        assert!(answers.ends_with(b"the stream"), "{read_before}");
    }
}

#[tokio::test]
async fn a_request_that_is_refused_stays_and_may_be_followed_by_a_stream() {
    let mut connection = Connection::new(b"GET /api/v1/events HTTP/1.1\r\nhost: hub\r\n\r\n").await;
    connection.client.write_all(STREAM).expect("a hub");
    let reader = read_all(connection.client.try_clone().expect("a clone"));
    drop(connection.returned().await.expect("it came back"));
    let answers = tokio::task::spawn_blocking(|| reader.join()).await.expect("a thread").expect("answers");
    assert!(answers.starts_with(b"HTTP/1.1 400 Bad Request\r\n"));
    assert!(count(&answers, b"urn:tidewire:error:topic-missing") == 1);
}

/// hyper says that a connection is done when its last answer is in its buffer, which may not be
/// with the system yet: one in seven clients that waited for `100 Continue` saw the connection end
/// without an answer.
#[tokio::test]
async fn a_connection_is_closed_after_its_last_answer() {
    let head = b"POST /api/v1/events HTTP/1.1\r\nhost: hub\r\ncontent-type: application/json\r\n\
        content-length: 3500000000\r\nexpect: 100-continue\r\n\r\n";
    for round in 0..50 {
        let connection = Connection::new(head).await;
        let reader = read_all(connection.client.try_clone().expect("a clone"));
        assert!(connection.returned().await.is_none());
        let answer = tokio::task::spawn_blocking(|| reader.join()).await.expect("a thread").expect("an answer");
        assert!(answer.starts_with(b"HTTP/1.1 413 "), "round {round}: {:?}", String::from_utf8_lossy(&answer));
    }
}

/// The shards pass on heads that hyper then refuses. A fresh socket is not known to be writable yet, so
/// hyper's answer stayed in its buffer: whoever sent two lengths, or no URI, saw the connection end without
/// a word.
#[tokio::test]
async fn a_first_request_that_cannot_be_read_is_answered() {
    for head in [
        &b"POST /api/v1/events HTTP/1.1\r\nhost: hub\r\ncontent-length: 5\r\ncontent-length: 25\r\n\r\n"[..],
        b"POST /api/v1/events HTTP/1.1\r\nhost: hub\r\ncontent-length: -5\r\n\r\n",
        b"POST /api/v1/events HTTP/1.1\r\nhost: hub\r\ntransfer-encoding: gzip\r\n\r\n",
        b"GET http:// HTTP/1.1\r\nhost: hub\r\n\r\n",
    ] {
        let connection = Connection::new(head).await;
        let reader = read_all(connection.client.try_clone().expect("a clone"));
        assert!(connection.returned().await.is_none());
        let answer = tokio::task::spawn_blocking(|| reader.join()).await.expect("a thread").expect("an answer");
        assert!(answer.starts_with(b"HTTP/1.1 400 "), "{:?}", String::from_utf8_lossy(head));
        assert_eq!((count(&answer, b"HTTP/1.1 "), count(&answer, b"urn:tidewire:error:head")), (1, 1));
    }
}

#[tokio::test]
async fn an_idle_connection_ends_when_the_hub_stops() {
    let Connection { client, served, _stopper } = Connection::new(b"").await;
    let reader = read_all(client);
    _stopper.stop().await;
    assert!(served.await.expect("it was served").is_none());
    assert!(tokio::task::spawn_blocking(|| reader.join()).await.expect("a thread").expect("nothing").is_empty());
}

/// The story: what a shard had handed over a moment before was told to end before its request was looked at, and so it
/// ended without an answer.
#[tokio::test]
async fn a_request_that_came_before_the_hub_stopped_is_answered() {
    let Connection { client, served, _stopper } = Connection::new(PAGE).await;
    let reader = read_all(client);
    // The connection is served from here on.
    _stopper.stop().await;
    assert!(served.await.expect("it was served").is_none());
    let answer = tokio::task::spawn_blocking(|| reader.join()).await.expect("a thread").expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{:?}", String::from_utf8_lossy(&answer));
}
