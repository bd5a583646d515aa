//! Whether an answer is the one that the model would give.

use super::super::batch::Answer;
use super::Model;
use super::steps::Publication;
use crate::{AppendError, HubId};

impl Model {
    /// Compares an answer with what the model would say; what lies in `shown` from `before` on
    /// was committed with it.
    pub(super) fn judge(&mut self, array: &[Publication], data: &[String], answer: &Answer, before: usize) {
        let ids = array.iter().filter_map(|publication| Some((publication.topic, publication.id?)));
        let is_vague = ids.filter_map(|key| self.known.get(&key)).any(|known| known.has_expired && self.is_live(known));
        let mut known = self.known.clone();
        let conflict = array.iter().enumerate().find_map(|(index, publication)| {
            let key = (publication.topic, publication.id?);
            let live = known.get(&key).filter(|known| self.is_live(known)).cloned();
            match live {
                Some(known) => (known.variant != publication.variant).then_some((index, known.id)),
                None => {
                    known.insert(key, self.known_now(HubId::ZERO, publication.variant));
                    None
                }
            }
        });
        match answer {
            Ok(ids) => {
                assert!(conflict.is_none() || is_vague, "{array:?}");
                assert_eq!(ids.len(), array.len());
                for ((publication, data), &id) in array.iter().zip(data).zip(ids) {
                    let place = self.shown.binary_search_by_key(&id, |seen| seen.id).expect("answered, so shown");
                    assert_eq!(&self.shown[place].data, data);
                    let Some(key) = publication.id.map(|id| (publication.topic, id)) else {
                        assert!(place >= before);
                        continue;
                    };
                    match self.known.get(&key).filter(|known| self.is_live(known)) {
                        Some(known) if id == known.id => {}
                        Some(known) if !known.has_expired => panic!("{id} was published before as {}", known.id),
                        _ => {
                            assert!(place >= before, "not published before");
                            self.known.insert(key, self.known_now(id, publication.variant));
                        }
                    }
                }
            }
            Err(AppendError::IdConflict { index, first }) => {
                assert!(conflict == Some((*index, *first)) || is_vague, "{answer:?} and not {conflict:?}");
            }
            Err(AppendError::Unknown) => self.unknown.push(data.to_vec()),
            Err(AppendError::NotWritten { .. }) => {
                self.refused.extend(data.iter().filter(|data| data.starts_with('#')).cloned());
            }
            Err(
                AppendError::TooLarge { .. }
                | AppendError::NoSpace
                | AppendError::NoSegment { .. }
                | AppendError::Unread { .. }
                | AppendError::Failed { .. },
            ) => {
                // In trouble, nothing else is looked at.
                let is_in_trouble = matches!(
                    answer,
                    Err(AppendError::Failed { .. } | AppendError::NoSpace | AppendError::Unread { .. })
                );
                assert!(conflict.is_none() || is_vague || is_in_trouble);
                self.refused.extend(data.iter().filter(|data| data.starts_with('#')).cloned());
            }
            Err(AppendError::Busy | AppendError::Closed) => unreachable!("there is no queue here"),
        }
    }
}
