use std::io::Write;

use anyhow::Context;
use indicatif::HumanBytes;
use tidewire_log::{HubId, Inspection, SegmentInfo};

use super::time::Time;
use super::{FolderArgs, Outcome, count};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    folder: FolderArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let (view, path) = args.folder.open()?;
    let found = view.inspect().with_context(|| format!("failed to read the log in {}", path.display()))?;
    let text = if args.json {
        serde_json::to_string_pretty(&found).context("failed to write JSON")?
    } else {
        describe(&found)
    };
    writeln!(std::io::stdout(), "{text}").context("failed to write what was found")?;
    Ok(Outcome::Whole)
}

fn describe(found: &Inspection) -> String {
    let mut lines = vec![
        format!("log             {}", found.log_id),
        format!("state           {}, used by {}", found.state, found.used_by),
        format!("events          {}", found.events),
        format!("low-water mark  {}", place(found.low_water)),
        format!("head            {}", place(found.head)),
        format!("floor           {}: no id beyond has been given out", Time(found.floor_ms)),
        format!("retention clock {}, at {}", Time(found.retention_ms), Time(found.written_ms)),
    ];
    for epoch in &found.epochs {
        let last = epoch.last.map_or_else(|| "now".to_owned(), place);
        lines.push(format!("epoch {:<9} {} to {last}", epoch.name, place(epoch.first)));
    }
    lines.push(String::new());
    if !found.segments.is_empty() {
        lines.push(format!(
            "{:<24}  {:<25}  {:<42}  {:<23}  index",
            "segment", "sequences", "last id and its time", "used"
        ));
    }
    lines.extend(found.segments.iter().map(segment));
    for (name, bytes) in &found.other_files {
        lines.push(format!("{name:<24}  {}", HumanBytes(*bytes)));
    }
    lines.join("\n").trim_end().to_owned()
}

fn segment(segment: &SegmentInfo) -> String {
    let unknown = || "?".to_owned();
    let sequences = match segment.last_sequence {
        Some(last) if last < segment.first_sequence => format!("none from {}", segment.first_sequence),
        Some(last) => format!("{} to {last}", segment.first_sequence),
        None => format!("{} to ?", segment.first_sequence),
    };
    let used = segment.used_bytes.map_or_else(unknown, |bytes| HumanBytes(bytes).to_string());
    let used = format!("{used} of {}", HumanBytes(segment.file_bytes));
    let index = segment.index_bytes.map_or_else(|| "none".to_owned(), |bytes| HumanBytes(bytes).to_string());
    let last = segment.last_id.map_or_else(unknown, place);
    let problem = segment.problem.as_ref().map_or_else(String::new, |problem| format!("  ! {problem}"));
    format!("{:<24}  {sequences:<25}  {last:<42}  {used:<23}  {index}{problem}", segment.file)
}

/// A place and its time.
fn place(id: HubId) -> String {
    format!("{id} {}", Time(id.ms))
}

/// `12 events, #1-0 to #2-3`.
pub(super) fn range(events: u64, first: Option<HubId>, last: Option<HubId>) -> String {
    match (first, last) {
        (Some(first), Some(last)) => format!("{}, {first} to {last}", count(events, "event")),
        _ => count(events, "event"),
    }
}
