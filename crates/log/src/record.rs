use std::io::Write as _;
use std::ops::Range;
use std::str;

use tidewire_sse::encode;

use crate::event::DEFAULT_TYPE;
use crate::times::Moment;
use crate::{Data, HubId, NewEvent};

/// The bytes of a record before its names; `docs/format.md` draws them.
pub(crate) const FIXED_BYTES: usize = 68;
/// Chunk length, newline, `id: ` with the longest id, newline.
const FRAME_PREFIX_BYTES_MAX: usize = 8 + 2 + 4 + HubId::TEXT_BYTES_MAX + 1;
/// The end of a chunk.
const CRLF: &[u8] = b"\r\n";

const FLAG_PRIVATE: u16 = 1;
const FLAG_JSON: u16 = 2;
const FLAGS_KNOWN: u16 = FLAG_PRIVATE | FLAG_JSON;

/// The bytes are no whole record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a whole record")]
pub struct BadRecord;

/// An event, encoded but for what its place in the log decides.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    /// Publisher's id, type, topics, attributes, as they lie in the record.
    pub(crate) names: Vec<u8>,
    /// The frame after the `id:` line: the other lines, the empty line, the end of the chunk.
    lines: Vec<u8>,
    pub(crate) flags: u16,
    topic_count: u16,
    publisher_id_bytes: u16,
    pub(crate) type_bytes: u16,
    attributes_bytes: u32,
}

impl Draft {
    pub(crate) fn new(event: &NewEvent) -> Draft {
        let publisher_id = event.publisher_id.as_ref().map_or("", |id| id.as_str());
        let event_type = event.event_type.as_ref().map_or("", |t| t.as_str());
        let mut names = Vec::with_capacity(publisher_id.len() + event_type.len() + 32 * event.topics.len());
        names.extend_from_slice(publisher_id.as_bytes());
        names.extend_from_slice(event_type.as_bytes());
        for topic in &event.topics {
            names.extend_from_slice(&length16(topic.as_str()).to_le_bytes());
            names.extend_from_slice(topic.as_str().as_bytes());
        }
        let before_attributes = names.len();
        for (key, value) in &event.attributes {
            names.extend_from_slice(&length16(key).to_le_bytes());
            names.extend_from_slice(&length16(value).to_le_bytes());
            names.extend_from_slice(key.as_bytes());
            names.extend_from_slice(value.as_bytes());
        }
        let attributes_bytes = length32(names.len() - before_attributes);
        let mut lines = Vec::with_capacity(event.data_lines.len() + event_type.len() + 48);
        if !event_type.is_empty() {
            encode::event_type(&mut lines, event_type).expect("a parsed type has no control characters");
        }
        if let Some(retry_ms) = event.retry_ms {
            encode::retry(&mut lines, retry_ms);
        }
        lines.extend_from_slice(&event.data_lines);
        encode::end(&mut lines);
        lines.extend_from_slice(CRLF);
        let mut flags = 0;
        if event.private {
            flags |= FLAG_PRIVATE;
        }
        if event.json {
            flags |= FLAG_JSON;
        }
        Draft {
            flags,
            topic_count: u16::try_from(event.topics.len()).expect("at most TOPICS_MAX"),
            publisher_id_bytes: length16(publisher_id),
            type_bytes: length16(event_type),
            attributes_bytes,
            names,
            lines,
        }
    }

    /// The publisher's id and the first topic; none without an id.
    pub(crate) fn publication(&self) -> Option<(&str, &str)> {
        let (id, rest) = split(&self.names, self.publisher_id_bytes.into()).ok()?;
        let (_, topics) = split(rest, self.type_bytes.into()).ok()?;
        let topic = Topics { rest: topics }.next()?;
        (!id.is_empty()).then_some((text(id).ok()?, topic))
    }

    /// The event's topics.
    pub(crate) fn topics(&self) -> Topics<'_> {
        let start = usize::from(self.publisher_id_bytes) + usize::from(self.type_bytes);
        Topics { rest: &self.names[start..self.names.len() - self.attributes_bytes as usize] }
    }

    /// What it says besides its frame, without its attributes.
    pub(crate) fn named(&self) -> &[u8] {
        &self.names[..self.names.len() - self.attributes_bytes as usize]
    }

    /// The event's attributes.
    pub(crate) fn attributes(&self) -> Attributes<'_> {
        Attributes { rest: &self.names[self.named().len()..] }
    }

    /// The SSE event after its `id:` line.
    pub(crate) fn content(&self) -> &[u8] {
        &self.lines[..self.lines.len() - CRLF.len()]
    }

    /// The most bytes that the record can take, whatever its id.
    pub(crate) fn bytes_max(&self) -> usize {
        FIXED_BYTES + self.names.len() + FRAME_PREFIX_BYTES_MAX + self.lines.len()
    }

    /// Appends the record to `out`. Returns its head's checksum.
    pub(crate) fn encode(&self, sequence: u64, id: HubId, moment: &Moment, out: &mut Vec<u8>) -> u32 {
        let start = out.len();
        let head_bytes = FIXED_BYTES + self.names.len();
        out.resize(start + FIXED_BYTES, 0);
        out.extend_from_slice(&self.names);
        let (mut ms, mut seq) = (itoa::Buffer::new(), itoa::Buffer::new());
        let id_line = ["id: #", ms.format(id.ms), "-", seq.format(id.seq), "\n"];
        let sse_bytes = id_line.iter().map(|part| part.len()).sum::<usize>() + self.content().len();
        write!(out, "{sse_bytes:x}\r\n").expect("a vector takes everything");
        id_line.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
        out.extend_from_slice(&self.lines);

        let record = &mut out[start..];
        let bytes = record.len();
        let frame_crc = crc32c::crc32c(&record[head_bytes..]);
        let mut put = |at: usize, field: &[u8]| record[at..at + field.len()].copy_from_slice(field);
        put(4, &length32(bytes).to_le_bytes());
        put(8, &length32(head_bytes).to_le_bytes());
        put(12, &frame_crc.to_le_bytes());
        put(16, &sequence.to_le_bytes());
        put(24, &id.ms.to_le_bytes());
        put(32, &id.seq.to_le_bytes());
        put(40, &moment.now_ms.to_le_bytes());
        put(48, &moment.retention_ms.to_le_bytes());
        put(56, &self.flags.to_le_bytes());
        put(58, &self.topic_count.to_le_bytes());
        put(60, &self.publisher_id_bytes.to_le_bytes());
        put(62, &self.type_bytes.to_le_bytes());
        put(64, &self.attributes_bytes.to_le_bytes());
        let head_crc = crc32c::crc32c(&record[4..head_bytes]);
        record[..4].copy_from_slice(&head_crc.to_le_bytes());
        head_crc
    }
}

/// What a record says besides its frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head<'a> {
    pub(crate) sequence: u64,
    pub(crate) id: HubId,
    pub(crate) time_ms: u64,
    /// The retention clock when it was appended.
    pub(crate) retention_ms: u64,
    pub(crate) publisher_id: Option<&'a str>,
    pub(crate) event_type: &'a str,
    pub(crate) head_crc: u32,
    /// The bytes of the whole record.
    pub(crate) bytes: usize,
    frame_crc: u32,
    flags: u16,
    type_bytes: u16,
    /// All names, as they lie in the record.
    names: &'a [u8],
    topics: &'a [u8],
    attributes: &'a [u8],
}

/// Where a record's parts end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The bytes of the head, names included.
    pub(crate) head_bytes: usize,
    /// The bytes of the whole record.
    pub(crate) bytes: usize,
}

impl Extent {
    /// Reads the lengths from the first [`FIXED_BYTES`] of a record. They are not yet checked
    /// against the head's checksum.
    pub(crate) fn read(fixed: &[u8]) -> Result<Extent, BadRecord> {
        let bytes = u32_at(fixed, 4)? as usize;
        let head_bytes = u32_at(fixed, 8)? as usize;
        if head_bytes < FIXED_BYTES || bytes <= head_bytes {
            return Err(BadRecord);
        }
        Ok(Extent { head_bytes, bytes })
    }
}

impl<'a> Head<'a> {
    /// Checks a head, which `bytes` holds exactly, against its checksum, and reads it.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Head<'a>, BadRecord> {
        if crc32c::crc32c(bytes.get(4..).ok_or(BadRecord)?) != u32_at(bytes, 0)? {
            return Err(BadRecord);
        }
        Head::read(bytes)
    }

    /// Checks and reads the head of the record with which `bytes` begins. Gives back the record's frame, which
    /// is not checked, and what follows the record.
    pub(crate) fn parse_first(bytes: &'a [u8]) -> Result<(Head<'a>, &'a [u8], &'a [u8]), BadRecord> {
        let extent = Extent::read(bytes)?;
        let (record, rest) = split(bytes, extent.bytes)?;
        let (head, frame) = split(record, extent.head_bytes)?;
        Ok((Head::parse(head)?, frame, rest))
    }

    /// Reads a head whose checksum is known to be right.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Head<'a>, BadRecord> {
        if u32_at(bytes, 8)? as usize != bytes.len() {
            return Err(BadRecord);
        }
        let flags = u16_at(bytes, 56)?;
        if flags & !FLAGS_KNOWN != 0 {
            return Err(BadRecord);
        }
        let names = bytes.get(FIXED_BYTES..).ok_or(BadRecord)?;
        let (publisher_id, rest) = split(names, u16_at(bytes, 60)?.into())?;
        let (event_type, rest) = split(rest, u16_at(bytes, 62)?.into())?;
        let attributes_bytes = u32_at(bytes, 64)? as usize;
        let topics_bytes = rest.len().checked_sub(attributes_bytes).ok_or(BadRecord)?;
        let (topics, attributes) = split(rest, topics_bytes)?;
        let publisher_id = text(publisher_id)?;
        let event_type = text(event_type)?;
        let head = Head {
            sequence: u64_at(bytes, 16)?,
            id: HubId { ms: u64_at(bytes, 24)?, seq: u64_at(bytes, 32)? },
            time_ms: u64_at(bytes, 40)?,
            retention_ms: u64_at(bytes, 48)?,
            publisher_id: (!publisher_id.is_empty()).then_some(publisher_id),
            event_type: if event_type.is_empty() { DEFAULT_TYPE } else { event_type },
            head_crc: u32_at(bytes, 0)?,
            bytes: u32_at(bytes, 4)? as usize,
            frame_crc: u32_at(bytes, 12)?,
            flags,
            type_bytes: u16_at(bytes, 62)?,
            names,
            topics,
            attributes,
        };
        // What iterates over them later need not fail.
        let mut topics = Topics { rest: head.topics };
        let count = topics.by_ref().count();
        let mut attributes = Attributes { rest: head.attributes };
        attributes.by_ref().for_each(drop);
        if count != usize::from(u16_at(bytes, 58)?) || !topics.rest.is_empty() || !attributes.rest.is_empty() {
            return Err(BadRecord);
        }
        Ok(head)
    }

    /// The record, if `frame` is what its checksum says.
    pub(crate) fn with_frame(self, frame: &'a [u8]) -> Result<RecordView<'a>, BadRecord> {
        if crc32c::crc32c(frame) != self.frame_crc {
            return Err(BadRecord);
        }
        self.with_whole_frame(frame)
    }

    fn with_whole_frame(self, frame: &'a [u8]) -> Result<RecordView<'a>, BadRecord> {
        let line = frame.iter().take(10).position(|&b| b == b'\r').ok_or(BadRecord)?;
        let digits = str::from_utf8(&frame[..line]).map_err(|_| BadRecord)?;
        let sse_bytes = usize::from_str_radix(digits, 16).map_err(|_| BadRecord)?;
        let start = line + CRLF.len();
        if frame.len().checked_sub(start + CRLF.len()) != Some(sse_bytes) || !frame.ends_with(CRLF) {
            return Err(BadRecord);
        }
        let sse = start..start + sse_bytes;
        let id_line = frame[sse.clone()].iter().position(|&b| b == b'\n').ok_or(BadRecord)?;
        let content = start + id_line + 1;
        Ok(RecordView {
            sequence: self.sequence,
            id: self.id,
            publisher_id: self.publisher_id,
            time_ms: self.time_ms,
            event_type: self.event_type,
            frame,
            head: self,
            sse_start: sse.start,
            sse_end: sse.end,
            content,
        })
    }

    pub(crate) fn is_private(&self) -> bool {
        self.flags & FLAG_PRIVATE != 0
    }

    pub(crate) fn topics(&self) -> Topics<'a> {
        Topics { rest: self.topics }
    }
}

/// A record as it lies in the log.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RecordView<'a> {
    /// Its number in the log.
    pub sequence: u64,
    /// The hub's id.
    pub id: HubId,
    /// The publisher's id, if it gave one.
    pub publisher_id: Option<&'a str>,
    /// When it was appended, by the wall clock: milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Its type; `message` if it was given none.
    pub event_type: &'a str,
    /// What goes on the wire of a chunked HTTP/1.1 stream: one chunk with one SSE event.
    pub frame: &'a [u8],
    head: Head<'a>,
    sse_start: usize,
    sse_end: usize,
    content: usize,
}

impl<'a> RecordView<'a> {
    /// Checks and reads the record with which `bytes` begins, and gives back what follows it.
    ///
    /// # Errors
    /// When they do not begin with a whole record.
    pub fn parse_first(bytes: &'a [u8]) -> Result<(RecordView<'a>, &'a [u8]), BadRecord> {
        let (head, frame, rest) = Head::parse_first(bytes)?;
        Ok((head.with_frame(frame)?, rest))
    }

    /// Reads a record, which `bytes` holds exactly, whose checksums are known to be right: it was
    /// encoded in this process.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<RecordView<'a>, BadRecord> {
        let extent = Extent::read(bytes)?;
        let (head, frame) = split(bytes, extent.head_bytes)?;
        Head::read(head)?.with_whole_frame(frame)
    }

    /// Its topics; the first one counts for idempotence.
    #[must_use]
    pub fn topics(&self) -> Topics<'a> {
        self.head.topics()
    }

    /// What is stored with the event and not sent.
    #[must_use]
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes { rest: self.head.attributes }
    }

    /// Whether it is only for those who may read one of its topics.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.head.is_private()
    }

    /// The SSE event: the frame without the chunk around it.
    #[must_use]
    pub fn sse(&self) -> &'a [u8] {
        &self.frame[self.sse_range()]
    }

    /// Where the SSE event lies in the frame.
    #[must_use]
    pub fn sse_range(&self) -> Range<usize> {
        self.sse_start..self.sse_end
    }

    /// What the event says, put together again from its `data:` lines.
    #[must_use]
    pub fn data(&self) -> Data {
        let content = String::from_utf8_lossy(self.content());
        let mut data = String::with_capacity(content.len());
        let values = content.split('\n').filter_map(|line| line.strip_prefix("data:"));
        for (i, value) in values.enumerate() {
            if i > 0 {
                data.push('\n');
            }
            data.push_str(value.strip_prefix(' ').unwrap_or(value));
        }
        if self.head.flags & FLAG_JSON != 0 { Data::Json(data) } else { Data::Text(data) }
    }

    /// The time after which subscribers shall reconnect, in milliseconds, if the event says one.
    #[must_use]
    pub fn retry_ms(&self) -> Option<u64> {
        let lines = self.content().split(|&byte| byte == b'\n').take_while(|line| !line.starts_with(b"data:"));
        let mut values = lines.filter_map(|line| line.strip_prefix(b"retry: "));
        str::from_utf8(values.next()?).ok()?.parse().ok()
    }

    /// Everything in the SSE event after its `id:` line.
    pub(crate) fn content(&self) -> &'a [u8] {
        &self.frame[self.content..self.sse_end]
    }

    pub(crate) fn retention_ms(&self) -> u64 {
        self.head.retention_ms
    }

    pub(crate) fn head(&self) -> &Head<'a> {
        &self.head
    }

    pub(crate) fn head_crc(&self) -> u32 {
        self.head.head_crc
    }

    /// What it says besides its frame, without its attributes.
    pub(crate) fn named(&self) -> &'a [u8] {
        &self.head.names[..self.head.names.len() - self.head.attributes.len()]
    }

    pub(crate) fn flags(&self) -> u16 {
        self.head.flags
    }

    pub(crate) fn type_bytes(&self) -> u16 {
        self.head.type_bytes
    }
}

/// The topics of a record.
#[derive(Clone, Debug)]
pub struct Topics<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Topics<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let (topic, rest) = split(self.rest.get(2..)?, u16_at(self.rest, 0).ok()?.into()).ok()?;
        let topic = text(topic).ok()?;
        self.rest = rest;
        Some(topic)
    }
}

/// The attributes of a record, key and value.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<(&'a str, &'a str)> {
        let (key, rest) = split(self.rest.get(4..)?, u16_at(self.rest, 0).ok()?.into()).ok()?;
        let (value, rest) = split(rest, u16_at(self.rest, 2).ok()?.into()).ok()?;
        let attribute = (text(key).ok()?, text(value).ok()?);
        self.rest = rest;
        Some(attribute)
    }
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Result<u16, BadRecord> {
    Ok(u16::from_le_bytes(array_at(bytes, at)?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Result<u32, BadRecord> {
    Ok(u32::from_le_bytes(array_at(bytes, at)?))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Result<u64, BadRecord> {
    Ok(u64::from_le_bytes(array_at(bytes, at)?))
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], BadRecord> {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or(BadRecord)
}

fn split(bytes: &[u8], at: usize) -> Result<(&[u8], &[u8]), BadRecord> {
    bytes.split_at_checked(at).ok_or(BadRecord)
}

fn text(bytes: &[u8]) -> Result<&str, BadRecord> {
    str::from_utf8(bytes).map_err(|_| BadRecord)
}

fn length16(text: &str) -> u16 {
    u16::try_from(text.len()).expect("topics, types, ids and attributes are shorter than 64 KiB")
}

fn length32(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("an array is refused before it is encoded if it is longer than a segment")
}

#[cfg(test)]
mod tests;
