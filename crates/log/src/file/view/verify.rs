use std::io;

use serde::Serialize;

use super::super::disk::Disk;
use super::walk::Visitor;
use super::{LogView, log_id_text};
use crate::{HubId, RecordView};

/// So many damages are told; more are counted.
pub const DAMAGES_LISTED_MAX: usize = 1000;

/// What reading a whole log has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Verification {
    /// The log's id, in hexadecimal.
    pub log_id: String,
    /// Events that are whole.
    pub events: u64,
    /// The groups in which they lie.
    pub groups: u64,
    /// Segments that were to be read.
    pub segments: u64,
    /// The first event that is whole.
    pub first: Option<HubId>,
    /// The last one.
    pub last: Option<HubId>,
    /// What is damaged, in log order; at most [`DAMAGES_LISTED_MAX`] of them.
    pub damages: Vec<Finding>,
    /// How many there are.
    pub damages_total: u64,
    /// What a crash left half written behind the end, in bytes: no damage, and the next start cuts it.
    pub torn_bytes: u64,
    /// Where reading went on after events had been removed meanwhile, if they had.
    pub removed_through: Option<HubId>,
}

impl Verification {
    /// Whether everything is as it should be.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.damages_total == 0
    }
}

/// A place of a log's files that does not hold what was written, or breaks a rule of the format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// The file.
    pub file: String,
    /// The byte at which it begins.
    pub position: u64,
    /// What is wrong.
    pub what: &'static str,
    /// The last whole event before it, or the place at which reading began.
    pub after: HubId,
    /// The next whole event behind it; none if there is none.
    pub before: Option<HubId>,
    /// How many events are lost between the two; none if that is not known.
    pub lost: Option<u64>,
}

/// Gathers damages, and the events between which they lie.
#[derive(Debug)]
pub(crate) struct Damages {
    pub(crate) listed: Vec<Finding>,
    pub(crate) total: u64,
    /// How many of those listed have an end.
    closed: usize,
    last: HubId,
    last_sequence: Option<u64>,
}

impl Damages {
    /// None yet, after a place.
    pub(crate) fn after(place: HubId) -> Damages {
        Damages { listed: Vec::new(), total: 0, closed: 0, last: place, last_sequence: None }
    }

    pub(crate) fn record(&mut self, record: &RecordView<'_>) {
        let lost = self.last_sequence.map(|last| record.sequence.saturating_sub(last + 1));
        for damage in &mut self.listed[self.closed..] {
            (damage.before, damage.lost) = (Some(record.id), lost);
        }
        self.closed = self.listed.len();
        (self.last, self.last_sequence) = (record.id, Some(record.sequence));
    }

    pub(crate) fn damage(&mut self, file: &str, position: u64, what: &'static str) {
        self.total += 1;
        if self.listed.len() < DAMAGES_LISTED_MAX {
            let (after, before, lost) = (self.last, None, None);
            self.listed.push(Finding { file: file.to_owned(), position, what, after, before, lost });
        }
    }

    /// What lies between was removed and is not lost.
    pub(crate) fn go_on_after(&mut self, place: HubId) {
        self.closed = self.listed.len();
        (self.last, self.last_sequence) = (place, None);
    }
}

impl<D: Disk> LogView<D> {
    /// Reads everything, checks every checksum and every rule of the format, and tells `progress` how many
    /// of [`LogView::bytes`] more were read.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn verify(&self, progress: &mut dyn FnMut(u64)) -> io::Result<Verification> {
        let found = Verification {
            log_id: log_id_text(&self.manifest.log_id),
            events: 0,
            groups: 0,
            segments: self.segments.len() as u64,
            first: None,
            last: None,
            damages: Vec::new(),
            damages_total: 0,
            torn_bytes: 0,
            removed_through: None,
        };
        let mut verifier = Verifier { found, damages: Damages::after(self.manifest.low_water), progress };
        self.check_epochs(&mut verifier.damages);
        self.walk(HubId::ZERO, &mut verifier)?;
        let Verifier { found, damages, .. } = verifier;
        Ok(Verification { damages: damages.listed, damages_total: damages.total, ..found })
    }

    /// Epochs follow one another, below the floor.
    fn check_epochs(&self, damages: &mut Damages) {
        let epochs = &self.manifest.epochs;
        let is_in_order = epochs.windows(2).all(|pair| pair[0].first <= pair[0].last && pair[0].last < pair[1].first);
        if !is_in_order {
            damages.damage("manifest", 0, "its epochs do not follow one another");
        }
        if self.manifest.epoch().first.ms > self.manifest.times.floor_ms {
            damages.damage("manifest", 0, "its last epoch begins above the floor");
        }
    }
}

struct Verifier<'a> {
    found: Verification,
    damages: Damages,
    progress: &'a mut dyn FnMut(u64),
}

impl Visitor for Verifier<'_> {
    type Error = io::Error;

    fn record(&mut self, record: &RecordView<'_>) -> io::Result<()> {
        self.found.events += 1;
        self.found.first.get_or_insert(record.id);
        self.found.last = Some(record.id);
        self.damages.record(record);
        Ok(())
    }

    fn damage(&mut self, file: &str, position: u64, what: &'static str) {
        self.damages.damage(file, position, what);
    }

    fn removed(&mut self, low_water: HubId) {
        self.found.removed_through = Some(low_water);
        self.damages.go_on_after(low_water);
    }

    fn progress(&mut self, bytes: u64) {
        (self.progress)(bytes);
    }

    fn group(&mut self, _: u64) {
        self.found.groups += 1;
    }

    fn torn(&mut self, bytes: u64) {
        self.found.torn_bytes = bytes;
    }
}
