use std::io;

use super::disk::{Disk, DiskFile};
use super::layout::LogId;
use crate::HubId;
use crate::record::{u16_at, u32_at, u64_at};
use crate::times::KeptTimes;

/// The format of the manifest that this version writes, and the only one it reads.
pub(crate) const MANIFEST_FORMAT: u32 = 2;
/// Epochs that are listed; the oldest ones are forgotten, and ids of theirs are foreign from then on.
pub(crate) const EPOCHS_MAX: usize = 100;
/// The manifest's name in the folder.
pub(crate) const MANIFEST: &str = "manifest";
/// Its name until it is whole.
const MANIFEST_NEW: &str = "manifest.tmp";
const MAGIC: [u8; 8] = *b"TWMANIF\0";
const FIXED_BYTES: usize = 96;
/// Longer manifests are not read.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// What is said about the log as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) log_id: LogId,
    /// The place at or below which segments have been removed; zero if there was never a segment.
    pub(crate) low_water: HubId,
    pub(crate) times: KeptTimes,
    pub(crate) state: State,
    /// In order, never empty; the last one is the current one.
    pub(crate) epochs: Vec<Epoch>,
}

/// A stretch of ids that name their events for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Epoch {
    pub(crate) name: String,
    /// A place below all of its records.
    pub(crate) first: HubId,
    /// A place not below any of its records; `first` while it is the current one.
    pub(crate) last: HubId,
}

/// Whether a process uses the folder, and what it promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It was closed, and everything in it is durable.
    Closed,
    /// What was shown is durable.
    Commit,
    /// What was shown is durable if the system goes on running that was started with this id.
    Os(BootId),
    /// What was shown is in memory.
    Memory,
}

/// The id that the kernel gives each of its starts; zeros where it gives none.
pub(crate) type BootId = [u8; 16];

impl Manifest {
    /// The manifest of a new log, which has no segment yet.
    pub(crate) fn new(log_id: LogId, now_ms: u64) -> Manifest {
        let first = HubId { ms: now_ms, seq: 0 };
        Manifest {
            log_id,
            low_water: HubId::ZERO,
            times: KeptTimes { floor_ms: now_ms, retention_ms: now_ms, wall_ms: now_ms },
            state: State::Closed,
            epochs: vec![Epoch { name: "1".to_owned(), first, last: first }],
        }
    }

    /// The current epoch.
    pub(crate) fn epoch(&self) -> &Epoch {
        self.epochs.last().expect("a manifest has an epoch")
    }

    /// Whether a log that goes on with this manifest may leave another on disk: that one has all of its epochs, and
    /// promises no more than is kept. With `Commit`, all that is shown is durable, whatever the other one says.
    pub(crate) fn may_go_on_as(&self, durable: &Manifest) -> bool {
        self.epochs == durable.epochs && (self.state == State::Commit || self.state == durable.state)
    }

    /// Begins an epoch whose ids lie above every id that was ever given out. The one before ends at `last`.
    pub(crate) fn begin_epoch(&mut self, last: HubId, now_ms: u64) {
        let first = HubId { ms: now_ms.max(self.times.floor_ms.saturating_add(1)), seq: 0 };
        // Ids may follow on this place before the floor is moved again.
        self.times.floor_ms = self.times.floor_ms.max(first.ms);
        let number = self.epochs.last().and_then(|epoch| epoch.name.parse::<u64>().ok()).unwrap_or(0) + 1;
        if let Some(before) = self.epochs.last_mut() {
            before.last = last.max(before.first);
        }
        self.epochs.push(Epoch { name: number.to_string(), first, last: first });
        let surplus = self.epochs.len().saturating_sub(EPOCHS_MAX);
        self.epochs.drain(..surplus);
    }
}

/// Why the manifest could not be read.
#[derive(Debug)]
pub(crate) enum BadManifest {
    Absent,
    Damaged,
    OtherFormat(u32),
    Io(io::Error),
}

impl Manifest {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; FIXED_BYTES];
        for epoch in &self.epochs {
            let name_bytes = u16::try_from(epoch.name.len()).expect("an epoch's name is short");
            bytes.extend_from_slice(&name_bytes.to_le_bytes());
            bytes.extend_from_slice(epoch.name.as_bytes());
            for place in [epoch.first, epoch.last] {
                bytes.extend_from_slice(&place.ms.to_le_bytes());
                bytes.extend_from_slice(&place.seq.to_le_bytes());
            }
        }
        let epochs = u32::try_from(self.epochs.len()).expect("epochs are few");
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &MAGIC);
        put(12, &MANIFEST_FORMAT.to_le_bytes());
        put(16, &self.log_id);
        put(32, &self.low_water.ms.to_le_bytes());
        put(40, &self.low_water.seq.to_le_bytes());
        put(48, &self.times.floor_ms.to_le_bytes());
        put(56, &self.times.retention_ms.to_le_bytes());
        put(64, &self.times.wall_ms.to_le_bytes());
        let (state, boot_id) = match self.state {
            State::Closed => (0_u32, BootId::default()),
            State::Commit => (1, BootId::default()),
            State::Os(boot_id) => (2, boot_id),
            State::Memory => (3, BootId::default()),
        };
        put(72, &state.to_le_bytes());
        put(76, &boot_id);
        put(92, &epochs.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[12..]);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Manifest, BadManifest> {
        if bytes.len() < FIXED_BYTES || bytes[..8] != MAGIC || u32_at(bytes, 8) != Ok(crc32c::crc32c(&bytes[12..])) {
            return Err(BadManifest::Damaged);
        }
        let damaged = |_| BadManifest::Damaged;
        let format = u32_at(bytes, 12).map_err(damaged)?;
        if format != MANIFEST_FORMAT {
            return Err(BadManifest::OtherFormat(format));
        }
        let mut log_id = LogId::default();
        log_id.copy_from_slice(&bytes[16..32]);
        let id_at = |at| -> Result<HubId, BadManifest> {
            Ok(HubId { ms: u64_at(bytes, at).map_err(damaged)?, seq: u64_at(bytes, at + 8).map_err(damaged)? })
        };
        let low_water = id_at(32)?;
        let mut epochs = Vec::new();
        let mut at = FIXED_BYTES;
        let field = |at| u64_at(bytes, at).map_err(damaged);
        let times = KeptTimes { floor_ms: field(48)?, retention_ms: field(56)?, wall_ms: field(64)? };
        let mut boot_id = BootId::default();
        boot_id.copy_from_slice(&bytes[76..92]);
        let state = match u32_at(bytes, 72).map_err(damaged)? {
            0 => State::Closed,
            1 => State::Commit,
            2 => State::Os(boot_id),
            3 => State::Memory,
            _ => return Err(BadManifest::Damaged),
        };
        for _ in 0..u32_at(bytes, 92).map_err(damaged)? {
            let name_end = at + 2 + usize::from(u16_at(bytes, at).map_err(damaged)?);
            let name = bytes.get(at + 2..name_end).ok_or(BadManifest::Damaged)?;
            let name = String::from_utf8(name.to_vec()).map_err(|_| BadManifest::Damaged)?;
            epochs.push(Epoch { name, first: id_at(name_end)?, last: id_at(name_end + 16)? });
            at = name_end + 32;
        }
        if at != bytes.len() || epochs.is_empty() {
            return Err(BadManifest::Damaged);
        }
        Ok(Manifest { log_id, low_water, times, state, epochs })
    }

    pub(crate) fn read<D: Disk>(disk: &D) -> Result<Manifest, BadManifest> {
        let file = match disk.open_to_read(MANIFEST) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(BadManifest::Absent),
            opened => opened.map_err(BadManifest::Io)?,
        };
        let length = file.length().map_err(BadManifest::Io)?;
        if length > MANIFEST_BYTES_MAX {
            return Err(BadManifest::Damaged);
        }
        let mut bytes = vec![0; usize::try_from(length).map_err(|_| BadManifest::Damaged)?];
        file.read_at(&mut bytes, 0).map_err(BadManifest::Io)?;
        Manifest::decode(&bytes)
    }

    /// Puts this manifest in place of the one that is there, durably. After an error, one of the
    /// two is there.
    pub(crate) fn write<D: Disk>(&self, disk: &D) -> io::Result<()> {
        let file = disk.create(MANIFEST_NEW)?;
        file.write_at(&self.encode(), 0)?;
        file.sync()?;
        disk.rename(MANIFEST_NEW, MANIFEST)?;
        disk.sync_names()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            log_id: *b"0123456789abcdef",
            low_water: HubId { ms: 9, seq: 8 },
            times: KeptTimes { floor_ms: 70_000, retention_ms: 9_000, wall_ms: 9_001 },
            state: State::Os(*b"a kernel's start"),
            epochs: vec![
                Epoch { name: "1".into(), first: HubId { ms: 7, seq: 0 }, last: HubId { ms: 7, seq: 5 } },
                Epoch { name: "2".into(), first: HubId { ms: 8, seq: 6 }, last: HubId { ms: 8, seq: 6 } },
            ],
        }
    }

    #[test]
    fn an_epoch_begins_above_the_floor_and_the_oldest_are_forgotten() {
        let mut manifest = manifest();
        manifest.begin_epoch(HubId { ms: 9, seq: 9 }, 5);
        assert_eq!(manifest.epochs[1].last, HubId { ms: 9, seq: 9 });
        assert_eq!(*manifest.epoch(), Epoch { name: "3".into(), first: id(70_001), last: id(70_001) });
        manifest.begin_epoch(HubId::ZERO, 90_000);
        assert_eq!((manifest.epochs[2].last, manifest.epoch().first), (id(70_001), id(90_000)));
        assert_eq!(manifest.times.floor_ms, 90_000, "or the next epoch might begin with ids of this one");
        for _ in 0..EPOCHS_MAX {
            manifest.begin_epoch(HubId::ZERO, 0);
        }
        assert_eq!((manifest.epochs.len(), &*manifest.epoch().name), (EPOCHS_MAX, "104"));
    }

    fn id(ms: u64) -> HubId {
        HubId { ms, seq: 0 }
    }

    #[test]
    fn every_state_comes_back() {
        for state in [State::Closed, State::Commit, State::Os([7; 16]), State::Memory] {
            let manifest = Manifest { state, ..manifest() };
            assert_eq!(Manifest::decode(&manifest.encode()).expect("whole"), manifest);
        }
    }

    #[test]
    fn a_manifest_comes_back() {
        assert_eq!(Manifest::decode(&manifest().encode()).expect("whole"), manifest());
    }

    #[test]
    fn a_flipped_bit_or_a_missing_byte_is_damage() {
        let bytes = manifest().encode();
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(Manifest::decode(&bytes), Err(BadManifest::Damaged)), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(matches!(Manifest::decode(&bytes[..length]), Err(BadManifest::Damaged)), "{length} bytes");
        }
    }

    #[test]
    fn another_format_says_so() {
        let mut bytes = manifest().encode();
        bytes[12] = 9;
        let crc = crc32c::crc32c(&bytes[12..]);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        assert!(matches!(Manifest::decode(&bytes), Err(BadManifest::OtherFormat(9))));
    }
}
