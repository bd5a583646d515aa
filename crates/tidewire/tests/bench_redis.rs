//! `tidewire bench publish --compare redis` against a real Redis.

use std::fs;
use std::process::Command;

use serde_json::Value;

#[test]
fn redis_is_measured_in_the_same_rounds() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new(env!("CARGO_BIN_EXE_tidewire"))
        .args(["bench", "publish", "--json", "--compare", "redis", "--publishers", "4", "--rounds", "1"])
        .args(["--seconds", "1", "--warm-up", "0.2", "--folder"])
        .arg(folder.path())
        .output()
        .expect("the binary runs");
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert!(output.status.success() && report["honest"] == true, "{report:#}");
    let is_redis = |row: &&Value| row["what"].as_str().is_some_and(|what| what.starts_with("Redis "));
    let rows = report["rows"].as_array().expect("rows");
    let events = rows.iter().filter(is_redis).find(|row| row["figure"] == "events").expect("Redis was measured");
    assert!(events["value"].as_f64().is_some_and(|rate| rate > 0.0), "{events}");
    assert_eq!(report["targets"][0]["bound"], ">= 1");
    assert!(fs::read_dir(folder.path()).expect("the folder is there").next().is_none());
}
