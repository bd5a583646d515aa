//! Browsers, driven over their own protocols, with an `EventSource` that writes everything down.

mod launch;
mod marionette;
mod page;
mod webdriver;

use serde_json::Value;

pub use launch::{Browser, Kind};
pub use page::Page;

/// Runs scripts in a page.
pub(crate) trait Driver {
    /// Goes to a URL and waits until it has loaded.
    ///
    /// # Errors
    /// Says what the browser said.
    fn open(&mut self, url: &str) -> Result<(), String>;

    /// Runs the body of a function with these arguments, and answers what it returns.
    ///
    /// # Errors
    /// Says what the browser said.
    fn run(&mut self, script: &str, arguments: &[Value]) -> Result<Value, String>;
}
