//! Every operation of the API: the one table by which requests are routed and of which the OpenAPI document is made.

use http::StatusCode;

use super::{Failure, Outcome};
use crate::problem::Kind;

mod table;

use table::ALWAYS;
pub(super) use table::ROUTES;

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
    pub(super) body: Option<Body>,
    pub(super) answer: Content,
    pub(super) links: &'static [Link],
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

/// What a request's body is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body {
    Json(Schema),
    /// `application/x-www-form-urlencoded`.
    Form(Schema),
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

/// What an answer holds that another operation takes.
#[derive(Debug)]
pub(super) struct Link {
    /// The other operation.
    pub(super) to: &'static str,
    /// Its parameter.
    pub(super) parameter: &'static str,
    /// A JSON pointer into the answer.
    pub(super) found: &'static str,
}

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
            ("QUERY", _) => &["QUERY"],
            _ => &["DELETE"],
        }
    }

    /// Every problem that it may be refused with, some of them twice.
    pub(super) fn problems(&self) -> impl Iterator<Item = Kind> {
        ALWAYS.iter().chain(self.problems.iter().copied().flatten()).copied()
    }

    /// In a build for tests: that the document knows what is answered.
    pub(super) fn check(&self, answer: &Result<Outcome, Failure>) {
        let is_known = match answer {
            Ok(Outcome::Answer(answer)) => answer.status() == self.status(),
            Ok(Outcome::Stream(_)) => matches!(self.answer, Content::Stream),
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
        let expected =
            ["GET, QUERY, POST", "GET, HEAD, DELETE", &read(), "GET, HEAD, DELETE", &read(), "DELETE", &read()];
        assert_eq!(methods, expected);
    }

    #[test]
    fn the_methods_of_the_hub_are_those_of_its_paths() {
        let all: std::collections::BTreeSet<String> = ROUTES
            .iter()
            .flat_map(|route| route.methods().split(", ").map(str::to_owned).collect::<Vec<_>>())
            .collect();
        assert_eq!(all, crate::api::METHODS.split(", ").map(str::to_owned).collect());
    }

    /// Beside those of a path or method that is not there, each is an operation's.
    #[test]
    fn every_problem_is_one_of_some_operation() {
        let operations = || ROUTES.iter().flat_map(|route| route.operations);
        for &kind in Kind::ALL {
            let is_told = operations().any(|operation| operation.problems().any(|told| told == kind));
            let is_of_none = matches!(kind, Kind::NotFound | Kind::Method | Kind::Origin | Kind::Stuck);
            assert_ne!(is_told, is_of_none, "{kind:?}");
        }
    }
}
