//! A file system in memory that fails, stops and loses data on demand.
//!
//! It keeps what has been written apart from what a disk would hold: every change is remembered in
//! order until a sync makes it durable. [`FaultFs::crash`] then builds a disk on which the durable
//! changes and a choice of the others are found, in the worst ways that the contracts of [`Fs`] and
//! [`File`] allow. Nothing here depends on time or chance: the same calls and the same seed give the
//! same disk.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{DirEntry, File, Fs, Metadata, OpenMode};

/// Unit in which a disk keeps or loses a write; a part of it may still be torn.
const SECTOR_BYTES: u64 = 512;

const ROOT: NodeId = 0;

type NodeId = u64;

/// What happens at a chosen operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The machine stops: this operation may have happened in part, it and all later ones fail.
    Stop,
    /// The operation fails with an input/output error and changes nothing durable. A failed
    /// [`File::sync_data`] drops what it was to sync: the bytes stay readable, but no later sync
    /// makes them durable.
    Io,
    /// As [`Fault::Io`], but what a failed [`File::sync_data`] drops is gone for readers too, as if
    /// the pages had been read again from the disk.
    Lost,
    /// The operation fails for lack of space; half of a write has happened.
    NoSpace,
}

/// What a disk holds after a crash of the changes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Survival {
    /// None of them.
    Nothing,
    /// All of them.
    Everything,
    /// Those before a moment chosen by the seed, the last one cut at a byte.
    Prefix(u64),
    /// Those after a moment chosen by the seed: writes that overtook others.
    Suffix(u64),
    /// Any, decided sector by sector and name by name; some sectors are torn.
    Scattered(u64),
}

/// A file system in memory with faults; clones are handles of the same one.
///
/// Operations that change something are counted, from zero; reads are counted apart.
#[derive(Clone, Debug, Default)]
pub struct FaultFs {
    disk: Arc<Mutex<Disk>>,
}

impl FaultFs {
    /// Makes an empty file system without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of changing operations so far, failed ones included.
    pub fn operations(&self) -> u64 {
        self.disk.lock().operations
    }

    /// Number of reads of file data so far, failed ones included.
    pub fn reads(&self) -> u64 {
        self.disk.lock().reads
    }

    /// Has the changing operation with this number fail.
    pub fn inject(&self, operation: u64, fault: Fault) {
        self.disk.lock().faults.insert(operation, fault);
    }

    /// Has the read with this number fail with an input/output error.
    pub fn fail_read(&self, read: u64) {
        self.disk.lock().failed_reads.insert(read, ());
    }

    /// Has the disk be full from now on, or no longer: what needs space fails, the rest goes on.
    pub fn set_full(&self, is_full: bool) {
        self.disk.lock().is_full = is_full;
    }

    /// Forgets the faults that were not met yet.
    pub fn clear_faults(&self) {
        let mut disk = self.disk.lock();
        disk.faults.clear();
        disk.failed_reads.clear();
        disk.is_full = false;
    }

    /// Tells whether a [`Fault::Stop`] was reached.
    pub fn is_stopped(&self) -> bool {
        self.disk.lock().is_stopped
    }

    /// Cuts the power: makes the file system that is found afterwards. This one is stopped.
    #[must_use]
    pub fn crash(&self, survival: Survival) -> Self {
        let mut disk = self.disk.lock();
        disk.is_stopped = true;
        let disk = Disk {
            nodes: disk.survivors(Chooser::new(survival, disk.operations)),
            ..Disk::default()
        };
        Self { disk: Arc::new(Mutex::new(disk)) }
    }
}

#[derive(Debug)]
struct Disk {
    nodes: BTreeMap<NodeId, Node>,
    /// Changes of names, in order.
    names: Vec<NameChange>,
    operations: u64,
    reads: u64,
    faults: BTreeMap<u64, Fault>,
    failed_reads: BTreeMap<u64, ()>,
    is_stopped: bool,
    is_full: bool,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            nodes: BTreeMap::from([(ROOT, Node::default_dir())]),
            names: Vec::new(),
            operations: 0,
            reads: 0,
            faults: BTreeMap::new(),
            failed_reads: BTreeMap::new(),
            is_stopped: false,
            is_full: false,
        }
    }
}

#[derive(Clone, Debug)]
enum Node {
    Dir { names: BTreeMap<String, NodeId>, durable: BTreeMap<String, NodeId> },
    File { bytes: Vec<u8>, durable: Vec<u8>, changes: Vec<Change> },
}

impl Node {
    fn default_dir() -> Self {
        Self::Dir { names: BTreeMap::new(), durable: BTreeMap::new() }
    }
}

/// A change of a file that is not yet part of its durable bytes.
#[derive(Clone, Debug)]
struct Change {
    operation: u64,
    sync: Sync,
    kind: ChangeKind,
}

#[derive(Clone, Debug)]
enum ChangeKind {
    Write { offset: u64, bytes: Vec<u8> },
    SetLen(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sync {
    /// The next sync makes it durable.
    Dirty,
    /// A sync failed over it, and none will make it durable.
    Dropped,
    Durable,
}

/// A change of names: a link, an unlink, or both for a rename.
#[derive(Clone, Debug)]
struct NameChange {
    operation: u64,
    link: Option<(NodeId, String, NodeId)>,
    is_link_durable: bool,
    unlink: Option<(NodeId, String)>,
    is_unlink_durable: bool,
}

impl Disk {
    /// Counts a changing operation and tells which fault it meets.
    fn begin(&mut self) -> io::Result<Option<Fault>> {
        if self.is_stopped {
            return Err(stopped());
        }
        let fault = self.faults.remove(&self.operations);
        self.operations += 1;
        self.is_stopped = fault == Some(Fault::Stop);
        Ok(fault)
    }

    /// Counts an operation that needs space, and tells which fault it meets.
    fn begin_growth(&mut self) -> io::Result<Option<Fault>> {
        let fault = self.begin()?;
        Ok(fault.or(self.is_full.then_some(Fault::NoSpace)))
    }

    /// Counts an operation on names, which a fault has fail: after a stop it may still be found.
    fn begin_names(&mut self) -> io::Result<Option<Fault>> {
        let fault = self.begin()?;
        happens(fault)
    }

    /// The same of an operation that makes a name.
    fn begin_new_name(&mut self) -> io::Result<Option<Fault>> {
        let fault = self.begin_growth()?;
        happens(fault)
    }

    fn find(&self, path: &Path) -> io::Result<NodeId> {
        let mut node = ROOT;
        for component in path.components() {
            if let Component::Normal(name) = component {
                let name = name.to_str().ok_or(io::ErrorKind::InvalidInput)?;
                node = *self.dir(node)?.get(name).ok_or(io::ErrorKind::NotFound)?;
            }
        }
        Ok(node)
    }

    /// Directory and name of a path that need not exist.
    fn find_parent(&self, path: &Path) -> io::Result<(NodeId, String)> {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        let dir = self.find(path.parent().unwrap_or(Path::new("")))?;
        self.dir(dir)?;
        Ok((dir, name))
    }

    fn dir(&self, node: NodeId) -> io::Result<&BTreeMap<String, NodeId>> {
        match &self.nodes[&node] {
            Node::Dir { names, .. } => Ok(names),
            Node::File { .. } => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn dir_mut(&mut self, node: NodeId) -> &mut BTreeMap<String, NodeId> {
        match self.nodes.get_mut(&node) {
            Some(Node::Dir { names, .. }) => names,
            _ => panic!("node {node} is a directory"),
        }
    }

    fn add(&mut self, node: Node) -> NodeId {
        let id = self.nodes.last_key_value().map_or(ROOT, |(id, _)| id + 1);
        self.nodes.insert(id, node);
        id
    }

    fn change_names(
        &mut self,
        link: Option<(NodeId, String, NodeId)>,
        unlink: Option<(NodeId, String)>,
    ) {
        if let Some((dir, name)) = &unlink {
            self.dir_mut(*dir).remove(name);
        }
        if let Some((dir, name, node)) = &link {
            self.dir_mut(*dir).insert(name.clone(), *node);
        }
        let operation = self.operations;
        let change = NameChange {
            operation,
            link,
            is_link_durable: false,
            unlink,
            is_unlink_durable: false,
        };
        self.names.push(change);
    }

    /// The nodes found after a crash.
    fn survivors(&self, mut chooser: Chooser) -> BTreeMap<NodeId, Node> {
        let mut nodes = BTreeMap::new();
        for (&id, node) in &self.nodes {
            let node = match node {
                Node::Dir { durable, .. } => {
                    Node::Dir { names: durable.clone(), durable: BTreeMap::new() }
                }
                Node::File { durable, changes, .. } => {
                    let mut bytes = durable.clone();
                    for change in changes {
                        chooser.apply(change, &mut bytes);
                    }
                    Node::File { durable: bytes.clone(), bytes, changes: Vec::new() }
                }
            };
            nodes.insert(id, node);
        }
        for change in &self.names {
            apply_names(change, &mut chooser, &mut nodes);
        }
        let mut reached = BTreeMap::new();
        let mut pending = vec![ROOT];
        while let Some(id) = pending.pop() {
            let Some(mut node) = nodes.remove(&id) else { continue };
            if let Node::Dir { names, durable } = &mut node {
                pending.extend(names.values());
                durable.clone_from(names);
            }
            reached.insert(id, node);
        }
        reached
    }
}

/// Applies a change of names to a disk after a crash, if it is durable or chosen.
fn apply_names(change: &NameChange, chooser: &mut Chooser, nodes: &mut BTreeMap<NodeId, Node>) {
    let is_kept = chooser.keeps(change.operation);
    let is_linked = change.is_link_durable || is_kept;
    let is_within_dir = match (&change.link, &change.unlink) {
        (Some((to, ..)), Some((from, _))) => to == from,
        _ => false,
    };
    // A rename must not lose the file: its old name goes only if the new one is there.
    let is_unlinked = if is_within_dir {
        is_linked
    } else {
        (change.link.is_none() || is_linked) && (change.is_unlink_durable || is_kept)
    };
    if is_unlinked
        && let Some((dir, name)) = &change.unlink
        && let Some(Node::Dir { names, .. }) = nodes.get_mut(dir)
    {
        names.remove(name);
    }
    if is_linked
        && let Some((dir, name, node)) = &change.link
        && let Some(Node::Dir { names, .. }) = nodes.get_mut(dir)
    {
        names.insert(name.clone(), *node);
    }
}

/// Decides which changes a crash keeps.
struct Chooser {
    survival: Survival,
    state: u64,
    /// For [`Survival::Prefix`] and [`Survival::Suffix`]: the moment.
    moment: u64,
}

impl Chooser {
    fn new(survival: Survival, operations: u64) -> Self {
        let state = match survival {
            Survival::Nothing | Survival::Everything => 0,
            Survival::Prefix(seed) | Survival::Suffix(seed) | Survival::Scattered(seed) => seed,
        };
        let mut chooser = Self { survival, state, moment: 0 };
        // Recent operations are the ones that are not durable, so most moments are among them.
        let span = if chooser.below(4) == 0 { operations } else { operations.min(4) };
        chooser.moment = operations - chooser.below(span + 1);
        chooser
    }

    /// A number below `limit` (SplitMix64).
    fn below(&mut self, limit: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    /// Decides over a change as a whole.
    fn keeps(&mut self, operation: u64) -> bool {
        match self.survival {
            Survival::Nothing => false,
            Survival::Everything => true,
            Survival::Prefix(_) => operation <= self.moment,
            Survival::Suffix(_) => operation > self.moment,
            Survival::Scattered(_) => self.below(2) == 0,
        }
    }

    /// Applies a change to the bytes of a file after a crash, as far as it is durable or chosen.
    fn apply(&mut self, change: &Change, file: &mut Vec<u8>) {
        let is_durable = change.sync == Sync::Durable;
        match &change.kind {
            &ChangeKind::SetLen(len) => {
                if is_durable || self.keeps(change.operation) {
                    file.resize(to_index(len), 0);
                }
            }
            ChangeKind::Write { offset, bytes } if is_durable => write(file, *offset, bytes),
            ChangeKind::Write { offset, bytes } => {
                let is_torn =
                    matches!(self.survival, Survival::Prefix(_)) && change.operation == self.moment;
                if is_torn {
                    let len = to_index(self.below(bytes.len() as u64 + 1));
                    write(file, *offset, &bytes[..len]);
                } else {
                    self.apply_sectors(change.operation, *offset, bytes, file);
                }
                // The length may reach the disk before the bytes do.
                let end = to_index(*offset) + bytes.len();
                if file.len() < end
                    && matches!(self.survival, Survival::Suffix(_) | Survival::Scattered(_))
                    && self.below(2) == 0
                {
                    file.resize(end, 0);
                }
            }
        }
    }

    fn apply_sectors(&mut self, operation: u64, offset: u64, bytes: &[u8], file: &mut Vec<u8>) {
        let mut start = 0;
        while start < bytes.len() {
            let at = offset + start as u64;
            let sector = to_index(SECTOR_BYTES - at % SECTOR_BYTES).min(bytes.len() - start);
            if self.keeps(operation) {
                let is_torn = matches!(self.survival, Survival::Scattered(_)) && self.below(8) == 0;
                let len = if is_torn { to_index(self.below(sector as u64)) } else { sector };
                write(file, at, &bytes[start..start + len]);
            }
            start += sector;
        }
    }
}

fn write(file: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let start = to_index(offset);
    let end = start + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[start..end].copy_from_slice(bytes);
}

fn to_index(offset: u64) -> usize {
    usize::try_from(offset).expect("a file in memory is smaller than the address space")
}

fn stopped() -> io::Error {
    io::Error::other("the machine has stopped")
}

fn error_of(fault: Fault) -> io::Error {
    match fault {
        Fault::Stop => stopped(),
        Fault::Io | Fault::Lost => io::Error::other("injected input/output error"),
        Fault::NoSpace => io::ErrorKind::StorageFull.into(),
    }
}

/// Fails if the operation met a fault that keeps it from happening.
fn happens(fault: Option<Fault>) -> io::Result<Option<Fault>> {
    match fault {
        Some(fault @ (Fault::Io | Fault::Lost | Fault::NoSpace)) => Err(error_of(fault)),
        fault => Ok(fault),
    }
}

/// Fails if the operation met a fault that let it happen first.
fn after(fault: Option<Fault>) -> io::Result<()> {
    fault.map_or(Ok(()), |fault| Err(error_of(fault)))
}

impl Fs for FaultFs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn File>> {
        let mut disk = self.disk.lock();
        let found = match disk.find(path) {
            Ok(node) => Some(node),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if let Some(node) = found
            && matches!(disk.nodes[&node], Node::Dir { .. })
        {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let node = match (mode, found) {
            (OpenMode::CreateNew, Some(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            (OpenMode::Read | OpenMode::Write, None) => return Err(io::ErrorKind::NotFound.into()),
            (OpenMode::Read | OpenMode::Write, Some(node)) => node,
            (OpenMode::Truncate, Some(node)) => {
                drop(disk);
                FaultFile { disk: Arc::clone(&self.disk), node, is_writable: true }.set_len(0)?;
                disk = self.disk.lock();
                node
            }
            (OpenMode::CreateNew | OpenMode::Truncate, None) => {
                let (dir, name) = disk.find_parent(path)?;
                let fault = disk.begin_new_name()?;
                let file =
                    Node::File { bytes: Vec::new(), durable: Vec::new(), changes: Vec::new() };
                let node = disk.add(file);
                disk.change_names(Some((dir, name, node)), None);
                after(fault)?;
                node
            }
        };
        drop(disk);
        let is_writable = mode != OpenMode::Read;
        Ok(Box::new(FaultFile { disk: Arc::clone(&self.disk), node, is_writable }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let node = disk.find(from)?;
        let (from_dir, from_name) = disk.find_parent(from)?;
        let (to_dir, to_name) = disk.find_parent(to)?;
        if let Ok(old) = disk.find(to) {
            match (&disk.nodes[&node], &disk.nodes[&old]) {
                (Node::Dir { .. }, Node::Dir { names, .. }) if !names.is_empty() => {
                    return Err(io::ErrorKind::DirectoryNotEmpty.into());
                }
                (Node::Dir { .. }, Node::File { .. }) => {
                    return Err(io::ErrorKind::NotADirectory.into());
                }
                (Node::File { .. }, Node::Dir { .. }) => {
                    return Err(io::ErrorKind::IsADirectory.into());
                }
                _ if old == node => return Ok(()),
                _ => {}
            }
        }
        let fault = disk.begin_names()?;
        disk.change_names(Some((to_dir, to_name, node)), Some((from_dir, from_name)));
        after(fault)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let node = disk.find(from)?;
        let (dir, name) = disk.find_parent(to)?;
        if disk.dir(dir)?.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let fault = disk.begin_new_name()?;
        disk.change_names(Some((dir, name, node)), None);
        after(fault)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let node = disk.find(path)?;
        if matches!(disk.nodes[&node], Node::Dir { .. }) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let parent = disk.find_parent(path)?;
        let fault = disk.begin_names()?;
        disk.change_names(None, Some(parent));
        after(fault)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let node = disk.find(path)?;
        if !disk.dir(node)?.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let parent = disk.find_parent(path)?;
        let fault = disk.begin_names()?;
        disk.change_names(None, Some(parent));
        after(fault)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let ancestors: Vec<&Path> = path.ancestors().collect();
        for ancestor in ancestors.into_iter().rev() {
            match disk.find(ancestor) {
                Ok(node) => {
                    disk.dir(node)?;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let (dir, name) = disk.find_parent(ancestor)?;
                    let fault = disk.begin_new_name()?;
                    let node = disk.add(Node::default_dir());
                    disk.change_names(Some((dir, name, node)), None);
                    after(fault)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let disk = self.disk.lock();
        let names = disk.dir(disk.find(dir)?)?;
        let entry = |(name, node): (&String, &NodeId)| DirEntry {
            name: name.clone(),
            is_dir: matches!(disk.nodes[node], Node::Dir { .. }),
        };
        Ok(names.iter().map(entry).collect())
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let disk = self.disk.lock();
        Ok(match &disk.nodes[&disk.find(path)?] {
            Node::Dir { .. } => Metadata { len: 0, is_dir: true },
            Node::File { bytes, .. } => Metadata { len: bytes.len() as u64, is_dir: false },
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let dir = disk.find(dir)?;
        disk.dir(dir)?;
        after(disk.begin()?)?;
        for change in &mut disk.names {
            change.is_link_durable |= change.link.as_ref().is_some_and(|link| link.0 == dir);
            change.is_unlink_durable |= change.unlink.as_ref().is_some_and(|from| from.0 == dir);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct FaultFile {
    disk: Arc<Mutex<Disk>>,
    node: NodeId,
    is_writable: bool,
}

/// The parts of a file: its bytes, its durable bytes, and the changes between them.
fn parts(disk: &mut Disk, node: NodeId) -> (&mut Vec<u8>, &mut Vec<u8>, &mut Vec<Change>) {
    match disk.nodes.get_mut(&node) {
        Some(Node::File { bytes, durable, changes }) => (bytes, durable, changes),
        _ => panic!("node {node} is a file"),
    }
}

impl FaultFile {
    /// Counts a change of the file and tells which fault it meets.
    fn begin(&self, disk: &mut Disk) -> io::Result<Option<Fault>> {
        self.check_writable()?;
        disk.begin_growth()
    }

    /// The same of a change that makes the file no longer.
    fn begin_cut(&self, disk: &mut Disk) -> io::Result<Option<Fault>> {
        self.check_writable()?;
        disk.begin()
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.is_writable { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }
}

impl File for FaultFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut disk = self.disk.lock();
        if disk.is_stopped {
            return Err(stopped());
        }
        let read = disk.reads;
        disk.reads += 1;
        if disk.failed_reads.remove(&read).is_some() {
            return Err(error_of(Fault::Io));
        }
        let (bytes, ..) = parts(&mut disk, self.node);
        let found = bytes.get(to_index(offset)..).unwrap_or_default();
        let len = found.len().min(buf.len());
        buf[..len].copy_from_slice(&found[..len]);
        Ok(len)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let fault = self.begin(&mut disk)?;
        let operation = disk.operations;
        let len = match fault {
            Some(Fault::Io | Fault::Lost) => 0,
            Some(Fault::NoSpace) => buf.len() / 2,
            Some(Fault::Stop) | None => buf.len(),
        };
        let (bytes, _, changes) = parts(&mut disk, self.node);
        write(bytes, offset, &buf[..len]);
        let kind = ChangeKind::Write { offset, bytes: buf[..len].to_vec() };
        changes.push(Change { operation, sync: Sync::Dirty, kind });
        after(fault)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let is_growth = len > parts(&mut disk, self.node).0.len() as u64;
        let fault = if is_growth { self.begin(&mut disk)? } else { self.begin_cut(&mut disk)? };
        let fault = happens(fault)?;
        let operation = disk.operations;
        let (bytes, _, changes) = parts(&mut disk, self.node);
        bytes.resize(to_index(len), 0);
        changes.push(Change { operation, sync: Sync::Dirty, kind: ChangeKind::SetLen(len) });
        after(fault)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let fault = disk.begin()?;
        let (bytes, durable, changes) = parts(&mut disk, self.node);
        let to = match fault {
            None => Sync::Durable,
            Some(Fault::Stop) => Sync::Dirty,
            Some(Fault::Io | Fault::Lost | Fault::NoSpace) => Sync::Dropped,
        };
        for change in changes.iter_mut().filter(|change| change.sync == Sync::Dirty) {
            change.sync = to;
        }
        if fault == Some(Fault::Lost) {
            changes.retain(|change| change.sync == Sync::Durable);
            bytes.clone_from(durable);
            for change in &*changes {
                match &change.kind {
                    ChangeKind::Write { offset, bytes: written } => write(bytes, *offset, written),
                    ChangeKind::SetLen(len) => bytes.resize(to_index(*len), 0),
                }
            }
        }
        // Changes in order must stay while an earlier one is undecided.
        if changes.iter().all(|change| change.sync == Sync::Durable) {
            changes.clear();
            durable.clone_from(bytes);
        }
        after(fault)
    }

    fn len(&self) -> io::Result<u64> {
        let mut disk = self.disk.lock();
        Ok(parts(&mut disk, self.node).0.len() as u64)
    }
}
