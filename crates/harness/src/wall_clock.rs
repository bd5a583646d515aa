use std::process::Command;

use tempfile::TempDir;

/// The source of what is loaded into the hub.
const SOURCE: &str = include_str!("wall_clock.c");

/// Moves the wall clock of a hub, and of nothing else. The C compiler by which Rust links makes it.
#[derive(Debug)]
pub struct WallClock {
    folder: TempDir,
}

impl WallClock {
    /// The variable that says by how many seconds the clock is moved.
    pub const OFFSET: &str = "CLOCK_OFFSET_S";

    /// Makes what is loaded.
    ///
    /// # Panics
    /// If it cannot be compiled.
    #[must_use]
    pub fn new() -> WallClock {
        let clock = WallClock { folder: tempfile::tempdir().expect("a directory can be made") };
        let source = clock.folder.path().join("wall_clock.c");
        std::fs::write(&source, SOURCE).expect("a file can be written");
        let compiled =
            Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o", &clock.library()]).arg(source).status();
        assert!(compiled.is_ok_and(|status| status.success()), "the C compiler does not compile");
        clock
    }

    /// The variable by which a hub gets it, beside [`WallClock::OFFSET`].
    #[must_use]
    pub fn variable(&self) -> (&'static str, String) {
        ("LD_PRELOAD", self.library())
    }

    fn library(&self) -> String {
        self.folder.path().join("wall_clock.so").display().to_string()
    }
}

impl Default for WallClock {
    fn default() -> WallClock {
        WallClock::new()
    }
}
