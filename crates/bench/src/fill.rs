//! A large log to measure on: made by publishing it, or found as an earlier run left it.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::clock::now;
use crate::cpus::Cpus;
use crate::http::{self, Connection};
use crate::hub::{Hub, HubCommand};
use crate::layout::{Layout, NUMBER_BYTES};
use crate::process::drop_page_cache;
use crate::progress::Progress;
use crate::report::Report;
use crate::stream::EventStream;
use crate::{BenchError, Common};

/// Events of one request: as many as the hub takes by default.
const BATCH_EVENTS: u64 = 1_000;

/// What a record may take beside its data: head, names, the frame's lines.
const RECORD_BYTES_BESIDE: u64 = 256;

/// What the hub keeps at least: its default. A larger log needs more, or its oldest events would go.
const RETENTION_BYTES_MIN: u64 = 10 << 30;

/// Which log, as flags.
#[derive(Debug, clap::Args)]
pub(crate) struct LogArgs {
    /// Events in the log.
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(Layout::EVENTS_MIN..=1_000_000_000))]
    events: u64,
    /// The data of each, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = clap::value_parser!(u16).range(NUMBER_BYTES as i64..=4_096))]
    payload: u16,
    /// Topics that take turns. One more has ten events among all.
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    topics: u64,
    /// Keep the log in this folder, or use the one that an earlier run has left there. Without it the log is removed.
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// Leave the page cache as it is. Without it what it holds is dropped before the hub is started, where that is allowed.
    #[arg(long)]
    warm: bool,
}

/// A large log at rest.
#[derive(Debug)]
pub(crate) struct Filled {
    pub(crate) layout: Layout,
    pub(crate) places: Vec<Place>,
    folder: PathBuf,
    binary: PathBuf,
    cpus: Cpus,
    warm: bool,
    /// Removed at the end.
    _temporary: Option<TempDir>,
}

/// The id of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) event: u64,
    /// As in a URL: without `#`.
    pub(crate) id: String,
}

/// What lies beside the log, written once it is whole.
#[derive(Debug, Serialize, Deserialize)]
struct Description {
    layout: Layout,
    places: Vec<Place>,
}

impl Filled {
    /// Makes the log, or finds it.
    pub(crate) fn prepare(args: &LogArgs, common: &Common, report: &mut Report) -> Result<Filled, BenchError> {
        let layout = Layout { events: args.events, topics: args.topics, payload_bytes: args.payload.into() };
        report.setting("events", layout.events);
        report.setting("topics", layout.topics);
        report.setting("payload_bytes", layout.payload_bytes);
        let (folder, temporary) = match &args.data_dir {
            Some(folder) => (folder.clone(), None),
            None => {
                let made = tempfile::Builder::new().prefix("tidewire-bench-").tempdir_in(common.folder());
                let made = made.map_err(BenchError::io(format!("make a folder in {}", common.folder().display())))?;
                (made.path().to_owned(), Some(made))
            }
        };
        let (binary, cpus) = (common.hub()?, common.cpus());
        let mut filled =
            Filled { layout, places: Vec::new(), folder, binary, cpus, warm: args.warm, _temporary: temporary };
        match found(&filled.description())? {
            Some(description) if description.layout == layout => {
                filled.places = description.places;
                report.note(format!("the log is that of an earlier run, in {}", filled.folder.display()));
            }
            Some(description) => {
                let (folder, found) = (filled.folder.display(), description.layout);
                return Err(BenchError::Usage(format!("{folder} holds another log: {found:?}")));
            }
            None => filled.fill(report)?,
        }
        Ok(filled)
    }

    /// Makes sure that nothing of the log is in memory. Otherwise no target counts, and the report says why.
    pub(crate) fn cool(&self, report: &mut Report) {
        let is_cold = !self.warm && drop_page_cache();
        report.setting("page_cache", if is_cold { "dropped" } else { "warm" });
        if !is_cold {
            report.does_not_count("the log may have been in memory: dropping the page cache takes root, and no --warm");
        }
    }

    /// Its hub, not yet started.
    pub(crate) fn command(&self) -> HubCommand {
        let bytes = self.layout.events * (self.layout.payload_bytes as u64 + RECORD_BYTES_BESIDE);
        let retention = bytes.max(RETENTION_BYTES_MIN).to_string();
        HubCommand::new(self.binary.clone(), &self.folder.join("log"), &["--retention-bytes", &retention], self.cpus)
    }

    /// How many events a hub says it retains must be how many were published, and the first and the last one must be
    /// where they belong.
    pub(crate) fn check(&self, hub: &Hub, report: &mut Report) -> Result<(), BenchError> {
        let retained = hub.metric("tidewire_log_events")?;
        if retained != self.layout.events as f64 {
            report.problem(format!("{} events were published, and {retained} are retained", self.layout.events));
        }
        for (from, event) in [("earliest", 0), ("-1", self.layout.events - 1)] {
            let message = EventStream::open(hub.address(), &format!("topic=*&from={from}"))?.next()?;
            if message.data != self.layout.data(event) {
                report.problem(format!("from={from} gave {:?} and not event {event}", message.data));
            }
        }
        Ok(())
    }

    fn fill(&mut self, report: &mut Report) -> Result<(), BenchError> {
        fs::create_dir_all(&self.folder).map_err(BenchError::io(format!("make {}", self.folder.display())))?;
        let log = self.folder.join("log");
        if log.exists() {
            let what = format!("{} is not whole: an earlier run was cut short. Remove it", log.display());
            return Err(BenchError::Usage(what));
        }
        Progress::line(&format!("publishing {} events in arrays of {BATCH_EVENTS}", self.layout.events));
        let hub = self.command().start(None)?;
        let began = now();
        self.places = publish(&hub, &self.layout)?;
        let rate = self.layout.events as f64 / began.elapsed().as_secs_f64();
        report.value("filling the log", "events, in arrays", "1/s", rate);
        hub.stop()?;
        let description = Description { layout: self.layout, places: self.places.clone() };
        let json = serde_json::to_vec(&description).expect("numbers and texts have a JSON");
        let path = self.description();
        fs::write(&path, json).map_err(BenchError::io(format!("write {}", path.display())))
    }

    fn description(&self) -> PathBuf {
        self.folder.join("bench.json")
    }
}

/// The description of an earlier run's log, if there is one.
fn found(path: &Path) -> Result<Option<Description>, BenchError> {
    match fs::read(path) {
        Ok(json) => {
            let description = serde_json::from_slice(&json).map_err(std::io::Error::other);
            description.map(Some).map_err(BenchError::io(format!("read {}", path.display())))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(BenchError::io(format!("read {}", path.display()))(error)),
    }
}

/// Publishes everything in order, on one connection: the next array is on its way while one is committed. The places are
/// those of each array's last event.
fn publish(hub: &Hub, layout: &Layout) -> Result<Vec<Place>, BenchError> {
    let mut connection = Connection::open(hub.address())?;
    let bar = Progress::bar("filling", layout.events);
    let mut places = Vec::new();
    let send = |connection: &mut Connection, from: u64| {
        connection.send(&http::post_events(hub.address(), &layout.body(from, BATCH_EVENTS)))
    };
    send(&mut connection, 0)?;
    let mut from = 0;
    while from < layout.events {
        let next = from + BATCH_EVENTS;
        if next < layout.events {
            send(&mut connection, next)?;
        }
        let (status, body) = connection.receive()?;
        let last = next.min(layout.events) - 1;
        if status != 200 {
            let told = String::from_utf8_lossy(&body).into_owned();
            return Err(BenchError::hub(format!("answered events from {from} on with {status}: {told}")));
        }
        places.push(Place { event: last, id: last_id(&body, last - from + 1)? });
        bar.advance(last - from + 1);
        from = next;
    }
    Ok(places)
}

/// The last id of an answer to so many events.
fn last_id(answer: &[u8], events: u64) -> Result<String, BenchError> {
    #[derive(Deserialize)]
    struct Answer {
        ids: Vec<String>,
    }
    let answer: Answer =
        serde_json::from_slice(answer).map_err(|error| BenchError::hub(format!("answered without ids: {error}")))?;
    match answer.ids.last().and_then(|id| id.strip_prefix('#')) {
        Some(id) if answer.ids.len() as u64 == events => Ok(id.to_owned()),
        _ => Err(BenchError::hub(format!("answered {events} events with {} ids", answer.ids.len()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_an_id_for_each_event() {
        assert_eq!(last_id(br##"{"ids":["#1-0","#2-7"]}"##, 2).expect("two ids"), "2-7");
        assert!(last_id(br##"{"ids":["#1-0","#2-7"]}"##, 3).is_err());
        assert!(last_id(br#"{"ids":[]}"#, 0).is_err());
        assert!(last_id(b"{}", 1).is_err());
    }

    #[test]
    fn a_log_of_an_earlier_run_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bench.json");
        assert!(found(&path).expect("none is no error").is_none());
        fs::write(
            &path,
            r#"{"layout":{"events":1000,"topics":1,"payload_bytes":12},"places":[{"event":9,"id":"5-0"}]}"#,
        )
        .expect("it is written");
        let description = found(&path).expect("it is well formed").expect("it is there");
        assert_eq!(description.places, [Place { event: 9, id: "5-0".to_owned() }]);
        fs::write(&path, "{").expect("it is written");
        assert!(found(&path).is_err());
    }
}
