//! Patterns of literal text and runs, matched without a regular expression.

/// What one stretch of a text may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// This text.
    Literal(Box<str>),
    /// Anything.
    Any,
    /// One byte or more, none of them this.
    Some {
        /// The byte at which the run ends.
        except: Option<u8>,
    },
    /// What the value of a template's variable becomes: unreserved characters, commas and `%XX`.
    Unreserved,
    /// Reserved characters as well.
    Reserved,
}

/// What each run of a glob weighs that may match a text in more than one way: all of them are followed.
pub(crate) const UNCERTAIN_WEIGHT: u32 = 4;

/// Pieces, one after the other; no two literals are neighbours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Glob(Box<[Piece]>);

/// Makes a [`Glob`].
#[derive(Default)]
pub(crate) struct Builder {
    pieces: Vec<Piece>,
    literal: String,
}

impl Builder {
    pub(crate) fn text(&mut self, text: &str) {
        self.literal.push_str(text);
    }

    pub(crate) fn char(&mut self, c: char) {
        self.literal.push(c);
    }

    pub(crate) fn run(&mut self, run: Piece) {
        self.end_literal();
        if !(run == Piece::Any && self.pieces.last() == Some(&Piece::Any)) {
            self.pieces.push(run);
        }
    }

    pub(crate) fn build(mut self) -> Glob {
        self.end_literal();
        Glob(self.pieces.into())
    }

    fn end_literal(&mut self) {
        if !self.literal.is_empty() {
            self.pieces.push(Piece::Literal(std::mem::take(&mut self.literal).into()));
        }
    }
}

impl Glob {
    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// Whether it matches every text.
    pub(crate) fn is_any(&self) -> bool {
        *self.0 == [Piece::Any]
    }

    /// The only text that it matches, if there is but one.
    pub(crate) fn literal(&self) -> Option<&str> {
        match &*self.0 {
            [] => Some(""),
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }

    pub(crate) fn runs(&self) -> usize {
        self.0.iter().filter(|piece| !matches!(piece, Piece::Literal(_))).count()
    }

    /// What matching costs: 1 for each run, [`UNCERTAIN_WEIGHT`] where there is more than one way to match a text.
    pub(crate) fn weight(&self) -> u32 {
        let runs = u32::try_from(self.runs()).unwrap_or(u32::MAX);
        if self.is_certain() { runs } else { runs.saturating_mul(UNCERTAIN_WEIGHT) }
    }

    /// Whether the whole text matches, in time of its length; times the number of pieces unless the glob
    /// [is certain](Glob::is_certain).
    pub(crate) fn matches(&self, text: &str) -> bool {
        let mut pieces = &*self.0;
        let mut text = text;
        if let [Piece::Literal(literal), rest @ ..] = pieces {
            let Some(behind) = text.strip_prefix(&**literal) else { return false };
            (pieces, text) = (rest, behind);
        }
        if let [rest @ .., Piece::Literal(literal)] = pieces {
            let Some(before) = text.strip_suffix(&**literal) else { return false };
            (pieces, text) = (rest, before);
        }
        match pieces {
            [] => text.is_empty(),
            [Piece::Any] => true,
            _ if has_literals_between_any(pieces) => matches_in_turn(pieces, text),
            _ if has_certain_ends(pieces) => matches_stepwise(pieces, text.as_bytes()),
            _ => matches_piecewise(pieces, text.as_bytes()),
        }
    }

    /// Whether there is one way only to match a text, as far as that matters: `*` alone beside literals, or no `*` and
    /// runs whose end is known.
    fn is_certain(&self) -> bool {
        let pieces = match &*self.0 {
            [Piece::Literal(_), rest @ ..] => rest,
            all => all,
        };
        let pieces = match pieces {
            [rest @ .., Piece::Literal(_)] => rest,
            all => all,
        };
        has_literals_between_any(pieces) || has_certain_ends(pieces)
    }
}

fn has_literals_between_any(pieces: &[Piece]) -> bool {
    pieces.iter().all(|piece| matches!(piece, Piece::Literal(_) | Piece::Any))
}

/// Whether each run ends where its first foreign byte is, or with the text.
fn has_certain_ends(pieces: &[Piece]) -> bool {
    pieces.iter().enumerate().all(|(index, piece)| match (piece, pieces.get(index + 1)) {
        (Piece::Literal(_), _) => true,
        (Piece::Any, _) => false,
        (_, None) => true,
        (Piece::Some { except }, Some(Piece::Literal(next))) => next.bytes().next() == *except,
        (Piece::Unreserved, Some(Piece::Literal(next))) => {
            !next.starts_with('%') && unit(next.as_bytes(), piece).is_none()
        }
        _ => false,
    })
}

/// Pieces that begin and end with [`Piece::Any`] and are else literals: each is taken where it is found first, which
/// leaves the most to the others.
fn matches_in_turn(pieces: &[Piece], mut text: &str) -> bool {
    pieces.iter().all(|piece| {
        let Piece::Literal(literal) = piece else { return true };
        let behind = text.find(&**literal).map(|at| &text[at + literal.len()..]);
        behind.map(|behind| text = behind).is_some()
    })
}

/// Pieces with certain ends: each run is as long as it can be.
fn matches_stepwise(pieces: &[Piece], mut text: &[u8]) -> bool {
    let does_each_match = pieces.iter().all(|piece| {
        let length = match piece {
            Piece::Literal(literal) => text.starts_with(literal.as_bytes()).then_some(literal.len()),
            Piece::Any => Some(text.len()),
            Piece::Some { except } => {
                let end = text.iter().position(|&byte| Some(byte) == *except).unwrap_or(text.len());
                Some(end).filter(|&end| end > 0)
            }
            Piece::Unreserved | Piece::Reserved => {
                let mut end = 0;
                while let Some(length) = unit(&text[end..], piece) {
                    end += length;
                }
                Some(end)
            }
        };
        length.map(|length| text = &text[length..]).is_some()
    });
    does_each_match && text.is_empty()
}

/// Follows all ways at once: after each piece, every place that it may end at.
fn matches_piecewise(pieces: &[Piece], text: &[u8]) -> bool {
    let mut begins = vec![false; text.len() + 1];
    begins[0] = true;
    let mut ends = Vec::with_capacity(begins.len());
    for piece in pieces {
        ends.clear();
        ends.resize(begins.len(), false);
        match piece {
            Piece::Literal(literal) => {
                for at in (0..begins.len()).filter(|&at| begins[at]) {
                    if text[at..].starts_with(literal.as_bytes()) {
                        ends[at + literal.len()] = true;
                    }
                }
            }
            Piece::Any => {
                if let Some(first) = begins.iter().position(|&begins| begins) {
                    ends[first..].fill(true);
                }
            }
            Piece::Some { except } => {
                let mut is_in_run = false;
                for (at, &byte) in text.iter().enumerate() {
                    is_in_run = (is_in_run || begins[at]) && Some(byte) != *except;
                    ends[at + 1] = is_in_run;
                }
            }
            Piece::Unreserved | Piece::Reserved => {
                ends.copy_from_slice(&begins);
                for at in 0..text.len() {
                    if ends[at]
                        && let Some(length) = unit(&text[at..], piece)
                    {
                        ends[at + length] = true;
                    }
                }
            }
        }
        std::mem::swap(&mut begins, &mut ends);
    }
    begins[text.len()]
}

/// The length of the character of a template's value with which a text begins.
fn unit(text: &[u8], run: &Piece) -> Option<usize> {
    match text {
        [b'%', high, low, ..] => (high.is_ascii_hexdigit() && low.is_ascii_hexdigit()).then_some(3),
        [byte, ..] => {
            let is_unreserved = byte.is_ascii_alphanumeric() || b"-._~,".contains(byte);
            let is_reserved = || *run == Piece::Reserved && b":/?#[]@!$&'()*+;=".contains(byte);
            (is_unreserved || is_reserved()).then_some(1)
        }
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn piece() -> impl Strategy<Value = Piece> {
        prop_oneof![
            "[ab/%]{1,3}".prop_map(|text| Piece::Literal(text.into())),
            Just(Piece::Any),
            Just(Piece::Some { except: Some(b'/') }),
            Just(Piece::Some { except: None }),
            Just(Piece::Unreserved),
            Just(Piece::Reserved),
        ]
    }

    fn glob(pieces: &[Piece]) -> Glob {
        let mut builder = Builder::default();
        for piece in pieces {
            match piece {
                Piece::Literal(text) => builder.text(text),
                run => builder.run(run.clone()),
            }
        }
        builder.build()
    }

    /// The oracle: the same as a regular expression.
    fn expression(pieces: &[Piece]) -> regex::Regex {
        let texts = pieces.iter().map(|piece| match piece {
            Piece::Literal(text) => regex::escape(text),
            Piece::Any => "(?s:.*)".to_owned(),
            Piece::Some { except: None } => "(?s:.+)".to_owned(),
            Piece::Some { except: Some(_) } => "[^/]+".to_owned(),
            Piece::Unreserved => r"(?:[\w.~,-]|%[0-9A-Fa-f]{2})*".to_owned(),
            Piece::Reserved => r"(?:[\w.~,:/?\#\[\]@!$&'()*+;=-]|%[0-9A-Fa-f]{2})*".to_owned(),
        });
        regex::Regex::new(&format!("^(?:{})$", texts.collect::<String>())).expect("an expression")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn pieces_match_as_a_regular_expression_does(
            pieces in prop::collection::vec(piece(), 0..6),
            text in prop_oneof!["[ab/%]{0,8}", "(a|b|/|%2F|%a|=| |,){0,8}"],
        ) {
            prop_assert_eq!(glob(&pieces).matches(&text), expression(&pieces).is_match(&text));
        }

        /// Both quick ways, on the texts that they are for: what any pieces would seldom make.
        #[test]
        fn certain_pieces_match_as_a_regular_expression_does(
            literals in prop::collection::vec("[ab]?/[ab/]{0,2}", 1..5),
            run in prop::sample::select(vec![Piece::Any, Piece::Some { except: Some(b'/') }, Piece::Unreserved]),
            (begins, ends) in (any::<bool>(), any::<bool>()),
            text in prop_oneof!["[ab/]{0,10}", "(a|b|/|%2F|%a){0,10}"],
        ) {
            let mut pieces = vec![];
            for (index, literal) in literals.iter().enumerate() {
                if index > 0 || begins {
                    pieces.push(run.clone());
                }
                let literal = if run == Piece::Any { literal } else { literal.trim_start_matches(['a', 'b']) };
                pieces.push(Piece::Literal(literal.into()));
            }
            if ends {
                pieces.push(run);
            }
            let glob = glob(&pieces);
            prop_assert!(glob.is_certain(), "{:?}", glob);
            prop_assert_eq!(glob.matches(&text), expression(&pieces).is_match(&text));
        }
    }

    #[test]
    fn a_glob_is_certain_where_its_runs_have_one_end_each() {
        let literal = |text: &str| Piece::Literal(text.into());
        let segment = || Piece::Some { except: Some(b'/') };
        for certain in [
            vec![],
            vec![literal("a"), Piece::Any, literal("b"), Piece::Any],
            vec![literal("/"), segment(), literal("/x/"), segment()],
            vec![Piece::Unreserved, literal("/x"), Piece::Reserved],
            vec![literal("/"), segment(), literal("-a")],
        ] {
            assert!(glob(&certain).is_certain(), "{certain:?}");
        }
        for uncertain in [
            vec![Piece::Any, literal("/"), segment()],
            vec![segment(), literal("-"), segment()],
            vec![Piece::Unreserved, literal("%2F"), Piece::Unreserved],
            vec![Piece::Unreserved, literal("%2"), Piece::Unreserved],
            vec![Piece::Unreserved, literal("-"), Piece::Unreserved],
            vec![Piece::Reserved, literal("/"), Piece::Reserved],
            vec![segment(), Piece::Any],
            vec![Piece::Some { except: None }, literal("/"), segment()],
        ] {
            let glob = glob(&uncertain);
            assert!(!glob.is_certain(), "{uncertain:?}");
            assert_eq!(glob.weight(), u32::try_from(glob.runs()).expect("few") * UNCERTAIN_WEIGHT);
        }
    }

    #[test]
    fn literals_between_wildcards_do_not_share_a_text() {
        let twice =
            glob(&[Piece::Any, Piece::Literal("ab".into()), Piece::Any, Piece::Literal("ab".into()), Piece::Any]);
        for (text, expected) in [("ab", false), ("aab", false), ("abab", true), ("éabéabé", true)] {
            assert_eq!(twice.matches(text), expected, "{text}");
        }
    }

    #[test]
    fn neighbours_become_one_piece() {
        let glob = glob(&[Piece::Literal("a".into()), Piece::Literal("b".into()), Piece::Any, Piece::Any]);
        assert_eq!(glob.pieces(), [Piece::Literal("ab".into()), Piece::Any]);
        assert_eq!((glob.weight(), glob.literal(), Glob::default().literal()), (1, None, Some("")));
    }
}
