//! Runs a program, shows what it prints and counts its tests.

use std::ffi::OsStr;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::counts::Counts;

/// No part may take longer than this where nobody watches: a hang must end before CI's own limit, with a table.
const PART_TIME_MAX: Duration = Duration::from_secs(25 * 60);

/// What this package's own `cargo run` leaves in the environment. Build scripts that watch these variables would run
/// again, and everything above them be compiled again, whenever a build was started from here and then by hand.
const LEFT_BY_CARGO: [&str; 6] =
    ["CARGO_BIN_", "CARGO_CRATE_NAME", "CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_PRIMARY_PACKAGE", "OUT_DIR"];

/// A clock that was started.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "xtask is a shell, and its table says how long each part took")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A program and its arguments, to be run in the workspace's folder without standard input.
pub(crate) struct Run {
    words: Vec<String>,
    variables: Vec<(String, String)>,
}

impl Run {
    pub(crate) fn new(program: &str, arguments: &[&str]) -> Self {
        let words = std::iter::once(&program).chain(arguments).map(|word| (*word).to_owned()).collect();
        Self { words, variables: Vec::new() }
    }

    /// `cargo <command>` over the workspace with the versions of `Cargo.lock`, in the `ci` profile. Clippy and rustdoc
    /// run in it as well: they share checked dependencies with each other, and build scripts and procedural macros
    /// with the tests.
    pub(crate) fn cargo(command: &str) -> Self {
        Self::new("cargo", &[command, "--workspace", "--profile", "ci", "--locked"])
    }

    pub(crate) fn with<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.words.extend(arguments.into_iter().map(Into::into));
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs the program to its end and shows its output. The error is a fragment that fits "failed: …".
    pub(crate) fn run(&self, root: &Path) -> (Counts, Result<(), String>) {
        println!("$ {}", self.words.join(" "));
        let mut counts = Counts::default();
        let outcome = self.follow(root, &mut counts);
        (counts, outcome)
    }

    fn follow(&self, root: &Path, counts: &mut Counts) -> Result<(), String> {
        let mut child = self
            .command(root)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{} did not start: {error}", self.words[0]))?;
        let output = child.stdout.take().expect("standard output was piped two lines above");
        for line in BufReader::new(output).split(b'\n') {
            let line = line.map_err(|error| format!("its output could not be read: {error}"))?;
            let line = String::from_utf8_lossy(&line);
            counts.read_line(&line);
            // Nobody may be listening any more; the part still runs to its end.
            let _ = writeln!(io::stdout(), "{line}");
        }
        let status = child.wait().map_err(|error| format!("its end was not seen: {error}"))?;
        match status.code() {
            Some(0) => Ok(()),
            Some(124) if unwatched() => Err(format!("did not end within {} minutes", PART_TIME_MAX.as_secs() / 60)),
            _ => Err(format!("{} ended with {status}", self.words[..2.min(self.words.len())].join(" "))),
        }
    }

    fn command(&self, root: &Path) -> Command {
        // A test with 10,000 subscribers needs more descriptors than a login shell gives, and std cannot ask for them.
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n \"$(ulimit -H -n)\" 2>/dev/null || :; exec \"$@\"", "sh"]);
        if unwatched() && installed("timeout") {
            // It ends the whole process group, test programs and their servers included. Someone at a terminal has
            // Ctrl-C for that, which would no longer reach a group in the background.
            command.args(["timeout", "--kill-after=10", &PART_TIME_MAX.as_secs().to_string()]);
        }
        command.args(&self.words).current_dir(root);
        for (name, _) in std::env::vars_os() {
            if LEFT_BY_CARGO.iter().any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes())) {
                command.env_remove(name);
            }
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// Whether nobody sits at a terminal: CI says so.
fn unwatched() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty())
}

/// Whether a program of that name lies in the search path, or at that place if it is a whole path.
pub(crate) fn installed(program: &str) -> bool {
    if program.contains('/') {
        return Path::new(program).is_file();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// The first line that a program prints when it runs well, and nothing when it does not.
pub(crate) fn answer(program: impl AsRef<OsStr>, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().trim().to_owned();
    output.status.success().then_some(text)
}
