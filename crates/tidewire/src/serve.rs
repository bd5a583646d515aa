//! `tidewire serve`: the hub itself.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches, value_parser};
use tidewire_server::{Config, ENVIRONMENT_PREFIX, KEYS, OnDamage, Sources};

pub(crate) const EXAMPLES: &str = "\
Examples:
  tidewire serve --dev
  tidewire serve --key-file hub.key --public-url https://hub.example --listen 0.0.0.0:7788

Each key may also stand in the file, as `data_dir = \"/var/lib/tidewire\"`, or in the environment,
as TIDEWIRE_DATA_DIR. Flags beat the environment, which beats the file.";

/// The flags that were given. There is one for each key of the configuration.
#[derive(Clone, Debug)]
pub(crate) struct Args {
    dev: bool,
    on_damage: OnDamage,
    config: Option<PathBuf>,
    flags: Vec<(&'static str, String)>,
}

impl clap::Args for Args {
    fn augment_args(command: Command) -> Command {
        let dev = Arg::new("dev").long("dev").action(ArgAction::SetTrue);
        let salvage = Arg::new("salvage").long("salvage").action(ArgAction::SetTrue);
        let config = Arg::new("config").long("config").value_name("FILE").value_parser(value_parser!(PathBuf));
        let command = command
            .arg(dev.help("A hub for development: loopback only, and anyone on this machine may read and publish"))
            .arg(salvage.help("Go on without what is damaged in the log, and say what is gone; for one start"))
            .arg(config.help("A TOML file of the keys below, with _ for - [env: TIDEWIRE_CONFIG]"));
        KEYS.iter().fold(command, |command, key| {
            let help = match key.default {
                Some(default) => format!("{} [default: {default}]", key.help),
                None => key.help.to_owned(),
            };
            command.arg(Arg::new(key.name).long(key.flag()).value_name(key.value).help(help))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Args::augment_args(command)
    }
}

impl FromArgMatches for Args {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Args, clap::Error> {
        let given = |name| matches.get_one::<String>(name).cloned();
        Ok(Args {
            dev: matches.get_flag("dev"),
            on_damage: if matches.get_flag("salvage") { OnDamage::Salvage } else { OnDamage::Stop },
            config: matches.get_one::<PathBuf>("config").cloned(),
            flags: KEYS.iter().filter_map(|key| Some((key.name, given(key.name)?))).collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Args::from_arg_matches(matches)?;
        Ok(())
    }
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let environment = std::env::vars_os()
        .filter(|(name, _)| name.to_string_lossy().starts_with(ENVIRONMENT_PREFIX))
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .collect();
    let config = Config::load(Sources { dev: args.dev, file: args.config, environment, flags: args.flags })?;
    tidewire_server::serve(&config, args.on_damage, &mut std::io::stdout().lock())?;
    Ok(())
}
