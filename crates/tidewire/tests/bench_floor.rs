//! The figures by turns with the floor, at a small scale: that both are measured and checked alike.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Builds the floor, which is a project of its own.
fn floor() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../peers/floor/Cargo.toml");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("floor");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--manifest-path"])
        .arg(manifest)
        .arg("--target-dir")
        .arg(&target)
        .status();
    assert!(built.is_ok_and(|status| status.success()), "the floor is built");
    target.join("debug/floor")
}

#[test]
fn hub_and_floor_are_measured_by_turns() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new(env!("CARGO_BIN_EXE_tidewire"))
        .args(["bench", "figures", "--json", "--no-pin", "--connections", "30", "--idle-connections", "90"])
        .args(["--pairs", "1", "--rounds", "1", "--only", "cpu", "--only", "storm", "--only", "memory", "--floor"])
        .arg(floor())
        .arg("--folder")
        .arg(folder.path())
        .output()
        .expect("the binary runs");
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert!(output.status.success() && report["honest"] == true, "{report:#}");
    let targets = report["targets"].as_array().expect("targets");
    let names: Vec<&str> = targets.iter().filter_map(|target| target["name"].as_str()).collect();
    let expected = [
        "memory an idle subscriber, shared topic",
        "the same, with a topic and a subject of its own",
        "CPU a delivery, hub to floor",
        "sends a delivery",
        "hub's user time to floor's total",
        "floor's share of CPU in the kernel",
        "storm: hub to floor",
        "storm, server's CPU: hub to floor",
    ];
    assert_eq!(names, expected);
    assert!(targets.iter().all(|target| target["result"] == "does-not-count"), "at a small scale none does");
    let target = |name: &str| {
        let target = targets.iter().find(|target| target["name"] == name);
        target.and_then(|target| target["value"].as_f64()).unwrap_or_else(|| panic!("no {name} in {report:#}"))
    };
    assert!(target("storm: hub to floor") > 0.0);
    let sends = target("sends a delivery");
    assert!(sends > 0.0 && sends <= 1.1, "{sends}");
    let rows = report["rows"].as_array().expect("rows");
    let bytes = ["hub's bytes a delivery", "floor's bytes a delivery"].map(|figure| {
        let row = rows.iter().find(|row| row["figure"] == figure);
        row.and_then(|row| row["value"].as_f64()).unwrap_or_else(|| panic!("no {figure} in {report:#}"))
    });
    assert_eq!(bytes, [99.0; 2], "both send the same frames, and no heartbeat is due in so short a time");
    assert!(target("memory an idle subscriber, shared topic").abs() < 100_000.0);
    assert!(std::fs::read_dir(folder.path()).expect("the folder is there").next().is_none());
}
