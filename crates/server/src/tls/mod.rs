//! TLS on the public listener: the certificate and its key, the handshake, and figures of both.

mod certificates;
mod figures;
mod files;
mod handshake;
mod validity;

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::version::{TLS12, TLS13};

use crate::shutdown::Shutdown;
use crate::time;
use certificates::Certificates;
pub(crate) use figures::Figures;
pub use files::{TlsError, TlsFile, TlsFiles};
pub(crate) use handshake::{Opened, open};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The protocols above TLS that are offered, the best first.
const PROTOCOLS: [Protocol; 2] = [Protocol::Http2, Protocol::Http1];

/// What is spoken above TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    fn name(self) -> &'static [u8] {
        match self {
            Protocol::Http1 => b"http/1.1",
            Protocol::Http2 => b"h2",
        }
    }

    /// What was agreed on; who says nothing speaks HTTP/1.1.
    fn agreed(name: Option<&[u8]>) -> Protocol {
        PROTOCOLS.into_iter().find(|protocol| Some(protocol.name()) == name).unwrap_or(Protocol::Http1)
    }
}

/// What every handshake needs.
pub(crate) struct Tls {
    config: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
    figures: Figures,
}

impl Tls {
    /// Reads the files. Those who come back within some hours need no whole handshake, also after another certificate was
    /// read; nobody may send anything before the handshake is over.
    pub(crate) fn new(files: &TlsFiles) -> Result<Tls, TlsError> {
        let certificates = Arc::new(Certificates::read(files)?);
        let resolver = Arc::clone(&certificates);
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .expect("the provider has suites for both")
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = PROTOCOLS.iter().map(|protocol| protocol.name().to_vec()).collect();
        config.ticketer = Ticketer::new().map_err(TlsError::Tickets)?;
        let tls = Tls { config: Arc::new(config), certificates, figures: Figures::default() };
        tls.warn_if_expired();
        Ok(tls)
    }

    /// Reads the files again, whether they have changed or not: from here on handshakes have what is in them, and
    /// connections stay as they are. What cannot be used is told, and nothing changes. Reading may wait for a disk.
    pub(crate) fn reload(&self) {
        match self.certificates.reload() {
            Ok(()) => {
                self.figures.count_reload();
                tracing::info!(not_after = self.not_after(), "the certificate was read again (tls_cert, tls_key)");
                self.warn_if_expired();
            }
            Err(error) => {
                self.figures.count_reload_failure();
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the certificate could not be read again, and the one before it stays (tls_cert, tls_key)"
                );
            }
        }
    }

    /// Reads the files again when they have changed, until the hub stops.
    pub(crate) async fn watch(self: Arc<Tls>, stop: Shutdown) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.begun() => return,
            }
            let tls = Arc::clone(&self);
            // The disk may be one that does not answer.
            let looked = tokio::task::spawn_blocking(move || {
                if tls.certificates.have_changed() {
                    tls.reload();
                }
            });
            if let Err(error) = looked.await {
                tracing::error!(%error, "the certificate is not looked at any more");
                return;
            }
        }
    }

    pub(crate) fn figures(&self) -> &Figures {
        &self.figures
    }

    /// When the certificate's time is over, in seconds since the Unix epoch.
    pub(crate) fn not_after_s(&self) -> u64 {
        self.certificates.not_after_s()
    }

    fn not_after(&self) -> String {
        time::rfc3339(self.not_after_s().saturating_mul(1_000))
    }

    fn warn_if_expired(&self) {
        if self.not_after_s() < time::now_ms() / 1_000 {
            tracing::warn!(not_after = self.not_after(), "the certificate's time is over (tls_cert)");
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
