use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::disk::DiskFile;
use super::group::Group;
use super::segment::Segment;
use crate::{AppendError, HubId};

/// The fate of an array.
pub(crate) type Answer = Result<Vec<HubId>, AppendError>;

/// What shares one sync: groups that are written, and what is answered once they are committed. `T` is a ticket
/// that says who is answered.
pub(crate) struct Batch<T> {
    pub(crate) groups: Vec<Group>,
    /// What the groups' records take, in bytes.
    pub(crate) bytes: usize,
    /// In the order in which the arrays came.
    pub(crate) answers: Vec<(T, Answer)>,
    /// When its first array was taken, in monotonic time.
    pub(crate) begun: Duration,
}

impl<T> Default for Batch<T> {
    fn default() -> Batch<T> {
        Batch { groups: Vec::new(), bytes: 0, answers: Vec::new(), begun: Duration::ZERO }
    }
}

impl<T> Batch<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.answers.is_empty()
    }

    /// Takes out those of the answers from `from` on that tell of something after a place.
    pub(crate) fn take_dependent(&mut self, from: usize, place: HubId) -> Vec<T> {
        let dependent = self.answers.extract_if(from.., |(_, answer)| tells_of_more_than(place, answer));
        dependent.map(|(ticket, _)| ticket).collect()
    }
}

/// Whether an answer tells of something after a place.
fn tells_of_more_than(place: HubId, answer: &Answer) -> bool {
    match answer {
        Ok(ids) => ids.iter().any(|&id| id > place),
        Err(AppendError::IdConflict { first, .. }) => *first > place,
        Err(_) => false,
    }
}

/// A sync that is due. Others may write on while it runs.
#[must_use]
pub(crate) struct Sync<F> {
    /// None if nothing has to be synced.
    pub(crate) segment: Option<Arc<Segment<F>>>,
}

impl<F: DiskFile> Sync<F> {
    /// # Errors
    /// When the disk fails.
    pub(crate) fn run(&self) -> io::Result<()> {
        self.segment.as_ref().map_or(Ok(()), |segment| segment.file()?.sync())
    }
}

/// What a sync has come to.
pub(crate) struct Finished<T> {
    /// The groups that are committed now, to be shown in this order.
    pub(crate) groups: Vec<Group>,
    /// Whom to answer after that, and what.
    pub(crate) answers: Vec<(T, Answer)>,
    /// When the first of them was taken, in monotonic time.
    pub(crate) begun: Duration,
}
