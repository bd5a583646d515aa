//! The hub's configuration, as the commands that need it are given it.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches, value_parser};
use tidewire_server::{Config, ConfigError, ENVIRONMENT_PREFIX, KEYS, Sources};

/// The flags that were given. There is one for each key of the configuration.
#[derive(Clone, Debug)]
pub(crate) struct Args {
    dev: bool,
    config: Option<PathBuf>,
    flags: Vec<(&'static str, String)>,
}

impl Args {
    /// The configuration that flags, environment and file come to.
    pub(crate) fn load(self) -> Result<Config, ConfigError> {
        let environment = std::env::vars_os()
            .filter(|(name, _)| name.to_string_lossy().starts_with(ENVIRONMENT_PREFIX))
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .collect();
        Config::load(Sources { dev: self.dev, file: self.config, environment, flags: self.flags })
    }
}

impl clap::Args for Args {
    fn augment_args(command: Command) -> Command {
        let dev = Arg::new("dev").long("dev").action(ArgAction::SetTrue);
        let config = Arg::new("config").long("config").value_name("FILE").value_parser(value_parser!(PathBuf));
        let command = command
            .arg(dev.help("A hub for development: loopback only, and anyone on this machine may read and publish"))
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
            config: matches.get_one::<PathBuf>("config").cloned(),
            flags: KEYS.iter().filter_map(|key| Some((key.name, given(key.name)?))).collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Args::from_arg_matches(matches)?;
        Ok(())
    }
}
