use crate::mark::Mark;

/// What was answered, beside what is read back: each publisher's events are to be there once and in its order, since it
/// sent one only after the one before was answered.
#[derive(Debug)]
pub(super) struct Ledger {
    /// For each publisher how many were answered, and the number that is due.
    publishers: Vec<(u64, u64)>,
    lost: u64,
    doubled_or_late: u64,
    strange: u64,
    /// The last id, as milliseconds and counter, and how many were no ids or not above the one before.
    last_id: Option<(u64, u64)>,
    ids_out_of_order: u64,
}

impl Ledger {
    pub(super) fn new(answered: &[u64]) -> Ledger {
        let publishers = answered.iter().map(|&answered| (answered, 0)).collect();
        Ledger { publishers, lost: 0, doubled_or_late: 0, strange: 0, last_id: None, ids_out_of_order: 0 }
    }

    /// One event was read: its id, and its mark, if it has one.
    pub(super) fn read(&mut self, id: &str, mark: Option<Mark>) {
        let id = parse_id(id);
        self.ids_out_of_order += u64::from(id.is_none() || id <= self.last_id);
        self.last_id = id.or(self.last_id);
        let known = mark.and_then(|mark| Some((mark, self.publishers.get_mut(mark.publisher)?)));
        match known {
            Some((mark, (answered, due))) if mark.number < *answered => {
                if mark.number < *due {
                    self.doubled_or_late += 1;
                } else {
                    self.lost += mark.number - *due;
                    *due = mark.number + 1;
                }
            }
            _ => self.strange += 1,
        }
    }

    /// What is not as it should be, once everything was read.
    pub(super) fn problems(&self) -> Vec<String> {
        let never_came: u64 = self.publishers.iter().map(|(answered, due)| answered - due).sum();
        let all = [
            (self.lost + never_came, "lost"),
            (self.doubled_or_late, "doubled or out of order"),
            (self.strange, "that nobody published"),
            (self.ids_out_of_order, "with an id that is not above the one before"),
        ];
        let told = all.into_iter().filter(|(events, _)| *events > 0);
        told.map(|(events, what)| format!("{events} events {what}")).collect()
    }
}

/// `#<milliseconds>-<counter>`.
fn parse_id(id: &str) -> Option<(u64, u64)> {
    let (ms, counter) = id.strip_prefix('#')?.split_once('-')?;
    Some((ms.parse().ok()?, counter.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(answered: &[u64], read: &[(usize, u64)]) -> Vec<String> {
        let mut ledger = Ledger::new(answered);
        for (counter, &(publisher, number)) in read.iter().enumerate() {
            ledger.read(&format!("#7-{counter}"), Some(Mark { publisher, number }));
        }
        ledger.problems()
    }

    #[test]
    fn all_of_them_once_and_in_order() {
        assert_eq!(problems(&[2, 1, 0], &[(0, 0), (1, 0), (0, 1)]), Vec::<String>::new());
    }

    #[test]
    fn what_is_wrong_is_counted() {
        assert_eq!(problems(&[3], &[(0, 0), (0, 2)]), ["1 events lost"]);
        assert_eq!(problems(&[3, 2], &[(0, 0)]), ["4 events lost"]);
        assert_eq!(problems(&[2], &[(0, 0), (0, 1), (0, 1)]), ["1 events doubled or out of order"]);
        assert_eq!(problems(&[2], &[(0, 1), (0, 0)]), ["1 events lost", "1 events doubled or out of order"]);
        assert_eq!(problems(&[1], &[(0, 0), (0, 1), (1, 0)]), ["2 events that nobody published"]);
        let mut ledger = Ledger::new(&[]);
        ledger.read("#1-0", None);
        assert_eq!(ledger.problems(), ["1 events that nobody published"]);
    }

    #[test]
    fn ids_increase_also_between_publishers() {
        for (second, problem) in [("#9-9", false), ("#10-7", false), ("#9-8", true), ("#8-9", true), ("9-9", true)] {
            let mut ledger = Ledger::new(&[1, 1]);
            ledger.read("#9-8", Some(Mark { publisher: 0, number: 0 }));
            ledger.read(second, Some(Mark { publisher: 1, number: 0 }));
            assert_eq!(!ledger.problems().is_empty(), problem, "{second}");
        }
    }
}
