use std::collections::HashMap;

use crate::ledger::Ledger;
use crate::{Fault, History, Place, Until, Verdict};

/// What is known of one array.
#[derive(Default)]
struct Array {
    of: usize,
    there: usize,
    first: Place,
    last: Place,
}

/// Of each array all events are there, or none is: in one group of the log they are committed together. That can
/// be said where somebody has read everything, and of arrays that lie before the last that was acknowledged, up
/// to which he did.
pub(crate) fn check(history: &History, ledger: &Ledger<'_>, verdict: &mut Verdict) {
    let publications = ledger.publications();
    let reads_everything = |until, filter: &crate::Filter| {
        until == Until::Everything && publications.iter().all(|publication| filter.owes(publication))
    };
    if !history.subscribers.iter().any(|s| reads_everything(s.until, &s.filter)) {
        return;
    }
    let mut arrays: HashMap<usize, Array> = HashMap::new();
    for array in publications.iter().filter_map(|publication| publication.array) {
        arrays.entry(array).or_default().of += 1;
    }
    for (place, mut candidates) in ledger.places() {
        let Some(number) = candidates.find_map(|publication| publication.array) else { continue };
        let array = arrays.entry(number).or_default();
        if array.there == 0 {
            array.first = place;
        }
        array.there += 1;
        array.last = place;
    }
    let mut torn: Vec<(Place, Fault)> = arrays
        .into_iter()
        .filter(|(_, array)| array.there > 0 && array.there < array.of && array.last < ledger.acknowledged_to)
        .map(|(number, Array { of, there, first, .. })| (first, Fault::Torn { array: number, there, of, first }))
        .collect();
    torn.sort_unstable_by_key(|(first, _)| *first);
    verdict.faults.extend(torn.into_iter().map(|(_, fault)| fault));
}
