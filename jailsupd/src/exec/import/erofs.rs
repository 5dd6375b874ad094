//! Writing an erofs file system (fs/erofs/erofs_fs.h in Linux): uncompressed, and the same bytes for the same
//! tree. File contents are written as they come; names and owners are held until the end.
//!
//! ```text
//!  block 0        superblock at byte 1024
//!  then           contents of files, each from a new block on
//!  then           directories, and long targets of links
//!  then           inodes of 64 bytes, the target of a short link behind its own
//! ```

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};

const BLOCK: u64 = 4096;
const MAGIC: u32 = 0xe0f5_e1e2;
const INODE: u64 = 64;
/// Inodes are counted in units of this.
const SLOT: u64 = 32;
/// The first inode; no inode has the number 0, which readdir(3) would hide.
const FIRST: u64 = 64;
const DIRENT: usize = 12;
/// Extended inode, contents in blocks of their own.
const FLAT_PLAIN: u16 = 1;
/// Extended inode, the last piece of its contents behind it.
const FLAT_INLINE: u16 = 1 | 2 << 1;

/// Bytes of names and link targets that are held at most.
const NAMES_MAX: usize = 256 << 20;
/// Files and directories at most.
pub(super) const ENTRIES_MAX: usize = 1_000_000;
/// NAME_MAX.
const NAME_MAX: usize = 255;
/// PATH_MAX, its NUL not counted.
const TARGET_MAX: usize = 4095;

/// What every file has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Meta {
    /// Permission bits, with set-user-id, set-group-id and sticky.
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Seconds since 1970.
    pub(super) mtime: u64,
}

/// A file of the tree.
pub(super) type Node = usize;

#[derive(Debug)]
enum Kind {
    Directory(BTreeMap<Vec<u8>, Node>),
    File { block: u32, size: u64 },
    Link(Vec<u8>),
    Fifo,
}

#[derive(Debug)]
struct Inode {
    meta: Meta,
    kind: Kind,
    links: u32,
    parent: Node,
}

/// Why the tree cannot be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{0}")]
    Refused(&'static str),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A file system under construction in `out`.
#[derive(Debug)]
pub(super) struct Builder<W> {
    out: W,
    inodes: Vec<Inode>,
    /// The next free block.
    block: u64,
    size_max: u64,
    names: usize,
}

/// The root directory.
pub(super) const ROOT: Node = 0;

impl<W: Write + Seek> Builder<W> {
    /// An empty file system of at most `size_max` bytes.
    pub(super) fn new(mut out: W, size_max: u64) -> io::Result<Self> {
        out.seek(SeekFrom::Start(BLOCK))?;
        let root = Inode {
            meta: Meta { mode: 0o755, ..Meta::default() },
            kind: Kind::Directory(BTreeMap::new()),
            links: 2,
            parent: ROOT,
        };
        Ok(Self { out, inodes: vec![root], block: 1, size_max, names: 0 })
    }

    /// What is called `name` in a directory; nothing when `directory` is none.
    pub(super) fn find(&self, directory: Node, name: &[u8]) -> Option<Node> {
        match &self.inodes.get(directory)?.kind {
            Kind::Directory(entries) => entries.get(name).copied(),
            _ => None,
        }
    }

    pub(super) fn is_directory(&self, node: Node) -> bool {
        self.inodes.get(node).is_some_and(|inode| matches!(inode.kind, Kind::Directory(_)))
    }

    /// Changes owner, mode and time.
    pub(super) fn set_meta(&mut self, node: Node, meta: Meta) {
        if let Some(inode) = self.inodes.get_mut(node) {
            inode.meta = meta;
        }
    }

    pub(super) fn directory(
        &mut self,
        parent: Node,
        name: &[u8],
        meta: Meta,
    ) -> Result<Node, Error> {
        let node = self.add(parent, name, meta, Kind::Directory(BTreeMap::new()), 2)?;
        if let Some(inode) = self.inodes.get_mut(parent) {
            inode.links += 1;
        }
        Ok(node)
    }

    pub(super) fn link(
        &mut self,
        parent: Node,
        name: &[u8],
        meta: Meta,
        target: &[u8],
    ) -> Result<Node, Error> {
        if target.is_empty() || target.len() > TARGET_MAX || target.contains(&0) {
            return Err(Error::Refused("it is a link to an impossible path"));
        }
        self.hold(target.len())?;
        let meta = Meta { mode: 0o777, ..meta };
        self.add(parent, name, meta, Kind::Link(target.to_vec()), 1)
    }

    pub(super) fn fifo(&mut self, parent: Node, name: &[u8], meta: Meta) -> Result<Node, Error> {
        self.add(parent, name, meta, Kind::Fifo, 1)
    }

    /// Writes a file's contents now, all that `content` has.
    pub(super) fn file(
        &mut self,
        parent: Node,
        name: &[u8],
        meta: Meta,
        content: &mut dyn Read,
    ) -> Result<Node, Error> {
        let block = u32::try_from(self.block).map_err(|_| TOO_LARGE)?;
        let size = self.write(content)?;
        self.add(parent, name, meta, Kind::File { block, size }, 1)
    }

    /// A further name of a file.
    pub(super) fn hard_link(&mut self, parent: Node, name: &[u8], node: Node) -> Result<(), Error> {
        match self.inodes.get_mut(node) {
            Some(inode) if !matches!(inode.kind, Kind::Directory(_)) => inode.links += 1,
            _ => return Err(Error::Refused("it is a hard link to what is no file")),
        }
        self.enter(parent, name, node)
    }

    /// Takes a name away, to put another file in its place. A directory must be empty.
    pub(super) fn remove(&mut self, parent: Node, name: &[u8]) -> Result<(), Error> {
        let Some(node) = self.find(parent, name) else { return Ok(()) };
        let Some(inode) = self.inodes.get_mut(node) else { return Ok(()) };
        if let Kind::Directory(entries) = &inode.kind {
            if !entries.is_empty() {
                return Err(Error::Refused("it would take the place of a directory with files"));
            }
            inode.links = 0;
            if let Some(above) = self.inodes.get_mut(parent) {
                above.links -= 1;
            }
        } else {
            inode.links -= 1;
        }
        if let Some(Inode { kind: Kind::Directory(entries), .. }) = self.inodes.get_mut(parent) {
            entries.remove(name);
        }
        Ok(())
    }

    fn add(
        &mut self,
        parent: Node,
        name: &[u8],
        meta: Meta,
        kind: Kind,
        links: u32,
    ) -> Result<Node, Error> {
        if self.inodes.len() >= ENTRIES_MAX {
            return Err(Error::Refused("there are too many files"));
        }
        let node = self.inodes.len();
        self.enter(parent, name, node)?;
        self.inodes.push(Inode { meta, kind, links, parent });
        Ok(node)
    }

    fn enter(&mut self, parent: Node, name: &[u8], node: Node) -> Result<(), Error> {
        if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') {
            return Err(Error::Refused("its name is not one of a file"));
        }
        if name.len() > NAME_MAX || name.contains(&0) {
            return Err(Error::Refused("its name is too long, or holds a NUL byte"));
        }
        self.hold(name.len() + 64)?;
        match self.inodes.get_mut(parent) {
            Some(Inode { kind: Kind::Directory(entries), .. }) => {
                if entries.contains_key(name) {
                    return Err(Error::Refused("it is there twice"));
                }
                entries.insert(name.to_vec(), node);
                Ok(())
            }
            _ => Err(Error::Refused("it is in what is no directory")),
        }
    }

    fn hold(&mut self, bytes: usize) -> Result<(), Error> {
        self.names += bytes;
        if self.names > NAMES_MAX {
            return Err(Error::Refused("its names need too much memory"));
        }
        Ok(())
    }

    /// Copies to the next free block on, and fills the last block up.
    fn write(&mut self, content: &mut dyn Read) -> Result<u64, Error> {
        let mut buffer = vec![0; 256 << 10];
        let mut size = 0u64;
        loop {
            let length = match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            size += length as u64;
            if self.block * BLOCK + size > self.size_max {
                return Err(TOO_LARGE);
            }
            self.out.write_all(&buffer[..length])?;
        }
        let used = size.div_ceil(BLOCK);
        let rest = usize::try_from(used * BLOCK - size).unwrap_or(0);
        self.out.write_all(&vec![0; rest])?;
        self.block += used;
        Ok(size)
    }

    /// Writes everything else. What no name leads to any more is left out.
    pub(super) fn finish(mut self) -> Result<W, Error> {
        let live: Vec<Node> =
            (0..self.inodes.len()).filter(|node| self.inodes[*node].links > 0).collect();
        let places = self.places(&live);
        let mut starts = vec![0u32; self.inodes.len()];
        let mut sizes = vec![0u64; self.inodes.len()];
        for node in &live {
            let bytes = match &self.inodes[*node].kind {
                Kind::Directory(entries) => directory(&self.inodes, *node, entries, &places),
                Kind::Link(target) if !is_inline(target) => target.clone(),
                _ => continue,
            };
            starts[*node] = u32::try_from(self.block).map_err(|_| TOO_LARGE)?;
            sizes[*node] = self.write(&mut bytes.as_slice())?;
        }
        let meta_block = u32::try_from(self.block).map_err(|_| TOO_LARGE)?;
        let mut at = 0;
        for node in &live {
            let inode = &self.inodes[*node];
            let mut bytes = inode.header(*node, starts[*node], sizes[*node]);
            if let Kind::Link(target) = &inode.kind {
                if is_inline(target) {
                    bytes.extend_from_slice(target);
                }
            }
            let place = places[*node];
            self.out.write_all(&vec![0; usize::try_from(place - at).unwrap_or(0)])?;
            self.out.write_all(&bytes)?;
            at = place + bytes.len() as u64;
        }
        let end = at.div_ceil(BLOCK) * BLOCK;
        self.out.write_all(&vec![0; usize::try_from(end - at).unwrap_or(0)])?;
        let blocks = u32::try_from(self.block + end / BLOCK).map_err(|_| TOO_LARGE)?;
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&superblock(meta_block, live.len() as u64, blocks))?;
        Ok(self.out)
    }

    /// Where each inode is, counted from the first block of them.
    fn places(&self, live: &[Node]) -> Vec<u64> {
        let mut places = vec![0; self.inodes.len()];
        let mut at = FIRST;
        for node in live {
            let inline = match &self.inodes[*node].kind {
                Kind::Link(target) if is_inline(target) => target.len() as u64,
                _ => 0,
            };
            let length = INODE + inline;
            // Neither an inode nor what is behind it goes over the end of a block.
            if at % BLOCK + length > BLOCK {
                at = at.div_ceil(BLOCK) * BLOCK;
            }
            places[*node] = at;
            at = (at + length).div_ceil(INODE) * INODE;
        }
        places
    }
}

const TOO_LARGE: Error = Error::Refused("the image is larger than is allowed");

fn is_inline(target: &[u8]) -> bool {
    target.len() as u64 + INODE <= BLOCK
}

/// A directory's blocks: in each the entries, sorted, and behind them their names.
fn directory(
    inodes: &[Inode],
    node: Node,
    entries: &BTreeMap<Vec<u8>, Node>,
    places: &[u64],
) -> Vec<u8> {
    let parent = inodes[node].parent;
    let mut all: Vec<(&[u8], Node)> =
        entries.iter().map(|(name, node)| (name.as_slice(), *node)).collect();
    all.extend([(b".".as_slice(), node), (b"..".as_slice(), parent)]);
    all.sort_unstable();
    let mut out = Vec::new();
    let mut rest = all.as_slice();
    while !rest.is_empty() {
        let mut used = 0;
        let fits = |(name, _): &&(&[u8], Node)| {
            used += DIRENT + name.len();
            used <= usize::try_from(BLOCK).unwrap_or(usize::MAX)
        };
        let count = rest.iter().take_while(fits).count();
        let (here, later) = rest.split_at(count);
        let mut offset = count * DIRENT;
        for (name, node) in here {
            out.extend((places[*node] / SLOT).to_le_bytes());
            out.extend(u16::try_from(offset).unwrap_or(0).to_le_bytes());
            out.extend([inodes[*node].kind.file_type(), 0]);
            offset += name.len();
        }
        here.iter().for_each(|(name, _)| out.extend_from_slice(name));
        if !later.is_empty() {
            let full = out.len().div_ceil(4096) * 4096;
            out.resize(full, 0);
        }
        rest = later;
    }
    out
}

impl Kind {
    /// `FT_*` of the kernel.
    fn file_type(&self) -> u8 {
        match self {
            Self::File { .. } => 1,
            Self::Directory(_) => 2,
            Self::Fifo => 5,
            Self::Link(_) => 7,
        }
    }

    /// `S_IF*` of inode(7).
    fn mode(&self) -> u16 {
        match self {
            Self::File { .. } => 0o100_000,
            Self::Directory(_) => 0o040_000,
            Self::Fifo => 0o010_000,
            Self::Link(_) => 0o120_000,
        }
    }
}

impl Inode {
    /// `struct erofs_inode_extended`.
    fn header(&self, node: Node, start: u32, size: u64) -> Vec<u8> {
        let (format, size, start) = match &self.kind {
            Kind::File { block, size } => (FLAT_PLAIN, *size, *block),
            Kind::Link(target) if is_inline(target) => (FLAT_INLINE, target.len() as u64, 0),
            Kind::Directory(_) | Kind::Link(_) => (FLAT_PLAIN, size, start),
            Kind::Fifo => (FLAT_PLAIN, 0, 0),
        };
        let mut out = Vec::with_capacity(64);
        out.extend(format.to_le_bytes());
        out.extend([0; 2]);
        out.extend((self.kind.mode() | self.meta.mode & 0o7777).to_le_bytes());
        out.extend([0; 2]);
        out.extend(size.to_le_bytes());
        out.extend(start.to_le_bytes());
        out.extend(u32::try_from(node + 1).unwrap_or(0).to_le_bytes());
        out.extend(self.meta.uid.to_le_bytes());
        out.extend(self.meta.gid.to_le_bytes());
        out.extend(self.meta.mtime.to_le_bytes());
        out.extend([0; 4]);
        out.extend(self.links.to_le_bytes());
        out.extend([0; 16]);
        out
    }
}

/// `struct erofs_super_block`, and the 1024 bytes before it.
fn superblock(meta_block: u32, inodes: u64, blocks: u32) -> Vec<u8> {
    let mut out = vec![0; 1024];
    out.extend(MAGIC.to_le_bytes());
    out.extend([0; 8]);
    out.extend([12, 0]);
    out.extend(u16::try_from(FIRST / SLOT).unwrap_or(0).to_le_bytes());
    out.extend(inodes.to_le_bytes());
    out.extend([0; 12]);
    out.extend(blocks.to_le_bytes());
    out.extend(meta_block.to_le_bytes());
    out.resize(usize::try_from(BLOCK).unwrap_or(0), 0);
    out
}

#[cfg(test)]
mod tests;
