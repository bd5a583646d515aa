use std::sync::Arc;

use http::request::Parts;
use serde::Serialize;
use serde_json::value::RawValue;
use tidewire_log::{Data, Filter, HubId, RecordView, Types};
use tidewire_topic::MatcherSet;

use super::{Answer, grants, json, read_log};
use crate::hub::Hub;
use crate::problem::{Kind, Problem};
use crate::query::decode_segment;
use crate::time;
use crate::trace::TRACEPARENT;

/// An event in JSON.
#[derive(Debug, Serialize)]
struct EventDocument {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    publisher_id: Option<String>,
    topics: Vec<String>,
    r#type: String,
    data: DataDocument,
    time: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    private: bool,
    /// That of the request by which it was published.
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum DataDocument {
    Text(String),
    /// As it was published, numbers and order included.
    Json(Box<RawValue>),
}

/// `GET /api/v1/events/{id}`. What the caller may not read is not there.
pub(super) async fn event(hub: &Arc<Hub>, parts: &Parts, id: &str) -> Result<Answer, Problem> {
    let grants = grants(hub, parts)?;
    let absent = || Problem::new(Kind::EventNotFound, "no event with this id is retained, or none that you may read");
    let id = decode_segment(id).ok_or_else(absent)?;
    let place: HubId = id.parse().map_err(|_| absent())?;
    let found = read_log(hub, move |hub| {
        let mut found = None;
        hub.log.event(place, &mut |record| found = document(record, grants.clone()))?;
        Ok(found)
    });
    Ok(json(&found.await?.ok_or_else(absent)?))
}

fn document(record: &RecordView<'_>, grants: Option<MatcherSet>) -> Option<EventDocument> {
    let filter = Filter { topics: MatcherSet::any(), types: Types::All, grants };
    if !filter.may_read(record.topics(), record.is_private()) {
        return None;
    }
    let data = match record.data() {
        Data::Text(text) => DataDocument::Text(text),
        // The log's checksums hold, so this is the JSON that was published.
        Data::Json(json) => match RawValue::from_string(json) {
            Ok(value) => DataDocument::Json(value),
            Err(error) => DataDocument::Text(error.to_string()),
        },
    };
    Some(EventDocument {
        id: record.id.to_string(),
        publisher_id: record.publisher_id.map(str::to_owned),
        topics: record.topics().map(str::to_owned).collect(),
        r#type: record.event_type.to_owned(),
        data,
        time: time::rfc3339(record.time_ms),
        private: record.is_private(),
        traceparent: record.attributes().find(|(key, _)| *key == TRACEPARENT).map(|(_, value)| value.to_owned()),
    })
}
