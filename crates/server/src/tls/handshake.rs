use std::pin::pin;
use std::time::Duration;

use rustls::ServerConnection;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::figures::Failure;
use super::{Protocol, Tls};
use crate::hub::Hub;

/// What the first record of every client begins with.
const HANDSHAKE_RECORD: u8 = 0x16;

/// How long a handshake may take while `max_connections` are there: whoever says nothing would else keep all others
/// waiting for the whole of `head_timeout`.
const FULL_TIMEOUT: Duration = Duration::from_secs(1);

/// What a connection turned out to be.
pub(crate) enum Opened {
    /// TLS is agreed on, and what is spoken above it.
    Tls(TcpStream, Box<ServerConnection>, Protocol),
    /// The client speaks HTTP as it is, and can be told so.
    PlainHttp(TcpStream),
}

/// Finds out what a connection is, and counts it. It is none, which needs no answer, where the client goes away, takes too
/// long or does not agree.
pub(crate) async fn open(hub: &Hub, tls: &Tls, socket: TcpStream) -> Option<Opened> {
    let opened = patiently(hub, shake_hands(tls, socket)).await.unwrap_or(Err(Failure::Timeout));
    match &opened {
        Ok(Opened::Tls(..)) => tls.figures.count_handshake(),
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
        Ok(stream) => {
            let (socket, session) = stream.into_inner();
            let protocol = Protocol::agreed(session.alpn_protocol());
            Ok(Opened::Tls(socket, Box::new(session), protocol))
        }
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
        if hub.connections.available_permits() == 0 {
            break;
        }
    }
    None
}
