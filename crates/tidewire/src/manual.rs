//! `tidewire completions` and `tidewire man`: what packages install beside the binary, made from the commands themselves.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::Command;
use clap_complete::Shell;

pub(crate) const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  tidewire completions bash > /usr/share/bash-completion/completions/tidewire
  tidewire completions zsh > /usr/share/zsh/site-functions/_tidewire";

pub(crate) const PAGES_EXAMPLES: &str = "\
Examples:
  tidewire man /usr/local/share/man/man1 && man tidewire-serve";

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PagesArgs {
    /// Where to: `tidewire.1`, `tidewire-serve.1` and so on; made if it is not there
    folder: PathBuf,
}

/// Prints a shell's completions.
pub(crate) fn completions(args: &CompletionsArgs, mut command: Command) -> anyhow::Result<()> {
    // Written at once, since the library panics where its writer fails: whoever reads may have left.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "tidewire", &mut script);
    io::stdout().write_all(&script)?;
    Ok(())
}

/// Writes the manual's pages.
pub(crate) fn pages(args: &PagesArgs, command: Command) -> anyhow::Result<()> {
    let folder = &args.folder;
    std::fs::create_dir_all(folder).with_context(|| format!("failed to make the folder {}", folder.display()))?;
    clap_mangen::generate_to(command, folder)
        .with_context(|| format!("failed to write the pages to {}", folder.display()))
}
