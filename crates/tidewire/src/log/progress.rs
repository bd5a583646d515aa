use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

const WITH_SIZE: &str = "{msg} {bar:30} {percent}% of {total_bytes}  {binary_bytes_per_sec}  {eta} to go";
const WITHOUT_SIZE: &str = "{msg} {spinner} {bytes}  {binary_bytes_per_sec}  {elapsed}";

/// A bar on standard error while it is a terminal, and nothing otherwise.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Begins to show progress through so many bytes, if that is known.
    pub(super) fn of(what: &'static str, bytes: Option<u64>) -> Progress {
        if !std::io::stderr().is_terminal() {
            return Progress(ProgressBar::hidden());
        }
        let style = |template| ProgressStyle::with_template(template).expect("the templates are constant and tested");
        let bar = match bytes {
            Some(bytes) => ProgressBar::new(bytes).with_style(style(WITH_SIZE)),
            None => ProgressBar::new_spinner().with_style(style(WITHOUT_SIZE)),
        };
        Progress(bar.with_message(what))
    }

    /// So many bytes more are done.
    pub(super) fn add(&self, bytes: u64) {
        self.0.inc(bytes);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
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
