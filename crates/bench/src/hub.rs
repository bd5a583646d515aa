use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::BenchError;
use crate::clock::{now, wait_until};
use crate::cpus::Cpus;
use crate::http;
use crate::memory_limit::MemoryLimit;

/// How long a hub may take to say its addresses, on a large log and a slow disk.
const START_MAX: Duration = Duration::from_secs(600);

/// How long a program may take to end after SIGTERM.
const STOP_MAX: Duration = Duration::from_secs(120);

/// Lines of standard output that wait to be read.
const LINES_MAX: usize = 64;

/// What the hub's configuration variables begin with: those of whoever measures are not the hub's that is measured.
const VARIABLES: &str = "TIDEWIRE_";

/// How to start a hub.
#[derive(Clone, Debug)]
pub(crate) struct HubCommand {
    pub(crate) binary: PathBuf,
    pub(crate) data_dir: PathBuf,
    /// Flags of `serve` beside addresses and folder.
    pub(crate) flags: Vec<String>,
    pub(crate) cpus: Cpus,
}

/// A hub on loopback, on ports of its own. Killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Hub {
    program: Program,
    address: SocketAddr,
    admin: SocketAddr,
    started_within: Duration,
}

impl HubCommand {
    /// A hub for development, with these flags.
    pub(crate) fn new(binary: PathBuf, data_dir: &Path, flags: &[&str], cpus: Cpus) -> HubCommand {
        let flags = flags.iter().map(ToString::to_string).collect();
        HubCommand { binary, data_dir: data_dir.to_owned(), flags, cpus }
    }

    /// Starts it and waits until it is ready.
    pub(crate) fn start(&self, limit: Option<&MemoryLimit>) -> Result<Hub, BenchError> {
        let mut command = limit.map_or_else(|| Command::new(&self.binary), |limit| limit.command(&self.binary));
        command.args(["serve", "--dev", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        // Whoever is still connected when it is stopped was not measured, and is not waited for.
        command.args(["--drain-timeout", "0"]);
        command.args(["--log-level", "warn", "--data-dir"]).arg(&self.data_dir).args(&self.flags);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with(VARIABLES) {
                command.env_remove(name);
            }
        }
        let began = now();
        let mut program = Program::start("the hub", command.stdout(Stdio::piped()), self.cpus)?;
        let lines = program.lines();
        let (mut address, mut admin) = (None, None);
        while address.is_none() || admin.is_none() {
            let left = START_MAX.saturating_sub(began.elapsed());
            let line = lines.recv_timeout(left).map_err(|_| BenchError::hub("did not start"))?;
            let after = |words: &str| line.strip_prefix(words).and_then(|address| address.trim().parse().ok());
            address = address.or_else(|| after("listening on http://"));
            admin = admin.or_else(|| after("admin on http://"));
        }
        let (address, admin) = (address.expect("just seen"), admin.expect("just seen"));
        while http::get(admin, "/health/ready")?.0 != 200 {
            if began.elapsed() > START_MAX {
                return Err(BenchError::hub("was not ready in time"));
            }
        }
        Ok(Hub { program, address, admin, started_within: began.elapsed() })
    }
}

impl Hub {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn process(&self) -> u32 {
        self.program.id()
    }

    /// From its start to its first answer that it is ready.
    pub(crate) fn started_within(&self) -> Duration {
        self.started_within
    }

    /// One of its metrics without labels.
    pub(crate) fn metric(&self, name: &str) -> Result<f64, BenchError> {
        let (_, body) = http::get(self.admin, "/metrics")?;
        let text = String::from_utf8_lossy(&body);
        metric(&text, name).ok_or_else(|| BenchError::hub(format!("has no metric {name}")))
    }

    /// Stops it, and waits for its end.
    pub(crate) fn stop(self) -> Result<(), BenchError> {
        self.program.stop()
    }
}

/// A program that is measured. Killed when it is dropped, and when this process is no more, however it ended.
#[derive(Debug)]
pub(crate) struct Program {
    name: &'static str,
    child: Child,
    /// Dropped before anyone else may have the child's number.
    guard: Option<Guard>,
}

/// A shell that waits for the end of this process, which nobody can tell in time who is killed himself: its standard input
/// ends then, and it kills what was started.
#[derive(Debug)]
struct Guard(Child);

impl Program {
    /// Starts it on the server's core.
    pub(crate) fn start(name: &'static str, command: &mut Command, cpus: Cpus) -> Result<Program, BenchError> {
        // There before it: whoever ends this process meanwhile leaves nothing behind.
        let unguarded = || BenchError::io("have sh watch over a server");
        let mut guard = Guard::start().map_err(unguarded())?;
        let child = cpus.spawn_server(command.stdin(Stdio::null()));
        let what = || format!("start {}", command.get_program().display());
        let child = child.map_err(|error| BenchError::io(what())(error))?;
        let watched = guard.watch(child.id());
        let program = Program { name, child, guard: Some(guard) };
        watched.map_err(unguarded())?;
        Ok(program)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it prints, if its standard output was piped, and nobody has asked yet.
    pub(crate) fn lines(&mut self) -> Receiver<String> {
        let (_, nothing) = sync_channel(0);
        self.child.stdout.take().map_or(nothing, lines)
    }

    /// SIGTERM, and waits for its end, which must be a good one.
    pub(crate) fn stop(mut self) -> Result<(), BenchError> {
        let failed = |what: String| BenchError::Program { program: self.name, what };
        let signalled = kill_process(Pid::from_child(&self.child), Signal::TERM);
        signalled.map_err(|error| failed(format!("could not be told to stop: {error}")))?;
        let mut status = None;
        wait_until(STOP_MAX, || {
            status = self.child.try_wait().ok().flatten();
            status.is_some()
        });
        match status {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(failed(format!("ended with {status}"))),
            None => Err(failed("did not stop in time".to_owned())),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.guard = None;
        // One that has ended cannot be killed, and need not be.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Guard {
    fn start() -> io::Result<Guard> {
        // A signal from the terminal is for all: the guard stays for as long as it has something to do.
        let script = "trap '' HUP INT TERM; read -r process || exit 0; read -r line; kill -KILL \"$process\"";
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map(Guard)
    }

    fn watch(&mut self, process: u32) -> io::Result<()> {
        let mut input = self.0.stdin.as_ref().expect("it is piped");
        writeln!(input, "{process}")
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Killed before its standard input ends: it kills nothing.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What it prints, line by line, and read to the end, so that it never waits for a reader.
fn lines(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = sync_channel(LINES_MAX);
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // Who has read the addresses reads no more.
            let _ = sender.try_send(line);
        }
    });
    lines
}

/// A sample of the OpenMetrics text format that has no labels.
fn metric(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.split(' ').next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_found_by_their_whole_name() {
        let text = "# TYPE log_events gauge\nlog_events_max 9\nlog_events 7\nlog_events_total 8 1700\n# EOF\n";
        assert_eq!(metric(text, "log_events"), Some(7.0));
        assert_eq!(metric(text, "log_events_total"), Some(8.0));
        assert_eq!(metric(text, "log"), None);
    }

    #[test]
    fn what_does_not_start_is_told() {
        let command = HubCommand::new("/not/there".into(), Path::new("x"), &[], Cpus::default());
        let error = command.start(None).expect_err("there is no such binary");
        assert_eq!(error.to_string(), "failed to start /not/there");
        let command = HubCommand::new("false".into(), Path::new("x"), &[], Cpus::default());
        assert_eq!(command.start(None).expect_err("it ends at once").to_string(), "the hub did not start");
    }

    #[test]
    fn a_bad_end_is_told() {
        let start = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]).stdout(Stdio::piped());
            let mut program = Program::start("it", &mut command, Cpus::default()).expect("it starts");
            let lines = lines(program.child.stdout.take().expect("it is piped"));
            assert_eq!(lines.recv().as_deref(), Ok("up"));
            program
        };
        let good = start("trap 'kill $!; exit 0' TERM; sleep 60 & echo up; wait");
        assert!(good.stop().is_ok());
        let bad = start("trap 'kill $!; exit 3' TERM; sleep 60 & echo up; wait");
        assert_eq!(bad.stop().expect_err("it ends badly").to_string(), "it ended with exit status: 3");
    }
}
