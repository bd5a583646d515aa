use super::load::{Loader, Texts};
use super::{Config, ConfigError, KEYS, Key};

/// What came of reading the configuration again.
#[derive(Debug)]
pub(crate) struct Reread {
    /// What holds from now on.
    pub(crate) config: Config,
    /// What is otherwise than it was.
    pub(crate) changes: Vec<Change>,
}

/// A key that has another value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: &'static str,
    /// As it was written.
    pub(crate) from: String,
    pub(crate) to: String,
    /// Whether it holds from now on; else it needs a restart.
    pub(crate) is_made: bool,
}

impl Config {
    /// Reads everything again from where this came from, and checks it. What a running hub cannot take another value
    /// for stays as it is, and is named.
    ///
    /// # Errors
    /// Those of [`Config::load`], for what was read and for what would come of it.
    pub(crate) fn reread(&self) -> Result<Reread, ConfigError> {
        let mut loader = Loader::read(&self.sources)?;
        // What is wrong by itself is refused as a start with it would be.
        loader.clone().finish(self.sources.clone())?;
        let is_same = |key: &Key| (key.show)(&loader.settings) == (key.show)(&self.settings);
        let changed: Vec<&'static Key> = KEYS.iter().filter(|key| !is_same(key)).collect();
        let change = |key: &&'static Key| {
            let text = |texts: &Texts| texts.get(key.name).map_or("the default", String::as_str).to_owned();
            Change { key: key.name, from: text(&self.texts), to: text(&loader.texts), is_made: key.is_live }
        };
        let changes = changed.iter().map(change).collect();
        for key in changed.iter().filter(|key| !key.is_live) {
            (key.take)(&mut loader.settings, &self.settings);
            match self.texts.get(key.name) {
                Some(text) => loader.texts.insert(key.name, text.clone()),
                None => loader.texts.remove(key.name),
            };
        }
        Ok(Reread { config: loader.finish(self.sources.clone())?, changes })
    }
}
