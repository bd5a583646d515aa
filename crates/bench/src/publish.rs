//! `tidewire bench publish`: single events from many publishers at a time.

mod ledger;
mod round;

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use crate::closed_loop::{Load, Outcome};
use crate::cpus::Cpus;
use crate::mark::Mark;
use crate::process::CpuTime;
use crate::progress::Progress;
use crate::redis;
use crate::report::{Bound, Report};
use crate::stats::Spread;
use crate::{BenchError, Common, describe, fdatasync};

pub(crate) const EXAMPLES: &str = "\
Examples:
  tidewire bench publish
  tidewire bench publish --compare memory --compare redis --folder /var/tmp
  tidewire bench publish --publishers 1 --seconds 10 --json

Exit codes: 0 measured, whether or not a target was met; 1 not measured, or events were lost, doubled, out of order, or
not answered with success.";

/// What a 4 KiB `fdatasync` may take at the median for the targets to count, in milliseconds.
const FDATASYNC_MS_MAX: f64 = 0.5;

/// A disk that is faster is none.
const FDATASYNC_MS_MIN: f64 = 0.005;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Connections, each with one request in flight.
    #[arg(long, value_name = "NUMBER", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    publishers: u16,
    /// The data of an event, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 64, value_parser = clap::value_parser!(u32).range(Mark::BYTES as i64..=1 << 20))]
    payload: u32,
    /// How long a round counts.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    seconds: Duration,
    /// How long each round runs before it counts.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    warm_up: Duration,
    /// How often everything is measured, one after the other.
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    rounds: u16,
    /// The hub's `durability`.
    #[arg(long, value_name = "DURABILITY", default_value = "commit")]
    durability: String,
    /// What else is measured in the same rounds: the hub with `durability = "memory"`, or Redis with
    /// `appendfsync always`. May be repeated.
    #[arg(long, value_name = "WHAT")]
    compare: Vec<Rival>,
    /// The Redis to compare with.
    #[arg(long, value_name = "BINARY", default_value = "redis-server")]
    redis_server: PathBuf,
}

/// What the hub is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Rival {
    Memory,
    Redis,
}

/// What is measured in every round.
enum Contender {
    Hub { durability: String },
    Redis,
}

/// One of them, and what the rounds gave.
struct Lane {
    name: String,
    contender: Contender,
    rounds: Vec<Outcome>,
}

pub(crate) fn run(args: &Args) -> Result<Report, BenchError> {
    let mut report = Report::new("publish");
    let cpus = args.common.cpus();
    describe(&mut report, &args.common, cpus)?;
    report.setting("publishers", args.publishers);
    report.setting("payload_bytes", args.payload);
    report.setting("rounds", args.rounds);
    report.setting("seconds", args.seconds.as_secs_f64());
    let mut lanes = vec![hub_lane(&args.durability)];
    if args.compare.contains(&Rival::Memory) {
        lanes.push(hub_lane("memory"));
    }
    if args.compare.contains(&Rival::Redis) {
        let name = format!("Redis {} XADD", redis::version(&args.redis_server)?);
        lanes.push(Lane { name, contender: Contender::Redis, rounds: Vec::new() });
    }
    if cpus == Cpus::default() {
        report.does_not_count("server and generator share their cores");
    }
    cpus.pin_generator().map_err(BenchError::io("keep the generator on its core"))?;

    let load = Load {
        publishers: args.publishers.into(),
        payload_bytes: args.payload as usize,
        warm_up: args.warm_up,
        measured: args.seconds,
    };
    let folder = args.common.temporary()?;
    report.setting("folder", args.common.folder().display().to_string());
    let mut syncs = Vec::new();
    for round in 0..usize::from(args.rounds) {
        syncs.extend(fdatasync::measure(folder.path())?);
        // Each begins a round in its turn, so that none always has the disk as another left it.
        for step in 0..lanes.len() {
            let of = lanes.len();
            let lane = &mut lanes[(round + step) % of];
            let place = folder.path().join("data");
            let outcome = match &lane.contender {
                Contender::Hub { durability } => round::hub(args, durability, &place, &load, cpus, &mut report),
                Contender::Redis => round::redis(&args.redis_server, &place, &load, cpus, &mut report),
            }?;
            round::remove(&place)?;
            let what = format!("round {} of {}, {}", round + 1, args.rounds, lane.name);
            Progress::figure(&what, rate(&outcome), "events/s");
            lane.rounds.push(outcome);
        }
    }
    let sync =
        report.values("disk", "4 KiB append, fdatasync", "ms", syncs.iter().map(|time| time.as_secs_f64() * 1e3));
    lanes.iter().for_each(|lane| rows(&mut report, lane));
    targets(&mut report, &lanes, sync.unwrap_or(f64::INFINITY));
    Ok(report)
}

fn hub_lane(durability: &str) -> Lane {
    let contender = Contender::Hub { durability: durability.to_owned() };
    Lane { name: format!("hub, {durability}"), contender, rounds: Vec::new() }
}

fn rate(outcome: &Outcome) -> f64 {
    outcome.latency.count() as f64 / outcome.measured.as_secs_f64()
}

fn rows(report: &mut Report, lane: &Lane) {
    let mut row = |figure, unit, value: &dyn Fn(&Outcome) -> Option<f64>| {
        report.values(&lane.name, figure, unit, lane.rounds.iter().filter_map(value));
    };
    row("events", "1/s", &|outcome| Some(rate(outcome)));
    row("latency p50", "ms", &|outcome| Some(outcome.latency.quantile_ms(0.5)));
    row("latency p99", "ms", &|outcome| Some(outcome.latency.quantile_ms(0.99)));
    row("latency max", "ms", &|outcome| Some(outcome.latency.max_ms()));
    let an_event = |time: Duration, outcome: &Outcome| time.as_secs_f64() * 1e6 / outcome.latency.count().max(1) as f64;
    row("user CPU an event", "µs", &|outcome| Some(an_event(outcome.cpu?.user, outcome)));
    row("system CPU an event", "µs", &|outcome| Some(an_event(outcome.cpu?.system, outcome)));
    let in_use = |cpu: CpuTime, outcome: &Outcome| cpu.total().as_secs_f64() * 100.0 / outcome.measured.as_secs_f64();
    row("server's CPU in use", "%", &|outcome| Some(in_use(outcome.cpu?, outcome)));
    row("generator's CPU in use", "%", &|outcome| Some(in_use(outcome.own_cpu?, outcome)));
}

/// The first lane is the hub; each other one is compared with it, round by round.
fn targets(report: &mut Report, lanes: &[Lane], sync_ms: f64) {
    let Some((hub, rivals)) = lanes.split_first() else { return };
    if sync_ms < FDATASYNC_MS_MIN {
        report.does_not_count("fdatasync takes no time here: is the folder in memory? See --folder");
    } else if sync_ms > FDATASYNC_MS_MAX {
        report.does_not_count(format!("fdatasync takes more than {FDATASYNC_MS_MAX} ms: the disk is not quiet enough"));
    }
    for rival in rivals {
        let ratios = hub.rounds.iter().zip(&rival.rounds).map(|(hub, rival)| rate(hub) / rate(rival));
        let Some(Spread { median, .. }) = Spread::of(ratios) else { continue };
        let least = if matches!(rival.contender, Contender::Redis) { 1.0 } else { 0.75 };
        let name = format!("events/s: {} to {}", hub.name, rival.name);
        report.target(&name, median, "ratio", Bound::AtLeast(least));
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected seconds, such as 5 or 0.5".to_owned())?;
    let time = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
    if time > Duration::from_secs(3_600) { Err("at most 3600".to_owned()) } else { Ok(time) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Latency;

    fn outcome(counted: u64) -> Outcome {
        let measured = Duration::from_secs(2);
        let mut latency = Latency::new();
        (0..counted).for_each(|_| latency.record(Duration::from_millis(1)));
        Outcome { answered: vec![counted], measured, latency, cpu: None, own_cpu: None }
    }

    fn lane(contender: Contender, counted: [u64; 3]) -> Lane {
        Lane { name: "x".to_owned(), contender, rounds: counted.map(outcome).into() }
    }

    fn ratios(sync_ms: f64) -> String {
        let hub = || Contender::Hub { durability: String::new() };
        // A round in which both are slow says as much as any other: what counts is the ratio within it.
        let lanes = [lane(hub(), [80, 8, 90]), lane(hub(), [100, 10, 100]), lane(Contender::Redis, [90, 9, 90])];
        let mut report = Report::new("publish");
        targets(&mut report, &lanes, sync_ms);
        report.to_json()
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let json: serde_json::Value = serde_json::from_str(&ratios(0.2)).expect("it is JSON");
        assert_eq!(json["targets"][0]["value"], 0.8);
        assert_eq!(json["targets"][0]["result"], "pass");
        assert_eq!(json["targets"][1]["value"], 80.0 / 90.0);
        assert_eq!(json["targets"][1]["result"], "miss");
    }

    #[test]
    fn ratios_count_on_a_quiet_disk_only() {
        for (sync_ms, counts) in [(0.001, false), (0.1, true), (0.5, true), (0.6, false)] {
            assert_eq!(!ratios(sync_ms).contains("does-not-count"), counts, "{sync_ms}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert!(["x", "-1", "3601", "NaN", "1e30"].iter().all(|text| seconds(text).is_err()));
    }
}
