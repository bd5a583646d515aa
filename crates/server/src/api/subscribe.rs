//! `GET` and `QUERY` of the events, as far as a stream: which one is asked for, and whether it is given.

use http::request::Parts;

use super::Failure;
use super::body::{self, RequestBody};
use crate::decide::{Plan, decide};
use crate::hub::Hub;
use crate::problem::{Kind, Problem};
use crate::time;

/// What a form's body says it is.
pub(super) const FORM: &str = "application/x-www-form-urlencoded";

/// The stream that is asked for. The form of a `QUERY` is read first, at most `body_bytes` of it.
pub(super) async fn subscribe<B: RequestBody>(hub: &Hub, parts: &Parts, body: B) -> Result<Plan, Failure> {
    if parts.method == "GET" {
        body::discard(body);
        return Ok(plan(hub, parts, &[])?);
    }
    if let Err(problem) = check_head(hub, parts) {
        body::refuse(parts, body);
        return Err(problem.into());
    }
    let form = body::read(hub, parts, body).await?;
    Ok(plan(hub, parts, &form)?)
}

/// Everything that can be refused before the form is read.
fn check_head(hub: &Hub, parts: &Parts) -> Result<(), Problem> {
    super::grants(hub, parts)?;
    body::check(parts, FORM, hub.body_bytes)
}

fn plan(hub: &Hub, parts: &Parts, form: &[u8]) -> Result<Plan, Problem> {
    let form = str::from_utf8(form).map_err(|_| Problem::new(Kind::Query, "the form is not UTF-8"))?;
    decide(&super::head_of(parts).with_form(form), &hub.live().access, time::now_ms() / 1_000)
}
