use super::layout::{GROUP_HEADER, GroupHeader, LogId};
use super::segments::End;
use crate::record::{Draft, Extent};
use crate::times::Moment;
use crate::{HubId, RecordView};

/// How much room is kept from one group to the next.
const KEPT_BYTES: usize = 4 << 20;

/// The records of one or more arrays, as they are written together.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// The header, empty until it is sealed, and the records.
    bytes: Vec<u8>,
    count: u32,
    records_crc: u32,
    first_sequence: u64,
    last_sequence: u64,
    last_id: HubId,
    first_ms: u64,
    retention_ms: u64,
    /// Once it is written: the place before it, where it begins, and how far it fills its segment.
    place: Option<(HubId, u64, End)>,
}

impl Group {
    pub(crate) fn push(&mut self, draft: &Draft, sequence: u64, id: HubId, moment: &Moment) {
        if self.is_empty() {
            self.bytes.resize(GROUP_HEADER, 0);
            self.first_sequence = sequence;
            self.first_ms = moment.retention_ms;
        }
        let head_crc = draft.encode(sequence, id, moment, &mut self.bytes);
        self.records_crc = crc32c::crc32c_append(self.records_crc, &head_crc.to_le_bytes());
        self.count += 1;
        self.last_sequence = sequence;
        self.last_id = id;
        self.retention_ms = moment.retention_ms;
    }

    /// Forgets the records, and keeps some of the room.
    pub(crate) fn clear(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        bytes.shrink_to(KEPT_BYTES);
        *self = Group { bytes, ..Group::default() };
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many records it has.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn first_sequence(&self) -> u64 {
        self.first_sequence
    }

    pub(crate) fn last_sequence(&self) -> u64 {
        self.last_sequence
    }

    pub(crate) fn last_id(&self) -> HubId {
        self.last_id
    }

    /// The retention clock of its first record.
    pub(crate) fn first_ms(&self) -> u64 {
        self.first_ms
    }

    /// Notes where it was written.
    pub(crate) fn set_place(&mut self, after: HubId, at: u64, end: End) {
        self.place = Some((after, at, end));
    }

    /// The place before it, where it begins in its segment, and how far it fills that.
    pub(crate) fn place(&self) -> (HubId, u64, End) {
        self.place.expect("it was written")
    }

    /// The retention clock of its last record.
    pub(crate) fn retention_ms(&self) -> u64 {
        self.retention_ms
    }

    /// What its records take, in bytes.
    pub(crate) fn body_bytes(&self) -> usize {
        self.bytes.len().saturating_sub(GROUP_HEADER)
    }

    /// The records as they are written.
    pub(crate) fn body(&self) -> &[u8] {
        self.bytes.get(GROUP_HEADER..).unwrap_or_default()
    }

    /// Writes the header. Returns the bytes to write, and the header's checksum.
    pub(crate) fn seal(&mut self, log_id: &LogId, predecessor: u32, durable_sequence: u64) -> (&[u8], u32) {
        let body_bytes = self.body_bytes();
        let header = GroupHeader {
            count: self.count,
            body_bytes: u32::try_from(body_bytes).expect("a segment is shorter than 4 GiB"),
            records_crc: self.records_crc,
            predecessor,
            first_sequence: self.first_sequence,
            durable_sequence,
        };
        let (header, crc) = header.encode(log_id);
        self.bytes[..GROUP_HEADER].copy_from_slice(&header);
        (&self.bytes, crc)
    }

    /// The records.
    pub(crate) fn records(&self) -> Vec<RecordView<'_>> {
        let mut records = Vec::with_capacity(self.count as usize);
        let mut rest = self.bytes.get(GROUP_HEADER..).unwrap_or_default();
        while !rest.is_empty() {
            let extent = Extent::read(rest).expect("encoded by push");
            let (record, behind) = rest.split_at(extent.bytes);
            records.push(RecordView::read(record).expect("encoded by push"));
            rest = behind;
        }
        records
    }
}
