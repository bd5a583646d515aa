use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// How long a peer may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A connection as the tests' HTTP has it.
#[derive(Debug)]
pub(crate) enum Wire {
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Wire> {
        Wire::on(TcpStream::connect(address)?)
    }

    pub(crate) fn on(socket: TcpStream) -> io::Result<Wire> {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(SILENCE_MAX))?;
        Ok(Wire::Tcp(socket))
    }

    /// TLS on a socket on which nothing was said, up to the end of the handshake.
    pub(crate) fn greet(mut socket: TcpStream, config: &Arc<ClientConfig>) -> io::Result<Wire> {
        let address = socket.peer_addr()?;
        let name = ServerName::IpAddress(address.ip().into());
        let mut session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(Wire::Tls(Box::new(StreamOwned::new(session, socket))))
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Wire::Tcp(socket) => socket,
            Wire::Tls(tls) => &tls.sock,
        }
    }

    pub(crate) fn session(&mut self) -> Option<&mut ClientConnection> {
        match self {
            Wire::Tcp(_) => None,
            Wire::Tls(tls) => Some(&mut tls.conn),
        }
    }
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Tcp(socket) => socket.read(into),
            Wire::Tls(tls) => tls.read(into),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Tcp(socket) => socket.write(bytes),
            Wire::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Wire::Tcp(socket) => socket.flush(),
            Wire::Tls(tls) => tls.flush(),
        }
    }
}
