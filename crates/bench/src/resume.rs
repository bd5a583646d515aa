//! `tidewire bench resume`: how long a reader with an old id waits for the first event that it missed.

use std::net::SocketAddr;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::clock::now;
use crate::fill::{self, Filled, Place};
use crate::http::Connection;
use crate::layout::{NUMBER_BYTES, RARE_EVENTS, Topic};
use crate::memory_limit::MemoryLimit;
use crate::number::parse_size;
use crate::process::resident_bytes_max;
use crate::progress::Progress;
use crate::report::{Bound, Report};
use crate::stats::quantile;
use crate::stream::{self, EventStream};
use crate::{BenchError, Common, describe};

pub(crate) const EXAMPLES: &str = "\
Examples:
  tidewire bench resume
  tidewire bench resume --events 1000000 --memory-limit none --data-dir /var/tmp/large

Measured is the time from sending the request, on a connection that is there, to the first event that matches. The old
ids are random among the oldest nine tenths. The memory limit, a cgroup of version 1, takes root; it holds what the hub
allocates and what it reads from disk alike. Where it cannot be had, nothing is measured.

Exit codes: 0 measured, whether or not a target was met, or the limit cannot be had here; 1 not measured, or a reader
got other events than it missed.";

/// What a resume may take at the median, in milliseconds.
const RESUME_MS: f64 = 50.0;

/// On a log of so many events and bytes, with so much memory.
const EVENTS: u64 = 10_000_000;
const LOG_BYTES: f64 = 2.0 * (1u64 << 30) as f64;
const MEMORY_BYTES: u64 = 256 << 20;

/// Events of the common topic that are read once, in order, from the earliest on.
const IN_ORDER: u64 = 1_000;

/// Events that are checked behind the first one of a common topic.
const FOLLOWING: usize = 9;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    log: fill::LogArgs,
    /// How often a stream is opened for each topic.
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    samples: u32,
    /// What the hub and the page cache that it fills may take together, as `256MiB`; or `none`.
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = Limit::parse)]
    memory_limit: Limit,
    /// Of the random ids. Random itself where it is not given, and printed.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

/// How much memory the hub may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    None,
    Bytes(u64),
}

impl Limit {
    fn parse(text: &str) -> Result<Limit, String> {
        if text == "none" { Ok(Limit::None) } else { parse_size(text).map(Limit::Bytes) }
    }

    fn counts(self) -> bool {
        matches!(self, Limit::Bytes(bytes) if bytes <= MEMORY_BYTES)
    }
}

pub(crate) fn run(args: &Args) -> Result<Report, BenchError> {
    let mut report = Report::new("resume");
    let cpus = args.common.cpus();
    describe(&mut report, &args.common, cpus)?;
    let limit = match args.memory_limit {
        Limit::None => None,
        Limit::Bytes(bytes) => {
            report.setting("memory_limit_bytes", bytes);
            match MemoryLimit::new(bytes) {
                Ok(limit) => Some(limit),
                Err(error) => {
                    report.note(format!("skipped: the memory limit cannot be had: {error} (see --memory-limit)"));
                    return Ok(report);
                }
            }
        }
    };
    let seed = args.seed.unwrap_or_else(rand::random);
    report.setting("seed", seed);
    report.setting("samples", args.samples);
    let filled = Filled::prepare(&args.log, &args.common, &mut report)?;
    cpus.pin_generator().map_err(BenchError::io("keep the generator on its core"))?;

    filled.cool(&mut report);
    let hub = filled.command().start(limit.as_ref())?;
    report.value("start", "until ready", "s", hub.started_within().as_secs_f64());
    let log_bytes = hub.metric("tidewire_log_bytes")?;
    report.value("log", "size", "GiB", log_bytes / f64::from(1 << 30));

    let mut random = StdRng::seed_from_u64(seed);
    let mut reader = Reader { filled: &filled, address: hub.address(), report: &mut report };
    let (mut common, mut rare) = (Vec::new(), Vec::new());
    let bar = Progress::bar("resuming", args.samples.into());
    for _ in 0..args.samples {
        let topic = Topic::Common(random.random_range(0..filled.layout.topics));
        common.push(reader.resume(topic, old_place(&filled.places, &mut random))?);
        rare.push(reader.resume(Topic::Rare, old_place(&filled.places, &mut random))?);
        bar.advance(1);
    }
    drop(bar);
    reader.read_beginning(Topic::Rare, RARE_EVENTS)?;
    reader.read_beginning(Topic::Common(0), IN_ORDER)?;

    if filled.layout.events < EVENTS || log_bytes < LOG_BYTES || !args.memory_limit.counts() {
        report.does_not_count("the targets are for 10 million events in 2 GiB and at most 256 MiB of memory");
    }
    for (name, mut times) in [("a common topic", common), ("a rare topic", rare)] {
        times.sort_by(f64::total_cmp);
        let p99 = quantile(&times, 0.99);
        if let Some(median) = report.values(name, "first event", "ms", times) {
            report.value(name, "first event p99", "ms", p99);
            report.target(&format!("resume, {name}, median"), median, "ms", Bound::Below(RESUME_MS));
        }
    }
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    if let Some(bytes) = resident_bytes_max(hub.process()) {
        report.value("hub", "most memory resident", "MiB", mib(bytes));
    }
    if let Some(bytes) = limit.as_ref().and_then(MemoryLimit::bytes_max) {
        report.value("hub", "most memory and page cache", "MiB", mib(bytes));
    }
    hub.stop()?;
    Ok(report)
}

/// One of the oldest nine tenths.
fn old_place<'a>(places: &'a [Place], random: &mut StdRng) -> &'a Place {
    let old = (places.len() * 9 / 10).max(1);
    &places[random.random_range(0..old)]
}

/// Reads and checks.
struct Reader<'a> {
    filled: &'a Filled,
    address: SocketAddr,
    report: &'a mut Report,
}

impl Reader<'_> {
    /// How long the first event on a topic after a place took, in milliseconds. It and some of those that follow are
    /// checked; the rare ones, which lie far apart, are checked by [`Reader::read_beginning`].
    fn resume(&mut self, topic: Topic, place: &Place) -> Result<f64, BenchError> {
        let request = stream::request(self.address, &format!("topic={}&last_event_id={}", topic.name(), place.id));
        let mut connection = Connection::open(self.address)?;
        let began = now();
        connection.send(request.as_bytes())?;
        let mut stream = EventStream::answered(connection)?;
        let first = stream.next()?;
        let time = began.elapsed();
        let mut reached = self.expect(topic, Some(place.event), &first.data);
        for _ in 0..if topic == Topic::Rare { 0 } else { FOLLOWING } {
            let Some(after) = reached.filter(|&event| self.filled.layout.next(topic, Some(event)).is_some()) else {
                break;
            };
            reached = self.expect(topic, Some(after), &stream.next()?.data);
        }
        Ok(time.as_secs_f64() * 1e3)
    }

    /// Reads a topic's first events, which must be all of them and in order.
    fn read_beginning(&mut self, topic: Topic, events: u64) -> Result<(), BenchError> {
        let mut stream = EventStream::open(self.address, &format!("topic={}&from=earliest", topic.name()))?;
        let mut reached = None;
        for _ in 0..events {
            if self.filled.layout.next(topic, reached).is_none() {
                break;
            }
            reached = self.expect(topic, reached, &stream.next()?.data);
            if reached.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// The next event on a topic after another one is due, and this is what came. Which one it was, if it was that.
    fn expect(&mut self, topic: Topic, after: Option<u64>, data: &str) -> Option<u64> {
        let layout = self.filled.layout;
        let due = layout.next(topic, after);
        if due.is_some_and(|event| layout.data(event) == data) {
            return due;
        }
        let came = data.get(..NUMBER_BYTES).unwrap_or(data);
        let [after, due] = [after, due].map(|event| event.map_or("none".to_owned(), |event| event.to_string()));
        self.report.problem(format!("on {}, after event {after}, {came:?} came where {due} was due", topic.name()));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        assert_eq!(Limit::parse("none"), Ok(Limit::None));
        assert_eq!(Limit::parse("256MiB"), Ok(Limit::Bytes(256 << 20)));
        assert!(Limit::parse("much").is_err());
        assert!(Limit::Bytes(256 << 20).counts() && !Limit::Bytes(257 << 20).counts() && !Limit::None.counts());
    }

    #[test]
    fn old_places_are_old() {
        let places: Vec<Place> = (0..100).map(|event| Place { event, id: String::new() }).collect();
        let mut random = StdRng::seed_from_u64(7);
        let oldest = (0..1_000).map(|_| old_place(&places, &mut random).event).max();
        assert_eq!(oldest, Some(89));
        assert_eq!(old_place(&places[..1], &mut random).event, 0);
    }
}
