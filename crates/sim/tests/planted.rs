//! The checker against histories with one fault each: it finds that one, and nothing else.

use tidewire_sim::{
    Answer, Asked, Attempt, Connection, Demands, End, Fault, Filter, History, Item, Kill, Moment, Place, Publication,
    Subscriber, Topics, Until, Verdict,
};

fn place(seq: u64) -> Place {
    Place { ms: 7, seq }
}

fn id(seq: u64) -> String {
    place(seq).to_string()
}

fn event(seq: u64) -> Item {
    Item::event(&id(seq), "message", &format!("content {seq}"))
}

fn checkpoint(seq: u64) -> Item {
    Item::checkpoint(&id(seq))
}

fn publication(seq: u64, topic: &str) -> Publication {
    Publication::new([topic], &format!("content {seq}")).publisher_id(&format!("p{seq}"))
}

fn acknowledged(seq: u64) -> Attempt {
    Attempt::answered(Moment(seq * 10), Moment(seq * 10 + 5), Answer::Acknowledged(place(seq)))
}

fn connection(asked: Asked, items: impl IntoIterator<Item = Item>) -> Connection {
    let mut connection = Connection::begin(asked, Moment(0));
    connection.head = Some(Moment(1));
    connection.items = items.into_iter().collect();
    connection
}

/// Events 1 to 8 on topics `a` (odd) and `b` (even): 4 is private, 5 was never answered and
/// appears, 7 was lost once and then acknowledged. Event 9 was refused, event 10 never answered
/// and does not appear. The hub was killed at 61. Readers: everything with grants over two
/// connections (0), `a` from the beginning (1), everything without grants, live (2).
fn correct() -> History {
    let mut history = History::default();
    for seq in 1..=8 {
        let mut publication = publication(seq, if seq % 2 == 1 { "a" } else { "b" });
        publication.private = seq == 4;
        let lost = Attempt::lost(Moment(seq * 10 - 9), Some(Moment(seq * 10 - 9)), Moment(seq * 10));
        publication.attempts = match seq {
            5 => vec![lost],
            7 => vec![lost, acknowledged(seq)],
            _ => vec![acknowledged(seq)],
        };
        history.publications.push(publication);
    }
    history.publications.push(publication(9, "a").attempt(Attempt::answered(Moment(90), Moment(91), Answer::Refused)));
    history.publications.push(publication(10, "a").attempt(Attempt::lost(Moment(90), None, Moment(99))));
    history.kills.push(Kill { from: Moment(61), to: Moment(61) });

    let mut cut = connection(Asked::Earliest, [checkpoint(0), event(1), event(2), event(3), event(4), event(5)]);
    cut.end = End::InFrame;
    cut.ended = Some(Moment(62));
    let resumed = connection(Asked::Id(id(5)), [checkpoint(5), event(6), event(7), checkpoint(7), event(8)]);
    let all = Filter::any().grants(Topics::these(["b"]));
    history.subscribers.push(Subscriber::new("granted", all, Until::Everything).connection(cut).connection(resumed));
    let odd = connection(Asked::Earliest, [checkpoint(0), event(1), event(3), event(5), event(7), checkpoint(8)]);
    history.subscribers.push(Subscriber::new("odd", Filter::topics(["a"]), Until::Everything).connection(odd));
    let mut none = connection(Asked::Live, []);
    none.end = End::BetweenFrames;
    none.ended = Some(Moment(61));
    let mut live = connection(Asked::Live, [checkpoint(4), event(5), event(6), event(7), event(8)]);
    live.head = Some(Moment(49));
    let stranger = Subscriber::new("stranger", Filter::any(), Until::Everything);
    history.subscribers.push(stranger.connection(none).connection(live));
    history
}

fn items(history: &mut History, reader: usize, connection: usize) -> &mut Vec<Item> {
    &mut history.subscribers[reader].connections[connection].items
}

/// The one fault of a history that was correct before `plant`.
fn planted(plant: impl FnOnce(&mut History)) -> Fault {
    let mut history = correct();
    plant(&mut history);
    let verdict = history.check();
    assert_eq!(verdict.faults.len(), 1, "{verdict}");
    verdict.faults.into_iter().next().expect("just counted")
}

fn clean(change: impl FnOnce(&mut History)) -> Verdict {
    let mut history = correct();
    change(&mut history);
    let verdict = history.check();
    verdict.assert_clean();
    verdict
}

macro_rules! assert_planted {
    ($pattern:pat $(if $guard:expr)?, $plant:expr) => {
        let fault = planted($plant);
        assert!(matches!(&fault, $pattern $(if $guard)?), "{fault}");
        assert!(fault.to_string().starts_with(fault.name()));
    };
}

#[test]
fn a_correct_history_is_clean_and_counted() {
    let verdict = clean(|_| {});
    let counts = verdict.counts;
    assert_eq!((counts.acknowledged, counts.unanswered, counts.unanswered_shown, counts.refused), (7, 2, 1, 1));
    assert_eq!((counts.subscribers, counts.connections, counts.delivered, counts.checkpoints), (3, 5, 16, 6));
    assert_eq!((counts.attempts_lost, counts.gaps, counts.covered_by_gaps), (3, 0, 0));
    assert_eq!(
        (counts.kills, counts.kills_in_flight, counts.kills_in_frame, counts.kills_after_head),
        (1, 1, 1, 1),
        "{verdict}"
    );
    assert!(verdict.to_string().ends_with("no fault"));
}

#[test]
fn an_acknowledged_event_that_is_missing_is_lost() {
    assert_planted!(
        Fault::Lost { reader, acknowledged: true, place: Place { seq: 3, .. }, before: Some(Place { seq: 2, .. }), after: Some(Place { seq: 4, .. }), .. }
            if reader == "granted",
        |h| {
            items(h, 0, 0).remove(3);
        }
    );
}

#[test]
fn losses_at_the_end_and_between_connections_are_losses() {
    assert_planted!(Fault::Lost { after: None, .. }, |h| {
        items(h, 0, 1).pop();
    });
    assert_planted!(Fault::Lost { place: Place { seq: 6, .. }, .. }, |h| {
        items(h, 0, 1).remove(1);
    });
}

#[test]
fn a_reader_that_saw_nothing_lost_everything() {
    let mut history = correct();
    items(&mut history, 1, 0).clear();
    let verdict = history.check();
    assert_eq!(verdict.faults.iter().filter(|f| matches!(f, Fault::Lost { .. })).count(), 4, "{verdict}");
}

#[test]
fn a_live_reader_is_owed_what_was_sent_after_its_head() {
    assert_planted!(Fault::Lost { place: Place { seq: 6, .. }, .. }, |h| {
        // Event 5 was sent before the head, at the earliest.
        h.subscribers[2].connections[1].head = Some(Moment(50));
        *items(h, 2, 1) = vec![checkpoint(6), event(7), event(8)];
    });
}

#[test]
fn what_was_never_answered_appears_to_everyone_or_to_nobody() {
    assert_planted!(Fault::Lost { acknowledged: false, place: Place { seq: 5, .. }, .. }, |h| {
        items(h, 1, 0).remove(3);
    });
    clean(|h| {
        items(h, 0, 0).remove(5);
        h.subscribers[0].connections[1].asked = Asked::Id(id(4));
        items(h, 1, 0).remove(3);
        items(h, 2, 1).remove(1);
    });
}

#[test]
fn a_reader_that_stopped_early_is_owed_what_it_passed() {
    clean(|h| {
        h.subscribers[0].until = Until::LastSeen;
        items(h, 0, 1).truncate(2);
    });
    assert_planted!(Fault::Lost { place: Place { seq: 6, .. }, .. }, |h| {
        h.subscribers[0].until = Until::LastSeen;
        *items(h, 0, 1) = vec![event(7)];
    });
    assert_planted!(Fault::Lost { place: Place { seq: 7, .. }, after: None, .. }, |h| {
        // A checkpoint passes over it.
        h.subscribers[1].until = Until::LastSeen;
        items(h, 1, 0).remove(4);
    });
}

#[test]
fn an_event_that_comes_twice_is_a_duplicate() {
    assert_planted!(Fault::Duplicate { connection: 1, place: Place { seq: 6, .. }, .. }, |h| {
        items(h, 0, 1).insert(2, event(6));
    });
    assert_planted!(Fault::Duplicate { connection: 1, place: Place { seq: 2, .. }, .. }, |h| {
        items(h, 0, 1).insert(1, event(2));
    });
}

#[test]
fn events_that_change_places_are_out_of_order() {
    assert_planted!(Fault::OutOfOrder { place: Place { seq: 2, .. }, behind: Place { seq: 3, .. }, .. }, |h| {
        items(h, 0, 0).swap(2, 3);
    });
}

#[test]
fn an_event_behind_a_checkpoint_is_found() {
    assert_planted!(Fault::BehindCheckpoint { place: Place { seq: 7, .. }, .. }, |h| {
        items(h, 1, 0).swap(4, 5);
    });
}

#[test]
fn an_event_before_what_was_asked_is_found() {
    assert_planted!(Fault::BehindStart { place: Place { seq: 3, .. }, .. }, |h| {
        h.subscribers[1].connections[0].asked = Asked::Id(id(4));
        items(h, 1, 0).drain(..2);
    });
}

#[test]
fn a_checkpoint_that_goes_back_is_found() {
    assert_planted!(Fault::CheckpointBack { checkpoint: Place { seq: 5, .. }, .. }, |h| {
        items(h, 0, 1)[3] = checkpoint(5);
    });
}

#[test]
fn an_event_of_another_topic_or_type_was_not_asked_for() {
    assert_planted!(Fault::Unasked { place: Place { seq: 2, .. }, .. }, |h| {
        items(h, 1, 0).insert(2, event(2));
    });
    assert_planted!(Fault::Unasked { .. }, |h| {
        let filter = Filter::any().types(["other"]);
        let reader = connection(Asked::Earliest, [event(1)]);
        h.subscribers.push(Subscriber::new("typed", filter, Until::Everything).connection(reader));
    });
}

#[test]
fn a_private_event_to_a_reader_without_a_grant_is_a_leak() {
    assert_planted!(Fault::PrivateLeak { place: Place { seq: 4, .. }, reader, .. } if reader == "stranger", |h| {
        items(h, 2, 1)[0] = checkpoint(3);
        items(h, 2, 1).insert(1, event(4));
    });
    assert_planted!(Fault::PrivateLeak { .. }, |h| {
        // A grant for another topic is none.
        h.subscribers[0].filter = Filter::any().grants(Topics::these(["a"]));
    });
}

#[test]
fn one_granted_topic_of_an_event_is_enough() {
    clean(|h| h.publications[3].topics.push("c".to_owned()));
    clean(|h| h.subscribers[0].filter = Filter::any().grants(Topics::Any));
}

#[test]
fn an_unknown_id_must_be_answered_with_a_gap() {
    assert_planted!(Fault::GapUnsaid { asked, .. } if asked == "nonsense", |h| {
        let reader = connection(Asked::Id("nonsense".to_owned()), [checkpoint(8)]);
        h.subscribers.push(Subscriber::new("lost", Filter::any(), Until::Everything).connection(reader));
    });
    clean(|h| {
        let items = [Item::gap(&id(6), "nonsense", &id(6), "unknown"), event(7), event(8)];
        let reader = connection(Asked::Id("nonsense".to_owned()), items);
        h.subscribers.push(Subscriber::new("told", Filter::any(), Until::Everything).connection(reader));
    });
}

#[test]
fn a_publishers_id_is_a_place() {
    let reader = |items: Vec<Item>| {
        let connection = connection(Asked::Id("p6".to_owned()), items);
        Subscriber::new("by publisher's id", Filter::any(), Until::Everything).connection(connection)
    };
    clean(|h| h.subscribers.push(reader(vec![checkpoint(6), event(7), event(8)])));
    assert_planted!(Fault::Lost { place: Place { seq: 7, .. }, .. }, |h| {
        h.subscribers.push(reader(vec![checkpoint(6), event(8)]));
    });
}

#[test]
fn a_loss_that_a_gap_covers_is_allowed() {
    let verdict = clean(|h| {
        *items(h, 0, 1) = vec![Item::gap(&id(7), &id(5), &id(7), "expired"), event(8)];
    });
    assert_eq!((verdict.counts.gaps, verdict.counts.covered_by_gaps), (1, 2));
    assert_planted!(Fault::Lost { place: Place { seq: 7, .. }, .. }, |h| {
        *items(h, 0, 1) = vec![Item::gap(&id(6), &id(5), &id(6), "expired"), event(8)];
    });
}

#[test]
fn a_gap_that_goes_back_may_repeat_but_not_lose() {
    let gap = || Item::gap(&id(2), &id(5), &id(2), "epoch");
    clean(|h| {
        *items(h, 0, 1) = vec![gap(), event(3), event(4), event(5), event(6), event(7), event(8)];
    });
    assert_planted!(Fault::Lost { place: Place { seq: 4, .. }, .. }, |h| {
        *items(h, 0, 1) = vec![gap(), event(3), event(5), event(6), event(7), event(8)];
    });
}

#[test]
fn a_gap_quotes_what_was_asked() {
    assert_planted!(Fault::GapMisquoted { quoted, .. } if quoted == "#7-4", |h| {
        *items(h, 0, 1) = vec![Item::gap(&id(6), &id(4), &id(6), "expired"), event(7), event(8)];
    });
    clean(|h| {
        let long = "x".repeat(5000);
        let items = [Item::gap(&id(8), &long[..256], &id(8), "unknown")];
        let reader = connection(Asked::Id(long), items);
        h.subscribers.push(Subscriber::new("long", Filter::any(), Until::Everything).connection(reader));
    });
}

#[test]
fn a_client_that_forgets_its_place_is_found() {
    assert_planted!(Fault::WrongResume { expected: Asked::Id(expected), .. } if expected == "#7-5", |h| {
        h.subscribers[0].connections[1].asked = Asked::Live;
    });
    assert_planted!(Fault::WrongResume { expected: Asked::Live, .. }, |h| {
        h.subscribers[2].connections[1].asked = Asked::Id(id(4));
    });
}

#[test]
fn an_id_that_is_not_the_hubs_is_bad() {
    assert_planted!(Fault::BadId { id, .. } if id == "p6", |h| {
        items(h, 0, 1)[0] = Item::checkpoint("p6");
    });
    assert_planted!(Fault::BadId { id, .. } if id.is_empty(), |h| {
        items(h, 0, 1).push(Item::event("", "message", "content 8"));
    });
}

#[test]
fn a_content_or_type_that_was_not_sent_is_altered() {
    assert_planted!(Fault::Altered { place: Place { seq: 2, .. }, .. }, |h| {
        items(h, 0, 0)[2] = Item::event(&id(2), "message", "content");
    });
    assert_planted!(Fault::Altered { seen: (seen, _), .. } if seen == "other", |h| {
        items(h, 0, 0)[2] = Item::event(&id(2), "other", "content 2");
    });
}

#[test]
fn an_event_that_nobody_sent_is_invented() {
    assert_planted!(Fault::Invented { place: Place { seq: 9, .. }, .. }, |h| {
        items(h, 0, 1).push(Item::event(&id(9), "message", "who said this"));
    });
}

#[test]
fn readers_that_see_different_events_under_one_id_disagree() {
    assert_planted!(Fault::Disagreement { place: Place { seq: 5, .. }, .. }, |h| {
        items(h, 1, 0)[3] = Item::event(&id(5), "message", "content five");
    });
}

#[test]
fn an_event_that_was_refused_must_not_appear() {
    assert_planted!(Fault::RefusedShown { .. }, |h| items(h, 0, 1).push(event(9)));
    let verdict = clean(|h| {
        // Unless it was also sent and not answered.
        h.publications[8].attempts.push(Attempt::lost(Moment(80), None, Moment(99)));
        items(h, 0, 1).push(event(9));
        items(h, 1, 0).pop();
        items(h, 1, 0).push(event(9));
        items(h, 2, 1).push(event(9));
    });
    assert_eq!(verdict.counts.refused, 0);
}

#[test]
fn an_event_that_lies_twice_in_the_log_is_doubled() {
    assert_planted!(Fault::Doubled { first: Some(Place { seq: 7, .. }), .. }, |h| {
        items(h, 0, 1).push(Item::event(&id(9), "message", "content 7"));
    });
    assert_planted!(Fault::Doubled { first: None, .. }, |h| {
        items(h, 0, 1).push(Item::event(&id(9), "message", "content 5"));
    });
}

#[test]
fn without_a_publishers_id_each_lost_attempt_may_appear() {
    let shown = |count: usize| {
        move |h: &mut History| {
            let mut publication = Publication::new(["c"], "again");
            publication.attempts = vec![Attempt::lost(Moment(80), None, Moment(99)); 2];
            h.publications.push(publication);
            let items = (0..count as u64).map(|n| Item::event(&id(20 + n), "message", "again"));
            let reader = connection(Asked::Earliest, items);
            let filter = Filter::topics(["c"]);
            h.subscribers.push(Subscriber::new("c", filter, Until::LastSeen).connection(reader));
            h.subscribers[0].until = Until::LastSeen;
            h.subscribers[2].until = Until::LastSeen;
        }
    };
    clean(shown(2));
    assert_planted!(Fault::Doubled { .. }, shown(3));
}

#[test]
fn attempts_under_one_publishers_id_have_one_answer() {
    assert_planted!(Fault::AnswersDiffer { first: Place { seq: 1, .. }, second: Place { seq: 20, .. }, .. }, |h| {
        h.publications[0].attempts.push(Attempt::answered(Moment(80), Moment(90), Answer::Acknowledged(place(20))));
    });
    clean(|h| {
        // The same, written down apart.
        let again =
            publication(1, "a").attempt(Attempt::answered(Moment(80), Moment(90), Answer::Acknowledged(place(1))));
        h.publications.push(again);
    });
}

#[test]
fn an_id_that_is_given_twice_is_found() {
    assert_planted!(Fault::PlaceShared { place: Place { seq: 1, .. }, .. }, |h| {
        h.publications.push(Publication::new(["a"], "content 1").attempt(acknowledged(1)));
    });
}

#[test]
fn what_is_sent_after_an_answer_lies_after_it() {
    assert_planted!(Fault::AgainstTime { place: Place { seq: 2, .. }, before: Place { seq: 3, .. }, .. }, |h| {
        h.publications[1].attempts = vec![Attempt::answered(Moment(36), Moment(37), Answer::Acknowledged(place(2)))];
    });
}

#[test]
fn a_test_that_was_too_easy_fails() {
    let demands = Demands { kills: 1, kills_in_flight: 1, kills_in_frame: 1, kills_after_head: 1 };
    correct().check().demand(demands).assert_clean();
    for demands in [
        Demands { kills: 2, ..demands },
        Demands { kills_in_flight: 2, ..demands },
        Demands { kills_in_frame: 2, ..demands },
        Demands { kills_after_head: 2, ..demands },
    ] {
        let verdict = correct().check().demand(demands);
        assert!(matches!(verdict.faults[..], [Fault::TooWeak { counted: 1, needed: 2, .. }]), "{verdict}");
    }
}

#[test]
fn a_kill_counts_only_what_it_ended() {
    let count = |change: fn(&mut History)| clean(change).counts;
    assert_eq!(count(|h| h.publications[6].attempts[0].written = None).kills_in_flight, 0);
    assert_eq!(count(|h| h.publications[6].attempts[0].ended = Moment(60)).kills_in_flight, 0);
    assert_eq!(count(|h| h.publications[6].attempts[0].written = Some(Moment(62))).kills_in_flight, 0);
    let during = count(|h| {
        h.publications[6].attempts[0].written = Some(Moment(62));
        h.kills[0].to = Moment(63);
    });
    assert_eq!(during.kills_in_flight, 1, "it was written before the kill was over");
    assert_eq!(count(|h| h.subscribers[0].connections[0].ended = Some(Moment(60))).kills_in_frame, 0);
    assert_eq!(count(|h| h.subscribers[0].connections[0].head = Some(Moment(62))).kills_in_frame, 0);
    assert_eq!(count(|h| h.subscribers[0].connections[0].end = End::BetweenFrames).kills_in_frame, 0);
    assert_eq!(count(|h| h.subscribers[2].connections[0].head = None).kills_after_head, 0);
    assert_eq!(count(|h| h.subscribers[2].connections[0].end = End::Whole).kills_after_head, 0);
}

#[test]
fn a_long_report_is_cut() {
    let mut history = correct();
    for seq in 0..100 {
        items(&mut history, 0, 1).push(Item::event(&id(100 + seq), "message", &format!("unknown {seq}")));
    }
    let report = history.check().to_string();
    assert!(report.contains("100 faults: 100 × invented;"), "{report}");
    assert!(report.ends_with("and 80 more"), "{report}");
}
