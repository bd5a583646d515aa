use super::{BEGINNING, Make, Setup, id};
use crate::testing::{append, event};

/// For logs that give out ids themselves, by the clock that they are handed.
pub(crate) fn ids_and_times_are_those_of_the_clock(make: Make) {
    let setup = Setup::default();
    let log = make(&setup);
    assert_eq!(log.low_water(), id(BEGINNING, 0));
    let mut ids = append(&*log, vec![event(&["t"], ""), event(&["t"], "")]);
    setup.clock.set(BEGINNING + 50);
    ids.extend(append(&*log, vec![event(&["t"], "")]));
    assert_eq!(ids, [id(BEGINNING, 1), id(BEGINNING, 2), id(BEGINNING + 50, 0)]);
    for (id, time_ms) in ids.into_iter().zip([BEGINNING, BEGINNING, BEGINNING + 50]) {
        assert!(log.event(id, &mut |record| assert_eq!(record.time_ms, time_ms)).expect("read"));
    }
}
