//! What happens to a log in a random run.

use proptest::prelude::*;

use super::super::open::Durability;
use super::super::{Outage, SimDisk};

/// An event to publish. With an id its data follow from the id and the variant, so that it can be
/// repeated; without one they are unlike any other.
#[derive(Clone, Debug)]
pub(super) struct Publication {
    pub(super) topic: u8,
    pub(super) id: Option<u8>,
    pub(super) variant: bool,
    pub(super) bytes: usize,
}

/// Arrays that are published, and when which of the log's steps is taken: a seed.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) arrays: Vec<Vec<Publication>>,
    pub(super) schedule: u64,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Append(Run),
    /// The keeper's turn: what is due without publishers, and old segments.
    Trim,
    /// The indexes of sealed segments are written.
    Index,
    /// The clocks are kept, and the floor of ids moves.
    Keep,
    /// The next segment is made ahead of need.
    Ahead,
    /// An event is erased, or all with a topic.
    Erase {
        pick: usize,
        topic: Option<u8>,
    },
    /// What was erased is overwritten.
    Sweep,
    Clock(u64),
    /// Time passes while the wall clock stands.
    Pass(u64),
    /// The machine stops during an operation soon; recovery is interrupted each time in turn.
    Outage {
        after: u64,
        run: Run,
        /// What is erased and overwritten meanwhile, as in [`Step::Erase`].
        erase: Option<(usize, Option<u8>)>,
        outage: Cut,
        interruptions: Vec<Interruption>,
    },
    /// The process is stopped properly, then the power is cut, and it is started with this durability.
    Restart(u64, Durability),
    /// So many syncs fail soon, and the process goes on.
    FailSyncs {
        after: u64,
        count: u64,
        run: Run,
    },
    /// So many writes fail soon, and the process goes on.
    FailWrites {
        after: u64,
        count: u64,
        run: Run,
    },
    /// So many more bytes fit on the disk while these arrays come.
    Full {
        more: u64,
        run: Run,
    },
    /// Nothing can be written while these arrays come.
    ReadOnly(Run),
    /// The disk is well, and a second passes: then the log takes events.
    Heal,
}

/// A start that does not come to its end: the machine stops, or a sync fails, and then an outage.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interruption {
    pub(super) after: u64,
    pub(super) by_failed_sync: bool,
    pub(super) outage: Cut,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Cut(pub(super) Option<u64>);

impl Interruption {
    pub(super) fn plan(&self, disk: &SimDisk) {
        if self.by_failed_sync {
            disk.fail_sync_after(self.after % 4);
        } else {
            disk.stop_at(1 + self.after);
        }
    }
}

impl From<Cut> for Outage {
    fn from(cut: Cut) -> Outage {
        cut.0.map_or(Outage::Kill, Outage::PowerCut)
    }
}

pub(super) fn publication() -> impl Strategy<Value = Publication> {
    let bytes = prop_oneof![4 => 0..60_usize, 2 => 200..900_usize, 1 => 1500..5000_usize];
    (0..3_u8, proptest::option::of(0..4_u8), prop::bool::weighted(0.2), bytes)
        .prop_map(|(topic, id, variant, bytes)| Publication { topic, id, variant, bytes })
}

pub(super) fn run() -> impl Strategy<Value = Run> {
    let arrays = prop::collection::vec(prop::collection::vec(publication(), 1..4), 1..7);
    (arrays, any::<u64>()).prop_map(|(arrays, schedule)| Run { arrays, schedule })
}

pub(super) fn durability() -> impl Strategy<Value = Durability> {
    prop_oneof![2 => Just(Durability::Commit), 1 => Just(Durability::Os)]
}

pub(super) fn cut() -> impl Strategy<Value = Cut> {
    proptest::option::weighted(0.8, any::<u64>()).prop_map(Cut)
}

pub(super) fn interruption() -> impl Strategy<Value = Interruption> {
    (0..12_u64, prop::bool::weighted(0.3), cut()).prop_map(|(after, by_failed_sync, outage)| Interruption {
        after,
        by_failed_sync,
        outage,
    })
}

fn erase() -> impl Strategy<Value = (usize, Option<u8>)> {
    (any::<usize>(), proptest::option::weighted(0.3, 0..3_u8))
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let interruptions = prop::collection::vec(interruption(), 0..3);
    prop_oneof![
        6 => run().prop_map(Step::Append),
        1 => Just(Step::Trim),
        2 => Just(Step::Index),
        1 => Just(Step::Keep),
        1 => Just(Step::Ahead),
        2 => erase().prop_map(|(pick, topic)| Step::Erase { pick, topic }),
        2 => Just(Step::Sweep),
        1 => prop_oneof![0..20_000_u64, Just(10_000), 0..1_000_000_u64].prop_map(Step::Clock),
        1 => prop_oneof![0..2_000_u64, Just(1_000)].prop_map(Step::Pass),
        3 => (0..25_u64, run(), proptest::option::of(erase()), cut(), interruptions).prop_map(
            |(after, run, erase, outage, interruptions)| Step::Outage { after, run, erase, outage, interruptions }
        ),
        1 => (any::<u64>(), durability()).prop_map(|(seed, durability)| Step::Restart(seed, durability)),
        2 => (0..6_u64, 1..7_u64, run()).prop_map(|(after, count, run)| Step::FailSyncs { after, count, run }),
        1 => (0..6_u64, 1..4_u64, run()).prop_map(|(after, count, run)| Step::FailWrites { after, count, run }),
        1 => (0..6000_u64, run()).prop_map(|(more, run)| Step::Full { more, run }),
        1 => run().prop_map(Step::ReadOnly),
        1 => Just(Step::Heal),
    ]
}
