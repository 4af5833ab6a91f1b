//! Replies into rows, in one pass.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use connector_core::{Batch, Error, ErrorKind, Result, Retry, Schema, Type, Uuid, Value};

use crate::{
    api::ApiVersion,
    declare::{Origin, Property, Take, VcenterDataset},
    fault::{self, Fault},
    xml::{Element, Xml},
};

/// A data set as one version of the API has it.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) dataset: &'static VcenterDataset,
    /// The properties that are asked for.
    pub(crate) paths: Vec<&'static str>,
    schema: Arc<Schema>,
    /// What is kept of the value of each property.
    slots: Vec<Vec<Slot>>,
    /// Which of the properties is the list whose items are rows.
    each: Option<usize>,
    /// What each column is, in their order.
    columns: Vec<Source>,
}

/// A part of a property's value that is kept.
#[derive(Debug)]
struct Slot {
    /// Where it stands: names of elements, each behind a slash; empty for the value itself.
    path: String,
    /// Whether the type of the object that is referred to is meant.
    of_type: bool,
    cell: usize,
    joined: bool,
}

#[derive(Debug, Clone, Copy)]
enum Source {
    Vcenter,
    Id,
    /// Of the object, or of the list's item.
    Cell(usize),
    OfItem(usize),
    FolderPath,
    FolderDatacenter,
    /// The spoken version does not have it.
    Absent,
}

/// A value, kept until the whole object was seen. Its memory is used again.
#[derive(Debug, Default, Clone)]
struct Cell {
    there: bool,
    text: String,
}

/// Where an object stands in the tree of folders.
#[derive(Debug, Default, Clone)]
pub(crate) struct Place {
    pub(crate) path: String,
    pub(crate) datacenter: Option<String>,
}

/// What rows need besides the reply.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) vcenter: Uuid,
    pub(crate) places: HashMap<String, Place>,
}

impl Plan {
    pub(crate) fn new(
        dataset: &'static VcenterDataset,
        schema: &Arc<Schema>,
        version: ApiVersion,
    ) -> Self {
        let mut plan = Self {
            dataset,
            paths: Vec::new(),
            schema: Arc::clone(schema),
            slots: Vec::new(),
            each: None,
            columns: Vec::new(),
        };
        let mut cells = 0;
        if !dataset.each.is_empty() {
            plan.each = Some(plan.property(dataset.each));
        }
        for column in dataset.columns {
            let source = match column.take {
                Take::Vcenter => Source::Vcenter,
                Take::Id => Source::Id,
                Take::FolderPath => Source::FolderPath,
                Take::FolderDatacenter => Source::FolderDatacenter,
                Take::Property(_) if column.since.is_some_and(|since| !version.has(since)) => {
                    Source::Absent
                }
                Take::Property(path) => {
                    let (property, within) = path.split_once('/').unwrap_or((path, ""));
                    let property = plan.property(property);
                    let cell = cells;
                    cells += 1;
                    plan.slots[property].push(Slot::new(within, cell, column.joined));
                    if plan.each == Some(property) {
                        Source::OfItem(cell)
                    } else {
                        Source::Cell(cell)
                    }
                }
            };
            plan.columns.push(source);
        }
        plan
    }

    fn property(&mut self, path: &'static str) -> usize {
        let known = self.paths.iter().position(|known| *known == path);
        known.unwrap_or_else(|| {
            self.paths.push(path);
            self.slots.push(Vec::new());
            self.paths.len() - 1
        })
    }

    fn cells(&self) -> Vec<Cell> {
        let count = self.slots.iter().map(Vec::len).sum();
        vec![Cell::default(); count]
    }

    /// Finds the columns of a property.
    fn columns_of(&self, path: &str) -> impl Iterator<Item = &'static Property> {
        self.dataset.columns.iter().filter(move |column| {
            matches!(column.take, Take::Property(own) if own.split('/').next() == Some(path))
        })
    }

    /// Starts reading replies.
    pub(crate) fn decoder(self: &Arc<Self>, around: &Arc<Surroundings>) -> Decoder {
        Decoder {
            plan: Arc::clone(self),
            around: Arc::clone(around),
            batch: Batch::new(Arc::clone(&self.schema)),
            id: String::new(),
            cells: self.cells(),
            items: Vec::new(),
            used: 0,
            missing: Vec::new(),
            path: String::new(),
            name: String::new(),
            order: Order::default(),
        }
    }
}

impl Slot {
    fn new(within: &str, cell: usize, joined: bool) -> Self {
        let (path, of_type) = match within.strip_suffix("@type") {
            Some(path) => (path.trim_end_matches('/'), true),
            None => (within, false),
        };
        let path = if path.is_empty() {
            String::new()
        } else {
            format!("/{path}")
        };
        Self {
            path,
            of_type,
            cell,
            joined,
        }
    }
}

/// Reads the replies of one walk.
pub(crate) struct Decoder {
    plan: Arc<Plan>,
    around: Arc<Surroundings>,
    batch: Batch,
    // Of the object that is being read:
    id: String,
    cells: Vec<Cell>,
    items: Vec<Vec<Cell>>,
    used: usize,
    missing: Vec<(String, Fault)>,
    path: String,
    name: String,
    order: Order,
}

/// In which order the properties of objects come: mostly the same in all of them, so that one
/// comparison finds the next.
#[derive(Debug, Default)]
struct Order {
    /// Of each property the one that came after it; of none, at the end, the first.
    after: Vec<usize>,
    last: Option<usize>,
}

impl Order {
    fn find(&mut self, name: &str, paths: &[&str]) -> Option<usize> {
        self.after.resize(paths.len() + 1, 0);
        let guess = &mut self.after[self.last.unwrap_or(paths.len())];
        if paths.get(*guess) != Some(&name) {
            *guess = paths.iter().position(|path| *path == name)?;
        }
        self.last = Some(*guess);
        self.last
    }
}

/// What a reply held besides rows.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) rows: Option<Batch>,
    pub(crate) objects: usize,
    /// What the rest is asked for with; none at the end.
    pub(crate) token: Option<String>,
}

impl Decoder {
    /// Reads the reply to `RetrievePropertiesEx` or to the method that continues it.
    ///
    /// Without any object a reply has no `returnval` at all.
    pub(crate) fn page(&mut self, reply: &str) -> Result<Page> {
        let mut page = Page::default();
        let mut xml = Xml::new(reply);
        xml.soap_body()?;
        while let Some(element) = xml.child()? {
            if element.name() != "returnval" {
                xml.skip()?;
                continue;
            }
            while let Some(element) = xml.child()? {
                match element.name() {
                    "token" => page.token = Some(xml.text()?),
                    "objects" => {
                        page.objects += 1;
                        self.object(&mut xml)?;
                    }
                    _ => xml.skip()?,
                }
            }
        }
        xml.end()?;
        page.rows = Some(self.take());
        Ok(page)
    }

    /// Reads the reply of a method that returns the list itself.
    pub(crate) fn list(&mut self, reply: &str) -> Result<Batch> {
        let mut xml = Xml::new(reply);
        xml.soap_body()?;
        self.clear();
        while let Some(item) = xml.child()? {
            self.item(&mut xml, &item, 0)?;
        }
        xml.end()?;
        self.rows()?;
        Ok(self.take())
    }

    fn take(&mut self) -> Batch {
        let next = Batch::new(Arc::clone(&self.plan.schema));
        std::mem::replace(&mut self.batch, next)
    }

    fn clear(&mut self) {
        self.id.clear();
        self.cells.iter_mut().for_each(Cell::clear);
        self.used = 0;
        self.missing.clear();
        self.order.last = None;
    }

    /// Reads an `ObjectContent`: `obj`, a `propSet` for each property, a `missingSet` for each that
    /// can't be had. What is in neither has no value.
    fn object(&mut self, xml: &mut Xml<'_>) -> Result<()> {
        self.clear();
        while let Some(element) = xml.child()? {
            match element.name() {
                "obj" => self.id = xml.text()?,
                "propSet" => self.property(xml)?,
                "missingSet" => {
                    let missing = missing(xml)?;
                    self.missing.push(missing);
                }
                _ => xml.skip()?,
            }
        }
        if self.there()? { self.rows() } else { Ok(()) }
    }

    fn property(&mut self, xml: &mut Xml<'_>) -> Result<()> {
        let mut property = None;
        while let Some(element) = xml.child()? {
            match (element.name(), property) {
                ("name", _) => {
                    self.name.clear();
                    xml.text_into(&mut self.name)?;
                    property = self.order.find(&self.name, &self.plan.paths);
                }
                ("val", Some(property)) if self.plan.each == Some(property) => {
                    while let Some(item) = xml.child()? {
                        self.item(xml, &item, property)?;
                    }
                }
                ("val", Some(property)) => {
                    self.path.clear();
                    let slots = &self.plan.slots[property];
                    value(xml, &element, &mut self.path, slots, &mut self.cells)
                        .map_err(|error| self.at(error, property))?;
                }
                _ => xml.skip()?,
            }
        }
        Ok(())
    }

    fn item(&mut self, xml: &mut Xml<'_>, item: &Element<'_>, property: usize) -> Result<()> {
        if self.items.len() == self.used {
            self.items.push(self.plan.cells());
        }
        let cells = &mut self.items[self.used];
        cells.iter_mut().for_each(Cell::clear);
        self.used += 1;
        self.path.clear();
        value(xml, item, &mut self.path, &self.plan.slots[property], cells)
            .map_err(|error| self.at(error, property))
    }

    fn at(&self, error: Error, property: usize) -> Error {
        error.with("property", self.plan.paths[property])
    }

    /// Tells whether the object is there, and fails when something of it can't be had.
    fn there(&self) -> Result<bool> {
        // Destroyed while it was read.
        let gone = |(_, fault): &(_, Fault)| fault.kind == fault::NOT_FOUND;
        if self.missing.iter().any(gone) {
            return Ok(false);
        }
        for (path, fault) in &self.missing {
            let allowed = |flag: fn(&Property) -> bool| {
                let mut columns = self.plan.columns_of(path).peekable();
                columns.peek().is_some() && columns.all(flag)
            };
            let allowed = match fault.kind.as_str() {
                fault::NO_PERMISSION => allowed(|column| column.unless_denied),
                fault::INVALID_PROPERTY => allowed(|column| column.since.is_some()),
                _ => false,
            };
            if !allowed {
                return Err(fault.of_property(path));
            }
        }
        Ok(true)
    }

    fn rows(&mut self) -> Result<()> {
        if self.plan.each.is_none() {
            return self.row(None);
        }
        for item in 0..self.used {
            self.row(Some(item))?;
        }
        Ok(())
    }

    fn row(&mut self, item: Option<usize>) -> Result<()> {
        let place = self.around.places.get(&self.id);
        let mut row = self.batch.row();
        for (source, column) in self.plan.columns.iter().zip(self.plan.schema.columns()) {
            let cell = match *source {
                Source::Vcenter => {
                    row.value(&Value::Uuid(self.around.vcenter));
                    continue;
                }
                Source::Id => Some(self.id.as_str()),
                Source::Cell(cell) => self.cells[cell].value(),
                Source::OfItem(cell) => item.and_then(|item| self.items[item][cell].value()),
                Source::FolderPath => place.map(|place| place.path.as_str()),
                Source::FolderDatacenter => place.and_then(|place| place.datacenter.as_deref()),
                Source::Absent => None,
            };
            match cell {
                Some(text) if column.ty() == Type::Timestamp => row.parse(&moment(text)),
                Some(text) => row.parse(text),
                // What an item does not say of itself still tells it from others.
                None if column.is_key() && column.ty() == Type::Text => row.text(""),
                None => row.null(),
            };
        }
        row.end()
    }
}

impl Cell {
    fn clear(&mut self) {
        self.there = false;
        self.text.clear();
    }

    fn value(&self) -> Option<&str> {
        self.there.then_some(self.text.as_str())
    }

    fn start(&mut self, joined: bool) -> Result<()> {
        if self.there {
            if !joined {
                return Err(Error::new(
                    ErrorKind::Data,
                    "there are several values where one was expected",
                ));
            }
            self.text.push_str("; ");
        }
        self.there = true;
        Ok(())
    }
}

/// Cuts off what is finer than 100 ns: vCenter sends microseconds, servers that speak as it does may
/// send nanoseconds.
pub(crate) fn moment(text: &str) -> Cow<'_, str> {
    let digits = text.find('.').map_or(text.len(), |point| point + 1);
    let fraction = text[digits..].find(|c: char| !c.is_ascii_digit());
    let end = fraction.map_or(text.len(), |length| digits + length);
    if end <= digits + 7 {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{}{}", &text[..digits + 7], &text[end..]))
}

/// Reads an element into the cells of what it holds, and leaves it.
fn value(
    xml: &mut Xml<'_>,
    element: &Element<'_>,
    path: &mut String,
    slots: &[Slot],
    cells: &mut [Cell],
) -> Result<()> {
    let mut wanted = None;
    let mut deeper = false;
    for slot in slots {
        if slot.path == *path {
            if slot.of_type {
                if let Some(name) = element.object_type()? {
                    let cell = &mut cells[slot.cell];
                    cell.start(slot.joined)?;
                    cell.text.push_str(&name);
                }
            } else {
                cells[slot.cell].start(slot.joined)?;
                wanted = Some(slot.cell);
            }
        }
        let below = slot.path.strip_prefix(path.as_str());
        deeper |= below.is_some_and(|below| below.starts_with('/'));
    }
    if let (Some(cell), false) = (wanted, deeper) {
        return xml.text_into(&mut cells[cell].text);
    }
    if !deeper {
        return xml.skip();
    }
    while let Some(child) = xml.child()? {
        let before = path.len();
        path.push('/');
        path.push_str(child.name());
        value(xml, &child, path, slots, cells)?;
        path.truncate(before);
    }
    Ok(())
}

/// Reads a `MissingProperty`.
fn missing(xml: &mut Xml<'_>) -> Result<(String, Fault)> {
    let mut path = String::new();
    let mut fault = Fault::default();
    while let Some(element) = xml.child()? {
        match element.name() {
            "path" => path = xml.text()?,
            // A `LocalizedMethodFault`, which has the fault in an element of the same name.
            "fault" => {
                while let Some(element) = xml.child()? {
                    match element.name() {
                        "fault" => fault.read(xml, &element)?,
                        "localizedMessage" => fault.message = xml.text()?,
                        _ => xml.skip()?,
                    }
                }
            }
            _ => xml.skip()?,
        }
    }
    Ok((path, fault))
}

impl Plan {
    /// Tells whether rows need the tree of folders.
    pub(crate) fn needs_places(&self) -> bool {
        let of_tree =
            |source: &Source| matches!(source, Source::FolderPath | Source::FolderDatacenter);
        self.columns.iter().any(of_tree)
    }

    /// Returns what is read.
    pub(crate) fn from(&self) -> Origin {
        self.dataset.from
    }
}

/// What a walk ends with whose session is gone.
pub(crate) fn lost(error: Error) -> Error {
    Error::new(
        ErrorKind::Incomplete,
        "the session ended while it was read from",
    )
    .with_retry(Retry::Restart)
    .with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_as_fine_as_rows_hold() {
        for (text, held) in [
            ("2026-11-21T14:20:45Z", "2026-11-21T14:20:45Z"),
            ("2026-11-21T14:20:45.123456Z", "2026-11-21T14:20:45.123456Z"),
            (
                "2026-11-21T14:20:45.123456789Z",
                "2026-11-21T14:20:45.1234567Z",
            ),
            (
                "2026-11-21T14:20:45.1234567890+01:00",
                "2026-11-21T14:20:45.1234567+01:00",
            ),
            ("x.", "x."),
        ] {
            assert_eq!(moment(text), held);
        }
    }
}
