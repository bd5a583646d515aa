use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidewire_log::{
    Done, Erase, EraseError, Erased, EventLog, Filter, Follower, HubId, LastMatches, LogStats, MemoryLog, Met,
    NewEvent, ReadEnd, ReadError, RecordView, SimDisk, Standing, TopicPage, TopicSummary,
};

/// A log that cannot be read while the test says so.
pub(super) struct FailingLog {
    pub(super) log: Arc<MemoryLog<SimDisk>>,
    pub(super) is_unreadable: Arc<AtomicBool>,
}

impl FailingLog {
    fn check(&self) -> Result<(), ReadError> {
        if self.is_unreadable.load(Ordering::SeqCst) {
            return Err(io::Error::other("as the test asked").into());
        }
        Ok(())
    }
}

impl EventLog for FailingLog {
    fn append(&self, events: Vec<NewEvent>, done: Done) {
        self.log.append(events, done);
    }

    fn follow(&self, follower: Box<dyn Follower>) {
        self.log.follow(follower);
    }

    fn head(&self) -> HubId {
        self.log.head()
    }

    fn standing(&self, place: HubId) -> Standing {
        self.log.standing(place)
    }

    fn low_water(&self) -> HubId {
        self.log.low_water()
    }

    fn read(
        &self,
        after: HubId,
        filter: &Filter,
        scan_bytes_max: u64,
        visit: &mut dyn FnMut(Met<'_>) -> ControlFlow<()>,
    ) -> Result<ReadEnd, ReadError> {
        self.check()?;
        self.log.read(after, filter, scan_bytes_max, visit)
    }

    fn event(&self, id: HubId, visit: &mut dyn FnMut(&RecordView<'_>)) -> Result<bool, ReadError> {
        self.check()?;
        self.log.event(id, visit)
    }

    fn find_publisher_id(&self, id: &str, filter: &Filter) -> Result<Option<HubId>, ReadError> {
        self.check()?;
        self.log.find_publisher_id(id, filter)
    }

    fn place_before_last(&self, count: u64, filter: &Filter) -> Result<LastMatches, ReadError> {
        self.check()?;
        self.log.place_before_last(count, filter)
    }

    fn topics(&self, after: Option<&str>, limit: usize, filter: &Filter) -> Result<TopicPage, ReadError> {
        self.check()?;
        self.log.topics(after, limit, filter)
    }

    fn topic(&self, topic: &str, filter: &Filter) -> Result<Option<TopicSummary>, ReadError> {
        self.check()?;
        self.log.topic(topic, filter)
    }

    fn erase(&self, what: &Erase) -> Result<Erased, EraseError> {
        self.log.erase(what)
    }

    fn stats(&self) -> LogStats {
        self.log.stats()
    }

    fn is_writable(&self) -> bool {
        self.log.is_writable()
    }

    fn close(&self) {
        self.log.close();
    }
}
