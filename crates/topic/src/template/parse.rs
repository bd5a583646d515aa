//! From the text of a template to what matches its expansions.

use std::borrow::Cow;
use std::fmt::Write;

use super::{Form, TemplateError};
use crate::expression::{Expression, REGEX_TEXT_BYTES_MAX};
use crate::glob::{Builder, Piece};
use crate::pattern::RUNS_MAX;

/// An expression (`{…}`) may name so many variables.
pub const TEMPLATE_VARIABLES_MAX: usize = 16;

/// A piece of a template.
enum Part<'t> {
    Literal(&'t str),
    Expression(Expansion<'t>),
}

/// An expression: its operator and variables.
struct Expansion<'t> {
    operator: Operator,
    variables: Vec<Variable<'t>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Simple,
    Reserved,
    Fragment,
    Label,
    Path,
    Parameters,
    Query,
    Continuation,
}

struct Variable<'t> {
    name: &'t str,
    modifier: Modifier,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Modifier {
    None,
    /// Each of a list's values stands for itself.
    Explode,
    /// So many characters at most.
    Prefix(u16),
}

pub(super) fn form(text: &str) -> Result<Form, TemplateError> {
    let parts = parts(text)?;
    if parts.iter().filter(|part| matches!(part, Part::Expression(_))).count() > RUNS_MAX {
        return Err(TemplateError::TooMany);
    }
    let runs: Option<Vec<Option<Piece>>> = parts.iter().map(Part::run).collect();
    if let Some(runs) = runs {
        let glob = |literal: fn(&str) -> Cow<'_, str>| {
            let mut glob = Builder::default();
            for (part, run) in parts.iter().zip(&runs) {
                match (part, run) {
                    (Part::Literal(text), _) => glob.text(&literal(text)),
                    (_, Some(run)) => glob.run(run.clone()),
                    (_, None) => {}
                }
            }
            glob.build()
        };
        let (written, expanded) = (glob(|text| Cow::Borrowed(text)), glob(expand_literal));
        let expanded = (expanded != written).then_some(expanded);
        return Ok(Form::Globs(written, expanded));
    }
    let mut expression = String::from("^");
    for part in &parts {
        match part {
            Part::Literal(text) => {
                let expanded = expand_literal(text);
                let (written, expanded_text) = (regex::escape(text), regex::escape(&expanded));
                let _ = match expanded {
                    Cow::Borrowed(_) => write!(expression, "{written}"),
                    Cow::Owned(_) => write!(expression, "(?:{written}|{expanded_text})"),
                };
            }
            Part::Expression(expansion) => expansion.write(&mut expression),
        }
        if expression.len() > REGEX_TEXT_BYTES_MAX {
            return Err(TemplateError::TooLarge);
        }
    }
    expression.push('$');
    let prefix = match parts.first() {
        Some(Part::Literal(text)) if matches!(expand_literal(text), Cow::Borrowed(_)) => text,
        _ => "",
    };
    let compiled = Expression::compile(&expression).ok_or(TemplateError::TooLarge)?;
    Ok(Form::Expression(Box::new(compiled), prefix.into()))
}

fn parts(text: &str) -> Result<Vec<Part<'_>>, TemplateError> {
    let refused = |problem, at| Err(TemplateError::Syntax { problem, at });
    let mut parts = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let literal = rest.find(['{', '}']).unwrap_or(rest.len());
        if literal > 0 {
            parts.push(Part::Literal(&rest[..literal]));
            at += literal;
            continue;
        }
        if rest.starts_with('}') {
            return refused("a `}` that closes nothing", at);
        }
        let Some(end) = rest.find('}') else { return refused("a `{` that is not closed", at) };
        parts.push(Part::Expression(Expansion::parse(&rest[1..end], at + 1)?));
        at += end + 1;
    }
    Ok(parts)
}

impl Part<'_> {
    /// A literal is none; `None` if it takes a regular expression.
    fn run(&self) -> Option<Option<Piece>> {
        let Part::Expression(expansion) = self else { return Some(None) };
        let is_plain = expansion.variables.iter().all(|variable| variable.modifier == Modifier::None);
        match expansion.operator {
            Operator::Simple if is_plain => Some(Some(Piece::Unreserved)),
            Operator::Reserved if is_plain => Some(Some(Piece::Reserved)),
            _ => None,
        }
    }
}

/// Characters that a URI does not have as they are become `%XX`; what is `%XX` stays.
fn expand_literal(text: &str) -> Cow<'_, str> {
    let is_kept = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte);
    if text.bytes().all(is_kept) {
        return Cow::Borrowed(text);
    }
    let mut expanded = String::new();
    for byte in text.bytes() {
        if is_kept(byte) {
            expanded.push(char::from(byte));
        } else {
            let _ = write!(expanded, "%{byte:02X}");
        }
    }
    Cow::Owned(expanded)
}

impl<'t> Expansion<'t> {
    /// Reads what is between the braces; `at` is the byte at which it begins.
    fn parse(text: &'t str, at: usize) -> Result<Expansion<'t>, TemplateError> {
        let refused = |problem, at| Err(TemplateError::Syntax { problem, at });
        let (operator, length) = match text.bytes().next() {
            None => return refused("an expression without a variable", at),
            Some(b'+') => (Operator::Reserved, 1),
            Some(b'#') => (Operator::Fragment, 1),
            Some(b'.') => (Operator::Label, 1),
            Some(b'/') => (Operator::Path, 1),
            Some(b';') => (Operator::Parameters, 1),
            Some(b'?') => (Operator::Query, 1),
            Some(b'&') => (Operator::Continuation, 1),
            Some(b'=' | b',' | b'!' | b'@' | b'|') => return refused("this operator is reserved", at),
            Some(_) => (Operator::Simple, 0),
        };
        let mut variables = Vec::new();
        let mut at = at + length;
        for variable in text[length..].split(',') {
            if variables.len() == TEMPLATE_VARIABLES_MAX {
                return refused("an expression has at most 16 variables", at);
            }
            variables.push(Variable::parse(variable, at)?);
            at += variable.len() + 1;
        }
        Ok(Expansion { operator, variables })
    }

    /// The regular expression of what it may become.
    fn write(&self, out: &mut String) {
        let (first, between) = match self.operator {
            Operator::Simple | Operator::Reserved => ("", ","),
            Operator::Fragment => ("\\#", ","),
            Operator::Label => ("\\.", "\\."),
            Operator::Path => ("/", "/"),
            Operator::Parameters => (";", ";"),
            Operator::Query => ("\\?", "&"),
            Operator::Continuation => ("&", "&"),
        };
        let values: Vec<String> =
            self.variables.iter().map(|variable| variable.value(self.operator, between)).collect();
        // Any of them may be undefined.
        if first == between {
            for value in &values {
                let _ = write!(out, "(?:{first}{value})?");
            }
            return;
        }
        // What comes first has its own beginning.
        out.push_str("(?:");
        for begin in 0..values.len() {
            let _ = write!(out, "{first}{}", values[begin]);
            for value in &values[begin + 1..] {
                let _ = write!(out, "(?:{between}{value})?");
            }
            out.push('|');
        }
        out.push(')');
    }
}

/// A character of a value where reserved ones are encoded, and where they are not.
const UNRESERVED: &str = "[A-Za-z0-9._~-]";
const RESERVED: &str = r"[A-Za-z0-9._~:/?\#\[\]@!$&'()*+,;=-]";
const ENCODED: &str = "%[0-9A-Fa-f]{2}";
/// What a character becomes that has to be encoded: the bytes of its UTF-8.
const ENCODED_CHARACTER: &str = "%[0-7][0-9A-Fa-f]|%[C-Fc-f][0-9A-Fa-f](?:%[89ABab][0-9A-Fa-f]){1,3}";

impl<'t> Variable<'t> {
    fn parse(text: &'t str, at: usize) -> Result<Variable<'t>, TemplateError> {
        let refused = |problem, at| Err(TemplateError::Syntax { problem, at });
        let (name, modifier) = if let Some(name) = text.strip_suffix('*') {
            (name, Modifier::Explode)
        } else if let Some((name, length)) = text.split_once(':') {
            let is_number = (1..=4).contains(&length.len()) && length.bytes().all(|byte| byte.is_ascii_digit());
            match length.parse() {
                Ok(length) if is_number && length > 0 => (name, Modifier::Prefix(length)),
                _ => return refused("a length is a number from 1 to 9999", at + name.len() + 1),
            }
        } else {
            (text, Modifier::None)
        };
        let mut rest = name.as_bytes();
        let mut is_after_dot = true;
        while let [byte, behind @ ..] = rest {
            rest = match (byte, behind) {
                (b'%', [high, low, behind @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => behind,
                (b'.', _) if !is_after_dot => behind,
                (b'_', _) => behind,
                (byte, _) if byte.is_ascii_alphanumeric() => behind,
                _ => break,
            };
            is_after_dot = *byte == b'.';
        }
        if !rest.is_empty() || is_after_dot {
            return refused("a variable's name has letters, digits, `_`, `%XX`, and single dots between them", at);
        }
        Ok(Variable { name, modifier })
    }

    /// The regular expression of what the variable becomes, where it is defined.
    fn value(&self, operator: Operator, between: &str) -> String {
        let characters = match operator {
            Operator::Reserved | Operator::Fragment => RESERVED,
            _ => UNRESERVED,
        };
        // A list's values are joined by commas, and so are an object's names and values.
        let text = match self.modifier {
            Modifier::Prefix(length) => format!("(?:{characters}|{ENCODED_CHARACTER}){{0,{length}}}"),
            _ if characters == RESERVED => format!("(?:{RESERVED}|{ENCODED})*"),
            _ => format!("(?:[A-Za-z0-9._~,-]|{ENCODED})*"),
        };
        let one = format!("(?:{characters}|{ENCODED})*");
        let name = regex::escape(self.name);
        match (operator, self.modifier) {
            (Operator::Parameters, Modifier::Explode) => format!("{one}(?:={one})?(?:;{one}(?:={one})?)*"),
            (Operator::Query | Operator::Continuation, Modifier::Explode) => format!("{one}={one}(?:&{one}={one})*"),
            (_, Modifier::Explode) => format!("{one}(?:={one})?(?:{between}{one}(?:={one})?)*"),
            (Operator::Parameters, _) => format!("{name}(?:={text})?"),
            (Operator::Query | Operator::Continuation, _) => format!("{name}={text}"),
            _ => text,
        }
    }
}
