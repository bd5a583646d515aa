use std::io;
use std::sync::Arc;

use super::disk::{Disk, lacks_room};
use super::manifest::{Manifest, State};
use super::reserve;
use crate::HubId;
use crate::times::Times;

/// The manifest of an open log, and the only writer of it.
pub(crate) struct Ledger<D: Disk> {
    disk: Arc<D>,
    manifest: Manifest,
    times: Arc<Times>,
    /// Whether it is known that there is a reserve, with room for one manifest.
    has_reserve: bool,
}

impl<D: Disk> Ledger<D> {
    pub(crate) fn new(disk: Arc<D>, manifest: Manifest, times: Arc<Times>) -> Ledger<D> {
        Ledger { disk, manifest, times, has_reserve: false }
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

    /// Sees to it that the low-water mark can be moved where there is no room.
    ///
    /// # Errors
    /// When the disk fails or is full; it can be tried again.
    pub(crate) fn keep_reserve(&mut self) -> io::Result<()> {
        if !self.has_reserve {
            reserve::make(&*self.disk)?;
            self.has_reserve = true;
        }
        Ok(())
    }

    /// The same, with a file that is to be removed: that needs no room. Nothing if there is no such file.
    pub(crate) fn keep_reserve_of(&mut self, name: &str) {
        self.has_reserve = self.has_reserve || reserve::make_of(&*self.disk, name).is_ok();
    }

    /// Moves the low-water mark, durably, also where there is no room.
    ///
    /// # Errors
    /// When the disk fails; then either mark may be there after a crash.
    pub(crate) fn move_low_water(&mut self, low_water: HubId) -> io::Result<()> {
        let no_room = match self.update(|manifest| manifest.low_water = low_water) {
            Err(error) if lacks_room(&error) => error,
            updated => return updated,
        };
        let manifest = Manifest { low_water, ..self.manifest.clone() };
        self.has_reserve = false;
        reserve::spend(&*self.disk, &manifest).map_err(|_| no_room)?;
        self.manifest = manifest;
        Ok(())
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
