use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use mio::event::Source;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use tidewire_core::ClientAddress;

/// What of a stream's bytes the kernel may hold unsent: the rest of a slow reader's backlog stays
/// in the log.
const NOT_SENT_BYTES_MAX: u32 = 16 * 1024;

/// What carries a connection's bytes.
#[derive(Debug)]
pub(crate) enum Transport {
    Tcp(TcpStream),
}

impl Transport {
    /// Whether a client will not take an answer. What it has sent beyond its head is left unread.
    pub(crate) fn has_left(&self) -> bool {
        match self.peek(&mut [0]) {
            Ok(peeked) => peeked == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }

    /// Looks at what was sent, and leaves it unread.
    pub(crate) fn peek(&self, into: &mut [u8]) -> io::Result<usize> {
        let Transport::Tcp(socket) = self;
        socket.peek(into)
    }

    /// Says that nothing more will be written.
    pub(crate) fn end_writing(&mut self) -> io::Result<()> {
        let Transport::Tcp(socket) = self;
        socket.shutdown(Shutdown::Write)
    }

    /// Has events go out as they come, little of them held by the system, and a client that takes none found.
    pub(crate) fn tune(&self, stall_timeout: Duration) -> io::Result<()> {
        let Transport::Tcp(socket) = self;
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
        let Transport::Tcp(socket) = self;
        socket.peer_addr().ok().map(ClientAddress::from)
    }
}

impl Read for Transport {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Transport::Tcp(socket) = self;
        socket.read(into)
    }
}

impl Write for Transport {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Transport::Tcp(socket) = self;
        socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        let Transport::Tcp(socket) = self;
        socket.flush()
    }
}

impl Source for Transport {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        let Transport::Tcp(socket) = self;
        socket.register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        let Transport::Tcp(socket) = self;
        socket.reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        let Transport::Tcp(socket) = self;
        socket.deregister(registry)
    }
}
