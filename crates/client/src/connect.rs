use std::io;
use std::pin::Pin;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::target::Target;

/// A connection, secured if it is to be.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection being made.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Io>>> + Send>>;

/// How a connection is made: over TCP, or in a test by a pipe.
pub trait Connect: Send + Sync {
    /// Begins a connection to `target`. The client limits its time.
    fn connect(&self, target: &Target) -> Connecting;
}

/// Connects over TCP, and for `https` by TLS 1.2 or 1.3.
pub struct TcpConnector {
    tls: Option<TlsConnector>,
}

impl TcpConnector {
    /// Without TLS: an `https` target is an error.
    pub fn plain() -> Self {
        Self { tls: None }
    }

    /// Trusts the certificates of the system (or of `SSL_CERT_FILE`, `SSL_CERT_DIR`).
    ///
    /// # Errors
    /// Where not one can be read.
    pub fn with_system_roots() -> io::Result<Self> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let reason = found.errors.first().map_or_else(|| "none found".to_owned(), ToString::to_string);
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("no root certificate: {reason}")));
        }
        Ok(Self::with_roots(roots))
    }

    /// Trusts these certificates only.
    pub fn with_roots(roots: RootCertStore) -> Self {
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has the suites of TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { tls: Some(TlsConnector::from(Arc::new(config))) }
    }
}

impl Connect for TcpConnector {
    fn connect(&self, target: &Target) -> Connecting {
        let tls = self.tls.clone();
        let Target { is_tls, host, port, .. } = target.clone();
        Box::pin(async move {
            if !is_tls {
                return Ok(Box::new(tcp(&host, port).await?) as Box<dyn Io>);
            }
            let tls = tls.ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "this connector has no TLS"))?;
            let stream = tcp(&host, port).await?;
            let name =
                ServerName::try_from(host).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
            Ok(Box::new(tls.connect(name, stream).await?) as Box<dyn Io>)
        })
    }
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
