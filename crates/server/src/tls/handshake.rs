use std::pin::pin;
use std::time::Duration;

use tidewire_engine::{Socket, TLS_HELD_BYTES_MAX, TlsSocket};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::figures::Failure;
use super::{Protocol, Tls};
use crate::hub::Hub;

/// What the first record of every client begins with.
const HANDSHAKE_RECORD: u8 = 0x16;

/// How long a handshake may take while there are as many as there may be: whoever says nothing would else keep all others
/// waiting for the whole of `head_timeout`.
const FULL_TIMEOUT: Duration = Duration::from_secs(1);

/// What a connection turned out to be.
pub(crate) enum Opened {
    /// TLS, and HTTP/1.1 above it: as a shard takes it.
    Http1(Socket),
    /// TLS, and HTTP/2 above it.
    Http2(Box<TlsStream<TcpStream>>),
    /// The client speaks HTTP as it is, and can be told so.
    PlainHttp(TcpStream),
}

/// Finds out what a connection is, and counts it. It is none, which needs no answer, where the client goes away, takes too
/// long or does not agree.
pub(crate) async fn open(hub: &Hub, tls: &Tls, socket: TcpStream) -> Option<Opened> {
    let opened = patiently(hub, shake_hands(tls, socket)).await.unwrap_or(Err(Failure::Timeout));
    match &opened {
        Ok(Opened::Http1(_) | Opened::Http2(_)) => tls.figures.count_handshake(),
        Ok(Opened::PlainHttp(_)) => tls.figures.count_failure(Failure::PlainHttp),
        Err(failure) => tls.figures.count_failure(*failure),
    }
    opened.ok()
}

async fn shake_hands(tls: &Tls, socket: TcpStream) -> Result<Opened, Failure> {
    let mut first = [0];
    match socket.peek(&mut first).await {
        Ok(1) if first[0] != HANDSHAKE_RECORD && first[0].is_ascii_alphabetic() => {
            return Ok(Opened::PlainHttp(socket));
        }
        Ok(1) => {}
        _ => return Err(Failure::Closed),
    }
    match TlsAcceptor::from(tls.config.clone()).accept(socket).await {
        Ok(mut stream) => match Protocol::agreed(stream.get_ref().1.alpn_protocol()) {
            Protocol::Http1 => {
                let (socket, session) = stream.into_inner();
                let socket = socket.into_std().map_err(|_| Failure::Other)?;
                Ok(Opened::Http1(Socket::Tls(Box::new(TlsSocket::new(socket, session)))))
            }
            Protocol::Http2 => {
                stream.get_mut().1.set_buffer_limit(Some(TLS_HELD_BYTES_MAX));
                Ok(Opened::Http2(Box::new(stream)))
            }
        },
        Err(error) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "a handshake failed");
            Err(Failure::of(&error))
        }
    }
}

/// What comes of it within `head_timeout`, or less if others need its place.
async fn patiently<T>(hub: &Hub, future: impl Future<Output = T>) -> Option<T> {
    let (mut future, mut left) = (pin!(future), hub.body_timeout);
    while !left.is_zero() {
        let step = left.min(FULL_TIMEOUT);
        if let Ok(done) = tokio::time::timeout(step, future.as_mut()).await {
            return Some(done);
        }
        left -= step;
        if hub.handshakes.available_permits() == 0 {
            break;
        }
    }
    None
}
