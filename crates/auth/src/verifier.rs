use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tidewire_topic::{
    BaseUrl, MATCHERS_MAX, Matcher, MatcherSet, MatcherSetError, Pattern, PatternError, Template, TemplateError,
    TopicError,
};

use crate::claims::{Form, Granted, Object, Payload};
use crate::{Grants, SECRET_BYTES_MIN};

/// The most bytes a token may have. It is looked at before anything is decoded.
pub const TOKEN_BYTES_MAX: usize = 8 * 1_024;

/// By how many seconds the clocks of who makes and who checks a token may differ.
pub const LEEWAY_S: u64 = 5;

/// Checks tokens and says what they grant.
///
/// `Debug` does not show the key.
#[derive(Clone)]
pub struct Verifier {
    key: DecodingKey,
    audience: Option<String>,
    base: Option<BaseUrl>,
}

/// Why there is no verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The secret is shorter than [`SECRET_BYTES_MIN`].
    #[error("the secret has {bytes} bytes and needs at least {SECRET_BYTES_MIN}")]
    TooShort {
        /// Its length in bytes.
        bytes: usize,
    },
}

/// Why a token was refused. For logs and metrics: to its bearer all refusals look alike. No
/// message quotes the token before its signature was found good.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// There is no token.
    #[error("the token is empty")]
    Empty,
    /// The token is longer than [`TOKEN_BYTES_MAX`].
    #[error("the token has {bytes} bytes, and at most {TOKEN_BYTES_MAX} are accepted")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// The token is not three parts of base64url with a JSON header.
    #[error("the token is malformed")]
    Malformed,
    /// The header names another algorithm than HS256, or none.
    #[error("the token is not signed with HS256")]
    Algorithm,
    /// The header asks for an extension (`crit`), and the hub knows none.
    #[error("the token asks for an extension that is not known")]
    Critical,
    /// The signature is not that of the key.
    #[error("the token's signature is wrong")]
    Signature,
    /// The token is signed, and its claims are not of the form that they must have.
    #[error("the token's claims are malformed")]
    Claims(#[source] serde_json::Error),
    /// `exp` or `nbf` is before 1970.
    #[error("the token's `{claim}` is no date")]
    Date {
        /// The claim.
        claim: &'static str,
    },
    /// `exp` has passed.
    #[error("the token expired at {expires_at_s}")]
    Expired {
        /// The first second since the Unix epoch at which it is refused.
        expires_at_s: u64,
    },
    /// `nbf` is still to come.
    #[error("the token is not valid before {not_before_s}")]
    NotYetValid {
        /// `nbf`, in seconds since the Unix epoch.
        not_before_s: u64,
    },
    /// `aud` does not name this hub.
    #[error("the token is for another audience")]
    Audience,
    /// A right names what is neither a topic nor `*`.
    #[error("the token grants `{right}` on what is not a topic")]
    Topic {
        /// The right: `publish` or `subscribe`.
        right: &'static str,
        /// What is wrong with the topic.
        source: TopicError,
    },
    /// A right has what is no URL Pattern.
    #[error("the token grants `{right}` on what is not a pattern: {source}")]
    Pattern {
        /// The right: `publish` or `subscribe`.
        right: &'static str,
        /// What is wrong with the pattern.
        source: PatternError,
    },
    /// A right has what is no URI Template.
    #[error("the token grants `{right}` on what is not a template: {source}")]
    Template {
        /// The right: `publish` or `subscribe`.
        right: &'static str,
        /// What is wrong with the template.
        source: TemplateError,
    },
    /// A right has a pattern, and the verifier was not told what patterns are relative to.
    #[error("the token grants `{right}` on a pattern, and it is not known what that is relative to")]
    NoBase {
        /// The right: `publish` or `subscribe`.
        right: &'static str,
    },
    /// A right names too many topics.
    #[error("the token grants `{right}` on too many topics, patterns or templates")]
    Topics {
        /// The right: `publish` or `subscribe`.
        right: &'static str,
        /// How many are too many.
        source: MatcherSetError,
    },
}

/// What of the header is read: keys that a token brings along (`jwk`, `jku`, `x5u`) are not.
#[derive(Deserialize)]
struct Head {
    alg: String,
    crit: Option<IgnoredAny>,
}

impl Verifier {
    /// Checks tokens signed with HS256. Where an audience is given, a token that names audiences
    /// must name this one.
    ///
    /// # Errors
    /// When the secret has fewer than [`SECRET_BYTES_MIN`] bytes.
    pub fn hs256(secret: &[u8], audience: Option<&str>) -> Result<Verifier, KeyError> {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(KeyError::TooShort { bytes: secret.len() });
        }
        let audience = audience.map(str::to_owned);
        Ok(Verifier { key: DecodingKey::from_secret(secret), audience, base: None })
    }

    /// Takes the patterns that tokens grant as relative to this URL. Without one, such tokens are refused.
    #[must_use]
    pub fn relative_to(self, base: BaseUrl) -> Verifier {
        Verifier { base: Some(base), ..self }
    }

    /// Checks a token at a time, in seconds since the Unix epoch, and says what it grants. A
    /// token without the claim `tidewire` grants nothing.
    ///
    /// # Errors
    /// When the token is not good, with the first reason found.
    pub fn verify(&self, token: &str, now_s: u64) -> Result<Grants, TokenError> {
        let payload = self.signed_payload(token)?;

        let not_before_s = date("nbf", payload.nbf.map(|date| date.ceil_s()))?;
        if let Some(not_before_s) = not_before_s.filter(|&at_s| at_s > now_s.saturating_add(LEEWAY_S)) {
            return Err(TokenError::NotYetValid { not_before_s });
        }
        let expires_at_s =
            date("exp", payload.exp.map(|date| date.floor_s()))?.map(|at_s| at_s.saturating_add(LEEWAY_S));
        if let Some(expires_at_s) = expires_at_s.filter(|&at_s| at_s <= now_s) {
            return Err(TokenError::Expired { expires_at_s });
        }
        if let (Some(ours), Some(named)) = (&self.audience, &payload.aud)
            && !named.names(ours)
        {
            return Err(TokenError::Audience);
        }

        let Object(rights) = payload.tidewire.unwrap_or_default();
        Ok(Grants {
            publish: self.matchers("publish", &rights.publish)?,
            subscribe: self.matchers("subscribe", &rights.subscribe)?,
            admin: rights.admin,
            subject: payload.sub,
            expires_at_s,
        })
    }

    fn matchers(&self, right: &'static str, granted: &[Granted]) -> Result<Option<MatcherSet>, TokenError> {
        if granted.is_empty() {
            return Ok(None);
        }
        // They take longer to read than topics do, also those that are there twice.
        if granted.iter().filter(|granted| matches!(granted, Granted::Form(_))).count() > MATCHERS_MAX {
            return Err(TokenError::Topics { right, source: MatcherSetError::TooMany { matchers_max: MATCHERS_MAX } });
        }
        let matchers = granted.iter().map(|granted| match granted {
            Granted::Topic(text) => Matcher::parse(text).map_err(|source| TokenError::Topic { right, source }),
            Granted::Form(Object(Form::Pattern(text))) => {
                let base = self.base.as_ref().ok_or(TokenError::NoBase { right })?;
                let pattern = Pattern::parse(text, base).map_err(|source| TokenError::Pattern { right, source })?;
                Ok(Matcher::Pattern(pattern))
            }
            Granted::Form(Object(Form::Template(text))) => {
                let template = Template::parse(text).map_err(|source| TokenError::Template { right, source })?;
                Ok(Matcher::Template(template))
            }
        });
        MatcherSet::read(matchers)?.map(Some).map_err(|source| TokenError::Topics { right, source })
    }

    fn signed_payload(&self, token: &str) -> Result<Payload, TokenError> {
        if token.is_empty() {
            return Err(TokenError::Empty);
        }
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong { bytes: token.len() });
        }
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (head, payload) = message.split_once('.').ok_or(TokenError::Malformed)?;
        if payload.contains('.') {
            return Err(TokenError::Malformed);
        }
        let head = URL_SAFE_NO_PAD.decode(head).map_err(|_| TokenError::Malformed)?;
        let Object::<Head>(head) = serde_json::from_slice(&head).map_err(|_| TokenError::Malformed)?;
        if head.alg != "HS256" {
            return Err(TokenError::Algorithm);
        }
        if head.crit.is_some() {
            return Err(TokenError::Critical);
        }
        // `jsonwebtoken::decode` would check the dates by the wall clock, and not tell why a
        // header is refused: only the signature is its own.
        match jsonwebtoken::crypto::verify(signature, message.as_bytes(), &self.key, Algorithm::HS256) {
            Ok(true) => {}
            Ok(false) => return Err(TokenError::Signature),
            Err(_) => return Err(TokenError::Malformed),
        }
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| TokenError::Malformed)?;
        serde_json::from_slice(&payload).map(|Object(payload)| payload).map_err(TokenError::Claims)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("audience", &self.audience).finish_non_exhaustive()
    }
}

impl TokenError {
    /// The reason in a word, for a metric's label: one of a fixed set.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            TokenError::Empty => "empty",
            TokenError::TooLong { .. } => "too_long",
            TokenError::Malformed => "malformed",
            TokenError::Algorithm => "algorithm",
            TokenError::Critical => "critical",
            TokenError::Signature => "signature",
            TokenError::Claims(_)
            | TokenError::Date { .. }
            | TokenError::Topic { .. }
            | TokenError::Pattern { .. }
            | TokenError::Template { .. }
            | TokenError::NoBase { .. }
            | TokenError::Topics { .. } => "claims",
            TokenError::Expired { .. } => "expired",
            TokenError::NotYetValid { .. } => "not_yet_valid",
            TokenError::Audience => "audience",
        }
    }
}

/// A date that is there must be one: the outer `None` is an absent claim, the inner a bad one.
fn date(claim: &'static str, seconds: Option<Option<u64>>) -> Result<Option<u64>, TokenError> {
    match seconds {
        Some(None) => Err(TokenError::Date { claim }),
        Some(seconds) => Ok(seconds),
        None => Ok(None),
    }
}
