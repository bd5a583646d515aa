//! Looking at the subscribers of a shard, a few at a time, and ending one of them.

use std::sync::Arc;

use tidewire_log::{Filter, HubId, Position, Tail, TailReader};

use crate::slot::{Number, Slot, Source};
use crate::{Shard, SlotKey};

/// Of so many slots one look takes account: others wait meanwhile.
pub const SLOTS_LOOKED_AT_MAX: u32 = 1_000;

/// A subscriber as it stands.
#[derive(Clone, Debug)]
pub struct Subscriber<A> {
    /// Who it is among those of the shard.
    pub key: SlotKey,
    /// Who it said it is.
    pub subject: Option<String>,
    /// What the shell says of its transport.
    pub transport: A,
    /// What it asked for and may read.
    pub filter: Arc<Filter>,
    /// The place up to which everything that matches was written to it.
    pub place: HubId,
    /// How many events, whether they match or not, lie between that place and the head; 0 if none of them matches.
    pub lag_events: u64,
    /// By how many milliseconds the newest event is newer than that place; 0 if nothing is owed.
    pub lag_ms: u64,
    /// The place is older than the tail: there are more events than `lag_events`.
    pub is_older: bool,
    /// For how long it has been there, in seconds.
    pub age_s: u64,
}

/// Some of the subscribers of a shard, in the order of their slots.
#[derive(Clone, Debug)]
pub struct Subscribers<A> {
    /// Those that were asked for.
    pub found: Vec<Subscriber<A>>,
    /// The slot at which to go on, if there are more.
    pub next: Option<u32>,
}

/// What there is to say of a subscriber that leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Farewell {
    /// Who it said it is.
    pub subject: Option<String>,
    /// How many events were written to it whole.
    pub deliveries: u32,
    /// For how long it was there, in seconds.
    pub age_s: u64,
}

/// How far subscribers are behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Subscribers that are owed something.
    pub behind: u64,
    /// Of those, the ones whose place is older than the tail.
    pub older: u64,
    /// The most events that one is behind, for whomever they are; of one that is older than the tail, at least.
    pub events_max: u64,
    /// The most milliseconds by which the newest event is newer than the place of one.
    pub ms_max: u64,
}

impl Lag {
    /// Takes account of others.
    pub fn add(&mut self, other: Lag) {
        self.behind += other.behind;
        self.older += other.older;
        self.events_max = self.events_max.max(other.events_max);
        self.ms_max = self.ms_max.max(other.ms_max);
    }
}

impl<T> Shard<T> {
    /// How far those in the slots of slice `slice` of `slices` are behind. What it costs is no more than a look at each.
    pub fn lag_of(&mut self, slice: u32, slices: u32, tail: &Tail) -> Lag {
        self.observe(tail);
        let reader = tail.read();
        let mut lag = Lag::default();
        for key in (slice..self.slots.capacity()).step_by(slices as usize).filter_map(|index| self.slots.key_at(index))
        {
            let Some(slot) = self.slots.get(key) else { continue };
            let (place, at) = self.served(slot, &reader);
            let (events, ms) = distance(place, at, &reader);
            lag.add(Lag {
                behind: u64::from(events > 0 || at.is_none()),
                older: u64::from(at.is_none()),
                events_max: events,
                ms_max: ms,
            });
        }
        lag
    }

    /// Looks at the subscribers in at most [`SLOTS_LOOKED_AT_MAX`] slots from this one on: all of them, or those of
    /// a subject.
    pub fn subscribers<A>(
        &mut self,
        from: u32,
        subject: Option<&str>,
        tail: &Tail,
        now_ms: u64,
        seen: impl Fn(&T) -> A,
    ) -> Subscribers<A> {
        self.observe(tail);
        let wanted = subject.map(|name| self.subjects.find(name).map(Number::of));
        // A subject that nobody has is not to be looked for.
        if wanted == Some(None) {
            return Subscribers { found: Vec::new(), next: None };
        }
        let wanted = wanted.flatten();
        let end = from.saturating_add(SLOTS_LOOKED_AT_MAX).min(self.slots.capacity());
        let reader = tail.read();
        let mut found = Vec::new();
        for key in (from..end).filter_map(|index| self.slots.key_at(index)) {
            let Some(slot) = self.slots.get(key) else { continue };
            if wanted.is_some() && slot.subject != wanted {
                continue;
            }
            let (place, at) = self.served(slot, &reader);
            let (lag_events, lag_ms) = distance(place, at, &reader);
            found.push(Subscriber {
                key,
                subject: slot.subject.map(|number| self.subjects.name(number.get()).to_owned()),
                transport: seen(&slot.transport),
                filter: Arc::clone(&self.groups.at(slot.group).filter),
                place,
                lag_events,
                lag_ms,
                is_older: at.is_none(),
                age_s: (now_ms / 1_000).saturating_sub(slot.joined_s.into()),
            });
        }
        Subscribers { found, next: (end < self.slots.capacity()).then_some(end) }
    }

    /// What there is to say of a subscriber, should it leave now.
    #[must_use]
    pub fn farewell(&self, key: SlotKey, now_ms: u64) -> Option<Farewell> {
        let slot = self.slots.get(key)?;
        Some(Farewell {
            subject: slot.subject.map(|number| self.subjects.name(number.get()).to_owned()),
            deliveries: slot.deliveries,
            age_s: (now_ms / 1_000).saturating_sub(slot.joined_s.into()),
        })
    }

    /// How many subscribers' filters match a topic, whatever types they ask for and may read.
    #[must_use]
    pub fn subscribers_of(&self, topic: &str) -> u64 {
        let mut subscribers = 0;
        self.groups.of_topic(topic, |group| subscribers += u64::from(group.len));
        subscribers
    }

    /// Ends a subscriber as soon as what is begun on its stream is finished ([`crate::Owed::End`]); says whether it is
    /// there.
    pub fn end(&mut self, key: SlotKey) -> bool {
        let Some(slot) = self.slots.get_mut(key) else { return false };
        slot.is_ending = true;
        self.lag(key);
        true
    }

    /// Up to where a subscriber was served: the place, and the position if the tail knows it.
    fn served(&self, slot: &Slot<T>, reader: &TailReader<'_>) -> (HubId, Option<Position>) {
        let progress = slot.progress;
        let is_begun = progress.offset > 0;
        if slot.source != Source::Tail {
            return (if is_begun { progress.place.before() } else { Some(progress.place) }.unwrap_or_default(), None);
        }
        let group = self.groups.at(slot.group);
        let at = if is_begun { Position(progress.at.0.saturating_sub(1)) } else { group.settled(progress.at) };
        if !is_begun && at >= group.last_match {
            return (self.matched_place.max(progress.place), Some(self.matched));
        }
        match reader.id_at(at) {
            Some(place) if is_begun => (place, Some(at)),
            Some(place) => (place.max(progress.place), Some(at)),
            None => (progress.place, None),
        }
    }
}

/// How many events, and how many milliseconds, lie between a place and the head; of a place that the tail does not know,
/// the events are those of the tail.
fn distance(place: HubId, at: Option<Position>, reader: &TailReader<'_>) -> (u64, u64) {
    let (head, head_place) = reader.head();
    let events = at.map_or(head.0 - reader.before().0.0, |at| head.0.saturating_sub(at.0));
    let ms = if at.is_some_and(|at| at >= head) { 0 } else { head_place.ms.saturating_sub(place.ms) };
    (events, ms)
}
