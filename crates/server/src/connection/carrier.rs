use std::io::{self, BufRead, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tidewire_engine::{Socket, TlsSocket};
use tokio::net::TcpStream;

/// A shard's connection as hyper reads and writes it.
pub(super) enum Carrier {
    Tcp(TokioIo<TcpStream>),
    Tls(Box<TlsSocket<Ready>>),
}

/// A socket that says that it is not ready instead of waiting, as TLS over it asks for it.
pub(super) struct Ready(TcpStream);

impl io::Read for Ready {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(into)
    }
}

impl io::Write for Ready {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Carrier {
    /// A connection on which small answers go out at once, and which ends when its peer takes nothing.
    pub(super) fn new(socket: Socket, stall_timeout: Duration) -> io::Result<Carrier> {
        Ok(match socket {
            Socket::Tcp(socket) => Carrier::Tcp(TokioIo::new(prepare(socket, stall_timeout)?)),
            Socket::Tls(tls) => {
                let (socket, session) = tls.into_parts();
                Carrier::Tls(Box::new(TlsSocket::new(Ready(prepare(socket, stall_timeout)?), session)))
            }
        })
    }

    /// The connection as the shards have it.
    pub(super) fn into_socket(self) -> io::Result<Socket> {
        Ok(match self {
            Carrier::Tcp(socket) => Socket::Tcp(socket.into_inner().into_std()?),
            Carrier::Tls(tls) => {
                let (Ready(socket), session) = tls.into_parts();
                Socket::Tls(Box::new(TlsSocket::new(socket.into_std()?, session)))
            }
        })
    }

    pub(super) fn socket(&self) -> &TcpStream {
        match self {
            Carrier::Tcp(socket) => socket.inner(),
            Carrier::Tls(tls) => &tls.socket().0,
        }
    }

    /// Writes what is taken now; what is taken may be held until [`Carrier::try_flush`].
    pub(super) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Carrier::Tcp(socket) => socket.inner().try_write(bytes),
            Carrier::Tls(tls) => io::Write::write(&mut **tls, bytes),
        }
    }

    pub(super) fn try_flush(&mut self) -> io::Result<()> {
        match self {
            Carrier::Tcp(_) => Ok(()),
            Carrier::Tls(tls) => io::Write::flush(&mut **tls),
        }
    }

    pub(super) fn try_read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Carrier::Tcp(socket) => socket.inner().try_read(into),
            Carrier::Tls(tls) => io::Read::read(&mut **tls, into),
        }
    }

    /// Says that nothing more is written.
    pub(super) fn end_writing(&mut self) -> io::Result<()> {
        if let Carrier::Tls(tls) = self {
            tls.end_writing()?;
        }
        socket2::SockRef::from(self.socket()).shutdown(std::net::Shutdown::Write)
    }
}

/// A socket of a shard's, prepared for answers.
pub(super) fn prepare(socket: std::net::TcpStream, stall_timeout: Duration) -> io::Result<TcpStream> {
    // A Unix socket has no such options.
    if !socket2::SockRef::from(&socket).local_addr()?.is_unix() {
        socket.set_nodelay(true)?;
        #[cfg(target_os = "linux")]
        socket2::SockRef::from(&socket).set_tcp_user_timeout(Some(stall_timeout))?;
    }
    TcpStream::from_std(socket)
}

/// Whether to try again once the socket is ready; anything else is the answer.
fn must_wait<T>(tried: &io::Result<T>) -> bool {
    matches!(tried, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

fn is_interrupted<T>(tried: &io::Result<T>) -> bool {
    matches!(tried, Err(error) if error.kind() == ErrorKind::Interrupted)
}

impl Read for Carrier {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let tls = match self.get_mut() {
            Carrier::Tcp(socket) => return Pin::new(socket).poll_read(cx, buf),
            Carrier::Tls(tls) => tls,
        };
        loop {
            let tried = tls.fill_buf().map(|chunk| {
                let length = chunk.len().min(buf.remaining());
                buf.put_slice(&chunk[..length]);
                length
            });
            if must_wait(&tried) {
                ready!(tls.socket().0.poll_read_ready(cx))?;
            } else if !is_interrupted(&tried) {
                tls.consume(*tried.as_ref().unwrap_or(&0));
                return Poll::Ready(tried.map(|_| ()));
            }
        }
    }
}

impl Write for Carrier {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let tls = match self.get_mut() {
            Carrier::Tcp(socket) => return Pin::new(socket).poll_write(cx, bytes),
            Carrier::Tls(tls) => tls,
        };
        loop {
            let tried = io::Write::write(&mut **tls, bytes);
            if must_wait(&tried) {
                ready!(tls.socket().0.poll_write_ready(cx))?;
            } else if !is_interrupted(&tried) {
                return Poll::Ready(tried);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tls = match self.get_mut() {
            Carrier::Tcp(socket) => return Pin::new(socket).poll_flush(cx),
            Carrier::Tls(tls) => tls,
        };
        loop {
            let tried = io::Write::flush(&mut **tls);
            if must_wait(&tried) {
                ready!(tls.socket().0.poll_write_ready(cx))?;
            } else if !is_interrupted(&tried) {
                return Poll::Ready(tried);
            }
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.get_mut().end_writing())
    }
}
