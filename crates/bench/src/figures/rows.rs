use std::path::Path;
use std::time::Duration;

use super::sends::SendCounter;
use super::servers::{AUTHORIZATION, MISSED, Servers};
use super::{Figure, PAIRS_MIN};
use crate::BenchError;
use crate::fdatasync;
use crate::load::{self, FULL_CORE, Outcome, Plan};
use crate::progress::Progress;
use crate::report::{Bound, Report};
use crate::scenario::{Raise, once, once_with, raised};
use crate::server::ServerCommand;
use crate::stats::{Spread, median_interval};

/// Events of a row on CPU: one at a time.
const SINGLE_EVENTS: u64 = 20;
const SINGLE_RATE: f64 = 5.0;

/// Sends a delivery below which events went together: such a pair does not say what one event at a time costs.
const SINGLE_SENDS_MIN: f64 = 0.99;

/// How often a pair is measured until its events went one at a time.
const SINGLE_ATTEMPTS_MAX: u32 = 3;

/// Of what is offered, how much must be delivered in time for it to be all: the last events are still under way when the
/// last one is due.
const ALL: f64 = 0.98;

/// The rates at which the hub may saturate.
const RATES: [f64; 6] = [400.0, 800.0, 1_600.0, 3_200.0, 6_400.0, 12_800.0];

/// What the floor is offered: more than it takes.
const FLOOR_RATE: f64 = 400.0;
const FLOOR_EVENTS: u64 = 50;

/// How far a server's own count of its sends may be from the kernel's.
const SENDS_OFF_MAX: f64 = 0.01;

/// What the rounds gave.
#[derive(Debug)]
pub(super) struct Rows {
    connections: u32,
    idle_connections: u32,
    cpu: Vec<Pair>,
    /// Pairs that were measured again, since events went together.
    repeated: u32,
    shared_topic: Vec<f64>,
    own_topic: Vec<f64>,
    fan_out: Vec<FanOut>,
    saturated: Vec<(f64, f64)>,
    /// Seconds until everyone has everything, and CPU milliseconds of the server until then.
    storms: Vec<(f64, f64)>,
    storms_cpu: Vec<(f64, f64)>,
    /// In one of them the generator had no time left.
    storm_is_the_generators: bool,
    latency_memory: Vec<f64>,
    latency_commit: Vec<f64>,
    fdatasync_ms: Vec<f64>,
}

/// Hub and floor with one event at a time: CPU a delivery in microseconds, user and system.
#[derive(Clone, Copy, Debug)]
struct Pair {
    hub: (f64, f64),
    floor: (f64, f64),
    writes: f64,
}

#[derive(Clone, Copy, Debug)]
struct FanOut {
    share: f64,
    deliveries: f64,
    p99_ms: f64,
}

impl Rows {
    pub(super) fn new(connections: u32, idle_connections: u32) -> Rows {
        Rows {
            connections,
            idle_connections,
            cpu: Vec::new(),
            repeated: 0,
            shared_topic: Vec::new(),
            own_topic: Vec::new(),
            fan_out: Vec::new(),
            saturated: Vec::new(),
            storms: Vec::new(),
            storms_cpu: Vec::new(),
            storm_is_the_generators: false,
            latency_memory: Vec::new(),
            latency_commit: Vec::new(),
            fdatasync_ms: Vec::new(),
        }
    }

    pub(super) fn memory(&mut self, servers: &Servers, report: &mut Report) -> Result<(), BenchError> {
        for own_topic in [false, true] {
            let topics = if own_topic { self.idle_connections } else { 1 };
            let plan = Plan {
                connections: self.idle_connections,
                topics,
                slope_from: Some((self.idle_connections / 18).max(1)),
                events: 1,
                settle_s: 2.0,
                ..Plan::default()
            };
            let outcome = if own_topic {
                once_with(&servers.hub, &plan, &[AUTHORIZATION.to_owned()], &servers.tokens)
            } else {
                once(&servers.hub, &plan)
            }?;
            judge(&outcome, &plan, "memory", report);
            let Some((_, anonymous)) = outcome.slope(&plan) else { continue };
            let (name, all) = if own_topic {
                ("own topic and subject", &mut self.own_topic)
            } else {
                ("shared topic", &mut self.shared_topic)
            };
            Progress::figure(&format!("memory, {name}"), anonymous, "B a connection");
            all.push(anonymous);
        }
        Ok(())
    }

    /// Hub and floor by turns, each first every other time; again where events did not go one at a time.
    pub(super) fn cpu(&mut self, servers: &Servers, round: u16, report: &mut Report) -> Result<(), BenchError> {
        let (pair, repeated) = until_single(|| self.pair(servers, round, report))?;
        self.repeated += repeated;
        let Some(pair) = pair else { return Ok(()) };
        if !pair.is_single() {
            report.does_not_count(format!("in {SINGLE_ATTEMPTS_MAX} pairs on end, events did not go one at a time"));
        }
        Progress::figure("CPU a delivery, hub to floor", pair.ratio(), "");
        self.cpu.push(pair);
        Ok(())
    }

    fn pair(&self, servers: &Servers, round: u16, report: &mut Report) -> Result<Option<Pair>, BenchError> {
        let plan = self.single();
        let (hub, floor) =
            by_turns(round, || checked(&servers.hub, &plan, "CPU, hub", &mut *report), || once(&servers.floor, &plan))?;
        for problem in floor.problems(&plan) {
            report.problem(format!("CPU, floor: {problem}"));
        }
        let Some(((hub_cpu, floor_cpu), writes)) = hub.cpu_us().zip(floor.cpu_us()).zip(hub.writes_a_delivery()) else {
            report.does_not_count("the system does not tell what CPU a process has used");
            return Ok(None);
        };
        Ok(Some(Pair { hub: hub_cpu, floor: floor_cpu, writes }))
    }

    /// Whether the hub counts its sends as the kernel does.
    pub(super) fn count_sends(&self, servers: &Servers, report: &mut Report) -> Result<(), BenchError> {
        let plan = self.single();
        let server = servers.hub.start()?;
        let before = server.writes()?;
        let Some(counter) = SendCounter::start(server.process()) else {
            report.note("sends are as the hub counts them: perf, which would check that, is not there or may not");
            return server.stop();
        };
        let outcome = load::put(&plan, &server.target(&[], &[])?, &|| Ok(None))?;
        judge(&outcome, &plan, "sends", report);
        let counted = counter.stop();
        let own = (server.writes()? - before) as f64;
        server.stop()?;
        let Some(counted) = counted else {
            report.note("sends are as the hub counts them: perf, which would check that, told nothing");
            return Ok(());
        };
        // Answers to publishers are sent as well.
        let off = (counted as f64 - (SINGLE_EVENTS + plan.warm_up_events) as f64) / own - 1.0;
        report.value("sends", "perf's count to the hub's own", "ratio", 1.0 + off);
        if off.abs() > SENDS_OFF_MAX {
            report.problem(format!("the hub counts {own} sends, and perf {counted}"));
        }
        Ok(())
    }

    pub(super) fn fan_out(&mut self, servers: &Servers, report: &mut Report) -> Result<(), BenchError> {
        let plan = Plan {
            connections: self.connections,
            rate: 400.0,
            events: 4_000,
            warm_up_events: 200,
            // What it does not take is a miss and no fault of the figure.
            saturate: true,
            ..Plan::default()
        };
        let outcome = checked(&servers.hub, &plan, "fan-out", report)?;
        let deliveries = outcome.deliveries_per_s();
        Progress::figure("fan-out", deliveries, "deliveries/s");
        let (share, p99_ms) = (deliveries / outcome.offered_per_s, outcome.latency.quantile_ms(0.99));
        self.fan_out.push(FanOut { share, deliveries, p99_ms });
        Ok(())
    }

    pub(super) fn saturate(&mut self, servers: &Servers, round: u16, report: &mut Report) -> Result<(), BenchError> {
        let plan = Plan { connections: self.connections, saturate: true, ..Plan::default() };
        let raise = Raise { rates: RATES.to_vec(), seconds: 2.0 };
        let floor_plan = Plan { rate: FLOOR_RATE, events: FLOOR_EVENTS, ..plan.clone() };
        let (steps, floor) =
            by_turns(round, || raised(&servers.hub, &plan, &raise), || once(&servers.floor, &floor_plan))?;
        for (plan, outcome) in &steps {
            let what = format!("saturation at {} events/s", plan.rate);
            outcome.problems(plan).into_iter().for_each(|problem| report.problem(format!("{what}: {problem}")));
            if outcome.is_full() {
                report.note(format!("{what}: the generator's core was full, so the hub may do more"));
            }
        }
        judge(&floor, &floor_plan, "saturation of the floor", report);
        let best = steps.iter().map(|(_, outcome)| outcome.deliveries_per_s()).fold(0.0, f64::max);
        self.saturated.push((best, floor.deliveries_per_s()));
        Ok(())
    }

    pub(super) fn storm(&mut self, servers: &Servers, round: u16, report: &mut Report) -> Result<(), BenchError> {
        let plan = Plan {
            connections: self.connections,
            publishers: 1,
            publisher_connections: 1,
            rate: 1_000.0,
            events: MISSED,
            saturate: true,
            ..Plan::default()
        };
        let storm = |command: &ServerCommand| {
            let server = command.start()?;
            let headers = servers.comes_back(&server)?;
            let (within, outcome) = load::storm(&plan, &server.target(&headers, &servers.tokens)?)?;
            server.stop()?;
            Ok((within, outcome))
        };
        let (hub, floor) = by_turns(round, || storm(&servers.hub), || storm(&servers.floor))?;
        for (name, (_, outcome)) in [("hub", &hub), ("floor", &floor)] {
            for problem in outcome.problems(&plan) {
                report.problem(format!("storm, {name}: {problem}"));
            }
        }
        let seconds = |(within, _): &(Duration, Outcome)| within.as_secs_f64();
        Progress::figure("storm, hub", seconds(&hub), "s");
        Progress::figure("storm, floor", seconds(&floor), "s");
        self.storms.push((seconds(&hub), seconds(&floor)));
        let cpu_ms = |(_, outcome): &(Duration, Outcome)| outcome.cpu.map(|cpu| cpu.total().as_secs_f64() * 1e3);
        self.storms_cpu.extend(cpu_ms(&hub).zip(cpu_ms(&floor)));
        let is_full = |(_, outcome): &(Duration, Outcome)| outcome.own_share().is_some_and(|share| share >= FULL_CORE);
        self.storm_is_the_generators |= is_full(&hub) || is_full(&floor);
        Ok(())
    }

    pub(super) fn latency(&mut self, servers: &Servers, folder: &Path, report: &mut Report) -> Result<(), BenchError> {
        let plan = Plan {
            connections: 1,
            publishers: 1,
            // A stall is to be seen as late events, and not as events held back.
            publisher_connections: 1_000,
            rate: 500.0,
            events: 2_000,
            warm_up_events: 100,
            // A disk that stalls for longer still makes this figure a miss, and nothing of the others.
            saturate: true,
            ..Plan::default()
        };
        for (command, all) in
            [(&servers.hub, &mut self.latency_memory), (&servers.durable_hub, &mut self.latency_commit)]
        {
            let outcome = checked(command, &plan, "latency", report)?;
            all.push(outcome.latency.quantile_ms(0.99));
        }
        self.fdatasync_ms.extend(fdatasync::measure(folder)?.iter().map(|time| time.as_secs_f64() * 1e3));
        Ok(())
    }

    /// Compares with what is to be reached, as far as it was wanted.
    pub(super) fn targets(&self, wanted: impl Fn(Figure) -> bool, pairs: u16, report: &mut Report) {
        let values =
            |report: &mut Report, what, figure, unit, values: Vec<f64>| report.values(what, figure, unit, values);
        if wanted(Figure::Memory) {
            let what = "idle subscriber";
            let shared = values(report, what, "anonymous memory, shared topic", "B", self.shared_topic.clone());
            report.target("memory an idle subscriber, shared topic", shared, "B", Bound::AtMost(256.0));
            let own = values(report, what, "anonymous memory, own topic and subject", "B", self.own_topic.clone());
            report.target("the same, with a topic and a subject of its own", own, "B", Bound::AtMost(512.0));
        }
        if wanted(Figure::Cpu) {
            self.cpu_targets(pairs, report);
        }
        if wanted(Figure::FanOut) {
            let what = "fan-out at 400 events/s";
            let of = |value: fn(&FanOut) -> f64| self.fan_out.iter().map(value).collect::<Vec<_>>();
            values(report, what, "deliveries", "1/s", of(|row| row.deliveries));
            let share = values(report, what, "of what was offered", "ratio", of(|row| row.share));
            report.target("deliveries, 400 events/s: share of what is offered", share, "ratio", Bound::AtLeast(ALL));
            let p99 = values(report, what, "latency p99", "ms", of(|row| row.p99_ms));
            report.target("the same: latency p99", p99, "ms", Bound::AtMost(150.0));
        }
        if wanted(Figure::Saturate) {
            beside_floor("saturated", "deliveries/s", &self.saturated, Bound::AtLeast(20.0), report);
        }
        if wanted(Figure::Storm) {
            beside_floor("storm", "s", &self.storms, Bound::AtMost(3.0), report);
            beside_floor("storm, server's CPU", "ms", &self.storms_cpu, Bound::AtMost(3.0), report);
            if self.storm_is_the_generators {
                let why = "the generator's core was full, so the time is the generator's: see the servers' CPU";
                report.target_does_not_count("storm: hub to floor", why);
            }
        }
        if wanted(Figure::Latency) {
            let what = "one subscriber";
            let memory = values(report, what, "latency p99, memory", "ms", self.latency_memory.clone());
            report.target("latency of one subscriber, memory: p99", memory, "ms", Bound::AtMost(1.0));
            let commit = values(report, what, "latency p99, commit", "ms", self.latency_commit.clone());
            let sync = values(report, "disk", "4 KiB append, fdatasync", "ms", self.fdatasync_ms.clone());
            let bound = Bound::AtMost((1_000.0 * (1.0 + sync.unwrap_or_default())).round() / 1_000.0);
            report.target("the same, commit, with one fdatasync more", commit.filter(|_| sync.is_some()), "ms", bound);
        }
    }

    fn cpu_targets(&self, pairs: u16, report: &mut Report) {
        let of = |value: fn(&Pair) -> f64| self.cpu.iter().map(value).collect::<Vec<_>>();
        let what = "one event at a time";
        report.value(what, "pairs again, since events went together", "", f64::from(self.repeated));
        report.values(what, "hub's user CPU a delivery", "µs", of(|pair| pair.hub.0));
        report.values(what, "hub's CPU a delivery", "µs", of(|pair| pair.hub.0 + pair.hub.1));
        report.values(what, "floor's CPU a delivery", "µs", of(|pair| pair.floor.0 + pair.floor.1));
        let ratio = report.values(what, "CPU, hub to floor", "ratio", of(Pair::ratio));
        if let Some((from, to)) = median_interval(of(Pair::ratio)) {
            report.value(what, "its median with 95 %, from", "ratio", from);
            report.value(what, "its median with 95 %, to", "ratio", to);
        }
        if pairs < PAIRS_MIN {
            report.does_not_count(format!("the ratio to the floor takes {PAIRS_MIN} pairs"));
        }
        report.target("CPU a delivery, hub to floor", ratio, "ratio", Bound::AtMost(1.15));
        let targets = [
            ("sends a delivery", of(|pair| pair.writes), Bound::AtMost(1.01)),
            (
                "hub's user time to floor's total",
                of(|pair| pair.hub.0 / (pair.floor.0 + pair.floor.1)),
                Bound::AtMost(0.15),
            ),
            (
                "floor's share of CPU in the kernel",
                of(|pair| pair.floor.1 / (pair.floor.0 + pair.floor.1)),
                Bound::AtLeast(0.95),
            ),
        ];
        for (name, values, bound) in targets {
            let value = report.values(what, name, "ratio", values);
            report.target(name, value, "ratio", bound);
        }
    }

    fn single(&self) -> Plan {
        Plan {
            connections: self.connections,
            rate: SINGLE_RATE,
            events: SINGLE_EVENTS,
            warm_up_events: 2,
            ..Plan::default()
        }
    }
}

impl Pair {
    /// Whether its events went one at a time.
    fn is_single(&self) -> bool {
        self.writes >= SINGLE_SENDS_MIN
    }

    fn ratio(&self) -> f64 {
        (self.hub.0 + self.hub.1) / (self.floor.0 + self.floor.1)
    }
}

/// The first pair whose events went one at a time, or the last of so many; and how often it was measured again.
fn until_single(
    mut measure: impl FnMut() -> Result<Option<Pair>, BenchError>,
) -> Result<(Option<Pair>, u32), BenchError> {
    let (mut pair, mut repeated) = (measure()?, 0);
    while pair.is_some_and(|pair| !pair.is_single()) && repeated + 1 < SINGLE_ATTEMPTS_MAX {
        pair = measure()?;
        repeated += 1;
    }
    Ok((pair, repeated))
}

/// Hub and floor by turns, and what their ratio is to be.
fn beside_floor(what: &str, unit: &'static str, pairs: &[(f64, f64)], bound: Bound, report: &mut Report) {
    report.values(what, "hub", unit, pairs.iter().map(|(hub, _)| *hub));
    report.values(what, "floor", unit, pairs.iter().map(|(_, floor)| *floor));
    // What took the floor no time that the system tells is no ratio.
    let ratios = pairs.iter().map(|(hub, floor)| hub / floor).filter(|ratio| ratio.is_finite());
    let ratio = Spread::of(ratios).map(|ratios| ratios.median);
    report.target(&format!("{what}: hub to floor"), ratio, "ratio", bound);
}

/// One run, and whether it is honest.
fn checked(command: &ServerCommand, plan: &Plan, what: &str, report: &mut Report) -> Result<Outcome, BenchError> {
    let outcome = once(command, plan)?;
    judge(&outcome, plan, what, report);
    Ok(outcome)
}

fn judge(outcome: &Outcome, plan: &Plan, what: &str, report: &mut Report) {
    outcome.problems(plan).into_iter().for_each(|problem| report.problem(format!("{what}: {problem}")));
    if outcome.is_full() {
        report.does_not_count(format!("{what}: the generator's core was full, so it is what was measured"));
    }
}

/// One after the other, each first every other time.
fn by_turns<A, B>(
    round: u16,
    hub: impl FnOnce() -> Result<A, BenchError>,
    floor: impl FnOnce() -> Result<B, BenchError>,
) -> Result<(A, B), BenchError> {
    if round.is_multiple_of(2) {
        let hub = hub()?;
        Ok((hub, floor()?))
    } else {
        let floor = floor()?;
        Ok((hub()?, floor))
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    /// A figure that could not be measured left no trace, and the report counted.
    #[test]
    fn each_figure_that_is_wanted_has_its_targets() {
        for (figure, targets) in Figure::value_variants().iter().zip([2, 4, 2, 1, 2, 2]) {
            let mut report = Report::new("x");
            Rows::new(2, 2).targets(|wanted| wanted == *figure, PAIRS_MIN, &mut report);
            let table = report.to_table();
            assert_eq!(table.matches("note: not measured").count(), targets, "{figure:?}: {table}");
        }
    }

    /// Where the generator was busy all the time, both storms took as long as it did, whatever the servers.
    #[test]
    fn the_time_of_a_storm_does_not_count_where_it_is_the_generators() {
        let results = |storm_is_the_generators| {
            let mut rows = Rows::new(2, 2);
            (rows.storms, rows.storms_cpu) = (vec![(1.0, 1.0)], vec![(290.0, 180.0)]);
            rows.storm_is_the_generators = storm_is_the_generators;
            let mut report = Report::new("x");
            rows.targets(|wanted| wanted == Figure::Storm, PAIRS_MIN, &mut report);
            let json: serde_json::Value = serde_json::from_str(&report.to_json()).expect("it is JSON");
            [0, 1].map(|target| json["targets"][target]["result"].as_str().map(str::to_owned))
        };
        let texts = |texts: [&str; 2]| texts.map(|text| Some(text.to_owned()));
        assert_eq!(results(false), texts(["pass", "pass"]));
        assert_eq!(results(true), texts(["does-not-count", "pass"]));
    }

    /// Events that go together cost the hub less each, and the floor as much: such pairs made the hub look cheap.
    #[test]
    fn a_pair_whose_events_went_together_is_measured_again() {
        let attempts = |writes: &[f64]| {
            let mut writes = writes.iter();
            let pair = || Ok(writes.next().map(|&writes| Pair { hub: (0.1, 1.0), floor: (0.0, 1.0), writes }));
            let (pair, repeated) = until_single(pair).expect("nothing fails");
            (pair.map(|pair| pair.writes), repeated)
        };
        assert_eq!(attempts(&[]), (None, 0));
        assert_eq!(attempts(&[1.0, 0.7]), (Some(1.0), 0));
        assert_eq!(attempts(&[0.98, 0.99, 0.7]), (Some(0.99), 1));
        assert_eq!(attempts(&[0.7, 0.8, 0.9, 1.0]), (Some(0.9), 2), "there is an end to it");
    }
}
