use std::time::Duration;

use tidewire_sim::{Asked, Connection, Demands, Filter, History, Place, Subscriber, Until, Verdict};

use crate::clock::pause;
use crate::{Clock, Hub, Pace, RawReader, Seed, Workload, wait_until};

/// Publishers, each with one request at a time.
const PUBLISHERS: usize = 6;
/// The hub lives at most so long, in microseconds: kills fall anywhere in that time.
const LIFE_MICROS_MAX: usize = 80_000;
/// Every so many kills, the next start is killed too, within so many microseconds.
const START_EVERY: usize = 4;
const START_MICROS_MAX: usize = 40_000;
/// Every so many restarts somebody reads everything from the beginning; else what the life before may have changed.
const EARLIEST_EVERY: usize = 25;
/// How long anything that must happen may take, beside a build.
const WITHIN: Duration = Duration::from_secs(120);
/// A file of the log, so short that most lives begin some.
const SEGMENT_BYTES: u64 = 128 * 1024;

/// Kills the hub at random points of a [`Workload`], also while it starts, and lets the checker judge what a reader
/// saw that was there all the time, and what newcomers see after each restart.
#[derive(Clone, Debug)]
pub struct KillPoints {
    /// What the seed and the report are printed under.
    pub name: &'static str,
    /// The hub's `durability`.
    pub durability: &'static str,
    /// How often the hub is killed while publishers are at work.
    pub kills: usize,
}

impl KillPoints {
    /// 50 kills, or 500 with `XTASK_LONG=1`.
    #[must_use]
    pub fn new(name: &'static str, durability: &'static str) -> KillPoints {
        let kills = if std::env::var("XTASK_LONG").is_ok_and(|long| long == "1") { 500 } else { 50 };
        KillPoints { name, durability, kills }
    }

    /// Runs it and prints the verdict.
    ///
    /// # Panics
    /// If the checker found anything, or something did not happen in time.
    pub fn run(&self, binary: &str) {
        let verdict = self.judge(binary);
        println!("{}: {verdict}", self.name);
        verdict.assert_clean();
        assert_eq!(verdict.counts.gaps, 0, "nothing was removed, so there is nothing to say");
    }

    fn judge(&self, binary: &str) -> Verdict {
        let (clock, seed) = (Clock::start(), Seed::new(self.name));
        let segment_bytes = SEGMENT_BYTES.to_string();
        let settings = [
            ("TIDEWIRE_DURABILITY", self.durability),
            ("TIDEWIRE_SEGMENT_BYTES", segment_bytes.as_str()),
            ("TIDEWIRE_RETENTION_BYTES", "1GiB"),
            // So little that some requests are refused.
            ("TIDEWIRE_APPEND_QUEUE_BYTES", "64KiB"),
        ];
        let mut hub = Hub::start_with(binary, &["--dev"], &settings);
        let start = |name: &str, asked: Asked, until: Until, hub: &Hub| {
            let subscriber = Subscriber::new(name, Filter::any(), until);
            let subscriber = subscriber.connection(Connection::begin(asked, clock.now()));
            RawReader::start(hub.address(), hub.life(), clock, Pace::Fast, subscriber)
        };
        let always = start("always there", Asked::Earliest, Until::Everything, &hub);
        let workload = Workload::start(hub.address(), clock, &seed, PUBLISHERS);
        let (mut kills, mut subscribers) = (Vec::new(), Vec::new());
        let mut before = Place::ZERO;
        for number in 1..=self.kills {
            pause(Duration::from_micros(seed.below(LIFE_MICROS_MAX) as u64));
            kills.push(hub.kill(clock));
            let acknowledged_to = workload.acknowledged_to();
            if number % START_EVERY == 0 {
                kills.push(hub.kill_while_starting(clock, Duration::from_micros(seed.below(START_MICROS_MAX) as u64)));
            }
            hub.restart();
            let asked = match number % EARLIEST_EVERY {
                0 => Asked::Earliest,
                _ => Asked::Id(before.to_string()),
            };
            if before > Place::ZERO {
                let newcomer = start(&format!("after kill {number}"), asked, Until::LastSeen, &hub);
                wait_until("a newcomer reads what was acknowledged", WITHIN, || newcomer.place() >= acknowledged_to);
                subscribers.push(newcomer.stop());
            }
            before = acknowledged_to;
        }
        let acknowledged = workload.acknowledged();
        wait_until("publishers go on", WITHIN, || workload.acknowledged() > acknowledged + PUBLISHERS);
        let publications = workload.finish();
        let history = History { publications, kills, ..History::default() };
        let last = history.acknowledged_to();
        subscribers.push(always.stop_at(last, WITHIN));
        subscribers.push(start("at the end", Asked::Earliest, Until::Everything, &hub).stop_at(last, WITHIN));
        let segments = std::fs::read_dir(hub.data()).expect("the folder is there").count();
        println!("{}: {segments} files", self.name);
        let demands = Demands { kills: self.kills, kills_in_flight: self.kills / 3, ..Demands::default() };
        History { subscribers, ..history }.check().demand(demands)
    }
}
