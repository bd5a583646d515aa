//! A hub that says what a test tells it to, for the commands' own behaviour.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// No test waits longer for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
const REQUESTS_WAITING_MAX: usize = 1_024;

/// A request that came in, and the connection on which to answer it.
pub(crate) struct Request {
    /// The method and the path with its query.
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    pub(crate) connection: TcpStream,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Answers with a body and closes the connection.
    pub(crate) fn answer(mut self, status: &str, content_type: &str, body: &str) {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        self.connection.write_all((head + body).as_bytes()).expect("the command reads its answer");
    }

    /// Begins a stream of events, which ends when the connection is dropped.
    pub(crate) fn stream(mut self, events: &str) -> TcpStream {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
        self.connection.write_all((head.to_owned() + events).as_bytes()).expect("the command reads the stream");
        self.connection
    }
}

/// The requests that come in at an address of their own.
pub(crate) struct Hub {
    pub(crate) url: String,
    requests: Receiver<Request>,
}

impl Hub {
    pub(crate) fn start() -> Hub {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (sender, requests) = sync_channel(REQUESTS_WAITING_MAX);
        thread::spawn(move || {
            for connection in listener.incoming() {
                let sender = sender.clone();
                thread::spawn(move || read_request(connection.expect("a connection"), &sender));
            }
        });
        Hub { url, requests }
    }

    pub(crate) fn next_request(&self) -> Request {
        self.requests.recv_timeout(DEADLINE).expect("a request within the deadline")
    }

    /// The next request, if there is one soon.
    pub(crate) fn request_within_a_moment(&self) -> Option<Request> {
        self.requests.recv_timeout(Duration::from_millis(10)).ok()
    }

    pub(crate) fn has_no_request(&self) -> bool {
        self.requests.try_recv().is_err()
    }
}

fn read_request(connection: TcpStream, sender: &SyncSender<Request>) {
    let mut reader = BufReader::new(connection.try_clone().expect("a second handle"));
    let mut lines = std::iter::from_fn(|| {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        Some(line.trim_end().to_owned()).filter(|line| !line.is_empty())
    });
    let Some(line) = lines.next() else { return };
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned())))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(0, |(_, value)| value.parse().expect("a length"));
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_ok() {
        let body = String::from_utf8(body).expect("text");
        // The test may have ended.
        let _ = sender.send(Request { line, headers, body, connection });
    }
}

/// A running command. It is killed when the test ends before it.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn start(args: &[&str]) -> Running {
        let child = Command::new(env!("CARGO_BIN_EXE_tidewire"))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        Running(child)
    }

    /// Gives the command its whole input.
    pub(crate) fn input(&mut self, text: &[u8]) {
        let mut stdin = self.0.stdin.take().expect("its input is given once");
        let text = text.to_vec();
        thread::spawn(move || {
            // The command may end without reading all of it.
            let _ = stdin.write_all(&text);
        });
    }

    /// The lines that it prints, as they come.
    pub(crate) fn lines(&mut self) -> Receiver<String> {
        let stdout = self.0.stdout.take().expect("its output is read once");
        let (sender, lines) = sync_channel(REQUESTS_WAITING_MAX);
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                if sender.send(line.expect("text")).is_err() {
                    return;
                }
            }
        });
        lines
    }

    /// Waits for its end, and says what it wrote to standard error.
    pub(crate) fn finish(mut self) -> (ExitStatus, String) {
        drop(self.0.stdin.take());
        let mut stderr = self.0.stderr.take().expect("read once");
        let (sender, ended) = sync_channel(1);
        thread::spawn(move || {
            let mut text = String::new();
            let result = stderr.read_to_string(&mut text).map(|_| text);
            // The test may have given up.
            let _ = sender.send(result);
        });
        let text = ended.recv_timeout(DEADLINE).expect("the command ends within the deadline").expect("text");
        (self.0.wait().expect("it has ended"), text)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
