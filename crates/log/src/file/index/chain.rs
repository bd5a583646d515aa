use std::ops::Range;

/// The records of each topic of a segment, as links of which each points back to the one before it
/// and, further back, to one that is found by jumps. All topics' links lie in one vector: a topic
/// with one record has one link, and no vector of its own.
#[derive(Debug, Default)]
pub(super) struct Chains {
    links: Vec<Link>,
}

/// A record's place among those of one topic.
#[derive(Clone, Copy, Debug)]
struct Link {
    record: u32,
    /// The link before it on the topic; itself if it is the first.
    previous: u32,
    /// One further back. Jumps lie as in a skew-binary number, so that any link is a logarithm of
    /// steps away and a new one needs to look at two others.
    jump: u32,
    /// How many preceded it on the topic.
    depth: u32,
}

impl Chains {
    pub(super) fn len(&self) -> usize {
        self.links.len()
    }

    pub(super) fn record(&self, link: u32) -> u32 {
        self.links[link as usize].record
    }

    /// Puts a record behind a topic's newest link, and gives back the link that is newest now.
    pub(super) fn push(&mut self, newest: Option<u32>, record: u32) -> u32 {
        let number = u32::try_from(self.links.len()).expect("a record has few topics, and a segment is short");
        let link = match newest.map(|newest| (newest, self.links[newest as usize])) {
            Some((previous, before)) => {
                let first = self.links[before.jump as usize];
                let second = self.links[first.jump as usize];
                let is_doubled = before.depth - first.depth == first.depth - second.depth;
                let jump = if is_doubled { first.jump } else { previous };
                Link { record, previous, jump, depth: before.depth + 1 }
            }
            None => Link { record, previous: number, jump: number, depth: 0 },
        };
        self.links.push(link);
        number
    }

    /// How many records before `record` the chain has that ends with `newest`.
    pub(super) fn rank(&self, newest: u32, record: u32) -> u32 {
        let oldest = self.oldest(newest, |link| link.record >= record);
        oldest.map_or_else(|| self.links[newest as usize].depth + 1, |link| link.depth)
    }

    /// A stretch of the chain that ends with `newest`, ascending.
    pub(super) fn extend(&self, newest: u32, range: Range<u32>, out: &mut Vec<u32>) {
        let Some(last_depth) = range.end.checked_sub(1).filter(|&last| last >= range.start) else { return };
        let Some(mut link) = self.oldest(newest, |link| link.depth >= last_depth) else { return };
        let begin = out.len();
        loop {
            out.push(link.record);
            if link.depth <= range.start {
                break;
            }
            link = self.links[link.previous as usize];
        }
        out[begin..].reverse();
    }

    /// The oldest link for which `keeps` holds. Of a chain it holds for the newest links and for no
    /// older ones.
    fn oldest(&self, newest: u32, keeps: impl Fn(&Link) -> bool) -> Option<Link> {
        let kept = |number: u32| Some(self.links[number as usize]).filter(|link| keeps(link));
        let mut link = kept(newest)?;
        while link.depth > 0 {
            match kept(link.jump).or_else(|| kept(link.previous)) {
                Some(older) => link = older,
                None => break,
            }
        }
        Some(link)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn any_link_is_a_logarithm_away() {
        let mut chains = Chains::default();
        let newest = (0..100_000).fold(None, |newest, record| Some(chains.push(newest, 3 * record)));
        let newest = newest.expect("pushed");
        for depth in [0, 1, 2, 777, 50_000, 99_998, 99_999] {
            let steps = Cell::new(0);
            let found = chains.oldest(newest, |link| {
                steps.set(steps.get() + 1);
                link.depth >= depth
            });
            assert_eq!(found.map(|link| link.record), Some(3 * depth));
            assert!(steps.get() <= 100, "{} steps to {depth}", steps.get());
            assert_eq!(chains.rank(newest, 3 * depth), depth);
            assert_eq!(chains.rank(newest, 3 * depth + 1), depth + 1);
        }
        let mut out = vec![9];
        chains.extend(newest, 5..8, &mut out);
        chains.extend(newest, 8..8, &mut out);
        assert_eq!(out, [9, 15, 18, 21]);
    }
}
