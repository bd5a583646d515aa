use std::time::Duration;

use super::plan::Plan;
use super::publishers::Offers;
use super::subscribers::Receipts;
use super::tally::Counts;
use crate::process::{CpuTime, Memory};
use crate::report::Report;
use crate::stats::Latency;

/// A generator whose core is busy for so much of the time is what was measured.
pub(crate) const FULL_CORE: f64 = 0.95;

/// In less time than this the system's clock ticks are too coarse to say so.
const FULL_SPAN_MIN: Duration = Duration::from_millis(500);

/// What a run gave.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) counts: Counts,
    /// Deliveries of what was published with success, to all.
    pub(crate) due: u64,
    /// Of what was measured: deliveries to all, and the time from when the first event was due until the last delivery, or
    /// the end of the schedule, if that is later.
    pub(crate) delivered: u64,
    pub(crate) span: Duration,
    pub(crate) bytes: u64,
    pub(crate) sent: u64,
    /// Deliveries a second, had each come at once.
    pub(crate) offered_per_s: f64,
    pub(crate) latency: Latency,
    pub(crate) publish_latency: Latency,
    pub(crate) failed: u64,
    pub(crate) first_failure: Option<String>,
    /// Events that were sent and never answered, neither with success nor without.
    pub(crate) unanswered: u64,
    /// Events that were due and not sent at all.
    pub(crate) unsent: u64,
    pub(crate) held_back: u64,
    pub(crate) late_max: Duration,
    pub(crate) publisher_connections: u64,
    /// Of the server, over the time that was measured, its idle rest included.
    pub(crate) cpu: Option<CpuTime>,
    /// Of the generator.
    pub(crate) own_cpu: Option<CpuTime>,
    /// Of the server to subscribers, in that time, as it counts them itself.
    pub(crate) writes: Option<u64>,
    /// How long that time was.
    pub(crate) cpu_span: Duration,
    /// By the number of connections: with none, with those of the slope, with all, and with all at the end.
    pub(crate) memory: Vec<(usize, Memory)>,
    /// The most that the server had resident until everyone had everything, in bytes.
    pub(crate) resident_bytes_max: Option<u64>,
    pub(crate) connected_within: Duration,
    pub(crate) ended: u64,
    pub(crate) first_end: Option<String>,
}

/// What is looked at before and after.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) at: Duration,
    pub(super) cpu: Option<CpuTime>,
    pub(super) own_cpu: Option<CpuTime>,
    pub(super) delivered: u64,
    pub(super) bytes: u64,
    pub(super) sent: u64,
}

impl Offers {
    /// Deliveries to the first `subscribers` of what was published.
    pub(super) fn due_to(&self, plan: &Plan, subscribers: u32) -> u64 {
        let topics = self.published.iter().zip(0..);
        topics.map(|(published, topic)| published * plan.watching(topic, subscribers)).sum()
    }
}

impl Outcome {
    pub(super) fn of(
        plan: &Plan,
        received: &Receipts,
        offered: &Offers,
        connected_within: Duration,
        memory: Vec<(usize, Memory)>,
        (from, before, after): (Duration, Sample, Sample),
        writes: Option<u64>,
    ) -> Outcome {
        let schedule = plan.schedule(plan.events);
        let end = received.last_to_readers_at.max(from + schedule.due(plan.events));
        let all = plan.events + plan.warm_up_events;
        let watching: u64 = (0..plan.topics).map(|topic| plan.watching(topic, plan.readers())).sum();
        Outcome {
            counts: received.counts(),
            due: offered.due_to(plan, plan.connections),
            delivered: after.delivered - before.delivered,
            span: end - from,
            bytes: after.bytes - before.bytes,
            sent: after.sent - before.sent,
            offered_per_s: plan.rate * watching as f64 / f64::from(plan.topics),
            latency: received.latency.clone(),
            publish_latency: offered.latency.clone(),
            failed: offered.failed,
            first_failure: offered.first_failure.clone(),
            unanswered: offered.in_flight as u64,
            unsent: all.saturating_sub(offered.sent),
            held_back: offered.held_back,
            late_max: offered.late_max,
            publisher_connections: offered.connections,
            cpu: after.cpu.zip(before.cpu).map(|(after, before)| after - before),
            own_cpu: after.own_cpu.zip(before.own_cpu).map(|(after, before)| after - before),
            cpu_span: after.at - before.at,
            writes,
            memory,
            resident_bytes_max: None,
            connected_within,
            ended: received.ended,
            first_end: received.first_end.clone(),
        }
    }

    pub(crate) fn lost(&self) -> u64 {
        self.due.saturating_sub(self.counts.delivered)
    }

    pub(crate) fn deliveries_per_s(&self) -> f64 {
        self.delivered as f64 / self.span.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// The server's CPU for a delivery, in microseconds: user and system.
    pub(crate) fn cpu_us(&self) -> Option<(f64, f64)> {
        let a_delivery = |time: Duration| time.as_secs_f64() * 1e6 / self.delivered.max(1) as f64;
        self.cpu.map(|cpu| (a_delivery(cpu.user), a_delivery(cpu.system)))
    }

    /// How often the server wrote for a delivery.
    pub(crate) fn writes_a_delivery(&self) -> Option<f64> {
        Some(self.writes? as f64 / self.delivered.max(1) as f64)
    }

    /// What came to subscribers for a delivery.
    pub(crate) fn bytes_a_delivery(&self) -> f64 {
        self.bytes as f64 / self.delivered.max(1) as f64
    }

    /// Which share of its core the generator used.
    pub(crate) fn own_share(&self) -> Option<f64> {
        Some(self.own_cpu?.total().as_secs_f64() / self.cpu_span.as_secs_f64().max(f64::MIN_POSITIVE))
    }

    /// Whether the generator had no time left.
    pub(crate) fn is_full(&self) -> bool {
        self.cpu_span >= FULL_SPAN_MIN && self.own_share().is_some_and(|share| share >= FULL_CORE)
    }

    /// What each further connection costs, in bytes: resident, and of that anonymous.
    pub(crate) fn slope(&self, plan: &Plan) -> Option<(f64, f64)> {
        let from = plan.slope_from? as usize;
        let at = |connections: usize| self.memory.iter().find(|(open, _)| *open == connections);
        let ((low, before), (high, after)) = (at(from)?, at(plan.connections as usize)?);
        let slope = |after: u64, before: u64| (after as f64 - before as f64) / (high - low) as f64;
        Some((slope(after.resident, before.resident), slope(after.anonymous, before.anonymous)))
    }

    /// What was not as it should be.
    pub(crate) fn problems(&self, plan: &Plan) -> Vec<String> {
        let deliveries = [
            (self.lost(), "lost"),
            (self.counts.doubled, "doubled"),
            (self.counts.reordered, "out of order"),
            (self.counts.strayed, "that were for others"),
            (self.counts.changed, "with other data than was published"),
        ];
        let told = deliveries.into_iter().filter(|(count, _)| *count > 0);
        let mut problems: Vec<String> = told.map(|(count, what)| format!("{count} deliveries {what}")).collect();
        let why = |why: &Option<String>| why.as_ref().map(|why| format!(" (the first: {why})")).unwrap_or_default();
        if self.failed > 0 {
            let first = why(&self.first_failure);
            problems.push(format!("{} events not answered with success{first}", self.failed));
        }
        if self.unanswered > 0 {
            problems.push(format!("{} events never answered", self.unanswered));
        }
        if self.ended > 0 {
            problems.push(format!("{} streams ended by the server{}", self.ended, why(&self.first_end)));
        }
        if self.unsent > 0 {
            problems.push(format!("{} events never sent: their publishers got no answers", self.unsent));
        }
        if self.held_back > 0 && !plan.saturate {
            let connections = plan.publisher_connections;
            problems.push(format!(
                "{} events not offered in time: each of their publisher's {connections} connections waited for an answer",
                self.held_back
            ));
        }
        problems
    }

    /// Puts everything into a report, under a name.
    pub(crate) fn report(&self, plan: &Plan, what: &str, report: &mut Report) {
        report.value(what, "deliveries", "1/s", self.deliveries_per_s());
        report.value(what, "offered", "1/s", self.offered_per_s);
        report.value(what, "events sent", "1/s", self.sent as f64 / self.span.as_secs_f64().max(f64::MIN_POSITIVE));
        report.value(what, "received", "MB/s", self.bytes as f64 / 1e6 / self.cpu_span.as_secs_f64());
        for (figure, share) in
            [("latency p50", 0.5), ("latency p90", 0.9), ("latency p99", 0.99), ("latency p99.9", 0.999)]
        {
            report.value(what, figure, "ms", self.latency.quantile_ms(share));
        }
        report.value(what, "latency max", "ms", self.latency.max_ms());
        report.value(what, "publish p50", "ms", self.publish_latency.quantile_ms(0.5));
        report.value(what, "publish p99", "ms", self.publish_latency.quantile_ms(0.99));
        report.value(what, "publishers' connections", "", self.publisher_connections as f64);
        report.value(what, "events held back", "", self.held_back as f64);
        report.value(what, "events of others", "", self.counts.foreign as f64);
        report.value(what, "all subscribed within", "s", self.connected_within.as_secs_f64());
        if let Some((user, system)) = self.cpu_us().filter(|_| self.delivered > 0) {
            report.value(what, "user CPU a delivery", "µs", user);
            report.value(what, "system CPU a delivery", "µs", system);
        }
        if let Some(writes) = self.writes_a_delivery() {
            report.value(what, "writes a delivery", "", writes);
        }
        for (connections, memory) in &self.memory {
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            let place = format!("{what}, {connections} connections");
            report.value(&place, "memory resident", "MiB", mib(memory.resident));
            report.value(&place, "memory anonymous", "MiB", mib(memory.anonymous));
        }
        if let Some(bytes) = self.resident_bytes_max {
            report.value(what, "memory resident, peak", "MiB", bytes as f64 / f64::from(1 << 20));
        }
        if let Some((resident, anonymous)) = self.slope(plan) {
            report.value(what, "resident a connection", "B", resident);
            report.value(what, "anonymous a connection", "B", anonymous);
        }
        report.value(what, "generator late by, max", "ms", self.late_max.as_secs_f64() * 1e3);
        if let Some(cpu) = self.cpu {
            let share = cpu.total().as_secs_f64() / self.cpu_span.as_secs_f64().max(f64::MIN_POSITIVE);
            report.value(what, "server's core in use", "%", share * 100.0);
        }
        if let Some(share) = self.own_share() {
            report.value(what, "generator's core in use", "%", share * 100.0);
            if self.is_full() {
                report.does_not_count(format!("{what}: the generator's core was full, so it is what was measured"));
            }
        }
        for problem in self.problems(plan) {
            report.problem(format!("{what}: {problem}"));
        }
    }
}
