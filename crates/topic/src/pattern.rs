use std::fmt;
use std::hash::{Hash, Hasher};
use std::panic::catch_unwind;
use std::sync::Arc;

use regex::RegexBuilder;
use url::{Position, Url};
use urlpattern::component::Component;
use urlpattern::matcher::Matcher;
use urlpattern::parser::RegexSyntax;
use urlpattern::regexp::RegExp;
use urlpattern::{Error, UrlPattern, UrlPatternInit, UrlPatternOptions};

use crate::is_control_or_format;

/// The most bytes a pattern may have, in UTF-8.
pub const PATTERN_BYTES_MAX: usize = 1_024;

/// What a regular expression of a pattern may take in memory, compiled, and again while it runs.
/// A pattern has up to eight.
const REGEX_BYTES_MAX: usize = 1 << 18;

/// A pattern of topics: a WHATWG URL Pattern, case-sensitive. Pattern and topic are taken as URL
/// references against the same base URL, so that `/orders/*` means the hub's own topics, however
/// they are written.
///
/// Topics are matched in time that is linear in their length, whatever groups the pattern has. A
/// clone shares everything; patterns are equal when text and base URL are.
#[derive(Clone)]
pub struct Pattern(Arc<Parsed>);

struct Parsed {
    text: Box<str>,
    base: Url,
    parts: Parts,
}

/// Why a text is not a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// The text is empty.
    #[error("a pattern must not be empty")]
    Empty,
    /// The text is longer than [`PATTERN_BYTES_MAX`].
    #[error("a pattern of {bytes} bytes is longer than {PATTERN_BYTES_MAX}")]
    TooLong {
        /// The text's length in bytes.
        bytes: usize,
    },
    /// The text has a control character (C0, DEL, C1) or a format character (Unicode `Cf`), which
    /// no topic has.
    #[error("a pattern must not have the control or format character U+{:04X} (at byte {at})", u32::from(*character))]
    Control {
        /// The first such character.
        character: char,
        /// The byte at which it begins.
        at: usize,
    },
    /// The base URL is none, or none that a reference can be resolved against.
    #[error("{base_url:?} is no URL that patterns can be relative to")]
    Base {
        /// The text given for it.
        base_url: String,
    },
    /// The text is not a URL Pattern, or a regular expression in it is too large.
    #[error("{problem}{}", at.map(|at| format!(" (at byte {at})")).unwrap_or_default())]
    Syntax {
        /// What is wrong.
        problem: String,
        /// The byte of the text at which it is, or at which the part of the URL begins that it is in.
        at: Option<usize>,
    },
}

impl Pattern {
    /// Takes a text for a pattern, relative to a base URL.
    ///
    /// # Errors
    /// When the text is empty, too long, has a control or format character, or is no URL Pattern;
    /// when the base URL is none.
    pub fn parse(text: &str, base_url: &str) -> Result<Pattern, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > PATTERN_BYTES_MAX {
            return Err(PatternError::TooLong { bytes: text.len() });
        }
        if let Some((at, character)) = text.char_indices().find(|&(_, c)| is_control_or_format(c)) {
            return Err(PatternError::Control { character, at });
        }
        let base = Url::parse(base_url).ok().filter(|base| !base.cannot_be_a_base());
        let base = base.ok_or_else(|| PatternError::Base { base_url: base_url.to_owned() })?;
        // The parser asserts and subtracts where a malformed text should be an error: `x://]`.
        let parts = catch_unwind(|| parse_parts(text, &base)).unwrap_or_else(|_| {
            let problem = "not a URL Pattern; brackets outside of groups are for IPv6 addresses only".to_owned();
            Err(PatternError::Syntax { problem, at: None })
        })?;
        Ok(Pattern(Arc::new(Parsed { text: text.into(), base, parts })))
    }

    /// Whether a topic matches. One that is no URL reference matches no pattern.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        self.0.base.join(topic).is_ok_and(|url| self.0.parts.match_url(&url))
    }

    /// The pattern as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.text
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.0.text == other.0.text && self.0.base == other.0.base
    }
}

impl Eq for Pattern {}

impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.text.hash(state);
        self.0.base.hash(state);
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?} at {:?})", self.as_str(), self.0.base.as_str())
    }
}

/// What is matched against each part of a URL. The parser's own type keeps every regular
/// expression twice, and names of groups that nobody asks for.
struct Parts {
    protocol: Matcher<Linear>,
    username: Matcher<Linear>,
    password: Matcher<Linear>,
    hostname: Matcher<Linear>,
    port: Matcher<Linear>,
    pathname: Matcher<Linear>,
    search: Matcher<Linear>,
    hash: Matcher<Linear>,
}

impl Parts {
    fn match_url(&self, url: &Url) -> bool {
        let is = |matcher: &Matcher<Linear>, part: &str| matcher.matches(part).is_some();
        is(&self.protocol, url.scheme())
            && is(&self.hostname, url.host_str().unwrap_or_default())
            && is(&self.pathname, url.path())
            && is(&self.port, &url[Position::BeforePort..Position::AfterPort])
            && is(&self.search, url.query().unwrap_or_default())
            && is(&self.hash, url.fragment().unwrap_or_default())
            && is(&self.username, url.username())
            && is(&self.password, url.password().unwrap_or_default())
    }
}

fn parse_parts(text: &str, base: &Url) -> Result<Parts, PatternError> {
    let init = UrlPatternInit::parse_constructor_string::<Linear>(text, Some(base.clone()));
    let mut init = init.map_err(|_| {
        let problem = "what is before the first `:` that begins no name is no URL scheme".to_owned();
        PatternError::Syntax { problem, at: Some(0) }
    })?;
    if init.protocol.is_some() {
        // As the standard has it, the base's path would be put before an opaque one, and no
        // pattern could match `urn:uuid:1`.
        init.base_url = None;
    }
    let given = init.clone();
    let parsed = UrlPattern::<Linear>::parse(init, UrlPatternOptions::default());
    let parsed = parsed.map_err(|error| PatternError::Syntax { problem: problem(&error), at: place(text, &given) })?;
    let matcher = |component: Component<Linear>| component.matcher;
    Ok(Parts {
        protocol: matcher(parsed.protocol),
        username: matcher(parsed.username),
        password: matcher(parsed.password),
        hostname: matcher(parsed.hostname),
        port: matcher(parsed.port),
        pathname: matcher(parsed.pathname),
        search: matcher(parsed.search),
        hash: matcher(parsed.hash),
    })
}

fn problem(error: &Error) -> String {
    match error {
        Error::Tokenizer(why, _) => why.to_string(),
        Error::RegExp(()) => format!("a group is no regular expression, or takes more than {REGEX_BYTES_MAX} bytes"),
        other => other.to_string(),
    }
}

/// Where the error lies. The parser counts from the beginning of a part of the URL and does not
/// say which: the parts are tried one by one, and looked for in the order in which they are written.
fn place(text: &str, given: &UrlPatternInit) -> Option<usize> {
    let none = UrlPatternInit::default;
    // Whether a path is opaque depends on the protocol.
    let protocol = given.protocol.clone();
    let parts = [
        (&given.protocol, UrlPatternInit { protocol: given.protocol.clone(), ..none() }),
        (&given.username, UrlPatternInit { username: given.username.clone(), ..none() }),
        (&given.password, UrlPatternInit { password: given.password.clone(), ..none() }),
        (&given.hostname, UrlPatternInit { hostname: given.hostname.clone(), ..none() }),
        (&given.port, UrlPatternInit { port: given.port.clone(), ..none() }),
        (&given.pathname, UrlPatternInit { protocol, pathname: given.pathname.clone(), ..none() }),
        (&given.search, UrlPatternInit { search: given.search.clone(), ..none() }),
        (&given.hash, UrlPatternInit { hash: given.hash.clone(), ..none() }),
    ];
    let mut at = 0;
    for (part, alone) in parts {
        let Some(part) = part.as_deref().filter(|part| !part.is_empty()) else { continue };
        // A path may stand for what is not written: that of `https://host?query` is `/`.
        let Some(begins) = text[at..].find(part).map(|skipped| at + skipped) else { continue };
        match UrlPattern::<Linear>::parse(alone, UrlPatternOptions::default()) {
            Ok(_) => at = begins + part.len(),
            Err(Error::Tokenizer(_, within)) => return Some(begins + within),
            Err(_) => return Some(begins),
        }
    }
    None
}

/// A regular expression whose matching is linear in the text, and whose size is limited.
struct Linear(regex::Regex);

impl RegExp for Linear {
    fn syntax() -> RegexSyntax {
        RegexSyntax::Rust
    }

    fn parse(pattern: &str, _flags: &str, _force_eval: bool) -> Result<Linear, ()> {
        let mut builder = RegexBuilder::new(pattern);
        builder.size_limit(REGEX_BYTES_MAX).dfa_size_limit(REGEX_BYTES_MAX);
        builder.build().map(Linear).map_err(|_| ())
    }

    /// Nobody asks what the groups matched, so it is not looked for.
    fn matches<'a>(&self, text: &'a str) -> Option<Vec<Option<&'a str>>> {
        self.0.is_match(text).then(Vec::new)
    }

    fn pattern_string(&self) -> &str {
        self.0.as_str()
    }
}

#[cfg(test)]
mod tests;
