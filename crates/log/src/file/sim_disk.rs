use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, DiskFile, DiskLock, Holder};
use super::sim_faults::{Fault, Faults, Meanwhile, Random};

/// What survives together when a write is torn by a power cut, in bytes.
const SECTOR: usize = 512;

/// A disk in memory, for tests: it fills up, its syncs fail, and it loses what was not synced.
///
/// A clone is the same disk. Everything that happens to it follows from what was called and from
/// the seeds that were given.
#[derive(Clone, Debug, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    /// Which start of the machine this handle belongs to; older ones only get errors.
    start: u64,
}

/// What happens to what was not synced when the log's process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// The process is killed: the system still writes everything.
    Kill,
    /// The power is cut: every unsynced write survives wholly, in part (cut at any byte, or with
    /// sectors missing) or not at all, and so do unsynced names, as this seed decides.
    PowerCut(u64),
}

/// A file of a [`SimDisk`].
#[derive(Debug)]
pub struct SimFile {
    disk: SimDisk,
    inode: usize,
    /// How many of the file's failures this handle was told of, or came after.
    told: AtomicU64,
}

/// The lock of a [`SimDisk`].
#[derive(Debug)]
pub struct SimLock(SimDisk);

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    start: u64,
    is_locked: bool,
    /// What the lock's holder has noted.
    note: Vec<u8>,
    /// How many looks at it will see it half written.
    torn_notes: u32,
    /// Writes, syncs and changes of names since the last start.
    operations: u64,
    stop_at: Option<u64>,
    faults: Faults,
    space: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    current: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
    /// Syncs that have failed. Each handle is told of it once.
    failures: u64,
    /// Where nothing can be read until it is written anew.
    bad: Vec<Range<usize>>,
}

#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
}

impl SimDisk {
    /// Starts the machine anew after an outage. Handles from before get errors.
    #[must_use]
    pub fn restart(&self, outage: Outage) -> SimDisk {
        let mut state = self.locked_state();
        if let Outage::PowerCut(seed) = outage {
            state.cut_power(&mut Random(seed));
        }
        state.start += 1;
        state.is_locked = false;
        state.operations = 0;
        state.stop_at = None;
        state.faults = Faults::default();
        SimDisk { state: Arc::clone(&self.state), start: state.start }
    }

    /// The writes, syncs and changes of names since the machine was started.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.locked_state().operations
    }

    /// Stops the machine during the operation of this number, counted from the start: a write then
    /// is cut short, and everything after it fails.
    pub fn stop_at(&self, operation: u64) {
        self.locked_state().stop_at = Some(operation);
    }

    /// Lets the sync after `others` others fail, of a file or of names. What a file's sync should
    /// have made durable survives wholly, in part or not at all, and no later sync changes that.
    pub fn fail_sync_after(&self, others: u64) {
        self.fail_syncs(others, 1);
    }

    /// Lets so many syncs fail after `others` others.
    pub fn fail_syncs(&self, others: u64, count: u64) {
        self.locked_state().faults.syncs = Fault::after(others, count);
    }

    /// Lets so many writes fail after `others` others, half-way.
    pub fn fail_writes(&self, others: u64, count: u64) {
        self.locked_state().faults.writes = Fault::after(others, count);
    }

    /// Lets so many removals of names fail after `others` others.
    pub fn fail_unlinks(&self, others: u64, count: u64) {
        self.locked_state().faults.unlinks = Fault::after(others, count);
    }

    /// Lets everything fail that would change something, as on a file system that is mounted for reading only.
    pub fn set_read_only(&self, is_read_only: bool) {
        self.locked_state().faults.is_read_only = is_read_only;
    }

    /// Does something between the next call of a write and the write itself, as another thread may.
    pub fn before_next_write(&self, meanwhile: impl FnOnce() + Send + 'static) {
        self.locked_state().faults.meanwhile = Meanwhile(Some(Box::new(meanwhile)));
    }

    /// How many bytes all files may take together; without limit at first.
    pub fn set_space(&self, bytes: Option<u64>) {
        self.locked_state().space = bytes;
    }

    /// The bytes of a file, as a process sees them.
    ///
    /// # Errors
    /// When it is not there.
    pub fn contents(&self, name: &str) -> io::Result<Vec<u8>> {
        Ok(self.locked_state().inode(name)?.current.clone())
    }

    /// The names in the folder.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.locked_state().names.keys().cloned().collect()
    }

    /// Takes a file away, as if it had never been there.
    pub fn take(&self, name: &str) {
        let mut state = self.locked_state();
        state.names.remove(name);
        state.durable_names.remove(name);
    }

    /// Has the next so many looks at what the lock's holder has noted see it half written.
    pub fn tear_notes(&self, looks: u32) {
        self.locked_state().torn_notes = looks;
    }

    /// Puts a file with these bytes on the disk, as if it had always been there.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.locked_state();
        let inode = state.inodes.len();
        state.inodes.push(Inode { current: bytes.clone(), durable: bytes, ..Inode::default() });
        state.names.insert(name.to_owned(), inode);
        state.durable_names.insert(name.to_owned(), inode);
    }

    /// Puts other bytes into a file that is there, as a failing disk does: who has it open sees them.
    pub fn damage(&self, name: &str, at: usize, bytes: &[u8]) {
        let change = Change::Write { at, bytes: bytes.to_vec() };
        if let Ok(inode) = self.locked_state().inode(name) {
            change.apply(&mut inode.current);
            change.apply(&mut inode.durable);
        }
    }

    /// Lets reads of a part of a file that is there fail with `EIO`, until it is written anew.
    pub fn spoil(&self, name: &str, part: Range<usize>) {
        if let Ok(inode) = self.locked_state().inode(name) {
            inode.bad.push(part);
        }
    }

    fn locked_state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, if this handle's machine still runs.
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.locked_state();
        if state.start != self.start || state.has_stopped() { Err(stopped()) } else { Ok(state) }
    }
}

fn stopped() -> io::Error {
    io::Error::other("the machine has stopped")
}

impl State {
    fn inode(&mut self, name: &str) -> io::Result<&mut Inode> {
        let inode = *self.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(&mut self.inodes[inode])
    }

    fn has_stopped(&self) -> bool {
        self.stop_at.is_some_and(|stop_at| self.operations >= stop_at)
    }

    /// Counts an operation. The one that is cut short still has its effect on what is unsynced.
    fn count(&mut self) -> io::Result<()> {
        self.operations += 1;
        if self.has_stopped() { Err(stopped()) } else { Ok(()) }
    }

    fn used(&self) -> u64 {
        let linked: BTreeSet<usize> = self.names.values().copied().collect();
        linked.into_iter().map(|inode| self.inodes[inode].current.len() as u64).sum()
    }

    fn cut_power(&mut self, random: &mut Random) {
        for inode in &mut self.inodes {
            for change in inode.unsynced.drain(..) {
                survive(&mut inode.durable, change, random);
            }
            inode.current.clone_from(&inode.durable);
        }
        let names: BTreeSet<String> = self.names.keys().chain(self.durable_names.keys()).cloned().collect();
        for name in names {
            if random.below(2) == 0 {
                match self.names.get(&name) {
                    Some(&inode) => self.durable_names.insert(name, inode),
                    None => self.durable_names.remove(&name),
                };
            }
        }
        self.names.clone_from(&self.durable_names);
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Change::Write { at, bytes: written } => {
                let end = at + written.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*at..end].copy_from_slice(written);
            }
            Change::Length(length) => bytes.resize(*length, 0),
        }
    }
}

/// What a power cut leaves of an unsynced change.
fn survive(durable: &mut Vec<u8>, change: Change, random: &mut Random) {
    let (at, mut bytes) = match change {
        Change::Write { at, bytes } => (at, bytes),
        Change::Length(_) => {
            if random.below(2) == 0 {
                change.apply(durable);
            }
            return;
        }
    };
    match random.below(4) {
        0 => {}
        1 => Change::Write { at, bytes }.apply(durable),
        2 => {
            bytes.truncate(random.below(bytes.len() + 1));
            Change::Write { at, bytes }.apply(durable);
        }
        _ => {
            // Sectors begin where the file begins.
            let mut from = 0;
            while from < bytes.len() {
                let to = (from + SECTOR - (at + from) % SECTOR).min(bytes.len());
                if random.below(2) == 0 {
                    Change::Write { at: at + from, bytes: bytes[from..to].to_vec() }.apply(durable);
                }
                from = to;
            }
        }
    }
}

impl Disk for SimDisk {
    type File = SimFile;
    type Lock = SimLock;

    fn lock(&self) -> io::Result<Option<SimLock>> {
        let mut state = self.state()?;
        if state.is_locked {
            return Ok(None);
        }
        state.is_locked = true;
        state.note = Vec::new();
        Ok(Some(SimLock(self.clone())))
    }

    fn holder(&self) -> io::Result<Holder> {
        let mut state = self.state()?;
        if !state.is_locked {
            return Ok(Holder::Nobody);
        }
        let mut note = state.note.clone();
        if state.torn_notes > 0 {
            state.torn_notes -= 1;
            note.iter_mut().skip(1).step_by(2).for_each(|byte| *byte ^= 0xff);
        }
        Ok(Holder::Process(note))
    }

    fn open_to_read(&self, name: &str) -> io::Result<SimFile> {
        self.open(name)
    }

    fn open(&self, name: &str) -> io::Result<SimFile> {
        let state = self.state()?;
        let inode = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        let told = AtomicU64::new(state.inodes[inode].failures);
        Ok(SimFile { disk: self.clone(), inode, told })
    }

    fn create(&self, name: &str) -> io::Result<SimFile> {
        let mut state = self.state()?;
        state.faults.check_writable()?;
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.names.insert(name.to_owned(), inode);
        state.count()?;
        Ok(SimFile { disk: self.clone(), inode, told: AtomicU64::new(0) })
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state()?.names.keys().cloned().collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state()?;
        state.faults.check_writable()?;
        let inode = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), inode);
        state.count()
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        let mut state = self.state()?;
        state.faults.check_writable()?;
        state.faults.unlinks.meet()?;
        state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        state.count()
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.state()?;
        state.count()?;
        state.faults.syncs.meet()?;
        state.durable_names = state.names.clone();
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        let state = self.disk.state()?;
        let at = usize::try_from(at).map_err(io::Error::other)?;
        let end = at + buffer.len();
        if state.inodes[self.inode].bad.iter().any(|bad| bad.start < end && at < bad.end) {
            return Err(io::Error::from_raw_os_error(5));
        }
        let bytes = state.inodes[self.inode].current.get(at..at + buffer.len());
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let meanwhile = self.disk.locked_state().faults.meanwhile.0.take();
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
        let mut state = self.disk.state()?;
        state.faults.check_writable()?;
        let at = usize::try_from(at).map_err(io::Error::other)?;
        let length = state.inodes[self.inode].current.len();
        let more = (at + bytes.len()).saturating_sub(length) as u64;
        let is_full = more > 0 && state.space.is_some_and(|space| state.used() + more > space);
        let counted = state.count().and_then(|()| state.faults.writes.meet());
        // A write that fails has got somewhere.
        let written = if is_full || counted.is_err() { bytes.len() / 2 } else { bytes.len() };
        let change = Change::Write { at, bytes: bytes[..written].to_vec() };
        let inode = &mut state.inodes[self.inode];
        let mend = |bad: Range<usize>| [bad.start..bad.end.min(at), bad.start.max(at + written)..bad.end];
        inode.bad = inode.bad.drain(..).flat_map(mend).filter(|bad| bad.start < bad.end).collect();
        change.apply(&mut inode.current);
        inode.unsynced.push(change);
        counted?;
        if is_full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state()?;
        state.count()?;
        let met = state.faults.syncs.meet();
        let mut random = Random(state.operations);
        let inode = &mut state.inodes[self.inode];
        if met.is_err() {
            // Processes go on seeing what they wrote; the system takes it for written.
            for change in inode.unsynced.drain(..) {
                survive(&mut inode.durable, change, &mut random);
            }
            inode.failures += 1;
            self.told.store(inode.failures, Ordering::Relaxed);
            return met;
        }
        let is_told = self.told.swap(inode.failures, Ordering::Relaxed) == inode.failures;
        for change in inode.unsynced.drain(..) {
            change.apply(&mut inode.durable);
        }
        // Another handle's sync has failed meanwhile, with what was written by this one.
        if is_told { Ok(()) } else { Err(io::Error::other("input/output error")) }
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.state()?.inodes[self.inode].current.len() as u64)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state()?;
        let change = Change::Length(usize::try_from(length).map_err(io::Error::other)?);
        let inode = &mut state.inodes[self.inode];
        change.apply(&mut inode.current);
        inode.unsynced.push(change);
        state.count()
    }
}

impl DiskLock for SimLock {
    fn note(&self, bytes: &[u8]) -> io::Result<()> {
        bytes.clone_into(&mut self.0.state()?.note);
        Ok(())
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.0.locked_state();
        if state.start == self.0.start {
            state.is_locked = false;
        }
    }
}

#[cfg(test)]
mod tests;
