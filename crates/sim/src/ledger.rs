use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{Answer, Digest, Fault, Filter, History, Item, Moment, Place, Publication, Topics, Verdict};

/// The log as far as it can be known: every place that was acknowledged or seen, with the
/// publications that may lie there.
pub(crate) struct Ledger<'h> {
    publications: Vec<Publication>,
    places: BTreeMap<Place, Entry>,
    by_topic: HashMap<&'h str, Vec<Place>>,
    /// The last place that was acknowledged.
    pub(crate) acknowledged_to: Place,
}

/// What is known of one place.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) acknowledged: bool,
    /// Indices of the publications that may lie here: one, unless events that were never
    /// answered are alike.
    candidates: Vec<usize>,
}

/// A place that was seen and never acknowledged.
struct Sighting {
    reader: usize,
    content: (String, Digest),
}

impl<'h> Ledger<'h> {
    pub(crate) fn new(history: &'h History, verdict: &mut Verdict) -> Ledger<'h> {
        let publications = merged(&history.publications);
        let mut ledger =
            Ledger { publications, places: BTreeMap::new(), by_topic: HashMap::new(), acknowledged_to: Place::ZERO };
        ledger.enter_acknowledged(verdict);
        ledger.enter_seen(history, verdict);
        ledger.check_time(verdict);
        ledger.index_topics(history);
        ledger
    }

    pub(crate) fn entry(&self, place: Place) -> Option<&Entry> {
        self.places.get(&place)
    }

    /// The publications that may lie at an entry.
    pub(crate) fn candidates(&self, entry: &Entry) -> impl Iterator<Item = &Publication> {
        entry.candidates.iter().map(|index| &self.publications[*index])
    }

    /// The entries from a place to another at which every candidate is owed to such a reader, in order.
    pub(crate) fn owed<'a>(
        &'a self,
        filter: &'a Filter,
        from: Place,
        to: Place,
    ) -> impl Iterator<Item = (Place, &'a Entry)> {
        let places: Box<dyn Iterator<Item = Place>> = match &filter.topics {
            Topics::Any => Box::new(self.places.range(from..=to.max(from)).map(|(place, _)| *place)),
            Topics::These(topics) => {
                let places: BTreeSet<Place> =
                    topics.iter().filter_map(|t| self.by_topic.get(t.as_str())).flatten().copied().collect();
                Box::new(places.into_iter())
            }
        };
        places.filter_map(|place| {
            let entry = &self.places[&place];
            let owed = !entry.candidates.is_empty() && self.candidates(entry).all(|p| filter.owes(p));
            owed.then_some((place, entry))
        })
    }

    /// Every publication, those of one publisher's id as one.
    pub(crate) fn publications(&self) -> &[Publication] {
        &self.publications
    }

    /// Every place, in order, with the publications that may lie there.
    pub(crate) fn places(&self) -> impl Iterator<Item = (Place, impl Iterator<Item = &Publication>)> {
        self.places.iter().map(|(place, entry)| (*place, self.candidates(entry)))
    }

    /// Whether any publication bears this publisher's id and was not refused, and the first
    /// place at which a reader with this filter may find it.
    pub(crate) fn find(&self, publisher_id: &str, filter: &Filter) -> (bool, Option<Place>) {
        let bears = |p: &Publication| p.publisher_id.as_deref() == Some(publisher_id) && filter.may_read(p);
        let sent = self.publications.iter().any(|p| bears(p) && !is_refused(p));
        let place = self.places.iter().find(|(_, entry)| self.candidates(entry).any(bears)).map(|(place, _)| *place);
        (sent, place)
    }

    /// When an entry was first sent, at the earliest.
    pub(crate) fn began(&self, entry: &Entry) -> Option<Moment> {
        self.candidates(entry).flat_map(|p| &p.attempts).map(|attempt| attempt.began).min()
    }

    fn enter_acknowledged(&mut self, verdict: &mut Verdict) {
        for (index, publication) in self.publications.iter().enumerate() {
            let mut first = None;
            verdict.counts.attempts_lost +=
                publication.attempts.iter().filter(|attempt| attempt.answer == Answer::None).count();
            for place in acknowledged(publication) {
                if let Some(first) = first.filter(|first| *first != place)
                    && publication.publisher_id.is_some()
                {
                    verdict.faults.push(Fault::AnswersDiffer { event: publication.to_string(), first, second: place });
                    continue;
                }
                if first == Some(place) && publication.publisher_id.is_some() {
                    continue;
                }
                first = Some(place);
                verdict.counts.acknowledged += 1;
                self.acknowledged_to = self.acknowledged_to.max(place);
                if let Some(other) = self.places.get(&place) {
                    verdict.faults.push(Fault::PlaceShared {
                        place,
                        events: [self.publications[other.candidates[0]].to_string(), publication.to_string()],
                    });
                } else {
                    self.places.insert(place, Entry { acknowledged: true, candidates: vec![index] });
                }
            }
            if first.is_none() {
                if is_refused(publication) {
                    verdict.counts.refused += 1;
                } else if !publication.attempts.is_empty() {
                    verdict.counts.unanswered += 1;
                }
            }
        }
    }

    /// Gives every place that was seen and not acknowledged the events that may lie there: of
    /// this content, sent and never answered, and not more often than they were sent.
    fn enter_seen(&mut self, history: &History, verdict: &mut Verdict) {
        let mut by_content: BTreeMap<(String, Digest), Vec<(Place, usize)>> = BTreeMap::new();
        for (place, sighting) in self.sightings(history, verdict) {
            by_content.entry(sighting.content).or_default().push((place, sighting.reader));
        }
        let mut sent: HashMap<Digest, Vec<usize>> = HashMap::new();
        for (index, publication) in self.publications.iter().enumerate() {
            sent.entry(publication.content).or_default().push(index);
        }
        for (content, sightings) in by_content {
            let same = sent.get(&content.1).into_iter().flatten().copied();
            let alike: Vec<usize> = same.filter(|i| self.publications[*i].event_type == content.0).collect();
            let open: Vec<usize> = alike.iter().copied().filter(|i| may_appear(&self.publications[*i]) > 0).collect();
            let room: usize = open.iter().map(|i| may_appear(&self.publications[*i])).sum();
            for (nth, (place, reader)) in sightings.into_iter().enumerate() {
                if nth < room {
                    verdict.counts.unanswered_shown += 1;
                } else {
                    let reader = history.subscribers[reader].name.clone();
                    verdict.faults.push(self.unaccounted(reader, place, &content, &alike));
                }
                let candidates = if nth < room { open.clone() } else { Vec::new() };
                self.places.insert(place, Entry { acknowledged: false, candidates });
            }
        }
    }

    fn sightings(&self, history: &History, verdict: &mut Verdict) -> BTreeMap<Place, Sighting> {
        let mut sightings: BTreeMap<Place, Sighting> = BTreeMap::new();
        for (reader, subscriber) in history.subscribers.iter().enumerate() {
            for item in subscriber.connections.iter().flat_map(|c| &c.items) {
                let Item::Event { id, event_type, content } = item else { continue };
                let Ok(place) = id.parse::<Place>() else { continue };
                if self.places.contains_key(&place) {
                    continue;
                }
                let content = (event_type.clone(), *content);
                match sightings.get(&place) {
                    None => {
                        sightings.insert(place, Sighting { reader, content });
                    }
                    Some(first) if first.content != content => verdict.faults.push(Fault::Disagreement {
                        place,
                        readers: [history.subscribers[first.reader].name.clone(), subscriber.name.clone()],
                        seen: [first.content.clone(), content],
                    }),
                    Some(_) => {}
                }
            }
        }
        sightings
    }

    fn unaccounted(&self, reader: String, place: Place, seen: &(String, Digest), alike: &[usize]) -> Fault {
        let sent = alike.iter().map(|i| &self.publications[*i]).find(|p| !is_refused(p));
        match (sent, alike.first()) {
            (Some(sent), _) => {
                Fault::Doubled { reader, place, event: sent.to_string(), first: acknowledged(sent).next() }
            }
            (None, Some(refused)) => {
                Fault::RefusedShown { reader, place, event: self.publications[*refused].to_string() }
            }
            (None, None) => Fault::Invented { reader, place, seen: seen.clone() },
        }
    }

    /// What was acknowledged before another was first sent lies before it.
    fn check_time(&self, verdict: &mut Verdict) {
        let mut earliest: Option<(Moment, Place)> = None;
        for (place, entry) in self.places.iter().rev() {
            let Some(began) = self.began(entry) else { continue };
            if let Some((_, before)) = earliest.filter(|(ended, _)| *ended < began) {
                let event = self.candidates(entry).next().map(Publication::to_string).unwrap_or_default();
                verdict.faults.push(Fault::AgainstTime { event, place: *place, before });
            }
            let acknowledged = self
                .candidates(entry)
                .flat_map(|p| &p.attempts)
                .filter(|attempt| attempt.answer == Answer::Acknowledged(*place))
                .map(|attempt| attempt.ended)
                .min();
            if let Some(ended) = acknowledged
                && earliest.is_none_or(|(earliest, _)| ended < earliest)
            {
                earliest = Some((ended, *place));
            }
        }
    }

    fn index_topics(&mut self, history: &'h History) {
        let asked: BTreeSet<&'h str> = history
            .subscribers
            .iter()
            .filter_map(|s| match &s.filter.topics {
                Topics::Any => None,
                Topics::These(topics) => Some(topics.iter().map(String::as_str)),
            })
            .flatten()
            .collect();
        for (place, entry) in &self.places {
            let topics: BTreeSet<&str> =
                entry.candidates.iter().flat_map(|i| &self.publications[*i].topics).map(String::as_str).collect();
            for topic in topics {
                if let Some(topic) = asked.get(topic) {
                    self.by_topic.entry(topic).or_default().push(*place);
                }
            }
        }
    }
}

/// One record for each event that bears a publisher's id, however many records its attempts
/// were written down in.
fn merged(publications: &[Publication]) -> Vec<Publication> {
    let mut merged: Vec<Publication> = Vec::with_capacity(publications.len());
    let mut known = HashMap::new();
    for publication in publications {
        if let Some(id) = &publication.publisher_id {
            let key = (id, &publication.topics, &publication.event_type, publication.private, publication.content);
            if let Some(index) = known.get(&key) {
                let same: &mut Publication = &mut merged[*index];
                same.attempts.extend(&publication.attempts);
                continue;
            }
            known.insert(key, merged.len());
        }
        merged.push(publication.clone());
    }
    merged
}

fn acknowledged(publication: &Publication) -> impl Iterator<Item = Place> {
    publication.attempts.iter().filter_map(|attempt| match attempt.answer {
        Answer::Acknowledged(place) => Some(place),
        Answer::Refused | Answer::None => None,
    })
}

fn is_refused(publication: &Publication) -> bool {
    !publication.attempts.is_empty() && publication.attempts.iter().all(|attempt| attempt.answer == Answer::Refused)
}

/// At how many places without an acknowledgement it may appear.
fn may_appear(publication: &Publication) -> usize {
    let lost = publication.attempts.iter().filter(|attempt| attempt.answer == Answer::None).count();
    match publication.publisher_id {
        None => lost,
        Some(_) if acknowledged(publication).next().is_some() => 0,
        Some(_) => lost.min(1),
    }
}
