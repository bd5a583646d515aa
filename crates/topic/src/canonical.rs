use url::Url;

use crate::{Matcher, MatcherSet};

/// Whether a text is an absolute URL without credentials, written as the URL Standard writes it (section 4.5,
/// serializing). Of two such texts that are the same URL, both are the same: what begins a URL begins its text.
#[must_use]
pub fn is_canonical_url(text: &str) -> bool {
    // Most other topics are none at a glance.
    text.contains(':') && Url::parse(text).is_ok_and(|url| url.as_str() == text && !has_credentials(&url))
}

/// Schemes whose URLs have their host behind two slashes, by the URL Standard (section 4.2, special schemes).
const SPECIAL_SCHEMES: [&str; 6] = ["http", "https", "ws", "wss", "ftp", "file"];

impl MatcherSet {
    /// What those topics begin with that are canonical URLs ([`is_canonical_url`]) and match a pattern or a template of
    /// the set: at least one of these. Sorted, and none begins with another.
    #[must_use]
    pub fn literals(&self) -> Vec<String> {
        let mut literals: Vec<String> = self.iter().flat_map(|matcher| literals(&matcher)).collect();
        literals.sort_unstable();
        literals.dedup_by(|one, before| one.starts_with(&**before));
        literals
    }
}

fn literals(matcher: &Matcher) -> Vec<String> {
    match matcher {
        Matcher::Any => vec![String::new()],
        Matcher::Exact(_) => Vec::new(),
        Matcher::Pattern(pattern) => vec![literal_of_key(pattern.route().beginning())],
        Matcher::Template(template) => template.routes().map(|route| route.beginning().to_owned()).collect(),
    }
}

/// What URLs begin with whose location's key, `scheme/host/port/path`, begins with `key`, which ends behind one of these or
/// in the path.
fn literal_of_key(key: &str) -> String {
    let parts: Vec<&str> = key.splitn(4, '/').collect();
    match *parts {
        [scheme, _, ..] if !SPECIAL_SCHEMES.contains(&scheme) => format!("{scheme}:"),
        [scheme, _] => format!("{scheme}://"),
        [scheme, host, _] | [scheme, host, "", ""] => format!("{scheme}://{host}"),
        [scheme, host, "", path] => format!("{scheme}://{host}{path}"),
        [scheme, host, port, path] => format!("{scheme}://{host}:{port}{path}"),
        _ => String::new(),
    }
}

fn has_credentials(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{BaseUrl, Pattern, Template};

    fn pattern(text: &str) -> Matcher {
        let base = BaseUrl::parse("https://hub.example:8443/a/").expect("a URL");
        Matcher::Pattern(Pattern::parse(text, &base).expect(text))
    }

    fn template(text: &str) -> Matcher {
        Matcher::Template(Template::parse(text).expect(text))
    }

    fn literals_of(matchers: &[Matcher]) -> Vec<String> {
        MatcherSet::new(matchers.iter().cloned()).expect("a set").literals()
    }

    #[test]
    fn what_patterns_and_templates_begin_with_is_told() {
        for (text, expected) in [
            ("/users/:id/x", "https://hub.example:8443/users/"),
            ("users/*", "https://hub.example:8443/a/users/"),
            ("https://other.example/*", "https://other.example/"),
            ("https://other.example/(a|b)", "https://other.example"),
            ("*://other.example/a", ""),
            ("https://*.example/a", "https://"),
            ("urn:uuid:*", ""),
            ("urn\\:uuid\\:*", "urn:"),
            ("https://other.example:*/a", "https://other.example"),
            ("/a%20b/é*", "https://hub.example:8443/a%20b/%C3%A9"),
        ] {
            assert_eq!(literals_of(&[pattern(text)]), [expected], "{text}");
        }
        assert_eq!(literals_of(&[template("https://a.example/{x}")]), ["https://a.example/"]);
        let several = [pattern("/b/*"), pattern("/b/c/*"), template("urn:{x}"), Matcher::parse("t").expect("a topic")];
        assert_eq!(literals_of(&several), ["https://hub.example:8443/b/", "urn:"]);
        assert_eq!(MatcherSet::any().literals(), [""]);
    }

    proptest! {
        #[test]
        fn a_canonical_url_that_matches_begins_with_one_of_them(
            texts in prop::collection::vec(prop_oneof!["/[ab*:]{1,4}", "https://[ab]\\.x/[ab*]{0,3}", "[ab]{1,2}:[ab*]{1,3}", "[*]://[ab]\\.x/[*]"], 1..4),
            topics in prop::collection::vec(prop_oneof!["https://[ab]\\.x/[ab]{0,3}", "https://hub\\.example:8443/[ab]{1,4}", "[ab]{1,2}:[ab]{1,3}"], 1..20),
        ) {
            let base = BaseUrl::parse("https://hub.example:8443/a/").expect("a URL");
            let parsed = texts.iter().filter_map(|text| Pattern::parse(text, &base).ok()).map(Matcher::Pattern);
            let Ok(set) = MatcherSet::new(parsed.chain(Template::parse("https://a.x/{t}").map(Matcher::Template))) else {
                return Ok(());
            };
            let literals = set.literals();
            for topic in topics.iter().filter(|topic| is_canonical_url(topic)) {
                let begins = literals.iter().any(|literal| topic.starts_with(&**literal));
                prop_assert!(begins || !set.matches(std::iter::once(topic.as_str())), "{} of {:?}", topic, literals);
            }
        }
    }

    #[test]
    fn canonical_urls_are_told_from_other_topics() {
        for text in ["https://example.com/", "https://example.com/a?b#c", "urn:uuid:1", "http://[::1]:81/%20"] {
            assert!(is_canonical_url(text), "{text}");
        }
        let others = [
            "",
            "news",
            "/orders/1",
            "//example.com/",
            "https://example.com",
            "HTTPS://example.com/",
            "https://example.com:443/",
            "https://example.com/a/../b",
            "https://example.com/ ",
            "https://me@example.com/",
            "https://me:secret@example.com/",
            "https://EXAMPLE.com/",
            "a:b c\u{e9}",
            "http://",
        ];
        for text in others {
            assert!(!is_canonical_url(text), "{text}");
        }
    }
}
