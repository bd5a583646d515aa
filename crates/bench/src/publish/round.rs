//! One round of one of those that are measured.

use std::net::SocketAddr;
use std::path::Path;

use super::Args;
use super::ledger::Ledger;
use crate::BenchError;
use crate::closed_loop::{Load, Outcome, Protocol};
use crate::cpus::Cpus;
use crate::http::{self, Connection, Head};
use crate::hub::HubCommand;
use crate::mark::Mark;
use crate::redis::{Redis, Xadd};
use crate::report::Report;
use crate::stream::EventStream;

/// The topic of all events.
const TOPIC: &str = "bench";

/// What the last event holds: it tells a reader that there are no more.
const END: &str = "the end";

/// What the hub keeps with `durability = "memory"`, so that nothing is removed before it was read back.
const MEMORY_BYTES: &str = "8GiB";

/// A hub with a log of its own: the load, then everything read back.
pub(super) fn hub(
    args: &Args,
    durability: &str,
    place: &Path,
    load: &Load,
    cpus: Cpus,
    report: &mut Report,
) -> Result<Outcome, BenchError> {
    let connections = (usize::from(args.publishers) + 16).to_string();
    let flags = ["--durability", durability, "--memory-bytes", MEMORY_BYTES, "--max-connections", &connections];
    let hub = HubCommand::new(args.common.hub()?, place, &flags, cpus).start(None)?;
    let outcome = load.run(hub.address(), hub.process(), &Post { address: hub.address() })?;
    let ledger = read_back(hub.address(), &outcome.answered)?;
    for problem in ledger.problems() {
        report.problem(format!("hub, {durability}: {problem}"));
    }
    hub.stop()?;
    Ok(outcome)
}

/// Reads from the earliest event to one that is published for the purpose.
fn read_back(address: SocketAddr, answered: &[u64]) -> Result<Ledger, BenchError> {
    let mut connection = Connection::open(address)?;
    connection.send(&http::post_events(address, &event(END.as_bytes())))?;
    let (status, _) = connection.receive()?;
    if status != 200 {
        return Err(BenchError::hub(format!("answered the last event with {status}")));
    }
    let mut ledger = Ledger::new(answered);
    let mut stream = EventStream::open(address, &format!("topic={TOPIC}&from=earliest"))?;
    loop {
        let message = stream.next()?;
        if message.data == END {
            return Ok(ledger);
        }
        ledger.read(&message.id, Mark::read(&message.data));
    }
}

pub(super) fn redis(
    binary: &Path,
    place: &Path,
    load: &Load,
    cpus: Cpus,
    report: &mut Report,
) -> Result<Outcome, BenchError> {
    std::fs::create_dir(place).map_err(BenchError::io(format!("make {}", place.display())))?;
    let redis = Redis::start(binary, place, cpus)?;
    let outcome = load.run(redis.address(), redis.process(), &Xadd)?;
    let (answered, entries) = (outcome.answered.iter().sum::<u64>(), redis.entries()?);
    if answered != entries {
        report.problem(format!("Redis answered {answered} entries and has {entries}"));
    }
    redis.stop()?;
    Ok(outcome)
}

/// A hub that keeps nothing leaves no folder.
pub(super) fn remove(place: &Path) -> Result<(), BenchError> {
    match std::fs::remove_dir_all(place) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(BenchError::io(format!("remove {}", place.display()))(error))
        }
        _ => Ok(()),
    }
}

/// Single POSTs to the hub.
struct Post {
    address: SocketAddr,
}

impl Protocol for Post {
    fn request(&self, payload: &[u8]) -> Vec<u8> {
        http::post_events(self.address, &event(payload))
    }

    fn answer(&self, bytes: &[u8]) -> Result<Option<usize>, String> {
        let Some(head) = Head::parse(bytes)? else { return Ok(None) };
        let Some(body) = head.body.bytes() else { return Err("a body without a length".to_owned()) };
        let length = head.bytes + body;
        if bytes.len() < length {
            return Ok(None);
        }
        match head.status {
            200 => Ok(Some(length)),
            status => Err(format!("{status} {}", String::from_utf8_lossy(&bytes[head.bytes..length]))),
        }
    }
}

/// The payload is plain letters, so that it is JSON as it is.
fn event(payload: &[u8]) -> Vec<u8> {
    [format!("{{\"topic\":\"{TOPIC}\",\"data\":\"").as_bytes(), payload, b"\"}"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_other_than_200_is_an_error() {
        let post = Post { address: "127.0.0.1:1".parse().expect("an address") };
        assert_eq!(post.answer(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"), Ok(Some(40)));
        assert_eq!(post.answer(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{"), Ok(None));
        let refused = post.answer(b"HTTP/1.1 503 Busy\r\ncontent-length: 2\r\n\r\n{}");
        assert_eq!(refused, Err("503 {}".to_owned()));
        let request = post.request(b"abc");
        assert!(request.ends_with(b"content-length: 30\r\n\r\n{\"topic\":\"bench\",\"data\":\"abc\"}"), "{request:?}");
    }
}
