//! The process on a log that is not as it was left: what it says when it refuses, and what `--salvage` does.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;
use tempfile::TempDir;
use tidewire_harness::{EventStream, Http, Hub, free_port};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");

/// A folder with a log of several files, of events whose data are their numbers and much more.
struct Log {
    folder: TempDir,
    ids: Vec<String>,
}

impl Log {
    fn new() -> Log {
        let mut hub = Hub::start_with(BINARY, &["--dev", "--segment-bytes", "64KiB"], &[]);
        let mut http = Http::connect(hub.address()).expect("the hub listens");
        let ids = (0..20).map(|n| publish(&mut http, n)).collect();
        assert_eq!(hub.terminate().code(), Some(0));
        let folder = tempfile::tempdir().expect("a directory can be made");
        for entry in fs::read_dir(hub.data()).expect("a folder") {
            let path = entry.expect("a file").path();
            fs::copy(&path, folder.path().join(path.file_name().expect("a name"))).expect("copied");
        }
        let log = Log { folder, ids };
        assert!(log.segments().len() >= 4);
        log
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn segments(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path()).expect("a folder").map(|entry| entry.expect("a file").path());
        let mut segments: Vec<PathBuf> =
            entries.filter(|path| path.extension().is_some_and(|end| end == "seg")).collect();
        segments.sort();
        segments
    }

    fn damage(&self, file: &Path, at: u64) {
        let file = fs::OpenOptions::new().write(true).open(file).expect("there");
        file.write_all_at(b"damage", at).expect("written");
    }

    /// What a hub says that must not start here.
    fn refused(&self, arguments: &[&str]) -> String {
        let (listen, admin) = (free_port(), free_port());
        let output = self.command(listen, admin).args(arguments).output().expect("the binary can be run");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn command(&self, listen: SocketAddr, admin: SocketAddr) -> Command {
        let mut command = Command::new(BINARY);
        command.args(["serve", "--dev", "--listen", &listen.to_string(), "--admin-listen", &admin.to_string()]);
        command.args(["--segment-bytes", "64KiB", "--data-dir"]).arg(self.path());
        command.stdin(Stdio::null());
        command
    }
}

/// Waits until a hub serves, and gives what it said until then.
fn started(command: &mut Command) -> (Child, Vec<String>) {
    let mut hub = command.stdout(Stdio::piped()).spawn().expect("the binary can be run");
    let lines = BufReader::new(hub.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
    let told = lines.take_while(|line| !line.starts_with("listening on")).collect();
    (hub, told)
}

fn kill(mut hub: Child) {
    hub.kill().expect("it runs");
    hub.wait().expect("it ends");
}

/// Publishes an event that takes about a fifth of a file.
fn publish(http: &mut Http, n: usize) -> String {
    let body = json!({"topic": "a", "data": format!("{n} {}", "x".repeat(12_000))}).to_string();
    let answer = http.request("POST", "/api/v1/events", &[("content-type", "application/json")], body.as_bytes());
    answer.expect("the hub answers").json()["id"].as_str().expect("an id").to_owned()
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).expect("a name")
}

#[test]
fn each_reason_not_to_start_has_a_message_that_says_what_to_do() {
    let log = Log::new();
    let segments = log.segments();
    let second = fs::read(&segments[1]).expect("there");
    log.damage(&segments[1], 20);
    let said = log.refused(&[]);
    let damaged = format!("{} is damaged at byte 0 (its header's checksum is wrong)", name(&segments[1]));
    assert!(said.contains(&damaged) && said.contains("--salvage"), "{said}");
    assert!(said.contains(&log.path().display().to_string()), "{said}");

    fs::remove_file(&segments[1]).expect("there");
    let said = log.refused(&[]);
    assert!(said.contains(&format!("the segment before {} is missing", name(&segments[2]))), "{said}");
    assert!(said.contains("--salvage"), "{said}");

    let other = Log::new();
    fs::copy(&other.segments()[1], &segments[1]).expect("copied");
    for flag in [&[][..], &["--salvage"]] {
        let said = log.refused(flag);
        assert!(said.contains("belongs to another log") && !said.contains("--salvage"), "{said}");
    }

    fs::write(&segments[1], fs::read(&segments[2]).expect("there")).expect("written");
    let said = log.refused(&["--salvage"]);
    assert!(said.contains("another file's contents"), "{said}");
    fs::write(&segments[1], &second).expect("written");

    let manifest = log.path().join("manifest");
    let whole = fs::read(&manifest).expect("there");
    log.damage(&manifest, 40);
    let said = log.refused(&[]);
    assert!(said.contains("manifest is damaged") && said.contains("--salvage"), "{said}");
    fs::remove_file(&manifest).expect("there");
    let said = log.refused(&[]);
    assert!(said.contains("no manifest") && said.contains("--salvage"), "{said}");

    let mut newer = whole.clone();
    newer[12] = 9;
    let crc = crc32c(&newer[12..]).to_le_bytes();
    newer[8..12].copy_from_slice(&crc);
    fs::write(&manifest, newer).expect("written");
    for flag in [&[][..], &["--salvage"]] {
        let said = log.refused(flag);
        assert!(said.contains("manifest has format 9") && said.contains("use the version that wrote it"), "{said}");
    }

    fs::write(&manifest, whole).expect("written");
    segments.iter().for_each(|segment| fs::remove_file(segment).expect("there"));
    let said = log.refused(&[]);
    assert!(said.contains("no segments"), "{said}");
}

/// As in the format's documentation, bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}

#[test]
fn salvage_goes_on_without_what_is_damaged_and_says_what_is_gone() {
    let log = Log::new();
    let segments = log.segments();
    fs::remove_file(&segments[1]).expect("there");
    let last = fs::read(segments.last().expect("one")).expect("there");
    // The first group of the last file, which others behind it say was durable.
    log.damage(segments.last().expect("one"), 200);
    assert!(last[128..].starts_with(b"TWGR"));

    let (address, admin) = (free_port(), free_port());
    let (hub, told) = started(log.command(address, admin).arg("--salvage"));
    kill(hub);
    let gone: Vec<&String> = told.iter().filter(|line| line.starts_with("salvage: gone: events after #")).collect();
    assert_eq!(gone.len(), 2, "{told:?}");
    assert!(gone[0].contains(name(&segments[1])), "{told:?}");
    assert!(gone[1].contains(name(segments.last().expect("one"))), "{told:?}");

    // The next start need not salvage, and readers are told.
    let (hub, told) = started(&mut log.command(address, admin));
    assert!(told.iter().all(|line| !line.starts_with("salvage")), "{told:?}");
    let mut stream = EventStream::open(address, "/api/v1/events?topic=*&from=earliest", &[]).expect("the hub answers");
    let mut seen = Vec::new();
    let mut gaps = 0;
    let last_id = log.ids.last().expect("one");
    while seen.last() != Some(last_id) {
        let event = stream.event().expect("read").expect("an event");
        match &*event.event_type {
            "tidewire.gap" => {
                assert!(event.data.contains("damaged"), "{event:?}");
                gaps += 1;
            }
            "tidewire.checkpoint" => {}
            _ => seen.push(event.id),
        }
    }
    assert_eq!(gaps, 2);
    assert!(seen.iter().all(|id| log.ids.contains(id)));
    assert!(seen.len() >= 12, "{seen:?}");
    let mut http = Http::connect(admin).expect("the hub listens");
    let metrics = http.request("GET", "/metrics", &[], b"").expect("the hub answers");
    assert!(metrics.text().contains("tidewire_log_damaged_ranges 2"), "{}", metrics.text());
    kill(hub);
}
