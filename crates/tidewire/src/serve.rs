//! `tidewire serve`: the hub itself.

use tidewire_server::OnDamage;

use crate::settings;

pub(crate) const EXAMPLES: &str = "\
Examples:
  tidewire serve --dev
  tidewire serve --key-file hub.key --public-url https://hub.example --listen 0.0.0.0:7788

Each key may also stand in the file, as `data_dir = \"/var/lib/tidewire\"`, or in the environment,
as TIDEWIRE_DATA_DIR. Flags beat the environment, which beats the file. `tidewire config --defaults` prints
a file with every key, and `tidewire check` says whether a configuration is valid.";

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Go on without what is damaged in the log, and say what is gone; for one start
    #[arg(long)]
    salvage: bool,
    #[command(flatten)]
    settings: settings::Args,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let on_damage = if args.salvage { OnDamage::Salvage } else { OnDamage::Stop };
    tidewire_server::serve(&args.settings.load()?, on_damage, &mut std::io::stdout().lock())?;
    Ok(())
}
