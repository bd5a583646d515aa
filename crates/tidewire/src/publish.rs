//! `tidewire publish`: one event from an argument or a file, or one a line of standard input.

mod batch;
mod ids;
mod input;
mod progress;
mod send;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::error::ErrorKind;
use clap::{ArgGroup, CommandFactory};
use tidewire_topic::Topic;

use crate::hub::{HubArgs, block_on};

pub(crate) const EXAMPLES: &str = "\
Examples:
  tidewire publish --topic news 'Hello'
  tidewire publish --topic news --type picture --file picture.svg
  tail -f app.log | tidewire publish --topic logs -
  tidewire publish --topic orders --json-data - < orders.ndjson

Each event is sent with an id of the publisher's own, so that one that is sent again after a failure is
published once. The hub's ids are printed, one a line, in the order of the events.";

/// The most bytes read from `--file`: more than a hub takes by default.
const FILE_BYTES_MAX: u64 = 64 * 1_024 * 1_024;

/// The longest time for which to go on trying, in seconds: half of the time for which a hub by
/// default knows an id again.
const RETRY_FOR_S_MAX: u64 = 300;

#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("source").args(["data", "file"]).required(true))]
pub(crate) struct Args {
    #[command(flatten)]
    hub: HubArgs,
    /// A topic of the events; the first is the canonical one. May be repeated.
    #[arg(long = "topic", value_name = "TOPIC", required = true, value_parser = Topic::parse)]
    topics: Vec<Topic>,
    /// Their type; without it they are messages.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// The id of the one event: if an event with it was published within the last minutes, it is
    /// not published again. Made at random where it is not given.
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// What the ids of lines begin with; the line's number follows. With the same prefix and the
    /// same lines, a run that failed may be repeated. Made at random where it is not given.
    #[arg(long, value_name = "PREFIX")]
    id_prefix: Option<String>,
    /// Only streams whose token grants a topic may read them.
    #[arg(long)]
    private: bool,
    /// The data is JSON and is published as such, not as text. Blank lines are passed over.
    #[arg(long)]
    json_data: bool,
    /// Print `{"id": …, "publisher_id": …}` instead of the bare id.
    #[arg(long)]
    json: bool,
    /// How many requests with lines may be under way. With more than one, events may change
    /// places.
    #[arg(long, value_name = "REQUESTS", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    in_flight: u16,
    /// For how many seconds to go on trying while the hub is not there.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(..=RETRY_FOR_S_MAX))]
    retry_for: u64,
    /// The data; `-` publishes each line of standard input.
    data: Option<String>,
    /// A file whose content is the data.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Where the data comes from.
enum Source {
    Text(String),
    Lines,
}

/// Publishes what the arguments say.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let source = match (&args.data, &args.file) {
        (Some(data), _) if data == "-" => Source::Lines,
        (Some(data), _) => Source::Text(data.clone()),
        (None, Some(path)) => Source::Text(read_file(path)?),
        (None, None) => bail!(wrong_usage(ErrorKind::MissingRequiredArgument, "there is nothing to publish")),
    };
    match source {
        Source::Lines if args.id.is_some() => {
            bail!(wrong_usage(ErrorKind::ArgumentConflict, "--id names one event; use --id-prefix for lines"))
        }
        Source::Text(_) if args.id_prefix.is_some() => {
            bail!(wrong_usage(ErrorKind::ArgumentConflict, "--id-prefix is for lines; use --id for one event"))
        }
        Source::Lines => block_on(send::lines(&args)),
        Source::Text(text) => block_on(send::one(&args, text)),
    }
}

fn wrong_usage(kind: ErrorKind, message: &str) -> clap::Error {
    crate::Cli::command().error(kind, message)
}

fn read_file(path: &Path) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .with_context(|| format!("failed to read {}", path.display()))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        bail!("{} is larger than {FILE_BYTES_MAX} bytes", path.display());
    }
    String::from_utf8(bytes).ok().with_context(|| format!("{} is not UTF-8", path.display()))
}
