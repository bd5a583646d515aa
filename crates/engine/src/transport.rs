use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use tidewire_core::ClientAddress;

use crate::Socket;
use crate::tls::TlsSocket;

/// What of a stream's bytes the kernel may hold unsent: the rest of a slow reader's backlog stays
/// in the log.
const NOT_SENT_BYTES_MAX: u32 = 16 * 1024;

/// What carries a connection's bytes.
#[derive(Debug)]
pub(crate) enum Transport {
    Tcp(TcpStream),
    Tls(Box<TlsSocket<TcpStream>>),
}

impl Transport {
    fn socket(&self) -> &TcpStream {
        match self {
            Transport::Tcp(socket) => socket,
            Transport::Tls(tls) => tls.socket(),
        }
    }

    fn socket_mut(&mut self) -> &mut TcpStream {
        match self {
            Transport::Tcp(socket) => socket,
            Transport::Tls(tls) => tls.socket_mut(),
        }
    }

    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, Transport::Tls(_))
    }

    /// Whether a client will not take an answer. What it has sent beyond its head is left unread.
    pub(crate) fn has_left(&mut self) -> bool {
        if let Transport::Tls(tls) = self
            && tls.has_left()
        {
            return true;
        }
        match self.peek(&mut [0]) {
            Ok(peeked) => peeked == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }

    /// Looks at what was sent, and leaves it unread.
    pub(crate) fn peek(&self, into: &mut [u8]) -> io::Result<usize> {
        self.socket().peek(into)
    }

    /// Whether bytes that were taken are still to be sent, for which the transport waits to be writable.
    pub(crate) fn holds(&self) -> bool {
        match self {
            Transport::Tcp(_) => false,
            Transport::Tls(tls) => tls.holds(),
        }
    }

    /// Sends what is held, as far as the socket takes it, and says how many bytes went.
    pub(crate) fn send_held(&mut self) -> io::Result<usize> {
        match self {
            Transport::Tcp(_) => Ok(0),
            Transport::Tls(tls) => tls.send_held(),
        }
    }

    /// Whether there may be something to read of which the poll says nothing.
    pub(crate) fn reads_ahead(&self) -> bool {
        self.is_tls()
    }

    /// Writes the last bytes, as far as they are taken.
    pub(crate) fn write_last(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Transport::Tcp(socket) => socket.write(bytes).map(|_| ()),
            // Without an end of its own, TLS would end as if the connection had broken.
            Transport::Tls(tls) => tls.write(bytes).and_then(|_| tls.end_writing()),
        }
    }

    /// Says that nothing more will be written.
    pub(crate) fn end_writing(&mut self) -> io::Result<()> {
        if let Transport::Tls(tls) = self {
            tls.end_writing()?;
        }
        self.socket().shutdown(Shutdown::Write)
    }

    /// Has events go out as they come, little of them held by the system, and a client that takes none found. A Unix socket
    /// does all but the last by itself.
    pub(crate) fn tune(&self, stall_timeout: Duration) -> io::Result<()> {
        let socket = self.socket();
        if self.peer() == Some(ClientAddress::Unix) {
            return Ok(());
        }
        socket.set_nodelay(true)?;
        #[cfg(target_os = "linux")]
        {
            let socket = socket2::SockRef::from(socket);
            socket.set_tcp_notsent_lowat(NOT_SENT_BYTES_MAX)?;
            socket.set_tcp_user_timeout(Some(stall_timeout))?;
        }
        Ok(())
    }

    /// Where the other end is.
    pub(crate) fn peer(&self) -> Option<ClientAddress> {
        let address = socket2::SockRef::from(self.socket()).peer_addr().ok()?;
        if address.is_unix() { Some(ClientAddress::Unix) } else { address.as_socket().map(ClientAddress::from) }
    }
}

impl From<Socket> for Transport {
    fn from(socket: Socket) -> Transport {
        match socket {
            Socket::Tcp(socket) => Transport::Tcp(TcpStream::from_std(socket)),
            Socket::Tls(tls) => {
                let (socket, session) = tls.into_parts();
                Transport::Tls(Box::new(TlsSocket::new(TcpStream::from_std(socket), session)))
            }
        }
    }
}

impl From<Transport> for Socket {
    fn from(transport: Transport) -> Socket {
        match transport {
            Transport::Tcp(socket) => Socket::Tcp(socket.into()),
            Transport::Tls(tls) => {
                let (socket, session) = tls.into_parts();
                Socket::Tls(Box::new(TlsSocket::new(socket.into(), session)))
            }
        }
    }
}

impl Read for Transport {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Transport::Tcp(socket) => socket.read(into),
            Transport::Tls(tls) => tls.read(into),
        }
    }
}

impl Write for Transport {
    /// What was taken may be held ([`Transport::holds`]).
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Transport::Tcp(socket) => socket.write(bytes),
            Transport::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Transport::Tcp(socket) => socket.flush(),
            Transport::Tls(tls) => tls.flush(),
        }
    }
}

impl Source for Transport {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.socket_mut().register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.socket_mut().reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.socket_mut().deregister(registry)
    }
}
