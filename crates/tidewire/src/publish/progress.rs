//! How far publishing lines has come, where somebody watches.

use std::fs::File;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often the bar moves while nothing is published.
const TICK: Duration = Duration::from_millis(200);

/// A bar on standard error while it is a terminal, and nothing otherwise.
pub(super) struct Progress {
    bar: ProgressBar,
    events: u64,
}

impl Progress {
    /// Shows nothing.
    pub(super) fn hidden() -> Progress {
        Progress { bar: ProgressBar::hidden(), events: 0 }
    }

    /// Begins to show progress through standard input: against its size where it is a file.
    pub(super) fn of_stdin() -> Progress {
        if !std::io::stderr().is_terminal() {
            return Progress::hidden();
        }
        let style = |template| ProgressStyle::with_template(template).expect("the templates are constant and tested");
        let bar = match stdin_bytes() {
            Some(bytes) => ProgressBar::new(bytes).with_style(style(WITH_SIZE)),
            None => ProgressBar::new_spinner().with_style(style(WITHOUT_SIZE)),
        };
        bar.enable_steady_tick(TICK);
        Progress { bar, events: 0 }
    }

    /// So many more events were published, and with them the input up to a byte.
    pub(super) fn published(&mut self, events: usize, up_to_byte: u64) {
        self.events += events as u64;
        self.bar.set_position(up_to_byte);
        self.bar.set_message(self.events.to_string());
    }

    /// Does what writes to the terminal, with the bar out of the way.
    pub(super) fn beside<R>(&self, write: impl FnOnce() -> R) -> R {
        self.bar.suspend(write)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

const WITH_SIZE: &str = "{bar:30} {percent}% of {total_bytes}  {msg} events  {binary_bytes_per_sec}  {eta} to go";
const WITHOUT_SIZE: &str = "{spinner} {msg} events  {bytes}  {binary_bytes_per_sec}  {elapsed}";

/// The size of standard input where it is a file.
fn stdin_bytes() -> Option<u64> {
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().ok()?;
    let metadata = File::from(stdin).metadata().ok()?;
    metadata.is_file().then_some(metadata.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_good() {
        for template in [WITH_SIZE, WITHOUT_SIZE] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
