use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::payload::Payload;
use super::schedule::Schedule;
use super::stamp::Stamp;
use crate::BenchError;
use crate::report::Report;

/// How much load, and of which kind: what a scenario's file says, and what flags say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Plan {
    /// Subscribers.
    pub(crate) connections: u32,
    /// Subscriber `n` watches topic `n % topics`.
    pub(crate) topics: u32,
    pub(crate) publishers: u32,
    /// Connections that a publisher may open, each with one request in flight.
    pub(crate) publisher_connections: u32,
    /// Events a second, of all publishers together.
    pub(crate) rate: f64,
    pub(crate) events: u64,
    /// Events before those that are measured; all of them are checked.
    pub(crate) warm_up_events: u64,
    /// The payload of an event, in bytes.
    pub(crate) payload: u32,
    /// Memory is taken at so many connections as well, and what each further one costs is told.
    pub(crate) slope_from: Option<u32>,
    /// Subscribers, the last ones, that do not read until all others have everything.
    pub(crate) slow_readers: u32,
    /// The rate is meant to be more than the server takes: events that wait for a connection are counted, and no problem.
    pub(crate) saturate: bool,
    /// Between the last subscription and the first event, in seconds.
    pub(crate) settle_s: f64,
    /// How long nothing may come before what is missing counts as lost, in seconds.
    pub(crate) patience_s: f64,
    /// Addresses that connections to loopback come from: 127.0.0.1 and those above. None: as many as ports take.
    pub(crate) source_addresses: Option<u8>,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            connections: 1_000,
            topics: 1,
            publishers: 8,
            publisher_connections: 32,
            rate: 100.0,
            events: 1_000,
            warm_up_events: 0,
            payload: 64,
            slope_from: None,
            slow_readers: 0,
            saturate: false,
            settle_s: 0.5,
            patience_s: 10.0,
            source_addresses: None,
        }
    }
}

impl Plan {
    pub(crate) const CONNECTIONS_MAX: u32 = 1_000_000;
    pub(crate) const PUBLISHERS_MAX: u32 = 1_000;
    pub(crate) const RATE_MAX: f64 = 10_000_000.0;
    pub(crate) const EVENTS_MAX: u64 = 999_999_999;
    pub(crate) const PAYLOAD_MAX: u32 = 1 << 20;
    /// Numbers that are kept: one for each topic, and for each subscriber, of each connection of a publisher. 1 GiB of them.
    const NUMBERS_MAX: f64 = (1u32 << 28) as f64;
    const SECONDS_MAX: f64 = 3_600.0;

    /// Whether its numbers go together.
    pub(crate) fn check(&self) -> Result<(), BenchError> {
        let within = |name: &str, value: f64, least: f64, most: f64| {
            let fits = (least..=most).contains(&value);
            if fits { Ok(()) } else { Err(BenchError::Usage(format!("{name} must be from {least} to {most}"))) }
        };
        let events = self.events.saturating_add(self.warm_up_events);
        within("connections", self.connections.into(), 1.0, Self::CONNECTIONS_MAX.into())?;
        within("topics", self.topics.into(), 1.0, Stamp::TOPICS_MAX.into())?;
        within("publishers", self.publishers.into(), 1.0, Self::PUBLISHERS_MAX.into())?;
        within("publisher_connections", self.publisher_connections.into(), 1.0, Stamp::LANES_MAX.into())?;
        let lanes = f64::from(self.publishers) * f64::from(self.publisher_connections);
        within("publishers times their connections", lanes, 1.0, Stamp::LANES_MAX.into())?;
        within("topics times publishers' connections", f64::from(self.topics) * lanes, 1.0, Self::NUMBERS_MAX)?;
        let of_subscribers = f64::from(self.connections) * lanes;
        within("connections times publishers' connections", of_subscribers, 1.0, Self::NUMBERS_MAX)?;
        within("rate", self.rate, 0.001, Self::RATE_MAX)?;
        within("events", events as f64, 0.0, Self::EVENTS_MAX as f64)?;
        within("payload", self.payload.into(), Payload::BYTES_MIN as f64, Self::PAYLOAD_MAX.into())?;
        within("slow_readers", self.slow_readers.into(), 0.0, (self.connections - 1).into())?;
        within("settle_s", self.settle_s, 0.0, Self::SECONDS_MAX)?;
        within("patience_s", self.patience_s, 0.01, Self::SECONDS_MAX)?;
        if let Some(from) = self.slope_from {
            within("slope_from", from.into(), 1.0, (self.connections - 1).into())?;
        }
        if self.source_addresses.is_some_and(|count| !(1..=254).contains(&count)) {
            return Err(BenchError::Usage("source_addresses must be from 1 to 254".to_owned()));
        }
        Ok(())
    }

    /// Says of the load what a reader of the figures must know.
    pub(crate) fn describe(&self, report: &mut Report) {
        report.setting("connections", self.connections);
        report.setting("topics", self.topics);
        report.setting("publishers", self.publishers);
        report.setting("rate", self.rate);
        report.setting("events", self.events);
        report.setting("payload_bytes", self.payload);
        if self.slow_readers > 0 {
            report.setting("slow_readers", self.slow_readers);
        }
    }

    pub(crate) fn lanes(&self) -> usize {
        self.publishers as usize * self.publisher_connections as usize
    }

    pub(crate) fn schedule(&self, events: u64) -> Schedule {
        Schedule { rate: self.rate, events, publishers: self.publishers, topics: self.topics }
    }

    pub(crate) fn settle(&self) -> Duration {
        Duration::from_secs_f64(self.settle_s)
    }

    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs_f64(self.patience_s)
    }

    /// Subscribers that read all the time.
    pub(crate) fn readers(&self) -> u32 {
        self.connections - self.slow_readers
    }

    /// How many of the first `subscribers` watch a topic.
    pub(crate) fn watching(&self, topic: u32, subscribers: u32) -> u64 {
        u64::from((subscribers + self.topics - 1 - topic) / self.topics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_goes_together() {
        assert!(Plan::default().check().is_ok());
    }

    #[test]
    fn limits() {
        let wrong: [fn(&mut Plan); 14] = [
            |plan| plan.connections = 0,
            |plan| plan.connections = Plan::CONNECTIONS_MAX + 1,
            |plan| plan.topics = 0,
            |plan| plan.publishers = Plan::PUBLISHERS_MAX + 1,
            |plan| plan.publisher_connections = 1_251,
            |plan| (plan.topics, plan.publishers, plan.publisher_connections) = (26_844, 100, 100),
            |plan| (plan.connections, plan.publishers, plan.publisher_connections) = (26_844, 100, 100),
            |plan| plan.rate = f64::NAN,
            |plan| plan.rate = 0.0,
            |plan| plan.events = Plan::EVENTS_MAX + 1,
            |plan| plan.payload = Payload::BYTES_MIN as u32 - 1,
            |plan| plan.slow_readers = 1_000,
            |plan| plan.slope_from = Some(1_000),
            |plan| plan.source_addresses = Some(255),
        ];
        for (number, change) in wrong.into_iter().enumerate() {
            let mut plan = Plan::default();
            change(&mut plan);
            assert!(plan.check().is_err(), "{number}");
        }
    }

    #[test]
    fn watchers_are_those_who_watch() {
        let plan = Plan { topics: 7, ..Plan::default() };
        for subscribers in 0..40 {
            for topic in 0..7 {
                let counted = (0..subscribers).filter(|subscriber| subscriber % 7 == topic).count() as u64;
                assert_eq!(plan.watching(topic, subscribers), counted, "{topic} of {subscribers}");
            }
        }
    }
}
