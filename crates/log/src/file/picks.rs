use std::collections::{BTreeMap, VecDeque};

use tidewire_topic::MatcherSet;

use super::disk::DiskFile;
use super::index::{BadIndex, Index, Postings, RecordIndex};

/// Records are walked over where those that the index finds are more than one in so many.
const WALK_ONE_IN: u32 = 4;
/// So many of a topic's records are asked for at once.
const AHEAD: u32 = 32;
/// So often a segment's index is asked at most for topics that patterns may match, 256 at a time; with more, its records
/// are walked over.
const TOPIC_PAGES_MAX: u32 = 32;
/// The records of so many topics are put in order at most.
const TOPICS_PICKED_MAX: usize = 256;

/// Which records a walk is for. It may show others too.
#[derive(Clone, Debug)]
pub(crate) enum Wanted<'a> {
    All,
    /// Those that bear one of these topics.
    Topics(Vec<&'a str>),
    /// Those that bear a topic which these match.
    Matching(&'a MatcherSet),
    /// Those that bear this publisher's id.
    PublisherId(&'a str),
    /// Those that bear this publisher's id, and this topic first.
    Publication {
        id: &'a str,
        topic: &'a str,
    },
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
            Wanted::All => return Ok(None),
            Wanted::PublisherId(id) => sources.push(published(id, None)?),
            Wanted::Publication { id, topic } => sources.push(published(id, Some(topic))?),
            Wanted::Topics(_) | Wanted::Matching(_) => {
                let Some(topics) = topics(&index, wanted)? else { return Ok(None) };
                let mut left = index.records().saturating_sub(from) / WALK_ONE_IN;
                for postings in topics {
                    let rank = index.rank(postings, from)?;
                    let Some(fewer) = left.checked_sub(postings.count - rank) else { return Ok(None) };
                    left = fewer;
                    sources.push(Source { rest: Some((postings, rank)), ahead: VecDeque::new() });
                }
            }
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

/// Where the records of the topics are that are wanted. `None` if those are not to be told, or too many.
fn topics<F: DiskFile>(index: &Index<F>, wanted: &Wanted<'_>) -> Result<Option<Vec<Postings>>, BadIndex> {
    let mut found = Vec::new();
    match wanted {
        Wanted::Topics(topics) => {
            for topic in topics {
                found.extend(index.topic(topic)?);
            }
        }
        Wanted::Matching(matchers) => return matching(index, matchers),
        _ => return Ok(None),
    }
    Ok(Some(found))
}

fn matching<F: DiskFile>(index: &Index<F>, matchers: &MatcherSet) -> Result<Option<Vec<Postings>>, BadIndex> {
    let mut found = BTreeMap::new();
    for topic in matchers.exact() {
        found.extend(index.topic(topic.as_str())?.map(|postings| (topic.as_str().to_owned(), postings)));
    }
    let mut pages = 0;
    let mut topics = Vec::new();
    // `None`: those that are no canonical URLs.
    let beginnings = matchers.beginnings();
    for beginning in std::iter::once(None).chain(beginnings.iter().map(Some)) {
        let mut from = Some(0);
        while let Some(at) = from {
            from = match beginning {
                None => index.other_topics(at, &mut topics)?,
                Some(beginning) => index.topics_beginning(beginning, at, &mut topics)?,
            };
            pages += 1;
            found.extend(topics.drain(..).filter(|(name, _)| matchers.matches(std::iter::once(&**name))));
            if pages > TOPIC_PAGES_MAX || found.len() > TOPICS_PICKED_MAX {
                return Ok(None);
            }
        }
    }
    Ok(Some(found.into_values().collect()))
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
