//! The hub is killed at random points of a publishing run: what was acknowledged is there once and in order, arrays
//! are whole or absent, and what was refused is never shown.

use tidewire_harness::KillPoints;

const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");

#[test]
fn what_was_committed_survives_kills_at_random_points() {
    KillPoints::new("kill_points", "commit").run(BINARY);
}

/// The system keeps what was written, whatever becomes of the process.
#[test]
fn what_the_system_was_given_survives_kills_at_random_points() {
    KillPoints::new("kill_points, os", "os").run(BINARY);
}
