use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use chain::Link;

use crate::{Filter, Follower, HubId, LOOK_RECORDS_MAX, LOOK_RECORDS_MIN, RecordView};

mod chain;

/// A block of frames is at least this long, in bytes, unless one frame is longer.
const BLOCK_BYTES: usize = 256 * 1024;

/// How many records of one topic a listing looks at before it stops and says how far it came.
pub const LIST_RECORDS_MAX: u64 = 256;

/// How many records are looked at for the last few of a filter, before the log itself is asked.
pub const LOOK_BACK_RECORDS_MAX: u64 = 4096;

/// A record's number in the tail; the first is 1. `Position::default()` lies before all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    /// The position after this one.
    #[must_use]
    pub fn next(self) -> Position {
        Position(self.0 + 1)
    }
}

/// The newest followed records, in memory: their frames lie back to back in blocks, and each
/// record points back to the one before it on each of its topics.
///
/// One log thread pushes; any number of readers look. The watermark is moved after a whole
/// group has been pushed, and then every watcher is called.
pub struct Tail {
    inner: RwLock<Inner>,
    watermark: AtomicU64,
    forgets: Forgets,
    watchers: Mutex<Vec<Watcher>>,
    bytes_max: usize,
}

type Watcher = Box<dyn Fn() + Send + Sync>;

impl Tail {
    /// An empty tail which keeps at most `bytes_max` bytes (`tail_bytes`), frames and what is
    /// kept about them, and always the newest block.
    #[must_use]
    pub fn new(bytes_max: usize) -> Tail {
        Tail {
            inner: RwLock::new(Inner::default()),
            watermark: AtomicU64::new(0),
            forgets: Forgets::default(),
            watchers: Mutex::new(Vec::new()),
            bytes_max,
        }
    }

    /// The position up to which events are committed and may be shown.
    pub fn watermark(&self) -> Position {
        Position(self.watermark.load(Ordering::Acquire))
    }

    /// Calls `watcher` after each move of the watermark, on the log's thread. It must not block.
    pub fn watch(&self, watcher: impl Fn() + Send + Sync + 'static) {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(watcher));
    }

    /// Looks at the tail. Nothing can be pushed while the reader lives: copy and let go.
    pub fn read(&self) -> TailReader<'_> {
        TailReader { inner: self.inner.read().unwrap_or_else(PoisonError::into_inner) }
    }

    /// The follower that fills this tail from a log.
    pub fn follower(self: &Arc<Tail>) -> Box<dyn Follower> {
        Box::new(TailFollower(Arc::clone(self)))
    }

    /// How often something was taken away that was not to be shown any more. Who has copied bytes at another
    /// count must not use them for someone else.
    pub fn forgets(&self) -> u64 {
        self.forgets.count()
    }

    /// The same count, for those who have it looked at elsewhere.
    pub fn forgets_elsewhere(&self) -> Forgets {
        self.forgets.clone()
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.inner.write().unwrap_or_else(PoisonError::into_inner));
        self.forgets.0.fetch_add(1, Ordering::AcqRel);
    }

    fn push(&self, group: &[RecordView<'_>]) {
        let newest = {
            let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
            for record in group {
                inner.push(record);
            }
            inner.evict(self.bytes_max);
            inner.newest().0
        };
        self.watermark.store(newest, Ordering::Release);
        for watcher in self.watchers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            watcher();
        }
    }
}

/// How often a tail has taken something away ([`Tail::forgets`]).
#[derive(Clone, Debug, Default)]
pub struct Forgets(Arc<AtomicU64>);

impl Forgets {
    /// The count now.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

struct TailFollower(Arc<Tail>);

impl Follower for TailFollower {
    fn begin(&mut self, after: HubId) {
        self.0.inner.write().unwrap_or_else(PoisonError::into_inner).before = after;
    }

    fn forget(&mut self, through: HubId) {
        self.0.change(|inner| inner.forget(through));
    }

    fn forget_topic(&mut self, topic: &str, through: HubId) {
        self.0.change(|inner| {
            let newest = inner.newest_on.get(topic).and_then(|&position| inner.entry(position)).map(|entry| entry.id);
            if let Some(newest) = newest {
                inner.forget(newest.min(through));
            }
        });
    }

    fn committed(&mut self, group: &[RecordView<'_>]) {
        self.0.push(group);
    }
}

#[derive(Default)]
struct Inner {
    blocks: VecDeque<Block>,
    /// Number of the first block that is kept.
    first_block: u64,
    records: VecDeque<Entry>,
    /// How many records have been dropped: the position before the first that is kept.
    dropped: u64,
    /// The place before the first record that is kept.
    before: HubId,
    newest_on: HashMap<Arc<str>, Position>,
    bytes: usize,
}

struct Block {
    frames: Vec<u8>,
    records: usize,
}

struct Entry {
    id: HubId,
    block: u64,
    start: u32,
    length: u32,
    private: bool,
    event_type: Arc<str>,
    links: Box<[Link]>,
}

impl Entry {
    fn topics(&self) -> impl Iterator<Item = &str> + Clone {
        self.links.iter().map(|link| &*link.topic)
    }

    /// What the entry takes beside its frame, in bytes. A topic's name is counted for every
    /// record that bears it, although they share it: an upper bound.
    fn overhead(&self) -> usize {
        let links: usize = self.links.iter().map(|link| size_of::<Link>() + link.topic.len()).sum();
        size_of::<Entry>() + links
    }
}

impl Inner {
    fn newest(&self) -> Position {
        Position(self.dropped + self.records.len() as u64)
    }

    fn push(&mut self, record: &RecordView<'_>) {
        let position = self.newest().next();
        // Most records have one topic: their links are not to be made room for four.
        let mut links = Vec::with_capacity(record.topics().count());
        links.extend(record.topics().map(|topic| self.link(topic, position)));
        let event_type = match self.records.back() {
            Some(last) if *last.event_type == *record.event_type => Arc::clone(&last.event_type),
            _ => Arc::from(record.event_type),
        };
        let (block, start) = self.place_frame(record.frame);
        let length = u32::try_from(record.frame.len()).expect("a record's length is a u32 in its format");
        let private = record.is_private();
        let entry = Entry { id: record.id, block, start, length, private, event_type, links: links.into() };
        self.bytes += entry.overhead();
        self.records.push_back(entry);
    }

    fn place_frame(&mut self, frame: &[u8]) -> (u64, u32) {
        let has_room = self.blocks.back().is_some_and(|b| b.frames.capacity() - b.frames.len() >= frame.len());
        if !has_room {
            let frames = Vec::with_capacity(frame.len().max(BLOCK_BYTES));
            self.bytes += frames.capacity();
            self.blocks.push_back(Block { frames, records: 0 });
        }
        let number = self.first_block + self.blocks.len() as u64 - 1;
        let block = self.blocks.back_mut().expect("a block was pushed if there was none");
        let start = u32::try_from(block.frames.len()).expect("only a block's first frame may be longer than a block");
        block.frames.extend_from_slice(frame);
        block.records += 1;
        (number, start)
    }

    fn evict(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max && self.blocks.len() > 1 {
            let records = self.blocks.front().map_or(0, |block| block.records);
            (0..records).for_each(|_| self.drop_first());
            self.drop_first_block();
        }
    }

    /// Drops what lies at or below a place, and the room of blocks that hold nothing else.
    fn forget(&mut self, through: HubId) {
        while self.records.front().is_some_and(|entry| entry.id <= through) {
            self.drop_first();
            if let Some(block) = self.blocks.front_mut() {
                block.records -= 1;
                if block.records == 0 {
                    self.drop_first_block();
                }
            }
        }
        // What is hidden may never have been given at all, as at the start.
        self.before = self.before.max(through);
    }

    fn drop_first_block(&mut self) {
        if let Some(block) = self.blocks.pop_front() {
            self.first_block += 1;
            self.bytes -= block.frames.capacity();
        }
    }

    fn drop_first(&mut self) {
        let Some(entry) = self.records.pop_front() else { return };
        self.dropped += 1;
        self.before = entry.id;
        self.bytes -= entry.overhead();
        for link in &entry.links {
            if self.newest_on.get(&link.topic) == Some(&Position(self.dropped)) {
                self.newest_on.remove(&link.topic);
            }
        }
    }

    fn entry(&self, position: Position) -> Option<&Entry> {
        let index = position.0.checked_sub(self.dropped + 1)?;
        self.records.get(usize::try_from(index).ok()?)
    }

    fn frame(&self, entry: &Entry) -> &[u8] {
        let index = usize::try_from(entry.block - self.first_block).expect("a block is kept while its records are");
        &self.blocks[index].frames[entry.start as usize..][..entry.length as usize]
    }
}

/// How far a listing came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Everything up to here is listed.
    pub to: Position,
    /// What it cost: a record that was looked at costs 1, a private one as much as the grants weigh.
    pub cost: u64,
}

/// A look at the tail.
pub struct TailReader<'a> {
    inner: RwLockReadGuard<'a, Inner>,
}

/// A record in the tail.
#[derive(Clone, Copy)]
pub struct TailRecord<'a> {
    entry: &'a Entry,
    /// The record's id.
    pub id: HubId,
    /// The record's chunked HTTP/1.1 frame.
    pub frame: &'a [u8],
}

impl<'a> TailRecord<'a> {
    /// The record's topics.
    pub fn topics(&self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        self.entry.topics()
    }

    /// The record's type.
    #[must_use]
    pub fn event_type(&self) -> &'a str {
        &self.entry.event_type
    }

    /// Whether the record is private.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.entry.private
    }

    /// Whether `filter` admits the record.
    #[must_use]
    pub fn is_admitted_by(&self, filter: &Filter) -> bool {
        filter.admits(self.topics(), &self.entry.event_type, self.entry.private)
    }
}

impl TailReader<'_> {
    /// The newest record's position and place; where there is none, those of `before`.
    #[must_use]
    pub fn head(&self) -> (Position, HubId) {
        let id = self.inner.records.back().map_or(self.inner.before, |entry| entry.id);
        (self.inner.newest(), id)
    }

    /// The position and place before the first record: of nothing at or below it is anything
    /// known here.
    #[must_use]
    pub fn before(&self) -> (Position, HubId) {
        (Position(self.inner.dropped), self.inner.before)
    }

    /// What the tail takes, of the `bytes_max` it was made with.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.inner.bytes
    }

    /// The position that stands for a place: everything after the place lies after it. `None`
    /// if the place is older than the tail. A place after the head stands for the head.
    #[must_use]
    pub fn position_of(&self, place: HubId) -> Option<Position> {
        if place < self.inner.before {
            return None;
        }
        let index = self.inner.records.partition_point(|entry| entry.id <= place);
        Some(Position(self.inner.dropped + index as u64))
    }

    /// The id at a position that the tail holds, or of the position before its first record.
    #[must_use]
    pub fn id_at(&self, position: Position) -> Option<HubId> {
        if position.0 == self.inner.dropped {
            return Some(self.inner.before);
        }
        self.inner.entry(position).map(|entry| entry.id)
    }

    /// The record at a position, if the tail still holds it.
    #[must_use]
    pub fn record(&self, position: Position) -> Option<TailRecord<'_>> {
        let entry = self.inner.entry(position)?;
        Some(TailRecord { entry, id: entry.id, frame: self.inner.frame(entry) })
    }

    /// The positions in `(from, to]` of the records that `filter` admits, ascending, appended to `out`,
    /// and the position up to which they were listed: less than `to` once [`LIST_RECORDS_MAX`]
    /// records of one topic were looked at, or fewer where there are many topics or asking costs more. It costs what
    /// lies between for a filter on every topic or with patterns, else what is looked at, however much lies beyond.
    #[must_use]
    pub fn matches(&self, filter: &Filter, from: Position, to: Position, out: &mut Vec<Position>) -> Listing {
        if !filter.topics.is_exact() {
            let first = from.0.max(self.inner.dropped) + 1;
            let to = to.min(Position(first.saturating_add(LIST_RECORDS_MAX - 1)));
            out.extend((first..=to.0).map(Position).filter(|&p| self.admits(filter, p)));
            return Listing { to, cost: to.0 + 1 - first };
        }
        let begin = out.len();
        let (mut listed, mut cost) = (to, 0);
        let private_cost = filter.private_cost();
        let oldest = |topic| Some((topic, self.inner.oldest_on(topic, |position, _| position > from)?.1.depth));
        let owed: Vec<(&str, u64)> = filter.topics.exact().filter_map(|topic| oldest(topic.as_str())).collect();
        let records_max = filter.look_records(LOOK_RECORDS_MAX) / (owed.len() as u64).max(1);
        let records_max = records_max.clamp(LOOK_RECORDS_MIN, LIST_RECORDS_MAX);
        for (topic, first_depth) in owed {
            let last_depth = first_depth + records_max - 1;
            let last = self.inner.oldest_on(topic, |_, link| link.depth >= last_depth);
            if let Some((last, _)) = last {
                listed = listed.min(last);
            }
            let newest = last.map(|(last, _)| last).or_else(|| self.inner.newest_on.get(topic).copied());
            let newer = self.chain(topic, newest).take_while(|(position, _)| *position > from);
            let newer = newer.inspect(|(_, entry)| cost += if entry.private { private_cost } else { 1 });
            let owed = newer.filter(|(position, _)| *position <= to);
            let admitted = owed.filter(|(_, e)| filter.admits(e.topics(), &e.event_type, e.private));
            out.extend(admitted.map(|(position, _)| position));
        }
        out[begin..].sort_unstable();
        let mut last = None;
        let mut kept = begin;
        for index in begin..out.len() {
            if last != Some(out[index]) && out[index] <= listed {
                last = Some(out[index]);
                out[kept] = out[index];
                kept += 1;
            }
        }
        out.truncate(kept);
        Listing { to: listed, cost }
    }

    fn admits(&self, filter: &Filter, position: Position) -> bool {
        self.record(position).is_some_and(|record| record.is_admitted_by(filter))
    }

    /// The position after which the last `count` records that `filter` admits lie. `None` if the
    /// tail holds fewer, or if more than `records_max` would have to be looked at, with patterns as many of
    /// them as their weight allows ([`Filter::look_records`]).
    #[must_use]
    pub fn position_before_last(&self, count: u64, filter: &Filter, records_max: u64) -> Option<Position> {
        let (head, _) = self.head();
        let Some(back) = count.checked_sub(1) else { return Some(head) };
        let back = usize::try_from(back).ok().filter(|_| back < records_max)?;
        let mut budget = records_max;
        let mut found = Vec::new();
        if !filter.topics.is_exact() {
            budget = filter.look_records(records_max);
            let mut next = head;
            while found.len() <= back {
                budget = budget.checked_sub(1)?;
                if self.record(next)?.is_admitted_by(filter) {
                    found.push(next);
                }
                next = Position(next.0 - 1);
            }
        } else {
            let private_cost = filter.private_cost();
            for topic in filter.topics.exact() {
                let mut of_topic = 0;
                let newest = self.inner.newest_on.get(topic.as_str()).copied();
                for (position, entry) in self.chain(topic.as_str(), newest) {
                    budget = budget.checked_sub(if entry.private { private_cost } else { 1 })?;
                    if filter.admits(entry.topics(), &entry.event_type, entry.private) {
                        found.push(position);
                        of_topic += 1;
                    }
                    if of_topic > back {
                        break;
                    }
                }
            }
            found.sort_unstable_by(|a, b| b.cmp(a));
            found.dedup();
        }
        found.get(back).map(|position| Position(position.0 - 1))
    }

    /// A topic's records in the tail from `first` on, newest first.
    fn chain<'r>(
        &'r self,
        topic: &'r str,
        first: Option<Position>,
    ) -> impl Iterator<Item = (Position, &'r Entry)> + use<'r> {
        std::iter::successors(first.and_then(|p| Some((p, self.inner.entry(p)?))), move |(_, entry)| {
            let previous = entry.links.iter().find(|link| *link.topic == *topic)?.previous;
            Some((previous, self.inner.entry(previous)?))
        })
    }
}

#[cfg(test)]
mod tests;
