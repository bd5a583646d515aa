//! What the hub tells on standard error: lines of text or of JSON, and no warning over and over.

mod lines;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};

use tracing::callsite::Identifier;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogFormat, LogLevel};
use crate::time;

#[cfg(test)]
pub(crate) use lines::WAITING_MAX;
pub(crate) use lines::{dropped, flush};

/// Warnings and errors of one kind that are told within [`PERIOD_MS`].
pub(crate) const REPEATS_MAX: u32 = 10;
const PERIOD_MS: u64 = 60_000;

/// What lines of requests and streams, and the spans of requests, are told under. Whether there are any says
/// `request_log`, whatever the level.
pub(crate) const REQUESTS: &str = "tidewire::requests";

/// The level up to which everything else is told.
static LEVEL: AtomicU8 = AtomicU8::new(LogLevel::Info as u8);

/// Begins to tell. Whoever listens already, as in a test, goes on to.
pub(crate) fn start(level: LogLevel, format: LogFormat) -> io::Result<()> {
    set_level(level);
    let lines = tracing_subscriber::fmt::layer().with_writer(lines::Lines);
    let told = tracing_subscriber::registry().with(Told);
    let _ = match format {
        LogFormat::Text => {
            let lines = lines.map_event_format(|text| Limited::new(text, LogFormat::Text));
            told.with(lines).try_init()
        }
        LogFormat::Json => {
            let lines = lines.json().map_event_format(|json| Limited::new(json, LogFormat::Json));
            told.with(lines).try_init()
        }
    };
    lines::start()
}

/// Tells up to this level from now on.
pub(crate) fn set_level(level: LogLevel) {
    LEVEL.store(level as u8, Ordering::Relaxed);
    tracing::callsite::rebuild_interest_cache();
}

fn level() -> LevelFilter {
    match LEVEL.load(Ordering::Relaxed) {
        level if level == LogLevel::Error as u8 => LevelFilter::ERROR,
        level if level == LogLevel::Warn as u8 => LevelFilter::WARN,
        level if level == LogLevel::Info as u8 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    }
}

/// Says what is told at all.
struct Told;

fn is_told(metadata: &Metadata<'_>) -> bool {
    metadata.target() == REQUESTS || *metadata.level() <= level()
}

impl<S: Subscriber> Layer<S> for Told {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_told(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        is_told(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        // Requests are told at this level.
        Some(level().max(LevelFilter::INFO))
    }
}

/// Tells what `inner` makes of an event, unless it was told often enough of late.
struct Limited<F> {
    inner: F,
    format: LogFormat,
    repeats: Mutex<Repeats>,
}

impl<F> Limited<F> {
    fn new(inner: F, format: LogFormat) -> Limited<F> {
        Limited { inner, format, repeats: Mutex::default() }
    }

    /// What is to be told of one more event of this kind.
    fn repeat(&self, metadata: &'static Metadata<'static>) -> Repeat {
        if *metadata.level() > Level::WARN {
            return Repeat::Tell { held_back: 0 };
        }
        // Who panicked while it was locked has told of that, and left nothing half done.
        let mut repeats = self.repeats.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        repeats.take(metadata.callsite(), time::now_ms())
    }

    fn tell_held_back(&self, writer: &mut Writer<'_>, held_back: u64, like: &Metadata<'_>) -> fmt::Result {
        let (target, level) = (like.target(), like.level());
        let message = "more like the one before came, and were not told each";
        match self.format {
            LogFormat::Text => writeln!(writer, "{level:>5} {target}: {held_back} {message}"),
            LogFormat::Json => {
                let line = serde_json::json!({
                    "timestamp": time::rfc3339(time::now_ms()),
                    "level": level.as_str(),
                    "fields": { "message": message, "times": held_back },
                    "target": target,
                });
                writeln!(writer, "{line}")
            }
        }
    }
}

impl<S, N, F> FormatEvent<S, N> for Limited<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Repeat::Tell { held_back } = self.repeat(event.metadata()) else { return Ok(()) };
        if held_back > 0 {
            self.tell_held_back(&mut writer, held_back, event.metadata())?;
        }
        self.inner.format_event(context, writer, event)
    }
}

/// What becomes of a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repeat {
    /// It is told, and that so many like it were not.
    Tell {
        held_back: u64,
    },
    HoldBack,
}

/// How often each kind of warning came of late. A kind is a place in the code, so there are few.
#[derive(Default)]
struct Repeats(HashMap<Identifier, Kind>);

struct Kind {
    since_ms: u64,
    told: u32,
    held_back: u64,
}

impl Repeats {
    fn take(&mut self, kind: Identifier, now_ms: u64) -> Repeat {
        let kind = self.0.entry(kind).or_insert(Kind { since_ms: now_ms, told: 0, held_back: 0 });
        // A clock that was set back begins a period as well.
        if !(kind.since_ms..kind.since_ms + PERIOD_MS).contains(&now_ms) {
            let held_back = std::mem::take(&mut kind.held_back);
            *kind = Kind { since_ms: now_ms, told: 1, held_back: 0 };
            return Repeat::Tell { held_back };
        }
        if kind.told == REPEATS_MAX {
            kind.held_back += 1;
            return Repeat::HoldBack;
        }
        kind.told += 1;
        Repeat::Tell { held_back: 0 }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Lines {
        fn take(&self) -> Vec<String> {
            let bytes = std::mem::take(&mut *self.0.lock().expect("nobody panics with it"));
            String::from_utf8(bytes).expect("text").lines().map(str::to_owned).collect()
        }
    }

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("nobody panics with it").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Lines;

        fn make_writer(&'a self) -> Lines {
            self.clone()
        }
    }

    #[test]
    fn a_warning_is_told_so_often_and_another_is_told_beside_it() {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(lines.clone())
            .json()
            .map_event_format(|json| Limited::new(json, LogFormat::Json))
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            for n in 0..REPEATS_MAX + 5 {
                tracing::warn!(n, "the disk is slow");
                tracing::info!(n, "a stream began");
            }
            tracing::error!("the disk is gone");
        });
        let lines = lines.take();
        let of = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
        let told = usize::try_from(REPEATS_MAX).expect("small");
        assert_eq!((of("slow"), of("began"), of("gone"), lines.len()), (told, told + 5, 1, 2 * told + 6));
        for line in lines {
            serde_json::from_str::<serde_json::Value>(&line).expect("each line is JSON");
        }
    }

    #[test]
    fn how_many_were_held_back_is_told_with_the_next_one() {
        let limited = Limited::new((), LogFormat::Json);
        let metadata = {
            static CALLSITE: tracing::callsite::DefaultCallsite = tracing::callsite::DefaultCallsite::new(&METADATA);
            static METADATA: Metadata<'static> = tracing::metadata! {
                name: "test", target: "hub", level: Level::WARN, fields: &[], callsite: &CALLSITE,
                kind: tracing::metadata::Kind::EVENT,
            };
            &METADATA
        };
        let mut repeats = Repeats::default();
        let mut take = |now_ms| repeats.take(metadata.callsite(), now_ms);
        for n in 0..u64::from(REPEATS_MAX) {
            assert_eq!(take(1_000 + n), Repeat::Tell { held_back: 0 });
        }
        assert_eq!(take(1_100), Repeat::HoldBack);
        assert_eq!(take(1_000 + PERIOD_MS - 1), Repeat::HoldBack);
        assert_eq!(take(1_000 + PERIOD_MS), Repeat::Tell { held_back: 2 });
        assert_eq!(take(1_000 + PERIOD_MS), Repeat::Tell { held_back: 0 });
        assert_eq!(take(5), Repeat::Tell { held_back: 0 }, "the clock was set back");
        let mut line = String::new();
        limited.tell_held_back(&mut Writer::new(&mut line), 2, metadata).expect("a string takes everything");
        let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!((&line["fields"]["times"], &line["target"]), (&2.into(), &"hub".into()));
    }
}
