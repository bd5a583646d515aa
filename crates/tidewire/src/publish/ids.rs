//! The publisher's ids, and printing the hub's.

use std::io::{ErrorKind, Write};

use serde::Serialize;

/// Bytes of randomness in a prefix: no two runs will ever share one.
const RANDOM_BYTES: usize = 12;

/// A prefix for the ids of one run. It begins with a letter, so that no id is taken for one of
/// the hub's.
pub(super) fn random_prefix() -> anyhow::Result<String> {
    let mut random = [0; RANDOM_BYTES];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("failed to get random bytes: {error}"))?;
    Ok(prefix_of(random))
}

fn prefix_of(random: [u8; RANDOM_BYTES]) -> String {
    random.iter().fold("p".to_owned(), |prefix, byte| format!("{prefix}{byte:02x}"))
}

/// How the hub's ids are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The id alone.
    Bare,
    /// An object of both ids.
    Json,
}

/// Prints the hub's ids, one a line. Once nobody reads them any more it goes on without printing:
/// what is published is not to hang on it.
pub(super) struct IdPrinter<W> {
    out: Option<W>,
    form: Form,
}

impl<W: Write> IdPrinter<W> {
    pub(super) fn new(out: W, form: Form) -> IdPrinter<W> {
        IdPrinter { out: Some(out), form }
    }

    /// Prints what was answered to one request.
    pub(super) fn print<'a>(&mut self, ids: impl Iterator<Item = (&'a str, &'a str)>) -> std::io::Result<()> {
        #[derive(Serialize)]
        struct Ids<'a> {
            id: &'a str,
            publisher_id: &'a str,
        }

        let Some(out) = &mut self.out else { return Ok(()) };
        let mut text = String::new();
        for (id, publisher_id) in ids {
            match self.form {
                Form::Bare => text.push_str(id),
                Form::Json => {
                    let ids = Ids { id, publisher_id };
                    text.push_str(&serde_json::to_string(&ids).expect("two strings are always JSON"));
                }
            }
            text.push('\n');
        }
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.out = None;
                Ok(())
            }
            result => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_letter_and_all_the_randomness() {
        assert_eq!(prefix_of([0; RANDOM_BYTES]), format!("p{}", "00".repeat(RANDOM_BYTES)));
        assert_eq!(prefix_of([0xA5; RANDOM_BYTES]), format!("p{}", "a5".repeat(RANDOM_BYTES)));
        assert_ne!(random_prefix().expect("randomness"), random_prefix().expect("randomness"));
    }

    #[test]
    fn ids_are_printed_bare_or_as_json() {
        let printed = |form| {
            let mut out = Vec::new();
            IdPrinter::new(&mut out, form).print([("#1-0", "a"), ("#1-1", "b\"")].into_iter()).expect("printed");
            String::from_utf8(out).expect("text")
        };
        assert_eq!(printed(Form::Bare), "#1-0\n#1-1\n");
        assert_eq!(
            printed(Form::Json),
            "{\"id\":\"#1-0\",\"publisher_id\":\"a\"}\n{\"id\":\"#1-1\",\"publisher_id\":\"b\\\"\"}\n"
        );
    }

    #[test]
    fn a_reader_that_is_gone_does_not_stop_publishing() {
        struct Gone(usize);

        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                self.0 += 1;
                assert_eq!(self.0, 1, "written to again");
                Err(ErrorKind::BrokenPipe.into())
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }

        let mut printer = IdPrinter::new(Gone(0), Form::Bare);
        for _ in 0..3 {
            printer.print([("#1-0", "a")].into_iter()).expect("not an error");
        }
    }
}
