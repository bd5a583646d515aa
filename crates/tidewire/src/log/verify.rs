use std::io::Write;

use anyhow::Context;
use serde_json::json;
use tidewire_log::{Finding, Verification};

use super::inspect::range;
use super::progress::Progress;
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
    let progress = Progress::of("verifying", Some(view.bytes()));
    let found = view.verify(&mut |bytes| progress.add(bytes));
    drop(progress);
    let found = found.with_context(|| format!("failed to read the log in {}", path.display()))?;
    let text = if args.json {
        let mut value = serde_json::to_value(&found).context("failed to write JSON")?;
        value["whole"] = json!(found.is_whole());
        serde_json::to_string_pretty(&value).context("failed to write JSON")?
    } else {
        describe(&found)
    };
    writeln!(std::io::stdout(), "{text}").context("failed to write what was found")?;
    Ok(if found.is_whole() { Outcome::Whole } else { Outcome::Damaged })
}

fn describe(found: &Verification) -> String {
    let mut lines: Vec<String> = found.damages.iter().map(damage).collect();
    let unlisted = found.damages_total - found.damages.len() as u64;
    if unlisted > 0 {
        lines.push(format!("and {} more", count(unlisted, "damage")));
    }
    if let Some(place) = found.removed_through {
        lines.push(format!("retention removed events meanwhile; reading went on after {place}"));
    }
    if found.torn_bytes > 0 {
        lines.push(format!(
            "a crash left {} half written at the end; the next start cuts them, and nobody was told of them",
            count(found.torn_bytes, "byte")
        ));
    }
    let verdict = if found.is_whole() { "whole" } else { "damaged" };
    lines.push(format!(
        "log {}: {verdict}; {} in {} and {}",
        found.log_id,
        range(found.events, found.first, found.last),
        count(found.groups, "group"),
        count(found.segments, "segment"),
    ));
    lines.join("\n")
}

fn damage(damage: &Finding) -> String {
    let Finding { file, position, what, after, before, lost, .. } = damage;
    let lost = match lost {
        Some(lost) => format!("{} lost", count(*lost, "event")),
        None => "what lies there is lost".to_owned(),
    };
    let before = before.map_or_else(|| "the end".to_owned(), |before| before.to_string());
    format!("damaged: {file} at byte {position}: {what}; {lost} between {after} and {before}")
}
