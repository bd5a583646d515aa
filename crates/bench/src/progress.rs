use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::number::readable;

/// How often the bar moves while nothing is done.
const TICK: Duration = Duration::from_millis(200);

const STYLE: &str = "{msg} {bar:30} {percent}%  {per_sec}  {eta} to go";

/// What is told on standard error while it is measured.
#[derive(Debug)]
pub(crate) struct Progress;

impl Progress {
    /// One line.
    pub(crate) fn line(text: &str) {
        eprintln!("{text}");
    }

    /// One line with a figure.
    pub(crate) fn figure(what: &str, value: f64, unit: &str) {
        eprintln!("{what}: {} {unit}", readable(value));
    }

    /// A bar, where standard error is a terminal; else nothing.
    pub(crate) fn bar(what: &'static str, steps: u64) -> Bar {
        let style = ProgressStyle::with_template(STYLE).expect("the template is constant and tested");
        let bar = ProgressBar::new(steps).with_style(style).with_message(what);
        bar.enable_steady_tick(TICK);
        Bar(bar)
    }
}

/// How far something has come. It goes away when it is dropped.
#[derive(Debug)]
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn advance(&self, steps: u64) {
        self.0.inc(steps);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_well_formed() {
        Progress::bar("filling", 10).advance(3);
    }
}
