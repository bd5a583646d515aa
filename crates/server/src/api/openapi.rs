//! `GET /api/v1/openapi.json`: the OpenAPI 3.1 document, made of the table of routes.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::routes::{Body, Content, Form, Operation, Parameter, Place, ROUTES, Route};
use super::subscribe::FORM;
use super::{Answer, paging, schemas};
use crate::problem::{Kind, Problem, TYPE_PREFIX};

pub(super) const PATH: &str = "/api/v1/openapi.json";

static DOCUMENT: LazyLock<Value> = LazyLock::new(document);

pub(super) fn answer() -> Answer {
    super::json(&*DOCUMENT)
}

fn document() -> Value {
    let paths: Map<String, Value> = ROUTES.iter().map(|route| (route.path.to_owned(), path(route))).collect();
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": "Tidewire",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "A push server. Where a path takes the method QUERY, `x-query` says what it does. A path that is not here is 404 `urn:tidewire:error:not-found`, and a method that a \
                path does not take 405 `urn:tidewire:error:method`, with `Allow`.",
            "license": {"name": env!("CARGO_PKG_LICENSE")},
        },
        "security": [{}, {"bearer": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            "schemas": schemas::all(),
        },
    })
}

fn path(route: &Route) -> Value {
    let operations = route.operations.iter().flat_map(|operation| {
        operation.methods().iter().map(move |&method| (member(method), described(operation, method)))
    });
    Value::Object(operations.collect())
}

/// Where the operations of a path have this one. OpenAPI knows `QUERY` from 3.2 on, which few tools read.
fn member(method: &str) -> String {
    if method == "QUERY" { "x-query".to_owned() } else { method.to_lowercase() }
}

fn described(operation: &Operation, method: &str) -> Value {
    let is_head = method == "HEAD";
    let (id, summary) = match is_head {
        true => (format!("{}Head", operation.id), format!("{}: the head alone", operation.summary)),
        false => (operation.id.to_owned(), operation.summary.to_owned()),
    };
    let mut described = json!({
        "operationId": id,
        "summary": summary,
        "parameters": operation.parameters.iter().map(parameter).collect::<Vec<_>>(),
        "responses": responses(operation, is_head),
    });
    if let Some(body) = operation.body {
        let (media_type, schema) = match body {
            Body::Json(schema) => ("application/json", schema),
            Body::Form(schema) => (FORM, schema),
        };
        described["requestBody"] = json!({"required": true, "content": content(media_type, &reference(schema))});
    }
    described
}

fn parameter(parameter: &Parameter) -> Value {
    let text = json!({"type": "string"});
    let schema = match parameter.form {
        Form::Text if parameter.place == Place::Path => json!({"type": "string", "minLength": 1}),
        Form::Text => text,
        Form::Texts => json!({"type": "array", "items": text}),
        Form::Limit => {
            json!({"type": "integer", "minimum": 1, "maximum": paging::LIMIT_MAX, "default": paging::LIMIT})
        }
        Form::ConnectionPlace => json!({"type": "string", "pattern": "^([0-9]+-[0-9]+)?$"}),
    };
    let place = match parameter.place {
        Place::Path => "path",
        Place::Query => "query",
        Place::Header => "header",
    };
    json!({
        "name": parameter.name,
        "in": place,
        "required": parameter.place == Place::Path,
        "description": parameter.description,
        "schema": schema,
    })
}

/// By status: the one if nothing is wrong, and those of all problems.
fn responses(operation: &Operation, is_head: bool) -> Value {
    let with_content = |mut response: Value, content: Value| {
        if !is_head {
            response["content"] = content;
        }
        response
    };
    let answer = match operation.answer {
        Content::Json(schema) => {
            with_content(json!({"description": "It was done."}), content("application/json", &reference(schema)))
        }
        Content::Stream => {
            let text = json!({"type": "string", "description": "Server-sent events, without an end."});
            with_content(json!({"description": "The stream."}), content("text/event-stream", &text))
        }
        Content::Nothing => json!({"description": "It was done."}),
    };
    let links = operation.links.iter().filter(|_| !is_head).map(|link| {
        let parameters = json!({link.parameter: format!("$response.body#{}", link.found)});
        (link.to.to_owned(), json!({"operationId": link.to, "parameters": parameters}))
    });
    let mut answer = answer;
    if !operation.links.is_empty() && !is_head {
        answer["links"] = links.collect();
    }
    let mut responses = Map::from_iter([(operation.status().as_str().to_owned(), answer)]);
    let mut by_status: BTreeMap<u16, Vec<Kind>> = BTreeMap::new();
    for kind in operation.problems() {
        let kinds = by_status.entry(kind.status().as_u16()).or_default();
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    for (status, kinds) in by_status {
        let titles: Vec<&str> = kinds.iter().map(|kind| kind.title()).collect();
        let mut response = json!({"description": format!("{}.", titles.join(". "))});
        let headers = Problem::new(kinds[0], "").to_response().into_parts().0.headers;
        for name in ["www-authenticate", "retry-after"].into_iter().filter(|name| headers.contains_key(*name)) {
            response["headers"][name] = json!({"required": true, "schema": {"type": "string"}});
        }
        let schema = schemas::problem(status, kinds.iter().map(|kind| format!("{TYPE_PREFIX}{}", kind.name())));
        responses.insert(status.to_string(), with_content(response, content("application/problem+json", &schema)));
    }
    Value::Object(responses)
}

fn content(media_type: &str, schema: &Value) -> Value {
    json!({media_type: {"schema": schema}})
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows every object within a JSON value.
    fn objects(value: &Value, visit: &mut impl FnMut(&Map<String, Value>)) {
        match value {
            Value::Object(members) => {
                visit(members);
                members.values().for_each(|member| objects(member, visit));
            }
            Value::Array(elements) => elements.iter().for_each(|element| objects(element, visit)),
            _ => {}
        }
    }

    #[test]
    fn no_object_of_a_schema_has_members_that_are_not_named() {
        let mut seen = 0;
        objects(&DOCUMENT, &mut |object| {
            if object.get("type") == Some(&json!("object")) {
                seen += 1;
                assert_eq!(object["additionalProperties"], json!(false), "{object:?}");
            }
        });
        assert!(seen > 50, "{seen}");
    }

    #[test]
    fn whatever_the_document_refers_to_is_in_it() {
        objects(&DOCUMENT, &mut |object| {
            if let Some(Value::String(to)) = object.get("$ref") {
                assert!(DOCUMENT.pointer(&to[1..]).is_some(), "{to}");
            }
        });
    }

    #[test]
    fn a_status_has_the_problems_that_are_told_with_it() {
        let at = "/paths/~1api~1v1~1connections~1{id}/delete/responses";
        let responses = DOCUMENT.pointer(at).and_then(Value::as_object).expect("responses");
        let statuses: Vec<&str> = responses.keys().map(String::as_str).collect();
        assert_eq!(statuses, ["204", "400", "401", "403", "404", "408", "431", "500", "503"]);
        let schema = &responses["404"]["content"]["application/problem+json"]["schema"];
        assert_eq!(schema["properties"]["type"]["enum"], json!(["urn:tidewire:error:connection-not-found"]));
        assert_eq!(responses["401"]["headers"]["www-authenticate"]["required"], true);
    }
}
