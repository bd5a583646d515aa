//! What is printed for what arrives, and the thread that prints it.

use std::io::{IsTerminal, Write};
use std::thread;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

/// How many lines may wait for a slow reader of standard output; then the stream is left to wait
/// in the hub's log.
const LINES_WAITING_MAX: usize = 256;

/// A line of `--json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line<'a> {
    /// An event.
    Event {
        id: &'a str,
        #[serde(rename = "type")]
        event_type: &'a str,
        data: &'a str,
    },
    /// Events that may have matched are gone.
    Gap { requested: &'a str, resumed_from: &'a str, reason: &'a str },
    /// An event was too large for this command, and is missing.
    LeftOut { reason: String },
    /// The stream is there, or there again; the id is empty where it began anew.
    Connected { resumed_from: &'a str },
    /// The stream ended, and is asked for again.
    Disconnected { reason: String, retry_in_ms: u128 },
}

impl Line<'_> {
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers are always JSON") + "\n"
    }
}

/// Where text goes: a terminal is not to be steered by what others publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sink {
    Terminal,
    Pipe,
}

impl Sink {
    pub(super) fn of_stdout() -> Sink {
        if std::io::stdout().is_terminal() { Sink::Terminal } else { Sink::Pipe }
    }

    /// An event's data and an end of line.
    pub(super) fn text(self, data: &str) -> String {
        let mut text = String::with_capacity(data.len() + 1);
        match self {
            Sink::Pipe => text.push_str(data),
            Sink::Terminal => {
                for c in data.chars() {
                    if c.is_control() && c != '\n' && c != '\t' {
                        text.extend(c.escape_default());
                    } else {
                        text.push(c);
                    }
                }
            }
        }
        text.push('\n');
        text
    }
}

/// Standard output, written by a thread of its own: a reader who does not read must not keep a
/// signal from ending the command.
pub(super) struct Output {
    lines: mpsc::Sender<String>,
    done: oneshot::Receiver<std::io::Result<()>>,
}

impl Output {
    pub(super) fn stdout() -> Output {
        Output::to(std::io::stdout())
    }

    fn to(mut out: impl Write + Send + 'static) -> Output {
        let (lines, mut waiting) = mpsc::channel::<String>(LINES_WAITING_MAX);
        let (tell, done) = oneshot::channel();
        thread::spawn(move || {
            let mut write = || -> std::io::Result<()> {
                while let Some(line) = waiting.blocking_recv() {
                    out.write_all(line.as_bytes())?;
                    out.flush()?;
                }
                Ok(())
            };
            let result = write();
            drop(waiting);
            // Nobody waits for it where the command ends by a signal.
            let _ = tell.send(result);
        });
        Output { lines, done }
    }

    /// Hands a line to the printing thread; false once nothing can be written any more.
    pub(super) async fn print(&self, line: String) -> bool {
        self.lines.send(line).await.is_ok()
    }

    /// Waits until nothing can be written any more.
    pub(super) async fn closed(&self) {
        self.lines.closed().await;
    }

    /// Waits until everything is printed. A pipe that was closed by its reader is no error.
    pub(super) async fn finish(self) -> std::io::Result<()> {
        drop(self.lines);
        match self.done.await {
            Ok(Err(error)) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no test panics with it").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    struct Failing(std::io::ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
    }

    #[test]
    fn lines_of_json_name_what_they_are() {
        let event = Line::Event { id: "#1-0", event_type: "message", data: "a\n\"b\"" };
        assert_eq!(event.to_json(), "{\"event\":{\"id\":\"#1-0\",\"type\":\"message\",\"data\":\"a\\n\\\"b\\\"\"}}\n");
        let gap = Line::Gap { requested: "#1-0", resumed_from: "#2-0", reason: "expired" };
        assert_eq!(
            gap.to_json(),
            "{\"gap\":{\"requested\":\"#1-0\",\"resumed_from\":\"#2-0\",\"reason\":\"expired\"}}\n"
        );
        let cut = Line::Disconnected { reason: "cut".to_owned(), retry_in_ms: 5 };
        assert_eq!(cut.to_json(), "{\"disconnected\":{\"reason\":\"cut\",\"retry_in_ms\":5}}\n");
    }

    #[test]
    fn a_terminal_is_not_steered_and_a_pipe_gets_the_data() {
        let data = "\u{1B}[2Jred\r\n\ttab é";
        assert_eq!(Sink::Pipe.text(data), format!("{data}\n"));
        assert_eq!(Sink::Terminal.text(data), "\\u{1b}[2Jred\\r\n\ttab é\n");
    }

    #[test]
    fn what_was_handed_over_is_printed_before_the_end() {
        let shared = Shared::default();
        block_on(async {
            let output = Output::to(shared.clone());
            for n in 0..LINES_WAITING_MAX * 2 {
                assert!(output.print(format!("{n}\n")).await);
            }
            output.finish().await.expect("printed");
        });
        let printed = String::from_utf8(shared.0.lock().expect("no test panics with it").clone()).expect("text");
        assert!(printed.lines().map(str::to_owned).eq((0..LINES_WAITING_MAX * 2).map(|n| n.to_string())));
    }

    #[test]
    fn a_closed_pipe_ends_printing_without_an_error_and_another_failure_is_one() {
        for (kind, fails) in [(std::io::ErrorKind::BrokenPipe, false), (std::io::ErrorKind::StorageFull, true)] {
            block_on(async {
                let output = Output::to(Failing(kind));
                while output.print("x\n".to_owned()).await {}
                assert_eq!(output.finish().await.is_err(), fails, "{kind:?}");
            });
        }
    }
}
