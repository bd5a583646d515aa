use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;

use crate::glob::Piece;
use crate::keys::Keys;

/// Finds the matchers that a text may match: those whose route leads along it.
///
/// Edges are stretches of literal text, which are looked for in an ordered map, and whole segments of any content.
/// Inserting and removing cost the length of the route; what is empty is given back.
#[derive(Clone, Debug)]
pub(crate) struct Trie<M, K> {
    root: Node<M, K>,
}

/// How a text must begin to match: literal texts, between which lies one segment each, which ends at a slash or with
/// the text. There is at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route(Vec<String>);

#[derive(Clone, Debug)]
struct Node<M, K> {
    by_text: BTreeMap<Box<str>, Stop<M, K>>,
}

/// What lies behind a literal text.
#[derive(Clone, Debug)]
struct Stop<M, K> {
    here: Here<M, K>,
    beyond_segment: Option<Box<Node<M, K>>>,
}

/// The matchers whose route ends in one place. Most are alone.
#[derive(Clone, Debug)]
enum Here<M, K> {
    None,
    One(M, Keys<K>),
    Many(BTreeMap<M, Keys<K>>),
}

impl Route {
    /// The way to what matches `prefix` and then these pieces.
    pub(crate) fn new(prefix: String, pieces: &[Piece]) -> Route {
        let mut texts = vec![prefix];
        for (index, piece) in pieces.iter().enumerate() {
            match piece {
                Piece::Literal(text) => texts.last_mut().expect("there is a first").push_str(text),
                Piece::Some { except: Some(b'/') } | Piece::Unreserved => match pieces.get(index + 1) {
                    None => texts.push(String::new()),
                    Some(Piece::Literal(next)) if next.starts_with('/') => texts.push(String::new()),
                    Some(_) => break,
                },
                _ => break,
            }
        }
        Route(texts)
    }

    /// What everything begins with that it leads to.
    pub(crate) fn beginning(&self) -> &str {
        self.0.first().expect("a route has a text")
    }
}

impl<M: Clone + Ord, K: Copy + Ord> Trie<M, K> {
    pub(crate) fn new() -> Trie<M, K> {
        Trie { root: Node::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.root.by_text.is_empty()
    }

    /// Puts a key under a matcher. One that is there already stays.
    pub(crate) fn insert(&mut self, route: &Route, matcher: &M, key: K) {
        let mut node = &mut self.root;
        let (last, before) = route.0.split_last().expect("a route has a text");
        for text in before {
            node = node.stop(text).beyond_segment.get_or_insert_with(|| Box::new(Node::new()));
        }
        node.stop(last).here.insert(matcher, key);
    }

    /// Takes a key from under a matcher. One that is not there is passed over.
    pub(crate) fn remove(&mut self, route: &Route, matcher: &M, key: K) {
        self.root.remove(&route.0, matcher, key);
    }

    /// Shows every matcher whose route leads along the text, once, with its keys.
    pub(crate) fn candidates<'a>(&'a self, text: &str, visit: &mut impl FnMut(&'a M, &'a Keys<K>)) {
        self.root.candidates(text, visit);
    }
}

impl<M: Clone + Ord, K: Copy + Ord> Node<M, K> {
    fn new() -> Node<M, K> {
        Node { by_text: BTreeMap::new() }
    }

    fn stop(&mut self, text: &str) -> &mut Stop<M, K> {
        let none = || Stop { here: Here::None, beyond_segment: None };
        self.by_text.entry(text.into()).or_insert_with(none)
    }

    fn remove(&mut self, route: &[String], matcher: &M, key: K) {
        let Some((text, rest)) = route.split_first() else { return };
        let Entry::Occupied(mut entry) = self.by_text.entry(text.as_str().into()) else { return };
        let stop = entry.get_mut();
        if rest.is_empty() {
            stop.here.remove(matcher, key);
        } else if let Some(node) = &mut stop.beyond_segment {
            node.remove(rest, matcher, key);
            if node.by_text.is_empty() {
                stop.beyond_segment = None;
            }
        }
        if matches!(stop.here, Here::None) && stop.beyond_segment.is_none() {
            entry.remove();
        }
    }

    fn candidates<'a>(&'a self, text: &str, visit: &mut impl FnMut(&'a M, &'a Keys<K>)) {
        // Whatever begins the text and is not above the greatest entry up to it begins that entry too: where they
        // differ, the search goes on with what they have in common.
        let mut end = Bound::Included(text);
        while let Some((prefix, stop)) = self.by_text.range::<str, _>((Bound::Unbounded, end)).next_back() {
            let Some(rest) = text.strip_prefix(&**prefix) else {
                end = Bound::Included(&text[..common_bytes(prefix, text)]);
                continue;
            };
            stop.here.for_each(visit);
            if let Some(node) = &stop.beyond_segment {
                node.candidates(&rest[rest.find('/').unwrap_or(rest.len())..], visit);
            }
            end = Bound::Excluded(&text[..prefix.len()]);
        }
    }
}

/// How many bytes of whole characters two texts begin with alike.
fn common_bytes(one: &str, other: &str) -> usize {
    let alike = one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count();
    (0..=alike).rev().find(|&at| other.is_char_boundary(at)).unwrap_or(0)
}

impl<M: Clone + Ord, K: Copy + Ord> Here<M, K> {
    fn insert(&mut self, matcher: &M, key: K) {
        match self {
            Here::None => *self = Here::One(matcher.clone(), Keys::One(key)),
            Here::One(one, keys) if one == matcher => keys.insert(key),
            Here::One(..) => {
                let Here::One(one, keys) = std::mem::replace(self, Here::None) else { return };
                *self = Here::Many(BTreeMap::from([(one, keys), (matcher.clone(), Keys::One(key))]));
            }
            Here::Many(many) => match many.get_mut(matcher) {
                Some(keys) => keys.insert(key),
                None => {
                    many.insert(matcher.clone(), Keys::One(key));
                }
            },
        }
    }

    fn remove(&mut self, matcher: &M, key: K) {
        let is_empty = match self {
            Here::None => false,
            Here::One(one, keys) => one == matcher && keys.remove(key),
            Here::Many(many) => {
                if many.get_mut(matcher).is_some_and(|keys| keys.remove(key)) {
                    many.remove(matcher);
                }
                many.is_empty()
            }
        };
        if is_empty {
            *self = Here::None;
        }
    }

    fn for_each<'a>(&'a self, visit: &mut impl FnMut(&'a M, &'a Keys<K>)) {
        match self {
            Here::None => {}
            Here::One(matcher, keys) => visit(matcher, keys),
            Here::Many(many) => many.iter().for_each(|(matcher, keys)| visit(matcher, keys)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(trie: &Trie<u32, u32>, text: &str) -> Vec<u32> {
        let mut found = Vec::new();
        trie.candidates(text, &mut |&matcher, keys| keys.for_each(&mut |key| found.push(matcher * 10 + key)));
        found.sort_unstable();
        found
    }

    /// The oracle: walks along one route.
    fn leads(route: &[String], text: &str) -> bool {
        let Some((first, then)) = route.split_first() else { return true };
        let Some(rest) = text.strip_prefix(first.as_str()) else { return false };
        then.is_empty() || leads(then, &rest[rest.find('/').unwrap_or(rest.len())..])
    }

    #[test]
    fn a_segment_of_any_content_is_an_edge_where_it_is_whole() {
        let some = || Piece::Some { except: Some(b'/') };
        let text = |text: &str| Piece::Literal(text.into());
        let route = |pieces: &[Piece]| Route::new("p".to_owned(), pieces).0;
        assert_eq!(route(&[text("/a/"), some(), text("/b/"), Piece::Any]), ["p/a/", "/b/"]);
        assert_eq!(route(&[text("/a/"), some()]), ["p/a/", ""]);
        assert_eq!(route(&[text("/a/"), some(), text("-b/c")]), ["p/a/"]);
        assert_eq!(route(&[Piece::Any, text("/b")]), ["p"]);
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_every_route_says(
            routes in prop::collection::vec((prop::collection::vec("[ab/é日]{0,4}", 1..4), 0..3_u32, 0..3_u32), 0..12),
            texts in prop::collection::vec("[ab/é日è]{0,9}", 1..10),
            keep in 0..12_usize,
        ) {
            let mut trie = Trie::new();
            for (route, matcher, key) in &routes {
                trie.insert(&Route(route.clone()), matcher, *key);
            }
            let expect = |routes: &[(Vec<String>, u32, u32)], text: &str| {
                let mut routes = routes.to_vec();
                routes.sort();
                routes.dedup();
                let leading = routes.iter().filter(|(route, ..)| leads(route, text));
                let mut expected: Vec<u32> = leading.map(|(_, matcher, key)| matcher * 10 + key).collect();
                expected.sort_unstable();
                expected
            };
            for text in &texts {
                prop_assert_eq!(found(&trie, text), expect(&routes, text), "{}", text);
            }
            let (kept, dropped) = routes.split_at(keep.min(routes.len()));
            let gone: Vec<_> = dropped.iter().filter(|route| !kept.contains(route)).collect();
            for (route, matcher, key) in gone.iter().chain(&gone) {
                trie.remove(&Route(route.clone()), matcher, *key);
            }
            for text in &texts {
                prop_assert_eq!(found(&trie, text), expect(kept, text), "{}", text);
            }
            for (route, matcher, key) in kept {
                trie.remove(&Route(route.clone()), matcher, *key);
            }
            prop_assert!(trie.is_empty());
        }
    }
}
