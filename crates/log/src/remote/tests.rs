use std::sync::Arc;

use super::*;
use crate::conformance::{Setup, conformance};
use crate::hiding_tests::conformance_of_hiding;
use crate::testing::{
    Followed, Random, append, begin_append, event, event_with_id, eventually, read_all, seed, texts, try_append, wait,
};

fn make(setup: &Setup) -> Box<dyn EventLog> {
    Box::new(RemoteLog::connect(&Server::start(setup), seed("remote")))
}

conformance!(make);
// Rules are the other machine's: a node that follows late is shown what was yielded until it is told to forget.
conformance_of_hiding! { make,
    an_erased_event_is_not_seen_by_any_way_of_reading,
    an_erased_event_is_told_only_to_those_who_might_have_read_it,
    events_are_erased_by_topic_and_publishers_id,
    an_erased_topic_is_gone_and_may_be_used_again,
    what_was_erased_may_be_published_anew,
    a_follower_begins_behind_what_is_hidden_and_forgets_what_is_erased,
    what_is_not_seen_cannot_be_erased,
    one_tombstone_more_than_the_limit_is_refused,
    nobody_reads_what_was_erased_before_the_read_began,
}

/// Two nodes publish at once. Each of them follows all of it, in the same order, every event once, though the wires
/// repeat; and neither is answered before it has been shown its own.
#[test]
fn every_node_follows_the_events_of_all_once_and_in_one_order() {
    const EVENTS: usize = 150;
    let mut random = Random(seed("nodes"));
    let server = Server::start(&Setup::default());
    let nodes: Vec<_> =
        (0..2).map(|_| Arc::new(RemoteLog::connect(&server, random.below(usize::MAX) as u64))).collect();
    let followed: Vec<Followed> = nodes.iter().map(|_| Followed::default()).collect();
    nodes.iter().zip(&followed).for_each(|(node, followed)| node.follow(followed.follower()));
    let publishers: Vec<_> = nodes
        .iter()
        .zip(&followed)
        .enumerate()
        .map(|(n, (node, followed))| {
            let (node, followed) = (Arc::clone(node), followed.clone());
            thread::spawn(move || {
                for sent in 0..EVENTS {
                    let id = append(&*node, vec![event(&["t"], &format!("{n} {sent}"))])[0];
                    assert!(followed.all().iter().any(|seen| seen.id == id), "answered before it was shown");
                }
            })
        })
        .collect();
    publishers.into_iter().for_each(|publisher| publisher.join().expect("ran"));
    let all = read_all(&*nodes[0]);
    assert_eq!(all.len(), 2 * EVENTS);
    for (node, followed) in nodes.iter().zip(&followed) {
        eventually("everything is followed", || followed.all().len() >= all.len());
        assert_eq!(followed.all(), all);
        assert!(node.repeated() > 0, "the wire repeats");
    }
    for n in 0..2 {
        let of_one: Vec<String> = (0..EVENTS).map(|sent| format!("{n} {sent}")).collect();
        let shown: Vec<&str> = texts(&all).into_iter().filter(|text| text.starts_with(&n.to_string())).collect();
        assert_eq!(shown, of_one, "a node's events stay in its order");
    }
}

#[test]
fn an_event_that_another_node_has_published_is_answered_with_its_id_once_it_is_shown_here() {
    let server = Server::start(&Setup::default());
    let [here, there] = [0, 1].map(|n| RemoteLog::connect(&server, seed("two nodes") ^ n));
    let followed = Followed::default();
    here.follow(followed.follower());
    for n in 0..50 {
        let name = format!("x{n}");
        let first = begin_append(&there, vec![event_with_id("t", &name, "same")]);
        let (answer, answered) = mpsc::sync_channel(1);
        let looking = followed.clone();
        here.append(
            vec![event_with_id("t", &name, "same")],
            Box::new(move |result| {
                let id = result.expect("appended")[0];
                answer.send((id, looking.all().iter().any(|seen| seen.id == id))).unwrap_or_default();
            }),
        );
        let first = wait(&first).expect("appended")[0];
        assert_eq!(wait(&answered), (first, true));
        let conflict = try_append(&here, vec![event_with_id("t", &name, "other")]);
        assert_eq!(conflict, Err(AppendError::IdConflict { index: 0, first }));
    }
    assert_eq!(read_all(&there).len(), 50);
}

#[test]
fn a_node_that_comes_late_follows_what_is_there() {
    let server = Server::start(&Setup::default());
    let first = RemoteLog::connect(&server, seed("late"));
    (0..20).for_each(|n| drop(append(&first, vec![event(&["t"], &n.to_string())])));
    let late = RemoteLog::connect(&server, seed("later"));
    let followed = Followed::default();
    late.follow(followed.follower());
    let all = read_all(&first);
    eventually("what is there is followed", || followed.all().len() >= all.len());
    assert_eq!(followed.all(), all);
}
