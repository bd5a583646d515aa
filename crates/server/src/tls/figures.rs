use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::Error;

/// What became of handshakes and of the files.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    handshakes: AtomicU64,
    failures: [AtomicU64; Failure::ALL.len()],
    reloads: AtomicU64,
    reload_failures: AtomicU64,
}

/// Why there was no TLS on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It took longer than `head_timeout`, or others needed its place.
    Timeout,
    /// The client went away.
    Closed,
    /// The client speaks HTTP without TLS.
    PlainHttp,
    /// The client and the hub have no version, suite or protocol in common.
    Incompatible,
    /// The client does not take the certificate, or says otherwise that it does not go on.
    Refused,
    /// What came is no TLS.
    Malformed,
    /// The hub stopped, or something in it failed.
    Other,
}

impl Failure {
    pub(crate) const ALL: [Failure; 7] = [
        Failure::Timeout,
        Failure::Closed,
        Failure::PlainHttp,
        Failure::Incompatible,
        Failure::Refused,
        Failure::Malformed,
        Failure::Other,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Failure::Timeout => "timeout",
            Failure::Closed => "closed",
            Failure::PlainHttp => "plain-http",
            Failure::Incompatible => "incompatible",
            Failure::Refused => "refused",
            Failure::Malformed => "malformed",
            Failure::Other => "other",
        }
    }

    /// What a handshake's error comes down to.
    pub(super) fn of(error: &io::Error) -> Failure {
        let tls =
            error.get_ref().and_then(|inner| inner.downcast_ref::<Error>().or_else(|| inner.source()?.downcast_ref()));
        match tls {
            Some(Error::PeerIncompatible(_) | Error::NoApplicationProtocol) => Failure::Incompatible,
            Some(Error::AlertReceived(_)) => Failure::Refused,
            Some(Error::General(_) | Error::FailedToGetCurrentTime | Error::FailedToGetRandomBytes) => Failure::Other,
            Some(_) => Failure::Malformed,
            None => Failure::Closed,
        }
    }
}

impl Figures {
    pub(super) fn count_handshake(&self) {
        self.handshakes.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_failure(&self, failure: Failure) {
        self.failures[failure as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_reload(&self) {
        self.reloads.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_reload_failure(&self) {
        self.reload_failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Handshakes that succeeded.
    pub(crate) fn handshakes(&self) -> u64 {
        self.handshakes.load(Ordering::Relaxed)
    }

    /// Those that did not, by the reason's word.
    pub(crate) fn failures(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Failure::ALL.iter().map(|&failure| (failure.as_str(), self.failures[failure as usize].load(Ordering::Relaxed)))
    }

    /// How often the files were read again.
    pub(crate) fn reloads(&self) -> u64 {
        self.reloads.load(Ordering::Relaxed)
    }

    /// How often that was in vain.
    pub(crate) fn reload_failures(&self) -> u64 {
        self.reload_failures.load(Ordering::Relaxed)
    }
}
