use std::collections::VecDeque;

use tidewire_log::{HubId, Position, Tail, TailReader};

use crate::catch_up::{CatchUp, CatchUpRead};
use crate::client::Addresses;
use crate::frames::MadeFor;
use crate::group::Groups;
use crate::listed::{Filled, Listed};
use crate::slot::{Number, Own, Progress, Slot, Slots, Source};
use crate::subjects::Subjects;
use crate::{Frames, Gap, GapReason, Limits, SlotKey, StreamStart, own_events};

/// How many records are matched under one look at the tail.
const OBSERVE_RECORDS_MAX: u64 = 4096;

/// What is to be done for a subscriber.
pub enum Owed<'a, T> {
    /// Nothing.
    Nothing,
    /// Write these bytes, then say how many were taken ([`Shard::wrote`]).
    Write(&'a [u8], &'a mut T),
    /// Read from the log, then hand over what was found ([`Shard::caught_up`]).
    CatchUp(CatchUp),
    /// It was to end, and nothing on it is unfinished: write the last chunk and close.
    End(&'a mut T),
}

/// What is to be done for a subscriber for whom the log was read.
pub enum CaughtUp<'a, T> {
    /// Nothing now; it comes up again in a round, if anything more is owed.
    Nothing,
    /// As [`Owed::Write`].
    Write(&'a [u8], &'a mut T),
    /// The rest of a frame begun is no longer retained: close without a last chunk.
    Torn,
}

/// How a subscriber stands after a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrote {
    /// How many frames the write finished.
    pub frames: usize,
    /// The socket took less than it was given: say when it is writable again.
    pub is_blocked: bool,
}

/// The subscribers of one thread. `T` is what the shell keeps for each: a socket.
pub struct Shard<T> {
    pub(crate) slots: Slots<T>,
    pub(crate) groups: Groups,
    pub(crate) subjects: Subjects,
    pub(crate) clients: Addresses,
    pub(crate) limits: Limits,
    /// The position to which records have been matched, and its place.
    pub(crate) matched: Position,
    pub(crate) matched_place: HubId,
    /// Those who are owed more than one visit wrote.
    lagging: VecDeque<SlotKey>,
    round: Round,
    frames: Frames,
    /// For whom `frames` were made, while they may serve the next one as well.
    frames_for: Option<MadeFor>,
    listed: Listed,
    gaps_told: [u64; GapReason::ALL.len()],
}

/// What is left of a round: one go over those who are owed something.
#[derive(Default)]
struct Round {
    lagging: usize,
    groups: usize,
    /// The next member of the group whose turn it is.
    member: Option<u32>,
}

impl<T> Shard<T> {
    /// What a subscriber takes in the slab, in bytes.
    pub const SLOT_BYTES: usize = Slots::<T>::SLOT_BYTES;

    /// A shard without subscribers.
    #[must_use]
    pub fn new(limits: Limits) -> Shard<T> {
        Shard {
            slots: Slots::new(),
            groups: Groups::default(),
            subjects: Subjects::default(),
            clients: Addresses::default(),
            limits,
            matched: Position::default(),
            matched_place: HubId::ZERO,
            lagging: VecDeque::new(),
            round: Round::default(),
            frames: Frames::default(),
            frames_for: None,
            listed: Listed::default(),
            gaps_told: [0; GapReason::ALL.len()],
        }
    }

    /// How many subscribers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is no subscriber.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many groups of equal filters there are.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// How many gaps were told in the middle of a stream, by [`GapReason::index`].
    #[must_use]
    pub fn gaps_told(&self) -> [u64; GapReason::ALL.len()] {
        self.gaps_told
    }

    /// Adds a subscriber. Its first bytes are its head, `retry:`, and the gap or else a
    /// checkpoint; they are owed at once.
    pub fn join(&mut self, transport: T, stream: StreamStart, tail: &Tail, now_ms: u64) -> SlotKey {
        let StreamStart { head: mut bytes, retry_ms, filter, start, subject, client } = stream;
        own_events::beginning(&mut bytes, retry_ms, &start);
        self.observe(tail);
        let at = tail.read().position_of(start.place);
        let group = self.groups.intern(filter, self.matched);
        let subject = subject.map(|subject| Number::of(self.subjects.intern(&subject)));
        let client = client.map(|client| Number::of(self.clients.intern(client)));
        let key = self.slots.insert(Slot {
            transport,
            progress: Progress { at: at.unwrap_or_default(), place: start.place, offset: 0 },
            own: Some(Box::new(Own { bytes, written: 0 })),
            wrote_ms: now_ms,
            joined_s: u32::try_from(now_ms / 1_000).unwrap_or(u32::MAX),
            group,
            next: None,
            previous: None,
            subject,
            client,
            source: if at.is_some() { Source::Tail } else { Source::Log },
            deliveries: 0,
            reads: 0,
            is_blocked: false,
            is_lagging: false,
            is_ending: false,
            is_untold: false,
            told: None,
        });
        self.link(key);
        self.lag(key);
        key
    }

    /// Removes a subscriber and gives back its transport.
    pub fn leave(&mut self, key: SlotKey) -> Option<T> {
        let Slot { group, subject, client, .. } = *self.slots.get(key)?;
        self.unlink(key);
        if let Some(subject) = subject {
            self.subjects.release(subject.get());
        }
        client.into_iter().for_each(|client| self.clients.release(client.get()));
        if self.groups.drop_if_empty(group) {
            self.frames_for = None;
            self.listed.forget();
        }
        self.slots.remove(key).map(|slot| slot.transport)
    }

    /// The subscriber that has this slot now.
    #[must_use]
    pub fn key_at(&self, index: usize) -> Option<SlotKey> {
        self.slots.key_at(u32::try_from(index).ok()?)
    }

    /// Whether a subscriber has not left.
    #[must_use]
    pub fn holds(&self, key: SlotKey) -> bool {
        self.slots.get(key).is_some()
    }

    /// Every subscriber there is.
    pub fn keys(&self) -> impl Iterator<Item = SlotKey> + '_ {
        (0..self.slots.capacity()).filter_map(|index| self.slots.key_at(index))
    }

    /// What the shell keeps for a subscriber.
    pub fn transport(&mut self, key: SlotKey) -> Option<&mut T> {
        self.slots.get_mut(key).map(|slot| &mut slot.transport)
    }

    /// Whether everything begun on a stream is finished, so that its last chunk may follow.
    #[must_use]
    pub fn is_between_frames(&self, key: SlotKey) -> bool {
        self.slots.get(key).is_some_and(Slot::is_between_frames)
    }

    /// Whether a subscriber's socket is being waited for.
    #[must_use]
    pub fn is_blocked(&self, key: SlotKey) -> bool {
        self.slots.get(key).is_some_and(|slot| slot.is_blocked)
    }

    /// Matches what was committed since the last time: who has news stands in the round after
    /// this one.
    pub fn observe(&mut self, tail: &Tail) {
        while self.matched < tail.watermark() {
            self.observe_some(&tail.read());
        }
        if self.matched == Position::default() {
            self.matched_place = self.matched_place.max(tail.read().before().1);
        }
    }

    fn observe_some(&mut self, reader: &TailReader<'_>) {
        let (head, _) = reader.head();
        if self.matched < reader.before().0 || self.is_empty() {
            self.groups.mark_all(head);
            self.matched = head;
        } else {
            let to = head.min(Position(self.matched.0 + OBSERVE_RECORDS_MAX));
            while self.matched < to {
                let position = self.matched.next();
                let record = reader.record(position).expect("what lies after `before` and up to the head is there");
                self.groups.note(&record, self.matched);
                self.matched = position;
            }
        }
        self.matched_place = reader.id_at(self.matched).expect("the last position matched is in the tail");
    }

    /// Whether something was committed that this shard has not looked at.
    #[must_use]
    pub fn has_news(&self, tail: &Tail) -> bool {
        self.matched < tail.watermark()
    }

    /// Whether anybody may be owed something that no event of a socket will bring up.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.lagging.is_empty() || self.groups.queued() > 0
    }

    /// Begins a round over those who are owed something now.
    pub fn begin_round(&mut self) {
        self.round = Round { lagging: self.lagging.len(), groups: self.groups.queued(), member: None };
    }

    /// The next subscriber of this round to visit.
    pub fn next_visit(&mut self) -> Option<SlotKey> {
        while self.round.lagging > 0 {
            self.round.lagging -= 1;
            let key = self.lagging.pop_front()?;
            if let Some(slot) = self.slots.get_mut(key) {
                slot.is_lagging = false;
                if !slot.is_blocked {
                    return Some(key);
                }
            }
        }
        loop {
            while let Some(index) = self.round.member {
                let slot = self.slots.at_mut(index);
                self.round.member = slot.next.map(Number::get);
                let waits = slot.is_blocked || slot.is_lagging || slot.source != Source::Tail;
                if !waits && slot.progress.at < self.groups.at(slot.group).last_match {
                    return self.slots.key_at(index);
                }
            }
            if self.round.groups == 0 {
                return None;
            }
            self.round.groups -= 1;
            if let Some(group) = self.groups.take_queued() {
                self.round.member = self.groups.at(group).first;
            }
        }
    }

    /// What is to be done for a subscriber now. Reads the watermark anew.
    pub fn owed(&mut self, key: SlotKey, tail: &Tail) -> Owed<'_, T> {
        self.observe(tail);
        let Some(slot) = self.slots.get_mut(key) else { return Owed::Nothing };
        if slot.is_ending && slot.is_between_frames() {
            return Owed::End(&mut slot.transport);
        }
        let group = self.groups.at(slot.group);
        if slot.source == Source::Tail && slot.progress.offset == 0 {
            slot.progress.at = group.settled(slot.progress.at);
        }
        let (matched, forgets) = (self.matched, tail.forgets());
        let wanted = MadeFor { group: slot.group, progress: slot.progress, matched, forgets, below: None };
        let is_made = self.frames_for.is_some_and(|made| made.serves(&wanted));
        if slot.own.is_some() || slot.source != Source::Tail || !is_made {
            self.frames_for = None;
            self.frames.begin_with(slot.own_rest());
            let reader = tail.read();
            if slot.source == Source::Log
                && slot.progress.offset == 0
                && let Some(at) = reader.position_of(slot.progress.place)
            {
                slot.progress.at = at;
                slot.source = Source::Tail;
            }
            if slot.source == Source::Tail {
                match self.listed.fill(&mut self.frames, slot, group, self.matched, &reader) {
                    Filled::Frames if slot.own.is_none() => {
                        let Progress { at, place, offset } = slot.progress;
                        // Nothing was passed over that its place has and another's may not have.
                        let is_common = offset == 0 && reader.id_at(at).is_some_and(|id| place <= id);
                        let below = self.frames.first().filter(|_| is_common);
                        self.frames_for = Some(MadeFor { progress: slot.progress, below, ..wanted });
                    }
                    Filled::Frames => {}
                    Filled::Cut(looked_to) => {
                        slot.progress.at = looked_to;
                        if !slot.is_lagging {
                            slot.is_lagging = true;
                            self.lagging.push_back(key);
                        }
                        return Owed::Nothing;
                    }
                    Filled::Older => slot.source = Source::Log,
                }
            }
        }
        if slot.is_ending {
            self.frames.keep_begun(slot.progress.offset);
            self.frames_for = None;
        }
        if !self.frames.is_empty() {
            return Owed::Write(self.frames.bytes(), &mut slot.transport);
        }
        match slot.source {
            Source::Log => {
                slot.source = Source::Reading;
                let Progress { place, offset, .. } = slot.progress;
                let (forgets, reads) = (tail.forgets_elsewhere(), slot.reads);
                slot.reads = reads.saturating_add(1);
                Owed::CatchUp(CatchUp { key, filter: group.filter.clone(), place, offset, reads, forgets })
            }
            Source::Tail => {
                slot.progress.at = slot.progress.at.max(self.matched);
                // It has everything: what is hidden from here on is another gap.
                slot.told = None;
                Owed::Nothing
            }
            Source::Reading => Owed::Nothing,
        }
    }

    /// Takes what a read from the log found, and says what is to be done now.
    pub fn caught_up(&mut self, read: CatchUpRead, tail: &Tail) -> CaughtUp<'_, T> {
        let Some(slot) = self.slots.get_mut(read.key) else { return CaughtUp::Nothing };
        slot.source = Source::Log;
        if read.is_torn {
            return CaughtUp::Torn;
        }
        // Something that was read may have been erased since.
        if read.forgets != tail.forgets() {
            self.lag(read.key);
            return CaughtUp::Nothing;
        }
        let is_between = slot.is_between_frames();
        if slot.is_ending && is_between {
            self.lag(read.key);
            return CaughtUp::Nothing;
        }
        let is_told = read.hidden.is_some() && read.hidden == slot.told;
        let expired = (slot.progress.place < read.low_water).then_some((GapReason::Expired, read.low_water));
        let hidden = read.hidden.filter(|_| !is_told).map(|reason| (reason, slot.progress.place));
        if is_between && let Some((reason, resumed_from)) = expired.or(hidden) {
            let requested = slot.progress.place.to_string();
            let mut bytes = Vec::new();
            own_events::gap(&mut bytes, &Gap { requested, reason }, resumed_from);
            slot.own = Some(Box::new(Own { bytes, written: 0 }));
            // Behind what is hidden; what lies between is not owed, and is not told again unless the stream breaks.
            slot.progress.place = if expired.is_some() { resumed_from } else { read.looked_at };
            slot.is_untold = expired.is_none();
            slot.told = Some(reason);
            self.gaps_told[reason.index()] += 1;
        } else if is_between && read.frames.is_empty() {
            slot.is_untold |= read.looked_at > slot.progress.place;
            slot.progress.place = slot.progress.place.max(read.looked_at);
        } else if slot.own.is_none() && !slot.is_blocked {
            self.frames = read.frames;
            self.frames_for = None;
            if slot.is_ending {
                self.frames.keep_begun(slot.progress.offset);
            }
            return match self.slots.get_mut(read.key) {
                Some(slot) => CaughtUp::Write(self.frames.bytes(), &mut slot.transport),
                None => CaughtUp::Nothing,
            };
        }
        self.lag(read.key);
        CaughtUp::Nothing
    }

    /// Notes that a subscriber's socket took the first `written` of the bytes it was owed.
    pub fn wrote(&mut self, key: SlotKey, written: usize, now_ms: u64) -> Wrote {
        let Some(slot) = self.slots.get_mut(key) else { return Wrote { frames: 0, is_blocked: false } };
        if written > 0 {
            slot.wrote_ms = now_ms;
        }
        if let Some(own) = &mut slot.own {
            own.written += written.min(self.frames.own());
            if own.written == own.bytes.len() {
                slot.own = None;
            }
        }
        let mut frames = 0;
        if let Some((progress, finished)) = self.frames.progress(written) {
            slot.progress = progress;
            slot.is_untold = false;
            slot.told = None;
            frames = finished;
            slot.deliveries = slot.deliveries.saturating_add(u32::try_from(frames).unwrap_or(u32::MAX));
        }
        slot.is_blocked = written < self.frames.bytes().len();
        let is_blocked = slot.is_blocked;
        let is_behind = match slot.source {
            Source::Tail => slot.progress.offset > 0 || slot.progress.at < self.groups.at(slot.group).last_match,
            Source::Log => true,
            // What was read brings it up again.
            Source::Reading => false,
        };
        if (is_behind || slot.is_ending) && !is_blocked {
            self.lag(key);
        }
        Wrote { frames, is_blocked }
    }

    /// Notes that a subscriber's socket takes bytes again.
    pub fn writable(&mut self, key: SlotKey) {
        if let Some(slot) = self.slots.get_mut(key) {
            slot.is_blocked = false;
            self.lag(key);
        }
    }

    pub(crate) fn lag(&mut self, key: SlotKey) {
        if let Some(slot) = self.slots.get_mut(key).filter(|slot| !slot.is_lagging) {
            slot.is_lagging = true;
            self.lagging.push_back(key);
        }
    }

    fn link(&mut self, key: SlotKey) {
        let number = self.slots.at_mut(key.index).group;
        let group = self.groups.at_mut(number);
        let second = group.first.replace(key.index);
        group.len += 1;
        self.slots.at_mut(key.index).next = second.map(Number::of);
        if let Some(second) = second {
            self.slots.at_mut(second).previous = Some(Number::of(key.index));
        }
    }

    fn unlink(&mut self, key: SlotKey) {
        let slot = self.slots.at_mut(key.index);
        let (number, next, previous) = (slot.group, slot.next, slot.previous);
        if self.round.member == Some(key.index) {
            self.round.member = next.map(Number::get);
        }
        let group = self.groups.at_mut(number);
        group.len -= 1;
        match previous {
            Some(previous) => self.slots.at_mut(previous.get()).next = next,
            None => group.first = next.map(Number::get),
        }
        if let Some(next) = next {
            self.slots.at_mut(next.get()).previous = previous;
        }
    }
}

#[cfg(test)]
mod tests;
