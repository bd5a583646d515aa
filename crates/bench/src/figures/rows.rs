use std::time::Duration;

use super::Figure;
use super::sends::SendCounter;
use super::servers::{AUTHORIZATION, MISSED, Servers};
use crate::BenchError;
use crate::fdatasync::Paced;
use crate::load::{self, FULL_CORE, Outcome, Plan};
use crate::progress::Progress;
use crate::report::Report;
use crate::scenario::{Raise, once, once_with, raised};
use crate::server::ServerCommand;
use crate::stats::Latency;

/// Events of a row on CPU: one at a time.
const SINGLE_EVENTS: u64 = 20;
const SINGLE_RATE: f64 = 5.0;

/// Sends a delivery below which events went together: such a pair does not say what one event at a time costs.
const SINGLE_SENDS_MIN: f64 = 0.99;

/// How often a pair is measured until its events went one at a time.
const SINGLE_ATTEMPTS_MAX: u32 = 3;

/// The rates at which the hub may saturate.
const RATES: [f64; 6] = [400.0, 800.0, 1_600.0, 3_200.0, 6_400.0, 12_800.0];

/// What the floor is offered: more than it takes.
const FLOOR_RATE: f64 = 400.0;
const FLOOR_EVENTS: u64 = 50;

/// How far the floor's bytes for an event may be from the hub's. A heartbeat may fall among them.
const BYTES_OFF_MAX: f64 = 0.01;

/// What one subscriber gets: enough that the p99 is not that of a few.
const LATENCY_RATE: f64 = 500.0;
const LATENCY_EVENTS: u32 = 2_000;

/// How far a server's own count of its sends may be from the kernel's.
const SENDS_OFF_MAX: f64 = 0.01;

/// What the rounds gave.
#[derive(Debug, Default)]
pub(super) struct Rows {
    connections: u32,
    idle_connections: u32,
    pub(super) cpu: Vec<Pair>,
    /// Pairs that were measured again, since events went together.
    pub(super) repeated: u32,
    pub(super) shared_topic: Vec<f64>,
    pub(super) own_topic: Vec<f64>,
    pub(super) fan_out: Vec<FanOut>,
    pub(super) saturated: Vec<(f64, f64)>,
    /// Seconds until everyone has everything, and CPU milliseconds of the server until then.
    pub(super) storms: Vec<(f64, f64)>,
    pub(super) storms_cpu: Vec<(f64, f64)>,
    pub(super) latency: Latencies,
    /// Figures in one of whose runs the generator had no time left. At saturation: in one of the floor's.
    pub(super) full: Vec<Figure>,
}

/// Hub and floor with one event at a time: CPU a delivery in microseconds, user and system; and bytes a delivery.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pair {
    pub(super) hub: (f64, f64),
    pub(super) floor: (f64, f64),
    pub(super) hub_bytes: f64,
    pub(super) floor_bytes: f64,
    pub(super) writes: f64,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct FanOut {
    pub(super) share: f64,
    pub(super) deliveries: f64,
    pub(super) p99_ms: f64,
}

/// Of one subscriber, and what a sync took beside it: p50 and p99 of each run, in milliseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Latencies {
    pub(super) memory: Vec<(f64, f64)>,
    pub(super) commit: Vec<(f64, f64)>,
    pub(super) floor: Vec<(f64, f64)>,
    pub(super) fdatasync: Vec<(f64, f64)>,
}

impl Rows {
    pub(super) fn new(connections: u32, idle_connections: u32) -> Rows {
        Rows { connections, idle_connections, ..Rows::default() }
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
            check(&outcome, &plan, "memory", report);
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
        Progress::figure("CPU a delivery, hub to floor", pair.ratio(), "");
        self.cpu.push(pair);
        Ok(())
    }

    fn pair(&mut self, servers: &Servers, round: u16, report: &mut Report) -> Result<Option<Pair>, BenchError> {
        let plan = self.single();
        let (hub, floor) = by_turns(round, || once(&servers.hub, &plan), || once(&servers.floor, &plan))?;
        check(&hub, &plan, "CPU, hub", report);
        check(&floor, &plan, "CPU, floor", report);
        self.note_full(Figure::Cpu, hub.is_full() || floor.is_full());
        let Some(((hub_cpu, floor_cpu), writes)) = hub.cpu_us().zip(floor.cpu_us()).zip(hub.writes_a_delivery()) else {
            report.does_not_count("the system does not tell what CPU a process has used");
            return Ok(None);
        };
        let (hub_bytes, floor_bytes) = (hub.bytes_a_delivery(), floor.bytes_a_delivery());
        Ok(Some(Pair { hub: hub_cpu, floor: floor_cpu, hub_bytes, floor_bytes, writes }))
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
        check(&outcome, &plan, "sends", report);
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
        let outcome = once(&servers.hub, &plan)?;
        check(&outcome, &plan, "fan-out", report);
        self.note_full(Figure::FanOut, outcome.is_full());
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
            check(outcome, plan, &format!("saturation at {} events/s", plan.rate), report);
            if outcome.is_full() {
                report.note("saturated: the generator's core was full, so the hub may do more");
            }
        }
        check(&floor, &floor_plan, "saturation of the floor", report);
        self.note_full(Figure::Saturate, floor.is_full());
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
        check(&hub.1, &plan, "storm, hub", report);
        check(&floor.1, &plan, "storm, floor", report);
        let seconds = |(within, _): &(Duration, Outcome)| within.as_secs_f64();
        Progress::figure("storm, hub", seconds(&hub), "s");
        Progress::figure("storm, floor", seconds(&floor), "s");
        self.storms.push((seconds(&hub), seconds(&floor)));
        let cpu_ms = |(_, outcome): &(Duration, Outcome)| outcome.cpu.map(|cpu| cpu.total().as_secs_f64() * 1e3);
        self.storms_cpu.extend(cpu_ms(&hub).zip(cpu_ms(&floor)));
        let is_full = |(_, outcome): &(Duration, Outcome)| outcome.own_share().is_some_and(|share| share >= FULL_CORE);
        self.note_full(Figure::Storm, is_full(&hub) || is_full(&floor));
        Ok(())
    }

    /// Hub and floor by turns, and then the hub that commits with the disk right behind it.
    pub(super) fn latency(
        &mut self,
        servers: &Servers,
        round: u16,
        disk: impl FnOnce(Paced) -> Result<Vec<Duration>, BenchError>,
        report: &mut Report,
    ) -> Result<(), BenchError> {
        let plan = Plan {
            connections: 1,
            publishers: 1,
            // A stall is to be seen as late events, and not as events held back.
            publisher_connections: 1_000,
            rate: LATENCY_RATE,
            events: LATENCY_EVENTS.into(),
            warm_up_events: 100,
            // A disk that stalls for longer still makes this figure a miss, and nothing of the others.
            saturate: true,
            ..Plan::default()
        };
        let (memory, floor) = by_turns(round, || once(&servers.hub, &plan), || once(&servers.floor, &plan))?;
        let commit = once(&servers.durable_hub, &plan)?;
        let every = Duration::from_secs_f64(1.0 / LATENCY_RATE);
        let syncs = disk(Paced { syncs: LATENCY_EVENTS, every })?;
        let Latencies { memory: in_memory, commit: in_commit, floor: of_floor, fdatasync } = &mut self.latency;
        let mut is_full = false;
        for (name, outcome, all) in
            [("memory", memory, in_memory), ("floor", floor, of_floor), ("commit", commit, in_commit)]
        {
            check(&outcome, &plan, &format!("latency, {name}"), report);
            is_full |= outcome.is_full();
            all.push(p50_and_p99_ms(&outcome.latency));
        }
        let mut all = Latency::new();
        syncs.into_iter().for_each(|time| all.record(time));
        fdatasync.push(p50_and_p99_ms(&all));
        self.note_full(Figure::Latency, is_full);
        Ok(())
    }

    fn note_full(&mut self, figure: Figure, is_full: bool) {
        if is_full && !self.full.contains(&figure) {
            self.full.push(figure);
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
    pub(super) fn is_single(&self) -> bool {
        self.writes >= SINGLE_SENDS_MIN
    }

    /// Whether both sent as much for an event: else they did not do the same.
    pub(super) fn is_alike(&self) -> bool {
        (self.hub_bytes / self.floor_bytes - 1.0).abs() <= BYTES_OFF_MAX
    }

    pub(super) fn ratio(&self) -> f64 {
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

/// What was not as it should be.
fn check(outcome: &Outcome, plan: &Plan, what: &str, report: &mut Report) {
    outcome.problems(plan).into_iter().for_each(|problem| report.problem(format!("{what}: {problem}")));
}

fn p50_and_p99_ms(latency: &Latency) -> (f64, f64) {
    (latency.quantile_ms(0.5), latency.quantile_ms(0.99))
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
    use super::*;

    /// Events that go together cost the hub less each, and the floor as much: such pairs made the hub look cheap.
    #[test]
    fn a_pair_whose_events_went_together_is_measured_again() {
        let attempts = |writes: &[f64]| {
            let mut writes = writes.iter();
            let pair = || Ok(writes.next().map(|&writes| Pair { writes, ..Pair::default() }));
            let (pair, repeated) = until_single(pair).expect("nothing fails");
            (pair.map(|pair| pair.writes), repeated)
        };
        assert_eq!(attempts(&[]), (None, 0));
        assert_eq!(attempts(&[1.0, 0.7]), (Some(1.0), 0));
        assert_eq!(attempts(&[0.98, 0.99, 0.7]), (Some(0.99), 1));
        assert_eq!(attempts(&[0.7, 0.8, 0.9, 1.0]), (Some(0.9), 2), "there is an end to it");
    }
}
