use std::borrow::Cow;

use crate::limits::Limit;
use crate::problem::{Kind, Problem};

/// A query string, and perhaps a form, taken apart: `&` between parameters, `+` for a space, `%XX` for a byte.
///
/// A name or value may hold bytes that are not UTF-8; it is for the reader to say whether that
/// is an error, since a stream is never refused for its last id.
pub(crate) struct Query<'a>(Vec<(Text<'a>, Text<'a>)>);

/// A decoded name or value.
pub(crate) enum Text<'a> {
    Utf8(Cow<'a, str>),
    /// What is not UTF-8, with U+FFFD in its place.
    Lossy(String),
}

/// A query and a form have at most so many parameters together; a stream has at most 100 topics and types each.
pub(crate) const PARAMETERS_MAX: usize = 1_000;

/// There are more than 1,000 parameters.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a query and a form have at most {PARAMETERS_MAX} parameters together")]
pub(crate) struct TooManyParameters;

impl From<TooManyParameters> for Problem {
    fn from(error: TooManyParameters) -> Problem {
        Problem::new(Kind::Query, error.to_string()).past(Limit::QueryParameters)
    }
}

impl<'a> Query<'a> {
    pub(crate) fn parse(query: &'a str) -> Result<Query<'a>, TooManyParameters> {
        Query::parse_with(query, "")
    }

    /// The parameters of both, those of the query first.
    pub(crate) fn parse_with(query: &'a str, form: &'a str) -> Result<Query<'a>, TooManyParameters> {
        let mut parameters = Vec::new();
        for part in query.split('&').chain(form.split('&')).filter(|part| !part.is_empty()) {
            if parameters.len() == PARAMETERS_MAX {
                return Err(TooManyParameters);
            }
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            parameters.push((decode_form(name), decode_form(value)));
        }
        Ok(Query(parameters))
    }

    /// The values of the parameter, in their order.
    pub(crate) fn values(&self, name: &'a str) -> impl Iterator<Item = &Text<'a>> {
        self.0.iter().filter(move |(n, _)| matches!(n, Text::Utf8(n) if n == name)).map(|(_, value)| value)
    }

    /// The first value of the parameter.
    pub(crate) fn first(&self, name: &str) -> Option<&Text<'a>> {
        self.0.iter().find(|(n, _)| matches!(n, Text::Utf8(n) if n == name)).map(|(_, value)| value)
    }

    pub(crate) fn has(&self, name: &'a str) -> bool {
        self.values(name).next().is_some()
    }
}

impl Text<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Text::Utf8(text) if text.is_empty())
    }
}

/// Parameters whose values are secrets, in any case of letters.
const SECRETS: [&str; 2] = ["authorization", "access_token"];

/// A query string, with `***` for each value that is a secret.
pub(crate) fn masked(query: &str) -> String {
    let parts = query.split('&').map(|part| match part.split_once('=') {
        Some((name, value)) if !value.is_empty() && is_secret(name) => format!("{name}=***"),
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("&")
}

fn is_secret(name: &str) -> bool {
    let Text::Utf8(name) = decode_form(name) else { return false };
    SECRETS.iter().any(|secret| name.eq_ignore_ascii_case(secret))
}

fn decode_form(text: &str) -> Text<'_> {
    decode(text, Plus::IsSpace)
}

/// Decodes `%XX` in a segment of a path, where `+` is itself. `None` if it is not UTF-8.
pub(crate) fn decode_segment(text: &str) -> Option<Cow<'_, str>> {
    match decode(text, Plus::IsItself) {
        Text::Utf8(text) => Some(text),
        Text::Lossy(_) => None,
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Plus {
    IsSpace,
    IsItself,
}

fn decode(text: &str, plus: Plus) -> Text<'_> {
    let is_special = |b: u8| b == b'%' || (b == b'+' && plus == Plus::IsSpace);
    if !text.bytes().any(is_special) {
        return Text::Utf8(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'%', [high, low, beyond @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    rest = beyond;
                }
                _ => out.push(b'%'),
            },
            (b'+', _) if plus == Plus::IsSpace => out.push(b' '),
            _ => out.push(*first),
        }
    }
    match String::from_utf8(out) {
        Ok(text) => Text::Utf8(Cow::Owned(text)),
        Err(error) => Text::Lossy(String::from_utf8_lossy(error.as_bytes()).into_owned()),
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(query: &str, name: &str) -> Vec<String> {
        let query = Query::parse(query).expect("few parameters");
        query
            .values(name)
            .map(|text| match text {
                Text::Utf8(text) => text.clone().into_owned(),
                Text::Lossy(text) => format!("lossy:{text}"),
            })
            .collect()
    }

    #[test]
    fn parameters_repeat_and_are_decoded() {
        let query = "topic=a&topic=b%20c+d&&x&topic=%E2%82%AC&%74opic=e&topic=100%&topic=%zz&topic";
        assert_eq!(values(query, "topic"), ["a", "b c d", "€", "e", "100%", "%zz", ""]);
        assert_eq!(values(query, "x"), [""]);
        assert_eq!(values("", "x"), Vec::<String>::new());
    }

    #[test]
    fn what_is_not_utf8_is_told_apart() {
        assert_eq!(values("id=%FF", "id"), ["lossy:\u{fffd}"]);
        assert_eq!(decode_segment("a%FFb"), None);
        assert_eq!(decode_segment("%231-0+").as_deref(), Some("#1-0+"));
    }

    #[test]
    fn one_parameter_too_many_is_refused() {
        let query = "a=1&".repeat(PARAMETERS_MAX);
        assert!(Query::parse(&query).is_ok());
        assert!(Query::parse_with(&query, "").is_ok());
        assert_eq!(Query::parse_with(&query, "a=1").err(), Some(TooManyParameters));
        assert_eq!(Query::parse(&(query + "a=1")).err(), Some(TooManyParameters));
    }
}
