use std::io;

use super::super::cursor::Window;
use super::super::disk::{Disk, DiskFile};
use super::super::layout::{BadHeader, GROUP_HEADER, GroupHeader, SEGMENT_HEADER};
use super::super::manifest::EPOCHS_MAX;
use super::segments::{ViewedSegment, next_group};
use super::{LogView, Usage, read_manifest};
use crate::record::{Extent, Head, u64_at};
use crate::tombstones::Tombstones;
use crate::{HubId, RecordView};

/// Who is shown what a walk over a folder meets, in log order.
pub(crate) trait Visitor {
    /// What ends the walk: a disk that fails, or what the visitor says.
    type Error: From<io::Error>;

    /// A record that is whole.
    fn record(&mut self, record: &RecordView<'_>) -> Result<(), Self::Error>;
    /// Something is not as the format says. Records between the one shown before and the next one may be
    /// lost.
    fn damage(&mut self, file: &str, position: u64, what: &'static str);
    /// Segments were removed meanwhile: the walk goes on behind this place.
    fn removed(&mut self, low_water: HubId);
    /// So many bytes more have been read.
    fn progress(&mut self, bytes: u64);
    /// A group was read that ends at this byte of its segment.
    fn group(&mut self, end: u64);
    /// Behind the end lies what a crash left half written; the next start cuts it.
    fn torn(&mut self, _bytes: u64) {}
}

/// How far a walk has come.
#[derive(Clone, Copy, Debug)]
struct Chain {
    sequence: u64,
    id: HubId,
    retention_ms: u64,
    durable_sequence: u64,
}

impl<D: Disk> LogView<D> {
    /// Shows every record that may lie after a place, in log order, and whatever is not as it should be.
    /// Some records at or before the place may be shown as well.
    ///
    /// # Errors
    /// When the disk fails, or the visitor says so.
    pub(crate) fn walk<V: Visitor>(&self, after: HubId, visitor: &mut V) -> Result<(), V::Error> {
        let is_passed = |next: &ViewedSegment| next.before().is_some_and(|before| before <= after);
        let skipped = self.segments.iter().skip(1).take_while(|next| is_passed(next)).count();
        let mut low_water = self.manifest.low_water;
        let mut before: Option<Before<'_>> = None;
        let mut erased = self.tombstones.clone();
        if self.segments.is_empty() && low_water > HubId::ZERO {
            visitor.damage("manifest", 0, "it names a log with segments, and there is none");
        }
        for (n, segment) in self.segments.iter().enumerate().skip(skipped) {
            let file = match self.disk.open_to_read(&segment.name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let now = read_manifest(&self.disk).map_or(low_water, |manifest| manifest.low_water);
                    if now > self.manifest.low_water {
                        if now > low_water {
                            visitor.removed(now);
                        }
                        low_water = now;
                        before = None;
                    } else {
                        visitor.damage(&segment.name, 0, "the file is gone");
                    }
                    visitor.progress(segment.used_bytes_max());
                    continue;
                }
                opened => opened?,
            };
            if n == 0 && segment.before().is_some_and(|before| before != low_water) {
                visitor.damage(&segment.name, 0, "the segment before it is missing");
            }
            self.learn_erased(&mut erased)?;
            if let Some(begin) = segment.before() {
                erased.drop_below(begin);
            }
            let is_last = n + 1 == self.segments.len();
            let walk = SegmentWalk {
                view: self,
                segment,
                file,
                end: segment.used_bytes_max(),
                is_last,
                chain: Chain { sequence: 0, id: HubId::ZERO, retention_ms: 0, durable_sequence: 0 },
                is_clean: true,
                erased: &mut erased,
                visitor: &mut *visitor,
            };
            before = walk.run(before.as_ref())?.or(before);
        }
        if let Some(missing) = &self.missing {
            visitor.damage(missing, 0, "the file is missing");
        }
        Ok(())
    }
}

/// How the walk over a segment ended.
#[derive(Clone, Copy, Debug)]
struct Before<'a> {
    segment: &'a ViewedSegment,
    chain: Chain,
    at: u64,
    is_clean: bool,
}

/// A walk over one segment.
struct SegmentWalk<'a, 'v, D: Disk, V: Visitor> {
    view: &'a LogView<D>,
    segment: &'a ViewedSegment,
    file: D::File,
    /// Behind it, nothing is read.
    end: u64,
    is_last: bool,
    chain: Chain,
    /// Whether no damage was met.
    is_clean: bool,
    /// What was erased in it or behind it.
    erased: &'v mut Tombstones,
    visitor: &'v mut V,
}

impl<'a, D: Disk, V: Visitor> SegmentWalk<'a, '_, D, V> {
    /// Walks. `None` if the segment is not the log's.
    fn run(mut self, before: Option<&Before<'_>>) -> Result<Option<Before<'a>>, V::Error> {
        if !self.header(before) {
            self.visitor.progress(self.end);
            return Ok(None);
        }
        self.is_clean = true;
        let mut window = Window::default();
        let mut at = SEGMENT_HEADER as u64;
        let mut predecessor = Some(0);
        self.visitor.progress(at);
        while !(self.is_last && self.chain.sequence >= self.view.through) {
            let found = next_group(&mut window, &self.file, at, self.end, &self.view.manifest.log_id);
            let found = found.map_err(V::Error::from)?;
            let Some((group_at, header, crc)) =
                found.filter(|(_, header, _)| header.first_sequence <= self.view.through)
            else {
                break;
            };
            if group_at != at && predecessor.take().is_some() {
                self.damage(at, "there is no group where one should be");
            }
            self.visitor.progress(group_at - at);
            let body_at = group_at + GROUP_HEADER as u64;
            let group_end = body_at + u64::from(header.body_bytes);
            let is_new = header.first_sequence > self.chain.sequence;
            if !is_new || header.count == 0 || group_end > self.end {
                self.damage(group_at, "a group's header contradicts what is around it");
                self.visitor.progress(1);
                (at, predecessor) = (group_at + 1, None);
                continue;
            }
            self.group_header(group_at, &header, predecessor);
            let body = window.load(&self.file, body_at, header.body_bytes as usize, self.end);
            let body = body.map_err(V::Error::from)?;
            self.group(body_at, &header, body)?;
            self.visitor.group(group_end);
            self.visitor.progress(group_end - group_at);
            (at, predecessor) = (group_end, Some(crc));
        }
        self.finish(at)?;
        Ok(Some(Before { segment: self.segment, chain: self.chain, at, is_clean: self.is_clean }))
    }

    /// Checks the segment's header against its name, its file and the segment before. Whether its groups can
    /// be read.
    fn header(&mut self, before: Option<&Before<'_>>) -> bool {
        let first_sequence = self.segment.first_sequence;
        if let Some(before) = before {
            self.chain = before.chain;
        }
        let header = match self.segment.header {
            Ok(header) => header,
            Err(BadHeader::OtherFormat(_)) => {
                self.damage(0, "its header has a format that this version does not read");
                return false;
            }
            Err(BadHeader::Damaged) => {
                self.damage(0, "its header is not whole");
                // The groups may be: they say where they belong.
                if before.is_none() {
                    self.chain.sequence = first_sequence.saturating_sub(1);
                }
                return true;
            }
        };
        if header.log_id != self.view.manifest.log_id {
            self.damage(0, "it belongs to another log");
            return false;
        }
        if header.first_sequence != first_sequence {
            self.damage(0, "its header has another sequence than its name");
        }
        if header.before.sequence.saturating_add(1) != header.first_sequence {
            self.damage(0, "its header contradicts itself");
        }
        if header.file_bytes != self.segment.file_bytes {
            self.damage(self.segment.file_bytes, "the file is not as long as its header says");
        }
        if let Some(before) = before {
            self.neighbour(before);
        }
        self.chain = Chain {
            sequence: first_sequence.saturating_sub(1),
            id: header.before.id.max(self.chain.id),
            retention_ms: header.before.retention_ms.max(self.chain.retention_ms),
            durable_sequence: self.chain.durable_sequence,
        };
        true
    }

    /// Checks what the header says of the segment before it against what was read there.
    fn neighbour(&mut self, before: &Before<'_>) {
        let Ok(header) = self.segment.header else { return };
        let said = header.before;
        if said.first_sequence != before.segment.first_sequence {
            self.damage(0, "the segment before it is missing");
            return;
        }
        if !before.is_clean {
            // What is wrong there has been told.
            return;
        }
        let epochs = &self.view.manifest.epochs;
        // Of the oldest epochs, the manifest knows nothing any more.
        let is_forgotten = epochs.len() == EPOCHS_MAX && epochs.first().is_some_and(|oldest| said.id < oldest.first);
        let is_place = said.id == before.chain.id
            || said.id > before.chain.id && (is_forgotten || epochs.iter().any(|epoch| epoch.first == said.id));
        let fits = is_place
            && said.sequence == before.chain.sequence
            && said.length == before.at
            && said.retention_ms >= before.chain.retention_ms;
        if !fits {
            self.damage(0, "what its header says of the segment before it is not so");
        }
    }

    fn group_header(&mut self, at: u64, header: &GroupHeader, predecessor: Option<u32>) {
        if predecessor.is_some_and(|crc| crc != header.predecessor) {
            self.damage(at, "a group does not follow on the one before it");
        }
        if header.first_sequence != self.chain.sequence + 1 && predecessor.is_some() {
            self.damage(at, "sequences are missing before a group");
        }
        let durable = header.durable_sequence;
        if durable >= header.first_sequence || durable < self.chain.durable_sequence {
            self.damage(at, "a group says something else was durable than the ones around it");
        }
        self.chain.durable_sequence = self.chain.durable_sequence.max(durable);
    }

    /// Shows the records of a group.
    fn group(&mut self, body_at: u64, header: &GroupHeader, body: &[u8]) -> Result<(), V::Error> {
        let last_sequence = header.first_sequence.saturating_add(u64::from(header.count) - 1);
        self.chain.sequence = self.chain.sequence.max(header.first_sequence - 1);
        let (mut at, mut count, mut records_crc, mut is_whole) = (0, 0_u32, 0, true);
        while at < body.len() {
            let range = self.chain.sequence + 1..=last_sequence;
            let Some((found, extent)) = next_record(body, at, range) else {
                self.damage(body_at + at as u64, "a record's head is not whole");
                is_whole = false;
                break;
            };
            if found != at {
                self.damage(body_at + at as u64, "a record's head is not whole");
                is_whole = false;
            }
            let (head, frame) = body[found..found + extent.bytes].split_at(extent.head_bytes);
            if let Ok(head) = Head::read(head) {
                count += 1;
                records_crc = crc32c::crc32c_append(records_crc, &head.head_crc.to_le_bytes());
                self.record(body_at + found as u64, head, frame)?;
            }
            at = found + extent.bytes;
        }
        if is_whole && (count != header.count || records_crc != header.records_crc) {
            self.damage(body_at, "a group does not hold the records that its header says");
        }
        self.chain.sequence = last_sequence;
        Ok(())
    }

    fn record(&mut self, at: u64, head: Head<'_>, frame: &[u8]) -> Result<(), V::Error> {
        let follows = head.sequence == self.chain.sequence + 1;
        self.chain.sequence = head.sequence;
        if head.id <= self.chain.id {
            self.damage(at, "a record's id is not above the one before it");
            return Ok(());
        }
        if !follows && self.is_clean {
            self.damage(at, "sequences are missing before a record");
        }
        if head.retention_ms < self.chain.retention_ms {
            self.damage(at, "the retention clock goes back");
        }
        if head.id.ms > self.view.manifest.times.floor_ms {
            self.damage(at, "a record's id lies above the floor of the manifest");
        }
        self.chain.id = head.id;
        self.chain.retention_ms = self.chain.retention_ms.max(head.retention_ms);
        let record = head.with_frame(frame);
        if record.is_err() && !self.erased.cover(&head) {
            // It may have been overwritten since.
            self.view.learn_erased(self.erased).map_err(V::Error::from)?;
        }
        if self.erased.cover(&head) {
            return Ok(());
        }
        match record {
            Ok(record) if record.sse().starts_with(format!("id: {}\n", record.id).as_bytes()) => {
                self.visitor.record(&record)
            }
            Ok(_) => {
                self.damage(at, "a record's frame has another id than its head");
                Ok(())
            }
            Err(_) => {
                self.damage(at, "a record's frame is not what was written");
                Ok(())
            }
        }
    }

    /// Looks at what lies behind the last group.
    fn finish(&mut self, at: u64) -> Result<(), V::Error> {
        let is_short = if self.is_last {
            self.chain.sequence < self.view.through
        } else {
            self.segment.end.is_some_and(|end| at < end)
        };
        if is_short {
            self.damage(at, "there is no group where one should be");
        }
        if self.is_last && !is_short && self.view.usage == Usage::Stopped {
            let torn = last_used(&self.file, at, self.end).map_err(V::Error::from)?;
            if torn > 0 {
                self.visitor.torn(torn);
            }
        }
        self.visitor.progress(self.end.saturating_sub(at));
        Ok(())
    }

    fn damage(&mut self, position: u64, what: &'static str) {
        self.is_clean = false;
        self.visitor.damage(&self.segment.name, position, what);
    }
}

/// The first whole head at or behind a byte of a group's body, of a record with one of these sequences.
fn next_record(body: &[u8], from: usize, sequences: std::ops::RangeInclusive<u64>) -> Option<(usize, Extent)> {
    (from..body.len()).find_map(|at| {
        let rest = &body[at..];
        let sequence = u64_at(rest, 16).ok()?;
        let extent = Extent::read(rest).ok().filter(|extent| extent.bytes <= rest.len())?;
        let is_head = sequences.contains(&sequence) && Head::parse(&rest[..extent.head_bytes]).is_ok();
        is_head.then_some((at, extent))
    })
}

/// How many bytes behind a position are used: up to the last one that is not zero.
fn last_used(file: &impl DiskFile, from: u64, end: u64) -> io::Result<u64> {
    const PIECE_BYTES: usize = 256 * 1024;
    let mut buffer = Vec::new();
    let (mut at, mut used) = (from, 0);
    while at < end {
        let length = usize::try_from(end - at).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
        buffer.resize(length, 0);
        file.read_at(&mut buffer, at)?;
        if let Some(last) = buffer.iter().rposition(|&byte| byte != 0) {
            used = at + last as u64 + 1 - from;
        }
        at += length as u64;
    }
    Ok(used)
}
