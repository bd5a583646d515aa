//! What a shard costs while nothing happens. Alone in its file, since it measures its process.

#[expect(dead_code, reason = "a single test needs little of it")]
mod support;

use std::io::{Read, Write};
use std::time::Duration;

use support::{Hub, read_until};
use tidewire_engine::EngineConfig;

/// One who reads nothing, one who is far behind in the log, one who says half a head, one who is served:
/// together they cost next to nothing while nothing happens.
#[test]
fn a_shard_with_nothing_to_do_does_nothing() {
    let hub = Hub::start(EngineConfig { heartbeat: Duration::from_secs(1), ..EngineConfig::default() });
    let mut blocked = hub.ask("/streams/large");
    read_until(&mut blocked, "data: \n\n\r\n");
    let mut half = hub.connect();
    half.write_all(b"GET /streams").expect("the hub reads");
    for _ in 0..40 {
        hub.publish("large", &"x".repeat(1 << 19));
    }
    let mut served = hub.ask("/streams/a");
    read_until(&mut served, ":\n\r\n");
    let before = shard_ticks();
    for _ in 0..3 {
        read_until(&mut served, ":\n\r\n");
    }
    let spent = shard_ticks() - before;
    assert!(spent <= 40, "{spent} ticks of a hundredth of a second in about two seconds");
    assert_eq!(hub.engine.handle().stats().streams, 2);
    // It has all of it once it reads: by pieces, from the log, once and in order.
    let mut received = 0;
    while received < 40 * (1 << 19) {
        let mut bytes = [0; 1 << 16];
        let read = blocked.read(&mut bytes).expect("bytes before the deadline");
        received += bytes[..read].iter().filter(|&&byte| byte == b'x').count();
    }
    assert_eq!(received, 40 * (1 << 19));
    assert!(hub.engine.handle().stats().short_writes > 0);
}

/// What the shards of this process have used of their processors, in hundredths of a second. This test
/// is alone in its process.
fn shard_ticks() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    let stats = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok());
    stats
        .filter_map(|stat| stat.split_once("(shard-")?.1.split_once(") ").map(|(_, fields)| fields.to_owned()))
        .map(|fields| fields.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>())
        .sum()
}
