//! What the rounds are compared with, and which of it counts.

use super::rows::{FanOut, Latencies, Pair, Rows};
use super::{Figure, PAIRS_MIN};
use crate::number::readable;
use crate::report::{Bound, Report};
use crate::stats::{Spread, median_interval};

/// Of what is offered, how much must be delivered in time for it to be all: the last events are still under way when the
/// last one is due.
const ALL: f64 = 0.98;

/// Targets that may not count while the others of the report do.
const CPU_RATIO: &str = "CPU a delivery, hub to floor";
const FAN_OUT_SHARE: &str = "deliveries, 400 events/s: share of what is offered";
const FAN_OUT_P99: &str = "the same: latency p99";
const LATENCY_MEMORY: &str = "latency of one subscriber, memory: p99";
const LATENCY_COMMIT: &str = "the same, commit, with one fdatasync more";

/// Why a miss of them may not count.
const THE_GENERATORS: &str = "the generator's core was full, so the miss may be the generator's";

/// What one subscriber may wait in memory, at the p99.
const LATENCY_MS_MAX: f64 = 1.0;

impl Rows {
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
            report.target(FAN_OUT_SHARE, share, "ratio", Bound::AtLeast(ALL));
            let p99 = values(report, what, "latency p99", "ms", of(|row| row.p99_ms));
            report.target(FAN_OUT_P99, p99, "ms", Bound::AtMost(150.0));
            if self.full.contains(&Figure::FanOut) {
                // A generator that lags makes both worse, and neither better.
                for name in [FAN_OUT_SHARE, FAN_OUT_P99] {
                    report
                        .miss_does_not_count(name, "the generator's core was full, so the miss may be the generator's");
                }
            }
        }
        if wanted(Figure::Saturate) {
            beside_floor("saturated", "deliveries/s", &self.saturated, Bound::AtLeast(20.0), report);
            if self.full.contains(&Figure::Saturate) {
                let why = "the generator's core was full with the floor, which may do more";
                report.target_does_not_count("saturated: hub to floor", why);
            }
        }
        if wanted(Figure::Storm) {
            beside_floor("storm", "s", &self.storms, Bound::AtMost(3.0), report);
            beside_floor("storm, server's CPU", "ms", &self.storms_cpu, Bound::AtMost(3.0), report);
            if self.full.contains(&Figure::Storm) {
                let why = "the generator's core was full, so the time is the generator's: see the servers' CPU";
                report.target_does_not_count("storm: hub to floor", why);
            }
        }
        if wanted(Figure::Latency) {
            self.latency_targets(report);
        }
    }

    fn latency_targets(&self, report: &mut Report) {
        let Latencies { memory, commit, floor, fdatasync } = &self.latency;
        let mut p99 = |what: &str, p50, p99, all: &[(f64, f64)]| {
            report.values(what, p50, "ms", all.iter().map(|(p50, _)| *p50));
            report.values(what, p99, "ms", all.iter().map(|(_, p99)| *p99))
        };
        let memory = p99("one subscriber, memory", "latency p50", "latency p99", memory);
        let commit = p99("one subscriber, commit", "latency p50", "latency p99", commit);
        let floor = p99("one subscriber, floor", "latency p50", "latency p99", floor);
        let sync = p99("disk", "fdatasync p50", "fdatasync p99", fdatasync);
        report.target(LATENCY_MEMORY, memory, "ms", Bound::AtMost(LATENCY_MS_MAX));
        // Of a p99, one sync more is one at its p99.
        let bound = (1_000.0 * (LATENCY_MS_MAX + sync.unwrap_or_default())).round() / 1_000.0;
        report.target(LATENCY_COMMIT, commit.filter(|_| sync.is_some()), "ms", Bound::AtMost(bound));
        for name in [LATENCY_MEMORY, LATENCY_COMMIT] {
            if let Some(floor) = floor.filter(|floor| *floor > LATENCY_MS_MAX) {
                let why = format!("the floor's p99 is {} ms itself, so the miss is the machine's", readable(floor));
                report.miss_does_not_count(name, &why);
            }
            if self.full.contains(&Figure::Latency) {
                report.miss_does_not_count(name, THE_GENERATORS);
            }
        }
    }

    fn cpu_targets(&self, pairs: u16, report: &mut Report) {
        let of = |value: fn(&Pair) -> f64| self.cpu.iter().map(value).collect::<Vec<_>>();
        let what = "one event at a time";
        report.value(what, "pairs again, since events went together", "", f64::from(self.repeated));
        report.values(what, "hub's user CPU a delivery", "µs", of(|pair| pair.hub.0));
        report.values(what, "hub's CPU a delivery", "µs", of(|pair| pair.hub.0 + pair.hub.1));
        report.values(what, "floor's CPU a delivery", "µs", of(|pair| pair.floor.0 + pair.floor.1));
        let hub_bytes = report.values(what, "hub's bytes a delivery", "B", of(|pair| pair.hub_bytes));
        let floor_bytes = report.values(what, "floor's bytes a delivery", "B", of(|pair| pair.floor_bytes));
        if let Some((hub, floor)) = hub_bytes.zip(floor_bytes).filter(|_| !self.cpu.iter().all(Pair::is_alike)) {
            report.problem(format!("hub and floor do not send the same: {hub} and {floor} bytes for an event"));
        }
        if let Some((from, to)) = median_interval(of(Pair::ratio)) {
            report.value(what, "the ratio's median with 95 %, from", "ratio", from);
            report.value(what, "the ratio's median with 95 %, to", "ratio", to);
        }
        let targets = [
            (CPU_RATIO, of(Pair::ratio), Bound::AtMost(1.15)),
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
        let went_together = !self.cpu.iter().all(Pair::is_single);
        let is_full = self.full.contains(&Figure::Cpu);
        for (name, values, bound) in targets {
            let value = report.values(what, name, "ratio", values);
            report.target(name, value, "ratio", bound);
            if went_together {
                report.target_does_not_count(name, "in some pair, however often measured, events went together");
            }
            if is_full {
                report.target_does_not_count(name, "the generator's core was full");
            }
        }
        if pairs < PAIRS_MIN {
            report.target_does_not_count(CPU_RATIO, &format!("it takes {PAIRS_MIN} pairs"));
        }
    }
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

    /// How each target of a figure is judged.
    fn results(figure: Figure, rows: &Rows) -> Vec<String> {
        let mut report = Report::new("x");
        rows.targets(|wanted| wanted == figure, PAIRS_MIN, &mut report);
        let json: serde_json::Value = serde_json::from_str(&report.to_json()).expect("it is JSON");
        let targets = json["targets"].as_array().expect("targets").iter();
        targets.map(|target| target["result"].as_str().expect("a text").to_owned()).collect()
    }

    /// Hub and floor as they are to be.
    fn pair() -> Pair {
        Pair { hub: (0.1, 1.0), floor: (0.0, 1.0), hub_bytes: 110.0, floor_bytes: 110.0, writes: 1.0 }
    }

    /// A floor that sent less than the hub would have been a lower floor: nothing compared the two.
    #[test]
    fn a_floor_that_does_not_send_what_the_hub_sends_is_none() {
        let is_honest = |floor_bytes| {
            let mut rows = Rows::new(2, 2);
            rows.cpu = vec![pair(), Pair { floor_bytes, ..pair() }, pair()];
            let mut report = Report::new("x");
            rows.targets(|wanted| wanted == Figure::Cpu, PAIRS_MIN, &mut report);
            report.is_honest()
        };
        assert_eq!([110.0, 111.0, 108.0, 112.0, 0.0].map(is_honest), [true, true, false, false, false]);
    }

    /// Where the generator was busy all the time, both storms took as long as it did, whatever the servers.
    #[test]
    fn the_time_of_a_storm_does_not_count_where_it_is_the_generators() {
        let mut rows = Rows::new(2, 2);
        (rows.storms, rows.storms_cpu) = (vec![(1.0, 1.0)], vec![(290.0, 180.0)]);
        assert_eq!(results(Figure::Storm, &rows), ["pass", "pass"]);
        rows.full = vec![Figure::Storm];
        assert_eq!(results(Figure::Storm, &rows), ["does-not-count", "pass"]);
    }

    /// One run at fan-out in which the generator's core was full made nothing in the whole report count, though it can only
    /// have made the hub look slower.
    #[test]
    fn with_a_full_generator_a_fan_out_counts_where_it_passes() {
        let mut rows = Rows::new(2, 2);
        rows.fan_out = vec![FanOut { share: 0.99, deliveries: 4e6, p99_ms: 151.0 }];
        assert_eq!(results(Figure::FanOut, &rows), ["pass", "miss"]);
        rows.full = vec![Figure::Saturate, Figure::FanOut];
        assert_eq!(results(Figure::FanOut, &rows), ["pass", "does-not-count"]);
    }

    /// The hub may do more than such a generator takes; but so may the floor, which the hub is to be a multiple of.
    #[test]
    fn at_saturation_the_ratio_does_not_count_where_the_floor_met_a_full_generator() {
        let mut rows = Rows::new(2, 2);
        rows.saturated = vec![(2_000.0, 100.0)];
        rows.full = vec![Figure::FanOut];
        assert_eq!(results(Figure::Saturate, &rows), ["pass"]);
        rows.full = vec![Figure::Saturate];
        assert_eq!(results(Figure::Saturate, &rows), ["does-not-count"]);
    }

    /// On a machine that wakes nobody within a millisecond, the hub missed what the bare loop missed beside it.
    #[test]
    fn a_latency_that_the_floor_does_not_reach_counts_where_it_passes() {
        let mut rows = Rows::new(2, 2);
        let latency = |memory, commit, floor| Latencies {
            memory: vec![(0.1, memory)],
            commit: vec![(0.2, commit)],
            floor: vec![(0.1, floor)],
            fdatasync: vec![(0.1, 0.5)],
        };
        rows.latency = latency(1.0, 1.5, 1.2);
        assert_eq!(results(Figure::Latency, &rows), ["pass"; 2], "one sync at its p99 more");
        rows.latency = latency(1.1, 1.6, 1.0);
        assert_eq!(results(Figure::Latency, &rows), ["miss"; 2]);
        rows.latency = latency(0.9, 1.6, 1.2);
        assert_eq!(results(Figure::Latency, &rows), ["pass", "does-not-count"]);
        rows.latency = latency(1.1, 1.4, 0.8);
        rows.full = vec![Figure::Latency];
        assert_eq!(results(Figure::Latency, &rows), ["does-not-count", "pass"]);
    }

    #[test]
    fn a_generator_that_was_full_elsewhere_touches_neither_memory_nor_cpu() {
        let mut rows = Rows::new(2, 2);
        (rows.shared_topic, rows.own_topic) = (vec![257.0], vec![500.0]);
        rows.cpu = vec![pair(); PAIRS_MIN.into()];
        rows.full = vec![Figure::FanOut, Figure::Saturate, Figure::Storm];
        assert_eq!(results(Figure::Memory, &rows), ["miss", "pass"]);
        assert_eq!(results(Figure::Cpu, &rows), ["pass"; 4]);
        rows.full = vec![Figure::Cpu];
        assert_eq!(results(Figure::Cpu, &rows), ["does-not-count"; 4]);
        rows.full.clear();
        rows.cpu[3].writes = 0.9;
        assert_eq!(results(Figure::Cpu, &rows), ["does-not-count"; 4], "events went together");
    }
}
