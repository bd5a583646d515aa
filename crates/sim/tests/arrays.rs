//! An array is there whole, or not at all.

use tidewire_sim::{
    Answer, Asked, Attempt, Connection, Fault, Filter, History, Item, Moment, Place, Publication, Subscriber, Until,
    Verdict,
};

fn place(seq: u64) -> Place {
    Place { ms: 7, seq }
}

fn content(seq: u64) -> String {
    format!("content {seq}")
}

/// Array 1 is events 1 to 3 and was never answered; event 4 was sent and acknowledged after it. Somebody reads
/// with this filter and sees these.
fn judge(filter: Filter, until: Until, seen: &[u64]) -> Verdict {
    let mut history = History::default();
    for seq in 1..=3 {
        let lost = Attempt::lost(Moment(1), Some(Moment(2)), Moment(3));
        history.publications.push(Publication::new(["a"], &content(seq)).in_array(1).attempt(lost));
    }
    let answered = Attempt::answered(Moment(4), Moment(5), Answer::Acknowledged(place(4)));
    history.publications.push(Publication::new(["b"], &content(4)).attempt(answered));
    let mut connection = Connection::begin(Asked::Earliest, Moment(0));
    connection.items =
        seen.iter().map(|seq| Item::event(&place(*seq).to_string(), "message", &content(*seq))).collect();
    history.subscribers.push(Subscriber::new("reader", filter, until).connection(connection));
    history.check()
}

#[test]
fn a_whole_array_and_none_are_clean() {
    judge(Filter::any(), Until::Everything, &[1, 2, 3, 4]).assert_clean();
    judge(Filter::any(), Until::Everything, &[4]).assert_clean();
}

#[test]
fn half_an_array_is_found() {
    let verdict = judge(Filter::any(), Until::Everything, &[1, 3, 4]);
    assert_eq!(verdict.faults, [Fault::Torn { array: 1, there: 2, of: 3, first: place(1) }], "{verdict}");
}

/// A kill cuts a reader inside an array; whether the rest is there says one who reads on.
#[test]
fn who_did_not_read_everything_cannot_say() {
    judge(Filter::any(), Until::LastSeen, &[1, 2]).assert_clean();
    judge(Filter::topics(["a"]), Until::Everything, &[1, 2]).assert_clean();
}
