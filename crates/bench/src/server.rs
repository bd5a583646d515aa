use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::BenchError;
use crate::cpus::Cpus;
use crate::http;
use crate::hub::{Hub, HubCommand, Program};
use crate::load::{Request, Target};

/// How long the floor may take to say its address.
const FLOOR_START_MAX: Duration = Duration::from_secs(10);

/// What the floor sends for an event: byte for byte as long as what the hub does.
const FLOOR_EVENT: &str = "id: #1700000000000-0\ndata: {payload}\n\n";

/// What load is put on, started for the purpose and stopped by its end.
#[derive(Debug)]
pub(crate) enum Server {
    Hub(Hub),
    Floor(Floor),
}

/// How to start one.
#[derive(Clone, Debug)]
pub(crate) enum ServerCommand {
    Hub(HubCommand),
    Floor { binary: PathBuf, arguments: Vec<String>, cpus: Cpus },
}

/// The bare loop that sends each event to each socket: `peers/floor`.
#[derive(Debug)]
pub(crate) struct Floor {
    program: Program,
    address: SocketAddr,
}

impl ServerCommand {
    /// A hub with a folder of its own, which each start empties.
    pub(crate) fn hub(binary: &Path, folder: &Path, flags: &[String], cpus: Cpus) -> ServerCommand {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        ServerCommand::Hub(HubCommand::new(binary.to_owned(), folder, &flags, cpus))
    }

    /// Starts it, a hub in an empty folder: what an earlier one left would have its ids begin ahead of the clock, and be longer.
    pub(crate) fn start(&self) -> Result<Server, BenchError> {
        match self {
            ServerCommand::Hub(command) => {
                empty(&command.data_dir)?;
                command.start(None).map(Server::Hub)
            }
            ServerCommand::Floor { binary, arguments, cpus } => {
                Floor::start(binary, arguments, *cpus).map(Server::Floor)
            }
        }
    }
}

impl Server {
    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Server::Hub(hub) => hub.address(),
            Server::Floor(floor) => floor.address,
        }
    }

    pub(crate) fn process(&self) -> u32 {
        match self {
            Server::Hub(hub) => hub.process(),
            Server::Floor(floor) => floor.program.id(),
        }
    }

    /// Where to subscribe and to publish, with these headers and tokens beside what each needs.
    pub(crate) fn target(&self, subscribe_headers: &[String], tokens: &[String]) -> Result<Target, BenchError> {
        let url = format!("http://{}/api/v1/events", self.address());
        let json = ["Content-Type: application/json".to_owned()];
        let publish = match self {
            Server::Hub(_) => Request::publish("POST", &url, &json, r#"{"topic":"load-{topic}","data":"{payload}"}"#),
            Server::Floor(_) => Request::publish("POST", &format!("{url}?{{topic}}"), &[], FLOOR_EVENT),
        };
        Ok(Target {
            subscribe: Request::subscribe(&format!("{url}?topic=load-{{topic}}"), subscribe_headers)?,
            publish: publish?,
            tokens: tokens.to_vec(),
            process: Some(self.process()),
        })
    }

    /// Writes and deliveries to subscribers so far, as it counts them itself.
    pub(crate) fn writes(&self) -> Result<u64, BenchError> {
        match self {
            Server::Hub(hub) => Ok(hub.metric("tidewire_writes_total")? as u64),
            Server::Floor(floor) => {
                let (_, body) = http::get(floor.address, "/count")?;
                let count = String::from_utf8_lossy(&body).trim().parse();
                count.map_err(|_| BenchError::Program {
                    program: "the floor",
                    what: "did not tell its count".to_owned(),
                })
            }
        }
    }

    pub(crate) fn stop(self) -> Result<(), BenchError> {
        match self {
            Server::Hub(hub) => hub.stop(),
            // It ends when it is dropped, and has nothing to put away.
            Server::Floor(_) => Ok(()),
        }
    }
}

fn empty(folder: &Path) -> Result<(), BenchError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(BenchError::io(format!("empty {}", folder.display()))(error))
        }
        _ => Ok(()),
    }
}

impl Floor {
    fn start(binary: &Path, arguments: &[String], cpus: Cpus) -> Result<Floor, BenchError> {
        let mut command = Command::new(binary);
        command.args(["--listen", "127.0.0.1:0"]).args(arguments).stdout(Stdio::piped());
        let mut program = Program::start("the floor", &mut command, cpus)?;
        let line = program.lines().recv_timeout(FLOOR_START_MAX).unwrap_or_default();
        let address = line.strip_prefix("listening on http://").and_then(|address| address.trim().parse().ok());
        let address =
            address.ok_or_else(|| BenchError::Program { program: "the floor", what: "did not start".to_owned() })?;
        Ok(Floor { program, address })
    }
}
