use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Which of the hub's lives runs: 0 from the first start, one more at each kill.
#[derive(Clone, Debug, Default)]
pub struct Life(Arc<AtomicUsize>);

impl Life {
    /// The number of the life that runs, or ran last.
    #[must_use]
    pub fn number(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    pub(crate) fn end(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
