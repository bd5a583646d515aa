//! Which hub a command talks to, and as whom.

use std::path::PathBuf;

use anyhow::Context;
use tidewire_client::Client;

use crate::token::read_token_file;

#[derive(Debug, clap::Args)]
pub(crate) struct HubArgs {
    /// The hub. A path, where there is one, is that of the events: `/api/v1/events` by default.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7788")]
    url: String,
    /// A file that holds a token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl HubArgs {
    /// A client of the hub.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        let client = Client::new(&self.url).with_context(|| format!("failed to use {}", self.url))?;
        match &self.token_file {
            Some(path) => {
                let token = read_token_file(path)?;
                client.header("authorization", &format!("Bearer {token}")).context("failed to use the token")
            }
            None => Ok(client),
        }
    }

    /// The hub's URL, for messages.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

/// Runs a command's future on this thread, and ends without waiting for threads that are stuck in
/// reading or writing.
pub(crate) fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("failed to start the runtime")?;
    let result = runtime.block_on(future);
    runtime.shutdown_background();
    result
}
