use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;

/// An authority of certificates that a test trusts, with the files of a hub's certificate and key.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

/// A certificate and its key, as PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate.
    pub cert: String,
    /// Its key.
    pub key: String,
}

impl Authority {
    /// A new one, with a certificate for a hub on this machine.
    ///
    /// # Panics
    /// If there is no room for its files.
    #[must_use]
    pub fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("the machine has randomness");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("its own key fits");
        let authority = Authority { issuer, folder: tempfile::tempdir().expect("a directory can be made") };
        put(&authority.root(), &pem("CERTIFICATE", authority.issuer.der()));
        let Pair { cert, key } = authority.issue(2090);
        authority.put_cert(&cert);
        authority.put_key(&key);
        authority
    }

    /// A certificate for a hub on this machine, good until the beginning of this year.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn issue(&self, not_after_year: i32) -> Pair {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("names");
        params.not_after = rcgen::date_time_ymd(not_after_year, 1, 1);
        let key = KeyPair::generate().expect("the machine has randomness");
        let cert = params.signed_by(&key, &self.issuer).expect("the authority may sign");
        Pair { cert: pem("CERTIFICATE", cert.der()), key: pem("PRIVATE KEY", key.serialized_der()) }
    }

    /// The file of the authority's own certificate, for `SSL_CERT_FILE`.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    /// What a hub is started with to speak TLS.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let file = |path: PathBuf| path.display().to_string();
        vec!["--tls-cert".to_owned(), file(self.cert()), "--tls-key".to_owned(), file(self.key())]
    }

    /// The file of the hub's certificate.
    #[must_use]
    pub fn cert(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// The file of its key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    /// Puts another certificate in place of the hub's.
    pub fn put_cert(&self, text: &str) {
        put(&self.cert(), text);
    }

    /// Puts another key in place of the hub's.
    pub fn put_key(&self, text: &str) {
        put(&self.key(), text);
    }

    /// A client that trusts the authority, speaks these versions of TLS, and HTTP/1.1 above them. It remembers nobody.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("a certificate");
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .expect("the provider has suites for all")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

impl Default for Authority {
    fn default() -> Authority {
        Authority::new()
    }
}

fn pem(kind: &str, der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let lines = encoded.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned() + "\n");
    format!("-----BEGIN {kind}-----\n{}-----END {kind}-----\n", lines.collect::<String>())
}

/// The new one takes the old one's place at once.
fn put(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).expect("a file can be written");
    std::fs::rename(beside, path).expect("a file can be renamed");
}
