//! A log on another machine, for tests: the order and the ids are given there, other nodes' events arrive by
//! `follow`, and the wire between delays, reorders what does not depend on each other, and repeats.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};

use crate::{
    AppendError, Done, Erase, EraseError, Erased, EventLog, Filter, Follower, Hidden, HubId, LastMatches, LogStats,
    Met, NewEvent, ReadEnd, ReadError, RecordView, Standing, TopicPage, TopicSummary,
};
use server::{Delivery, FarRecord, Server};
use wire::Wire;

mod server;
mod tests;
mod wire;

/// A node's side of a log on another machine.
pub(crate) struct RemoteLog {
    wire: Arc<Wire>,
    node: Arc<Node>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What comes to a node, in the order in which it comes.
struct Node {
    inbox: Mutex<Inbox>,
    news: Condvar,
}

#[derive(Default)]
struct Inbox {
    items: VecDeque<Item>,
    /// Arrays that were appended and not answered.
    unanswered: usize,
    is_closed: bool,
    is_over: bool,
    /// Deliveries that had come before.
    repeated: u64,
    /// Deliveries that were shown.
    applied: usize,
}

enum Item {
    /// The delivery of this number, counted from 0.
    Delivered(usize, Arc<Delivery>),
    Answered(Result<Vec<HubId>, AppendError>, Done),
    Follow(Box<dyn Follower>, mpsc::SyncSender<()>),
}

impl RemoteLog {
    /// Connects a node to the log.
    pub(crate) fn connect(server: &Arc<Server>, seed: u64) -> RemoteLog {
        let node = Arc::new(Node { inbox: Mutex::default(), news: Condvar::new() });
        let delivered = Arc::clone(&node);
        let deliver = move |number, delivery| delivered.put(Item::Delivered(number, delivery));
        let wire = Wire::new(Arc::clone(server));
        let mut threads = vec![wire.start(seed, deliver)];
        let run = Run {
            node: Arc::clone(&node),
            begin: server.begin(),
            applied: Vec::new(),
            place: HubId::ZERO,
            follower: None,
            waiting: Vec::new(),
        };
        threads.push(thread::Builder::new().name("node".to_owned()).spawn(move || run.run()).expect("a thread"));
        RemoteLog { wire, node, threads: Mutex::new(threads) }
    }

    /// How many deliveries came more than once.
    pub(crate) fn repeated(&self) -> u64 {
        self.node.inbox().repeated
    }

    /// Asks the other machine, and waits.
    fn ask<T: Send + 'static>(&self, question: impl FnOnce(&dyn EventLog) -> T + Send + 'static) -> T {
        let (answer, answered) = mpsc::sync_channel(1);
        self.wire.request(move |log, back| {
            let told = question(log);
            back.reply(move || answer.send(told).unwrap_or_default());
        });
        answered.recv().expect("the wire ends with the log")
    }
}

impl Node {
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, item: Item) {
        self.inbox().items.push_back(item);
        self.news.notify_all();
    }
}

/// A node's own thread: it shows what comes, in order and once, and answers what it has shown.
struct Run {
    node: Arc<Node>,
    begin: HubId,
    /// What was delivered, by number.
    applied: Vec<Arc<Delivery>>,
    place: HubId,
    follower: Option<Box<dyn Follower>>,
    /// Answers that tell of more than was shown.
    waiting: Vec<(Result<Vec<HubId>, AppendError>, Done)>,
}

impl Run {
    fn run(mut self) {
        loop {
            let inbox = self.node.inbox();
            let has_time = |inbox: &mut Inbox| inbox.items.is_empty() && !inbox.is_over;
            let waited = self.node.news.wait_while(inbox, has_time);
            let Some(item) = waited.unwrap_or_else(PoisonError::into_inner).items.pop_front() else { return };
            match item {
                Item::Delivered(number, _) if number < self.applied.len() => self.node.inbox().repeated += 1,
                Item::Delivered(number, delivery) => {
                    assert_eq!(number, self.applied.len(), "a delivery was lost");
                    self.place = delivery.last_place().unwrap_or(self.place);
                    if let Some(follower) = &mut self.follower {
                        delivery.show(self.begin, &mut **follower);
                    }
                    self.applied.push(delivery);
                    self.node.inbox().applied = self.applied.len();
                    self.node.news.notify_all();
                }
                Item::Answered(result, done) => self.waiting.push((result, done)),
                Item::Follow(mut follower, begun) => {
                    // What was to be forgotten is not shown at all.
                    let before = |number: usize| &self.applied[..number];
                    let forgets = |(number, delivery): (usize, &Arc<Delivery>)| delivery.forgets(before(number));
                    let begin = self.applied.iter().enumerate().filter_map(forgets).max();
                    let begin = begin.unwrap_or_default().max(self.begin);
                    follower.begin(begin);
                    self.applied.iter().for_each(|delivery| delivery.show(begin, &mut *follower));
                    self.follower = Some(follower);
                    begun.send(()).unwrap_or_default();
                }
            }
            self.answer();
        }
    }

    fn answer(&mut self) {
        let told = |result: &Result<Vec<HubId>, AppendError>| match result {
            Ok(ids) => ids.iter().max().copied().unwrap_or_default(),
            Err(AppendError::IdConflict { first, .. }) => *first,
            Err(_) => HubId::ZERO,
        };
        let place = self.place;
        for (result, done) in self.waiting.extract_if(.., |(result, _)| told(result) <= place) {
            done(result);
            self.node.inbox().unanswered -= 1;
            self.node.news.notify_all();
        }
    }
}

impl EventLog for RemoteLog {
    fn append(&self, events: Vec<NewEvent>, done: Done) {
        {
            let mut inbox = self.node.inbox();
            if inbox.is_closed {
                drop(inbox);
                return done(Err(AppendError::Closed));
            }
            inbox.unanswered += 1;
        }
        let node = Arc::clone(&self.node);
        self.wire.request(move |log, back| {
            let answer = move |result| back.reply(move || node.put(Item::Answered(result, done)));
            log.append(events, Box::new(answer));
        });
    }

    fn follow(&self, follower: Box<dyn Follower>) {
        let (begun, has_begun) = mpsc::sync_channel(1);
        self.node.put(Item::Follow(follower, begun));
        has_begun.recv().expect("the node runs");
    }

    fn head(&self) -> HubId {
        self.ask(|log| log.head())
    }

    fn standing(&self, place: HubId) -> Standing {
        self.ask(move |log| log.standing(place))
    }

    fn low_water(&self) -> HubId {
        self.ask(|log| log.low_water())
    }

    fn read(
        &self,
        after: HubId,
        filter: &Filter,
        scan_bytes_max: u64,
        visit: &mut dyn FnMut(Met<'_>) -> ControlFlow<()>,
    ) -> Result<ReadEnd, ReadError> {
        enum Far {
            Record(FarRecord),
            Hidden(HubId, Hidden),
        }
        let filter = filter.clone();
        let (met, end) = self.ask(move |log| {
            let mut found = Vec::new();
            let end = log.read(after, &filter, scan_bytes_max, &mut |met| {
                found.push(match met {
                    Met::Record(record) => Far::Record(FarRecord::of(record)),
                    Met::Hidden { place, why } => Far::Hidden(place, why),
                });
                ControlFlow::Continue(())
            });
            (found, end)
        });
        let end = end?;
        for far in met {
            let (place, shown) = match far {
                Far::Record(record) => {
                    let record = record.encoded();
                    let record = RecordView::read(&record).expect("encoded here");
                    (record.id, visit(Met::Record(&record)))
                }
                Far::Hidden(place, why) => (place, visit(Met::Hidden { place, why })),
            };
            if shown.is_break() {
                return Ok(ReadEnd { looked_at: place, at_head: end.at_head && place >= end.looked_at, ..end });
            }
        }
        Ok(end)
    }

    fn event(&self, id: HubId, visit: &mut dyn FnMut(&RecordView<'_>)) -> Result<bool, ReadError> {
        let (found, record) = self.ask(move |log| {
            let mut far = None;
            let found = log.event(id, &mut |record| far = Some(FarRecord::of(record)));
            (found, far)
        });
        if let Some(record) = record {
            visit(&RecordView::read(&record.encoded()).expect("encoded here"));
        }
        found
    }

    fn find_publisher_id(&self, id: &str, filter: &Filter) -> Result<Option<HubId>, ReadError> {
        let (id, filter) = (id.to_owned(), filter.clone());
        self.ask(move |log| log.find_publisher_id(&id, &filter))
    }

    fn place_before_last(&self, count: u64, filter: &Filter) -> Result<LastMatches, ReadError> {
        let filter = filter.clone();
        self.ask(move |log| log.place_before_last(count, &filter))
    }

    fn topics(&self, after: Option<&str>, limit: usize, filter: &Filter) -> Result<TopicPage, ReadError> {
        let (after, filter) = (after.map(str::to_owned), filter.clone());
        self.ask(move |log| log.topics(after.as_deref(), limit, &filter))
    }

    fn topic(&self, topic: &str, filter: &Filter) -> Result<Option<TopicSummary>, ReadError> {
        let (topic, filter) = (topic.to_owned(), filter.clone());
        self.ask(move |log| log.topic(&topic, &filter))
    }

    /// It is answered once this node no longer shows it either.
    fn erase(&self, what: &Erase) -> Result<Erased, EraseError> {
        if self.node.inbox().is_closed {
            return Err(EraseError::Closed);
        }
        let what = what.clone();
        let server = Arc::clone(&self.wire.server);
        let (erased, told) = self.ask(move |log| (log.erase(&what), server.deliveries()));
        let inbox = self.node.inbox();
        let waited = self.node.news.wait_while(inbox, |inbox| inbox.applied < told && !inbox.is_over);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        erased
    }

    fn stats(&self) -> LogStats {
        self.ask(|log| log.stats())
    }

    fn is_writable(&self) -> bool {
        !self.node.inbox().is_closed && self.ask(|log| log.is_writable())
    }

    fn close(&self) {
        let mut inbox = self.node.inbox();
        inbox.is_closed = true;
        let waited = self.node.news.wait_while(inbox, |inbox| inbox.unanswered > 0);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for RemoteLog {
    fn drop(&mut self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        // What an answer drops last may be this log.
        let is_own = threads.iter().any(|thread| thread.thread().id() == thread::current().id());
        if !is_own {
            self.close();
        }
        self.wire.end();
        self.node.inbox().is_over = true;
        self.node.news.notify_all();
        for thread in threads.into_iter().filter(|_| !is_own) {
            thread.join().expect("no thread of a test panics");
        }
    }
}
