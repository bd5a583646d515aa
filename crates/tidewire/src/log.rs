//! `tidewire log`: a log's files, looked at, checked, backed up and restored.

mod export;
mod import;
mod inspect;
mod progress;
mod time;
mod verify;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use tidewire_log::{LogView, RealDisk};

pub(crate) const EXAMPLES: &str = "\
Examples:
  tidewire log inspect
  tidewire log verify --data-dir /var/lib/tidewire
  tidewire log export --output tidewire.jsonl
  tidewire log import --data-dir /var/lib/tidewire-new --input tidewire.jsonl

All but import only read, also while a hub runs on the folder.";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what a log holds: its epochs, its segments and how far they reach.
    ///
    /// Reads the manifest, the segments' beginnings and the last segment. Times are those in the ids.
    Inspect(inspect::Args),
    /// Read a whole log, and check every checksum and every rule of the format.
    ///
    /// Says what is damaged where, and between which ids events are lost.
    Verify(verify::Args),
    /// Write a backup: the events as lines of JSON.
    ///
    /// Of a running hub, everything that was answered before it began. Damaged events are left out, and
    /// listed at the end.
    Export(export::Args),
    /// Make a log of a backup, in a folder that holds none.
    ///
    /// Events keep their ids, and a new epoch begins behind them. A backup that is cut or damaged is refused.
    Import(import::Args),
}

/// What came of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Whole,
    Damaged,
}

/// The folder of the log that is read.
#[derive(Debug, clap::Args)]
struct FolderArgs {
    /// The log's folder [env: TIDEWIRE_DATA_DIR] [default: ./tidewire-data].
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
}

impl FolderArgs {
    fn path(&self) -> PathBuf {
        let given = self.data_dir.clone().or_else(|| std::env::var_os("TIDEWIRE_DATA_DIR").map(PathBuf::from));
        given.unwrap_or_else(|| PathBuf::from("./tidewire-data"))
    }

    fn open(&self) -> anyhow::Result<(LogView, PathBuf)> {
        let path = self.path();
        let open = |path: &Path| anyhow::Ok(LogView::open(RealDisk::existing(path)?)?);
        let view = open(&path).with_context(|| format!("failed to read the log in {}", path.display()))?;
        Ok((view, path))
    }
}

pub(crate) fn run(args: Args) -> ExitCode {
    let done = match args.command {
        Command::Inspect(args) => inspect::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Import(args) => import::run(&args),
    };
    match done {
        Ok(Outcome::Whole) => ExitCode::SUCCESS,
        Ok(Outcome::Damaged) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {}", crate::with_causes(&error));
            ExitCode::from(2)
        }
    }
}

/// `1 event`, `2 events`.
fn count(number: u64, of: &str) -> String {
    format!("{number} {of}{}", if number == 1 { "" } else { "s" })
}
