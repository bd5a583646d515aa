use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use super::Driver;

/// How long the browser may take for one command.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// The longest message taken from the browser.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Marionette, the protocol of Firefox itself: JSON with its length before it, over TCP.
#[derive(Debug)]
pub(crate) struct Marionette {
    stream: TcpStream,
    last: u64,
}

impl Marionette {
    /// Connects and begins a session.
    pub(crate) fn begin(address: SocketAddr) -> Result<Marionette, String> {
        let stream = TcpStream::connect(address).map_err(|error| format!("Marionette: {error}"))?;
        stream.set_read_timeout(Some(ANSWER_MAX)).map_err(|error| format!("Marionette: {error}"))?;
        let mut marionette = Marionette { stream, last: 0 };
        // It greets first.
        marionette.receive()?;
        marionette.call("WebDriver:NewSession", &json!({}))?;
        Ok(marionette)
    }

    fn call(&mut self, command: &str, parameters: &Value) -> Result<Value, String> {
        self.last += 1;
        let message = json!([0, self.last, command, parameters]).to_string();
        let written = write!(self.stream, "{}:{message}", message.len());
        written.map_err(|error| format!("{command}: {error}"))?;
        loop {
            let mut answer = self.receive().map_err(|error| format!("{command}: {error}"))?;
            if answer[1] != json!(self.last) {
                continue;
            }
            if !answer[2].is_null() {
                return Err(format!("{command}: {}", answer[2]));
            }
            return Ok(answer[3].take());
        }
    }

    fn receive(&mut self) -> Result<Value, String> {
        let mut receive = || -> io::Result<Vec<u8>> {
            let mut length = 0_usize;
            loop {
                let mut byte = [0];
                self.stream.read_exact(&mut byte)?;
                match byte[0] {
                    b':' => break,
                    digit @ b'0'..=b'9' if length < MESSAGE_BYTES_MAX => {
                        length = length * 10 + usize::from(digit - b'0');
                    }
                    other => return Err(io::Error::other(format!("byte {other} in a length"))),
                }
            }
            let mut message = vec![0; length];
            self.stream.read_exact(&mut message)?;
            Ok(message)
        };
        let message = receive().map_err(|error| error.to_string())?;
        serde_json::from_slice(&message).map_err(|error| error.to_string())
    }
}

impl Driver for Marionette {
    fn open(&mut self, url: &str) -> Result<(), String> {
        self.call("WebDriver:Navigate", &json!({"url": url})).map(drop)
    }

    fn run(&mut self, script: &str, arguments: &[Value]) -> Result<Value, String> {
        // Without a sandbox the script shares the page's globals, and sees them again next time.
        let parameters = json!({"script": script, "args": arguments, "sandbox": null, "newSandbox": false});
        let mut answer = self.call("WebDriver:ExecuteScript", &parameters)?;
        Ok(answer["value"].take())
    }
}

impl Drop for Marionette {
    fn drop(&mut self) {
        // The process is ended next, if this failed.
        let _ = self.call("Marionette:Quit", &json!({"flags": ["eForceQuit"]}));
    }
}
