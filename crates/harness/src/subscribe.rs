use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::Value;
use tidewire_sim::{Asked, Connection, Item, Subscriber, Until};

use crate::hub::signal;
use crate::{Clock, Numbers, Witness};

/// `tidewire subscribe --json`, reading [`Numbers`] from the beginning.
#[derive(Debug)]
pub struct SubscribeCommand {
    child: Child,
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    events: AtomicUsize,
    record: Mutex<Subscriber>,
}

impl SubscribeCommand {
    /// Starts the command against the hub at `url`.
    ///
    /// # Panics
    /// If it cannot be run.
    #[must_use]
    pub fn start(binary: &str, url: &str, clock: Clock, numbers: &Numbers) -> SubscribeCommand {
        let mut child = Command::new(binary)
            .args(["subscribe", "--json", "--from", "earliest", "--topic", &numbers.topic, "--url", url])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary can be run");
        let output = child.stdout.take().expect("it is piped");
        let mut record = Subscriber::new("tidewire subscribe", numbers.filter(), Until::Everything);
        record.connections.push(Connection::begin(Asked::Earliest, clock.now()));
        let shared = Arc::new(Shared { clock, events: AtomicUsize::new(0), record: Mutex::new(record) });
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.read(output)
        });
        SubscribeCommand { child, shared, thread }
    }
}

impl Witness for SubscribeCommand {
    fn events(&mut self) -> usize {
        self.shared.events.load(Ordering::SeqCst)
    }

    fn finish(mut self) -> Subscriber {
        signal("TERM", self.child.id());
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "tidewire subscribe ended with {status}");
        self.thread.join().expect("every line was understood");
        self.shared.record.lock().expect("its thread has ended").clone()
    }
}

impl Shared {
    fn read(&self, output: ChildStdout) {
        for line in BufReader::new(output).lines() {
            let line = line.expect("the command prints UTF-8");
            let line: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
            self.add(&line);
        }
    }

    fn add(&self, line: &Value) {
        let text = |object: &Value, name: &str| object[name].as_str().unwrap_or_default().to_owned();
        let now = self.clock.now();
        let mut record = self.record.lock().expect("nobody panics with it in hand");
        let last = record.connections.last_mut().expect("there is one from the start");
        if let Some(event) = line.get("event") {
            let (id, event_type, data) = (text(event, "id"), text(event, "type"), text(event, "data"));
            last.items.push(Item::event(&id, &event_type, &data));
            self.events.fetch_add(1, Ordering::SeqCst);
        } else if let Some(gap) = line.get("gap") {
            let resumed_from = text(gap, "resumed_from");
            last.items.push(Item::gap(&resumed_from, &text(gap, "requested"), &resumed_from, &text(gap, "reason")));
        } else if let Some(connected) = line.get("connected") {
            let place = text(connected, "resumed_from");
            if place.is_empty() {
                last.head = Some(now);
                return;
            }
            // The command does not print checkpoints: where it goes on tells the one it stood at.
            if last.items.last().is_none_or(|item| item.id() != place) {
                last.items.push(Item::checkpoint(&place));
            }
            let mut next = Connection::begin(Asked::Id(place), now);
            next.head = Some(now);
            record.connections.push(next);
        } else if line.get("disconnected").is_some() {
            last.ended.get_or_insert(now);
        } else {
            panic!("tidewire subscribe printed {line}");
        }
    }
}
