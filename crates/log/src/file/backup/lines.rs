use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidewire_topic::Topic;

use super::super::manifest::Epoch;
use crate::record::Draft;
use crate::times::Moment;
use crate::{Data, EventType, HubId, NewEvent, PublisherId, RecordView};

/// The format of the lines that this version writes, and the only one it reads.
pub(crate) const EXPORT_FORMAT: u32 = 1;

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HeaderLine {
    /// The format.
    pub(crate) tidewire_export: u32,
    pub(crate) log_id: String,
    /// When it was made: milliseconds since the Unix epoch.
    pub(crate) made_ms: u64,
    /// The events after this place; absent: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<HubId>,
    /// The events on these topics; empty: all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) topics: Vec<String>,
    pub(crate) low_water: HubId,
    pub(crate) floor_ms: u64,
    pub(crate) retention_ms: u64,
    pub(crate) wall_ms: u64,
    pub(crate) epochs: Vec<EpochLine>,
}

/// An epoch in the first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EpochLine {
    pub(crate) name: String,
    pub(crate) first: HubId,
    pub(crate) last: HubId,
}

impl EpochLine {
    pub(crate) fn of(epoch: &Epoch) -> EpochLine {
        EpochLine { name: epoch.name.clone(), first: epoch.first, last: epoch.last }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        Epoch { name: self.name.clone(), first: self.first, last: self.last }
    }
}

/// The line of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventLine {
    pub(crate) id: HubId,
    pub(crate) time_ms: u64,
    pub(crate) retention_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) publisher_id: Option<String>,
    pub(crate) topics: Vec<String>,
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub(crate) event_type: Option<String>,
    /// The data, if it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<String>,
    /// The data, if it is JSON: as text, because other spaces would be other bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) json: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retry_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) private: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) attributes: Vec<(String, String)>,
    /// The checksum in the head of the record that is to come out of it, with the sequence 0.
    pub(crate) record_crc32c: u32,
}

impl EventLine {
    fn of(record: &RecordView<'_>) -> EventLine {
        let (data, json) = match record.data() {
            Data::Text(text) => (Some(text), None),
            Data::Json(text) => (None, Some(text)),
        };
        EventLine {
            id: record.id,
            time_ms: record.time_ms,
            retention_ms: record.retention_ms(),
            publisher_id: record.publisher_id.map(str::to_owned),
            topics: record.topics().map(str::to_owned).collect(),
            event_type: (record.type_bytes() > 0).then(|| record.event_type.to_owned()),
            data,
            json,
            retry_ms: record.retry_ms(),
            private: record.is_private(),
            attributes: record.attributes().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            record_crc32c: 0,
        }
    }

    /// The line of a record, with its checksum; `None` if another record would come out of it.
    pub(crate) fn checked(record: &RecordView<'_>, scratch: &mut Vec<u8>) -> Option<EventLine> {
        let line = EventLine::of(record);
        let draft = line.draft().ok()?;
        let is_same = line.encode_draft(&draft, record.sequence, scratch) == record.head_crc();
        let record_crc32c = line.encode_draft(&draft, 0, scratch);
        is_same.then_some(EventLine { record_crc32c, ..line })
    }

    /// The event, but for its place in the log.
    ///
    /// # Errors
    /// A fragment that says what cannot be.
    fn draft(&self) -> Result<Draft, String> {
        let topics = self.topics.iter().map(|topic| Topic::parse(topic)).collect::<Result<Vec<_>, _>>();
        let data = match (&self.data, &self.json) {
            (Some(text), None) => Data::Text(text.clone()),
            (None, Some(text)) => Data::Json(text.clone()),
            _ => return Err("it has not exactly one of data and json".to_owned()),
        };
        let event = NewEvent::new(topics.map_err(|error| error.to_string())?, &data, usize::MAX);
        let mut event = event.map_err(|error| error.to_string())?;
        if let Some(event_type) = &self.event_type {
            event = event.with_type(EventType::parse(event_type).map_err(|error| error.to_string())?);
        }
        if let Some(id) = &self.publisher_id {
            event = event.with_publisher_id(PublisherId::parse(id).map_err(|error| error.to_string())?);
        }
        if let Some(retry_ms) = self.retry_ms {
            event = event.with_retry_ms(retry_ms);
        }
        if self.private {
            event = event.private();
        }
        for (key, value) in &self.attributes {
            event = event.with_attribute(key, value).map_err(|error| error.to_string())?;
        }
        Ok(Draft::new(&event))
    }

    /// What the clocks said when the event was appended.
    pub(crate) fn moment(&self) -> Moment {
        Moment { now_ms: self.time_ms, id_ms_max: u64::MAX, retention_ms: self.retention_ms, monotonic: Duration::ZERO }
    }

    /// The event, if the record that comes of it is the one that was exported.
    ///
    /// # Errors
    /// A fragment that says what cannot be, or is not the same.
    pub(crate) fn checked_draft(&self, scratch: &mut Vec<u8>) -> Result<Draft, String> {
        let draft = self.draft()?;
        if self.encode_draft(&draft, 0, scratch) != self.record_crc32c {
            return Err("it would not become the same bytes as before".to_owned());
        }
        Ok(draft)
    }

    fn encode_draft(&self, draft: &Draft, sequence: u64, record: &mut Vec<u8>) -> u32 {
        record.clear();
        draft.encode(sequence, self.id, &self.moment(), record)
    }
}

/// The last line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EndLine {
    pub(crate) end: End,
}

/// What the last line says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    /// How many lines of events there are.
    pub(crate) events: u64,
    /// What is missing between them, although it was asked for.
    pub(crate) left_out: Vec<LeftOut>,
    /// How many such ranges there are: some may not be listed.
    pub(crate) left_out_total: u64,
    /// The checksum of all lines before, with their newlines.
    pub(crate) crc32c: u32,
}

/// Events that an export does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LeftOut {
    /// The last event of the log before them that is whole, or the place at which the export began.
    pub after: HubId,
    /// The next event behind them; none if there is none.
    pub before: Option<HubId>,
    /// How many there are; none if that is not known.
    pub events: Option<u64>,
    /// Why: `damaged` or `expired`.
    pub why: String,
}

/// A record as a line, for a log in the tests whose records go over a wire.
#[cfg(test)]
pub(crate) fn wire_line(record: &RecordView<'_>) -> String {
    let line = EventLine::checked(record, &mut Vec::new()).expect("what was appended can be appended again");
    serde_json::to_string(&line).expect("text")
}

/// The record of such a line.
#[cfg(test)]
pub(crate) fn wire_record(sequence: u64, line: &str) -> Vec<u8> {
    let line: EventLine = serde_json::from_str(line).expect("a line");
    let mut record = Vec::new();
    let draft = line.checked_draft(&mut record).expect("whole");
    line.encode_draft(&draft, sequence, &mut record);
    record
}
