use std::collections::{BTreeMap, VecDeque};

use tidewire_topic::MatcherSet;

use super::disk::DiskFile;
use super::index::{BadIndex, Index, Postings, RecordIndex};
use crate::Filter;

/// Records are walked over where those that the index finds are more than one in so many.
const WALK_ONE_IN: u32 = 4;
/// The records of so many topics that match a pattern are put in order at most.
const TOPICS_PICKED_MAX: usize = 256;
/// To find a topic in an index and test it with one matcher takes about as long as to walk over so many records, in
/// memory.
const RECORDS_A_TEST: u64 = 12;
/// So many of a topic's records are asked for at once.
const AHEAD: u32 = 32;

/// Which records a walk is for. It may show others too.
#[derive(Clone, Debug)]
pub(crate) enum Wanted<'a> {
    All,
    /// Those that bear one of these topics.
    Topics(Vec<&'a str>),
    /// Those that bear a topic which matches; some of the matchers are patterns or templates.
    Matching(&'a MatcherSet),
    /// Those that bear this publisher's id.
    PublisherId(&'a str),
    /// Those that bear this publisher's id, and this topic first.
    Publication {
        id: &'a str,
        topic: &'a str,
    },
}

impl<'a> Wanted<'a> {
    /// The records among which those lie that a filter admits.
    pub(super) fn by(filter: &'a Filter) -> Wanted<'a> {
        if filter.topics.is_any() {
            Wanted::All
        } else if filter.topics.is_exact() {
            Wanted::Topics(filter.topics.exact().map(|topic| topic.as_str()).collect())
        } else {
            Wanted::Matching(&filter.topics)
        }
    }
}

/// The records of a segment that are wanted, ascending, as its index finds them.
pub(super) struct Picks<F> {
    index: Index<F>,
    sources: Vec<Source>,
}

/// Some of them.
struct Source {
    /// A topic and how many of its records have been asked for.
    rest: Option<(Postings, u32)>,
    /// What was asked for and not yet shown.
    ahead: VecDeque<u32>,
}

impl<F: DiskFile> Picks<F> {
    /// What is wanted of a segment, from one record on. `None` if its records are rather to be walked over.
    pub(super) fn new(index: Index<F>, wanted: &Wanted<'_>, from: u32) -> Result<Option<Picks<F>>, BadIndex> {
        let mut sources = Vec::new();
        let published = |id, topic| -> Result<Source, BadIndex> {
            let records = index.published(id, topic)?;
            Ok(Source { rest: None, ahead: records.into_iter().filter(|&record| record >= from).collect() })
        };
        match wanted {
            // What matches patterns is sought once some records were walked over.
            Wanted::All | Wanted::Matching(_) => return Ok(None),
            Wanted::PublisherId(id) => sources.push(published(id, None)?),
            Wanted::Publication { id, topic } => sources.push(published(id, Some(topic))?),
            Wanted::Topics(topics) => {
                let mut left = index.records().saturating_sub(from) / WALK_ONE_IN;
                for topic in topics {
                    let Some(postings) = index.topic(topic)? else { continue };
                    let Some(source) = Source::of_topic(&index, postings, from, &mut left)? else { return Ok(None) };
                    sources.push(source);
                }
            }
        }
        Ok(Some(Picks { index, sources }))
    }

    /// Over how many records one can walk in the time that it takes to find out which of an index's topics match.
    pub(super) fn records_a_search(index: &Index<F>, set: &MatcherSet) -> u64 {
        u64::from(index.topics()).saturating_mul(RECORDS_A_TEST).saturating_mul(set.iter().count() as u64)
    }

    /// What of a segment bears a topic that matches, from one record on. `None` if its records are rather to be walked
    /// over: where that takes less than to test the topics, or many of them match.
    pub(super) fn matching(index: Index<F>, set: &MatcherSet, from: u32) -> Result<Option<Picks<F>>, BadIndex> {
        let records = index.records().saturating_sub(from);
        if Picks::records_a_search(&index, set) > u64::from(records) {
            return Ok(None);
        }
        let Some(topics) = topics_matching(&index, set)? else { return Ok(None) };
        let mut left = records / WALK_ONE_IN;
        let matching: u64 = topics.values().map(|postings| u64::from(postings.count)).sum();
        // To find out how many lie before takes a search for each topic: spread evenly, they would be too many.
        if matching * u64::from(records) > u64::from(left) * u64::from(index.records()) {
            return Ok(None);
        }
        let mut sources = Vec::with_capacity(topics.len());
        for postings in topics.into_values() {
            let Some(source) = Source::of_topic(&index, postings, from, &mut left)? else { return Ok(None) };
            sources.push(source);
        }
        Ok(Some(Picks { index, sources }))
    }

    /// The next record and the byte at which it begins.
    pub(super) fn next(&mut self) -> Result<Option<(u32, u64)>, BadIndex> {
        for source in &mut self.sources {
            if source.ahead.is_empty()
                && let Some((postings, rank)) = &mut source.rest
            {
                let end = rank.saturating_add(AHEAD).min(postings.count);
                let mut records = Vec::new();
                self.index.postings(*postings, *rank..end, &mut records)?;
                *rank = end;
                source.ahead = records.into();
            }
        }
        let Some(&record) = self.sources.iter().filter_map(|source| source.ahead.front()).min() else {
            return Ok(None);
        };
        for source in &mut self.sources {
            if source.ahead.front() == Some(&record) {
                source.ahead.pop_front();
            }
        }
        let mut offset = Vec::with_capacity(1);
        self.index.offsets(&[record], &mut offset)?;
        Ok(offset.pop().map(|offset| (record, offset)))
    }
}

impl Source {
    /// A topic's records from one on, which are taken off those that are `left`. `None` if there are more.
    fn of_topic(
        index: &impl RecordIndex,
        postings: Postings,
        from: u32,
        left: &mut u32,
    ) -> Result<Option<Source>, BadIndex> {
        let rank = index.rank(postings, from)?;
        let Some(fewer) = left.checked_sub(postings.count - rank) else { return Ok(None) };
        *left = fewer;
        Ok(Some(Source { rest: Some((postings, rank)), ahead: VecDeque::new() }))
    }
}

/// The topics that match. `None` if they are many.
fn topics_matching(index: &impl RecordIndex, set: &MatcherSet) -> Result<Option<BTreeMap<String, Postings>>, BadIndex> {
    let mut found = BTreeMap::new();
    for topic in set.exact() {
        found.extend(index.topic(topic.as_str())?.map(|postings| (topic.as_str().to_owned(), postings)));
    }
    let mut page = Vec::new();
    for beginning in [None].into_iter().chain(set.beginnings().into_iter().map(Some)) {
        let mut from = Some(0);
        while let Some(at) = from {
            from = match &beginning {
                None => index.other_topics(at, &mut page)?,
                Some(beginning) => index.topics_beginning(beginning, at, &mut page)?,
            };
            found.extend(page.drain(..).filter(|(name, _)| set.matches(std::iter::once(name.as_str()))));
            if found.len() > TOPICS_PICKED_MAX {
                return Ok(None);
            }
        }
    }
    Ok(Some(found))
}

/// The record of a segment of `records` from which on about the last `count` that are wanted lie, or fewer
/// than that of each topic.
pub(super) fn before_last<F: DiskFile>(
    index: &Index<F>,
    wanted: &Wanted<'_>,
    records: u32,
    count: u64,
) -> Result<u32, BadIndex> {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let Wanted::Topics(topics) = wanted else { return Ok(records.saturating_sub(count)) };
    // The newest of what is passed over of any topic: all behind it is looked at.
    let mut from = 0;
    let mut found = Vec::new();
    for topic in topics {
        let Some(postings) = index.topic(topic)? else { continue };
        let known = index.rank(postings, records)?;
        if let Some(passed) = known.checked_sub(count).and_then(|passed| passed.checked_sub(1)) {
            found.clear();
            index.postings(postings, passed..passed + 1, &mut found)?;
            from = found.first().map_or(from, |&last| from.max(last + 1));
        }
    }
    Ok(from)
}
