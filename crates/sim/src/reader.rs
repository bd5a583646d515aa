use std::collections::BTreeSet;

use crate::ledger::{Entry, Ledger};
use crate::{Asked, Connection, Digest, Fault, Item, Moment, Place, Subscriber, Until, Verdict};

/// How many bytes of what was asked a gap quotes at least, where it was longer.
const QUOTED_BYTES: usize = 250;

/// Judges what one subscriber saw.
pub(crate) fn check(subscriber: &Subscriber, ledger: &Ledger<'_>, low_water: Place, verdict: &mut Verdict) {
    let mut reader = Reader {
        subscriber,
        ledger,
        verdict,
        low_water,
        start: None,
        floor: None,
        seen: BTreeSet::new(),
        forgiven: Vec::new(),
        last_id: None,
        owed_since: None,
    };
    for (number, connection) in subscriber.connections.iter().enumerate() {
        reader.connection(number, connection);
    }
    reader.check_losses();
}

/// A reader's way through its connections.
struct Reader<'a, 'h> {
    subscriber: &'a Subscriber,
    ledger: &'a Ledger<'h>,
    verdict: &'a mut Verdict,
    low_water: Place,
    /// It is owed what lies after this place.
    start: Option<Place>,
    /// Nothing may come any more at or below this place, and what said so.
    floor: Option<(Place, Told)>,
    seen: BTreeSet<Place>,
    /// What gaps cover: after the first place, up to the second.
    forgiven: Vec<(Place, Place)>,
    last_id: Option<&'a str>,
    /// A live reader is also owed what was first sent after the head of the stream that told it
    /// its place. What fell between streams that told it none, it could not ask for.
    owed_since: Option<Moment>,
}

/// What told a reader its place.
#[derive(Clone, Copy)]
enum Told {
    Asked,
    Event,
    Checkpoint,
}

impl<'a> Reader<'a, '_> {
    fn connection(&mut self, number: usize, connection: &'a Connection) {
        self.check_resume(number, connection);
        self.check_first_gap(number, connection);
        if self.start.is_none() {
            self.begin(connection);
        }
        for item in &connection.items {
            match item {
                Item::Event { id, event_type, content } => self.event(number, id, (event_type, *content)),
                Item::Checkpoint { id } => self.checkpoint(number, id),
                Item::Gap { id, resumed_from, .. } => self.gap(number, id, resumed_from),
            }
            self.last_id = Some(item.id()).filter(|id| !id.is_empty());
        }
    }

    fn check_resume(&mut self, number: usize, connection: &Connection) {
        if number == 0 {
            return;
        }
        let expected = match self.last_id {
            Some(id) => Asked::Id(id.to_owned()),
            None => self.subscriber.connections[0].asked.clone(),
        };
        if connection.asked != expected {
            self.verdict.faults.push(Fault::WrongResume {
                reader: self.subscriber.name.clone(),
                connection: number,
                asked: connection.asked.clone(),
                expected,
            });
        }
    }

    fn check_first_gap(&mut self, number: usize, connection: &Connection) {
        let (Asked::Id(asked), Some(first)) = (&connection.asked, connection.items.first()) else { return };
        let reader = self.subscriber.name.clone();
        if let Item::Gap { requested, .. } = first {
            let quoted_whole = requested == asked || asked.len() > QUOTED_BYTES && requested.len() >= QUOTED_BYTES;
            if !quoted_whole || !asked.starts_with(requested.as_str()) {
                let (asked, quoted) = (asked.clone(), requested.clone());
                self.verdict.faults.push(Fault::GapMisquoted { reader, connection: number, asked, quoted });
            }
        } else if asked.parse::<Place>().is_err() && !self.ledger.find(asked, &self.subscriber.filter).0 {
            self.verdict.faults.push(Fault::GapUnsaid { reader, connection: number, asked: asked.clone() });
        }
    }

    /// Where the subscriber begins, as far as its first question says it.
    fn begin(&mut self, connection: &Connection) {
        self.owed_since = None;
        self.start = match &connection.asked {
            Asked::Earliest => Some(self.low_water),
            Asked::Id(id) => match id.parse() {
                Ok(place) => Some(place),
                Err(_) => self.ledger.find(id, &self.subscriber.filter).1,
            },
            Asked::Live | Asked::Last(_) => {
                self.owed_since = connection.head;
                None
            }
        };
        // The low-water mark may have been lower when the reader came.
        let is_exact = connection.asked != Asked::Earliest;
        self.floor = self.start.filter(|_| is_exact).map(|start| (start, Told::Asked));
    }

    /// Whoever asked for the earliest is owed what lies after the first place it is told, and what lies after the
    /// low-water mark in any case.
    fn told(&mut self, place: Place) {
        let start = *self.start.get_or_insert(place);
        if self.floor.is_none() {
            self.start = Some(start.min(place));
        }
    }

    fn event(&mut self, number: usize, id: &str, seen: (&str, Digest)) {
        let Some(place) = self.place(number, id) else { return };
        let reader = || self.subscriber.name.clone();
        if !self.seen.insert(place) {
            self.verdict.faults.push(Fault::Duplicate { reader: reader(), connection: number, place });
            return;
        }
        self.told(place);
        match self.floor.filter(|(floor, _)| place <= *floor) {
            Some((behind, told)) => self.verdict.faults.push(match told {
                Told::Event => Fault::OutOfOrder { reader: reader(), connection: number, place, behind },
                Told::Checkpoint => {
                    Fault::BehindCheckpoint { reader: reader(), connection: number, place, checkpoint: behind }
                }
                Told::Asked => Fault::BehindStart { reader: reader(), connection: number, place, start: behind },
            }),
            None => self.floor = Some((place, Told::Event)),
        }
        if let Some(entry) = self.ledger.entry(place) {
            self.check_content(place, entry, seen);
        }
    }

    fn check_content(&mut self, place: Place, entry: &Entry, (event_type, content): (&str, Digest)) {
        let (ledger, filter) = (self.ledger, &self.subscriber.filter);
        let Some(sent) = ledger.candidates(entry).next() else { return };
        let reader = self.subscriber.name.clone();
        if (sent.event_type.as_str(), sent.content) != (event_type, content) {
            // Under an unacknowledged place the ledger has said so already.
            if entry.acknowledged {
                let (sent, seen) = ((sent.event_type.clone(), sent.content), (event_type.to_owned(), content));
                self.verdict.faults.push(Fault::Altered { reader, place, sent, seen });
            }
        } else if !ledger.candidates(entry).any(|p| filter.asks(p)) {
            self.verdict.faults.push(Fault::Unasked { reader, place, event: sent.to_string() });
        } else if !ledger.candidates(entry).any(|p| filter.owes(p)) {
            self.verdict.faults.push(Fault::PrivateLeak { reader, place, event: sent.to_string() });
        }
    }

    fn checkpoint(&mut self, number: usize, id: &str) {
        let Some(place) = self.place(number, id) else { return };
        self.told(place);
        match self.floor.filter(|(floor, _)| place < *floor) {
            Some((behind, _)) => self.verdict.faults.push(Fault::CheckpointBack {
                reader: self.subscriber.name.clone(),
                connection: number,
                checkpoint: place,
                behind,
            }),
            None if self.floor.is_some_and(|(floor, _)| floor == place) => {}
            None => self.floor = Some((place, Told::Checkpoint)),
        }
    }

    fn gap(&mut self, number: usize, id: &str, resumed_from: &str) {
        let (Some(_), Some(place)) = (self.place(number, id), self.place(number, resumed_from)) else { return };
        self.told(place);
        let stood = self.floor.map_or(place, |(floor, _)| floor);
        if place >= stood {
            self.forgiven.push((stood, place));
        } else {
            // The hub says that it goes back, and it may say again what lies there.
            self.seen.retain(|seen| *seen <= place);
            self.start = self.start.map(|start| start.min(place));
        }
        self.floor = Some((place, Told::Asked));
    }

    fn place(&mut self, number: usize, id: &str) -> Option<Place> {
        let place = id.parse().ok();
        if place.is_none() {
            self.verdict.faults.push(Fault::BadId {
                reader: self.subscriber.name.clone(),
                connection: number,
                id: id.to_owned(),
            });
        }
        place
    }

    fn check_losses(&mut self) {
        let floor = self.floor.map_or(Place::ZERO, |(floor, _)| floor);
        let until = match self.subscriber.until {
            Until::Everything => floor.max(self.ledger.acknowledged_to),
            Until::LastSeen => floor,
        };
        // Who came live may be owed what lies before the first place it was told.
        let from = self.start.filter(|_| self.owed_since.is_none()).unwrap_or_default();
        for (place, entry) in self.ledger.owed(&self.subscriber.filter, from, until) {
            let after_start = self.start.is_some_and(|start| place > start);
            let since = self.owed_since.is_some_and(|since| self.ledger.began(entry).is_some_and(|at| at > since));
            if self.seen.contains(&place) || place > until || !(after_start || since) {
                continue;
            }
            if self.forgiven.iter().any(|(after, to)| place > *after && place <= *to) {
                self.verdict.counts.covered_by_gaps += 1;
                continue;
            }
            self.verdict.faults.push(Fault::Lost {
                reader: self.subscriber.name.clone(),
                place,
                event: self.ledger.candidates(entry).next().map(ToString::to_string).unwrap_or_default(),
                acknowledged: entry.acknowledged,
                before: self.seen.range(..place).next_back().copied(),
                after: self.seen.range(place..).next().copied(),
            });
        }
    }
}
