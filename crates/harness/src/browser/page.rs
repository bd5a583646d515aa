use serde_json::{Value, json};
use tidewire_sim::{Asked, Connection, Digest, Item, Moment, Subscriber, Until};

use super::Browser;
use crate::stream::{seen, target};
use crate::{Clock, Numbers, Witness};

/// The page's part: an `EventSource` that writes everything down.
const SCRIPT: &str = include_str!("page.js");
/// How many entries are fetched from the page at once.
const PIECE: usize = 1_000;

/// A page of the hub with an `EventSource` that reads [`Numbers`] from the beginning.
#[derive(Debug)]
pub struct Page {
    browser: Browser,
    numbers: Numbers,
    /// The moment at which the page's clock stood at 0, in microseconds.
    origin: u64,
    /// Where the first connection began.
    began: Moment,
}

impl Page {
    /// Opens the hub's page at `/` and begins to read.
    ///
    /// # Panics
    /// If the browser cannot.
    #[must_use]
    pub fn open(mut browser: Browser, hub: &str, clock: Clock, numbers: &Numbers) -> Page {
        browser.open(&format!("{hub}/"));
        let types = json!([numbers.event_type, "message", "tidewire.gap", "tidewire.checkpoint"]);
        let url = target(&numbers.filter(), &Asked::Earliest);
        let began = clock.now();
        let at = browser.run(SCRIPT, &[json!(url), types]).as_f64().unwrap_or_default();
        // The page's clock is read within the call: late by what the call took at most, never early.
        let origin = clock.now().0.saturating_sub(micros(at));
        Page { browser, numbers: numbers.clone(), origin, began }
    }

    /// How many streams it has opened.
    ///
    /// # Panics
    /// If the browser cannot say.
    pub fn opens(&mut self) -> usize {
        self.number("opens")
    }

    fn number(&mut self, name: &str) -> usize {
        let number = self.browser.run("return window.tidewireTest.record[arguments[0]]", &[json!(name)]);
        number.as_u64().and_then(|n| usize::try_from(n).ok()).expect("the page counts")
    }
}

impl Witness for Page {
    fn events(&mut self) -> usize {
        self.number("events")
    }

    /// Closes the `EventSource`, which must not have given up, and fetches what it wrote down.
    fn finish(mut self) -> Subscriber {
        let state =
            self.browser.run("const s = window.tidewireTest.source, r = s.readyState; s.close(); return r", &[]);
        let name = format!("{:?}", self.browser.kind());
        assert_ne!(state, json!(2), "the EventSource of {name} has given up");
        let mut log = Log {
            origin: self.origin,
            subscriber: Subscriber::new(&name, self.numbers.filter(), Until::Everything),
            connection: Connection::begin(Asked::Earliest, self.began),
        };
        let script = "return window.tidewireTest.record.entries.slice(arguments[0], arguments[1])";
        let mut from = 0;
        loop {
            let piece = self.browser.run(script, &[json!(from), json!(from + PIECE)]);
            let piece = piece.as_array().filter(|piece| !piece.is_empty());
            let Some(piece) = piece else { break };
            piece.iter().for_each(|entry| log.add(entry));
            from += piece.len();
        }
        log.subscriber.connection(log.connection)
    }
}

/// The page's entries on their way into a record.
struct Log {
    origin: u64,
    subscriber: Subscriber,
    connection: Connection,
}

impl Log {
    fn add(&mut self, entry: &Value) {
        let at = Moment(self.origin + micros(entry[0].as_f64().unwrap_or_default()));
        let text = |n: usize| entry[n].as_str().unwrap_or_default();
        match text(1) {
            "open" => self.connection.head = Some(at),
            "error" => self.end(at),
            event_type => {
                let item = if event_type.starts_with("tidewire.") {
                    seen(text(2), event_type, text(5))
                } else {
                    let hash = entry[4].as_u64().and_then(|hash| u32::try_from(hash).ok());
                    let content = Digest {
                        units: entry[3].as_u64().unwrap_or_default(),
                        hash: hash.expect("the page's hash has 32 bits"),
                    };
                    Some(Item::Event { id: text(2).to_owned(), event_type: event_type.to_owned(), content })
                };
                self.connection.items.extend(item);
            }
        }
    }

    /// The stream ended, or could not be opened: an `EventSource` tries again after its last id.
    fn end(&mut self, at: Moment) {
        if self.connection.head.is_none() {
            self.connection.began = at;
            return;
        }
        let next = Connection::begin(Asked::Earliest, at);
        let mut ended = std::mem::replace(&mut self.connection, next);
        ended.ended = Some(at);
        self.subscriber.connections.push(ended);
        // What it really sent the page does not say; the rules leave it no choice.
        self.connection.asked = self.subscriber.asks_next().unwrap_or(Asked::Earliest);
    }
}

fn micros(milliseconds: f64) -> u64 {
    // Not negative, and far below 2^53.
    #[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "a page's age in microseconds")]
    let micros = (milliseconds * 1_000.0) as u64;
    micros
}
