use super::{Make, Setup};
use crate::testing::{append, event_with_id, try_append};
use crate::{AppendError, TRACEPARENT};

/// A publisher that was not answered sends its event again, and what carries it there may begin another trace: to take
/// that for other content would make each such retry a conflict.
pub(crate) fn an_event_sent_again_in_another_trace_is_the_same(make: Make) {
    let log = make(&Setup::default());
    let traced = |trace: &str| event_with_id("t", "x", "1").with_attribute(TRACEPARENT, trace).expect("small");
    let first = append(&*log, vec![traced("00-1-2-01")]);
    assert_eq!(append(&*log, vec![traced("00-3-4-01")]), first);
    assert_eq!(append(&*log, vec![event_with_id("t", "x", "1")]), first);
    let other = traced("00-1-2-01").with_attribute("a", "").expect("small");
    assert_eq!(try_append(&*log, vec![other]), Err(AppendError::IdConflict { index: 0, first: first[0] }));
    let mut kept = Vec::new();
    let mut keep = |key: &str, value: &str| kept.push((key.to_owned(), value.to_owned()));
    let found = log.event(first[0], &mut |record| record.attributes().for_each(|(key, value)| keep(key, value)));
    assert!(found.expect("read"));
    assert_eq!(kept, [(TRACEPARENT.to_owned(), "00-1-2-01".to_owned())], "the first one's");
}
