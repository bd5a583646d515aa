//! The Tidewire push server, and the commands that go with it.
//!
//! Exit codes: 0 when the command did what it was asked, 1 when it failed, 2 when it was asked
//! wrongly. Those of `tidewire log` say more, see [`exit`].

mod bench;
mod config;
mod exit;
mod hub;
mod log;
mod manual;
mod publish;
mod serve;
mod settings;
mod subscribe;
mod token;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "tidewire", version, about = "A push server: publish an event, and everyone watching gets it")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the hub.
    #[command(after_help = serve::EXAMPLES)]
    Serve(serve::Args),
    /// Say whether the hub would start with this configuration.
    #[command(after_help = config::CHECK_EXAMPLES)]
    Check(config::CheckArgs),
    /// Print the configuration's keys.
    #[command(after_help = config::CONFIG_EXAMPLES)]
    Config(config::ConfigArgs),
    /// Publish events.
    #[command(after_help = publish::EXAMPLES)]
    Publish(publish::Args),
    /// Print events as they arrive, for ever; reconnect and resume where the stream was cut.
    #[command(after_help = subscribe::EXAMPLES)]
    Subscribe(subscribe::Args),
    /// Look at a log's files, check them, back them up and restore them.
    #[command(after_help = log::EXAMPLES)]
    Log(log::Args),
    /// Make keys and tokens.
    Token(token::Args),
    /// Measure a hub that is started for it, and check what it did.
    Bench(tidewire_bench::Args),
    /// Print what a shell needs to complete these commands.
    #[command(after_help = manual::COMPLETIONS_EXAMPLES)]
    Completions(manual::CompletionsArgs),
    /// Write the manual's pages, one for each command.
    #[command(after_help = manual::PAGES_EXAMPLES)]
    Man(manual::PagesArgs),
}

fn main() -> ExitCode {
    let matches = exit::documented(Cli::command()).get_matches();
    let result = match Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()).command {
        Command::Serve(args) => serve::run(args),
        Command::Check(args) => config::check(args),
        Command::Config(args) => config::print(&args),
        Command::Publish(args) => publish::run(args),
        Command::Subscribe(args) => subscribe::run(args),
        Command::Log(args) => return log::run(args),
        Command::Token(args) => token::run(args),
        Command::Bench(args) => bench::run(&args),
        Command::Completions(args) => manual::completions(&args, exit::documented(Cli::command())),
        Command::Man(args) => manual::pages(&args, exit::documented(Cli::command())),
    };
    let Err(error) = result else { return ExitCode::SUCCESS };
    match error.downcast::<clap::Error>() {
        Ok(usage) => usage.exit(),
        Err(error) => {
            eprintln!("error: {}", with_causes(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes, each once: some errors quote their cause already.
fn with_causes(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match text.as_str() {
        "" => cause,
        text if text.ends_with(&cause) => text.to_owned(),
        text => format!("{text}: {cause}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_cause_that_is_quoted_is_not_told_twice() {
        let error = anyhow::anyhow!("refused").context("failed to connect: refused").context("failed to publish");
        assert_eq!(with_causes(&error), "failed to publish: failed to connect: refused");
    }
}
