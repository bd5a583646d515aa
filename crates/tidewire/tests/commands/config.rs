//! `tidewire check`, `config`, `completions` and `man`, as the binary does them.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Output, Stdio};

fn tidewire(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidewire"));
    // Whoever runs the tests may have a hub of their own.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDEWIRE_")) {
        command.env_remove(name);
    }
    command.args(args).output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn the_printed_defaults_are_a_file_with_every_key_that_is_valid() {
    let printed = tidewire(&["config", "--defaults"]);
    assert_eq!((printed.status.code(), text(&printed.stderr)), (Some(0), ""));
    let printed = text(&printed.stdout);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("hub.toml");
    std::fs::write(&file, printed).expect("a file");
    let checked = tidewire(&["check", "--dev", "--config", file.to_str().expect("a path in UTF-8")]);
    assert_eq!((checked.status.code(), text(&checked.stderr)), (Some(0), ""));
    assert_eq!(text(&checked.stdout), "the configuration is valid\n");
    // Each flag of `serve` that takes a value, but the file's own.
    let help = tidewire(&["serve", "--help"]);
    let flags = text(&help.stdout).lines().filter_map(|line| line.trim().strip_prefix("--")?.split_once(" <"));
    let keys: Vec<String> = flags.map(|(flag, _)| flag.replace('-', "_")).filter(|name| name != "config").collect();
    assert!(keys.iter().any(|key| key == "log_level"), "{keys:?}");
    for key in keys {
        let setting = format!("{key} = ");
        let at = printed.lines().position(|line| line.trim_start_matches("# ").starts_with(&setting));
        let at = at.unwrap_or_else(|| panic!("{key} is not there:\n{printed}"));
        let before = printed.lines().nth(at - 1).unwrap_or_default();
        assert!(before.starts_with("# "), "nothing is said of {key}: {before:?}");
    }
}

#[test]
fn what_serve_would_refuse_check_refuses_in_the_same_words() {
    for (wrong, said) in [
        (&["--dev", "--heartbeat", "1s"][..], "--heartbeat: expected 2s to 600s, not 1s"),
        (&["--key-file", "/not/there"], "failed to read /not/there"),
        (&[], "key_file is not set"),
    ] {
        let [checked, served] = ["check", "serve"].map(|command| tidewire(&[&[command], wrong].concat()));
        assert_eq!(checked.status.code(), Some(1), "{wrong:?}");
        assert!(text(&checked.stderr).contains(said), "{wrong:?}: {}", text(&checked.stderr));
        assert_eq!(checked.stderr, served.stderr, "{wrong:?}");
    }
    let suggested = tidewire(&["check", "--hartbeat", "3s"]);
    assert_eq!(suggested.status.code(), Some(2));
    assert!(text(&suggested.stderr).contains("--heartbeat"), "{}", text(&suggested.stderr));
}

#[test]
fn what_the_hub_tells_is_json_where_that_is_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().to_str().expect("a path in UTF-8");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidewire"));
    command.args(["serve", "--dev", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir", data]);
    // More streams than there can be files: it warns.
    command.args(["--log-format", "json", "--max-streams", "4000000000"]);
    let mut hub = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    let told = BufReader::new(hub.stdout.take().expect("it is piped")).lines();
    assert!(told.map(|line| line.expect("text")).any(|line| line.starts_with("listening on ")));
    hub.kill().expect("it runs");
    let mut said = String::new();
    hub.stderr.take().expect("it is piped").read_to_string(&mut said).expect("text");
    hub.wait().expect("it ends");
    let lines: Vec<serde_json::Value> =
        said.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    let warns = |line: &serde_json::Value| line["level"] == "WARN" && line["fields"]["asked"] == 4_000_000_000_u64;
    assert!(lines.iter().any(warns), "{said}");
}

#[test]
fn every_command_has_a_manual_page_and_every_shell_its_completions() {
    let folder = tempfile::tempdir().expect("a folder");
    let pages = folder.path().join("man/man1");
    let written = tidewire(&["man", pages.to_str().expect("a path in UTF-8")]);
    assert_eq!((written.status.code(), text(&written.stderr)), (Some(0), ""));
    let help = tidewire(&["--help"]);
    let commands = text(&help.stdout).lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands: Vec<&str> =
        commands.take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.contains(&"serve") && commands.contains(&"man"), "{commands:?}");
    for command in commands.iter().filter(|command| **command != "help") {
        let page = std::fs::read_to_string(pages.join(format!("tidewire-{command}.1"))).expect(command);
        assert!(page.contains(".SH SYNOPSIS"), "{page}");
        assert!(page.contains("Exit codes: 0 ") || page.contains(".SH SUBCOMMANDS"), "{page}");
    }
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = tidewire(&["completions", shell]);
        assert_eq!(script.status.code(), Some(0), "{shell}");
        assert!(text(&script.stdout).contains("head-timeout"), "{shell}");
    }
}
