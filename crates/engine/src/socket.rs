use std::net::TcpStream;

use crate::tls::TlsSocket;

/// A connection between a shard and whoever speaks all of HTTP on it. It does not block.
#[derive(Debug)]
pub enum Socket {
    /// What is written goes out as it is.
    Tcp(TcpStream),
    /// TLS, after its handshake.
    Tls(Box<TlsSocket<TcpStream>>),
}

impl From<TcpStream> for Socket {
    fn from(socket: TcpStream) -> Socket {
        Socket::Tcp(socket)
    }
}
