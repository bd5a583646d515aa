//! Every operation of the API: the one table by which requests are routed and which the OpenAPI document is made of.

use http::StatusCode;

use super::{Answer, Failure, connections, openapi, topics};
use crate::decide::EVENTS_PATH;
use crate::problem::Kind;

/// A path and what can be done there.
#[derive(Debug)]
pub(super) struct Route {
    /// In braces, what stands for one segment, which may be anything but empty.
    pub(super) path: &'static str,
    pub(super) operations: &'static [Operation],
}

/// What can be done at a path.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) action: Action,
    /// `HEAD` goes with `GET`, but for streams.
    pub(super) method: &'static str,
    /// Names the operation in clients that are made of the document. It does not change.
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    pub(super) parameters: &'static [Parameter],
    pub(super) body: Option<Schema>,
    pub(super) answer: Content,
    /// With what it may be refused, beside [`ALWAYS`].
    pub(super) problems: &'static [&'static [Kind]],
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Publish,
    Stream,
    Event,
    EraseEvent,
    Topics,
    Topic,
    EraseTopic,
    Connections,
    EndConnection,
    Document,
}

/// What is answered if nothing is wrong.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content {
    /// 200 with JSON.
    Json(Schema),
    /// 200 with an event stream.
    Stream,
    /// 204.
    Nothing,
}

/// The name of a schema of the document.
pub(super) type Schema = &'static str;

/// What a request may say beside its path.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) place: Place,
    pub(super) form: Form,
    pub(super) description: &'static str,
}

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Path,
    Query,
    Header,
}

/// What a parameter may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    /// Any number of texts.
    Texts,
    Limit,
    ConnectionPlace,
}

/// What any request may be refused with.
pub(super) const ALWAYS: &[Kind] = &[Kind::Head, Kind::Timeout, Kind::HeadBytes, Kind::Internal, Kind::Connections];
const READING: &[Kind] = &[Kind::Authorization, Kind::TokenMissing, Kind::TokenInvalid];
const GRANTED: &[Kind] = &[Kind::Authorization, Kind::TokenMissing, Kind::TokenInvalid, Kind::InsufficientScope];
const LISTS: &[Kind] = &[Kind::Query, Kind::Page];
const LOG: &[Kind] = &[Kind::LogFailed];
const SHARDS: &[Kind] = &[Kind::NotReady];
const ERASES: &[Kind] = &[Kind::NotReady, Kind::LogFailed, Kind::Tombstones, Kind::NoSpace];
const BODY: &[Kind] = &[
    Kind::Json,
    Kind::Event,
    Kind::Member,
    Kind::Topic,
    Kind::Type,
    Kind::Id,
    Kind::IdRepeated,
    Kind::BatchEmpty,
    Kind::BodyBytes,
    Kind::BatchEvents,
    Kind::EventBytes,
    Kind::EventTopics,
    Kind::SegmentBytes,
    Kind::MediaType,
    Kind::ContentEncoding,
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
    Kind::BodyUnexpected,
    Kind::NotAcceptable,
    Kind::Busy,
    Kind::Streams,
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

pub(super) const ROUTES: &[Route] = &[
    Route {
        path: EVENTS_PATH,
        operations: &[
            Operation {
                action: Action::Stream,
                method: "GET",
                id: "streamEvents",
                summary: "Watch events",
                parameters: &[
                    query("topic", Form::Texts, "An exact topic, or `*`."),
                    query("pattern", Form::Texts, "A URL Pattern of topics."),
                    query("template", Form::Texts, "A URI Template of topics."),
                    query("type", Form::Texts, "Only events of this type."),
                    query("from", Form::Text, "Where a new reader begins: `latest`, `earliest`, `-<n>` or an id."),
                    query("last_event_id", Form::Text, "Where the reader was."),
                    query("lastEventID", Form::Text, "The same."),
                    query("lastId", Form::Text, "The same."),
                    Parameter {
                        name: "Last-Event-ID",
                        place: Place::Header,
                        form: Form::Text,
                        description: "Where the reader was.",
                    },
                ],
                body: None,
                answer: Content::Stream,
                problems: &[STREAMS, READING],
            },
            Operation {
                action: Action::Publish,
                method: "POST",
                id: "publishEvents",
                summary: "Publish one event or an array",
                parameters: &[],
                body: Some("Publication"),
                answer: Content::Json("Published"),
                problems: &[BODY, GRANTED, APPENDS],
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
            problems: &[],
        }],
    },
];

/// What is at a path, and the segment that its name in braces stands for; not decoded.
pub(super) fn find(path: &str) -> Option<(&'static Route, &str)> {
    ROUTES.iter().find_map(|route| match route.path.split_once('{') {
        None => (path == route.path).then_some((route, "")),
        // A slash in a name is to be encoded: what is not may be a mistake.
        Some((parent, _)) => {
            let name = path.strip_prefix(parent)?;
            (!name.is_empty() && !name.contains('/')).then_some((route, name))
        }
    })
}

impl Route {
    pub(super) fn operation(&self, method: &str) -> Option<&Operation> {
        self.operations.iter().find(|operation| operation.methods().contains(&method))
    }

    /// The methods that the path takes, as a header lists them.
    pub(super) fn methods(&self) -> String {
        let methods: Vec<&str> = self.operations.iter().flat_map(|operation| operation.methods()).copied().collect();
        methods.join(", ")
    }
}

impl Operation {
    pub(super) fn methods(&self) -> &'static [&'static str] {
        match (self.method, self.answer) {
            ("GET", Content::Json(_) | Content::Nothing) => &["GET", "HEAD"],
            ("GET", Content::Stream) => &["GET"],
            ("POST", _) => &["POST"],
            _ => &["DELETE"],
        }
    }

    /// Every problem that it may be refused with, some of them twice.
    pub(super) fn problems(&self) -> impl Iterator<Item = Kind> {
        ALWAYS.iter().chain(self.problems.iter().copied().flatten()).copied()
    }

    /// In a build for tests: that the document knows what is answered.
    pub(super) fn check(&self, answer: &Result<Answer, Failure>) {
        let is_known = match answer {
            Ok(answer) => answer.status() == self.status(),
            Err(Failure::Problem(problem)) => self.problems().any(|kind| kind == problem.kind()),
            Err(Failure::Unanswered) => true,
        };
        debug_assert!(is_known, "{} answers what its row in the table does not have: {answer:?}", self.id);
    }

    pub(super) fn status(&self) -> StatusCode {
        match self.answer {
            Content::Json(_) | Content::Stream => StatusCode::OK,
            Content::Nothing => StatusCode::NO_CONTENT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_with_the_segment_that_it_names() {
        let found = |path| find(path).map(|(route, name)| (route.path, name));
        assert_eq!(found("/api/v1/events"), Some(("/api/v1/events", "")));
        assert_eq!(found("/api/v1/topics/a%2Fb"), Some(("/api/v1/topics/{topic}", "a%2Fb")));
        for path in ["/", "/api/v1", "/api/v1/topics/", "/api/v1/topics/a/b", "/api/v1/eventsx", "/api/v1/events/"] {
            assert_eq!(found(path), None, "{path}");
        }
    }

    #[test]
    fn a_path_takes_the_methods_of_its_operations() {
        let methods: Vec<String> = ROUTES.iter().map(Route::methods).collect();
        let read = || "GET, HEAD".to_owned();
        let expected = ["GET, POST", "GET, HEAD, DELETE", &read(), "GET, HEAD, DELETE", &read(), "DELETE", &read()];
        assert_eq!(methods, expected);
    }

    /// Beside those of a path or method that is not there, each is an operation's.
    #[test]
    fn every_problem_is_one_of_some_operation() {
        let operations = || ROUTES.iter().flat_map(|route| route.operations);
        for &kind in Kind::ALL {
            let is_told = operations().any(|operation| operation.problems().any(|told| told == kind));
            let is_of_none = matches!(kind, Kind::NotFound | Kind::Method);
            assert_ne!(is_told, is_of_none, "{kind:?}");
        }
    }
}
