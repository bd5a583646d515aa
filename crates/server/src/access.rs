//! Who is calling, and what it may do.

use tidewire_auth::{Grants, TokenError, Verifier};
use tidewire_topic::{BaseUrl, MatcherSet};

use crate::limits::Limit;
use crate::problem::{Kind, Problem};

/// What the configuration allows without a token, and the key of those that are presented.
#[derive(Clone)]
pub(crate) struct Access {
    /// Whether public events may be read without a token.
    pub(crate) anonymous_reading: bool,
    /// Whether anyone may publish.
    pub(crate) anonymous_publishing: bool,
    /// The key. Empty without one, and for the moment at start in which the audience is not known yet.
    pub(crate) verifier: Option<Verifier>,
    /// What patterns are relative to. Empty for the same moment.
    pub(crate) base: Option<BaseUrl>,
}

/// An `Authorization` header, as it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Presented<'a> {
    #[default]
    Nothing,
    Value(&'a [u8]),
    /// More than one header.
    Twice,
}

/// Who is calling.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    Anonymous,
    Holder(Box<Grants>),
}

impl Caller {
    /// Who it is, as its token says.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Caller::Anonymous => None,
            Caller::Holder(grants) => grants.subject.as_deref(),
        }
    }

    /// Who the caller is, if a token says so.
    pub(crate) fn subject(self) -> Option<String> {
        match self {
            Caller::Anonymous => None,
            Caller::Holder(grants) => grants.subject,
        }
    }
}

impl<'a> Presented<'a> {
    /// Takes account of one more header.
    pub(crate) fn add(&mut self, value: &'a [u8]) {
        *self = match self {
            Presented::Nothing => Presented::Value(value),
            _ => Presented::Twice,
        };
    }

    /// How long what is presented is, in bytes.
    pub(crate) fn bytes(self) -> usize {
        if let Presented::Value(value) = self { value.len() } else { 0 }
    }

    fn token(self) -> Result<Option<&'a str>, Problem> {
        let value = match self {
            Presented::Nothing => return Ok(None),
            Presented::Twice => {
                return Err(Problem::new(Kind::Authorization, "the Authorization header is there twice"));
            }
            Presented::Value(value) => value,
        };
        let unreadable = || Problem::new(Kind::Authorization, "expected `Authorization: Bearer <token>`");
        let text = str::from_utf8(value).map_err(|_| unreadable())?.trim();
        let (scheme, token) = text.split_once(' ').ok_or_else(unreadable)?;
        let token = token.trim();
        if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || token.contains(char::is_whitespace) {
            return Err(unreadable());
        }
        Ok(Some(token))
    }
}

impl Access {
    /// Who presents this. A token that is not valid is an error, also where none is needed.
    pub(crate) fn caller(&self, presented: Presented<'_>, now_s: u64) -> Result<Caller, Problem> {
        let Some(token) = presented.token()? else { return Ok(Caller::Anonymous) };
        let Some(verifier) = &self.verifier else {
            let problem = Problem::new(Kind::TokenInvalid, "this hub has no key to verify a token with");
            return Err(problem.with_token_reason("no_key"));
        };
        match verifier.verify(token, now_s) {
            Ok(grants) => Ok(Caller::Holder(Box::new(grants))),
            Err(error) => {
                let limit = matches!(error, TokenError::TooLong { .. }).then_some(Limit::TokenBytes);
                let problem = Problem::new(Kind::TokenInvalid, error.to_string()).past(limit);
                Err(problem.with_token_reason(error.reason()))
            }
        }
    }

    /// What patterns are relative to.
    pub(crate) fn base(&self) -> Result<&BaseUrl, Problem> {
        self.base.as_ref().ok_or_else(|| Problem::new(Kind::NotReady, "the hub is starting"))
    }

    /// The topics whose private events the caller may read; `None`: public events only.
    pub(crate) fn reading(&self, caller: &Caller) -> Result<Option<MatcherSet>, Problem> {
        match caller {
            Caller::Holder(grants) => Ok(grants.subscribe.clone()),
            Caller::Anonymous if self.anonymous_reading => Ok(None),
            Caller::Anonymous => {
                Err(Problem::new(Kind::TokenMissing, "reading needs a token: `Authorization: Bearer <token>`"))
            }
        }
    }

    /// Whether the caller may publish an event on these topics: its grant must cover each of them.
    pub(crate) fn publishing<'a>(
        &self,
        caller: &Caller,
        mut topics: impl Iterator<Item = &'a str>,
    ) -> Result<(), Problem> {
        match caller {
            Caller::Anonymous if self.anonymous_publishing => Ok(()),
            Caller::Anonymous => {
                Err(Problem::new(Kind::TokenMissing, "publishing needs a token: `Authorization: Bearer <token>`"))
            }
            Caller::Holder(grants) => {
                let granted = |topic| grants.publish.as_ref().is_some_and(|set| set.matches(std::iter::once(topic)));
                match topics.find(|topic| !granted(topic)) {
                    None => Ok(()),
                    Some(topic) => {
                        let detail = format!("the token does not grant publishing on {topic:?}");
                        Err(Problem::new(Kind::InsufficientScope, detail))
                    }
                }
            }
        }
    }

    /// Whether the caller may manage the hub: erase, look at connections and end them. Where anyone may publish, anyone may.
    pub(crate) fn managing(&self, caller: &Caller) -> Result<(), Problem> {
        match caller {
            Caller::Anonymous if self.anonymous_publishing => Ok(()),
            Caller::Anonymous => {
                Err(Problem::new(Kind::TokenMissing, "managing the hub needs a token: `Authorization: Bearer <token>`"))
            }
            Caller::Holder(grants) if grants.admin => Ok(()),
            Caller::Holder(_) => Err(Problem::new(Kind::InsufficientScope, "the token does not grant `admin`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access {
        Access { anonymous_reading: false, anonymous_publishing: false, verifier: None, base: None }
    }

    #[test]
    fn a_bearer_token_stands_alone_behind_its_scheme() {
        for value in ["Bearer abc", "bearer  abc ", "BEARER abc"] {
            assert_eq!(Presented::Value(value.as_bytes()).token(), Ok(Some("abc")), "{value:?}");
        }
        for value in ["", "Bearer", "Bearer ", "Basic abc", "Bearer a b", "abc", "Bearer \u{2028}"] {
            let refused = Presented::Value(value.as_bytes()).token().map_err(|problem| problem.kind());
            assert_eq!(refused, Err(Kind::Authorization), "{value:?}");
        }
        assert!(Presented::Value(b"Bearer \xff").token().is_err());
        let mut twice = Presented::default();
        twice.add(b"Bearer a");
        twice.add(b"Bearer a");
        assert!(twice.token().is_err());
    }

    #[test]
    fn without_a_token_only_what_is_allowed_to_all() {
        let mut access = access();
        let caller = access.caller(Presented::Nothing, 0).expect("nobody");
        assert_eq!(access.reading(&caller).map_err(|p| p.kind()), Err(Kind::TokenMissing));
        let refused = access.publishing(&caller, ["a"].into_iter()).map_err(|p| p.kind());
        assert_eq!(refused, Err(Kind::TokenMissing));
        access.anonymous_reading = true;
        access.anonymous_publishing = true;
        assert_eq!(access.reading(&caller), Ok(None));
        assert_eq!(access.publishing(&caller, ["a"].into_iter()), Ok(()));
    }

    #[test]
    fn a_token_is_refused_where_there_is_no_key() {
        let refused = access().caller(Presented::Value(b"Bearer abc"), 0).map_err(|p| p.kind());
        assert_eq!(refused.err(), Some(Kind::TokenInvalid));
    }

    #[test]
    fn a_grant_covers_every_topic_of_an_event() {
        let set = |topics: &[&str]| {
            let parse = |topic: &&str| tidewire_topic::Matcher::parse(topic).expect("a topic");
            MatcherSet::new(topics.iter().map(parse)).expect("a set")
        };
        let grants =
            |publish| Grants { publish, subscribe: Some(set(&["p"])), admin: false, subject: None, expires_at_s: None };
        let holder = |publish| Caller::Holder(Box::new(grants(publish)));
        let may = |caller: &Caller, topics: &[&'static str]| {
            access().publishing(caller, topics.iter().copied()).map_err(|p| p.kind())
        };
        assert_eq!(may(&holder(Some(set(&["a", "b"]))), &["a", "b"]), Ok(()));
        assert_eq!(may(&holder(Some(set(&["a"]))), &["a", "b"]), Err(Kind::InsufficientScope));
        assert_eq!(may(&holder(Some(set(&["*"]))), &["a", "b"]), Ok(()));
        assert_eq!(may(&holder(None), &["a"]), Err(Kind::InsufficientScope));
        assert_eq!(access().reading(&holder(None)), Ok(Some(set(&["p"]))));
    }
}
