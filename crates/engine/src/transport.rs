use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::Carried;
use crate::pipe::PipeWriter;

/// What of a stream's bytes the kernel may hold unsent: the rest of a slow reader's backlog stays
/// in the log.
const NOT_SENT_BYTES_MAX: u32 = 16 * 1024;

/// What carries a connection's bytes.
pub(crate) enum Transport {
    Tcp(TcpStream),
    /// A task, by a protocol of its own.
    Pipe(PipeWriter),
}

impl Transport {
    /// Whether a client will not take an answer. What it has sent beyond its head is left unread.
    pub(crate) fn has_left(&self) -> bool {
        let socket = match self {
            Transport::Tcp(socket) => socket,
            Transport::Pipe(pipe) => return pipe.has_left(),
        };
        match socket.peek(&mut [0]) {
            Ok(peeked) => peeked == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }

    /// Says that nothing more will be written.
    pub(crate) fn end_writing(&mut self) -> io::Result<()> {
        match self {
            Transport::Tcp(socket) => socket.shutdown(Shutdown::Write),
            Transport::Pipe(_) => Ok(()),
        }
    }

    /// Has events go out as they come, little of them held by the system, and a client that takes none found.
    pub(crate) fn tune(&self, stall_timeout: Duration) -> io::Result<()> {
        let Transport::Tcp(socket) = self else { return Ok(()) };
        socket.set_nodelay(true)?;
        #[cfg(target_os = "linux")]
        {
            let socket = socket2::SockRef::from(socket);
            socket.set_tcp_notsent_lowat(NOT_SENT_BYTES_MAX)?;
            socket.set_tcp_user_timeout(Some(stall_timeout))?;
        }
        Ok(())
    }

    /// What it is, for those who look at the stream.
    pub(crate) fn seen(&self) -> Carried {
        Carried { address: self.peer(), is_piped: matches!(self, Transport::Pipe(_)) }
    }

    /// Where the other end is.
    fn peer(&self) -> Option<SocketAddr> {
        match self {
            Transport::Tcp(socket) => socket.peer_addr().ok(),
            Transport::Pipe(pipe) => Some(pipe.peer()),
        }
    }
}

impl Read for Transport {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Transport::Tcp(socket) => socket.read(into),
            Transport::Pipe(_) => Err(ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Transport {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Transport::Tcp(socket) => socket.write(bytes),
            Transport::Pipe(pipe) => pipe.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Transport::Tcp(socket) => socket.flush(),
            Transport::Pipe(_) => Ok(()),
        }
    }
}

/// A pipe needs no readiness: its reader writes to the shard.
impl Source for Transport {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Transport::Tcp(socket) => socket.register(registry, token, interests),
            Transport::Pipe(_) => Ok(()),
        }
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Transport::Tcp(socket) => socket.reregister(registry, token, interests),
            Transport::Pipe(_) => Ok(()),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Transport::Tcp(socket) => socket.deregister(registry),
            Transport::Pipe(_) => Ok(()),
        }
    }
}
