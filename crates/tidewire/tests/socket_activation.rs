//! The hub on sockets that whoever starts it hands in, as systemd does.

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::json;
use tidewire_harness::{EventStream, Http};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
const WITHIN: Duration = Duration::from_secs(60);

/// Has the shell put what it was given as its input and its errors where systemd puts sockets, and become the hub. The
/// hub's errors go where its output goes.
const HAND_IN: &str = "exec 3<&0 4<&2 </dev/null 2>&1; export LISTEN_PID=$$; exec \"$@\"";

/// A hub that was handed two sockets.
struct Activated {
    child: Child,
    output: BufReader<ChildStdout>,
    folder: tempfile::TempDir,
}

impl Activated {
    fn start(sockets: [OwnedFd; 2], count: usize, names: &str, environment: &[(&str, &str)]) -> Activated {
        let folder = tempfile::tempdir().expect("a directory can be made");
        let [first, second] = sockets;
        let mut child = Command::new("sh")
            .args(["-c", HAND_IN, "sh", BINARY, "serve", "--dev", "--data-dir"])
            .arg(folder.path().join("data"))
            .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .env("LISTEN_FDS", count.to_string())
            .env("LISTEN_FDNAMES", names)
            .env("TIDEWIRE_DRAIN_TIMEOUT", "0")
            .envs(environment.iter().copied())
            .stdin(Stdio::from(first))
            .stdout(Stdio::piped())
            .stderr(Stdio::from(second))
            .spawn()
            .expect("a shell can be run");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Activated { child, output, folder }
    }

    /// What it says up to a line that begins so.
    fn said_up_to(&mut self, beginning: &str) -> Vec<String> {
        let mut said = Vec::new();
        while !said.last().is_some_and(|line: &String| line.starts_with(beginning)) {
            let mut line = String::new();
            let read = self.output.read_line(&mut line).expect("text");
            assert!(read > 0, "it ended: {said:?}");
            said.push(line.trim_end().to_owned());
        }
        said
    }

    /// What it says when it does not start.
    fn refusal(mut self) -> String {
        let mut said = String::new();
        self.output.read_to_string(&mut said).expect("text");
        assert!(!self.child.wait().expect("it ends").success(), "{said}");
        said
    }

    fn terminate(&mut self) {
        let status = Command::new("kill").arg(self.child.id().to_string()).status();
        assert!(status.is_ok_and(|status| status.success()));
        assert!(self.child.wait().expect("it ends").success());
    }
}

impl Drop for Activated {
    fn drop(&mut self) {
        // Dropped while a test panics: nothing more can be done about a failure.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tcp() -> (TcpListener, OwnedFd) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let handed_in = listener.try_clone().expect("another descriptor").into();
    (listener, handed_in)
}

fn unix(path: &Path) -> OwnedFd {
    UnixListener::bind(path).expect("a free path").into()
}

fn stream(http: Http) -> EventStream {
    let mut stream = EventStream::open_on(http, "/api/v1/events?topic=a", &[]).expect("an answer");
    assert_eq!(stream.head.status, 200);
    stream.event().expect("it is no error").expect("a stream begins with a block");
    stream
}

#[test]
fn sockets_of_tcp_are_used_in_place_of_those_configured() {
    let ((public, first), (admin, second)) = (tcp(), tcp());
    let (address, admin_address) = (public.local_addr().expect("bound"), admin.local_addr().expect("bound"));
    // Who comes before the hub runs waits for it.
    let early = Http::connect(address).expect("it listens already");
    let mut hub = Activated::start([first, second], 2, "public:admin", &[("TIDEWIRE_SHARDS", "2")]);
    let said = hub.said_up_to("listening on");
    for line in [
        format!("listening on http://{address}"),
        format!("admin on http://{admin_address}"),
        format!("page at http://{address}/"),
    ] {
        assert!(said.contains(&line), "{line} is not in {said:?}");
    }
    let mut streams = vec![stream(early)];
    streams.extend((0..5).map(|_| stream(Http::connect(address).expect("it listens"))));
    let mut http = Http::connect(address).expect("it listens");
    let body = json!({"topic": "a", "data": "news"}).to_string();
    let typed = [("content-type", "application/json")];
    assert_eq!(http.request("POST", "/api/v1/events", &typed, body.as_bytes()).expect("an answer").status, 200);
    for stream in &mut streams {
        assert_eq!(stream.published().data, "news");
    }
    let page = http.request("GET", "/api/v1/connections", &[], b"").expect("an answer").json();
    let ids: Vec<&str> =
        page["connections"].as_array().expect("a list").iter().filter_map(|it| it["id"].as_str()).collect();
    assert_eq!(ids.len(), 6);
    assert!(["0-", "1-"].iter().all(|shard| ids.iter().any(|id| id.starts_with(shard))), "{ids:?} on two shards");
    let mut health = Http::connect(admin_address).expect("it listens");
    assert_eq!(health.request("GET", "/health/ready", &[], b"").expect("an answer").status, 200);
    hub.terminate();
    // The sockets are still those of whoever handed them in.
    TcpStream::connect(address).expect("it listens on");
}

#[test]
fn unix_sockets_are_used_and_their_files_stay() {
    let folder = tempfile::tempdir().expect("a directory can be made");
    let [public, admin] = ["public.sock", "admin.sock"].map(|name| folder.path().join(name));
    // A socket without a name has that of its unit.
    let mut hub = Activated::start([unix(&admin), unix(&public)], 2, "admin:tidewire.socket", &[]);
    let said = hub.said_up_to("listening on");
    assert!(said.contains(&format!("listening on unix:{}", public.display())), "{said:?}");
    assert!(said.contains(&format!("admin on unix:{}", admin.display())), "{said:?}");
    let mut stream = stream(Http::connect_unix(&public).expect("it listens"));
    let mut http = Http::connect_unix(&public).expect("it listens");
    let body = json!({"topic": "a", "data": "news"}).to_string();
    let typed = [("content-type", "application/json")];
    assert_eq!(http.request("POST", "/api/v1/events", &typed, body.as_bytes()).expect("an answer").status, 200);
    assert_eq!(stream.published().data, "news");
    let mut health = Http::connect_unix(&admin).expect("it listens");
    assert_eq!(health.request("GET", "/health/ready", &[], b"").expect("an answer").status, 200);
    hub.terminate();
    assert!(public.exists() && admin.exists(), "they are not the hub's");
}

#[test]
fn one_alone_is_for_clients_and_sockets_for_another_process_are_not_touched() {
    let ((public, first), (_, second)) = (tcp(), tcp());
    let address = public.local_addr().expect("bound");
    let mut hub = Activated::start([first, second], 1, "", &[]);
    assert!(hub.said_up_to("listening on").contains(&format!("listening on http://{address}")));
    let ((_, first), (_, second)) = (tcp(), tcp());
    let folder = tempfile::tempdir().expect("a directory can be made");
    let mut child = Command::new(BINARY)
        .args(["serve", "--dev", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder.path())
        .env("LISTEN_FDS", "2")
        .env("LISTEN_PID", "1")
        .stdin(Stdio::from(first))
        .stdout(Stdio::piped())
        .stderr(Stdio::from(second))
        .spawn()
        .expect("the binary can be run");
    let output = BufReader::new(child.stdout.take().expect("it is piped"));
    let served = output.lines().map_while(Result::ok).any(|line| line.starts_with("listening on http://127.0.0.1:"));
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert!(served);
}

#[test]
fn what_cannot_be_used_is_refused() {
    let connected = || {
        let (listener, _) = tcp();
        OwnedFd::from(TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens"))
    };
    let everywhere = || OwnedFd::from(TcpListener::bind("0.0.0.0:0").expect("a free port"));
    let datagrams = || OwnedFd::from(UnixDatagram::unbound().expect("a socket"));
    for (socket, names, expected) in [
        (connected(), "public:admin", "socket 3 that was handed in (LISTEN_FDS) does not listen"),
        (datagrams(), "public:admin", "socket 3 that was handed in (LISTEN_FDS) is none of TCP"),
        (tcp().1, "metrics:admin", "a socket was handed in for \"metrics\""),
        (everywhere(), "public:admin", "with --dev it must be a loopback address"),
    ] {
        let said = Activated::start([socket, tcp().1], 2, names, &[]).refusal();
        assert!(said.contains(expected), "{expected} is not in {said}");
    }
}

#[test]
fn whoever_starts_it_is_told_when_it_serves_and_when_it_stops() {
    let folder = tempfile::tempdir().expect("a directory can be made");
    let place = folder.path().join("notify");
    let told = UnixDatagram::bind(&place).expect("a free path");
    told.set_read_timeout(Some(WITHIN)).expect("a time");
    let mut hub =
        Activated::start([tcp().1, tcp().1], 2, "public:admin", &[("NOTIFY_SOCKET", &place.display().to_string())]);
    let next = || {
        let mut text = [0; 100];
        let read = told.recv(&mut text).expect("it is told");
        String::from_utf8_lossy(&text[..read]).into_owned()
    };
    assert_eq!(next(), "READY=1\n");
    assert!(hub.folder.path().join("data").exists());
    hub.terminate();
    assert_eq!(next(), "STOPPING=1\n");
}
