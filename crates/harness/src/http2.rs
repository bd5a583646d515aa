use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::Request;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tidewire_sse::{Decoder, Item, Limits, Message};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

use crate::Response;

/// How long a peer may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// What a stream may send unread, in bytes.
const WINDOW_BYTES: u32 = 64 * 1024;
/// What all streams may: so much that one which is not read keeps no other waiting.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// One HTTP/2 connection: over TLS, or without it, where the client knows that the hub speaks it.
#[derive(Debug)]
pub struct Http2 {
    runtime: Arc<Runtime>,
    requests: SendRequest<Bytes>,
    /// Without a path.
    url: String,
    ended: Option<tokio::task::JoinHandle<Result<(), h2::Error>>>,
}

/// An event stream on it, which is read when somebody asks for more.
#[derive(Debug)]
pub struct Http2Stream {
    runtime: Arc<Runtime>,
    body: RecvStream,
    decoder: Decoder,
    /// The head of the answer.
    pub head: Response,
}

impl Http2 {
    /// Connects.
    ///
    /// # Panics
    /// If the hub does not accept, or speaks something else.
    #[must_use]
    pub fn connect(address: SocketAddr) -> Http2 {
        Http2::connect_on(&runtime(), address, WINDOW_BYTES)
    }

    /// Connects, on threads that others share, with this window for each stream.
    ///
    /// # Panics
    /// If the hub does not accept, or speaks something else.
    #[must_use]
    pub fn connect_on(runtime: &Arc<Runtime>, address: SocketAddr, window: u32) -> Http2 {
        let socket = runtime.block_on(TcpStream::connect(address)).expect("the hub accepts");
        Http2::on(runtime, socket, format!("http://{address}"), window)
    }

    /// Connects over TLS, on threads that others share.
    ///
    /// # Panics
    /// If the hub does not accept, or does not agree on HTTP/2.
    #[must_use]
    pub fn connect_tls(runtime: &Arc<Runtime>, address: SocketAddr, config: &Arc<ClientConfig>) -> Http2 {
        let mut config = ClientConfig::clone(config);
        config.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
        let stream = runtime.block_on(async {
            let socket = TcpStream::connect(address).await.expect("the hub accepts");
            let name = ServerName::IpAddress(address.ip().into());
            TlsConnector::from(Arc::new(config)).connect(name, socket).await.expect("TLS is agreed on")
        });
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        Http2::on(runtime, stream, format!("https://{address}"), WINDOW_BYTES)
    }

    fn on<IO>(runtime: &Arc<Runtime>, io: IO, url: String, window: u32) -> Http2
    where
        IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (requests, connection) = runtime.block_on(async {
            let mut builder = Builder::new();
            builder.initial_window_size(window).initial_connection_window_size(CONNECTION_WINDOW_BYTES);
            builder.handshake(io).await.expect("the hub speaks HTTP/2")
        });
        let ended = runtime.spawn(connection);
        Http2 { runtime: Arc::clone(runtime), requests, url, ended: Some(ended) }
    }

    /// Sends a request, and reads its whole answer.
    ///
    /// # Errors
    /// When the connection or the request is broken off.
    pub fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response, h2::Error> {
        let answer = self.send(method, target, headers, body)?;
        self.receive(answer)
    }

    /// Sends a request.
    ///
    /// # Errors
    /// When the connection is broken off, or is to be used for no more.
    pub fn send(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<ResponseFuture, h2::Error> {
        let (answer, mut to) = self.begin(method, target, headers, body.is_empty())?;
        if !body.is_empty() {
            self.send_body(&mut to, body, true)?;
        }
        Ok(answer)
    }

    /// Sends the head of a request.
    ///
    /// # Errors
    /// When the connection is broken off, or is to be used for no more.
    pub fn begin(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        is_all: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        let mut request = Request::builder().method(method).uri(format!("{}{target}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("a request");
        self.runtime.block_on(async {
            let ready = tokio::time::timeout(SILENCE_MAX, self.requests.clone().ready());
            ready.await.expect("there is room for a request")?.send_request(request, is_all)
        })
    }

    /// Sends a part of a request's body, which is not empty.
    ///
    /// # Errors
    /// When it is broken off.
    pub fn send_body(&self, to: &mut SendStream<Bytes>, body: &[u8], is_last: bool) -> Result<(), h2::Error> {
        let mut body = Bytes::copy_from_slice(body);
        self.runtime.block_on(async {
            while !body.is_empty() {
                to.reserve_capacity(body.len());
                let room = tokio::time::timeout(SILENCE_MAX, poll_fn(|context| to.poll_capacity(context))).await;
                let Some(room) = room.expect("the hub reads") else { break };
                let piece = body.split_to(room?.min(body.len()));
                to.send_data(piece, is_last && body.is_empty())?;
            }
            Ok(())
        })
    }

    /// Reads a whole answer.
    ///
    /// # Errors
    /// When it is broken off.
    pub fn receive(&self, answer: ResponseFuture) -> Result<Response, h2::Error> {
        self.runtime.block_on(async {
            let answer = tokio::time::timeout(SILENCE_MAX, answer).await.expect("the hub answers")?;
            let (head, mut body) = answer.into_parts();
            let mut response = response(&head);
            while let Some(piece) = tokio::time::timeout(SILENCE_MAX, body.data()).await.expect("the answer goes on") {
                let piece = piece?;
                body.flow_control().release_capacity(piece.len())?;
                response.body.extend_from_slice(&piece);
            }
            Ok(response)
        })
    }

    /// Opens a stream and reads its head.
    ///
    /// # Errors
    /// When it is broken off before.
    pub fn stream(&mut self, target: &str, headers: &[(&str, &str)]) -> Result<Http2Stream, h2::Error> {
        let answer = self.send("GET", target, headers, b"")?;
        self.receive_stream(answer)
    }

    /// Reads the head of a stream that has been asked for.
    ///
    /// # Errors
    /// When it is broken off before.
    pub fn receive_stream(&self, answer: ResponseFuture) -> Result<Http2Stream, h2::Error> {
        let answer =
            self.runtime.block_on(async { tokio::time::timeout(SILENCE_MAX, answer).await.expect("it begins") })?;
        let (head, body) = answer.into_parts();
        let (runtime, decoder) = (Arc::clone(&self.runtime), Decoder::new(Limits::default()));
        Ok(Http2Stream { runtime, body, decoder, head: response(&head) })
    }

    /// Waits for the end of the connection, and says what the hub gave as the reason.
    ///
    /// # Panics
    /// If it does not end in a minute.
    pub fn ended(&mut self) -> Option<Reason> {
        let ended = self.ended.take().expect("it is waited for once");
        let ended = self.runtime.block_on(async { tokio::time::timeout(SILENCE_MAX, ended).await });
        ended.expect("it ends").expect("it does not panic").err().and_then(|error| error.reason())
    }
}

impl Http2Stream {
    /// The next event, the hub's own among them; `None` at the end of the stream.
    ///
    /// # Errors
    /// When the stream is broken off.
    pub fn event(&mut self) -> Result<Option<Message>, h2::Error> {
        loop {
            match self.item()? {
                Some(Item::Event(message)) => return Ok(Some(message)),
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    /// The next item of any kind; `None` at the end of the stream.
    ///
    /// # Errors
    /// When the stream is broken off.
    ///
    /// # Panics
    /// If it is silent for a minute, or no event stream.
    pub fn item(&mut self) -> Result<Option<Item>, h2::Error> {
        loop {
            if let Some(item) = self.decoder.next() {
                return Ok(Some(item.expect("an event stream")));
            }
            let body = &mut self.body;
            let piece = self.runtime.block_on(async { tokio::time::timeout(SILENCE_MAX, body.data()).await });
            match piece.expect("the stream goes on") {
                Some(piece) => {
                    let piece = piece?;
                    body.flow_control().release_capacity(piece.len())?;
                    self.decoder.feed(&piece);
                }
                None => return Ok(None),
            }
        }
    }

    /// The next event of a publisher; the hub's own are passed over.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn published(&mut self) -> Message {
        loop {
            let event = self.event().expect("the stream goes on").expect("the stream goes on");
            if !event.event_type.starts_with("tidewire.") {
                return event;
            }
        }
    }
}

/// Threads for HTTP/2 connections.
///
/// # Panics
/// If there are none.
#[must_use]
pub fn runtime() -> Arc<Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    Arc::new(runtime.expect("a thread can be made"))
}

fn response(head: &http::response::Parts) -> Response {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value)));
    Response { status: head.status.as_u16(), headers: headers.collect(), body: Vec::new() }
}
