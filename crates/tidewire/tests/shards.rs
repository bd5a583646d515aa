//! How many threads serve streams.

use tidewire_harness::Hub;

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");

/// The names of the hub's threads that serve streams.
fn shards(hub: &Hub) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", hub.process())).expect("a process that runs, on Linux");
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    let mut shards: Vec<String> =
        names.map(|name| name.trim().to_owned()).filter(|name| name.starts_with("shard-")).collect();
    shards.sort();
    shards
}

fn named(count: usize) -> Vec<String> {
    let mut names: Vec<String> = (0..count).map(|number| format!("shard-{number}")).collect();
    names.sort();
    names
}

#[test]
fn there_is_a_shard_for_each_core_or_as_many_as_are_asked_for() {
    // The hub may run where this may.
    let cores = std::thread::available_parallelism().expect("the machine knows its cores").get();
    assert_eq!(shards(&Hub::start(BINARY)), named(cores));
    for count in [1, cores + 1] {
        let hub = Hub::start_with(BINARY, &["--dev"], &[("TIDEWIRE_SHARDS", &count.to_string())]);
        assert_eq!(shards(&hub), named(count));
    }
}
