//! What the lists of the API have in common: so many at a time, from a place on.

use crate::problem::{Kind, Problem};
use crate::query::{Query, Text};

/// Of a list, on a page, unless `limit` says otherwise.
pub(super) const LIMIT: usize = 100;
/// Of a list, on a page, at most.
pub(crate) const LIMIT_MAX: usize = 1_000;

/// The parameters of a request.
pub(super) fn parameters(query: &str) -> Result<Query<'_>, Problem> {
    Query::parse(query).map_err(Problem::from)
}

/// The first value of a parameter; none if it is empty.
pub(super) fn text(parameters: &Query<'_>, name: &'static str) -> Result<Option<String>, Problem> {
    match parameters.first(name) {
        None => Ok(None),
        Some(Text::Utf8(text)) => Ok(Some(text.clone().into_owned()).filter(|text| !text.is_empty())),
        Some(Text::Lossy(_)) => Err(Problem::new(Kind::Query, format!("`{name}` is not UTF-8 once it is decoded"))),
    }
}

/// How many are asked for.
pub(super) fn limit(parameters: &Query<'_>) -> Result<usize, Problem> {
    let limit = match parameters.first("limit") {
        None => LIMIT,
        Some(Text::Utf8(digits)) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().unwrap_or(0),
        Some(_) => 0,
    };
    if limit == 0 || limit > LIMIT_MAX {
        return Err(Problem::new(Kind::Page, format!("`limit` is a number from 1 to {LIMIT_MAX}")));
    }
    Ok(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_a_size_and_a_place() {
        let asked = |query| {
            let parameters = parameters(query)?;
            Ok::<_, Problem>((text(&parameters, "after")?, limit(&parameters)?))
        };
        assert_eq!(asked(""), Ok((None, 100)));
        assert_eq!(asked("after="), Ok((None, 100)));
        assert_eq!(asked("after=a%2Fb&limit=1000"), Ok((Some("a/b".to_owned()), 1_000)));
        for query in ["limit=0", "limit=1001", "limit=x", "limit=", "limit=-1", "limit=%2B1", "limit=%FF"] {
            assert_eq!(asked(query).map_err(|problem| problem.kind()), Err(Kind::Page), "{query}");
        }
        assert_eq!(asked("after=%FF").map_err(|problem| problem.kind()), Err(Kind::Query));
    }
}
