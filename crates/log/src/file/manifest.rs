use std::io;

use super::disk::{Disk, DiskFile};
use super::layout::LogId;
use crate::HubId;
use crate::record::{u16_at, u32_at, u64_at};

/// The format of the manifest that this version writes, and the only one it reads.
pub(crate) const MANIFEST_FORMAT: u32 = 1;
/// The manifest's name in the folder.
pub(crate) const MANIFEST: &str = "manifest";
/// Its name until it is whole.
const MANIFEST_NEW: &str = "manifest.tmp";
const MAGIC: [u8; 8] = *b"TWMANIF\0";
const FIXED_BYTES: usize = 52;
/// Longer manifests are not read.
const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// What is said about the log as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) log_id: LogId,
    /// The place at or below which segments have been removed.
    pub(crate) low_water: HubId,
    pub(crate) epochs: Vec<Epoch>,
}

/// A stretch of ids that name their events for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Epoch {
    pub(crate) name: String,
    /// A place below all of its records.
    pub(crate) first: HubId,
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
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; FIXED_BYTES];
        for epoch in &self.epochs {
            let name_bytes = u16::try_from(epoch.name.len()).expect("an epoch's name is short");
            bytes.extend_from_slice(&name_bytes.to_le_bytes());
            bytes.extend_from_slice(epoch.name.as_bytes());
            bytes.extend_from_slice(&epoch.first.ms.to_le_bytes());
            bytes.extend_from_slice(&epoch.first.seq.to_le_bytes());
        }
        let epochs = u32::try_from(self.epochs.len()).expect("epochs are few");
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &MAGIC);
        put(12, &MANIFEST_FORMAT.to_le_bytes());
        put(16, &self.log_id);
        put(32, &self.low_water.ms.to_le_bytes());
        put(40, &self.low_water.seq.to_le_bytes());
        put(48, &epochs.to_le_bytes());
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
        for _ in 0..u32_at(bytes, 48).map_err(damaged)? {
            let name_end = at + 2 + usize::from(u16_at(bytes, at).map_err(damaged)?);
            let name = bytes.get(at + 2..name_end).ok_or(BadManifest::Damaged)?;
            let name = String::from_utf8(name.to_vec()).map_err(|_| BadManifest::Damaged)?;
            epochs.push(Epoch { name, first: id_at(name_end)? });
            at = name_end + 16;
        }
        if at != bytes.len() || epochs.is_empty() {
            return Err(BadManifest::Damaged);
        }
        Ok(Manifest { log_id, low_water, epochs })
    }

    pub(crate) fn read<D: Disk>(disk: &D) -> Result<Manifest, BadManifest> {
        let file = match disk.open(MANIFEST) {
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
            epochs: vec![
                Epoch { name: "1".into(), first: HubId { ms: 7, seq: 0 } },
                Epoch { name: "after import".into(), first: HubId { ms: 8, seq: 6 } },
            ],
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
        bytes[12] = 2;
        let crc = crc32c::crc32c(&bytes[12..]);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        assert!(matches!(Manifest::decode(&bytes), Err(BadManifest::OtherFormat(2))));
    }
}
