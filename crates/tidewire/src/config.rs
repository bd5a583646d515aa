//! `tidewire check` and `tidewire config`: the configuration without the hub.

use std::io::{self, Write};

use tidewire_server::KEYS;

use crate::settings;

pub(crate) const CHECK_EXAMPLES: &str = "\
Examples:
  tidewire check --config hub.toml
  TIDEWIRE_CONFIG=hub.toml tidewire check && systemctl reload tidewire

Reads the same flags, environment and file as `tidewire serve`, and the files that they name. Nothing is opened or bound.";

pub(crate) const CONFIG_EXAMPLES: &str = "\
Examples:
  tidewire config --defaults > hub.toml";

/// How wide a line of comment is, in characters.
const COMMENT_WIDTH: usize = 110;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    settings: settings::Args,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ConfigArgs {
    /// Print a file with every key, its default, its unit and what it costs
    #[arg(long, required = true)]
    defaults: bool,
}

/// Says whether the hub would start with this configuration, as far as that can be told from it.
pub(crate) fn check(args: CheckArgs) -> anyhow::Result<()> {
    args.settings.load()?;
    writeln!(io::stdout(), "the configuration is valid")?;
    Ok(())
}

/// Prints what [`ConfigArgs`] asks for.
pub(crate) fn print(_: &ConfigArgs) -> anyhow::Result<()> {
    write!(io::stdout(), "{}", defaults())?;
    Ok(())
}

/// A file of the configuration that says what holds without one.
fn defaults() -> String {
    let mut text = String::new();
    for key in KEYS {
        let read_again = if key.is_live { ". Read again on SIGHUP" } else { "" };
        for line in wrapped(&(key.about() + read_again)) {
            text.push_str(&format!("# {line}\n"));
        }
        let prefix = match key.default {
            Some(default) => format!("{} = {}", key.name, quoted(key.value, default)),
            // What is worked out at start has no default to set.
            None => format!("# {} = {}", key.name, key.value),
        };
        text.push_str(&format!("{prefix}\n\n"));
    }
    text.truncate(text.trim_end().len());
    text + "\n"
}

/// A default as TOML has it.
fn quoted(kind: &str, default: &str) -> String {
    if matches!(kind, "NUMBER" | "BOOL") { default.to_owned() } else { format!("{default:?}") }
}

fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is one from the beginning");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= COMMENT_WIDTH {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}
