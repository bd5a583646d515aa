use std::collections::BTreeSet;

/// The keys under one matcher. Most have a single one, which needs no allocation.
#[derive(Clone, Debug)]
pub(crate) enum Keys<K> {
    One(K),
    /// Two or more when made; removals leave at least one.
    #[expect(clippy::box_collection, reason = "few need one, and unboxed it would widen each entry of the index")]
    Many(Box<BTreeSet<K>>),
}

impl<K: Copy + Ord> Keys<K> {
    pub(crate) fn insert(&mut self, key: K) {
        match self {
            Keys::One(one) if *one == key => {}
            Keys::One(one) => *self = Keys::Many(Box::new(BTreeSet::from([*one, key]))),
            Keys::Many(many) => {
                many.insert(key);
            }
        }
    }

    /// Takes the key out, and says whether none is left.
    pub(crate) fn remove(&mut self, key: K) -> bool {
        match self {
            Keys::One(one) => *one == key,
            Keys::Many(many) => {
                many.remove(&key);
                many.is_empty()
            }
        }
    }

    pub(crate) fn for_each(&self, visit: &mut impl FnMut(K)) {
        match self {
            Keys::One(one) => visit(*one),
            Keys::Many(many) => many.iter().copied().for_each(visit),
        }
    }
}
