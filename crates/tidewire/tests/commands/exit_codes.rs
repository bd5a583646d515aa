//! Exit codes, as `docs/cli.md` and the help say them.

use std::process::{Command, Stdio};

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");

fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(BINARY).args(arguments).stdin(Stdio::null()).output().expect("the binary runs");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn the_help_says_what_the_page_says() {
    let page = include_str!("../../../../docs/cli.md");
    let rows = page.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let ["", command, zero, one, two, ""] = cells[..] else { return None };
        Some((command.strip_prefix("`tidewire ")?.strip_suffix('`')?, zero, one, two))
    });
    let rows: Vec<_> = rows.filter(|(command, ..)| !["bench", "token"].contains(command)).collect();
    assert!(rows.len() > 8, "{rows:?}");
    for (command, zero, one, two) in rows {
        let arguments: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let (code, help) = run(&arguments);
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        let one = if one == "never" { String::new() } else { format!("1 {one}; ") };
        let said = format!("Exit codes: 0 {zero}; {one}2 {two}.");
        assert!(code == Some(0) && help.contains(&said), "{command}: {said:?} is not in {help}");
    }
}

#[test]
fn commands_end_as_they_say() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (key, absent, man) = (path("key"), path("absent"), path("man"));
    let none = "http://127.0.0.1:1";
    std::fs::write(path("damaged"), "no backup").expect("a file");
    for (arguments, code) in [
        (&["serve", "--key-file", &absent][..], 1),
        (&["serve", "--heartbeat"], 2),
        (&["check", "--dev"], 0),
        (&["check"], 1),
        (&["check", "--no-such-flag"], 2),
        (&["config", "--defaults"], 0),
        (&["config"], 2),
        (&["publish", "--url", none, "--retry-for", "0", "--topic", "a", "data"], 1),
        (&["publish"], 2),
        (&["subscribe"], 2),
        (&["log", "inspect", "--data-dir", &absent], 2),
        (&["log", "verify", "--data-dir", &absent], 2),
        (&["log", "export", "--data-dir", &absent], 2),
        (&["log", "import", "--data-dir", &path("new"), "--input", &path("damaged")], 2),
        (&["log", "import"], 2),
        (&["token", "new-key", &key], 0),
        (&["token", "new-key", &key], 1),
        (&["token", "mint"], 2),
        (&["bench", "no-such-measurement"], 2),
        (&["completions", "bash"], 0),
        (&["completions", "no-such-shell"], 2),
        (&["man", &man], 0),
        (&["man", &format!("{key}/man")], 1),
        (&["no-such-command"], 2),
        (&["--version"], 0),
    ] {
        assert_eq!(run(arguments).0, Some(code), "{arguments:?}");
    }
}
