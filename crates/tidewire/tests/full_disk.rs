//! A disk without room: publishers are told so, readers read on, and it is over when there is room again.

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use tidewire_harness::{
    Clock, EventStream, Http, Hub, Pace, RawReader, Response, Seed, SmallDisk, Workload, wait_until,
};
use tidewire_sim::{Asked, Connection, Filter, History, Place, Subscriber, Until};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
const DISK_BYTES: u64 = 32 << 20;
const PUBLISHERS: usize = 4;
/// How long anything that must happen may take, beside a build.
const WITHIN: Duration = Duration::from_secs(60);
/// So often publishers are refused before it is looked at who can still do what.
const REFUSALS: usize = 50;

/// Retention would make room, and has no cause to.
const SETTINGS: [(&str, &str); 2] = [("TIDEWIRE_SEGMENT_BYTES", "256KiB"), ("TIDEWIRE_RETENTION_BYTES", "1GiB")];

fn reader(hub: &Hub, clock: Clock, name: &str) -> RawReader {
    let subscriber = Subscriber::new(name, Filter::any(), Until::Everything);
    let subscriber = subscriber.connection(Connection::begin(Asked::Earliest, clock.now()));
    RawReader::start(hub.address(), hub.life(), clock, Pace::Fast, subscriber)
}

fn get(hub: &Hub, target: &str) -> Response {
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    http.request("GET", target, &[], b"").expect("the hub answers")
}

fn wait_for_refusals(workload: &Workload) {
    let refused = workload.refused("no-space");
    wait_until("publishers are told", WITHIN, || workload.refused("no-space") > refused + REFUSALS);
}

fn wait_for_acknowledgements(workload: &Workload) {
    let acknowledged = workload.acknowledged();
    wait_until("publishers go on", WITHIN, || workload.acknowledged() > acknowledged + 100);
}

#[test]
fn publishers_are_told_and_readers_read_on_until_there_is_room() {
    let (clock, seed, disk) = (Clock::start(), Seed::new("full_disk"), SmallDisk::new(DISK_BYTES));
    let mut hub = Hub::start_in(&disk.path().join("data"), BINARY, &["--dev"], &SETTINGS);
    let connected = reader(&hub, clock, "connected");
    let workload = Workload::start(hub.address(), clock, &seed, PUBLISHERS);
    wait_for_acknowledgements(&workload);
    let first = workload.acknowledged_to();

    let ballast = disk.fill();
    wait_for_refusals(&workload);
    let acknowledged = workload.acknowledged_to();
    wait_until("who is connected reads on", WITHIN, || connected.place() >= acknowledged);
    let newcomer = reader(&hub, clock, "new while the disk is full");
    wait_until("who is new reads everything", WITHIN, || newcomer.place() >= acknowledged);
    let old = get(&hub, &format!("/api/v1/events/{}", first.to_string().replace('#', "%23")));
    assert_eq!(old.status, 200, "{}", old.text());
    assert_eq!(workload.lost(), 0, "everybody was answered");

    drop(ballast);
    wait_for_acknowledgements(&workload);
    let mut history = History { publications: workload.finish(), ..History::default() };
    let last = history.acknowledged_to();
    history.subscribers = vec![connected.stop_at(last, WITHIN), newcomer.stop_at(last, WITHIN)];
    history.kills.push(hub.kill(clock));
    hub.restart();
    history.subscribers.push(reader(&hub, clock, "after a kill").stop_at(last, WITHIN));
    let verdict = history.check();
    println!("{verdict}");
    verdict.assert_clean();
    assert_eq!(verdict.counts.gaps, 0, "nothing was removed");
}

#[test]
fn a_hub_that_is_killed_on_a_full_disk_starts_there() {
    let (clock, seed, disk) = (Clock::start(), Seed::new("full_disk, killed"), SmallDisk::new(DISK_BYTES));
    let mut hub = Hub::start_in(&disk.path().join("data"), BINARY, &["--dev"], &SETTINGS);
    let always = reader(&hub, clock, "always there");
    let workload = Workload::start(hub.address(), clock, &seed, PUBLISHERS);
    wait_for_acknowledgements(&workload);
    let ballast = disk.fill();
    let mut history = History::default();
    for life in 0..3 {
        wait_for_refusals(&workload);
        history.kills.push(hub.kill(clock));
        let acknowledged = workload.acknowledged_to();
        hub.restart();
        let newcomer = reader(&hub, clock, &format!("in life {life}, while the disk is full"));
        wait_until("everything can be read", WITHIN, || newcomer.place() >= acknowledged);
    }
    drop(ballast);
    wait_for_acknowledgements(&workload);
    history.publications = workload.finish();
    let last = history.acknowledged_to();
    history.subscribers.push(always.stop_at(last, WITHIN));
    history.subscribers.push(reader(&hub, clock, "at the end").stop_at(last, WITHIN));
    let verdict = history.check();
    println!("{verdict}");
    verdict.assert_clean();
}

/// The place from which the earliest is read.
fn low_water(hub: &Hub) -> Place {
    let target = "/api/v1/events?topic=*&from=earliest";
    let mut stream = EventStream::open(hub.address(), target, &[]).expect("the hub answers");
    let first = stream.event().expect("it begins").expect("it begins");
    assert_eq!(first.event_type, "tidewire.checkpoint");
    first.id.parse().expect("a hub id")
}

/// Publishes an event without an id of its own, and answers its place; none if there is no room. A history would not do:
/// what retention removes, nobody knows any more when it is repeated.
fn publish(hub: &Hub) -> Option<Place> {
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    let body = format!("{{\"topic\": \"a\", \"data\": \"{}\"}}", "x".repeat(20_000));
    let headers = [("content-type", "application/json")];
    let answer = http.request("POST", "/api/v1/events", &headers, body.as_bytes()).expect("the hub answers");
    if answer.status == 507 {
        return None;
    }
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["id"].as_str().and_then(|id| id.parse().ok())
}

fn publish_until_there_is_no_room(hub: &Hub) {
    wait_until("publishers are told", WITHIN, || publish(hub).is_none());
    assert!((0..REFUSALS).all(|_| publish(hub).is_none()), "nothing makes room at once");
}

/// To move the mark below which nothing is kept took room, so that retention never made any.
#[test]
fn what_becomes_too_old_while_the_disk_is_full_makes_room() {
    let (clock, disk) = (Clock::start(), SmallDisk::new(DISK_BYTES));
    let settings = [SETTINGS[0], SETTINGS[1], ("TIDEWIRE_RETENTION_AGE", "15s")];
    let mut hub = Hub::start_in(&disk.path().join("data"), BINARY, &["--dev"], &settings);
    assert!((0..60).all(|_| publish(&hub).is_some()), "there is room");
    let _ballast = disk.fill();
    for _ in 0..2 {
        let begin = low_water(&hub);
        wait_until("publishers are told", WITHIN, || publish(&hub).is_none());
        // Nobody makes room but the hub.
        wait_until("publishing works again", WITHIN, || publish(&hub).is_some());
        assert!(low_water(&hub) > begin);
    }
    let before = low_water(&hub);
    hub.kill(clock);
    hub.restart();
    assert!(low_water(&hub) >= before);
}

#[test]
fn a_hub_that_may_keep_less_makes_room_though_it_starts_on_a_full_disk() {
    let (clock, disk) = (Clock::start(), SmallDisk::new(DISK_BYTES));
    let mut hub = Hub::start_in(&disk.path().join("data"), BINARY, &["--dev"], &SETTINGS);
    assert!((0..120).all(|_| publish(&hub).is_some()), "there is room");
    let _ballast = disk.fill();
    publish_until_there_is_no_room(&hub);
    let begin = low_water(&hub);
    hub.kill(clock);
    // What a killed hub had begun, the next one removes first, and so makes room: this one had begun nothing.
    for file in std::fs::read_dir(hub.data()).expect("there") {
        let path = file.expect("there").path();
        if path.extension().is_some_and(|extension| extension == "tmp") {
            std::fs::remove_file(path).expect("removed");
        }
    }
    let _ballast = disk.fill();
    hub.restart_with("TIDEWIRE_RETENTION_BYTES", "1MiB");
    let mut last = None;
    wait_until("publishing works again", WITHIN, || {
        last = publish(&hub);
        last.is_some()
    });
    assert!(low_water(&hub) > begin);
    hub.kill(clock);
    hub.restart();
    let newcomer = reader(&hub, clock, "after a kill");
    wait_until("what is left can be read", WITHIN, || last.is_some_and(|last| newcomer.place() >= last));
}

fn erase(hub: &Hub, target: &str) -> u16 {
    let mut http = Http::connect(hub.address()).expect("the hub listens");
    let answer = http.request("DELETE", &format!("/api/v1/{target}"), &[], b"").expect("the hub answers");
    if answer.status != 204 {
        assert_eq!(answer.json()["type"], "urn:tidewire:error:no-space", "{}", answer.text());
    }
    answer.status
}

/// Takes also what the hub has let go of since: a file that it could not make whole.
fn fill_what_is_left(disk: &SmallDisk) {
    let mut ballast = File::options().append(true).open(disk.path().join("ballast")).expect("there");
    while ballast.write_all(&[0; 4096]).is_ok() {}
}

#[test]
fn who_erases_on_a_full_disk_is_told_and_can_once_there_is_room() {
    let (clock, disk) = (Clock::start(), SmallDisk::new(DISK_BYTES));
    let mut hub = Hub::start_in(&disk.path().join("data"), BINARY, &["--dev"], &SETTINGS);
    let places: Vec<Place> = (0..20).map_while(|_| publish(&hub)).collect();
    assert_eq!(places.len(), 20, "there is room");
    let events: Vec<String> =
        places.iter().map(|place| format!("events/{}", place.to_string().replace('#', "%23"))).collect();
    let is_there = |hub: &Hub, event: &str| get(hub, &format!("/api/v1/{event}")).status == 200;
    // A tombstone with so long a name never fits in what is left of a page.
    let topic = format!("topics/{}", "x".repeat(4096));
    // Without a file of tombstones first, and then with one.
    for (n, asked) in [(0, &events[0]), (1, &topic)] {
        let connected = reader(&hub, clock, &format!("connected {n}"));
        let ballast = disk.fill();
        publish_until_there_is_no_room(&hub);
        fill_what_is_left(&disk);
        for _ in 0..3 {
            assert_eq!(erase(&hub, asked), 507);
            assert!(is_there(&hub, &events[0]) == (n == 0) && is_there(&hub, &events[1]));
        }
        wait_until("who is connected reads on", WITHIN, || connected.place() >= places[19]);
        let newcomer = reader(&hub, clock, &format!("new while the disk is full {n}"));
        wait_until("who is new reads everything", WITHIN, || newcomer.place() >= places[19]);
        drop(ballast);
        wait_until("erasing works again", WITHIN, || erase(&hub, asked) == 204);
        assert!(!is_there(&hub, &events[0]) && is_there(&hub, &events[1]));
        wait_until("publishing works again", WITHIN, || publish(&hub).is_some());
    }
    hub.kill(clock);
    hub.restart();
    assert!(!is_there(&hub, &events[0]) && events[1..].iter().all(|event| is_there(&hub, event)));
}
