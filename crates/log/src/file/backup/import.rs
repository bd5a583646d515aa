use std::io::{self, BufRead};
use std::sync::Arc;

use super::super::disk::Disk;
use super::super::folder::{IMPORTING, random_log_id};
use super::super::index::parse_index_name;
use super::super::layout::parse_segment_name;
use super::super::manifest::{EPOCHS_MAX, MANIFEST, Manifest};
use super::super::tombstone_file::TOMBSTONES;
use super::builder::Builder;
use super::lines::{EXPORT_FORMAT, EndLine, EventLine, HeaderLine, LeftOut};
use super::reader::{Line, Lines};
use crate::HubId;
use crate::times::KeptTimes;

/// So many problems of an export are told; more are counted.
pub const PROBLEMS_LISTED_MAX: usize = 1000;
/// A floor above this is none: nobody's clock says so.
const FLOOR_MS_MAX: u64 = 1 << 53;

/// How an export is imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportConfig {
    /// How long a segment is, in bytes; 64 MiB by default. One that is to hold a longer event is longer.
    pub segment_bytes: u64,
    /// Whether what is whole of a cut or damaged export is to be had.
    pub partial: bool,
}

impl Default for ImportConfig {
    fn default() -> ImportConfig {
        ImportConfig { segment_bytes: 64 << 20, partial: false }
    }
}

/// What was imported.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImportSummary {
    /// How many events.
    pub events: u64,
    /// The first of them.
    pub first: Option<HubId>,
    /// The last of them.
    pub last: Option<HubId>,
    /// The name of the epoch that begins with the import, and its first place.
    pub epoch: (String, HubId),
    /// What was left out when the export was made.
    pub left_out: Vec<LeftOut>,
    /// What is wrong with the export; at most [`PROBLEMS_LISTED_MAX`] of them.
    pub problems: Vec<BackupProblem>,
    /// How many there are.
    pub problems_total: u64,
}

/// Something wrong with an export.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
#[non_exhaustive]
pub struct BackupProblem {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong.
    pub what: String,
    /// The last event before it that could be read.
    pub after: Option<HubId>,
    /// The next one behind it.
    pub before: Option<HubId>,
}

/// Why an export could not be imported. Nothing of it is in the folder, unless the disk failed.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Another process uses the folder.
    #[error("another process uses the folder: stop it, or choose another folder")]
    Locked,
    /// There is a log already.
    #[error("the folder holds a log already: choose a folder without one")]
    HoldsLog,
    /// There are segments without a manifest.
    #[error("the folder holds segments of a log that has no manifest: move them away, or choose another folder")]
    HoldsSegments,
    /// The lines do not begin as an export.
    #[error("this is no export: {what}")]
    NotAnExport {
        /// What is wrong with the first line.
        what: String,
    },
    /// A newer version made the export.
    #[error("the export has format {found}, and this version reads format {EXPORT_FORMAT}: use a newer version")]
    OtherFormat {
        /// Its format.
        found: u32,
    },
    /// The export is cut or damaged.
    #[error("the export is not whole")]
    NotWhole(#[source] BackupProblem),
    /// The lines cannot be read.
    #[error("failed to read the export")]
    Read(#[source] io::Error),
    /// The disk failed, or is full.
    #[error("failed to write the log")]
    Disk(#[from] io::Error),
}

/// Makes a log in a folder that holds none, of what [`LogView::export`](crate::LogView::export) wrote. All events keep their ids; a
/// new epoch begins above them, above the floor of the export and above `now_ms`, the time in milliseconds
/// since the Unix epoch. Tells `progress` how many more bytes were read.
///
/// # Errors
/// When the folder is used or holds a log, the export is not whole and `partial` was not asked for, or the
/// disk fails. After a crash the folder is taken for no log, and the next import begins anew.
pub fn import<D: Disk>(
    disk: D,
    input: &mut dyn BufRead,
    config: &ImportConfig,
    now_ms: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<ImportSummary, ImportError> {
    let disk = Arc::new(disk);
    let _lock = disk.lock()?.ok_or(ImportError::Locked)?;
    let names = disk.list()?;
    let has = |name: &str| names.iter().any(|there| there == name);
    let has_segments = names.iter().any(|name| parse_segment_name(name).is_some());
    if has(MANIFEST) {
        return Err(ImportError::HoldsLog);
    }
    if has_segments && !has(IMPORTING) {
        return Err(ImportError::HoldsSegments);
    }
    let mut lines = Lines::new(input, progress);
    let header = read_header(&mut lines)?;
    clear(&*disk)?;
    drop(disk.create(IMPORTING)?);
    disk.sync_names()?;
    let imported = Importing::begin(&disk, header, config)
        .and_then(|importing| importing.run(&mut lines))
        .and_then(|importing| importing.finish(now_ms));
    if imported.is_err() {
        // Whatever is left is cleared by the next import.
        drop(clear(&*disk).and_then(|()| disk.unlink(IMPORTING)).and_then(|()| disk.sync_names()));
    }
    imported
}

/// Removes what an import has left that did not end, and what lies there of a log that is gone.
fn clear<D: Disk>(disk: &D) -> io::Result<()> {
    let names = disk.list()?;
    let is_part = |name: &str| {
        let is_segment = parse_segment_name(name).is_some() || parse_index_name(name).is_some();
        is_segment || name == TOMBSTONES || name.ends_with(".tmp")
    };
    names.iter().filter(|name| is_part(name)).try_for_each(|name| disk.unlink(name))
}

fn read_header(lines: &mut Lines<'_>) -> Result<HeaderLine, ImportError> {
    let not_an_export = |what: &str| ImportError::NotAnExport { what: what.to_owned() };
    let line = match lines.next().map_err(ImportError::Read)? {
        Line::Whole(line) => line,
        Line::Cut | Line::End => return Err(not_an_export("it ends within its first line")),
        Line::TooLong => return Err(not_an_export("its first line is too long")),
    };
    #[derive(serde::Deserialize)]
    struct Format {
        tidewire_export: u32,
    }
    let format: Format = serde_json::from_slice(line).map_err(|error| not_an_export(&error.to_string()))?;
    if format.tidewire_export != EXPORT_FORMAT {
        return Err(ImportError::OtherFormat { found: format.tidewire_export });
    }
    let header: HeaderLine = serde_json::from_slice(line).map_err(|error| not_an_export(&error.to_string()))?;
    let is_in_order = |pair: &[super::lines::EpochLine]| pair[0].first <= pair[0].last && pair[0].last < pair[1].first;
    if header.epochs.is_empty() || header.epochs.len() > EPOCHS_MAX || !header.epochs.windows(2).all(is_in_order) {
        return Err(not_an_export("its epochs do not follow one another"));
    }
    if header.epochs.iter().any(|epoch| epoch.name.len() > 20 || epoch.first.ms > header.floor_ms) {
        return Err(not_an_export("its epochs are not possible"));
    }
    if header.floor_ms > FLOOR_MS_MAX || header.low_water == HubId::ZERO || header.low_water.ms > header.floor_ms {
        return Err(not_an_export("its floor or low-water mark is not possible"));
    }
    Ok(header)
}

/// An import under way.
struct Importing<'d, D: Disk> {
    disk: &'d D,
    builder: Builder<D>,
    header: HeaderLine,
    partial: bool,
    events: u64,
    first: Option<HubId>,
    last: Option<HubId>,
    left_out: Vec<LeftOut>,
    problems: Vec<BackupProblem>,
    problems_total: u64,
}

impl<'d, D: Disk> Importing<'d, D> {
    fn begin(disk: &'d Arc<D>, header: HeaderLine, config: &ImportConfig) -> Result<Importing<'d, D>, ImportError> {
        let from = header.from.filter(|from| from.ms <= header.floor_ms);
        let low_water = header.low_water.max(from.unwrap_or_default());
        let builder = Builder::begin(disk, random_log_id(), low_water, config.segment_bytes)?;
        let partial = config.partial;
        let (left_out, problems) = (Vec::new(), Vec::new());
        Ok(Importing {
            disk,
            builder,
            header,
            partial,
            events: 0,
            first: None,
            last: None,
            left_out,
            problems,
            problems_total: 0,
        })
    }

    fn run(mut self, lines: &mut Lines<'_>) -> Result<Self, ImportError> {
        let mut record = Vec::new();
        loop {
            let crc32c = lines.crc32c();
            let line = match lines.next().map_err(ImportError::Read)? {
                Line::Whole(line) => line,
                Line::Cut => {
                    self.problem(lines.number(), "it is cut in the middle of this line")?;
                    break;
                }
                Line::End => {
                    self.problem(lines.number(), "it is cut: the line with the count is missing")?;
                    break;
                }
                Line::TooLong => {
                    self.problem(lines.number(), "the line is longer than any event")?;
                    break;
                }
            };
            let event = match serde_json::from_slice::<EventLine>(line) {
                Ok(event) => event,
                Err(error) => match serde_json::from_slice::<EndLine>(line) {
                    Ok(EndLine { end }) => {
                        if end.events != self.events && self.problems_total == 0 {
                            self.problem(lines.number(), "lines are missing before it")?;
                        } else if end.crc32c != crc32c && self.problems_total == 0 {
                            self.problem(lines.number(), "what is before it is not what was written")?;
                        }
                        self.left_out = end.left_out;
                        if !matches!(lines.next().map_err(ImportError::Read)?, Line::End) {
                            self.problem(lines.number(), "something follows the end")?;
                        }
                        break;
                    }
                    Err(_) => {
                        self.problem(lines.number(), &error.to_string())?;
                        continue;
                    }
                },
            };
            match self.check(&event).and_then(|()| event.checked_draft(&mut record)) {
                Ok(draft) => {
                    self.builder.push(&draft, event.id, &event.moment())?;
                    self.note(event.id);
                }
                Err(what) => self.problem(lines.number(), &what)?,
            }
        }
        Ok(self)
    }

    /// Whether an event may come where it comes.
    fn check(&self, event: &EventLine) -> Result<(), String> {
        if event.id <= self.last.unwrap_or(self.builder.low_water()) {
            return Err("its id is not above the one before it".to_owned());
        }
        if event.id.ms > self.header.floor_ms {
            return Err("its id lies above the floor of the export".to_owned());
        }
        if event.retention_ms < self.builder.retention_ms() {
            return Err("its retention clock goes back".to_owned());
        }
        Ok(())
    }

    fn note(&mut self, id: HubId) {
        self.events += 1;
        self.first.get_or_insert(id);
        self.last = Some(id);
        let is_open = |problem: &&mut BackupProblem| problem.before.is_none();
        self.problems.iter_mut().rev().take_while(is_open).for_each(|problem| problem.before = Some(id));
    }

    /// Goes on without what is wrong, or not.
    fn problem(&mut self, line: u64, what: &str) -> Result<(), ImportError> {
        let problem = BackupProblem { line, what: what.to_owned(), after: self.last, before: None };
        if !self.partial {
            return Err(ImportError::NotWhole(problem));
        }
        self.problems_total += 1;
        if self.problems.len() < PROBLEMS_LISTED_MAX {
            self.problems.push(problem);
        }
        Ok(())
    }

    /// Makes it a log.
    fn finish(self, now_ms: u64) -> Result<ImportSummary, ImportError> {
        let header = self.header;
        let log_id = self.builder.log_id();
        let low_water = self.builder.low_water();
        self.builder.finish()?;
        let epochs: Vec<_> = header.epochs.iter().map(super::lines::EpochLine::epoch).collect();
        let times = KeptTimes { floor_ms: header.floor_ms, retention_ms: header.retention_ms, wall_ms: header.wall_ms };
        let mut manifest = Manifest { low_water, times, epochs, ..Manifest::new(log_id, now_ms) };
        let last = self.last.unwrap_or(low_water);
        manifest.begin_epoch(last, now_ms);
        manifest.times.floor_ms = manifest.times.floor_ms.max(manifest.epoch().first.ms);
        manifest.write(self.disk)?;
        self.disk.unlink(IMPORTING)?;
        self.disk.sync_names()?;
        Ok(ImportSummary {
            events: self.events,
            first: self.first,
            last: self.last,
            epoch: (manifest.epoch().name.clone(), manifest.epoch().first),
            left_out: self.left_out,
            problems: self.problems,
            problems_total: self.problems_total,
        })
    }
}
