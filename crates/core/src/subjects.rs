use crate::numbered::{Keyed, Numbered};

/// The different subjects that subscribers have, each kept once.
#[derive(Default)]
pub(crate) struct Subjects(Numbered<Subject>);

struct Subject {
    name: Box<str>,
    subscribers: u32,
}

impl Keyed for Subject {
    type Key = str;

    fn key(&self) -> &str {
        &self.name
    }
}

impl Subjects {
    /// The number of a subject, for one more subscriber.
    pub(crate) fn intern(&mut self, name: String) -> u32 {
        if let Some(number) = self.0.find(&name) {
            self.0.at_mut(number).subscribers += 1;
            return number;
        }
        self.0.insert(Subject { name: name.into(), subscribers: 1 })
    }

    /// A subscriber that has the subject has left.
    pub(crate) fn release(&mut self, number: u32) {
        let subject = self.0.at_mut(number);
        subject.subscribers -= 1;
        if subject.subscribers == 0 {
            self.0.remove(number);
        }
    }

    /// The number of a subject that somebody has.
    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.0.find(name)
    }

    pub(crate) fn name(&self, number: u32) -> &str {
        &self.0.at(number).name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_kept_once_and_goes_with_the_last_who_has_it() {
        let mut subjects = Subjects::default();
        let alice = subjects.intern("alice".to_owned());
        assert_eq!(subjects.intern("alice".to_owned()), alice);
        let bob = subjects.intern("bob".to_owned());
        assert_eq!((subjects.name(alice), subjects.name(bob)), ("alice", "bob"));
        subjects.release(alice);
        assert_eq!(subjects.find("alice"), Some(alice));
        subjects.release(alice);
        assert_eq!((subjects.find("alice"), subjects.0.len()), (None, 1));
        assert_eq!(subjects.intern("carol".to_owned()), alice, "its number is given out again");
    }
}
