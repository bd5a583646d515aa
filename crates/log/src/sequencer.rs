use std::collections::HashMap;

use crate::holds::Hold;
use crate::idempotence::{Entry, Fingerprint, Fingerprints, Idempotence};
use crate::record::Draft;
use crate::times::Moment;
use crate::visibility::Visibility;
use crate::{AppendError, HubId, NewEvent};

/// What a publisher sent in one request, encoded.
#[derive(Debug)]
pub(crate) struct Array {
    events: Vec<Encoded>,
    bytes_max: usize,
    /// Up to its place, what was published before is looked for. What was published after it is remembered until
    /// this array is sequenced.
    pub(crate) hold: Option<Hold>,
}

/// An event, encoded.
#[derive(Clone, Debug)]
pub(crate) struct Encoded {
    pub(crate) draft: Draft,
    pub(crate) fingerprint: Option<Fingerprint>,
    /// What was published before under the same key, as far as it was looked for.
    pub(crate) earlier: Option<Entry>,
}

impl Array {
    /// Encodes the events: the publisher's thread pays for it, not the log's.
    pub(crate) fn new(events: Vec<NewEvent>, fingerprints: &Fingerprints) -> Array {
        let mut bytes_max = 0;
        let encode = |event: NewEvent| {
            let draft = Draft::new(&event);
            bytes_max += draft.bytes_max();
            let fingerprint = fingerprints.of_event(&event, &draft);
            Encoded { draft, fingerprint, earlier: None }
        };
        Array { events: events.into_iter().map(encode).collect(), bytes_max, hold: None }
    }

    /// The events that can have been published before: those with a publisher's id.
    pub(crate) fn publications(&mut self) -> impl Iterator<Item = &mut Encoded> {
        self.events.iter_mut().filter(|event| event.fingerprint.is_some())
    }

    /// Whether any of its events can have been published before.
    pub(crate) fn has_publications(&self) -> bool {
        self.events.iter().any(|event| event.fingerprint.is_some())
    }

    /// The most bytes that its records can take.
    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }
}

/// What is to become of an array, looked at alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Nothing is to be written: all of it was published before.
    Repeated(Vec<HubId>),
    /// It cannot be appended.
    Refused(AppendError),
    /// These events are to be written, or were before.
    Append(Vec<Planned>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planned {
    New,
    /// Published before, under this id.
    Known(HubId),
    /// The same as an event of this array, by index.
    SameAs(usize),
}

/// Gives out sequences and ids, and knows what was published before. It does no I/O: both logs
/// run it, each under its own lock or on its own thread.
#[derive(Debug)]
pub(crate) struct Sequencer {
    pub(crate) idempotence: Idempotence,
    last_sequence: u64,
    last_id: HubId,
    pub(crate) repeated: u64,
}

impl Sequencer {
    /// Goes on after the record with this sequence and the place of this id.
    pub(crate) fn new(last_sequence: u64, last_id: HubId, idempotence: Idempotence) -> Sequencer {
        Sequencer { idempotence, last_sequence, last_id, repeated: 0 }
    }

    /// The last id given out.
    pub(crate) fn last_id(&self) -> HubId {
        self.last_id
    }

    /// Looks at an array and changes nothing. What was erased since it was published is published anew.
    pub(crate) fn plan(&self, array: &Array, moment: &Moment, visibility: &Visibility) -> Plan {
        let mut here: HashMap<u128, usize> = HashMap::new();
        let mut planned = Vec::with_capacity(array.events.len());
        for (index, Encoded { draft, fingerprint, earlier, .. }) in array.events.iter().enumerate() {
            let Some(fingerprint) = fingerprint else {
                planned.push(Planned::New);
                continue;
            };
            let now_ms = moment.retention_ms;
            let earlier = earlier.filter(|entry| self.idempotence.is_live(entry.time_ms, now_ms));
            let known = self.idempotence.find(fingerprint.key, now_ms).or(earlier);
            let known = known.filter(|&entry| !was_erased(entry, draft, fingerprint, visibility));
            let (content, first, plan) = if let Some(entry) = known {
                (entry.content, entry.id, Planned::Known(entry.id))
            } else if let Some(&same) = here.get(&fingerprint.key) {
                let content = array.events[same].fingerprint.map_or(0, |earlier| earlier.content);
                (content, HubId::ZERO, Planned::SameAs(same))
            } else {
                here.insert(fingerprint.key, index);
                planned.push(Planned::New);
                continue;
            };
            if content != fingerprint.content {
                return Plan::Refused(AppendError::IdConflict { index, first });
            }
            planned.push(plan);
        }
        let known: Option<Vec<HubId>> = planned
            .iter()
            .map(|plan| match plan {
                Planned::Known(id) => Some(*id),
                Planned::New | Planned::SameAs(_) => None,
            })
            .collect();
        known.map_or(Plan::Append(planned), Plan::Repeated)
    }

    /// Takes back what was given out after this sequence and place: it was not committed. Its ids do not come again.
    pub(crate) fn go_back_to(&mut self, last_sequence: u64, place: HubId) {
        self.last_sequence = last_sequence;
        self.idempotence.forget_after(place);
    }

    /// Notes that an array was answered without being written.
    pub(crate) fn note_repeated(&mut self, events: usize) {
        self.repeated += events as u64;
    }

    /// Gives ids to what is new in an array, in its order, and hands each to `write` with its
    /// sequence and id. Returns the ids to answer.
    pub(crate) fn assign(
        &mut self,
        array: &Array,
        planned: &[Planned],
        moment: &Moment,
        mut write: impl FnMut(&Draft, u64, HubId),
    ) -> Vec<HubId> {
        self.idempotence.expire(moment.retention_ms);
        let mut ids = Vec::with_capacity(planned.len());
        for (Encoded { draft, fingerprint, .. }, plan) in array.events.iter().zip(planned) {
            let id = match *plan {
                Planned::New => {
                    self.last_id = self.last_id.next(moment.id_ms());
                    self.last_sequence += 1;
                    write(draft, self.last_sequence, self.last_id);
                    if let Some(fingerprint) = fingerprint {
                        self.idempotence.insert(*fingerprint, self.last_id, moment.retention_ms);
                    }
                    self.last_id
                }
                Planned::Known(id) => {
                    self.repeated += 1;
                    id
                }
                Planned::SameAs(index) => {
                    self.repeated += 1;
                    ids[index]
                }
            };
            ids.push(id);
        }
        ids
    }
}

/// Whether an earlier event with the key of a draft was erased. Of its topics the first is known; the others
/// only if its content is the same.
fn was_erased(earlier: Entry, draft: &Draft, fingerprint: &Fingerprint, visibility: &Visibility) -> bool {
    let known = if earlier.content == fingerprint.content { usize::MAX } else { 1 };
    visibility.has_erased(earlier.id, draft.topics().take(known))
}
