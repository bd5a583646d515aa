use std::ops::ControlFlow;
use std::sync::Arc;

use super::{Make, Setup};
use crate::testing::{Deadline, Followed, Seen, append, event, everything, shown};
use crate::{EventLog, HubId};

pub(crate) fn many_publishers_and_readers_agree(make: Make) {
    const PUBLISHERS: usize = 4;
    const ARRAYS: usize = 100;
    let log: Arc<dyn EventLog> = make(&Setup::default()).into();
    let followed = Followed::default();
    log.follow(followed.follower());
    let publish = |publisher: usize| {
        let log = Arc::clone(&log);
        move || -> Vec<Seen> {
            let text = |n: usize, part: usize| format!("{publisher} {n} {part}");
            let arrays = (0..ARRAYS).map(|n| (0..=n % 3).map(|part| text(n, part)).collect::<Vec<_>>());
            let mut published = Vec::new();
            for array in arrays {
                let events = array.iter().map(|data| event(&["t"], data)).collect();
                let ids = append(&*log, events);
                published.extend(ids.into_iter().zip(array).map(|(id, data)| Seen {
                    id,
                    topics: vec!["t".to_owned()],
                    data,
                }));
            }
            published
        }
    };
    let publishers: Vec<_> = (0..PUBLISHERS).map(|publisher| std::thread::spawn(publish(publisher))).collect();
    let total: usize = PUBLISHERS * (0..ARRAYS).map(|n| n % 3 + 1).sum::<usize>();
    // A reader that catches up in small steps meanwhile.
    let mut read: Vec<Seen> = Vec::new();
    let mut place = HubId::ZERO;
    let deadline = Deadline::new();
    while read.len() < total {
        let mut visit = shown(|record: &crate::RecordView<'_>| {
            read.push(Seen::new(record));
            ControlFlow::Continue(())
        });
        let end = log.read(place, &everything(), 2000, &mut visit).expect("read");
        drop(visit);
        assert!(end.looked_at >= place);
        place = end.looked_at;
        assert!(!deadline.has_passed(), "read {} of {total}", read.len());
        std::thread::yield_now();
    }
    let mut published: Vec<Seen> =
        publishers.into_iter().flat_map(|publisher| publisher.join().expect("ran")).collect();
    published.sort_by_key(|seen| seen.id);
    assert_eq!(read, published);
    assert_eq!(followed.all(), published);
    for array in followed.groups() {
        let is_last = |seen: &Seen| {
            let parts: Vec<usize> = seen.data.split(' ').map(|part| part.parse().expect("a number")).collect();
            parts[2] == parts[1] % 3
        };
        assert!(array.last().is_some_and(is_last), "a group ended inside an array: {array:?}");
    }
}
