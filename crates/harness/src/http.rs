use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::wire::Wire;

/// What the system takes of a narrow connection, in bytes.
const NARROW_BYTES: usize = 4 * 1024;

/// One HTTP/1.1 connection that is kept alive.
#[derive(Debug)]
pub struct Http {
    stream: BufReader<Wire>,
    host: String,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case, in the order of the wire.
    pub headers: Vec<(String, String)>,
    /// The content, without its framing.
    pub body: Vec<u8>,
}

impl Http {
    /// Connects.
    ///
    /// # Errors
    /// When the peer does not accept.
    pub fn connect(address: SocketAddr) -> io::Result<Http> {
        Ok(Http { stream: BufReader::new(Wire::connect(address)?), host: address.to_string() })
    }

    /// Connects, and agrees on TLS.
    ///
    /// # Errors
    /// When the peer does not accept, or does not agree.
    pub fn connect_tls(address: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<Http> {
        Http::connect(address)?.greet(config)
    }

    /// Connects, and has the system take little that this does not read.
    ///
    /// # Errors
    /// When the peer does not accept.
    pub fn connect_narrow(address: SocketAddr) -> io::Result<Http> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        // Before it is connected: room that was told once is not taken back.
        socket.set_recv_buffer_size(NARROW_BYTES)?;
        socket.connect(&address.into())?;
        Ok(Http { stream: BufReader::new(Wire::on(socket.into())?), host: address.to_string() })
    }

    /// Agrees on TLS on a connection on which nothing was said.
    ///
    /// # Errors
    /// When the peer does not agree.
    pub fn greet(self, config: &Arc<ClientConfig>) -> io::Result<Http> {
        let wire = Wire::greet(self.socket().try_clone()?, config)?;
        Ok(Http { stream: BufReader::new(wire), host: self.host })
    }

    /// The state of TLS on it, if there is any.
    pub fn session(&mut self) -> Option<&mut ClientConnection> {
        self.stream.get_mut().session()
    }

    /// Sends a request.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn send(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<()> {
        let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {}\r\n", self.host);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() || method == "POST" {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        // One write, so that a small request is one segment.
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        self.stream.get_mut().write_all(&bytes)
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)?;
        self.stream.get_mut().flush()
    }

    /// Reads a whole answer.
    ///
    /// # Errors
    /// When the peer closes before its end, or does not speak HTTP.
    pub fn receive(&mut self) -> io::Result<Response> {
        let (status, headers) = self.receive_head()?;
        self.receive_body(status, headers)
    }

    /// Reads the body of an answer whose head has been read.
    ///
    /// # Errors
    /// When the peer closes before its end, or does not speak HTTP.
    pub fn receive_body(&mut self, status: u16, headers: Vec<(String, String)>) -> io::Result<Response> {
        let mut response = Response { status, headers, body: Vec::new() };
        if let Some(length) = response.header("content-length") {
            let length = length.parse().map_err(|_| invalid("a content-length that is no number"))?;
            response.body.resize(length, 0);
            self.stream.read_exact(&mut response.body)?;
        } else if response.header("transfer-encoding").is_some() {
            while let Some(chunk) = self.chunk()? {
                response.body.extend_from_slice(&chunk);
            }
        } else if status >= 200 && status != 204 && status != 304 {
            self.stream.read_to_end(&mut response.body)?;
        }
        Ok(response)
    }

    /// Reads the head of an answer: status and headers.
    ///
    /// # Errors
    /// When the peer closes before its end, or does not speak HTTP.
    pub fn receive_head(&mut self) -> io::Result<(u16, Vec<(String, String)>)> {
        let line = self.line()?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| invalid(&format!("a status line like {line:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok((status, headers));
            }
            let (name, value) = line.split_once(':').ok_or_else(|| invalid("a header without a colon"))?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// The next chunk of a chunked body, or `None` at its end.
    ///
    /// # Errors
    /// When the peer closes before its end, or breaks the framing.
    pub fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line = self.line()?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| invalid(&format!("a chunk size like {line:?}")))?;
        let mut chunk = vec![0; size];
        self.stream.read_exact(&mut chunk)?;
        if !self.line()?.is_empty() {
            return Err(invalid("a chunk longer than its size"));
        }
        Ok((size > 0).then_some(chunk))
    }

    /// Whether the peer closed, having sent nothing more.
    ///
    /// # Errors
    /// When that is not known in time.
    pub fn is_closed(&mut self) -> io::Result<bool> {
        match self.stream.fill_buf() {
            Ok(bytes) => Ok(bytes.is_empty()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Sends a request and reads the answer.
    ///
    /// # Errors
    /// When either fails.
    pub fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Response> {
        self.send(method, target, headers, body)?;
        self.receive()
    }

    /// The socket, for what this does not do.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        self.stream.get_ref().socket()
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.pop_if(|last| *last == b'\r');
        String::from_utf8(line).map_err(|_| invalid("a head that is not text"))
    }
}

impl Response {
    /// The first header of this name, which is in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The content as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The content as JSON.
    ///
    /// # Panics
    /// If it is not JSON.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in {} {:?}", self.status, self.text()))
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the peer sent {what}"))
}
