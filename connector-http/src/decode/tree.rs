//! The members that are looked for, as a tree, and how a record fills cells by it.

use std::collections::HashMap;

use super::scan::{Cell, Fault, Kind, Scan};

/// How many names of members that nobody looks for an object remembers, so that it passes them as
/// fast as those it knows.
const REMEMBERED: usize = 256;

/// A name that is longer is not remembered.
const NAME_BYTES: usize = 128;

/// The paths of cells.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
    cells: usize,
    /// How many records were read: which of them a node has last met.
    now: u64,
}

/// An object, or a value.
#[derive(Debug, Clone, Default)]
pub(crate) struct Node {
    /// Its path, for messages.
    path: String,
    /// Where its value goes.
    cell: Option<usize>,
    children: usize,
    names: Names,
    met: u64,
}

/// The names of an object's members in the order in which they came so far.
///
/// Replies repeat their order, so the next name is nearly always the one that followed last time:
/// one comparison, which finds the name's end too.
#[derive(Debug, Clone, Default)]
struct Names {
    known: Vec<Name>,
    places: HashMap<Box<str>, usize>,
}

#[derive(Debug, Clone)]
struct Name {
    /// With the quote that ends it.
    quoted: Box<[u8]>,
    node: Option<usize>,
}

impl Names {
    fn add(&mut self, name: &str, node: Option<usize>) {
        let quoted = [name.as_bytes(), b"\""].concat().into();
        self.places.insert(name.into(), self.known.len());
        self.known.push(Name { quoted, node });
    }

    fn node(&self, name: &str) -> Option<usize> {
        self.known[*self.places.get(name)?].node
    }
}

/// A member of an object.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Member {
    /// One that is looked for, by its node.
    Wanted(usize),
    Other,
}

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// The text is.
    Text(Fault),
    /// A member that is looked for comes twice: its node, and the byte.
    Twice(usize, usize),
    /// A member is no object, but others are looked for in it.
    NoObject(usize, usize),
}

impl From<Fault> for Wrong {
    fn from(fault: Fault) -> Self {
        Self::Text(fault)
    }
}

/// The root's number.
pub(crate) const ROOT: usize = 0;

impl Tree {
    pub(crate) fn new() -> Self {
        Self {
            nodes: vec![Node::default()],
            ..Self::default()
        }
    }

    /// Adds a path and returns its cell; the same one for the same path.
    pub(crate) fn cell(&mut self, path: &str) -> usize {
        let node = self.node(path);
        *self.nodes[node].cell.get_or_insert_with(|| {
            self.cells += 1;
            self.cells - 1
        })
    }

    /// Adds a path and returns its node.
    pub(crate) fn node(&mut self, path: &str) -> usize {
        let mut at = ROOT;
        let names = path.split('/').filter(|name| !name.is_empty());
        for name in names {
            at = self.nodes[at].names.node(name).unwrap_or_else(|| {
                let parent = &self.nodes[at].path;
                let path = if parent.is_empty() {
                    name.to_owned()
                } else {
                    format!("{parent}/{name}")
                };
                let next = self.nodes.len();
                self.nodes.push(Node {
                    path,
                    ..Node::default()
                });
                self.nodes[at].names.add(name, Some(next));
                self.nodes[at].children += 1;
                next
            });
        }
        at
    }

    /// Returns the path of a node.
    pub(crate) fn path(&self, node: usize) -> &str {
        &self.nodes[node].path
    }

    /// Tells whether one node stands above another.
    pub(crate) fn leads_to(&self, from: usize, to: usize) -> bool {
        let (from, to) = (self.path(from), self.path(to));
        to.strip_prefix(from)
            .is_some_and(|rest| from.is_empty() || rest.starts_with('/'))
    }

    /// Returns how many cells it fills.
    pub(crate) fn cells(&self) -> usize {
        self.cells
    }

    /// Starts a record: no member was met yet.
    pub(crate) fn begin(&mut self) {
        self.now += 1;
    }

    /// Goes to the next member of an object, up to its value, and returns its node if it is one
    /// that is looked for. `place` is where the last one stood among the names, and 0 at first.
    #[inline]
    pub(crate) fn next_member(
        &mut self,
        scan: &mut Scan<'_>,
        object: usize,
        place: &mut usize,
        is_first: bool,
    ) -> Result<Option<Member>, Wrong> {
        if !scan.next_name(is_first)? {
            return Ok(None);
        }
        let start = scan.at();
        let names = &self.nodes[object].names;
        let node = match names.known.get(*place) {
            Some(name) if scan.take(&name.quoted) => {
                *place += 1;
                name.node
            }
            _ => self.find(scan, object, place)?,
        };
        scan.colon()?;
        if let Some(node) = node {
            let met = &mut self.nodes[node].met;
            if *met == self.now {
                return Err(Wrong::Twice(node, start - 1));
            }
            *met = self.now;
        }
        Ok(Some(node.map_or(Member::Other, Member::Wanted)))
    }

    /// Finds a name that is not the expected one.
    #[cold]
    fn find(
        &mut self,
        scan: &mut Scan<'_>,
        object: usize,
        place: &mut usize,
    ) -> Result<Option<usize>, Fault> {
        let text = scan.text()?;
        let names = &mut self.nodes[object].names;
        let unescaped;
        let name = if text.kind == Kind::Escaped {
            let mut out = String::new();
            super::scan::unescape(text.text(scan.page()), &mut out);
            unescaped = out;
            unescaped.as_str()
        } else {
            text.text(scan.page())
        };
        if let Some(found) = names.places.get(name) {
            *place = found + 1;
            return Ok(names.known[*found].node);
        }
        if text.kind == Kind::Text && name.len() <= NAME_BYTES && names.known.len() < REMEMBERED {
            names.add(name, None);
            *place = names.known.len();
        }
        Ok(None)
    }

    /// Reads the value of a node, which stands in `depth` arrays and objects, into its cell and
    /// those below it.
    #[inline]
    pub(crate) fn fill(
        &mut self,
        scan: &mut Scan<'_>,
        node: usize,
        cells: &mut [Cell],
        depth: u32,
    ) -> Result<(), Wrong> {
        let Node { cell, children, .. } = self.nodes[node];
        let value = if children == 0 {
            scan.value(depth)?
        } else {
            self.fill_object(scan, node, cells, depth)?
        };
        if let Some(cell) = cell {
            cells[cell] = value;
        }
        Ok(())
    }

    fn fill_object(
        &mut self,
        scan: &mut Scan<'_>,
        node: usize,
        cells: &mut [Cell],
        depth: u32,
    ) -> Result<Cell, Wrong> {
        if scan.peek()? != b'{' {
            let value = scan.value(depth)?;
            // What refers to nothing is null, or empty text where `ServiceNow` says it.
            return match value.kind {
                Kind::Null => Ok(value),
                Kind::Text if value.start == value.end => Ok(value),
                _ => Err(Wrong::NoObject(node, value.start as usize)),
            };
        }
        let start = scan.offset();
        scan.enter(depth + 1)?;
        let (mut place, mut is_first) = (0, true);
        while let Some(member) = self.next_member(scan, node, &mut place, is_first)? {
            match member {
                Member::Wanted(member) => self.fill(scan, member, cells, depth + 1)?,
                Member::Other => {
                    scan.value(depth + 1)?;
                }
            }
            is_first = false;
        }
        Ok(scan.cell(Kind::Object, start))
    }
}
