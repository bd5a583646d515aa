//! What goes in and comes out, in the words of JSON Schema.

use serde_json::{Map, Value, json};
use tidewire_log::{EVENT_TYPE_BYTES_MAX, PUBLISHER_ID_BYTES_MAX, TOPICS_MAX};
use tidewire_topic::TOPIC_BYTES_MAX;

use super::paging;
use super::publish::RETRY_MS_MAX;

/// The schemas that operations name, and those that they name.
pub(super) fn all() -> Value {
    let id = json!({"$ref": "#/components/schemas/HubId"});
    let topic = json!({"type": "string", "minLength": 1, "maxLength": TOPIC_BYTES_MAX});
    let event_type = json!({"type": "string", "minLength": 1, "maxLength": EVENT_TYPE_BYTES_MAX});
    let publisher_id = json!({"type": "string", "minLength": 1, "maxLength": PUBLISHER_ID_BYTES_MAX});
    let topics = json!({"type": "array", "items": topic, "minItems": 1, "maxItems": TOPICS_MAX});
    let texts = json!({"type": "array", "items": {"type": "string"}});
    let one_or_more = json!({"type": "array", "items": {"type": "string"}, "minItems": 1});
    let count = json!({"type": "integer", "minimum": 0});
    let traceparent = json!({"type": "string", "pattern": "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"});
    let flag = json!({"type": "boolean"});
    let set = json!({"const": true});
    let data = json!({"description": "Any JSON; a string goes on the wire as it is."});
    let retry = json!({"type": "integer", "minimum": 0, "maximum": RETRY_MS_MAX});
    let page = |of: &str| json!({"type": "array", "items": {"$ref": format!("#/components/schemas/{of}")}, "maxItems": paging::LIMIT_MAX});
    let next = json!({"type": "string"});
    let part = json!({"description": "As the specification of OpenAPI has it."});
    let new_event = |one: &str, schema: &Value| {
        object(
            &[(one, schema), ("data", &data)],
            &[("type", &event_type), ("id", &publisher_id), ("private", &flag), ("retry", &retry)],
        )
    };
    let new_event = json!({"oneOf": [new_event("topic", &topic), new_event("topics", &topics)]});
    json!({
        "HubId": {"type": "string", "pattern": "^#[0-9]+-[0-9]+$"},
        "NewEvent": new_event,
        "Publication": {"oneOf": [
            {"$ref": "#/components/schemas/NewEvent"},
            {"type": "array", "items": {"$ref": "#/components/schemas/NewEvent"}, "minItems": 1},
        ]},
        "Published": {"oneOf": [
            object(&[("id", &id)], &[]),
            object(&[("ids", &json!({"type": "array", "items": id, "minItems": 1}))], &[]),
        ]},
        "Subscription": object(
            &[],
            &[
                ("topic", &texts),
                ("pattern", &texts),
                ("template", &texts),
                ("type", &texts),
                ("from", &next),
                ("last_event_id", &next),
                ("lastEventID", &next),
                ("lastId", &next),
            ],
        ),
        "Event": object(
            &[
                ("id", &id),
                ("topics", &topics),
                ("type", &event_type),
                ("data", &data),
                ("time", &json!({"type": "string", "format": "date-time"})),
            ],
            &[("publisher_id", &publisher_id), ("private", &set), ("traceparent", &traceparent)],
        ),
        "Topic": object(
            &[("topic", &topic), ("events", &count)],
            &[("first_id", &id), ("last_id", &id), ("at_least", &set), ("subscribers", &count)],
        ),
        "TopicPage": object(&[("topics", &page("Topic"))], &[("next", &next)]),
        "Connection": object(
            &[
                ("id", &json!({"type": "string", "pattern": "^[0-9]+-[0-9]+-[0-9]+$"})),
                ("topics", &texts),
                ("transport", &json!({"enum": ["sse", "sse-h2"]})),
                ("position", &id),
                ("lag", &object(&[("events", &count), ("milliseconds", &count)], &[("at_least", &set)])),
                ("age_seconds", &count),
            ],
            &[
                ("subject", &json!({"type": "string"})),
                ("address", &json!({"type": "string"})),
                ("patterns", &one_or_more),
                ("templates", &one_or_more),
                ("types", &one_or_more),
            ],
        ),
        "ConnectionPage": object(&[("connections", &page("Connection"))], &[("next", &next)]),
        "Document": object(
            &[
                ("openapi", &json!({"type": "string"})),
                ("info", &part),
                ("security", &part),
                ("paths", &part),
                ("components", &part),
            ],
            &[],
        ),
    })
}

/// The schema of the problem documents of a status.
pub(super) fn problem(status: u16, types: impl Iterator<Item = String>) -> Value {
    let types: Vec<String> = types.collect();
    let text = json!({"type": "string"});
    object(
        &[
            ("type", &json!({"enum": types})),
            ("title", &text),
            ("status", &json!({"const": status})),
            ("detail", &text),
        ],
        &[("index", &json!({"type": "integer", "minimum": 0})), ("id", &text)],
    )
}

fn object(required: &[(&str, &Value)], optional: &[(&str, &Value)]) -> Value {
    let members = required.iter().chain(optional);
    let properties: Map<String, Value> = members.map(|&(name, schema)| (name.to_owned(), schema.clone())).collect();
    let required: Vec<&str> = required.iter().map(|(name, _)| *name).collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}
