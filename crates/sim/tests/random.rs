//! Random histories: what a correct hub does is clean, and with one thing changed it is not.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use tidewire_sim::{
    Answer, Asked, Attempt, Connection, Filter, History, Item, Moment, Place, Publication, Subscriber, Topics, Until,
};

const TOPICS: [&str; 4] = ["a", "b", "c", "d"];
const TYPES: [&str; 2] = ["message", "other"];

/// An event as the hub of this test has it: its place is its number.
#[derive(Clone, Debug)]
struct Event {
    topics: Vec<usize>,
    event_type: usize,
    private: bool,
    has_id: bool,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Acknowledged,
    LostThenAcknowledged,
    LostAndShown,
    LostAndAbsent,
    Refused,
}

#[derive(Clone, Debug)]
struct Reader {
    topics: Option<Vec<usize>>,
    types: Vec<usize>,
    grants: Option<Vec<usize>>,
    asked: Start,
    /// After how many items each connection is cut.
    cuts: Vec<usize>,
    checkpoints: Vec<Index>,
}

#[derive(Clone, Debug)]
enum Start {
    Earliest,
    After(Index),
    Live(Index),
}

fn event() -> impl Strategy<Value = Event> {
    let outcome = prop_oneof![
        6 => Just(Outcome::Acknowledged),
        2 => Just(Outcome::LostThenAcknowledged),
        1 => Just(Outcome::LostAndShown),
        1 => Just(Outcome::LostAndAbsent),
        1 => Just(Outcome::Refused),
    ];
    (vec(0..TOPICS.len(), 1..3), 0..TYPES.len(), any::<bool>(), any::<bool>(), outcome).prop_map(
        |(topics, event_type, private, has_id, outcome)| Event { topics, event_type, private, has_id, outcome },
    )
}

fn reader() -> impl Strategy<Value = Reader> {
    let start =
        prop_oneof![Just(Start::Earliest), any::<Index>().prop_map(Start::After), any::<Index>().prop_map(Start::Live)];
    (
        proptest::option::of(vec(0..TOPICS.len(), 1..3)),
        vec(0..TYPES.len(), 0..2),
        proptest::option::of(vec(0..TOPICS.len(), 1..3)),
        start,
        vec(0..6usize, 0..4),
        vec(any::<Index>(), 0..4),
    )
        .prop_map(|(topics, types, grants, asked, cuts, checkpoints)| Reader {
            topics,
            types,
            grants,
            asked,
            cuts,
            checkpoints,
        })
}

fn place(number: usize) -> Place {
    Place { ms: 1, seq: number as u64 }
}

fn moment(number: usize) -> Moment {
    Moment(number as u64 * 10)
}

fn content(number: usize) -> String {
    format!("content {number}")
}

fn is_shown(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Acknowledged | Outcome::LostThenAcknowledged | Outcome::LostAndShown)
}

/// Events are numbered from 1, so that 0 is before all of them.
fn publication(number: usize, event: &Event) -> Publication {
    let topics = event.topics.iter().map(|t| TOPICS[*t]);
    let mut publication = Publication::new(topics, &content(number)).event_type(TYPES[event.event_type]);
    publication.private = event.private;
    if event.has_id || event.outcome == Outcome::LostThenAcknowledged {
        publication.publisher_id = Some(format!("p{number}"));
    }
    let lost = Attempt::lost(moment(number), Some(moment(number)), moment(number));
    let answered = |answer| Attempt::answered(moment(number), moment(number), answer);
    publication.attempts = match event.outcome {
        Outcome::Acknowledged => vec![answered(Answer::Acknowledged(place(number)))],
        Outcome::LostThenAcknowledged => vec![lost, answered(Answer::Acknowledged(place(number)))],
        Outcome::LostAndShown | Outcome::LostAndAbsent => vec![lost],
        Outcome::Refused => vec![answered(Answer::Refused)],
    };
    publication
}

fn owes(reader: &Reader, event: &Event) -> bool {
    let has = |topics: &Option<Vec<usize>>, none| {
        topics.as_ref().map_or(none, |topics| event.topics.iter().any(|t| topics.contains(t)))
    };
    is_shown(event.outcome)
        && has(&reader.topics, true)
        && (reader.types.is_empty() || reader.types.contains(&event.event_type))
        && (!event.private || has(&reader.grants, false))
}

/// What a correct hub shows to a reader.
fn subscriber(number: usize, reader: &Reader, events: &[Event]) -> Subscriber {
    let these = |topics: &Vec<usize>| Topics::these(topics.iter().map(|t| TOPICS[*t]));
    let filter = Filter {
        topics: reader.topics.as_ref().map_or(Topics::Any, these),
        types: reader.types.iter().map(|t| TYPES[*t].to_owned()).collect(),
        grants: reader.grants.as_ref().map(these),
    };
    let (asked, start) = match &reader.asked {
        Start::Earliest => (Asked::Earliest, 0),
        Start::After(index) => {
            let start = index.index(events.len() + 1);
            (Asked::Id(place(start).to_string()), start)
        }
        Start::Live(index) => (Asked::Live, index.index(events.len() + 1)),
    };
    let checkpoints: Vec<usize> = reader.checkpoints.iter().map(|i| i.index(events.len() + 1)).collect();
    let mut items = Vec::new();
    for (number, event) in (1..).zip(events).skip(start) {
        if owes(reader, event) {
            items.push(Item::event(&place(number).to_string(), TYPES[event.event_type], &content(number)));
        }
        if checkpoints.contains(&number) {
            items.push(Item::checkpoint(&place(number).to_string()));
        }
    }
    let begin = |asked, at: &str| {
        let mut connection = Connection::begin(asked, Moment(0));
        connection.head = Some(moment(start));
        connection.items.push(Item::checkpoint(at));
        connection
    };
    let mut subscriber = Subscriber::new(&format!("reader {number}"), filter, Until::Everything);
    let mut connection = begin(asked, &place(start).to_string());
    let mut cuts = reader.cuts.iter();
    let mut left = cuts.next().copied();
    for item in items {
        while left == Some(0) {
            subscriber.connections.push(connection);
            let asked = subscriber.asks_next().expect("it has a connection");
            let at = subscriber.connections.last().and_then(|c| c.items.last()).expect("it has a checkpoint").id();
            connection = begin(asked, at);
            left = cuts.next().copied();
        }
        left = left.map(|left| left - 1);
        connection.items.push(item);
    }
    subscriber.connection(connection)
}

fn history(events: &[Event], readers: &[Reader]) -> History {
    History {
        publications: (1..).zip(events).map(|(number, event)| publication(number, event)).collect(),
        subscribers: (0..).zip(readers).map(|(number, reader)| subscriber(number, reader, events)).collect(),
        ..History::default()
    }
}

#[derive(Clone, Copy, Debug)]
enum Mutation {
    Drop,
    Repeat,
    Swap,
    Alter,
    Retype,
    Invent,
    Anonymous,
    Refuse,
    ForgetPlace,
    WithdrawAnswer,
}

const MUTATIONS: [Mutation; 10] = [
    Mutation::Drop,
    Mutation::Repeat,
    Mutation::Swap,
    Mutation::Alter,
    Mutation::Retype,
    Mutation::Invent,
    Mutation::Anonymous,
    Mutation::Refuse,
    Mutation::ForgetPlace,
    Mutation::WithdrawAnswer,
];

/// Changes a history into one that must not be; `false` where there is nothing to change.
fn mutate(history: &mut History, mutation: Mutation, at: Index) -> bool {
    let mut seen = Vec::new();
    for (s, subscriber) in history.subscribers.iter().enumerate() {
        for (c, connection) in subscriber.connections.iter().enumerate() {
            for (i, item) in connection.items.iter().enumerate() {
                if matches!(item, Item::Event { .. }) {
                    seen.push((s, c, i));
                }
            }
        }
    }
    if seen.is_empty() {
        return false;
    }
    let (s, c, i) = seen[at.index(seen.len())];
    let place: Place = history.subscribers[s].connections[c].items[i].id().parse().expect("it is the hub's");
    let acknowledged = |p: &Publication| p.attempts.iter().any(|a| a.answer == Answer::Acknowledged(place));
    let publication = history.publications.iter().position(acknowledged);
    let connections = &mut history.subscribers[s].connections;
    let items = &mut connections[c].items;
    match mutation {
        Mutation::Drop => {
            if publication.is_none() {
                return false;
            }
            items.remove(i);
        }
        Mutation::Repeat => items.push(items[i].clone()),
        Mutation::Swap => {
            if i + 1 == items.len() || items[i].id() == items[i + 1].id() {
                return false;
            }
            items.swap(i, i + 1);
        }
        Mutation::Alter | Mutation::Retype => {
            let Item::Event { event_type, content, .. } = &mut items[i] else { return false };
            if matches!(mutation, Mutation::Alter) {
                content.hash ^= 1;
            } else {
                event_type.push('x');
            }
        }
        Mutation::Invent => items.push(Item::event("#2-0", "message", "invented")),
        Mutation::Anonymous => {
            let Item::Event { id, .. } = &mut items[i] else { return false };
            id.clear();
        }
        Mutation::Refuse => {
            let Some(publication) = publication else { return false };
            history.publications[publication].attempts = vec![Attempt::answered(Moment(0), Moment(0), Answer::Refused)];
        }
        Mutation::ForgetPlace => {
            if c == 0 {
                return false;
            }
            connections[c].asked = Asked::Last(1);
        }
        Mutation::WithdrawAnswer => {
            // The answer named another place than the one at which it was shown.
            let Some(publication) = publication else { return false };
            history.publications[publication].attempts =
                vec![Attempt::answered(Moment(0), Moment(1_000_000), Answer::Acknowledged(Place { ms: 2, seq: 1 }))];
        }
    }
    true
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, max_global_rejects: 100_000, ..ProptestConfig::default() })]

    #[test]
    fn what_a_correct_hub_does_is_clean(
        events in vec(event(), 0..40),
        readers in vec(reader(), 0..5),
    ) {
        let verdict = history(&events, &readers).check();
        prop_assert!(verdict.is_clean(), "{verdict}");
    }

    #[test]
    fn one_thing_changed_is_found(
        events in vec(event(), 1..40),
        readers in vec(reader(), 1..5),
        mutation in proptest::sample::select(&MUTATIONS[..]),
        at in any::<Index>(),
    ) {
        let mut history = history(&events, &readers);
        prop_assume!(mutate(&mut history, mutation, at));
        let verdict = history.check();
        prop_assert!(!verdict.is_clean(), "{mutation:?} was not found in {history:#?}");
    }
}
