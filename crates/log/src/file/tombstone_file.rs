use std::io;
use std::sync::Arc;

use super::disk::{Disk, DiskFile, lacks_room};
use super::layout::LogId;
use super::open_error::OpenError;
use super::recovery::io_error;
use super::segments::rewrite;
use crate::HubId;
use crate::record::{u16_at, u32_at, u64_at};
use crate::tombstones::{Bytes, TOMBSTONE_TOPICS_BYTES_MAX, TOMBSTONES_MAX, Tombstone, Tombstones};

/// The file's name in the folder.
pub(crate) const TOMBSTONES: &str = "tombstones";
/// Its name until it is whole.
const TOMBSTONES_NEW: &str = "tombstones.tmp";
/// The format that this version writes, and the only one it reads.
pub(crate) const TOMBSTONES_FORMAT: u32 = 1;
const MAGIC: [u8; 8] = *b"TWTOMB\0\0";
const HEADER_BYTES: usize = 32;
const BATCH_MAGIC: [u8; 4] = *b"TWTB";
/// The bytes of a batch before its entries.
const BATCH_HEADER_BYTES: usize = 20;
/// The bytes of an entry before its topic.
const ENTRY_BYTES: usize = 20;
const FLAG_TOPIC: u16 = 1;
const FLAG_OVERWRITTEN: u16 = 2;
/// What a file may have twice over before it is written anew, in bytes.
const SPARE_BYTES: u64 = 64 * 1024;
/// A longer file is not one of ours: twice what there may be, with the note that it was overwritten.
const FILE_BYTES_MAX: u64 =
    4 * (TOMBSTONES_MAX * (ENTRY_BYTES + BATCH_HEADER_BYTES) + TOMBSTONE_TOPICS_BYTES_MAX) as u64 + SPARE_BYTES;

/// The file of the tombstones: batches, each of which was durable before the next one was written.
pub(crate) struct TombstoneFile<D: Disk> {
    disk: Arc<D>,
    log_id: LogId,
    /// None if there is no file yet, or it is not known what a failed write has left of it.
    open: Option<Open<D::File>>,
}

struct Open<F> {
    file: F,
    /// Where the next batch goes.
    end: u64,
}

/// What the folder holds.
pub(crate) struct Found {
    pub(crate) tombstones: Tombstones,
    has_file: bool,
}

/// Reads the tombstones of a log. A batch that a crash has left half written is passed over.
///
/// # Errors
/// When the file is another log's, or a batch is not whole that was durable.
pub(crate) fn read<D: Disk>(disk: &D, log_id: &LogId, low_water: HubId) -> Result<Found, OpenError> {
    let mut tombstones = Tombstones::default();
    tombstones.drop_below(low_water);
    let failed = io_error("read the tombstones");
    let damaged =
        |position: usize, what| OpenError::Damaged { file: TOMBSTONES.to_owned(), position: position as u64, what };
    let file = match disk.open_to_read(TOMBSTONES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found { tombstones, has_file: false }),
        opened => opened.map_err(&failed)?,
    };
    let length = file.length().map_err(&failed)?;
    if length > FILE_BYTES_MAX {
        return Err(damaged(0, "it is too long"));
    }
    let mut bytes = vec![0; usize::try_from(length).map_err(|_| damaged(0, "it is too long"))?];
    file.read_at(&mut bytes, 0).map_err(&failed)?;
    if bytes.len() < HEADER_BYTES || bytes[..8] != MAGIC || u32_at(&bytes, 8) != Ok(crc32c::crc32c(&bytes[12..32])) {
        return Err(damaged(0, "its header is wrong"));
    }
    match u32_at(&bytes, 12) {
        Ok(TOMBSTONES_FORMAT) => {}
        found => {
            let found = found.unwrap_or_default();
            return Err(OpenError::OtherFormat { file: TOMBSTONES.to_owned(), found, expected: TOMBSTONES_FORMAT });
        }
    }
    if bytes[16..32] != *log_id {
        return Err(OpenError::OtherLog { file: TOMBSTONES.to_owned() });
    }
    let mut at = HEADER_BYTES;
    while let Some((entries, end)) = batch(&bytes, at, log_id) {
        put_all(entries, &mut tombstones).ok_or_else(|| damaged(at, "an entry makes no sense"))?;
        at = end;
    }
    // One that is whole was written after what is before it had become durable.
    let behind = bytes[at..].windows(4).enumerate().filter(|(_, magic)| **magic == BATCH_MAGIC);
    if behind.map(|(offset, _)| at + offset).any(|start| start > at && batch(&bytes, start, log_id).is_some()) {
        return Err(damaged(at, "a batch is not whole, and one behind it is"));
    }
    Ok(Found { tombstones, has_file: true })
}

/// The entries of the batch at `at`, and where it ends; none if there is no whole one.
fn batch<'b>(bytes: &'b [u8], at: usize, log_id: &LogId) -> Option<(&'b [u8], usize)> {
    let rest = &bytes[at..];
    let length = u32_at(rest, 8).ok()? as usize;
    let batch = rest.get(..length).filter(|batch| batch.len() >= BATCH_HEADER_BYTES && batch[..4] == BATCH_MAGIC)?;
    let is_whole = u32_at(batch, 4).ok()? == batch_crc(log_id, batch) && u64_at(batch, 12).ok()? == at as u64;
    is_whole.then_some((&batch[BATCH_HEADER_BYTES..], at + length))
}

fn batch_crc(log_id: &LogId, batch: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(log_id), &batch[8..])
}

fn put_all(mut entries: &[u8], tombstones: &mut Tombstones) -> Option<()> {
    while !entries.is_empty() {
        let flags = u16_at(entries, 0).ok()?;
        let topic_bytes = usize::from(u16_at(entries, 2).ok()?);
        let place = HubId { ms: u64_at(entries, 4).ok()?, seq: u64_at(entries, 12).ok()? };
        let topic = entries.get(ENTRY_BYTES..ENTRY_BYTES + topic_bytes)?;
        let tombstone = match flags & FLAG_TOPIC {
            0 => Tombstone::Event(place),
            _ => Tombstone::Topic { topic: str::from_utf8(topic).ok()?.into(), through: place },
        };
        let bytes = if flags & FLAG_OVERWRITTEN == 0 { Bytes::Pending } else { Bytes::Overwritten };
        tombstones.put(&tombstone, bytes);
        entries = &entries[ENTRY_BYTES + topic_bytes..];
    }
    Some(())
}

fn encode_header(log_id: &LogId) -> Vec<u8> {
    let mut header = vec![0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[12..16].copy_from_slice(&TOMBSTONES_FORMAT.to_le_bytes());
    header[16..32].copy_from_slice(log_id);
    let crc = crc32c::crc32c(&header[12..]);
    header[8..12].copy_from_slice(&crc.to_le_bytes());
    header
}

fn encode_batch(entries: &[(Tombstone, Bytes)], at: u64, log_id: &LogId) -> Vec<u8> {
    let mut batch = vec![0; BATCH_HEADER_BYTES];
    for (tombstone, bytes) in entries {
        let topic = match tombstone {
            Tombstone::Event(_) => None,
            Tombstone::Topic { topic, .. } => Some(topic),
        };
        let overwritten = if *bytes == Bytes::Overwritten { FLAG_OVERWRITTEN } else { 0 };
        let flags = overwritten | topic.map_or(0, |_| FLAG_TOPIC);
        let topic = topic.map_or(&[][..], |topic| topic.as_bytes());
        let topic_bytes = u16::try_from(topic.len()).expect("topics are shorter than 64 KiB");
        let place = tombstone.through();
        batch.extend_from_slice(&flags.to_le_bytes());
        batch.extend_from_slice(&topic_bytes.to_le_bytes());
        batch.extend_from_slice(&place.ms.to_le_bytes());
        batch.extend_from_slice(&place.seq.to_le_bytes());
        batch.extend_from_slice(topic);
    }
    let length = u32::try_from(batch.len()).expect("tombstones and their topics have a limit");
    batch[..4].copy_from_slice(&BATCH_MAGIC);
    batch[8..12].copy_from_slice(&length.to_le_bytes());
    batch[12..20].copy_from_slice(&at.to_le_bytes());
    let crc = batch_crc(log_id, &batch);
    batch[4..8].copy_from_slice(&crc.to_le_bytes());
    batch
}

impl<D: Disk> TombstoneFile<D> {
    /// Goes on with what was read, which is durable from here on. A file that is there is written anew: its last
    /// batch may be in the page cache alone, or be followed by what a crash has left of another.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn go_on(disk: Arc<D>, log_id: LogId, found: &Found) -> io::Result<TombstoneFile<D>> {
        let mut file = TombstoneFile { disk, log_id, open: None };
        if found.has_file {
            match file.write_anew(&[], &found.tombstones) {
                // What is written once more in place needs none, and what a crash has left behind it stays.
                Err(error) if lacks_room(&error) => {
                    let old = file.disk.open(TOMBSTONES)?;
                    rewrite(&old, 0, old.length()?)?;
                    old.sync()?;
                }
                written => written?,
            }
        }
        Ok(file)
    }

    /// Makes more entries durable, beside those that are kept.
    ///
    /// # Errors
    /// When the disk fails. Then they may be there after a restart all the same.
    pub(crate) fn add(&mut self, entries: &[(Tombstone, Bytes)], kept: &Tombstones) -> io::Result<()> {
        let kept_bytes = (kept.len() * (ENTRY_BYTES + BATCH_HEADER_BYTES)) as u64;
        // What is not known to be whole is written anew, and so is what is mostly out of date.
        match self.open.take().filter(|open| open.end <= 2 * kept_bytes + SPARE_BYTES + kept.topics_bytes() as u64 * 2)
        {
            Some(mut open) => {
                let batch = encode_batch(entries, open.end, &self.log_id);
                open.file.write_at(&batch, open.end)?;
                open.file.sync()?;
                open.end += batch.len() as u64;
                self.open = Some(open);
                Ok(())
            }
            None => self.write_anew(entries, kept),
        }
    }

    fn write_anew(&mut self, entries: &[(Tombstone, Bytes)], kept: &Tombstones) -> io::Result<()> {
        let all: Vec<(Tombstone, Bytes)> = kept.iter().chain(entries.iter().cloned()).collect();
        let mut bytes = encode_header(&self.log_id);
        bytes.extend_from_slice(&encode_batch(&all, HEADER_BYTES as u64, &self.log_id));
        let file = self.disk.create(TOMBSTONES_NEW)?;
        file.write_at(&bytes, 0)?;
        file.sync()?;
        self.disk.rename(TOMBSTONES_NEW, TOMBSTONES)?;
        self.disk.sync_names()?;
        self.open = Some(Open { file, end: bytes.len() as u64 });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Outage, SimDisk};
    use super::*;

    const LOG: LogId = *b"0123456789abcdef";

    fn id(seq: u64) -> HubId {
        HubId { ms: 1, seq }
    }

    fn event(seq: u64) -> (Tombstone, Bytes) {
        (Tombstone::Event(id(seq)), Bytes::Pending)
    }

    fn topic(topic: &str, through: u64) -> (Tombstone, Bytes) {
        (Tombstone::Topic { topic: topic.into(), through: id(through) }, Bytes::Pending)
    }

    fn open(disk: &SimDisk) -> (TombstoneFile<SimDisk>, Tombstones) {
        let found = read(disk, &LOG, HubId::ZERO).expect("read");
        let file = TombstoneFile::go_on(Arc::new(disk.clone()), LOG, &found).expect("opened");
        (file, found.tombstones)
    }

    fn add(file: &mut TombstoneFile<SimDisk>, kept: &mut Tombstones, entries: &[(Tombstone, Bytes)]) {
        file.add(entries, kept).expect("written");
        entries.iter().for_each(|(tombstone, bytes)| kept.put(tombstone, *bytes));
    }

    fn listed(tombstones: &Tombstones) -> Vec<(Tombstone, Bytes)> {
        let mut listed: Vec<_> = tombstones.iter().collect();
        listed.sort_by_key(|(tombstone, _)| (tombstone.through(), format!("{tombstone:?}")));
        listed
    }

    #[test]
    fn tombstones_come_back_and_the_file_is_written_anew_when_most_of_it_is_out_of_date() {
        let disk = SimDisk::default();
        let (mut file, mut kept) = open(&disk);
        assert!(!disk.names().contains(&TOMBSTONES.to_owned()), "none until something is erased");
        add(&mut file, &mut kept, &[event(3), topic("a/ä", 9)]);
        add(&mut file, &mut kept, &[event(4)]);
        add(&mut file, &mut kept, &[(Tombstone::Event(id(3)), Bytes::Overwritten)]);
        let (_, found) = open(&disk.restart(Outage::PowerCut(1)));
        assert_eq!(listed(&found), [(Tombstone::Event(id(3)), Bytes::Overwritten), event(4), topic("a/ä", 9)]);

        let disk = SimDisk::default();
        let (mut file, mut kept) = open(&disk);
        for n in 0..20_000 {
            add(&mut file, &mut kept, &[topic("a", n)]);
        }
        assert!(disk.contents(TOMBSTONES).expect("there").len() < 80_000);
        assert_eq!(listed(&open(&disk.restart(Outage::Kill)).1), [topic("a", 19_999)]);
        assert_eq!(read(&disk.restart(Outage::Kill), &LOG, id(20_000)).expect("read").tombstones.len(), 0);
    }

    #[test]
    fn a_batch_torn_at_any_byte_is_passed_over_and_the_next_one_is_kept() {
        let disk = SimDisk::default();
        let (mut file, mut kept) = open(&disk);
        add(&mut file, &mut kept, &[event(1)]);
        let before = disk.contents(TOMBSTONES).expect("there").len();
        add(&mut file, &mut kept, &[event(2), topic("t", 3)]);
        let whole = disk.contents(TOMBSTONES).expect("there");
        for end in before..whole.len() {
            for fill in [None, Some(0), Some(0xa5)] {
                let mut bytes = whole[..end].to_vec();
                bytes.extend(fill.into_iter().flat_map(|byte| vec![byte; whole.len() - end]));
                if bytes == whole {
                    continue;
                }
                let disk = SimDisk::default();
                disk.put(TOMBSTONES, bytes);
                let (mut file, mut kept) = open(&disk);
                assert_eq!(listed(&kept), [event(1)], "cut at {end}");
                add(&mut file, &mut kept, &[event(5)]);
                assert_eq!(listed(&open(&disk.restart(Outage::Kill)).1), [event(1), event(5)], "cut at {end}");
            }
        }
    }

    #[test]
    fn a_flipped_bit_before_the_last_batch_is_damage() {
        let disk = SimDisk::default();
        let (mut file, mut kept) = open(&disk);
        add(&mut file, &mut kept, &[event(1), topic("t", 2)]);
        let first = disk.contents(TOMBSTONES).expect("there").len();
        add(&mut file, &mut kept, &[event(3)]);
        let whole = disk.contents(TOMBSTONES).expect("there");
        for at in 0..first {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            disk.put(TOMBSTONES, bytes);
            let refused = read(&disk, &LOG, HubId::ZERO).map(|_| ()).expect_err("refused");
            assert!(matches!(refused, OpenError::Damaged { .. }), "byte {at}: {refused}");
        }
        disk.put(TOMBSTONES, whole.clone());
        let other = read(&disk, b"another log's id", HubId::ZERO).map(|_| ()).expect_err("refused");
        assert!(matches!(other, OpenError::OtherLog { .. }), "{other}");
        let mut newer = whole;
        newer[12] = 9;
        let crc = crc32c::crc32c(&newer[12..32]);
        newer[8..12].copy_from_slice(&crc.to_le_bytes());
        disk.put(TOMBSTONES, newer);
        let newer = read(&disk, &LOG, HubId::ZERO).map(|_| ()).expect_err("refused");
        assert!(matches!(newer, OpenError::OtherFormat { found: 9, .. }), "{newer}");
    }

    /// Whatever operation the machine stops in, what was added is there afterwards, and what was being added
    /// is there whole or not at all.
    #[test]
    fn a_power_cut_during_any_operation_loses_nothing_that_was_added() {
        for stop_at in 1..20 {
            for seed in 0..20 {
                let disk = SimDisk::default();
                let (mut file, mut kept) = open(&disk);
                disk.stop_at(stop_at);
                let batches = [vec![event(1), topic("t", 2)], vec![event(3)], vec![event(4), event(5)]];
                let mut added = 0;
                for batch in &batches {
                    if file.add(batch, &kept).is_ok() {
                        batch.iter().for_each(|(tombstone, bytes)| kept.put(tombstone, *bytes));
                        added += 1;
                    }
                }
                let disk = disk.restart(Outage::PowerCut(seed));
                let (mut file, mut found) = open(&disk);
                let lengths: Vec<usize> = (0..=3).map(|n| batches[..n].concat().len()).collect();
                assert!(lengths[added..].contains(&found.len()), "{} at {stop_at}, seed {seed}", found.len());
                add(&mut file, &mut found, &[event(9)]);
                assert_eq!(open(&disk.restart(Outage::PowerCut(seed))).1.len(), found.len());
            }
        }
    }
}
