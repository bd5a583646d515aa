//! From a text to the parts of a URL that it asks for. The `urlpattern` crate reads and canonicalises it, and is kept
//! from compiling anything: of what it keeps for a pattern, regular expressions are nine tenths.

use std::cell::OnceCell;
use std::panic::catch_unwind;

use urlpattern::component::Component;
use urlpattern::parser::RegexSyntax;
use urlpattern::regexp::RegExp;
use urlpattern::{Error, UrlPattern, UrlPatternInit, UrlPatternOptions};

use super::{Of, Part, PatternError, Test};
use crate::BaseUrl;
use crate::expression::{Expression, REGEX_BYTES_MAX};
use crate::glob::{Builder, Glob, Piece};

/// A part of a URL may have so many wildcards and names in a pattern.
pub const RUNS_MAX: usize = 32;

/// What is told of a text on which the parser panics.
pub(super) const PANICKED: &str = "not a URL Pattern";

/// What is wrong with a text.
enum Refused {
    Parser(Error),
    Expression,
    Runs,
}

/// The parts that are not to be matched by everything, in the order of [`Of`].
pub(super) fn parts(text: &str, base: &BaseUrl) -> Result<Vec<Part>, PatternError> {
    // The parser asserts where a malformed text should be an error.
    catch_unwind(|| parse(text, base))
        .unwrap_or_else(|_| Err(PatternError::Syntax { problem: PANICKED.to_owned(), at: None }))
}

fn parse(text: &str, base: &BaseUrl) -> Result<Vec<Part>, PatternError> {
    let init = UrlPatternInit::parse_constructor_string::<Unread>(text, Some(base.url().clone()));
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
    read(init).map_err(|refused| PatternError::Syntax { problem: refused.to_string(), at: place(text, &given) })
}

fn read(init: UrlPatternInit) -> Result<Vec<Part>, Refused> {
    let parsed = UrlPattern::<Unread>::parse(init, UrlPatternOptions::default()).map_err(Refused::Parser)?;
    let mut parts = Vec::new();
    for (of, component) in [
        (Of::Scheme, parsed.protocol),
        (Of::Host, parsed.hostname),
        (Of::Port, parsed.port),
        (Of::Path, parsed.pathname),
        (Of::Search, parsed.search),
        (Of::Hash, parsed.hash),
        (Of::Username, parsed.username),
        (Of::Password, parsed.password),
    ] {
        let test = test(component)?;
        if !matches!(&test, Test::Glob(glob) if glob.is_any()) {
            parts.push(Part { of, test });
        }
    }
    Ok(parts)
}

fn test(component: Component<Unread>) -> Result<Test, Refused> {
    let text = component.regexp.map_err(Refused::Parser)?.text;
    match reduce(&text) {
        Some(glob) if glob.runs() > RUNS_MAX => Err(Refused::Runs),
        Some(glob) => Ok(Test::Glob(glob)),
        None => Expression::compile(&text).map(|it| Test::Expression(Box::new(it))).ok_or(Refused::Expression),
    }
}

/// The literals and wildcards for which a regular expression of the parser stands. `None` if it stands for more.
fn reduce(expression: &str) -> Option<Glob> {
    let mut rest = expression.strip_prefix('^')?.strip_suffix('$')?;
    let mut glob = Builder::default();
    let mut is_in_group = false;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            // The parser makes such a group around a wildcard and the text that comes and goes with it; one of the
            // pattern's own cannot begin so.
            '(' if !is_in_group && rest.starts_with("?:") => {
                is_in_group = true;
                rest = &rest[2..];
            }
            '(' => {
                let (run, behind) = run(rest)?;
                rest = behind;
                glob.run(run);
            }
            ')' if is_in_group => is_in_group = false,
            '\\' => {
                let escaped = rest.chars().next()?;
                rest = &rest[escaped.len_utf8()..];
                glob.char(escaped);
            }
            // A group may repeat, or be left out.
            '.' | '+' | '*' | '?' | '^' | '$' | '{' | '}' | ')' | '[' | ']' | '|' => return None,
            literal => glob.char(literal),
        }
    }
    Some(glob.build())
}

/// The wildcard that a group is, and what follows the group.
fn run(text: &str) -> Option<(Piece, &str)> {
    let runs = [
        (".*)", Piece::Any),
        (".+?)", Piece::Some { except: None }),
        ("[^/]+?)", Piece::Some { except: Some(b'/') }),
        ("[^\\.]+?)", Piece::Some { except: Some(b'.') }),
    ];
    runs.into_iter().find_map(|(written, run)| Some((run, text.strip_prefix(written)?)))
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refused::Parser(Error::Tokenizer(why, _)) => write!(f, "{why}"),
            Refused::Parser(error) => write!(f, "{error}"),
            Refused::Expression => {
                write!(f, "a group is no regular expression, has flags, or takes more than {REGEX_BYTES_MAX} bytes")
            }
            Refused::Runs => write!(f, "a part of the URL has more than {RUNS_MAX} wildcards and names"),
        }
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
        match read(alone) {
            Ok(_) => at = begins + part.len(),
            Err(Refused::Parser(Error::Tokenizer(_, within))) => return Some(begins + within),
            Err(_) => return Some(begins),
        }
    }
    None
}

/// A regular expression that the parser made, and that is not compiled.
struct Unread {
    text: String,
    /// Only a scheme's is asked, for each of those that the standard calls special.
    compiled: OnceCell<Option<Expression>>,
}

impl RegExp for Unread {
    fn syntax() -> RegexSyntax {
        RegexSyntax::Rust
    }

    fn parse(pattern: &str, _flags: &str, _force_eval: bool) -> Result<Unread, ()> {
        Ok(Unread { text: pattern.to_owned(), compiled: OnceCell::new() })
    }

    fn matches<'a>(&self, text: &'a str) -> Option<Vec<Option<&'a str>>> {
        let compiled = self.compiled.get_or_init(|| Expression::compile(&self.text));
        compiled.as_ref().filter(|it| it.is_match(text)).map(|_| Vec::new())
    }

    fn pattern_string(&self) -> &str {
        &self.text
    }
}
