use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use tidewire_core::ClientAddress;

use crate::pipe::PipeWriter;
use crate::tls::TlsSocket;
use crate::{Carried, Socket};

/// What of a stream's bytes the kernel may hold unsent: the rest of a slow reader's backlog stays
/// in the log.
const NOT_SENT_BYTES_MAX: u32 = 16 * 1024;

/// What carries a connection's bytes.
pub(crate) enum Transport {
    Tcp(TcpStream),
    Tls(Box<TlsSocket<TcpStream>>),
    /// A task, by a protocol of its own.
    Pipe(PipeWriter),
}

impl Transport {
    /// None where a task has it.
    fn socket(&self) -> Option<&TcpStream> {
        match self {
            Transport::Tcp(socket) => Some(socket),
            Transport::Tls(tls) => Some(tls.socket()),
            Transport::Pipe(_) => None,
        }
    }

    fn socket_mut(&mut self) -> Option<&mut TcpStream> {
        match self {
            Transport::Tcp(socket) => Some(socket),
            Transport::Tls(tls) => Some(tls.socket_mut()),
            Transport::Pipe(_) => None,
        }
    }

    /// The connection, to be served elsewhere.
    pub(crate) fn into_socket(self) -> Socket {
        match self {
            Transport::Tcp(socket) => Socket::Tcp(socket.into()),
            Transport::Tls(tls) => {
                let (socket, session) = tls.into_parts();
                Socket::Tls(Box::new(TlsSocket::new(socket.into(), session)))
            }
            Transport::Pipe(_) => unreachable!("a pipe is a stream from the beginning"),
        }
    }

    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, Transport::Tls(_))
    }

    /// Whether a client will not take an answer. What it has sent beyond its head is left unread.
    pub(crate) fn has_left(&mut self) -> bool {
        let socket = match self {
            Transport::Tcp(socket) => socket,
            Transport::Tls(tls) => {
                if tls.has_left() {
                    return true;
                }
                tls.socket()
            }
            Transport::Pipe(pipe) => return pipe.has_left(),
        };
        match socket.peek(&mut [0]) {
            Ok(peeked) => peeked == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }

    /// Looks at what was sent, and leaves it unread.
    pub(crate) fn peek(&self, into: &mut [u8]) -> io::Result<usize> {
        self.socket().map_or(Err(ErrorKind::WouldBlock.into()), |socket| socket.peek(into))
    }

    /// Whether bytes that were taken are still to be sent, for which the transport waits to be writable.
    pub(crate) fn holds(&self) -> bool {
        match self {
            Transport::Tls(tls) => tls.holds(),
            Transport::Tcp(_) | Transport::Pipe(_) => false,
        }
    }

    /// Sends what is held, as far as the socket takes it, and says how many bytes went.
    pub(crate) fn send_held(&mut self) -> io::Result<usize> {
        match self {
            Transport::Tls(tls) => tls.send_held(),
            Transport::Tcp(_) | Transport::Pipe(_) => Ok(0),
        }
    }

    /// Writes the last bytes, as far as they are taken.
    pub(crate) fn write_last(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Transport::Tcp(socket) => socket.write(bytes).map(|_| ()),
            // Without an end of its own, TLS would end as if the connection had broken.
            Transport::Tls(tls) => tls.write(bytes).and_then(|_| tls.end_writing()),
            Transport::Pipe(pipe) => pipe.write(bytes).map(|_| ()),
        }
    }

    /// Says that nothing more will be written.
    pub(crate) fn end_writing(&mut self) -> io::Result<()> {
        if let Transport::Tls(tls) = self {
            tls.end_writing()?;
        }
        self.socket().map_or(Ok(()), |socket| socket.shutdown(Shutdown::Write))
    }

    /// Has events go out as they come, little of them held by the system, and a client that takes none found. A Unix socket
    /// does all but the last by itself.
    pub(crate) fn tune(&self, stall_timeout: Duration) -> io::Result<()> {
        let Some(socket) = self.socket() else { return Ok(()) };
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

    pub(crate) fn is_piped(&self) -> bool {
        matches!(self, Transport::Pipe(_))
    }

    /// What it is, for those who look at the stream, with the address that a proxy told of its client.
    pub(crate) fn seen(&self, told: Option<ClientAddress>) -> Carried {
        Carried { address: told.or_else(|| self.peer()), is_piped: self.is_piped() }
    }

    /// Where the other end is.
    pub(crate) fn peer(&self) -> Option<ClientAddress> {
        if let Transport::Pipe(pipe) = self {
            return Some(pipe.peer());
        }
        let address = socket2::SockRef::from(self.socket()?).peer_addr().ok()?;
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

impl Read for Transport {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Transport::Tcp(socket) => socket.read(into),
            Transport::Tls(tls) => tls.read(into),
            Transport::Pipe(_) => Err(ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Transport {
    /// What was taken may be held ([`Transport::holds`]).
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Transport::Tcp(socket) => socket.write(bytes),
            Transport::Tls(tls) => tls.write(bytes),
            Transport::Pipe(pipe) => pipe.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Transport::Tcp(socket) => socket.flush(),
            Transport::Tls(tls) => tls.flush(),
            Transport::Pipe(_) => Ok(()),
        }
    }
}

/// A pipe needs no readiness: its reader writes to the shard.
impl Source for Transport {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.socket_mut().map_or(Ok(()), |socket| socket.register(registry, token, interests))
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.socket_mut().map_or(Ok(()), |socket| socket.reregister(registry, token, interests))
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.socket_mut().map_or(Ok(()), |socket| socket.deregister(registry))
    }
}
