use std::collections::BTreeMap;
use std::fmt;

use crate::Fault;

/// How many faults a report shows in full.
const FAULTS_SHOWN_MAX: usize = 20;

/// What the checker found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Everything that must not be.
    pub faults: Vec<Fault>,
    /// What there was.
    pub counts: Counts,
}

/// What a history holds, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events acknowledged.
    pub acknowledged: usize,
    /// Events sent and never answered.
    pub unanswered: usize,
    /// Of these, how many places were shown nevertheless.
    pub unanswered_shown: usize,
    /// Events that were refused.
    pub refused: usize,
    /// Attempts that got no answer.
    pub attempts_lost: usize,
    /// Subscribers.
    pub subscribers: usize,
    /// Their connections.
    pub connections: usize,
    /// Events that reached a subscriber.
    pub delivered: usize,
    /// Checkpoints that did.
    pub checkpoints: usize,
    /// Gaps that did.
    pub gaps: usize,
    /// Owed events that were not seen, and are covered by a gap.
    pub covered_by_gaps: usize,
    /// Kills.
    pub kills: usize,
    /// Kills that fell with at least one publish written and never answered.
    pub kills_in_flight: usize,
    /// Kills that cut a stream inside a frame.
    pub kills_in_frame: usize,
    /// Kills that cut a stream between its head and its first event.
    pub kills_after_head: usize,
}

/// What a test demands of itself. All are zero by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// Kills.
    pub kills: usize,
    /// Kills that fell with a publish in flight.
    pub kills_in_flight: usize,
    /// Kills that cut a stream inside a frame.
    pub kills_in_frame: usize,
    /// Kills that cut a stream between its head and its first event.
    pub kills_after_head: usize,
}

impl Verdict {
    /// Whether nothing was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }

    /// A fault for each demand that was not met.
    #[must_use]
    pub fn demand(mut self, demands: Demands) -> Verdict {
        let counts = self.counts;
        for (what, counted, needed) in [
            ("kills", counts.kills, demands.kills),
            ("kills with a publish in flight", counts.kills_in_flight, demands.kills_in_flight),
            ("kills with a frame half written", counts.kills_in_frame, demands.kills_in_frame),
            ("kills between a stream's head and its first event", counts.kills_after_head, demands.kills_after_head),
        ] {
            if counted < needed {
                self.faults.push(Fault::TooWeak { what, counted, needed });
            }
        }
        self
    }

    /// Fails the test with the whole report if anything was found.
    ///
    /// # Panics
    /// If anything was found.
    pub fn assert_clean(&self) {
        assert!(self.is_clean(), "{self}");
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.counts)?;
        if self.is_clean() {
            return f.write_str("no fault");
        }
        let mut by_name: BTreeMap<&str, usize> = BTreeMap::new();
        for fault in &self.faults {
            *by_name.entry(fault.name()).or_default() += 1;
        }
        write!(f, "{} faults:", self.faults.len())?;
        for (name, count) in by_name {
            write!(f, " {count} × {name};")?;
        }
        for fault in self.faults.iter().take(FAULTS_SHOWN_MAX) {
            write!(f, "\n  {fault}")?;
        }
        if self.faults.len() > FAULTS_SHOWN_MAX {
            write!(f, "\n  and {} more", self.faults.len() - FAULTS_SHOWN_MAX)?;
        }
        Ok(())
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "published: {} acknowledged, {} never answered ({} places of them shown), {} refused; {} attempts lost",
            self.acknowledged, self.unanswered, self.unanswered_shown, self.refused, self.attempts_lost
        )?;
        writeln!(
            f,
            "read: {} subscribers over {} connections saw {} events, {} checkpoints, {} gaps ({} events covered)",
            self.subscribers, self.connections, self.delivered, self.checkpoints, self.gaps, self.covered_by_gaps
        )?;
        write!(
            f,
            "killed: {} times, {} with a publish in flight, {} with a frame half written, {} between head and first event",
            self.kills, self.kills_in_flight, self.kills_in_frame, self.kills_after_head
        )
    }
}
