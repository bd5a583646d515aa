//! `tidewire bench load` and `run` at a small scale, against the real hub: that the load comes, that what is measured was
//! checked, and that a run which did not deliver says so. The figures themselves are nobody's here, and a busy machine makes
//! no difference: no publisher has more events at a time than connections, so none is held back.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tidewire_harness::{Hub, wait_until};

/// Runs the command: whether it ended well, its report, and what it told beside.
fn bench(arguments: &[&str]) -> (bool, Value, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tidewire"))
        .args(["bench", arguments[0], "--json"])
        .args(&arguments[1..])
        .output()
        .expect("the binary runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), serde_json::from_slice(&output.stdout).unwrap_or(Value::Null), told)
}

fn scenario(folder: &Path, arguments: &[&str]) -> Value {
    let folder = folder.to_str().expect("text");
    let (ended_well, report, told) = bench(&[&["run"], arguments, &["--no-pin", "--folder", folder]].concat());
    assert!(ended_well && report["honest"] == true, "{report:#}\n{told}");
    report
}

fn value(report: &Value, what: &str, figure: &str) -> f64 {
    let rows = report["rows"].as_array().expect("rows");
    let row = rows.iter().find(|row| row["what"] == what && row["figure"] == figure);
    row.and_then(|row| row["value"].as_f64()).unwrap_or_else(|| panic!("no {figure} of {what} in {report:#}"))
}

#[test]
fn fan_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let small = ["--connections", "40", "--events", "60", "--warm-up-events", "5", "--rate", "300"];
    let report = scenario(folder.path(), &[&["fan-out"], &small[..]].concat());
    assert_eq!(report["settings"]["connections"], 40);
    assert_eq!(value(&report, "fan-out", "offered"), 12_000.0);
    let latencies =
        ["p50", "p90", "p99", "p99.9", "max"].map(|share| value(&report, "fan-out", &format!("latency {share}")));
    assert!(latencies[0] > 0.0 && latencies.is_sorted(), "{latencies:?}");
    assert!(value(&report, "fan-out", "deliveries") > 0.0);
    let writes = value(&report, "fan-out", "writes a delivery");
    assert!(writes > 0.0 && writes <= 1.1, "{writes}");
    assert!(fs::read_dir(folder.path()).expect("the folder is there").next().is_none());
}

#[test]
fn idle_subscribers_are_weighed() {
    let folder = tempfile::tempdir().expect("a folder");
    let report = scenario(folder.path(), &["idle", "--connections", "300", "--slope-from", "100", "--settle", "0.1"]);
    assert!(value(&report, "idle, 300 connections", "memory anonymous") > 0.0);
    let slope = value(&report, "idle", "anonymous a connection");
    assert!(slope.abs() < 100_000.0, "{slope}");
}

#[test]
fn many_topics() {
    let folder = tempfile::tempdir().expect("a folder");
    let small =
        ["--connections", "60", "--topics", "30", "--events", "200", "--warm-up-events", "50", "--rate", "1000"];
    let report = scenario(folder.path(), &[&["many-topics"], &small[..]].concat());
    assert_eq!(value(&report, "many-topics", "offered"), 2_000.0);
}

#[test]
fn slow_readers_get_everything_in_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    // More than sockets take: 8 MiB for each.
    let small = ["--connections", "6", "--slow-readers", "3", "--payload", "65536", "--events", "128", "--rate", "200"];
    let report = scenario(folder.path(), &[&["slow-readers"], &small[..]].concat());
    // Both were there at the same load, and what one more costs is told.
    let peak = |what| value(&report, what, "memory resident, peak");
    assert!(peak("slow-readers") > 1.0 && peak("slow-readers, without slow readers") > 1.0);
    assert!(value(&report, "slow-readers", "resident a slow reader, at the peak").is_finite());
}

#[test]
fn a_scenario_of_ones_own_raises_the_rate() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("mine.toml");
    let text = "about = 'x'\n[load]\nconnections = 20\n[raise]\nrates = [50.0, 200.0]\nseconds = 0.3\n";
    fs::write(&file, text).expect("it can be written");
    let report = scenario(folder.path(), &[file.to_str().expect("text")]);
    for rate in [50, 200] {
        let what = format!("{rate} events/s");
        assert_eq!(value(&report, &what, "offered"), f64::from(rate) * 20.0);
    }
}

#[test]
fn a_running_server_is_put_under_load() {
    let hub = Hub::start(env!("CARGO_BIN_EXE_tidewire"));
    let url = hub.url();
    let run = |topic: &str| {
        let subscribe = format!("{url}/api/v1/events?topic={topic}-{{topic}}");
        let publish = format!("{url}/api/v1/events");
        // Data that is JSON of its own, in a string.
        let body = r#"{"topic":"load-{topic}","data":"{\"n\":{event},\"p\":\"{payload}\"}"}"#;
        let process = hub.process().to_string();
        let arguments =
            ["load", "--subscribe", &subscribe, "--publish", &publish, "--publish-body", body, "--pid", &process];
        let amount = ["--publish-header", "Content-Type: application/json", "--connections", "12", "--topics", "3"];
        let time = ["--events", "60", "--rate", "300", "--source-addresses", "3", "--patience", "1"];
        bench(&[&arguments[..], &amount, &time].concat())
    };
    let (ended_well, report, told) = run("load");
    assert!(ended_well && report["honest"] == true, "{report:#}\n{told}");
    assert_eq!(report["problems"].as_array().map(Vec::len), Some(0));
    assert!(value(&report, "server, 12 connections", "memory resident") > 0.0);

    // What is published goes to others than those who listen.
    let (ended_well, report, told) = run("elsewhere");
    assert!(!ended_well && report["honest"] == false, "{report:#}");
    assert!(report["problems"].to_string().contains("240 deliveries lost"), "{report:#}");
    assert!(told.contains("count for nothing"), "{told}");
}

/// Whoever ended a run by a signal found its hub still there, with a port and a folder of its own.
#[test]
fn a_run_that_is_killed_leaves_no_hub() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("text");
    // The processes, with how many sockets each of them has.
    let hubs = || -> Vec<usize> {
        let processes = fs::read_dir("/proc").expect("processes").flatten().map(|process| process.path());
        let cmdline = |process: &PathBuf| fs::read_to_string(process.join("cmdline")).unwrap_or_default();
        let is_it = |line: &str| line.contains("serve\0") && line.contains(path);
        let sockets = |process: PathBuf| {
            let files = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
            let targets = files.filter_map(|file| fs::read_link(file.path()).ok());
            targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
        };
        processes.filter(|process| is_it(&cmdline(process))).map(sockets).collect()
    };
    for signal in ["TERM", "KILL"] {
        let mut run = Command::new(env!("CARGO_BIN_EXE_tidewire"))
            .args(["bench", "run", "idle", "--connections", "10", "--slope-from", "5", "--settle", "600"])
            .args(["--no-pin", "--folder", path])
            .spawn()
            .expect("the binary runs");
        // With subscribers, which come once the hub is watched over.
        wait_until("it puts load on a hub", Duration::from_secs(60), || matches!(*hubs(), [sockets] if sockets >= 10));
        let killed = Command::new("kill").args(["-s", signal, &run.id().to_string()]).status();
        assert!(killed.is_ok_and(|status| status.success()), "there is a kill");
        assert!(!run.wait().expect("it ends").success());
        wait_until("the hub is gone", Duration::from_secs(20), || hubs().is_empty());
    }
}

#[test]
fn what_cannot_be_measured_is_told() {
    let (ended_well, report, told) = bench(&["run", "fan_out"]);
    assert!(!ended_well && report == Value::Null && told.contains("many-topics"), "{told}");
    let nobody = ["--subscribe", "http://127.0.0.1:1/", "--publish", "http://127.0.0.1:1/", "--connections", "1"];
    let (ended_well, report, told) = bench(&["run", "saturate", "--rate", "5"]);
    assert!(!ended_well && report == Value::Null && told.contains("takes no --rate"), "{told}");
    // No process has the highest number.
    let (ended_well, report, told) = bench(&[&["load", "--pid", "2147483647"], &nobody[..]].concat());
    assert!(!ended_well && report == Value::Null && told.contains("no process 2147483647"), "{told}");
    let (ended_well, report, told) = bench(&[&["load"], &nobody[..]].concat());
    assert!(!ended_well && report == Value::Null && told.contains("refused"), "{told}");
}
