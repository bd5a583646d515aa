//! The Tidewire push server, and the commands that go with it.
//!
//! Exit codes: 0 when the command did what it was asked, 1 when it failed, 2 when it was asked
//! wrongly.

mod hub;
mod publish;
mod subscribe;
mod token;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "tidewire", version, about = "A push server: publish an event, and everyone watching gets it")]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Publish events.
    #[command(after_help = publish::EXAMPLES)]
    Publish(publish::Args),
    /// Print events as they arrive, for ever; reconnect and resume where the stream was cut.
    #[command(after_help = subscribe::EXAMPLES)]
    Subscribe(subscribe::Args),
    /// Make keys and tokens.
    Token(token::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Publish(args) => publish::run(args),
        Command::Subscribe(args) => subscribe::run(args),
        Command::Token(args) => token::run(args),
    };
    let Err(error) = result else { return ExitCode::SUCCESS };
    match error.downcast::<clap::Error>() {
        Ok(usage) => usage.exit(),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
