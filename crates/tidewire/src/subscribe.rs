//! `tidewire subscribe`: prints events as they arrive.

mod output;

use std::io::Write;
use std::pin::pin;
use std::time::Duration;

use anyhow::Context;
use tidewire_client::{Client, Update};
use tidewire_topic::Matcher;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use self::output::{Line, Output, Sink};
use crate::hub::{HubArgs, block_on};

pub(crate) const EXAMPLES: &str = "\
Examples:
  tidewire subscribe --topic news
  tidewire subscribe --topic news --topic sport --from -10
  tidewire subscribe --topic '*' --json | jq .event.data

Without --json, an event's data is printed and a line end; what happens to the stream is told on standard error.
With --json every line is an object with one member:
  {\"event\":{\"id\",\"type\",\"data\"}}
  {\"gap\":{\"requested\",\"resumed_from\",\"reason\"}}
  {\"left_out\":{\"reason\"}}
  {\"connected\":{\"resumed_from\"}}
  {\"disconnected\":{\"reason\",\"retry_in_ms\"}}";

/// The place at which a reader begins that names none.
const LATEST: &str = "latest";

/// How long what was handed to the printing thread may take to be written once a signal came.
const PRINT_AFTER_SIGNAL: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    hub: HubArgs,
    /// A topic to watch; `*` for all. May be repeated.
    #[arg(
        long = "topic",
        value_name = "TOPIC",
        required_unless_present_any = ["patterns", "templates"],
        value_parser = Matcher::parse
    )]
    topics: Vec<Matcher>,
    /// A URL Pattern of topics to watch, relative to the hub's `public_url`. May be repeated.
    #[arg(long = "pattern", value_name = "PATTERN")]
    patterns: Vec<String>,
    /// A URI Template of topics to watch. May be repeated.
    #[arg(long = "template", value_name = "TEMPLATE")]
    templates: Vec<String>,
    /// Only events of this type. May be repeated.
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Where to begin: `earliest`, `latest`, `-N` for the last N that match, or the id after which.
    #[arg(long, value_name = "PLACE", default_value = LATEST, allow_hyphen_values = true)]
    from: String,
    /// Print JSON, one object a line: see below.
    #[arg(long)]
    json: bool,
    /// End after so many events.
    #[arg(long, value_name = "EVENTS", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

/// Prints events until there is no more to come, or a signal.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let mut client = args.hub.client()?;
    for topic in &args.topics {
        client = client.query("topic", topic.as_str());
    }
    for pattern in &args.patterns {
        client = client.query("pattern", pattern);
    }
    for template in &args.templates {
        client = client.query("template", template);
    }
    for event_type in &args.types {
        client = client.query("type", event_type);
    }
    if args.from != LATEST {
        client = client.query("from", &args.from);
    }
    block_on(print_until_signal(&args, &client))
}

async fn print_until_signal(args: &Args, client: &Client) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to wait for signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("failed to wait for signals")?;
    let mut signalled = pin!(async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    });
    let output = Output::stdout();
    let ended = tokio::select! {
        ended = print_events(args, client, &output) => ended,
        () = output.closed() => Ok(()),
        () = &mut signalled => {
            // What came before the signal is printed, unless nobody reads it.
            let _ = timeout(PRINT_AFTER_SIGNAL, output.finish()).await;
            return Ok(());
        }
    };
    tokio::select! {
        printed = output.finish() => printed.context("failed to write to standard output")?,
        () = &mut signalled => {}
    }
    ended
}

/// Prints until the stream ends for good, enough is printed, or nobody reads it.
async fn print_events(args: &Args, client: &Client, output: &Output) -> anyhow::Result<()> {
    let sink = Sink::of_stdout();
    let mut events_left = args.count;
    let mut was_connected = false;
    let mut events = client.subscribe();
    while let Some(update) = events.next().await {
        let text = match &update {
            Update::Failed(_) => None,
            _ if args.json => json_line(&update).map(|line| line.to_json()),
            Update::Event(message) => Some(sink.text(&message.data)),
            _ => {
                tell(&update, was_connected);
                None
            }
        };
        if let Some(text) = text
            && !output.print(text).await
        {
            return Ok(());
        }
        match update {
            Update::Failed(error) => return Err(error).context("the hub refused the stream"),
            Update::Connected { .. } => was_connected = true,
            Update::Event(_) => {
                events_left = events_left.map(|left| left.saturating_sub(1));
                if events_left == Some(0) {
                    return Ok(());
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn json_line(update: &Update) -> Option<Line<'_>> {
    match update {
        Update::Event(message) => {
            Some(Line::Event { id: &message.id, event_type: &message.event_type, data: &message.data })
        }
        Update::Gap { requested, resumed_from, reason } => Some(Line::Gap { requested, resumed_from, reason }),
        Update::LeftOut(error) => Some(Line::LeftOut { reason: error.to_string() }),
        Update::Connected { resumed_from } => Some(Line::Connected { resumed_from }),
        Update::Disconnected { reason, retry_in } => {
            Some(Line::Disconnected { reason: reason.to_string(), retry_in_ms: retry_in.as_millis() })
        }
        Update::Checkpoint { .. } | Update::Failed(_) => None,
    }
}

/// Tells on standard error what happens to the stream.
fn tell(update: &Update, was_connected: bool) {
    let text = match update {
        Update::Gap { requested, resumed_from, reason } => {
            format!("gap: something after {requested} is missing ({reason}); it goes on after {resumed_from}")
        }
        Update::LeftOut(error) => format!("gap: an event is missing: {error}"),
        Update::Connected { .. } if was_connected => "connected again".to_owned(),
        Update::Disconnected { reason, retry_in } => {
            format!("disconnected: {reason}; trying again in {:.1} s", retry_in.as_secs_f64())
        }
        _ => return,
    };
    // Nobody may be there to read it, and that is no reason to end.
    let _ = writeln!(std::io::stderr(), "{text}");
}
