//! The exit codes: one table, of which the help, the manual's pages and `docs/cli.md` are made.

use clap::Command;

/// What a command's exit code means.
struct Codes {
    /// The command, as it is written; what begins with it has the same, unless it has a row of its own.
    command: &'static str,
    zero: &'static str,
    one: &'static str,
    two: &'static str,
}

const USAGE: &str = "wrong usage";
const NOT_DONE: &str = "it could not be done, or wrong usage";

const TABLE: &[Codes] = &[
    codes("serve", "stopped as it was told to", "not started, or not stopped in order", USAGE),
    codes("check", "the configuration is valid", "it is not", USAGE),
    codes("config", "printed", "not printed", USAGE),
    codes("publish", "everything was published", "something was not, or it is not known", USAGE),
    codes("subscribe", "ended as it was told to, or by the hub for good", "refused, or failed", USAGE),
    codes("log inspect", "done", "never", NOT_DONE),
    codes("log verify", "the log is whole", "something is damaged", NOT_DONE),
    codes("log export", "everything was exported", "all but what is damaged", NOT_DONE),
    codes("log import", "imported", "the backup is not whole", NOT_DONE),
    codes("token", "made", "not made", USAGE),
    codes("bench", "measured, whether or not a target was met", "not measured, or what was published was lost", USAGE),
    codes("completions", "printed", "not printed", USAGE),
    codes("man", "written", "not written", USAGE),
];

const fn codes(command: &'static str, zero: &'static str, one: &'static str, two: &'static str) -> Codes {
    Codes { command, zero, one, two }
}

impl Codes {
    fn of(command: &str) -> Option<&'static Codes> {
        let begins = |row: &&Codes| {
            command.strip_prefix(row.command).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        };
        TABLE.iter().find(begins)
    }

    fn line(&self) -> String {
        let Codes { zero, one, two, .. } = self;
        let one = if *one == "never" { String::new() } else { format!(" 1 {one};") };
        format!("Exit codes: 0 {zero};{one} 2 {two}.")
    }
}

/// The commands with their exit codes in their help, and so in the manual.
pub(crate) fn documented(command: Command) -> Command {
    with_codes(command, "")
}

fn with_codes(command: Command, path: &str) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    let command = names.into_iter().fold(command, |command, name| {
        let path = format!("{path} {name}").trim_start().to_owned();
        command.mut_subcommand(name, |sub| with_codes(sub, &path))
    });
    let said = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    match Codes::of(path) {
        // Some of the measurements say more of their own.
        Some(codes) if !command.has_subcommands() && !said.contains("Exit codes") => {
            command.after_help(format!("{said}\n\n{}", codes.line()).trim_start().to_owned())
        }
        _ => command,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::Cli;

    /// Each command that does something, and its help.
    fn leaves(command: &Command, path: &str, all: &mut Vec<(String, String)>) {
        for sub in command.get_subcommands() {
            let path = format!("{path} {}", sub.get_name()).trim_start().to_owned();
            if sub.has_subcommands() {
                leaves(sub, &path, all);
            } else {
                all.push((path, sub.clone().render_long_help().to_string()));
            }
        }
    }

    #[test]
    fn every_command_says_its_exit_codes_once() {
        let mut all = Vec::new();
        leaves(&documented(Cli::command()), "", &mut all);
        assert!(all.len() > 10);
        for (path, help) in all {
            let codes = Codes::of(&path).unwrap_or_else(|| panic!("{path} has no row"));
            assert_eq!(help.matches("Exit codes:").count(), 1, "{path}: {help}");
            assert!(path.starts_with("bench") || help.contains(&codes.line()), "{path}: {help}");
        }
    }

    #[test]
    fn documentation() {
        let row = |row: &Codes| format!("| `tidewire {}` | {} | {} | {} |\n", row.command, row.zero, row.one, row.two);
        let rows: String = TABLE.iter().map(row).collect();
        let made = format!("| command | 0 | 1 | 2 |\n|---|---|---|---|\n{rows}");
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
        let text = std::fs::read_to_string(&path).expect("the page is there");
        let (begin, end) = ("<!-- exit codes: made by `cargo xtask docs` -->\n\n", "\n<!-- end of exit codes -->");
        let (before, rest) = text.split_once(begin).expect("a mark where the table begins");
        let (there, after) = rest.split_once(end).expect("a mark where it ends");
        if there != made && std::env::var_os("TIDEWIRE_WRITE_DOCS").is_some() {
            std::fs::write(&path, [before, begin, &made, end, after].concat()).expect("the page can be written");
        } else {
            assert_eq!(there, made, "`cargo xtask docs` writes docs/cli.md anew");
        }
    }
}
