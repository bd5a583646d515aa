use std::io;
use std::sync::Arc;

use super::disk::{Disk, lacks_room};
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

    /// Begins with this manifest, as [`Ledger::keep_times`] does. Where the disk has no room for it, and the manifest
    /// that is `durable` says nothing that will not be so, the log goes on with that one, and with its floor. Returns
    /// whether the clocks were kept.
    ///
    /// # Errors
    /// When the disk fails otherwise, or the log may not go on.
    pub(crate) fn begin(&mut self, durable: &Manifest) -> io::Result<bool> {
        match self.keep_times() {
            Err(error) if lacks_room(&error) && self.manifest.may_go_on_as(durable) => Ok(false),
            kept => kept.map(|()| true),
        }
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
