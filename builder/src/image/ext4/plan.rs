//! The first pass: from the tree to inodes with numbers, link counts and sizes.
//!
//! Inodes are numbered in path order. Files that are the same bytes by identity, with equal owner
//! and mode, share one inode: on a read-only filesystem nobody can tell hard links from copies.

use std::collections::{BTreeMap, HashMap};

use super::directory::{self, Entry, EntryType};
use super::extents::{MAX_FILE_BLOCKS, Run, leaf_blocks};
use super::{BLOCK_BYTES, Ext4Error};
use crate::root::content::{Content, ContentId};
use crate::root::tree::{Node, NodeKind, Tree, TreePath};

pub(super) const ROOT_INODE: u32 = 2;

/// 1 to 10 are reserved; 11 is always `lost+found`.
pub(super) const LOST_FOUND_INODE: u32 = 11;
const LOST_FOUND: &str = "/lost+found";

/// Any more and `dir_nlink` says 1, or a file gets a second inode.
const MAX_LINKS: u32 = 65_000;

/// Shorter symlink targets live in the inode.
pub(super) const INLINE_TARGET_BYTES: usize = 59;

/// Linux's limit for paths, which also keeps the target in one block.
const MAX_TARGET_BYTES: usize = 4095;

/// ext4 numbers inodes in 32 bits; far below that, our sums stay small.
const MAX_INODES: u32 = 1 << 30;

/// What an inode is.
#[derive(Debug)]
pub(super) enum Body<'t> {
    Directory { parent: u32, entries: Vec<Entry<'t>> },
    File { path: &'t TreePath, content: &'t Content },
    Symlink(&'t str),
}

/// One inode that will be written.
#[derive(Debug)]
pub(super) struct Planned<'t> {
    pub(super) number: u32,
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) links: u32,
    pub(super) size: u64,
    pub(super) body: Body<'t>,
    /// Relative to where data starts.
    pub(super) run: Run,
    /// First of the extent leaf blocks, relative to where data starts; how many follows from `run`.
    pub(super) leaf_start: u64,
}

/// All inodes and how many blocks they take.
#[derive(Debug)]
pub(super) struct Plan<'t> {
    /// The root, `lost+found`, then in path order.
    pub(super) inodes: Vec<Planned<'t>>,
    pub(super) used_inodes: u32,
    pub(super) data_blocks: u64,
}

impl Planned<'_> {
    pub(super) fn is_directory(&self) -> bool {
        matches!(self.body, Body::Directory { .. })
    }
}

/// Which inode a path has, while planning.
struct Numbering<'t> {
    inodes: Vec<Planned<'t>>,
    /// Index into `inodes` by directory path.
    directories: HashMap<&'t str, usize>,
    shared: BTreeMap<(ContentId, u16, u32, u32), usize>,
    next_number: u32,
}

/// Numbers everything and gives every inode its blocks.
pub(super) fn plan(tree: &Tree) -> Result<Plan<'_>, Ext4Error> {
    let mut numbering = Numbering {
        inodes: Vec::new(),
        directories: HashMap::new(),
        shared: BTreeMap::new(),
        next_number: LOST_FOUND_INODE + 1,
    };
    for (path, node) in tree.iter() {
        numbering.add(path, node)?;
    }
    numbering.ensure_lost_found();
    let used_inodes = numbering.next_number - 1;
    let mut inodes = numbering.inodes;
    let data_blocks = place(&mut inodes)?;
    Ok(Plan { inodes, used_inodes, data_blocks })
}

impl<'t> Numbering<'t> {
    fn add(&mut self, path: &'t TreePath, node: &'t Node) -> Result<(), Ext4Error> {
        if path.as_str() == LOST_FOUND && !matches!(node.kind, NodeKind::Directory) {
            return Err(Ext4Error::LostFound(path.clone()));
        }
        let (number, kind) = match &node.kind {
            NodeKind::Directory => (self.add_directory(path, node)?, EntryType::Directory),
            NodeKind::File(content) => (self.add_file(path, node, content)?, EntryType::File),
            NodeKind::Symlink(target) => {
                if target.is_empty() || target.len() > MAX_TARGET_BYTES || target.contains('\0') {
                    return Err(Ext4Error::BadTarget { path: path.clone() });
                }
                let number = self.take_number()?;
                self.push(number, node, target.len() as u64, Body::Symlink(target));
                (number, EntryType::Symlink)
            }
        };
        if !path.is_root() {
            self.enter(path, Entry { name: path.name(), inode: number, kind });
        }
        Ok(())
    }

    fn take_number(&mut self) -> Result<u32, Ext4Error> {
        let number = self.next_number;
        if number > MAX_INODES {
            return Err(Ext4Error::TooManyEntries(MAX_INODES));
        }
        self.next_number += 1;
        Ok(number)
    }

    fn push(&mut self, number: u32, node: &Node, size: u64, body: Body<'t>) {
        let links = if matches!(body, Body::Directory { .. }) { 2 } else { 1 };
        let run = Run { first: 0, blocks: 0 };
        let (mode, uid, gid) = (node.mode, node.uid, node.gid);
        self.inodes.push(Planned { number, mode, uid, gid, links, size, body, run, leaf_start: 0 });
    }

    fn add_directory(&mut self, path: &'t TreePath, node: &Node) -> Result<u32, Ext4Error> {
        let number = match path.as_str() {
            "/" => ROOT_INODE,
            LOST_FOUND => LOST_FOUND_INODE,
            _ => self.take_number()?,
        };
        let parent = match self.directories.get(parent_of(path)) {
            Some(&index) if !path.is_root() => self.inodes[index].number,
            _ => ROOT_INODE,
        };
        self.directories.insert(path.as_str(), self.inodes.len());
        self.push(number, node, 0, Body::Directory { parent, entries: Vec::new() });
        Ok(number)
    }

    fn add_file(
        &mut self,
        path: &'t TreePath,
        node: &Node,
        content: &'t Content,
    ) -> Result<u32, Ext4Error> {
        let size = content.len();
        if size > MAX_FILE_BLOCKS * BLOCK_BYTES {
            let max = MAX_FILE_BLOCKS * BLOCK_BYTES;
            return Err(Ext4Error::FileTooLarge { path: path.clone(), size, max });
        }
        let identity = (content.id(), node.mode, node.uid, node.gid);
        // Empty contents may have equal identities by accident.
        let twin = self.shared.get(&identity).filter(|_| size > 0);
        if let Some(twin) = twin.map(|&index| &mut self.inodes[index])
            && twin.links < MAX_LINKS
        {
            twin.links += 1;
            return Ok(twin.number);
        }
        let number = self.take_number()?;
        self.shared.insert(identity, self.inodes.len());
        self.push(number, node, size, Body::File { path, content });
        Ok(number)
    }

    /// Adds a name to its parent, which the tree promises to have come before.
    fn enter(&mut self, path: &'t TreePath, entry: Entry<'t>) {
        let index = self.directories[parent_of(path)];
        self.enter_into(index, entry);
    }

    fn enter_into(&mut self, index: usize, entry: Entry<'t>) {
        let directory = &mut self.inodes[index];
        if entry.kind == EntryType::Directory {
            directory.links += 1;
        }
        if let Body::Directory { entries, .. } = &mut directory.body {
            entries.push(entry);
        }
    }

    fn ensure_lost_found(&mut self) {
        if self.directories.contains_key(LOST_FOUND) {
            return;
        }
        let kind = EntryType::Directory;
        self.enter_into(0, Entry { name: &LOST_FOUND[1..], inode: LOST_FOUND_INODE, kind });
        let body = Body::Directory { parent: ROOT_INODE, entries: Vec::new() };
        let run = Run { first: 0, blocks: 0 };
        let number = LOST_FOUND_INODE;
        let inode = Planned {
            number,
            mode: 0o700,
            uid: 0,
            gid: 0,
            links: 2,
            size: 0,
            body,
            run,
            leaf_start: 0,
        };
        self.inodes.push(inode);
    }
}

/// The parent's path without allocating; the root is its own.
fn parent_of(path: &TreePath) -> &str {
    let text = path.as_str();
    match text.rfind('/') {
        Some(cut) if cut > 0 => &text[..cut],
        _ => "/",
    }
}

/// Gives out blocks: first what the kernel reads to find files, then the files.
fn place(inodes: &mut [Planned<'_>]) -> Result<u64, Ext4Error> {
    let mut next = 0;
    for inode in inodes.iter_mut() {
        let blocks = match &inode.body {
            Body::Directory { entries, .. } => {
                let blocks = directory::blocks(entries.iter().map(|entry| entry.name));
                inode.size = blocks * BLOCK_BYTES;
                blocks
            }
            Body::Symlink(target) if target.len() > INLINE_TARGET_BYTES => 1,
            Body::Symlink(_) | Body::File { .. } => 0,
        };
        inode.run = Run { first: next, blocks };
        next += blocks;
        if matches!(inode.body, Body::File { .. }) {
            inode.leaf_start = next;
            next += leaf_blocks(inode.size.div_ceil(BLOCK_BYTES));
        }
        if inode.links > MAX_LINKS {
            inode.links = 1;
        }
    }
    for inode in inodes.iter_mut() {
        if matches!(inode.body, Body::File { .. }) {
            let blocks = inode.size.div_ceil(BLOCK_BYTES);
            inode.run = Run { first: next, blocks };
            next = next.checked_add(blocks).ok_or(Ext4Error::TooManyEntries(MAX_INODES))?;
        }
    }
    Ok(next)
}
