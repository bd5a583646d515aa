use std::io;
use std::sync::Arc;

use super::disk::Disk;
use super::manifest::{Manifest, State};
use crate::times::Times;

/// The manifest of an open log, and the only writer of it.
pub(crate) struct Ledger<D: Disk> {
    disk: Arc<D>,
    manifest: Manifest,
    times: Arc<Times>,
}

impl<D: Disk> Ledger<D> {
    pub(crate) fn new(disk: Arc<D>, manifest: Manifest, times: Arc<Times>) -> Ledger<D> {
        Ledger { disk, manifest, times }
    }

    pub(crate) fn disk(&self) -> &D {
        &self.disk
    }

    pub(crate) fn times(&self) -> &Times {
        &self.times
    }

    /// Makes the clocks durable, with a floor ahead of them, and then lets ids go up to it.
    ///
    /// # Errors
    /// When the disk fails; ids stay below the floor that is durable.
    pub(crate) fn keep_times(&mut self) -> io::Result<()> {
        let times = self.times.to_keep();
        self.update(|manifest| manifest.times = times)?;
        self.times.raise_floor(times.floor_ms);
        Ok(())
    }

    /// Notes that everything is durable and nobody writes any more.
    ///
    /// # Errors
    /// When the disk fails.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        let times = self.times.to_keep();
        self.update(|manifest| (manifest.times, manifest.state) = (times, State::Closed))
    }

    /// Changes the manifest, durably.
    ///
    /// # Errors
    /// When the disk fails; then either manifest may be there after a crash.
    pub(crate) fn update(&mut self, change: impl FnOnce(&mut Manifest)) -> io::Result<()> {
        let mut manifest = self.manifest.clone();
        change(&mut manifest);
        manifest.write(&*self.disk)?;
        self.manifest = manifest;
        Ok(())
    }
}
