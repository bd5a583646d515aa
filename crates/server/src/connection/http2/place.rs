use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A connection's place among `max_connections`, which one that carries event streams does not need: it is among
/// `max_streams` with each of them.
#[derive(Debug)]
pub(super) struct Place {
    all: Arc<Semaphore>,
    taken: Mutex<Taken>,
}

#[derive(Debug)]
struct Taken {
    streams: usize,
    permit: Option<OwnedSemaphorePermit>,
}

/// Held while a stream lasts.
#[derive(Debug)]
pub(super) struct Stream(Arc<Place>);

impl Place {
    pub(super) fn new(permit: OwnedSemaphorePermit) -> Place {
        let all = Arc::clone(permit.semaphore());
        Place { all, taken: Mutex::new(Taken { streams: 0, permit: Some(permit) }) }
    }

    pub(super) fn begin_stream(self: &Arc<Place>) -> Stream {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.streams += 1;
        taken.permit = None;
        drop(taken);
        Stream(Arc::clone(self))
    }

    /// Whether it has neither a place nor a stream: others have come meanwhile, and it is to go.
    pub(super) fn is_lost(&self) -> bool {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.streams == 0 && taken.permit.is_none()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let Stream(place) = self;
        let mut taken = place.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.streams -= 1;
        if taken.streams == 0 {
            taken.permit = Arc::clone(&place.all).try_acquire_owned().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_has_a_place_while_it_has_no_stream_and_there_is_one() {
        let all = Arc::new(Semaphore::new(1));
        let place = Arc::new(Place::new(Arc::clone(&all).try_acquire_owned().expect("a place")));
        assert_eq!((all.available_permits(), place.is_lost()), (0, false));
        let (first, second) = (place.begin_stream(), place.begin_stream());
        assert_eq!((all.available_permits(), place.is_lost()), (1, false));
        drop(first);
        assert_eq!(all.available_permits(), 1);
        drop(second);
        assert_eq!((all.available_permits(), place.is_lost()), (0, false));
        let third = place.begin_stream();
        let other = Arc::clone(&all).try_acquire_owned().expect("a place");
        drop(third);
        assert!(place.is_lost());
        drop(other);
        drop(place.begin_stream());
        assert!(!place.is_lost());
    }
}
