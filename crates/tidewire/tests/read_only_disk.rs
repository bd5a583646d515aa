//! A folder that becomes read-only: publishers are told so, readers read on, and it is over when it can be written.

use std::time::Duration;

use serde_json::json;
use tidewire_harness::{Clock, Http, Hub, Pace, RawReader, ReadOnly, Seed, Workload, wait_until};
use tidewire_sim::{Asked, Connection, Filter, History, Subscriber, Until};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
const PUBLISHERS: usize = 4;
/// So often, since it matters where it finds the log: the next file may be made already, and not have its name.
const TIMES: usize = 8;
/// How long anything that must happen may take, beside a build.
const WITHIN: Duration = Duration::from_secs(60);
const SETTINGS: [(&str, &str); 2] = [("TIDEWIRE_SEGMENT_BYTES", "128KiB"), ("TIDEWIRE_RETENTION_BYTES", "1GiB")];

fn reader(hub: &Hub, clock: Clock, name: &str) -> RawReader {
    let subscriber = Subscriber::new(name, Filter::any(), Until::Everything);
    let subscriber = subscriber.connection(Connection::begin(Asked::Earliest, clock.now()));
    RawReader::start(hub.address(), hub.life(), clock, Pace::Fast, subscriber)
}

fn wait_for_acknowledgements(workload: &Workload, count: usize) {
    let acknowledged = workload.acknowledged();
    wait_until("publishers go on", WITHIN, || workload.acknowledged() > acknowledged + count);
}

#[test]
fn publishers_are_told_and_readers_read_on_until_it_can_be_written() {
    let (clock, seed) = (Clock::start(), Seed::new("read_only_disk"));
    let mut hub = Hub::start_with(BINARY, &["--dev"], &SETTINGS);
    let mut readers = vec![reader(&hub, clock, "always there")];
    let workload = Workload::start(hub.address(), clock, &seed, PUBLISHERS);
    for time in 1..=TIMES {
        wait_for_acknowledgements(&workload, 20 + seed.below(40));
        let read_only = ReadOnly::new(hub.data());
        let refused = workload.turned_away_with(507);
        wait_until("publishers are told", WITHIN, || workload.turned_away_with(507) > refused + 20);
        let acknowledged = workload.acknowledged_to();
        let mut http = Http::connect(hub.address()).expect("the hub listens");
        let erased = http.request("DELETE", "/api/v1/topics/nobody-s", &[], b"").expect("the hub answers");
        assert_eq!((erased.status, &erased.json()["type"]), (507, &json!("urn:tidewire:error:no-space")));
        readers.push(reader(&hub, clock, &format!("new at time {time}")));
        for reader in &readers {
            wait_until("readers read everything", WITHIN, || reader.place() >= acknowledged);
        }
        drop(read_only);
    }
    wait_for_acknowledgements(&workload, 100);
    assert_eq!(workload.turned_away(), workload.turned_away_with(507), "nothing else is the matter");
    assert_eq!(workload.lost(), 0, "everybody was answered");
    let mut history = History { publications: workload.finish(), ..History::default() };
    let last = history.acknowledged_to();
    history.subscribers = readers.into_iter().map(|reader| reader.stop_at(last, WITHIN)).collect();
    history.kills.push(hub.kill(clock));
    {
        let _read_only = ReadOnly::new(hub.data());
        let refusal = hub.refuse();
        assert!(refusal.said.contains("failed to lock the folder"), "{}", refusal.said);
        assert!(refusal.said.contains("Read-only file system"), "{}", refusal.said);
    }
    hub.restart();
    history.subscribers.push(reader(&hub, clock, "after a kill").stop_at(last, WITHIN));
    let verdict = history.check();
    println!("{verdict}");
    verdict.assert_clean();
}
