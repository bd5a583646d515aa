use std::io::{self, BufRead, ErrorKind, Read, Write};

use rustls::ServerConnection;

/// How much of what is written is held beyond what the socket takes, in bytes: one record of TLS.
pub const TLS_HELD_BYTES_MAX: usize = 16 * 1024;

/// How often the socket is read in vain for one read, of up to 4 KiB each: a record comes whole within five.
const EMPTY_READS_MAX: usize = 64;

/// A socket that does not block, and the state of TLS on it, whose handshake is over. What is read and written here is
/// what TLS protects. A write that says how much was taken may leave a record of it to be sent ([`TlsSocket::holds`]);
/// nothing more is taken before that.
#[derive(Debug)]
pub struct TlsSocket<S> {
    socket: S,
    session: ServerConnection,
}

impl<S: Read + Write> TlsSocket<S> {
    /// What was decrypted and not read yet, and what is yet to be sent, is in `session`.
    #[must_use]
    pub fn new(socket: S, mut session: ServerConnection) -> TlsSocket<S> {
        session.set_buffer_limit(Some(TLS_HELD_BYTES_MAX));
        TlsSocket { socket, session }
    }

    /// The socket itself.
    pub fn socket(&self) -> &S {
        &self.socket
    }

    /// The socket, to be registered.
    pub fn socket_mut(&mut self) -> &mut S {
        &mut self.socket
    }

    /// The socket, and the state of TLS on it.
    #[must_use]
    pub fn into_parts(self) -> (S, ServerConnection) {
        (self.socket, self.session)
    }

    /// Whether something that was taken is yet to be sent.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.session.wants_write()
    }

    /// Whether the client has said that nothing more comes, as far as was read. Reads what there is of its records, but
    /// for what would stand before data that nobody has read.
    pub fn has_left(&mut self) -> bool {
        match self.fill() {
            Ok(()) => matches!(self.session.reader().into_first_chunk(), Ok([]) | Err(_)),
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }

    /// Sends what is held, as far as the socket takes it, and says how many bytes went.
    ///
    /// # Errors
    /// When the socket fails. That it takes no more now is none.
    pub fn send_held(&mut self) -> io::Result<usize> {
        let mut sent = 0;
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.socket) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(some) => sent += some,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(sent)
    }

    /// Says that nothing more is written, as far as the socket takes it.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn end_writing(&mut self) -> io::Result<()> {
        self.session.send_close_notify();
        self.send_held().map(|_| ())
    }

    /// Reads records until there is data, or the end.
    fn fill(&mut self) -> io::Result<()> {
        for _ in 0..EMPTY_READS_MAX {
            let processed = self.session.process_new_packets();
            // It may have to answer: with other keys, or with why it is over.
            let answered = self.send_held();
            let state = processed.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
            answered?;
            if state.plaintext_bytes_to_read() > 0 || state.peer_has_closed() {
                return Ok(());
            }
            if self.session.read_tls(&mut self.socket)? == 0 {
                return Ok(());
            }
        }
        Err(io::Error::new(ErrorKind::InvalidData, "too many records without data"))
    }
}

impl<S: Read + Write> BufRead for TlsSocket<S> {
    /// Nothing at the end, whether or not the client said that it is the end: what needs to be whole says so itself.
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.fill()?;
        match self.session.reader().into_first_chunk() {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(&[]),
            chunk => chunk,
        }
    }

    fn consume(&mut self, amount: usize) {
        self.session.reader().consume(amount);
    }
}

impl<S: Read + Write> Read for TlsSocket<S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.fill()?;
        match self.session.reader().read(into) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(0),
            read => read,
        }
    }
}

impl<S: Read + Write> Write for TlsSocket<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        loop {
            self.send_held()?;
            if taken == bytes.len() {
                return Ok(taken);
            }
            if self.session.wants_write() {
                return if taken == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(taken) };
            }
            let rest = &bytes[taken..];
            taken += self.session.writer().write(&rest[..rest.len().min(TLS_HELD_BYTES_MAX)])?;
            if !self.session.wants_write() {
                // The keys of TLS 1.2 are good for so much and no more.
                return Err(io::Error::new(ErrorKind::BrokenPipe, "the connection's keys are used up"));
            }
        }
    }

    /// Sends what is held.
    fn flush(&mut self) -> io::Result<()> {
        self.send_held()?;
        if self.session.wants_write() { Err(ErrorKind::WouldBlock.into()) } else { self.socket.flush() }
    }
}

#[cfg(test)]
pub(crate) mod tests;
