//! The generator against a server that is wrong on purpose: a figure is only worth something if the run sees that.

use std::time::Duration;

use super::fake::{Fault, target};
use super::{Outcome, Plan, put};

/// One publisher with one connection, so that the server gets the events in order.
fn plan() -> Plan {
    Plan {
        connections: 6,
        topics: 2,
        publishers: 1,
        publisher_connections: 1,
        rate: 500.0,
        events: 40,
        settle_s: 0.05,
        patience_s: 2.0,
        saturate: true,
        ..Plan::default()
    }
}

fn run(plan: &Plan, fault: Fault) -> Outcome {
    put(plan, &target(fault), &|| Ok(None)).expect("it is measured")
}

fn problems(fault: Fault) -> Vec<String> {
    run(&plan(), fault).problems(&plan())
}

#[test]
fn a_server_without_faults_has_no_problems() {
    let plan = Plan { warm_up_events: 10, slow_readers: 2, ..plan() };
    let outcome = run(&plan, Fault::None);
    assert_eq!(outcome.problems(&plan), Vec::<String>::new());
    assert_eq!((outcome.due, outcome.counts.delivered), (50 * 3, 50 * 3));
    assert_eq!(outcome.latency.count(), 40 * 2, "of those who read all the time, without the warm-up");
    assert_eq!(outcome.publish_latency.count(), 40);
}

#[test]
fn what_is_lost_is_seen() {
    assert_eq!(problems(Fault::Lose(7)), ["3 deliveries lost"]);
    // The last one of all, behind which nothing comes.
    assert_eq!(problems(Fault::Lose(39)), ["3 deliveries lost"]);
}

#[test]
fn what_is_doubled_is_seen() {
    assert_eq!(problems(Fault::Double(7)), ["3 deliveries doubled"]);
    assert_eq!(problems(Fault::Double(39)), ["3 deliveries doubled"]);
}

#[test]
fn what_is_out_of_order_is_seen() {
    let plan = Plan { topics: 1, ..plan() };
    assert_eq!(run(&plan, Fault::Swap(7)).problems(&plan), ["6 deliveries out of order"]);
}

/// The stamp was all that was looked at: a server that delivered nothing else of its payloads passed, and was fast. Later,
/// one that cut them by less than what it sent around them.
#[test]
fn what_is_not_delivered_whole_is_seen() {
    let plan = Plan { payload: 1_024, ..plan() };
    let problems = |fault| run(&plan, fault).problems(&plan);
    for fault in [Fault::Cut(1), Fault::Cut(977), Fault::Change(1_023), Fault::Change(500)] {
        assert_eq!(problems(fault), ["120 deliveries with other data than was published"], "{fault:?}");
    }
    assert_eq!(problems(Fault::None), Vec::<String>::new());
}

/// A server counts a write after it was made: what was read right after the last delivery came out too low.
#[test]
fn writes_are_counted_once_they_stand() {
    let counts = std::cell::RefCell::new([9, 10, 10, 125, 130, 130].into_iter());
    let plan = Plan { warm_up_events: 1, ..plan() };
    let outcome = put(&plan, &target(Fault::None), &|| Ok(counts.borrow_mut().next())).expect("it is measured");
    assert_eq!(outcome.writes, Some(120));
}

#[test]
fn what_is_for_others_is_seen() {
    assert_eq!(problems(Fault::Stray), ["120 deliveries that were for others"]);
}

#[test]
fn what_is_refused_is_seen_and_not_counted_as_lost() {
    assert_eq!(problems(Fault::Refuse(7)), ["1 events not answered with success (the first: answered with 503)"]);
}

/// A server that never answered a publisher passed, even one that delivered nothing: what was sent and not answered was
/// neither published nor failed, so nothing was due of it.
#[test]
fn what_is_never_answered_is_seen() {
    let plan = Plan { patience_s: 0.3, publisher_connections: 60, ..plan() };
    let none = run(&plan, Fault::NeverAnswer(0));
    assert_eq!(none.problems(&plan), ["40 events never answered"]);
    let plan = Plan { publisher_connections: 1, ..plan };
    let last = run(&plan, Fault::NeverAnswer(39));
    assert_eq!(last.problems(&plan), ["1 events never answered"]);
    // Neither is one of the warm-up forgotten, nor what it kept from being sent.
    let plan = Plan { warm_up_events: 2, ..plan };
    let warm_up = run(&plan, Fault::NeverAnswer(0)).problems(&plan);
    let unsent = "41 events never sent: their publishers got no answers";
    assert_eq!(warm_up, ["1 events never answered", unsent]);
}

#[test]
fn streams_that_end_are_seen() {
    let problems = problems(Fault::Hang(19)).join("; ");
    assert!(problems.contains("6 streams ended by the server"), "{problems}");
    assert!(problems.contains("60 deliveries lost"), "{problems}");
}

/// A stream that sends faster than it is read never comes to its end: the generator read on for as long as its buffer came
/// full, and neither sent nor gave up meanwhile.
#[test]
fn a_server_that_floods_does_not_keep_the_run_from_its_end() {
    let (ended, end) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let plan = Plan { connections: 2, topics: 1, events: 10, patience_s: 0.3, ..plan() };
        let outcome = run(&plan, Fault::Flood(4));
        // The test is over if nobody takes it.
        _ = ended.send((outcome.sent, outcome.problems(&plan)));
    });
    let (sent, problems) = end.recv_timeout(Duration::from_secs(60)).expect("it comes to its end");
    assert_eq!((sent, problems), (10, vec!["10 deliveries lost".to_owned()]));
}

#[test]
fn a_refused_subscription_is_an_error() {
    let error = put(&plan(), &target(Fault::Full), &|| Ok(None)).expect_err("nobody is subscribed");
    assert!(error.to_string().ends_with("with 503"), "{error}");
}

/// Coordinated omission: a generator that waits for the server, or counts from when it sent, sees one slow event where a
/// second's worth of them were late. All that fell due during the stall are late here, each by what was left of it: those
/// that were sent in time, by as many connections as it takes, and those that one connection sent after it.
#[test]
fn a_stall_is_seen_by_all_that_fell_due_in_it() {
    let stall = Fault::Stall(50, Duration::from_millis(400));
    let many = Plan { publisher_connections: 300, saturate: false, events: 300, ..plan() };
    // Their own order is the server's to choose.
    let outcome = run(&many, stall);
    assert_eq!(outcome.problems(&many).iter().filter(|problem| !problem.contains("order")).count(), 0);
    let one = Plan { publisher_connections: 1, saturate: true, ..many };
    for latency in [outcome.latency, run(&one, stall).latency] {
        assert!(latency.max_ms() >= 400.0, "{}", latency.max_ms());
        // 200 of the 300 events fell due during it: the median of all of them is some way into the stall.
        assert!(latency.quantile_ms(0.5) >= 40.0, "{}", latency.quantile_ms(0.5));
    }
}

/// A server that answers its publishers late is not offered less for that: 50 events a second, each answered after 200 ms,
/// take ten connections at a time. With fewer, the run says that it did not offer what it was asked to.
#[test]
fn late_answers_take_more_connections_and_not_less_load() {
    let late = Fault::AnswerLate(Duration::from_millis(200));
    let plan = Plan { rate: 50.0, events: 50, publisher_connections: 60, saturate: false, ..plan() };
    let outcome = run(&plan, late);
    assert_eq!(outcome.problems(&plan), Vec::<String>::new());
    assert!(outcome.publisher_connections >= 10, "{}", outcome.publisher_connections);
    let plan = Plan { publisher_connections: 2, ..plan };
    let outcome = run(&plan, late);
    assert!(outcome.held_back > 0);
    let problems = outcome.problems(&plan);
    assert!(problems.len() == 1 && problems[0].contains("not offered in time"), "{problems:?}");
    assert_eq!(outcome.lost(), 0, "they were only late");
    // 50 events, two at a time: the last one, due within the first second, leaves in the fifth, and is as late as that.
    assert!(outcome.latency.max_ms() >= 2_000.0, "{}", outcome.latency.max_ms());
}
