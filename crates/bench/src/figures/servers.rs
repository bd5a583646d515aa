use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};

use crate::BenchError;
use crate::cpus::Cpus;
use crate::http::{self, Connection};
use crate::server::{Server, ServerCommand};
use crate::stream;

/// What the floor keeps for a storm.
pub(super) const MISSED: u64 = 100;

/// The header with a subscriber's token.
pub(super) const AUTHORIZATION: &str = "Authorization: Bearer {token}";

/// When the tokens expire: in the year 2100, so that they do, but not here.
const EXPIRES_AT_S: u64 = 4_102_444_800;

/// Hub and floor, and what both need to be alike.
pub(super) struct Servers {
    pub(super) hub: ServerCommand,
    pub(super) durable_hub: ServerCommand,
    pub(super) floor: ServerCommand,
    /// One for each subscriber, with a subject of its own.
    pub(super) tokens: Vec<String>,
}

impl Servers {
    /// Makes a key and so many tokens, and gives the floor the head that the hub has for a stream.
    pub(super) fn prepare(
        binary: &Path,
        floor: &Path,
        folder: &Path,
        cpus: Cpus,
        subscribers: u32,
    ) -> Result<Servers, BenchError> {
        let key = folder.join("key");
        let key_text = key.display().to_string();
        tidewire(binary, &["token", "new-key", &key_text])?;
        let tokens = tokens(&key, subscribers)?;
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
        Ok(Servers { hub, durable_hub, floor, tokens })
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
        Ok(vec![format!("Last-Event-ID: {last}"), AUTHORIZATION.to_owned()])
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

/// Tokens as whoever has the key makes them: each with a subject of its own, and leave to read everything.
fn tokens(key: &Path, subscribers: u32) -> Result<Vec<String>, BenchError> {
    let text = fs::read_to_string(key).map_err(BenchError::io(format!("read {}", key.display())))?;
    let secret = URL_SAFE_NO_PAD.decode(text.trim());
    let secret = secret.map_err(|_| BenchError::hub("made a key that is not base64url"))?;
    let (head, key) = (Header::new(Algorithm::HS256), EncodingKey::from_secret(&secret));
    let token = |subscriber: u32| {
        let claims = serde_json::json!({
            "sub": format!("reader-{subscriber}"),
            "exp": EXPIRES_AT_S,
            "tidewire": {"subscribe": ["*"]},
        });
        jsonwebtoken::encode(&head, &claims, &key)
            .map_err(|error| BenchError::Usage(format!("failed to make a token: {error}")))
    };
    (0..subscribers).map(token).collect()
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
