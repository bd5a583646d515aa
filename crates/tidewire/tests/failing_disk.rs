//! A disk that fails to sync: nobody is told what is not so, and readers read on.

use std::time::Duration;

use tidewire_harness::{Clock, Http, Hub, Pace, RawReader, Seed, Tracer, Workload, wait_until};
use tidewire_sim::{Asked, Connection, Filter, History, Subscriber, Until};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");
const PUBLISHERS: usize = 6;
/// How long anything that must happen may take, beside a build.
const WITHIN: Duration = Duration::from_secs(60);
const SETTINGS: [(&str, &str); 2] = [("TIDEWIRE_SEGMENT_BYTES", "256KiB"), ("TIDEWIRE_RETENTION_BYTES", "1GiB")];

fn reader(hub: &Hub, clock: Clock, name: &str) -> RawReader {
    let subscriber = Subscriber::new(name, Filter::any(), Until::Everything);
    let subscriber = subscriber.connection(Connection::begin(Asked::Earliest, clock.now()));
    RawReader::start(hub.address(), hub.life(), clock, Pace::Fast, subscriber)
}

fn ready(hub: &Hub) -> u16 {
    let mut http = Http::connect(hub.admin()).expect("the hub listens");
    http.request("GET", "/health/ready", &[], b"").expect("the hub answers").status
}

fn wait_for_acknowledgements(workload: &Workload) {
    let acknowledged = workload.acknowledged();
    wait_until("publishers go on", WITHIN, || workload.acknowledged() > acknowledged + 100);
}

#[test]
fn a_disk_that_syncs_no_more_takes_nothing_and_loses_nothing() {
    let (clock, seed) = (Clock::start(), Seed::new("failing_disk, for good"));
    let mut hub = Hub::start_with(BINARY, &["--dev"], &SETTINGS);
    let always = reader(&hub, clock, "always there");
    let workload = Workload::start(hub.address(), clock, &seed, PUBLISHERS);
    wait_for_acknowledgements(&workload);
    let tracer = Tracer::inject(hub.process(), "fdatasync:error=EIO");
    wait_until("publishers are refused or left alone", WITHIN, || workload.turned_away() + workload.lost() > 100);
    let acknowledged_to = workload.acknowledged_to();
    wait_until("publishers are turned away", WITHIN, || workload.turned_away() > 100);
    assert_eq!(workload.acknowledged_to(), acknowledged_to, "nothing new is taken that cannot be kept");
    assert_eq!(ready(&hub), 503);
    wait_until("who is connected reads on", WITHIN, || always.place() >= acknowledged_to);
    let newcomer = reader(&hub, clock, "new while the disk fails");
    wait_until("who is new reads everything", WITHIN, || newcomer.place() >= acknowledged_to);

    let mut history = History::default();
    history.kills.push(hub.kill(clock));
    drop(tracer);
    hub.restart();
    wait_for_acknowledgements(&workload);
    assert_eq!(ready(&hub), 200);
    history.publications = workload.finish();
    let last = history.acknowledged_to();
    history.subscribers = vec![always.stop_at(last, WITHIN), newcomer.stop_at(last, WITHIN)];
    history.subscribers.push(reader(&hub, clock, "after a restart").stop_at(last, WITHIN));
    let verdict = history.check();
    println!("{verdict}");
    verdict.assert_clean();
}

/// A hub, somebody who reads all the time, and publishers.
struct Trial {
    name: String,
    clock: Clock,
    hub: Hub,
    always: RawReader,
    workload: Workload,
}

impl Trial {
    fn begin(name: String, settings: &[(&str, &str)]) -> Trial {
        let (clock, seed) = (Clock::start(), Seed::new(&format!("failing_disk, {name}")));
        let hub = Hub::start_with(BINARY, &["--dev"], settings);
        let always = reader(&hub, clock, "always there");
        let workload = Workload::start(hub.address(), clock, &seed, PUBLISHERS);
        wait_for_acknowledgements(&workload);
        Trial { name, clock, hub, always, workload }
    }

    /// Has system calls fail, and waits until a publisher is told, or left alone.
    fn fail(&self, calls: &str) -> Tracer {
        let tracer = Tracer::inject(self.hub.process(), calls);
        wait_until("publishers are told", WITHIN, || self.workload.turned_away() + self.workload.lost() > 0);
        tracer
    }

    fn goes_on(&self) {
        wait_for_acknowledgements(&self.workload);
        assert_eq!(ready(&self.hub), 200, "{}", self.name);
    }

    /// Kills the hub, lets the disk work again, and compares what was told with what is there after a restart.
    fn end(mut self, tracer: Tracer) {
        let mut history = History::default();
        history.kills.push(self.hub.kill(self.clock));
        drop(tracer);
        self.hub.restart();
        wait_for_acknowledgements(&self.workload);
        history.publications = self.workload.finish();
        let last = history.acknowledged_to();
        history.subscribers.push(self.always.stop_at(last, WITHIN));
        history.subscribers.push(reader(&self.hub, self.clock, "after a kill").stop_at(last, WITHIN));
        let verdict = history.check();
        println!("{}: {verdict}", self.name);
        verdict.assert_clean();
    }
}

/// What was in the failed group is answered with an error, once it is sure that it will never be shown; the log goes
/// on in another segment.
#[test]
fn after_one_failed_sync_publishers_are_told_and_the_log_goes_on() {
    for nth in [1, 2, 3, 5, 9] {
        let trial = Trial::begin(format!("sync {nth}"), &SETTINGS);
        let tracer = trial.fail(&format!("fdatasync:error=EIO:when={nth}"));
        trial.goes_on();
        assert_eq!(trial.workload.lost(), 0, "sync {nth}: what failed was sealed, and everybody was answered");
        trial.end(tracer);
    }
}

/// Where the seal fails too, nobody can be told anything: connections are closed, or it is tried again first.
#[test]
fn a_seal_that_fails_tells_nobody_what_may_not_be_so() {
    for last in [2, 3, 4] {
        let trial = Trial::begin(format!("{last} syncs"), &SETTINGS);
        let tracer = trial.fail(&format!("fdatasync:error=EIO:when=1..{last}"));
        let acknowledged = trial.workload.acknowledged_to();
        wait_until("who is connected reads on", WITHIN, || trial.always.place() >= acknowledged);
        trial.end(tracer);
    }
}

/// Where nothing is synced, it is the write itself that fails.
#[test]
fn after_a_failed_write_without_syncs_publishers_are_told_and_the_log_goes_on() {
    for last in [2, 6] {
        let settings = [&SETTINGS[..], &[("TIDEWIRE_DURABILITY", "os")]].concat();
        let trial = Trial::begin(format!("{last} writes"), &settings);
        // Every other write at most is that of the note in the lock, which may fail unseen.
        let tracer = trial.fail(&format!("pwrite64:error=EIO:when=1..{last}"));
        trial.goes_on();
        trial.end(tracer);
    }
}
