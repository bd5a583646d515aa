//! The project's own chores, run as `cargo xtask <chore>`.
//!
//! It depends on nothing but the standard library, so that it compiles in a second: whatever it needs, it asks of the
//! programs that are there.

mod bench;
mod counts;
mod docs;
mod install;
mod instructions;
mod plan;
mod process;
mod report;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use plan::Scale;

const USAGE: &str = "\
usage: cargo xtask <chore>

  test [--long] [PART]…   everything that CI runs: what is missing is installed, then built, checked and tested.
                          --long adds what takes too long for every change. Naming parts runs only those
  parts                   the names of the parts
  tidy                    only the rules that no linter checks
  docs                    writes the tables of the documentation that are made from the code
  bench [OPTION]…         measures what delivering is to reach, by turns with the floor, in a quarter of an hour on a
                          quiet machine. Options are those of `tidewire bench figures`
  instructions --record   counts the instructions of the log and the shards and writes them down, to be held to
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((chore, rest)) = arguments.split_first() else {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    };
    match chore.as_str() {
        "test" => test(rest),
        "parts" if rest.is_empty() => {
            plan::parts(&root(), Scale::Long).iter().for_each(|part| println!("{}", part.name));
            ExitCode::SUCCESS
        }
        "tidy" if rest.is_empty() => {
            let findings = tidy::findings(&root());
            findings.iter().for_each(|finding| eprintln!("{finding}"));
            ExitCode::from(u8::from(!findings.is_empty()))
        }
        "docs" if rest.is_empty() => done(docs::write(&root())),
        "bench" => done(bench::run(&root(), rest)),
        "instructions" if rest == ["--record"] => done(instructions::record(&root())),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        _ => {
            eprint!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn done(outcome: Result<(), String>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("failed: {why}");
            ExitCode::FAILURE
        }
    }
}

fn test(arguments: &[String]) -> ExitCode {
    let (flags, names): (Vec<&String>, Vec<&String>) = arguments.iter().partition(|argument| argument.starts_with('-'));
    let scale = match flags.as_slice() {
        [] => Scale::Short,
        [flag] if *flag == "--long" => Scale::Long,
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let mut parts = plan::parts(&root(), scale);
    if let Some(unknown) = names.iter().find(|name| !parts.iter().any(|part| part.name == ***name)) {
        eprintln!("no part is called {unknown:?}: see `cargo xtask parts`");
        return ExitCode::from(2);
    }
    if !names.is_empty() {
        parts.retain(|part| names.iter().any(|name| *name == part.name));
    }
    report::run(&root(), scale, &parts)
}

/// The folder of the workspace: the parent of this package's.
fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("xtask lies in a folder of the workspace").to_owned()
}
