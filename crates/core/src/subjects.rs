use crate::numbered::{Keyed, Numbered};

/// The different subjects that subscribers have, each kept once.
#[derive(Default)]
pub(crate) struct Subjects(Numbered<Subject>);

/// Names of so many bytes lie in the table itself: most are no longer, and each subscriber may have one of its own.
const SHORT_BYTES_MAX: usize = 18;

enum Subject {
    Short { subscribers: u32, length: u8, bytes: [u8; SHORT_BYTES_MAX] },
    Long { subscribers: u32, name: Box<[u8]> },
}

const _: () = assert!(size_of::<Option<Subject>>() <= 24, "a subject takes no more than a string does");

impl Subject {
    fn new(name: &[u8]) -> Subject {
        match u8::try_from(name.len()) {
            Ok(length) if name.len() <= SHORT_BYTES_MAX => {
                let mut bytes = [0; SHORT_BYTES_MAX];
                bytes[..name.len()].copy_from_slice(name);
                Subject::Short { subscribers: 0, length, bytes }
            }
            _ => Subject::Long { subscribers: 0, name: name.into() },
        }
    }

    fn subscribers(&mut self) -> &mut u32 {
        match self {
            Subject::Short { subscribers, .. } | Subject::Long { subscribers, .. } => subscribers,
        }
    }
}

impl Keyed for Subject {
    type Key = [u8];

    fn key(&self) -> &[u8] {
        match self {
            Subject::Short { length, bytes, .. } => &bytes[..usize::from(*length)],
            Subject::Long { name, .. } => name,
        }
    }
}

impl Subjects {
    /// The number of a subject, for one more subscriber.
    pub(crate) fn intern(&mut self, name: &str) -> u32 {
        let number = self.find(name).unwrap_or_else(|| self.0.insert(Subject::new(name.as_bytes())));
        *self.0.at_mut(number).subscribers() += 1;
        number
    }

    /// A subscriber that has the subject has left.
    pub(crate) fn release(&mut self, number: u32) {
        let subscribers = self.0.at_mut(number).subscribers();
        *subscribers -= 1;
        if *subscribers == 0 {
            self.0.remove(number);
        }
    }

    /// The number of a subject that somebody has.
    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.0.find(name.as_bytes())
    }

    pub(crate) fn name(&self, number: u32) -> &str {
        str::from_utf8(self.0.at(number).key()).expect("it was text when it came")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_kept_once_and_goes_with_the_last_who_has_it() {
        let mut subjects = Subjects::default();
        let alice = subjects.intern("alice");
        assert_eq!(subjects.intern("alice"), alice);
        let bob = subjects.intern("bob");
        assert_eq!((subjects.name(alice), subjects.name(bob)), ("alice", "bob"));
        subjects.release(alice);
        assert_eq!(subjects.find("alice"), Some(alice));
        subjects.release(alice);
        assert_eq!((subjects.find("alice"), subjects.0.len()), (None, 1));
        assert_eq!(subjects.intern("carol"), alice, "its number is given out again");
    }

    #[test]
    fn names_of_any_length_are_kept_whole() {
        let mut subjects = Subjects::default();
        let names: Vec<String> = (0..=2 * SHORT_BYTES_MAX).map(|bytes| "x".repeat(bytes)).collect();
        let numbers: Vec<u32> = names.iter().map(|name| subjects.intern(name)).collect();
        for (name, &number) in names.iter().zip(&numbers) {
            assert_eq!((subjects.name(number), subjects.find(name)), (&**name, Some(number)));
        }
        assert_eq!(subjects.find(&"x".repeat(256)), None, "a length is no more than a byte");
    }
}
