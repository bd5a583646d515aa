use super::{Action, Body, Content, Form, Link, Operation, Parameter, Place, Route};
use crate::api::{connections, openapi, topics};
use crate::decide::EVENTS_PATH;
use crate::problem::Kind;

/// What any request may be refused with.
pub(super) const ALWAYS: &[Kind] = &[Kind::Head, Kind::Timeout, Kind::HeadBytes, Kind::Internal, Kind::Connections];
const READING: &[Kind] = &[Kind::Authorization, Kind::TokenMissing, Kind::TokenInvalid];
const GRANTED: &[Kind] = &[Kind::Authorization, Kind::TokenMissing, Kind::TokenInvalid, Kind::InsufficientScope];
const LISTS: &[Kind] = &[Kind::Query, Kind::Page];
const LOG: &[Kind] = &[Kind::LogFailed];
const SHARDS: &[Kind] = &[Kind::NotReady];
const ERASES: &[Kind] = &[Kind::NotReady, Kind::LogFailed, Kind::Tombstones, Kind::NoSpace];
const BODY: &[Kind] =
    &[Kind::BodyFraming, Kind::BodyBytes, Kind::BodiesInFlight, Kind::MediaType, Kind::ContentEncoding];
const EVENTS: &[Kind] = &[
    Kind::Json,
    Kind::Event,
    Kind::Member,
    Kind::Topic,
    Kind::Type,
    Kind::Id,
    Kind::IdRepeated,
    Kind::BatchEmpty,
    Kind::BatchEvents,
    Kind::EventBytes,
    Kind::EventTopics,
    Kind::SegmentBytes,
];
const APPENDS: &[Kind] =
    &[Kind::IdConflict, Kind::Busy, Kind::NotReady, Kind::NotWritten, Kind::LogFailed, Kind::NoSpace];
const STREAMS: &[Kind] = &[
    Kind::Query,
    Kind::TopicMissing,
    Kind::Topic,
    Kind::Matchers,
    Kind::Type,
    Kind::Pattern,
    Kind::NotAcceptable,
    Kind::Busy,
    Kind::Streams,
    Kind::StreamsPerAddress,
    Kind::NotReady,
    Kind::LogFailed,
    Kind::HttpVersion,
];

const fn query(name: &'static str, form: Form, description: &'static str) -> Parameter {
    Parameter { name, place: Place::Query, form, description }
}

const fn path(name: &'static str, description: &'static str) -> Parameter {
    Parameter { name, place: Place::Path, form: Form::Text, description }
}

const LIMIT: Parameter = query("limit", Form::Limit, "How many to list at most.");

/// What a stream is asked for with, by either method.
const WATCHING: &[Parameter] = &[
    query("topic", Form::Texts, "An exact topic, or `*`."),
    query("pattern", Form::Texts, "A URL Pattern of topics."),
    query("template", Form::Texts, "A URI Template of topics."),
    query("type", Form::Texts, "Only events of this type."),
    query("from", Form::Text, "Where a new reader begins: `latest`, `earliest`, `-<n>` or an id."),
    query("last_event_id", Form::Text, "Where the reader was."),
    query("lastEventID", Form::Text, "The same."),
    query("lastId", Form::Text, "The same."),
    Parameter { name: "Last-Event-ID", place: Place::Header, form: Form::Text, description: "Where the reader was." },
];

pub(crate) const ROUTES: &[Route] = &[
    Route {
        path: EVENTS_PATH,
        operations: &[
            Operation {
                action: Action::Stream,
                method: "GET",
                id: "streamEvents",
                summary: "Watch events",
                parameters: WATCHING,
                body: None,
                answer: Content::Stream,
                links: &[],
                problems: &[STREAMS, &[Kind::BodyUnexpected], READING],
            },
            Operation {
                action: Action::Stream,
                method: "QUERY",
                id: "streamEventsByForm",
                summary: "Watch events: the parameters in a form, beside those in the URL",
                parameters: WATCHING,
                body: Some(Body::Form("Subscription")),
                answer: Content::Stream,
                links: &[],
                problems: &[STREAMS, BODY, READING],
            },
            Operation {
                action: Action::Publish,
                method: "POST",
                id: "publishEvents",
                summary: "Publish one event or an array",
                parameters: &[Parameter {
                    name: "traceparent",
                    place: Place::Header,
                    form: Form::Text,
                    description: "The trace that the events belong to (W3C Trace Context).",
                }],
                body: Some(Body::Json("Publication")),
                answer: Content::Json("Published"),
                links: &[
                    Link { to: "getEvent", parameter: "id", found: "/id" },
                    Link { to: "eraseEvent", parameter: "id", found: "/id" },
                ],
                problems: &[BODY, EVENTS, GRANTED, APPENDS],
            },
        ],
    },
    Route {
        path: "/api/v1/events/{id}",
        operations: &[
            Operation {
                action: Action::Event,
                method: "GET",
                id: "getEvent",
                summary: "Look at one event",
                parameters: &[path("id", "The hub's id.")],
                body: None,
                answer: Content::Json("Event"),
                links: &[],
                problems: &[&[Kind::EventNotFound], READING, LOG],
            },
            Operation {
                action: Action::EraseEvent,
                method: "DELETE",
                id: "eraseEvent",
                summary: "Erase an event",
                parameters: &[
                    path("id", "The hub's id, or a publisher's with `topic`."),
                    query("topic", Form::Text, "The topic of events with this id of a publisher's."),
                ],
                body: None,
                answer: Content::Nothing,
                links: &[],
                problems: &[&[Kind::Query, Kind::TopicMissing, Kind::Topic, Kind::EventNotFound], GRANTED, ERASES],
            },
        ],
    },
    Route {
        path: topics::PATH,
        operations: &[Operation {
            action: Action::Topics,
            method: "GET",
            id: "listTopics",
            summary: "List the topics of events that are kept",
            parameters: &[LIMIT, query("after", Form::Text, "`next` of the page before.")],
            body: None,
            answer: Content::Json("TopicPage"),
            links: &[Link { to: "getTopic", parameter: "topic", found: "/topics/0/topic" }],
            problems: &[LISTS, READING, LOG, SHARDS],
        }],
    },
    Route {
        path: "/api/v1/topics/{topic}",
        operations: &[
            Operation {
                action: Action::Topic,
                method: "GET",
                id: "getTopic",
                summary: "Look at one topic",
                parameters: &[path("topic", "The topic.")],
                body: None,
                answer: Content::Json("Topic"),
                links: &[],
                problems: &[&[Kind::Topic, Kind::TopicNotFound], READING, LOG, SHARDS],
            },
            Operation {
                action: Action::EraseTopic,
                method: "DELETE",
                id: "eraseTopic",
                summary: "Erase every event of a topic",
                parameters: &[path("topic", "The topic.")],
                body: None,
                answer: Content::Nothing,
                links: &[],
                problems: &[&[Kind::Topic], GRANTED, ERASES],
            },
        ],
    },
    Route {
        path: connections::PATH,
        operations: &[Operation {
            action: Action::Connections,
            method: "GET",
            id: "listConnections",
            summary: "List the streams that are open",
            parameters: &[
                LIMIT,
                query("after", Form::ConnectionPlace, "`next` of the page before."),
                query("subject", Form::Text, "Only streams of this subject."),
                query("topic", Form::Text, "Only streams that get events on this topic."),
                query("address", Form::Text, "Only streams from this address, with its port or without."),
            ],
            body: None,
            answer: Content::Json("ConnectionPage"),
            links: &[Link { to: "endConnection", parameter: "id", found: "/connections/0/id" }],
            problems: &[LISTS, &[Kind::Topic], GRANTED, SHARDS],
        }],
    },
    Route {
        path: "/api/v1/connections/{id}",
        operations: &[Operation {
            action: Action::EndConnection,
            method: "DELETE",
            id: "endConnection",
            summary: "End a stream",
            parameters: &[path("id", "The stream's id.")],
            body: None,
            answer: Content::Nothing,
            links: &[],
            problems: &[&[Kind::ConnectionNotFound], GRANTED, SHARDS],
        }],
    },
    Route {
        path: openapi::PATH,
        operations: &[Operation {
            action: Action::Document,
            method: "GET",
            id: "getDocument",
            summary: "This document",
            parameters: &[],
            body: None,
            answer: Content::Json("Document"),
            links: &[],
            problems: &[],
        }],
    },
];
