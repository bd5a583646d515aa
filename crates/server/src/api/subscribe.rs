//! `GET` and `QUERY` of the events, as far as a stream: which one is asked for, and whether it is given.

use std::sync::Arc;

use http::request::Parts;

use super::Failure;
use super::body::{self, Received, RequestBody};
use crate::decide::{Plan, decide, is_quick};
use crate::hub::Hub;
use crate::problem::{Kind, Problem};
use crate::time;

/// A longer form is decided elsewhere, in bytes.
const QUICK_FORM_BYTES_MAX: usize = 16 * 1024;

/// What a form's body says it is.
pub(super) const FORM: &str = "application/x-www-form-urlencoded";

/// The stream that is asked for. The form of a `QUERY` is read first, at most `body_bytes` of it.
pub(super) async fn subscribe<B: RequestBody>(hub: &Arc<Hub>, parts: &Parts, body: B) -> Result<Plan, Failure> {
    if parts.method == "GET" {
        body::discard(body);
        return Ok(decided(hub, parts, None).await?);
    }
    if let Err(problem) = check_head(hub, parts) {
        body::refuse(parts, body);
        return Err(problem.into());
    }
    let form = body::read(hub, parts, body).await?;
    Ok(decided(hub, parts, Some(form)).await?)
}

/// Everything that can be refused before the form is read.
fn check_head(hub: &Hub, parts: &Parts) -> Result<(), Problem> {
    super::grants(hub, parts)?;
    body::check(parts, FORM, hub.body_bytes)
}

/// What takes long to decide is decided elsewhere, one after the other: whatever else a runtime's thread has to do would
/// wait for it.
async fn decided(hub: &Arc<Hub>, parts: &Parts, received: Option<Received>) -> Result<Plan, Problem> {
    let form = received.as_deref().unwrap_or_default();
    if form.len() <= QUICK_FORM_BYTES_MAX && is_quick(&super::head_of(parts).with_form(&String::from_utf8_lossy(form)))
    {
        return plan(hub, parts, form);
    }
    let (hub, parts) = (Arc::clone(hub), parts.clone());
    let place = Arc::clone(&hub.deciding).acquire_owned().await.expect("the semaphore is never closed");
    let decided = tokio::task::spawn_blocking(move || {
        let _place = place;
        plan(&hub, &parts, received.as_deref().unwrap_or_default())
    });
    decided.await.unwrap_or_else(|error| {
        tracing::error!(%error, "it was not decided about a stream");
        Err(Problem::new(Kind::Internal, "it was not decided about the stream"))
    })
}

fn plan(hub: &Hub, parts: &Parts, form: &[u8]) -> Result<Plan, Problem> {
    let form = str::from_utf8(form).map_err(|_| Problem::new(Kind::Query, "the form is not UTF-8"))?;
    decide(&super::head_of(parts).with_form(form), &hub.live().access, time::now_ms() / 1_000)
}
