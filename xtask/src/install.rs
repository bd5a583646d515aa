//! What the tests need beside Rust: found, and installed where that is possible without asking.

use std::path::{Path, PathBuf};

use crate::counts::Counts;
use crate::process::{Run, answer, installed};

/// A program that tests start, and the Debian package it comes in.
#[derive(Debug)]
pub(crate) struct Tool {
    /// Any of these will do.
    programs: &'static [&'static str],
    package: &'static str,
}

pub(crate) const CHROMIUM: Tool = Tool { programs: &["chromium"], package: "chromium" };
pub(crate) const CHROME_DRIVER: Tool = Tool { programs: &["chromedriver"], package: "chromium-driver" };
pub(crate) const FIREFOX: Tool = Tool { programs: &["firefox-esr", "firefox"], package: "firefox-esr" };
pub(crate) const WEBKIT_DRIVER: Tool = Tool { programs: &["WebKitWebDriver"], package: "webkit2gtk-driver" };
pub(crate) const XVFB: Tool = Tool { programs: &["Xvfb"], package: "xvfb" };
pub(crate) const NODE: Tool = Tool { programs: &["node"], package: "nodejs" };
pub(crate) const STRACE: Tool = Tool { programs: &["strace"], package: "strace" };
pub(crate) const REDIS: Tool = Tool { programs: &["redis-server"], package: "redis-server" };
pub(crate) const NGINX: Tool = Tool { programs: &["nginx"], package: "nginx" };
pub(crate) const HAPROXY: Tool = Tool { programs: &["haproxy"], package: "haproxy" };
pub(crate) const VALGRIND: Tool = Tool { programs: &["valgrind"], package: "valgrind" };
pub(crate) const PROMTOOL: Tool = Tool { programs: &["promtool"], package: "prometheus" };

const TOOLS: [&Tool; 12] = [
    &CHROMIUM,
    &CHROME_DRIVER,
    &FIREFOX,
    &WEBKIT_DRIVER,
    &XVFB,
    &NODE,
    &STRACE,
    &REDIS,
    &NGINX,
    &HAPROXY,
    &VALGRIND,
    &PROMTOOL,
];

impl Tool {
    /// Why what needs this tool cannot run, or nothing if it can.
    pub(crate) fn missing(&self) -> Option<String> {
        let found = self.programs.iter().any(|program| installed(program));
        (!found).then(|| format!("{} is not installed (Debian: {})", self.programs[0], self.package))
    }
}

/// Installs the Debian packages that are missing. Where it may not, the error says what to install.
pub(crate) fn packages(root: &Path) -> Result<(), Refused> {
    let missing: Vec<&str> = TOOLS.iter().filter(|tool| tool.missing().is_some()).map(|tool| tool.package).collect();
    if missing.is_empty() {
        println!("nothing is missing");
        return Ok(());
    }
    let by_hand = || Refused::NotAllowed(format!("install by hand: apt-get install {}", missing.join(" ")));
    if !installed("apt-get") || answer("id", &["-u"]).as_deref() != Some("0") {
        return Err(by_hand());
    }
    let apt = |arguments: &[&str]| {
        let (_, outcome) = Run::new("apt-get", arguments).variable("DEBIAN_FRONTEND", "noninteractive").run(root);
        outcome.map_err(Refused::Failed)
    };
    apt(&["update"])?;
    // With what they recommend: a browser without a font is a browser that nobody has.
    apt(&[&["install", "--yes"], missing.as_slice()].concat())?;
    match TOOLS.iter().find_map(|tool| tool.missing()) {
        Some(why) => Err(Refused::Failed(format!("after installing, still {why}"))),
        None => Ok(()),
    }
}

/// Why nothing was installed.
pub(crate) enum Refused {
    /// Only the user may do it; the text says what.
    NotAllowed(String),
    /// It was tried.
    Failed(String),
}

/// A cargo command that others keep, installed where it is absent.
pub(crate) struct CargoCommand {
    /// As in `cargo <name>`.
    name: &'static str,
    package: &'static str,
    version: &'static str,
}

/// The version that `deny.toml` was written for.
pub(crate) const CARGO_DENY: CargoCommand = CargoCommand { name: "deny", package: "cargo-deny", version: "0.20.2" };

/// What runs the fuzz targets.
pub(crate) const CARGO_FUZZ: CargoCommand = CargoCommand { name: "fuzz", package: "cargo-fuzz", version: "0.13.2" };

impl CargoCommand {
    /// Installs it, unoptimised: it runs for seconds and compiles for one minute.
    pub(crate) fn install(&self, root: &Path) -> Result<(), String> {
        if answer("cargo", &[self.name, "--version"]).is_some() {
            return Ok(());
        }
        let install = ["install", "--locked", "--debug", self.package, "--version", self.version];
        let (_, outcome): (Counts, _) = Run::new("cargo", &install).run(root);
        outcome
    }
}

/// A Python program that others keep, installed into a folder of its own beside what is built.
pub(crate) struct PythonProgram {
    package: &'static str,
    version: &'static str,
}

/// What holds the API against its OpenAPI document.
pub(crate) const SCHEMATHESIS: PythonProgram = PythonProgram { package: "schemathesis", version: "4.32.5" };

impl PythonProgram {
    /// Where it lies once it is installed.
    pub(crate) fn path(&self, root: &Path) -> PathBuf {
        self.folder(root).join("bin").join(self.package)
    }

    /// Installs it where it is absent. Where that is not possible, the error says what to install.
    pub(crate) fn install(&self, root: &Path) -> Result<(), Refused> {
        let installed = || answer(self.path(root), &["--version"]).is_some();
        if installed() {
            return Ok(());
        }
        let folder = self.folder(root).display().to_string();
        let wanted = format!("{}=={}", self.package, self.version);
        let pip = format!("{folder}/bin/pip");
        let steps = [("python3", vec!["-m", "venv", &*folder]), (&*pip, vec!["install", "--quiet", &*wanted])];
        let done = steps.iter().all(|(program, arguments)| Run::new(program, arguments).run(root).1.is_ok());
        if done && installed() {
            return Ok(());
        }
        let why = "it takes Python with venv (Debian: python3-venv), and PyPI";
        Err(Refused::NotAllowed(format!("{wanted} cannot be installed in {folder}: {why}")))
    }

    fn folder(&self, root: &Path) -> PathBuf {
        root.join("target").join("python").join(format!("{}-{}", self.package, self.version))
    }
}

/// Why the fuzz targets cannot run, or nothing if they can. Nightly is not installed from here: it is no part of a
/// release, and where it is not, nobody expects it.
pub(crate) fn fuzzing_missing() -> Option<String> {
    let nightly = answer("cargo", &["+nightly", "--version"]);
    nightly.is_none().then(|| "the nightly toolchain is not installed (rustup toolchain install nightly)".to_owned())
}

/// Why no file system can be mounted, or nothing if one can. It is tried where nobody sees it.
pub(crate) fn mounting_missing() -> Option<String> {
    let tried = answer("unshare", &["--mount", "mount", "-t", "tmpfs", "tidewire-test", "/mnt"]);
    tried.is_none().then(|| "file systems cannot be mounted here: it takes root, and the right to mount".to_owned())
}

/// Why no process can be traced, or nothing if one can.
pub(crate) fn tracing_missing() -> Option<String> {
    let tried = answer("strace", &["-e", "trace=none", "true"]);
    tried.is_none().then(|| "processes cannot be traced here: it takes the right to (CAP_SYS_PTRACE)".to_owned())
}
