use std::fmt;

use base64::Engine;
use base64::alphabet::URL_SAFE as URL_SAFE_ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose::URL_SAFE_NO_PAD};

/// The fewest bytes a secret may have: as many as HS256 puts out (RFC 7518, section 3.2).
pub const SECRET_BYTES_MIN: usize = 32;
/// The most bytes a secret may have.
pub const SECRET_BYTES_MAX: usize = 1_024;

/// A secret for HS256, as it stands in its file: one line of base64url.
///
/// `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// Why the content of a file is not a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The text is not base64url.
    #[error("the secret is not base64url (letters, digits, `-` and `_`)")]
    Encoding,
    /// The secret is shorter than [`SECRET_BYTES_MIN`].
    #[error("the secret has {bytes} bytes and needs at least {SECRET_BYTES_MIN}")]
    TooShort {
        /// Its length in bytes, decoded.
        bytes: usize,
    },
    /// The secret is longer than [`SECRET_BYTES_MAX`].
    #[error("the secret is longer than {SECRET_BYTES_MAX} bytes")]
    TooLong,
}

/// The base64url of RFC 4648, with or without padding.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE_ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Secret {
    /// Reads the content of a secret file: base64url of [`SECRET_BYTES_MIN`] to
    /// [`SECRET_BYTES_MAX`] bytes; white space around it is passed over.
    ///
    /// # Errors
    /// When it is not base64url, or too short or too long. The error does not quote it.
    pub fn parse(content: &str) -> Result<Secret, SecretError> {
        let bytes = BASE64URL.decode(content.trim()).map_err(|_| SecretError::Encoding)?;
        if bytes.len() < SECRET_BYTES_MIN {
            return Err(SecretError::TooShort { bytes: bytes.len() });
        }
        if bytes.len() > SECRET_BYTES_MAX {
            return Err(SecretError::TooLong);
        }
        Ok(Secret(bytes))
    }

    /// A new secret of bytes from a cryptographic source of randomness.
    #[must_use]
    pub fn from_random(random: [u8; SECRET_BYTES_MIN]) -> Secret {
        Secret(random.to_vec())
    }

    /// The secret itself, for [`Verifier::hs256`](crate::Verifier::hs256) and
    /// [`mint`](crate::mint).
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The content of a secret file: one line.
    #[must_use]
    pub fn to_file_content(&self) -> String {
        URL_SAFE_NO_PAD.encode(&self.0) + "\n"
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_secret_is_read_back_from_its_file() {
        let secret = Secret::from_random(std::array::from_fn(|n| n as u8 * 8 + 7));
        let content = secret.to_file_content();
        assert_eq!(content.lines().count(), 1);
        assert_eq!(Secret::parse(&content), Ok(secret.clone()));
        assert_eq!(Secret::parse(&format!("\r\n \t{content}\r\n")), Ok(secret));
    }

    #[test]
    fn padding_may_stand_or_not() {
        let unpadded = URL_SAFE_NO_PAD.encode([0xFB; SECRET_BYTES_MIN]);
        assert_eq!(Secret::parse(&unpadded), Secret::parse(&format!("{unpadded}=")));
    }

    #[test]
    fn lengths_are_checked_at_both_limits() {
        let of = |bytes: usize| Secret::parse(&URL_SAFE_NO_PAD.encode(vec![1; bytes]));
        assert_eq!(Secret::parse(""), Err(SecretError::TooShort { bytes: 0 }));
        assert_eq!(of(SECRET_BYTES_MIN - 1), Err(SecretError::TooShort { bytes: SECRET_BYTES_MIN - 1 }));
        assert!(of(SECRET_BYTES_MIN).is_ok());
        assert!(of(SECRET_BYTES_MAX).is_ok());
        assert_eq!(of(SECRET_BYTES_MAX + 1), Err(SecretError::TooLong));
    }

    #[test]
    fn what_is_not_base64url_is_refused_and_not_quoted() {
        for content in ["correct horse battery staple, thirty-two bytes", "+/+/", "a\nb"] {
            let error = Secret::parse(content).expect_err(content);
            assert_eq!(error, SecretError::Encoding);
            assert!(!error.to_string().contains(content));
        }
    }

    #[test]
    fn debug_hides_the_secret() {
        assert_eq!(format!("{:?}", Secret::from_random([65; SECRET_BYTES_MIN])), "Secret(hidden)");
    }
}
