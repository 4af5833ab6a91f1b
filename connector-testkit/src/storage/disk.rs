//! The two images of a disk.

use std::{collections::BTreeMap, io};

use super::Unsynced;

/// Names a file whatever it is called now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NodeId(usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    File(NodeId),
    Folder,
}

#[derive(Debug, Clone, Default)]
struct Node {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// A sync failed, so that later ones succeed and do nothing.
    doomed: bool,
}

/// Entries by full path. A folder is an entry in the folder above it; the root is none.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    nodes: Vec<Node>,
    live: BTreeMap<String, Entry>,
    durable: BTreeMap<String, Entry>,
}

/// The folder that a path is in; the root's is the empty path.
fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The name of what is directly in a folder.
fn name_in<'a>(folder: &str, path: &'a str) -> Option<&'a str> {
    let inside = if folder.is_empty() {
        path
    } else {
        path.strip_prefix(folder)?.strip_prefix('/')?
    };
    (!inside.contains('/')).then_some(inside)
}

fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(end, _)| &path[..end])
}

const UNIFORM: [Unsynced; 4] = [
    Unsynced::Lost,
    Unsynced::Kept,
    Unsynced::Torn,
    Unsynced::Zeroed,
];

/// Chance that is the same in every run: FNV-1a, of which a few high bits are returned.
fn toss(seed: u64, parts: &[&[u8]]) -> usize {
    let mut sum = 0xCBF2_9CE4_8422_2325_u64;
    for byte in parts.iter().copied().flatten().chain(&seed.to_le_bytes()) {
        sum = (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3);
    }
    usize::from(sum.to_be_bytes()[1])
}

fn wrong(kind: io::ErrorKind, what: &str, path: &str) -> io::Error {
    io::Error::new(kind, format!("{what}: {path}"))
}

impl Disk {
    fn node(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0]
    }

    fn file(&self, path: &str) -> io::Result<NodeId> {
        match self.live.get(path) {
            Some(Entry::File(node)) => Ok(*node),
            Some(Entry::Folder) => Err(wrong(io::ErrorKind::IsADirectory, "a folder", path)),
            None => Err(wrong(io::ErrorKind::NotFound, "no such file", path)),
        }
    }

    pub(super) fn create(&mut self, path: &str) -> io::Result<NodeId> {
        for folder in ancestors(path) {
            match self.live.get(folder) {
                Some(Entry::Folder) => {}
                Some(Entry::File(_)) => {
                    return Err(wrong(io::ErrorKind::NotADirectory, "a file", folder));
                }
                None => {
                    self.live.insert(folder.to_owned(), Entry::Folder);
                }
            }
        }
        match self.file(path) {
            Ok(node) => {
                self.node(node).live.clear();
                Ok(node)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let node = NodeId(self.nodes.len());
                self.nodes.push(Node::default());
                self.live.insert(path.to_owned(), Entry::File(node));
                Ok(node)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn open(&self, path: &str) -> io::Result<NodeId> {
        self.file(path)
    }

    pub(super) fn content(&self, node: NodeId) -> &[u8] {
        &self.nodes[node.0].live
    }

    pub(super) fn append(&mut self, node: NodeId, bytes: &[u8]) {
        self.node(node).live.extend_from_slice(bytes);
    }

    pub(super) fn sync(&mut self, node: NodeId) {
        let node = self.node(node);
        if !node.doomed {
            node.durable.clone_from(&node.live);
        }
    }

    pub(super) fn fail_sync(&mut self, node: NodeId) {
        self.node(node).doomed = true;
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let node = self.file(from)?;
        let folder = folder_of(to);
        if !folder.is_empty() && self.live.get(folder) != Some(&Entry::Folder) {
            return Err(wrong(io::ErrorKind::NotFound, "no such folder", folder));
        }
        if self.live.get(to) == Some(&Entry::Folder) {
            return Err(wrong(io::ErrorKind::IsADirectory, "a folder", to));
        }
        self.live.remove(from);
        self.live.insert(to.to_owned(), Entry::File(node));
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &str) -> io::Result<()> {
        if !self.live.contains_key(path) {
            return Err(wrong(io::ErrorKind::NotFound, "no such file", path));
        }
        if !self.list(path).is_empty() {
            return Err(wrong(io::ErrorKind::DirectoryNotEmpty, "not empty", path));
        }
        self.live.remove(path);
        Ok(())
    }

    pub(super) fn list(&self, folder: &str) -> Vec<String> {
        self.live
            .keys()
            .filter_map(|path| name_in(folder, path))
            .map(str::to_owned)
            .collect()
    }

    pub(super) fn sync_folder(&mut self, folder: &str) -> io::Result<()> {
        if !folder.is_empty() && self.live.get(folder) != Some(&Entry::Folder) {
            return Err(wrong(io::ErrorKind::NotFound, "no such folder", folder));
        }
        self.durable
            .retain(|path, _| name_in(folder, path).is_none());
        let now = self
            .live
            .iter()
            .filter(|(path, _)| name_in(folder, path).is_some());
        self.durable
            .extend(now.map(|(path, entry)| (path.clone(), *entry)));
        Ok(())
    }

    /// The disk as the next start finds it: live and durable are one.
    pub(super) fn after_crash(&self, unsynced: Unsynced) -> Self {
        let names = match unsynced {
            Unsynced::Lost => self.durable.clone(),
            Unsynced::Kept | Unsynced::Torn | Unsynced::Zeroed => self.live.clone(),
            Unsynced::Mixed(seed) => self.mixed_names(seed),
        };
        // A name in a folder that is itself gone can't be reached.
        let reachable = |path: &str| ancestors(path).all(|folder| names.contains_key(folder));
        let names: BTreeMap<_, _> = names
            .iter()
            .filter(|(path, _)| reachable(path))
            .map(|(path, entry)| (path.clone(), *entry))
            .collect();
        let nodes = self.nodes.iter().enumerate().map(|(id, node)| {
            let unsynced = match unsynced {
                // Not the same toss as for the file's name.
                Unsynced::Mixed(seed) => UNIFORM[toss(seed, &[b"bytes", &id.to_le_bytes()]) % 4],
                uniform => uniform,
            };
            node.after_crash(unsynced)
        });
        Self {
            nodes: nodes.collect(),
            live: names.clone(),
            durable: names,
        }
    }

    /// Some names as they are and some as they were when their folder was synced last.
    fn mixed_names(&self, seed: u64) -> BTreeMap<String, Entry> {
        let paths = self.live.keys().chain(self.durable.keys());
        let mut names = BTreeMap::new();
        for path in paths {
            let (live, durable) = (self.live.get(path), self.durable.get(path));
            let kept = match live.or(durable) {
                // By the file, so that its old name goes when its new one comes.
                Some(Entry::File(node)) => toss(seed, &[b"file", &node.0.to_le_bytes()]),
                _ => toss(seed, &[b"folder", path.as_bytes()]),
            };
            let entry = if kept % 2 == 0 { live } else { durable };
            names.extend(entry.map(|entry| (path.clone(), *entry)));
        }
        names
    }

    pub(super) fn damage(&mut self, path: &str, offset: u64) -> io::Result<()> {
        let node = self.file(path)?;
        let beyond = || wrong(io::ErrorKind::InvalidInput, "the file ends before", path);
        let offset = usize::try_from(offset).map_err(|_| beyond())?;
        let node = self.node(node);
        *node.live.get_mut(offset).ok_or_else(beyond)? ^= 0x55;
        if let Some(byte) = node.durable.get_mut(offset) {
            *byte ^= 0x55;
        }
        Ok(())
    }

    pub(super) fn files(&self) -> Vec<String> {
        self.live
            .iter()
            .filter(|(_, entry)| matches!(entry, Entry::File(_)))
            .map(|(path, _)| path.clone())
            .collect()
    }
}

impl Node {
    fn after_crash(&self, unsynced: Unsynced) -> Self {
        // What a failed sync dropped never comes back, even if all else does.
        let unsynced = if self.doomed {
            Unsynced::Lost
        } else {
            unsynced
        };
        // What follows the part that both images share is what was not synced.
        let shared = if self.live.starts_with(&self.durable) {
            self.durable.len()
        } else {
            0
        };
        let left = match unsynced {
            Unsynced::Lost => self.durable.clone(),
            // Settled for each file before.
            Unsynced::Kept | Unsynced::Mixed(_) => self.live.clone(),
            Unsynced::Torn => self.live[..usize::midpoint(shared, self.live.len())].to_vec(),
            Unsynced::Zeroed => {
                let mut left = self.live.clone();
                left[shared..].fill(0);
                left
            }
        };
        Self {
            live: left.clone(),
            durable: left,
            doomed: false,
        }
    }
}
