//! `tidewire bench` at a small scale: that it measures, checks what it measures, and leaves nothing behind. The figures
//! themselves are nobody's here.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Runs the command with its folders in `folder`: whether it ended well, and its report.
fn bench(folder: &Path, arguments: &[&str]) -> (bool, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_tidewire"))
        .args(["bench", arguments[0], "--json", "--no-pin", "--folder"])
        .arg(folder)
        .args(&arguments[1..])
        .output()
        .expect("the binary runs");
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.success(), report)
}

/// The rows on one thing, as figure and value.
fn rows<'a>(report: &'a Value, what: &str) -> Vec<(&'a str, f64)> {
    let rows = report["rows"].as_array().expect("rows").iter().filter(|row| row["what"] == what);
    rows.map(|row| (row["figure"].as_str().expect("a name"), row["value"].as_f64().expect("a number"))).collect()
}

fn value(report: &Value, what: &str, figure: &str) -> f64 {
    let rows = rows(report, what);
    rows.iter().find(|(name, _)| *name == figure).unwrap_or_else(|| panic!("no {figure} in {report:#}")).1
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).expect("the folder is there").next().is_none()
}

#[test]
fn publishing_is_measured_and_read_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let scale = ["--publishers", "8", "--rounds", "2", "--seconds", "1", "--warm-up", "0.2"];
    let (ended_well, report) = bench(folder.path(), &[&["publish", "--compare", "memory"], &scale[..]].concat());
    assert!(ended_well && report["honest"] == true, "{report:#}");
    assert_eq!(report["settings"]["publishers"], 8);
    for hub in ["hub, commit", "hub, memory"] {
        let [p50, p99, max] = ["latency p50", "latency p99", "latency max"].map(|figure| value(&report, hub, figure));
        assert!(value(&report, hub, "events") > 0.0 && p50 > 0.0 && p50 <= p99 && p99 <= max, "{report:#}");
    }
    assert!(value(&report, "disk", "4 KiB append, fdatasync") > 0.0);
    let target = &report["targets"][0];
    assert!(target["value"].as_f64().is_some_and(|ratio| ratio > 0.0), "{report:#}");
    assert_eq!(target["result"], "does-not-count", "server and generator shared their cores");
    assert!(is_empty(folder.path()));
}

#[test]
fn a_large_log_is_kept_and_used_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("log");
    let data = data.to_str().expect("text");
    let log = ["--events", "2500", "--topics", "7", "--warm", "--data-dir", data];
    let (ended_well, report) = bench(folder.path(), &[&["start", "--starts", "2"], &log[..]].concat());
    assert!(ended_well, "{report:#}");
    assert!(value(&report, "filling the log", "events, in arrays") > 0.0);
    assert!(value(&report, "start", "until ready") > 0.0);

    let samples = ["resume", "--samples", "20", "--memory-limit", "none", "--seed", "1"];
    let (ended_well, report) = bench(folder.path(), &[&samples, &log[..]].concat());
    assert!(ended_well, "{report:#}");
    assert_eq!(rows(&report, "filling the log"), [], "it was there");
    for topic in ["a common topic", "a rare topic"] {
        assert!(value(&report, topic, "first event") > 0.0);
    }

    let (ended_well, report) = bench(folder.path(), &[&samples, &log[2..], &["--events", "2000"]].concat());
    assert!(!ended_well && report == Value::Null, "it is another log");
}

/// The command is only worth something if it sees what is missing: here a log of 2,000 events said to have 3,000.
#[test]
fn what_is_missing_is_not_honest() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("log");
    let log = ["start", "--starts", "1", "--warm", "--data-dir", data.to_str().expect("text"), "--events"];
    assert!(bench(folder.path(), &[&log[..], &["2000"]].concat()).0);
    let description = data.join("bench.json");
    let json = fs::read_to_string(&description).expect("it was left there");
    fs::write(&description, json.replace("\"events\":2000", "\"events\":3000")).expect("it can be written");
    let (ended_well, report) = bench(folder.path(), &[&log[..], &["3000"]].concat());
    assert!(!ended_well && report["honest"] == false, "{report:#}");
    let problems = report["problems"].to_string();
    assert!(problems.contains("3000 events were published, and 2000 are retained"), "{problems}");
    assert!(problems.contains("not event 2999"), "{problems}");
}
