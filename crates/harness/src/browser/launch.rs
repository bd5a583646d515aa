use std::ffi::OsStr;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::Driver;
use super::marionette::Marionette;
use super::webdriver::WebDriver;
use crate::clock::{instant, pause};
use crate::hub::{lines, signal};
use crate::{free_port, wait_until};

/// How long a browser may take to start, also beside a build.
const START_MAX: Duration = Duration::from_secs(120);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(20);
/// How long a process may take to end when it is asked to.
const STOP_MAX: Duration = Duration::from_secs(5);

/// Which browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Chromium, by ChromeDriver.
    Chromium,
    /// Firefox, by Marionette.
    Firefox,
    /// WebKitGTK's MiniBrowser, the engine of Safari, by WebKitWebDriver under Xvfb.
    WebKit,
}

/// A running browser with an empty profile of its own. It ends when this is dropped.
pub struct Browser {
    kind: Kind,
    // In the order in which they end: session, processes, directory.
    driver: Box<dyn Driver + Send>,
    _processes: Vec<Process>,
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser.
    ///
    /// # Panics
    /// If it is not installed, or does not start; the message says what to install.
    #[must_use]
    pub fn start(kind: Kind) -> Browser {
        let profile = tempfile::tempdir().expect("a directory can be made");
        let (driver, processes) = match kind {
            Kind::Chromium => chromium(profile.path()),
            Kind::Firefox => firefox(profile.path()),
            Kind::WebKit => webkit(profile.path()),
        };
        Browser { kind, driver, _processes: processes, _profile: profile }
    }

    /// Which one it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Goes to a URL and waits until it has loaded.
    ///
    /// # Panics
    /// If the browser cannot.
    pub fn open(&mut self, url: &str) {
        self.driver.open(url).unwrap_or_else(|error| panic!("{:?} at {url}: {error}", self.kind));
    }

    /// Runs the body of a function in the page with these `arguments`, and answers what it
    /// returns.
    ///
    /// # Panics
    /// If the script fails.
    pub fn run(&mut self, script: &str, arguments: &[Value]) -> Value {
        self.driver.run(script, arguments).unwrap_or_else(|error| panic!("{:?}: {error}", self.kind))
    }
}

impl std::fmt::Debug for Browser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Browser").field("kind", &self.kind).finish_non_exhaustive()
    }
}

type Started = (Box<dyn Driver + Send>, Vec<Process>);

fn chromium(profile: &Path) -> Started {
    let address = free_port();
    let mut command = Command::new("chromedriver");
    command.arg(format!("--port={}", address.port()));
    let process = Process::start(command, "chromium-driver", address);
    let arguments = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        &format!("--user-data-dir={}", profile.display()),
    ];
    let capabilities = json!({"browserName": "chrome", "goog:chromeOptions": {"args": arguments}});
    let driver = WebDriver::begin(address, &capabilities)
        .unwrap_or_else(|error| panic!("Chromium does not start (Debian: chromium): {error}"));
    (Box::new(driver), vec![process])
}

fn firefox(profile: &Path) -> Started {
    let address = free_port();
    // Nothing but the test goes over the network.
    let preferences = [
        ("marionette.port", address.port().to_string()),
        ("browser.shell.checkDefaultBrowser", "false".to_owned()),
        ("browser.startup.page", "0".to_owned()),
        ("datareporting.policy.dataSubmissionEnabled", "false".to_owned()),
        ("toolkit.telemetry.reportingpolicy.firstRun", "false".to_owned()),
        ("app.update.enabled", "false".to_owned()),
        ("network.captive-portal-service.enabled", "false".to_owned()),
        ("network.connectivity-service.enabled", "false".to_owned()),
    ];
    let lines: String = preferences.iter().map(|(name, value)| format!("user_pref(\"{name}\", {value});\n")).collect();
    std::fs::write(profile.join("user.js"), lines).expect("the profile can be written");
    let mut command = Command::new("firefox-esr");
    command.args(["--headless", "--marionette", "--no-remote", "--profile"]).arg(profile);
    let process = Process::start(command, "firefox-esr", address);
    let driver = Marionette::begin(address).unwrap_or_else(|error| panic!("Firefox does not start: {error}"));
    (Box::new(driver), vec![process])
}

fn webkit(profile: &Path) -> Started {
    let (screen, display) = screen();
    let address = free_port();
    let mut command = Command::new("WebKitWebDriver");
    command
        .arg(format!("--port={}", address.port()))
        .env("DISPLAY", display)
        .env("WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS", "1")
        .env("HOME", profile)
        .env("XDG_RUNTIME_DIR", profile);
    let process = Process::start(command, "webkit2gtk-driver", address);
    let options = json!({"binary": mini_browser(), "args": ["--automation"]});
    let driver = WebDriver::begin(address, &json!({"webkitgtk:browserOptions": options}))
        .unwrap_or_else(|error| panic!("WebKit does not start (Debian: webkit2gtk-driver): {error}"));
    (Box::new(driver), vec![process, screen])
}

/// MiniBrowser lies in a directory named after the machine's architecture.
fn mini_browser() -> String {
    let architectures = std::fs::read_dir("/usr/lib").expect("there is a /usr/lib").filter_map(Result::ok);
    let candidates = architectures.map(|entry| entry.path().join("webkit2gtk-4.1/MiniBrowser"));
    let found = candidates.into_iter().find(|path| path.exists());
    found.expect("MiniBrowser is not installed (Debian: webkit2gtk-driver)").display().to_string()
}

/// A screen for a browser that has no headless mode. Xvfb chooses a free display and says which.
fn screen() -> (Process, String) {
    let mut command = Command::new("Xvfb");
    command.args(["-displayfd", "1", "-screen", "0", "1024x768x24", "-nolisten", "tcp"]).stdout(Stdio::piped());
    let mut process = Process::spawn(command, "xvfb");
    let output = process.0.stdout.take().expect("it is piped");
    let number = lines(output).recv_timeout(START_MAX).expect("Xvfb says its display");
    (process, format!(":{}", number.trim()))
}

/// A process that ends when this is dropped.
struct Process(Child);

impl Process {
    /// Starts a process and waits until it listens.
    fn start(mut command: Command, package: &str, address: SocketAddr) -> Process {
        let name = command.get_program().display().to_string();
        command.stdout(Stdio::null());
        let mut process = Process::spawn(command, package);
        wait_until(&format!("{name} listens on {address}"), START_MAX, || {
            assert!(!process.has_ended(), "{name} ended by itself");
            TcpStream::connect(address).is_ok()
        });
        process
    }

    fn spawn(mut command: Command, package: &str) -> Process {
        let name = command.get_program().to_os_string();
        let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn();
        Process(child.unwrap_or_else(|error| missing(&name, package, &error)))
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().expect("a child can be asked").is_some()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Asked first, so that it removes its files and ends its children; most ended with their session.
        let began = instant();
        if !self.has_ended() {
            signal("TERM", self.0.id());
        }
        while !self.has_ended() && began.elapsed() < STOP_MAX {
            pause(LOOK);
        }
        // Nothing more can be done about a failure.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn missing(name: &OsStr, package: &str, error: &std::io::Error) -> ! {
    panic!("{} cannot be run ({error}): install the Debian package {package}", name.display())
}
