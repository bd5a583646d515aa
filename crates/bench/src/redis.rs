//! Redis, to be compared with: `XADD` to one stream, with an append-only file that is synced before each answer.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::BenchError;
use crate::clock::wait_until;
use crate::closed_loop::Protocol;
use crate::cpus::Cpus;
use crate::hub::Program;
use crate::resp::{self, Reply};

/// How long it may take until it answers, and how long any one answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(30);

const STREAM: &[u8] = b"bench";

/// A Redis on loopback with a folder of its own. Killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Redis {
    program: Program,
    address: SocketAddr,
}

impl Redis {
    /// Starts it and waits until it answers.
    pub(crate) fn start(binary: &Path, folder: &Path, cpus: Cpus) -> Result<Redis, BenchError> {
        let address = free_port()?;
        let mut command = Command::new(binary);
        command.args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--daemonize", "no", "--dir"]);
        command.arg(folder).args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""]);
        // No rewriting of its file while it is measured: that would be held against it.
        command.args(["--auto-aof-rewrite-percentage", "0", "--loglevel", "warning"]);
        let program = Program::start("redis-server", command.stdout(Stdio::null()), cpus)?;
        let redis = Redis { program, address };
        let answers = || matches!(redis.ask(&[b"PING"], |reply| reply == Reply::Simple(b"PONG")), Ok(true));
        if wait_until(ANSWER_MAX, answers) { Ok(redis) } else { Err(failed("did not answer after its start")) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn process(&self) -> u32 {
        self.program.id()
    }

    /// How many entries the stream has.
    pub(crate) fn entries(&self) -> Result<u64, BenchError> {
        self.ask(&[b"XLEN", STREAM], |reply| match reply {
            Reply::Integer(length) => u64::try_from(length).ok(),
            _ => None,
        })?
        .ok_or_else(|| failed("did not say how many entries there are"))
    }

    pub(crate) fn stop(self) -> Result<(), BenchError> {
        self.program.stop()
    }

    fn ask<T>(&self, words: &[&[u8]], read: impl Fn(Reply<'_>) -> T) -> Result<T, BenchError> {
        let refused = BenchError::io(format!("ask Redis at {}", self.address));
        let exchange = || {
            let mut socket = TcpStream::connect(self.address)?;
            socket.set_read_timeout(Some(ANSWER_MAX))?;
            socket.write_all(&resp::command(words))?;
            let (mut bytes, mut buffer) = (Vec::new(), [0; 4_096]);
            loop {
                match socket.read(&mut buffer)? {
                    0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                    length => bytes.extend_from_slice(&buffer[..length]),
                }
                match resp::reply(&bytes) {
                    Ok(Some((reply, _))) => return Ok(read(reply)),
                    Ok(None) => {}
                    Err(what) => return Err(std::io::Error::other(what)),
                }
            }
        };
        exchange().map_err(refused)
    }
}

/// One entry with the payload as its only value.
#[derive(Debug)]
pub(crate) struct Xadd;

impl Protocol for Xadd {
    fn request(&self, payload: &[u8]) -> Vec<u8> {
        resp::command(&[b"XADD", STREAM, b"*", b"data", payload])
    }

    fn answer(&self, bytes: &[u8]) -> Result<Option<usize>, String> {
        match resp::reply(bytes)? {
            None => Ok(None),
            Some((Reply::Bulk(Some(_)), length)) => Ok(Some(length)),
            Some((Reply::Error(text), _)) => Err(format!("the error {:?}", String::from_utf8_lossy(text))),
            Some((other, _)) => Err(format!("{other:?}")),
        }
    }
}

/// The version that a binary says it is.
pub(crate) fn version(binary: &PathBuf) -> Result<String, BenchError> {
    let output = Command::new(binary).arg("--version").output();
    let output = output.map_err(BenchError::io(format!("run {} (Debian: redis-server)", binary.display())))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_whitespace().find_map(|word| word.strip_prefix("v="));
    version.map(str::to_owned).ok_or_else(|| failed("did not say its version"))
}

/// Redis takes no free port by itself.
fn free_port() -> Result<SocketAddr, BenchError> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    bound.map_err(BenchError::io("find a free port"))
}

fn failed(what: &str) -> BenchError {
    BenchError::Program { program: "redis-server", what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_answered_with_its_id() {
        assert_eq!(Xadd.answer(b"$3\r\n1-0\r\n+"), Ok(Some(9)));
        assert_eq!(Xadd.answer(b"$3\r\n1-"), Ok(None));
        assert!(Xadd.answer(b"-OOM\r\n").is_err_and(|what| what.contains("OOM")));
        assert!(Xadd.answer(b"$-1\r\n").is_err());
        assert!(Xadd.request(b"xyz").ends_with(b"$4\r\ndata\r\n$3\r\nxyz\r\n"));
    }
}
