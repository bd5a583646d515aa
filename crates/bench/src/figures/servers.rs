use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::BenchError;
use crate::cpus::Cpus;
use crate::http::{self, Connection};
use crate::server::{Server, ServerCommand};
use crate::stream;

/// What the floor keeps for a storm.
pub(super) const MISSED: u64 = 100;

/// Hub and floor, and what both need to be alike.
pub(super) struct Servers {
    pub(super) hub: ServerCommand,
    pub(super) durable_hub: ServerCommand,
    pub(super) floor: ServerCommand,
    /// Of the token that each subscriber of a storm brings.
    authorization: String,
}

impl Servers {
    /// Makes a key and a token, and gives the floor the head that the hub has for a stream.
    pub(super) fn prepare(binary: &Path, floor: &Path, folder: &Path, cpus: Cpus) -> Result<Servers, BenchError> {
        let key = folder.join("key");
        let key_text = key.display().to_string();
        tidewire(binary, &["token", "new-key", &key_text])?;
        let mint = ["token", "mint", "--key-file", &key_text, "--sub", "reader", "--subscribe", "*"];
        let token = tidewire(binary, &[&mint[..], &["--expires-in", "never"]].concat())?;
        let hub = |durability: &str| {
            let flags = ["--key-file", &key_text, "--durability", durability].map(str::to_owned);
            ServerCommand::hub(binary, &folder.join(durability), &flags, cpus)
        };
        let (hub, durable_hub) = (hub("memory"), hub("commit"));
        let head = folder.join("head");
        let started = hub.start()?;
        let bytes = stream_head(&started)?;
        started.stop()?;
        fs::write(&head, bytes).map_err(BenchError::io(format!("write {}", head.display())))?;
        let arguments = ["--head", &head.display().to_string(), "--history", &MISSED.to_string()].map(str::to_owned);
        let floor = ServerCommand::Floor { binary: PathBuf::from(floor), arguments: arguments.into(), cpus };
        Ok(Servers { hub, durable_hub, floor, authorization: format!("Authorization: Bearer {}", token.trim()) })
    }

    /// The headers of a subscriber that comes back, having seen nothing but an event that is published for the purpose.
    pub(super) fn comes_back(&self, server: &Server) -> Result<Vec<String>, BenchError> {
        let last = match server {
            Server::Floor(_) => "#0-0".to_owned(),
            Server::Hub(hub) => {
                let mut connection = Connection::open(hub.address())?;
                let event = br#"{"topic":"load-0","data":"the last that they saw"}"#;
                connection.send(&http::post_events(hub.address(), event))?;
                let (status, body) = connection.receive()?;
                let answer: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
                let id = answer["id"].as_str().map(str::to_owned).filter(|_| status == 200);
                id.ok_or_else(|| BenchError::hub(format!("answered an event with {status}")))?
            }
        };
        Ok(vec![format!("Last-Event-ID: {last}"), self.authorization.clone()])
    }
}

/// The head with which the hub begins a stream.
fn stream_head(hub: &Server) -> Result<Vec<u8>, BenchError> {
    let mut connection = Connection::open(hub.address())?;
    connection.send(stream::request(hub.address(), "topic=load-0").as_bytes())?;
    loop {
        connection.more()?;
        let received = connection.received();
        if let Some(end) = received.windows(4).position(|end| end == b"\r\n\r\n") {
            return Ok(received[..end + 4].to_vec());
        }
    }
}

/// Runs one of the hub's other commands: what it prints.
fn tidewire(binary: &Path, arguments: &[&str]) -> Result<String, BenchError> {
    let what = || format!("run {} {}", binary.display(), arguments[..2].join(" "));
    let output = Command::new(binary).args(arguments).output().map_err(BenchError::io(what()))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(BenchError::hub(format!("failed to {}: {}", what(), String::from_utf8_lossy(&output.stderr).trim())))
    }
}
