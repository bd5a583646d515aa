use jsonwebtoken::{Algorithm, EncodingKey, Header};
use tidewire_topic::{Matcher, MatcherSet};

use crate::claims::{Audience, Form, Granted, NumericDate, Object, Payload, Rights};
use crate::{SECRET_BYTES_MIN, TOKEN_BYTES_MAX};

/// What a new token says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// Who the bearer is.
    pub subject: Option<String>,
    /// The hub the token is for; `None`: any hub that has the key.
    pub audience: Option<String>,
    /// From when the token is good, in seconds since the Unix epoch; `None`: at once.
    pub not_before_s: Option<u64>,
    /// From when the token is refused, in seconds since the Unix epoch; `None`: never.
    pub expires_at_s: Option<u64>,
    /// The topics on which the bearer may publish.
    pub publish: Option<MatcherSet>,
    /// The topics whose private events the bearer may read.
    pub subscribe: Option<MatcherSet>,
    /// Whether the bearer may manage the hub.
    pub admin: bool,
}

/// Why no token was made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The secret is shorter than [`SECRET_BYTES_MIN`].
    #[error("the secret has {bytes} bytes and needs at least {SECRET_BYTES_MIN}")]
    ShortSecret {
        /// Its length in bytes.
        bytes: usize,
    },
    /// No hub would take the token: it is longer than [`TOKEN_BYTES_MAX`].
    #[error("the token has {bytes} bytes, and at most {TOKEN_BYTES_MAX} are accepted")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// The token could not be signed.
    #[error("failed to sign the token")]
    Sign(#[source] jsonwebtoken::errors::Error),
}

/// Makes a token with these claims, signed with HS256.
///
/// # Errors
/// When the secret is too short, or the token would be too long for a hub.
pub fn mint(secret: &[u8], claims: &Claims) -> Result<String, MintError> {
    if secret.len() < SECRET_BYTES_MIN {
        return Err(MintError::ShortSecret { bytes: secret.len() });
    }
    let payload = Payload {
        sub: claims.subject.clone(),
        aud: claims.audience.clone().map(Audience::One),
        exp: claims.expires_at_s.map(NumericDate::Whole),
        nbf: claims.not_before_s.map(NumericDate::Whole),
        tidewire: Some(Object(Rights {
            publish: claims.publish.as_ref().map(granted).unwrap_or_default(),
            subscribe: claims.subscribe.as_ref().map(granted).unwrap_or_default(),
            admin: claims.admin,
        })),
    };
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &payload, &EncodingKey::from_secret(secret))
        .map_err(MintError::Sign)?;
    if token.len() > TOKEN_BYTES_MAX {
        return Err(MintError::TooLong { bytes: token.len() });
    }
    Ok(token)
}

fn granted(matchers: &MatcherSet) -> Vec<Granted> {
    let granted = |matcher: Matcher| match matcher {
        Matcher::Any | Matcher::Exact(_) => Granted::Topic(matcher.to_string()),
        Matcher::Pattern(pattern) => Granted::Form(Object(Form::Pattern(pattern.as_str().to_owned()))),
        Matcher::Template(template) => Granted::Form(Object(Form::Template(template.as_str().to_owned()))),
    };
    matchers.iter().map(granted).collect()
}
