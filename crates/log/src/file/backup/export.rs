use std::io::{self, Write};

use tidewire_topic::Topic;

use super::super::disk::Disk;
use super::super::layout::LogId;
use super::super::view::{Damages, LogView, Visitor, log_id_text};
use super::lines::{EXPORT_FORMAT, End, EndLine, EpochLine, EventLine, HeaderLine, LeftOut};
use crate::{HubId, RecordView};

/// What is to be exported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportConfig {
    /// Only what lies after this place.
    pub from: Option<HubId>,
    /// Only what bears one of these topics; everything if there is none.
    pub topics: Vec<Topic>,
}

/// What was exported.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportSummary {
    /// How many events.
    pub events: u64,
    /// Bytes that were written.
    pub bytes: u64,
    /// The first of them.
    pub first: Option<HubId>,
    /// The last of them.
    pub last: Option<HubId>,
    /// What could not be exported.
    pub left_out: Vec<LeftOut>,
    /// How many such ranges there are: not all may be listed.
    pub left_out_total: u64,
}

impl ExportSummary {
    /// Whether something was left out because it is damaged. What retention removed meanwhile is not.
    #[must_use]
    pub fn met_damage(&self) -> bool {
        self.left_out.iter().any(|range| range.why == DAMAGED)
    }
}

/// Why a log could not be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The log cannot be read.
    #[error("failed to read the log")]
    Read(#[from] io::Error),
    /// The lines cannot be written.
    #[error("failed to write the export")]
    Write(#[source] io::Error),
}

const DAMAGED: &str = "damaged";
const EXPIRED: &str = "expired";

impl<D: Disk> LogView<D> {
    /// Writes the log's events to `out`, a line of JSON each, between a line that says what log it is and one
    /// by which a cut or changed export is noticed. Tells `progress` how many of [`LogView::bytes`] more were
    /// read. `made_ms` is the time, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// When the log cannot be read or `out` be written. Damaged events are left out, and listed.
    pub fn export(
        &self,
        config: &ExportConfig,
        made_ms: u64,
        out: &mut dyn Write,
        progress: &mut dyn FnMut(u64),
    ) -> Result<ExportSummary, ExportError> {
        let from = config.from.unwrap_or_default();
        let manifest = self.manifest();
        let mut exporter = Exporter {
            config,
            from,
            out: Checked { out, crc32c: 0, bytes: 0 },
            line: Vec::new(),
            record: Vec::new(),
            events: 0,
            first: None,
            last: None,
            damages: Damages::after(self.first_place().max(from)),
            others: Vec::new(),
            progress,
        };
        exporter.write(&HeaderLine {
            tidewire_export: EXPORT_FORMAT,
            log_id: log_id_text(&LogId::clone(&manifest.log_id)),
            made_ms,
            from: config.from,
            topics: config.topics.iter().map(|topic| topic.as_str().to_owned()).collect(),
            low_water: manifest.low_water,
            floor_ms: manifest.times.floor_ms,
            retention_ms: manifest.times.retention_ms,
            wall_ms: manifest.times.wall_ms,
            epochs: manifest.epochs.iter().map(EpochLine::of).collect(),
        })?;
        self.walk(from, &mut exporter)?;
        exporter.end()
    }
}

struct Exporter<'a> {
    config: &'a ExportConfig,
    from: HubId,
    out: Checked<'a>,
    line: Vec<u8>,
    record: Vec<u8>,
    events: u64,
    first: Option<HubId>,
    last: Option<HubId>,
    damages: Damages,
    /// What else was left out.
    others: Vec<LeftOut>,
    progress: &'a mut dyn FnMut(u64),
}

impl Exporter<'_> {
    fn write(&mut self, line: &impl serde::Serialize) -> Result<(), ExportError> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, line).map_err(|error| ExportError::Write(error.into()))?;
        self.line.push(b'\n');
        self.out.write(&self.line)
    }

    fn end(mut self) -> Result<ExportSummary, ExportError> {
        let damages = std::mem::take(&mut self.damages.listed);
        let unlisted = self.damages.total - damages.len() as u64;
        let damaged = damages.into_iter().map(|damage| LeftOut {
            after: damage.after,
            before: damage.before,
            events: damage.lost,
            why: DAMAGED.to_owned(),
        });
        let mut left_out: Vec<LeftOut> = damaged.chain(std::mem::take(&mut self.others)).collect();
        left_out.sort_by_key(|range| range.after);
        // Several things may be wrong in one range.
        left_out.dedup();
        let left_out_total = left_out.len() as u64 + unlisted;
        let end = End { events: self.events, left_out, left_out_total, crc32c: self.out.crc32c };
        let line = EndLine { end };
        self.write(&line)?;
        self.out.out.flush().map_err(ExportError::Write)?;
        Ok(ExportSummary {
            events: self.events,
            bytes: self.out.bytes,
            first: self.first,
            last: self.last,
            left_out: line.end.left_out,
            left_out_total,
        })
    }
}

impl Visitor for Exporter<'_> {
    type Error = ExportError;

    fn record(&mut self, record: &RecordView<'_>) -> Result<(), ExportError> {
        if record.id <= self.from {
            // What is wrong before the place was not asked for.
            self.damages = Damages::after(self.from);
            return Ok(());
        }
        self.damages.record(record);
        if let Some(range) = self.others.last_mut() {
            range.before.get_or_insert(record.id);
        }
        let topics = &self.config.topics;
        if !topics.is_empty() && !record.topics().any(|topic| topics.iter().any(|asked| asked.as_str() == topic)) {
            return Ok(());
        }
        // What an import would not make again is not whole.
        let Some(line) = EventLine::checked(record, &mut self.record) else {
            let (after, before) = (self.last.unwrap_or(self.from), Some(record.id));
            self.others.push(LeftOut { after, before, events: Some(1), why: DAMAGED.to_owned() });
            return Ok(());
        };
        self.write(&line)?;
        self.events += 1;
        self.first.get_or_insert(record.id);
        self.last = Some(record.id);
        Ok(())
    }

    fn damage(&mut self, file: &str, position: u64, what: &'static str) {
        self.damages.damage(file, position, what);
    }

    fn removed(&mut self, low_water: HubId) {
        let after = self.last.unwrap_or(self.from);
        self.others.push(LeftOut { after, before: None, events: None, why: EXPIRED.to_owned() });
        self.damages.go_on_after(low_water);
    }

    fn progress(&mut self, bytes: u64) {
        (self.progress)(bytes);
    }

    fn group(&mut self, _: u64) {}
}

/// A writer that keeps the checksum of what was written.
struct Checked<'a> {
    out: &'a mut dyn Write,
    crc32c: u32,
    bytes: u64,
}

impl Checked<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        self.out.write_all(bytes).map_err(ExportError::Write)?;
        self.crc32c = crc32c::crc32c_append(self.crc32c, bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}
