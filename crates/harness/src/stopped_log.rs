use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::{Clock, EventStream, Http, Hub, wait_until};

/// By when a hub has done what it does by itself.
const WITHIN: Duration = Duration::from_secs(30);
/// The file of the lock.
const LOCK: &str = "lock";
/// Where the checksum of a segment's header and of the manifest stands, and what it covers from there.
const CHECKSUM_AT: usize = 8;
const COVERED_FROM: usize = 12;
/// Where both have their format's number.
const FORMAT_AT: usize = 12;
/// From here on groups follow a segment's header.
const FIRST_GROUP: usize = 128;
/// How a group begins.
const GROUP_MAGIC: &[u8] = b"TWGR";
/// Where a group has the length of its records, and how long its header is.
const GROUP_LENGTH_AT: usize = 12;
const GROUP_HEADER: usize = 48;

/// A log as a killed hub left it, in files that a test changes. It has [`StoppedLog::EVENTS`] events, each a group of
/// its own, in several segments.
#[derive(Debug)]
pub struct StoppedLog {
    /// The hub, not running.
    pub hub: Hub,
    /// The ids of the events.
    pub ids: Vec<String>,
    /// What the files are to be.
    pub files: BTreeMap<String, Vec<u8>>,
    folder: TempDir,
}

impl StoppedLog {
    /// So many that they take several segments, and of the last one several groups.
    pub const EVENTS: usize = 44;

    /// Makes one.
    ///
    /// # Panics
    /// If the hub does not start or take the events.
    #[must_use]
    pub fn new(binary: &str) -> StoppedLog {
        StoppedLog::with_durability(binary, "commit")
    }

    /// Makes one with this `durability`.
    ///
    /// # Panics
    /// If the hub does not start or take the events.
    #[must_use]
    pub fn with_durability(binary: &str, durability: &str) -> StoppedLog {
        let folder = tempfile::tempdir().expect("a directory can be made");
        let (segment, retention) = (("TIDEWIRE_SEGMENT_BYTES", "64KiB"), ("TIDEWIRE_RETENTION_BYTES", "64MiB"));
        let settings = [segment, retention, ("TIDEWIRE_DURABILITY", durability)];
        let mut hub = Hub::start_in(folder.path(), binary, &["--dev"], &settings);
        let mut http = Http::connect(hub.address()).expect("the hub listens");
        let ids = (0..StoppedLog::EVENTS).map(|n| publish(&mut http, n)).collect();
        hub.kill(Clock::start());
        let files = read_all(folder.path());
        StoppedLog { hub, ids, files, folder }
    }

    /// Makes one whose full segments all have their index.
    ///
    /// # Panics
    /// If the hub does not start, take the events or write the indexes.
    #[must_use]
    pub fn with_indexes(binary: &str) -> StoppedLog {
        let mut log = StoppedLog::new(binary);
        log.hub.restart();
        log.wait_for_indexes();
        log.hub.kill(Clock::start());
        log.read();
        log
    }

    /// Waits until the running hub has written the index of every full segment.
    ///
    /// # Panics
    /// If it does not.
    pub fn wait_for_indexes(&self) {
        wait_until("every full segment has its index", WITHIN, || {
            let files = read_all(self.folder.path());
            let mut segments: Vec<_> = files.keys().filter_map(|name| name.strip_suffix(".seg")).collect();
            segments.pop();
            segments.iter().all(|segment| files.contains_key(&format!("{segment}.idx")))
        });
    }

    /// Takes the files as they are in the folder.
    pub fn read(&mut self) {
        self.files = read_all(self.folder.path());
    }

    /// The names of its segments, the oldest first.
    #[must_use]
    pub fn segments(&self) -> Vec<String> {
        self.files.keys().filter(|name| name.ends_with(".seg")).cloned().collect()
    }

    /// The groups of a segment: at which byte each begins and ends.
    #[must_use]
    pub fn groups(&self, segment: &str) -> Vec<(usize, usize)> {
        let bytes = &self.files[segment];
        let mut groups = Vec::new();
        let mut at = FIRST_GROUP;
        while bytes[at..].starts_with(GROUP_MAGIC) {
            let length = bytes[at + GROUP_LENGTH_AT..].first_chunk().expect("a group has a header");
            let end = at + GROUP_HEADER + u32::from_le_bytes(*length) as usize;
            groups.push((at, end));
            at = end;
        }
        groups
    }

    /// Changes a file.
    ///
    /// # Panics
    /// If it is not there.
    pub fn change(&mut self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        change(self.files.get_mut(name).expect("it is there"));
        self.write();
    }

    /// Brings the folder to what the files are to be.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write(&self) {
        for name in read_all(self.folder.path()).keys().filter(|name| !self.files.contains_key(*name)) {
            std::fs::remove_file(self.folder.path().join(name)).expect("a file can be removed");
        }
        for (name, bytes) in &self.files {
            std::fs::write(self.folder.path().join(name), bytes).expect("a file can be written");
        }
    }

    /// The hub must refuse to start, also a second time, say all of these, and leave the folder as it is.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn assert_refused(&mut self, fragments: &[&str]) {
        for _ in 0..2 {
            let refusal = self.hub.refuse();
            assert_eq!(refusal.code, Some(1));
            let folder = self.folder.path().display().to_string();
            for fragment in fragments.iter().chain([&folder.as_str()]) {
                assert!(refusal.said.contains(fragment), "{fragment:?} is not in {}", refusal.said);
            }
            // Whoever has the lock empties its file, which means nothing while nobody has it.
            let mut left = read_all(self.folder.path());
            if let (Some(lock), Some(was)) = (left.get_mut(LOCK), self.files.get(LOCK)) {
                lock.clone_from(was);
            }
            assert!(left == self.files, "a refused start changed the folder");
        }
    }

    /// The hub must start and have the first so many events, then take another.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn assert_starts_with(&mut self, events: usize) {
        self.hub.restart();
        let mut http = Http::connect(self.hub.address()).expect("the hub listens");
        let new = publish(&mut http, events);
        let target = "/api/v1/events?topic=*&from=earliest";
        let mut stream = EventStream::open(self.hub.address(), target, &[]).expect("the hub answers");
        for (number, id) in self.ids[..events].iter().chain([&new]).enumerate() {
            let event = stream.published();
            assert_eq!((&event.id, event.data), (id, StoppedLog::content(number)));
        }
    }

    /// With the files as they are here, the hub must start and have everything.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn assert_starts_as(&mut self, files: BTreeMap<String, Vec<u8>>) {
        self.files = files;
        self.write();
        self.assert_starts_with(StoppedLog::EVENTS);
    }

    /// What event `number` says.
    #[must_use]
    pub fn content(number: usize) -> String {
        format!("event {number}, {}", "and so on ".repeat(600))
    }
}

/// Gives a manifest, or a segment's header, the checksum that goes with its bytes.
pub fn set_checksum(bytes: &mut [u8]) {
    let crc = checksum(&bytes[COVERED_FROM..]).to_le_bytes();
    bytes[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&crc);
}

/// Gives a manifest, or a segment's header, a format of the future: 777.
pub fn of_the_future(bytes: &mut [u8]) {
    bytes[FORMAT_AT..FORMAT_AT + 4].copy_from_slice(&777_u32.to_le_bytes());
    set_checksum(bytes);
}

/// CRC-32C, bit by bit.
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (if crc & 1 == 1 { 0x82f6_3b78 } else { 0 }))
    })
}

/// Publishes event `number` and answers its id.
fn publish(http: &mut Http, number: usize) -> String {
    let body = json!({"topic": "a", "data": StoppedLog::content(number)}).to_string();
    let answer = http.request("POST", "/api/v1/events", &[("content-type", "application/json")], body.as_bytes());
    let answer = answer.expect("the hub answers");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["id"].as_str().expect("an id").to_owned()
}

/// The files of a folder, but for those that a kill has left unfinished: any start removes these.
fn read_all(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    entries
        .map(|entry| entry.expect("it can be listed"))
        .map(|entry| (entry.file_name().into_string().expect("our names are text"), entry.path()))
        .filter(|(name, _)| !name.ends_with(".tmp"))
        .map(|(name, path)| (name, std::fs::read(path).expect("a file can be read")))
        .collect()
}
