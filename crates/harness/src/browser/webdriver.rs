use std::net::SocketAddr;

use serde_json::{Value, json};

use super::Driver;
use crate::Http;

/// The W3C WebDriver protocol, spoken by ChromeDriver and WebKitWebDriver.
#[derive(Debug)]
pub(crate) struct WebDriver {
    address: SocketAddr,
    session: String,
}

impl WebDriver {
    /// Begins a session, which starts the browser.
    pub(crate) fn begin(address: SocketAddr, capabilities: &Value) -> Result<WebDriver, String> {
        let body = json!({"capabilities": {"alwaysMatch": capabilities}});
        let answer = call(address, "POST", "/session", &body)?;
        let session = answer["sessionId"].as_str().ok_or_else(|| format!("no session in {answer}"))?.to_owned();
        let driver = WebDriver { address, session };
        let minute_ms = 60_000;
        driver.post("timeouts", &json!({"script": minute_ms, "pageLoad": minute_ms}))?;
        Ok(driver)
    }

    fn post(&self, command: &str, body: &Value) -> Result<Value, String> {
        call(self.address, "POST", &format!("/session/{}/{command}", self.session), body)
    }
}

impl Driver for WebDriver {
    fn open(&mut self, url: &str) -> Result<(), String> {
        self.post("url", &json!({"url": url})).map(drop)
    }

    fn run(&mut self, script: &str, arguments: &[Value]) -> Result<Value, String> {
        self.post("execute/sync", &json!({"script": script, "args": arguments}))
    }
}

impl Drop for WebDriver {
    fn drop(&mut self) {
        // The driver's process is ended next, and takes the browser with it if this failed.
        let _ = call(self.address, "DELETE", &format!("/session/{}", self.session), &Value::Null);
    }
}

/// A connection for each command: the drivers close theirs as they like.
fn call(address: SocketAddr, method: &str, path: &str, body: &Value) -> Result<Value, String> {
    let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let headers = [("content-type", "application/json; charset=utf-8"), ("connection", "close")];
    let response = Http::connect(address)
        .and_then(|mut http| http.request(method, path, &headers, &bytes))
        .map_err(|error| format!("{method} {path}: {error}"))?;
    let mut answer: Value =
        serde_json::from_slice(&response.body).map_err(|error| format!("{method} {path}: {error}"))?;
    let value = answer["value"].take();
    if response.status == 200 { Ok(value) } else { Err(format!("{method} {path}: {} {value}", response.status)) }
}
