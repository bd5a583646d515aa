use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tempfile::TempDir;
use tidewire_sim::Kill;

use crate::clock::pause;
use crate::{Clock, Http, Life, wait_until};

/// How long the hub may take to say its addresses, also beside a build.
const START_MAX: Duration = Duration::from_secs(60);
/// How long it may take to end after SIGTERM.
const STOP_MAX: Duration = Duration::from_secs(60);
/// Lines of standard output that wait to be read.
const LINES_MAX: usize = 1_024;
/// What is gathered of what it tells on standard error.
const TOLD_BYTES_MAX: usize = 1 << 20;
/// Below the ports that Linux gives to outgoing connections: on those, a publisher that knocks
/// while the hub is down may connect to itself and keep the port.
const PORTS: std::ops::Range<usize> = 20_000..32_000;

/// The real binary, served with `--dev` from a data directory of its own, which lasts as long
/// as this. It is killed when this is dropped.
#[derive(Debug)]
pub struct Hub {
    binary: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    /// How many files it may open; else as many as this process.
    open_files: Option<u32>,
    data: PathBuf,
    /// What is removed with this, if the folder is its own.
    own: Option<TempDir>,
    address: SocketAddr,
    admin: SocketAddr,
    life: Life,
    child: Option<Child>,
    said: Vec<String>,
    /// What this life told on standard error so far.
    told: Arc<Mutex<String>>,
}

/// A start that failed.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The exit code.
    pub code: Option<i32>,
    /// What was told on standard error.
    pub said: String,
}

impl Hub {
    /// Starts the hub and waits until it serves.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start(binary: &str) -> Hub {
        Hub::start_with(binary, &["--dev"], &[])
    }

    /// Starts the hub with these arguments and variables beside its addresses and directory.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start_with(binary: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Hub {
        let own = tempfile::tempdir().expect("a directory can be made");
        let mut hub = Hub::new(own.path(), binary, arguments, environment);
        hub.own = Some(own);
        hub.restart();
        hub
    }

    /// Starts the hub in a folder that is the test's, and stays.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start_in(data: &Path, binary: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Hub {
        let mut hub = Hub::new(data, binary, arguments, environment);
        hub.restart();
        hub
    }

    /// A hub in a folder that is the test's, not started yet.
    #[must_use]
    pub fn new(data: &Path, binary: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Hub {
        Hub {
            binary: binary.into(),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            environment: environment.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
            open_files: None,
            data: data.to_owned(),
            own: None,
            address: free_port(),
            admin: free_port(),
            life: Life::default(),
            child: None,
            said: Vec::new(),
            told: Arc::default(),
        }
    }

    /// Has it serve at this address of the machine, from its next start on.
    #[must_use]
    pub fn with_ip(mut self, address: IpAddr) -> Hub {
        self.address.set_ip(address);
        self
    }

    /// Lets it open so many files, from its next start on.
    #[must_use]
    pub fn with_open_files(mut self, count: u32) -> Hub {
        self.open_files = Some(count);
        self
    }

    /// Lets the running hub open so many files from now on, of which it is not told.
    ///
    /// # Panics
    /// If it is not running, or the limit cannot be set.
    pub fn set_open_files(&self, count: usize) {
        let (process, limit) = (self.process().to_string(), format!("--nofile={count}:"));
        let status = Command::new("prlimit").args(["--pid", &process, &limit]).status();
        assert!(status.is_ok_and(|status| status.success()), "cannot limit the open files of {process}");
    }

    /// How many files the running hub has open.
    ///
    /// # Panics
    /// If it is not running.
    #[must_use]
    pub fn open_files(&self) -> usize {
        let folder = std::fs::read_dir(format!("/proc/{}/fd", self.process())).expect("a process that runs, on Linux");
        folder.count()
    }

    /// A figure of the hub's, as its metrics name it.
    ///
    /// # Panics
    /// If the admin listener does not answer, or does not know it.
    #[must_use]
    pub fn figure(&self, name: &str) -> u64 {
        let mut admin = Http::connect(self.admin).expect("the admin listener accepts");
        figure(&mut admin, name)
    }

    /// Where it listens: the same over restarts.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its admin listener is.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Its base URL, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        let is_tls = self.arguments.iter().any(|argument| argument == "--tls-cert");
        format!("{}://{}", if is_tls { "https" } else { "http" }, self.address)
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// What it told on standard output when it was last started, up to its addresses.
    #[must_use]
    pub fn said(&self) -> &[String] {
        &self.said
    }

    /// Whether it has told this since it was last started, on standard output or on standard error.
    ///
    /// # Panics
    /// If the thread that reads it did.
    #[must_use]
    pub fn has_told(&self, what: &str) -> bool {
        let told = self.told.lock().expect("nobody panics with it in hand");
        told.contains(what) || self.said.iter().any(|line| line.contains(what))
    }

    /// What it has told on standard error since it was last started.
    ///
    /// # Panics
    /// If the thread that reads it did.
    #[must_use]
    pub fn told(&self) -> String {
        self.told.lock().expect("nobody panics with it in hand").clone()
    }

    /// Which life runs; it can be watched from other threads.
    #[must_use]
    pub fn life(&self) -> Life {
        self.life.clone()
    }

    /// `kill -9`. Answers when.
    ///
    /// # Panics
    /// If it is not running.
    pub fn kill(&mut self, clock: Clock) -> Kill {
        let mut child = self.child.take().expect("the hub runs");
        assert!(child.try_wait().expect("a child can be asked").is_none(), "the hub ended by itself");
        let from = clock.now();
        child.kill().expect("a running child can be killed");
        let to = clock.now();
        child.wait().expect("a killed child ends");
        self.life.end();
        Kill { from, to }
    }

    /// Starts it, at the same addresses and with the same data each time.
    ///
    /// # Panics
    /// If it runs, or does not start.
    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "the hub runs already");
        let mut child = self.command().stderr(Stdio::piped()).spawn().expect("the binary can be run");
        let lines = lines(child.stdout.take().expect("it is piped"));
        self.told = listen(child.stderr.take().expect("it is piped"));
        self.child = Some(child);
        let mut awaited = vec![format!("listening on {}", self.url()), format!("admin on http://{}", self.admin)];
        self.said.clear();
        while !awaited.is_empty() {
            let line = lines.recv_timeout(START_MAX);
            let line = line.unwrap_or_else(|_| panic!("the hub did not say {awaited:?}; what it said is above"));
            awaited.retain(|said| line.trim() != said);
            self.said.push(line);
        }
    }

    /// Starts it again with this key in place of what it had.
    ///
    /// # Panics
    /// If it runs, or does not start.
    pub fn restart_with(&mut self, variable: &str, value: &str) {
        self.environment.retain(|(name, _)| name != variable);
        self.environment.push((variable.to_owned(), value.to_owned()));
        self.restart();
    }

    /// Starts it with these arguments from now on, in place of what it had.
    ///
    /// # Panics
    /// If it runs, or does not start.
    pub fn restart_with_arguments(&mut self, arguments: &[&str]) {
        self.set_arguments(arguments);
        self.restart();
    }

    /// Gives it these arguments from the next start on, in place of what it had.
    pub fn set_arguments(&mut self, arguments: &[&str]) {
        self.arguments = arguments.iter().map(ToString::to_string).collect();
    }

    /// Starts it again and kills it after this time, wherever it is by then. Answers when.
    ///
    /// # Panics
    /// If it runs, or ends by itself.
    pub fn kill_while_starting(&mut self, clock: Clock, after: Duration) -> Kill {
        assert!(self.child.is_none(), "the hub runs already");
        self.child = Some(self.command().spawn().expect("the binary can be run"));
        pause(after);
        self.kill(clock)
    }

    /// Starts it, which must fail.
    ///
    /// # Panics
    /// If it runs, or starts, or does neither in a minute.
    #[track_caller]
    pub fn refuse(&mut self) -> Refusal {
        assert!(self.child.is_none(), "the hub runs already");
        let mut child = self.command().stderr(Stdio::piped()).spawn().expect("the binary can be run");
        let mut stderr = child.stderr.take().expect("it is piped");
        self.child = Some(child);
        // Read beside the waiting, since a hub that starts does not end its standard error.
        let reader = std::thread::spawn(move || {
            let mut said = Vec::new();
            // What was read until then is what it said.
            let _ = stderr.read_to_end(&mut said);
            String::from_utf8_lossy(&said).into_owned()
        });
        let mut status = None;
        wait_until("the hub refuses to start", START_MAX, || {
            status = self.child.as_mut().expect("just put there").try_wait().expect("a child can be asked");
            status.is_some()
        });
        self.child = None;
        let said = reader.join().expect("reading does not panic");
        println!("refused: {said}");
        Refusal { code: status.expect("just seen").code(), said }
    }

    /// The number of its process.
    ///
    /// # Panics
    /// If it is not running.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.child.as_ref().expect("the hub runs").id()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        if let Some(count) = self.open_files {
            command = Command::new("sh");
            command.args(["-c", "ulimit -n $0 && exec \"$@\"", &count.to_string()]).arg(&self.binary);
        }
        // Who stops a hub has mostly seen what there was to see: streams need not end one after the other. With `--dev` they
        // do not.
        if !self.arguments.iter().any(|argument| argument == "--dev") {
            command.env("TIDEWIRE_DRAIN_TIMEOUT", "0");
        }
        command
            .arg("serve")
            .args(["--listen", &self.address.to_string(), "--admin-listen", &self.admin.to_string()])
            .arg("--data-dir")
            .arg(&self.data)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        command
    }

    /// SIGTERM, and waits until it ended.
    ///
    /// # Panics
    /// If it is not running or does not end in a minute.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended()
    }

    /// Waits until it ended, as it does once it is told to.
    ///
    /// # Panics
    /// If it is not running or does not end in a minute.
    pub fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the hub runs");
        let mut status = None;
        wait_until("the hub ends", STOP_MAX, || {
            status = child.try_wait().expect("a child can be asked");
            status.is_some()
        });
        self.life.end();
        status.expect("just seen")
    }

    /// Sends a signal such as `STOP` to the process.
    ///
    /// # Panics
    /// If it is not running.
    pub fn signal(&self, name: &str) {
        signal(name, self.process());
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Dropped while a test panics: nothing more can be done about a failure.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The ports that tests of this program were given: no two are given the same.
static GIVEN_PORTS: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A free port on loopback that no outgoing connection is given, and nobody else in this program.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn free_port() -> SocketAddr {
    for _ in 0..1_000 {
        let random = getrandom::u32().expect("the machine has randomness") as usize;
        let port = u16::try_from(PORTS.start + random % PORTS.len()).expect("the range is of ports");
        let address = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
        // Whoever was given it before may not listen on it yet, or be about to start again.
        let is_new = GIVEN_PORTS.lock().unwrap_or_else(PoisonError::into_inner).insert(port);
        if is_new && TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no free port in {PORTS:?}");
}

/// A figure of the hub's, asked on a connection to its admin listener that stays.
///
/// # Panics
/// If the admin listener does not answer, or does not know it.
#[must_use]
pub fn figure(admin: &mut Http, name: &str) -> u64 {
    let text = admin.request("GET", "/metrics", &[], b"").expect("the admin listener answers").text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
}

/// What a process says, line by line. Read to the end, so that it never waits for a reader.
pub(crate) fn lines(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = sync_channel(LINES_MAX);
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // A test that has seen what it waited for no longer listens.
            let _ = sender.try_send(line);
        }
    });
    receiver
}

/// What a process tells, gathered, and passed on to the test's own output.
fn listen(output: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let told = Arc::new(Mutex::new(String::new()));
    let gathered = Arc::clone(&told);
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            eprintln!("{line}");
            let mut gathered = gathered.lock().expect("nobody panics with it in hand");
            if gathered.len() < TOLD_BYTES_MAX {
                gathered.push_str(&line);
                gathered.push('\n');
            }
        }
    });
    told
}

pub(crate) fn signal(name: &str, process: u32) {
    let status = Command::new("kill").args(["-s", name, &process.to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()), "cannot send SIG{name} to {process}");
}
