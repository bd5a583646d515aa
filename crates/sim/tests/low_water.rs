//! Events are removed while readers read: what each is owed, and that a gap must say it.

use tidewire_sim::{
    Answer, Asked, Attempt, Connection, Fault, Filter, History, Item, Moment, Place, Publication, Subscriber, Until,
    Verdict,
};

fn place(seq: u64) -> Place {
    Place { ms: 7, seq }
}

fn checkpoint(seq: u64) -> Item {
    Item::checkpoint(&place(seq).to_string())
}

fn event(seq: u64) -> Item {
    Item::event(&place(seq).to_string(), "message", &format!("content {seq}"))
}

fn expired(asked: &str, resumed_from: u64) -> Item {
    let place = place(resumed_from).to_string();
    Item::gap(&place, asked, &place, "expired")
}

/// Events 1 to 8 were acknowledged, and those up to 4 may have been removed by now. Somebody asks for the earliest.
fn judge(items: impl IntoIterator<Item = Item>) -> Verdict {
    let mut history = History { low_water: place(4), ..History::default() };
    for seq in 1..=8 {
        let attempt = Attempt::answered(Moment(seq * 10), Moment(seq * 10 + 5), Answer::Acknowledged(place(seq)));
        history.publications.push(Publication::new(["a"], &format!("content {seq}")).attempt(attempt));
    }
    let mut connection = Connection::begin(Asked::Earliest, Moment(0));
    connection.items = items.into_iter().collect();
    let reader = Subscriber::new("reader", Filter::any(), Until::Everything).connection(connection);
    history.subscribers.push(reader);
    history.check()
}

fn lost(verdict: &Verdict) -> Vec<u64> {
    let place = |fault: &Fault| match fault {
        Fault::Lost { place, .. } => place.seq,
        other => panic!("{other}"),
    };
    verdict.faults.iter().map(place).collect()
}

#[test]
fn who_asks_for_the_earliest_begins_at_or_below_the_mark() {
    judge([checkpoint(4), event(5), event(6), event(7), event(8)]).assert_clean();
    judge([checkpoint(2), event(3), event(4), event(5), event(6), event(7), event(8)]).assert_clean();
    judge([event(3), event(4), event(5), event(6), event(7), event(8)]).assert_clean();
}

#[test]
fn what_was_kept_must_not_be_passed_over() {
    assert_eq!(lost(&judge([checkpoint(6), event(7), event(8)])), [5, 6]);
    assert_eq!(lost(&judge([])), [5, 6, 7, 8]);
}

/// It was told where it begins: what was removed after that, it must be told of.
#[test]
fn what_was_removed_after_it_began_needs_a_gap() {
    assert_eq!(lost(&judge([checkpoint(1), event(2), event(5), event(6), event(7), event(8)])), [3, 4]);
    let told = [checkpoint(1), event(2), expired("", 4), event(5), event(6), event(7), event(8)];
    let verdict = judge(told);
    verdict.assert_clean();
    assert_eq!(verdict.counts.covered_by_gaps, 2);
}
