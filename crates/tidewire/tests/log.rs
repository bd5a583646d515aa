//! `tidewire log`, on the folders of real hubs, running and stopped.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tidewire_harness::{EventStream, Http, Hub, wait_until};
use tidewire_sse::Message;

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
const PATIENCE: Duration = Duration::from_secs(60);

fn start() -> Hub {
    Hub::start_with(BINARY, &["--dev"], &[("TIDEWIRE_SEGMENT_BYTES", "64KiB")])
}

fn publish(http: &mut Http, data: &str) -> String {
    let id: String = data.chars().take(20).collect();
    let body = json!({"topics": ["a", "b"], "data": {"n": data}, "id": id, "type": "news"}).to_string();
    let headers = [("content-type", "application/json")];
    let answer = http.request("POST", "/api/v1/events", &headers, body.as_bytes()).expect("the hub answers");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["id"].as_str().expect("an id").to_owned()
}

/// Publishes so many events, and returns their ids.
fn publish_some(hub: &Hub, count: usize) -> Vec<String> {
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    (0..count).map(|n| publish(&mut http, &format!("{n} {}", "x".repeat(900)))).collect()
}

fn log(arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(BINARY);
    command.arg("log").args(arguments).arg("--data-dir").arg(folder).stdin(Stdio::null());
    command.output().expect("the binary can be run")
}

/// The output of a command that must end with this code.
fn ends_with(code: i32, output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{stdout}{stderr}");
    (stdout, stderr)
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// So many events from the oldest on.
fn read(hub: &Hub, count: usize) -> Vec<Message> {
    let mut stream =
        EventStream::open(hub.address(), "/api/v1/events?topic=*&from=earliest", &[]).expect("the hub answers");
    (0..count).map(|_| stream.published()).collect()
}

/// The id in a line of a backup.
fn lines_id(lines: &str, line: usize) -> String {
    let line: Value = serde_json::from_str(lines.lines().nth(line).expect("a line")).expect("JSON");
    line["id"].as_str().expect("an id").to_owned()
}

/// Empties a stopped hub's folder.
fn empty(folder: &Path) {
    for entry in std::fs::read_dir(folder).expect("there") {
        std::fs::remove_file(entry.expect("there").path()).expect("removed");
    }
}

/// A backup is made while events are published. What had been acknowledged before is in it, and its readers get
/// from the hub that is restored what they get from the first one. A reader that has seen more is told.
#[test]
fn a_backup_of_a_publishing_hub_is_restored_as_it_was() {
    let hub = start();
    publish_some(&hub, 300);
    let is_over = Arc::new(AtomicBool::new(false));
    let published = Arc::new(AtomicUsize::new(300));
    let publisher = std::thread::spawn({
        let (is_over, published, address) = (Arc::clone(&is_over), Arc::clone(&published), hub.address());
        move || {
            let mut http = Http::connect(address).expect("the hub listens");
            let mut last = String::new();
            while !is_over.load(Ordering::SeqCst) {
                let n = published.load(Ordering::SeqCst);
                last = publish(&mut http, &format!("more {n}"));
                published.fetch_add(1, Ordering::SeqCst);
            }
            last
        }
    });
    wait_until("events are published", PATIENCE, || published.load(Ordering::SeqCst) > 350);
    let least = published.load(Ordering::SeqCst);
    let backups = tempfile::tempdir().expect("a folder");
    let backup = backups.path().join("backup.jsonl");
    let (stdout, stderr) = ends_with(0, &log(&["export", "--output", path(&backup)], hub.data()));
    assert!(stdout.is_empty() && stderr.starts_with("exported "), "{stdout}{stderr}");
    let (verified, _) = ends_with(0, &log(&["verify"], hub.data()));
    assert!(verified.contains(": whole; "), "{verified}");
    let after = published.load(Ordering::SeqCst);
    wait_until("more is published", PATIENCE, || published.load(Ordering::SeqCst) > after + 5);
    is_over.store(true, Ordering::SeqCst);
    let last_told = publisher.join().expect("ran");

    let lines = std::fs::read_to_string(&backup).expect("text");
    let count = lines.lines().count() - 2;
    assert!(count >= least, "{count} of at least {least}");
    let mut copy = start();
    copy.terminate();
    empty(copy.data());
    let (stdout, stderr) = ends_with(0, &log(&["import", "--input", path(&backup)], copy.data()));
    assert!(stdout.starts_with(&format!("imported {count} events, ")), "{stdout}");
    assert_eq!(stderr, "");
    ends_with(0, &log(&["verify"], copy.data()));
    copy.restart();
    assert_eq!(read(&copy, count), read(&hub, count));

    let headers = [("last-event-id", last_told.as_str())];
    let target = "/api/v1/events?topic=a";
    let mut stream = EventStream::open(copy.address(), target, &headers).expect("the hub answers");
    let gap = std::iter::repeat_with(|| stream.event().expect("it goes on").expect("it goes on"))
        .find(|event| event.event_type == "tidewire.gap")
        .expect("a gap");
    let gap: Value = serde_json::from_str(&gap.data).expect("JSON");
    assert_eq!((&gap["requested"], &gap["reason"]), (&json!(last_told), &json!("epoch")));
    let mut http = Http::connect(copy.address()).expect("the hub listens");
    assert_eq!(publish(&mut http, &format!("0 {}", "x".repeat(900))), lines_id(&lines, 1), "a repetition is still one");
    let new = publish(&mut http, "new");
    assert_eq!(stream.published().id, new);
    ends_with(0, &log(&["verify"], copy.data()));
}

#[test]
fn inspecting_says_what_there_is_while_a_hub_runs_and_while_none_does() {
    let mut hub = start();
    let ids = publish_some(&hub, 200);
    for used_by in ["a hub", "nobody"] {
        let (text, _) = ends_with(0, &log(&["inspect", "--json"], hub.data()));
        let found: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((&found["used_by"], &found["events"]), (&json!(used_by), &json!(200)));
        assert_eq!(found["head"], json!(ids[199]));
        let segments = found["segments"].as_array().expect("an array");
        assert!(segments.len() > 2 && segments.iter().all(|segment| segment["problem"].is_null()), "{text}");
        assert_eq!(segments[0]["first_id"], json!(ids[0]));
        let (text, _) = ends_with(0, &log(&["inspect"], hub.data()));
        assert!(text.contains(&format!("used by {used_by}\n")) && text.contains(&ids[199]), "{text}");
        if used_by == "a hub" {
            hub.terminate();
        }
    }
}

#[test]
fn what_is_damaged_is_said_and_the_rest_is_exported() {
    let mut hub = start();
    let ids = publish_some(&hub, 200);
    hub.terminate();
    let name = "00000000000000000001.seg";
    let file = hub.data().join(name);
    let mut bytes = std::fs::read(&file).expect("there");
    let data = b"data: {\"n\":\"5 x";
    let at = bytes.windows(data.len()).position(|window| window == data).expect("there");
    bytes[at + 100] ^= 1;
    std::fs::write(&file, bytes).expect("written");

    let (text, _) = ends_with(1, &log(&["verify"], hub.data()));
    let said = format!("a record's frame is not what was written; 1 event lost between {} and {}", ids[4], ids[6]);
    assert!(text.contains(name) && text.contains(&said), "{text}");
    let (text, _) = ends_with(1, &log(&["verify", "--json"], hub.data()));
    let found: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&found["whole"], &found["events"]), (&json!(false), &json!(199)));
    let damage = &found["damages"][0];
    assert_eq!((&damage["file"], &damage["after"], &damage["before"]), (&json!(name), &json!(ids[4]), &json!(ids[6])));

    let (lines, told) = ends_with(1, &log(&["export"], hub.data()));
    assert_eq!(lines.lines().count(), 201);
    assert!(told.contains(&format!("left out: 1 event between {} and {} (damaged)", ids[4], ids[6])), "{told}");
    let (lines, _) = ends_with(0, &log(&["export", "--from", &ids[150], "--topic", "b"], hub.data()));
    assert_eq!(lines.lines().count(), 51);
}

/// In a folder with indexes and tombstones, of which some are for bytes that are overwritten and others are not yet, all
/// is whole, and nothing that was erased leaves it.
#[test]
fn a_folder_with_indexes_and_tombstones_is_whole_and_what_was_erased_is_in_no_backup() {
    let mut hub = start();
    let ids = publish_some(&hub, 300);
    let erase = |hub: &Hub, id: &str| {
        let mut http = Http::connect(hub.address()).expect("the hub listens");
        let target = format!("/api/v1/events/{}", id.replace('#', "%23"));
        assert_eq!(http.request("DELETE", &target, &[], b"").expect("the hub answers").status, 204);
    };
    let holds = |folder: &Path, n: usize| {
        let text = format!("{{\"n\":\"{n} x");
        let files = std::fs::read_dir(folder).expect("there").map(|file| file.expect("there").path());
        // A file may be renamed meanwhile.
        let mut bytes = files.filter_map(|file| std::fs::read(file).ok());
        bytes.any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
    };
    let has_indexes = |folder: &Path| {
        let names = |kind: &str| {
            let entries = std::fs::read_dir(folder).expect("there").map(|entry| entry.expect("there").path());
            entries.filter(|path| path.extension().is_some_and(|extension| extension == kind)).count()
        };
        names("seg") > 3 && names("idx") + 1 == names("seg")
    };
    hub.terminate();
    hub.restart_with("TIDEWIRE_ERASE_WITHIN", "1s");
    for n in [7, 150, 299] {
        erase(&hub, &ids[n]);
    }
    wait_until("the bytes are overwritten", PATIENCE, || ![7, 150, 299].iter().any(|&n| holds(hub.data(), n)));
    hub.terminate();
    hub.restart_with("TIDEWIRE_ERASE_WITHIN", "24h");
    // A start overwrites at once what it finds. When it has written another index, it has looked.
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    let more: Vec<String> = (0..100).map(|n| publish(&mut http, &format!("more {n} {}", "x".repeat(900)))).collect();
    wait_until("every full segment has its index", PATIENCE, || has_indexes(hub.data()));
    for n in [8, 298] {
        erase(&hub, &ids[n]);
    }
    let erased = [7, 8, 150, 298, 299];
    let folder = tempfile::tempdir().expect("a folder");
    let backup = folder.path().join("backup");
    for is_running in [true, false] {
        if !is_running {
            hub.terminate();
            assert!(holds(hub.data(), 8), "it is hidden, and not overwritten");
        }
        let (verified, _) = ends_with(0, &log(&["verify"], hub.data()));
        assert!(verified.contains(": whole; "), "{verified}");
        ends_with(0, &log(&["inspect"], hub.data()));
        let (lines, told) = ends_with(0, &log(&["export"], hub.data()));
        assert!(!told.contains("left out"), "{told}");
        let exported: Vec<String> = (1..lines.lines().count() - 1).map(|line| lines_id(&lines, line)).collect();
        let left: Vec<String> = (0..300).filter(|n| !erased.contains(n)).map(|n| ids[n].clone()).collect();
        assert_eq!(exported, [&left[..], &more].concat());
        let holds = |n: usize| lines.contains(&format!("\\\"{n} x"));
        assert!(holds(9) && !erased.iter().any(|&n| holds(n)), "their data");
        std::fs::write(&backup, lines).expect("written");
    }
    // What is left of another log in the folder is not taken for the new one's.
    let copy = folder.path().join("copy");
    std::fs::create_dir(&copy).expect("made");
    for name in ["tombstones", "00000000000000000001.idx"] {
        std::fs::copy(hub.data().join(name), copy.join(name)).expect("copied");
    }
    let (stdout, _) = ends_with(0, &log(&["import", "--input", path(&backup)], &copy));
    assert!(stdout.starts_with("imported 395 events, "), "{stdout}");
    ends_with(0, &log(&["verify"], &copy));
    let restored = Hub::start_in(&copy, BINARY, &["--dev"], &[]);
    assert_eq!(read(&restored, 395).len(), 395);
}

#[test]
fn what_cannot_be_done_is_said_with_2() {
    let mut hub = start();
    publish_some(&hub, 20);
    let folder = tempfile::tempdir().expect("a folder");
    let backup = folder.path().join("backup");
    ends_with(0, &log(&["export", "--output", path(&backup)], hub.data()));
    let absent = folder.path().join("absent");
    for command in ["inspect", "verify", "export"] {
        let (stdout, stderr) = ends_with(2, &log(&[command], &absent));
        assert!(stdout.is_empty() && stderr.contains("absent"), "{stdout}{stderr}");
        let (_, stderr) = ends_with(2, &log(&[command], folder.path()));
        assert!(stderr.contains("there is no log in the folder"), "{stderr}");
    }
    assert!(!absent.exists(), "nothing was made");
    let (_, stderr) = ends_with(2, &log(&["export", "--output", path(&absent.join("backup"))], hub.data()));
    assert!(stderr.contains("failed to make the file"), "{stderr}");
    let (_, stderr) = ends_with(2, &log(&["import", "--input", path(&backup)], hub.data()));
    assert!(stderr.contains("another process uses the folder"), "{stderr}");
    hub.terminate();
    let (_, stderr) = ends_with(2, &log(&["import", "--input", path(&backup)], hub.data()));
    assert!(stderr.contains("holds a log already"), "{stderr}");
    let (_, stderr) = ends_with(2, &log(&["import", "--input", BINARY], &absent));
    assert!(stderr.contains("this is no export"), "{stderr}");
}

#[test]
fn a_cut_backup_is_imported_only_when_asked_for() {
    let hub = start();
    let ids = publish_some(&hub, 20);
    let folder = tempfile::tempdir().expect("a folder");
    let (lines, _) = ends_with(0, &log(&["export"], hub.data()));
    let backup = folder.path().join("backup");
    std::fs::write(&backup, &lines.as_bytes()[..lines.len() / 2]).expect("written");
    let copy = folder.path().join("copy");
    let (_, stderr) = ends_with(1, &log(&["import", "--input", path(&backup)], &copy));
    assert!(stderr.contains("the export is not whole: line ") && stderr.contains("--partial"), "{stderr}");
    ends_with(2, &log(&["verify"], &copy));
    let (stdout, stderr) = ends_with(1, &log(&["import", "--partial", "--input", path(&backup)], &copy));
    assert!(stdout.contains(&format!("imported 9 events, {} to {}", ids[0], ids[8])), "{stdout}");
    assert!(stderr.contains("the backup is not whole: line 11: it is cut"), "{stderr}");
    ends_with(0, &log(&["verify"], &copy));
}

#[test]
fn an_import_that_was_killed_is_no_log_and_is_run_again() {
    let mut hub = start();
    let ids = publish_some(&hub, 300);
    let (lines, _) = ends_with(0, &log(&["export"], hub.data()));
    hub.terminate();
    let folder = tempfile::tempdir().expect("a folder");
    let mut importing = Command::new(BINARY)
        .args(["log", "import", "--data-dir", path(folder.path())])
        .stdin(Stdio::piped())
        .spawn()
        .expect("the binary can be run");
    let mut stdin = importing.stdin.take().expect("it is piped");
    stdin.write_all(&lines.as_bytes()[..lines.len() / 2]).expect("it reads");
    let segment = folder.path().join("00000000000000000001.seg");
    wait_until("a segment is there", PATIENCE, || segment.exists());
    importing.kill().expect("it runs");
    importing.wait().expect("it ends");
    drop(stdin);

    let refused = Command::new(BINARY)
        .args(["serve", "--dev", "--data-dir", path(folder.path())])
        .output()
        .expect("the binary can be run");
    let (_, stderr) = ends_with(1, &refused);
    assert!(stderr.contains("an import into the folder did not end: run it again"), "{stderr}");
    let (_, stderr) = ends_with(2, &log(&["inspect"], folder.path()));
    assert!(stderr.contains("an import into the folder is under way, or did not end"), "{stderr}");

    let backup = folder.path().join("backup");
    std::fs::write(&backup, lines).expect("written");
    let (stdout, _) = ends_with(0, &log(&["import", "--input", path(&backup)], folder.path()));
    assert!(stdout.contains(&format!("imported 300 events, {} to {}", ids[0], ids[299])), "{stdout}");
    ends_with(0, &log(&["verify"], folder.path()));
}

#[test]
fn the_help_says_what_there_is_and_how_it_ends() {
    let help = |arguments: &[&str]| {
        let output = Command::new(BINARY).args(arguments).output().expect("the binary can be run");
        ends_with(0, &output).0
    };
    let text = help(&["log", "--help"]);
    for said in ["inspect", "verify", "export", "import", "while a hub runs"] {
        assert!(text.contains(said), "{said} in {text}");
    }
    for command in ["verify", "export", "import"] {
        let text = help(&["log", command, "--help"]);
        assert!(text.contains("Exit codes: 0") && text.contains("--data-dir <FOLDER>"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
    }
}
