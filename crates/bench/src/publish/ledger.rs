use crate::load::Mark;

/// What was answered, beside what is read back: each publisher's events are to be there once and in its order, since it
/// sent one only after the one before was answered.
#[derive(Debug)]
pub(super) struct Ledger {
    /// For each publisher how many were answered, and the number that is due.
    publishers: Vec<(u64, u64)>,
    lost: u64,
    doubled_or_late: u64,
    strange: u64,
}

impl Ledger {
    pub(super) fn new(answered: &[u64]) -> Ledger {
        let publishers = answered.iter().map(|&answered| (answered, 0)).collect();
        Ledger { publishers, lost: 0, doubled_or_late: 0, strange: 0 }
    }

    /// One event was read; none where it has no mark.
    pub(super) fn read(&mut self, mark: Option<Mark>) {
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
        ];
        let told = all.into_iter().filter(|(events, _)| *events > 0);
        told.map(|(events, what)| format!("{events} events {what}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(answered: &[u64], read: &[(usize, u64)]) -> Vec<String> {
        let mut ledger = Ledger::new(answered);
        read.iter().for_each(|&(publisher, number)| ledger.read(Some(Mark { publisher, number })));
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
        ledger.read(None);
        assert_eq!(ledger.problems(), ["1 events that nobody published"]);
    }
}
