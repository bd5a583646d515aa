//! Reading the configuration again while the hub runs.

use std::sync::Arc;

use tidewire_auth::Verifier;
use tidewire_topic::BaseUrl;

use crate::config::{Change, Config, PublicUrl, Reread};
use crate::hub::{Hub, Live};
use crate::serve::ServeError;
use crate::{system, telemetry};

/// Has requests held to a configuration from now on. `url` is that of the hub, which stays for as long as it runs.
pub(crate) fn put(hub: &Hub, config: &Config, url: &PublicUrl) -> Result<(), ServeError> {
    let base = BaseUrl::parse(url.as_str())?;
    let verifier = match &config.key {
        Some(key) => Some(Verifier::hs256(key.as_bytes(), Some(url.as_str()))?.relative_to(base.clone())),
        None => None,
    };
    hub.set_live(Live::new(config, verifier, Some(base)));
    Ok(())
}

/// What the log may keep on disk, in bytes.
pub(crate) fn retention_bytes(config: &Config) -> u64 {
    config.retention_bytes.unwrap_or_else(|| system::retention_bytes(&config.data_dir))
}

/// Reads the configuration again, has what can change change, and names what cannot. What is wrong with it changes
/// nothing. Answers what holds from now on.
pub(crate) async fn reload(hub: &Arc<Hub>, config: Config, url: &PublicUrl) -> Config {
    let (hub, old, url) = (Arc::clone(hub), config.clone(), url.clone());
    // Files are read, and the log may be at work on others.
    let done = tokio::task::spawn_blocking(move || {
        let Reread { config, changes } = old.reread().map_err(|error| with_cause(&error))?;
        put(&hub, &config, &url).map_err(|error| with_cause(&error))?;
        telemetry::set_level(config.log_level);
        if let Some(tls) = &hub.tls {
            tls.reload();
        }
        hub.request_log.set(config.request_log);
        hub.streams.set_retry(config.retry);
        hub.log.set_retention(retention_bytes(&config), config.retention_age);
        let has_new_key = config.key != old.key;
        Ok::<_, String>((config, changes, has_new_key))
    });
    match done.await.unwrap_or_else(|error| Err(error.to_string())) {
        Ok((config, changes, has_new_key)) => {
            tell(&changes, has_new_key);
            config
        }
        Err(error) => {
            tracing::error!(error, "the configuration was read again, is not valid, and nothing was changed");
            config
        }
    }
}

fn tell(changes: &[Change], has_new_key: bool) {
    for Change { key, from, to, is_made } in changes {
        if *is_made {
            tracing::info!(key, from, to, "changed");
        } else {
            tracing::warn!(key, running = from, wanted = to, "not changed: this key needs a restart");
        }
    }
    if has_new_key {
        tracing::info!("tokens are verified with a new key");
    }
    let mut need_restart: Vec<&str> =
        changes.iter().filter(|change| !change.is_made).map(|change| change.key).collect();
    need_restart.sort_unstable();
    let (changes, need_restart) = (changes.len() - need_restart.len(), need_restart.join(", "));
    tracing::info!(changes, need_restart, "the configuration was read again");
}

/// An error, and its cause where it does not quote it.
fn with_cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
