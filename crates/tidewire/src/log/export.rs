use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use tidewire_log::{Clock, ExportConfig, ExportSummary, HubId, LeftOut, LogView, SystemClock, Usage};
use tidewire_topic::Topic;

use super::inspect::range;
use super::progress::Progress;
use super::{FolderArgs, Outcome, count};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    folder: FolderArgs,
    /// The file to write; `-` for standard output. It gets its name once it is whole.
    #[arg(long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// Only events after this id.
    #[arg(long, value_name = "ID")]
    from: Option<HubId>,
    /// Only events on these topics.
    #[arg(long, value_name = "TOPIC", value_parser = Topic::parse, num_args = 1..)]
    topic: Vec<Topic>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let (view, path) = args.folder.open()?;
    let config = ExportConfig { from: args.from, topics: args.topic.clone() };
    let summary = if args.output == Path::new("-") {
        export(&view, &config, &mut std::io::stdout().lock())
    } else {
        export_to(&view, &config, &args.output)
    };
    let summary = summary.with_context(|| format!("failed to export the log in {}", path.display()))?;
    if view.usage() == Usage::InMemory {
        eprintln!("the hub that runs keeps its events in memory; what was exported is from before");
    }
    summary.left_out.iter().for_each(|left_out| eprintln!("{}", describe(left_out)));
    eprintln!("exported {}; {}", range(summary.events, summary.first, summary.last), count(summary.bytes, "byte"));
    Ok(if summary.met_damage() { Outcome::Damaged } else { Outcome::Whole })
}

/// Writes a file beside the one that is asked for, and gives it its name once it is whole and durable.
fn export_to(view: &LogView, config: &ExportConfig, path: &Path) -> anyhow::Result<ExportSummary> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".part");
    let unfinished = PathBuf::from(unfinished);
    let write = || {
        let file = File::create(&unfinished).context("failed to make the file")?;
        let mut out = BufWriter::new(file);
        let summary = export(view, config, &mut out)?;
        let file = out.into_inner().map_err(|error| error.into_error()).context("failed to write the file")?;
        file.sync_all().context("failed to write the file")?;
        std::fs::rename(&unfinished, path).context("failed to name the file")?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).context("failed to write the file's name")?;
        Ok(summary)
    };
    write().inspect_err(|_: &anyhow::Error| {
        // It may not be there.
        drop(std::fs::remove_file(&unfinished));
    })
}

fn export(view: &LogView, config: &ExportConfig, out: &mut dyn Write) -> anyhow::Result<ExportSummary> {
    let progress = Progress::of("exporting", Some(view.bytes()));
    Ok(view.export(config, SystemClock.now_ms(), out, &mut |bytes| progress.add(bytes))?)
}

/// `left out: 3 events between #1-0 and #1-4 (damaged)`.
pub(super) fn describe(left_out: &LeftOut) -> String {
    let LeftOut { after, before, events, why, .. } = left_out;
    let events = events.map_or_else(|| "what lay".to_owned(), |events| count(events, "event"));
    let before = before.map_or_else(|| "the end".to_owned(), |before| before.to_string());
    format!("left out: {events} between {after} and {before} ({why})")
}
