use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use tidewire_log::{Clock, ImportConfig, ImportError, ImportSummary, RealDisk, SystemClock, import};

use super::export::describe;
use super::inspect::range;
use super::progress::Progress;
use super::{Outcome, count};

/// How much of the backup is read at once.
const READ_BYTES: usize = 256 * 1024;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder for the log; it is made if it is not there, and must not hold a log.
    #[arg(long, value_name = "FOLDER")]
    data_dir: PathBuf,
    /// The backup; `-` for standard input.
    #[arg(long, value_name = "FILE", default_value = "-")]
    input: PathBuf,
    /// Take what is whole of a backup that is cut or damaged.
    #[arg(long)]
    partial: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let imported = if args.input == Path::new("-") {
        import_from(args, &mut std::io::stdin().lock(), None)
    } else {
        let open = || anyhow::Ok((File::open(&args.input)?, std::fs::metadata(&args.input)?.len()));
        let (file, bytes) = open().with_context(|| format!("failed to open {}", args.input.display()))?;
        import_from(args, &mut BufReader::with_capacity(READ_BYTES, file), Some(bytes))
    };
    let into = || format!("failed to import into {}", args.data_dir.display());
    let summary = match imported.with_context(into) {
        Ok(summary) => summary,
        Err(error) if matches!(error.downcast_ref(), Some(ImportError::NotWhole(_))) => {
            eprintln!("error: {}", crate::with_causes(&error));
            eprintln!("nothing was imported; with --partial, what is whole of it is");
            return Ok(Outcome::Damaged);
        }
        Err(error) => return Err(error),
    };
    summary.problems.iter().for_each(|problem| eprintln!("the backup is not whole: {problem}"));
    let unlisted = summary.problems_total - summary.problems.len() as u64;
    if unlisted > 0 {
        eprintln!("and {} more", count(unlisted, "problem"));
    }
    summary.left_out.iter().for_each(|left_out| eprintln!("{}, when the backup was made", describe(left_out)));
    let (epoch, place) = &summary.epoch;
    let told = range(summary.events, summary.first, summary.last);
    writeln!(std::io::stdout(), "imported {told}; epoch {epoch} begins at {place}")
        .context("failed to write to standard output")?;
    Ok(if summary.problems_total > 0 { Outcome::Damaged } else { Outcome::Whole })
}

fn import_from(args: &Args, input: &mut dyn BufRead, bytes: Option<u64>) -> anyhow::Result<ImportSummary> {
    let config = ImportConfig { partial: args.partial, ..ImportConfig::default() };
    let disk = RealDisk::new(&args.data_dir)?;
    let progress = Progress::of("importing", bytes);
    Ok(import(disk, input, &config, SystemClock.now_ms(), &mut |more| progress.add(more))?)
}
