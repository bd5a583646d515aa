use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::validity::not_after_s;

/// A file of certificates or a key may not be larger, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where the certificate and its key are, both as PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The hub's certificate, and those that link it to one that clients know.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// A certificate that can be used.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) certified: CertifiedKey,
    /// When its time is over, in seconds since the Unix epoch.
    pub(super) not_after_s: u64,
}

/// One of the two files, by its key of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFile {
    /// The certificate.
    Cert,
    /// Its key.
    Key,
}

impl TlsFile {
    /// The key of the configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            TlsFile::Cert => "tls_cert",
            TlsFile::Key => "tls_key",
        }
    }
}

impl fmt::Display for TlsFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a certificate and its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("failed to read {} ({which})", path.display())]
    Read {
        /// TlsFile one.
        which: TlsFile,
        /// Where it is.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is larger than any of its kind.
    #[error("{} ({which}) has more than {FILE_BYTES_MAX} bytes", path.display())]
    TooLarge {
        /// TlsFile one.
        which: TlsFile,
        /// Where it is.
        path: PathBuf,
    },
    /// A file has nothing of its kind in it, or something that cannot be decoded.
    #[error("{} ({which}) holds no {} in PEM", path.display(), what(*which))]
    Pem {
        /// TlsFile one.
        which: TlsFile,
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        source: pem::Error,
    },
    /// The certificate cannot be read.
    #[error("{} (tls_cert) holds a certificate that cannot be read", path.display())]
    Certificate {
        /// Where it is.
        path: PathBuf,
    },
    /// The key is of no kind that is known, or is not the certificate's.
    #[error("the key in {} (tls_key) is not that of the certificate in {} (tls_cert)", key.display(), cert.display())]
    Key {
        /// Where the key is.
        key: PathBuf,
        /// Where the certificate is.
        cert: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
    /// There is no randomness for the keys of tickets.
    #[error("failed to make the keys of session tickets")]
    Tickets(#[source] rustls::Error),
}

impl TlsError {
    /// The file that is at fault.
    pub(crate) fn which(&self) -> TlsFile {
        match self {
            TlsError::Read { which, .. } | TlsError::TooLarge { which, .. } | TlsError::Pem { which, .. } => *which,
            TlsError::Certificate { .. } | TlsError::Tickets(_) => TlsFile::Cert,
            TlsError::Key { .. } => TlsFile::Key,
        }
    }
}

fn what(which: TlsFile) -> &'static str {
    match which {
        TlsFile::Cert => "certificate",
        TlsFile::Key => "private key",
    }
}

impl TlsFiles {
    /// Whether the hub could use them.
    pub(crate) fn check(&self) -> Result<(), TlsError> {
        self.read().map(|_| ())
    }

    pub(super) fn read(&self) -> Result<Pair, TlsError> {
        let (cert, key) = (read(TlsFile::Cert, &self.cert)?, read(TlsFile::Key, &self.key)?);
        let not_pem = |which, path: &Path| {
            let path = path.to_owned();
            move |source| TlsError::Pem { which, path, source }
        };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&cert).collect();
        let chain = chain.and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) });
        let chain = chain.map_err(not_pem(TlsFile::Cert, &self.cert))?;
        let key = PrivateKeyDer::from_pem_slice(&key).map_err(not_pem(TlsFile::Key, &self.key))?;
        let not_after_s = chain.first().and_then(|first| not_after_s(first));
        let not_after_s = not_after_s.ok_or_else(|| TlsError::Certificate { path: self.cert.clone() })?;
        let certified = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider());
        let certified =
            certified.map_err(|source| TlsError::Key { key: self.key.clone(), cert: self.cert.clone(), source })?;
        Ok(Pair { certified, not_after_s })
    }
}

fn read(which: TlsFile, path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|source| TlsError::Read { which, path: path.to_owned(), source })?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(TlsError::TooLarge { which, path: path.to_owned() });
    }
    Ok(bytes)
}
