//! What goes wrong in any repository.

use connector_core::{Column, DatasetId, Error, ErrorKind};

use super::Table;

/// Something that whoever delivers should not have sent.
pub(in crate::sink) fn refused(message: &str) -> Error {
    Error::new(ErrorKind::Sink, message)
}

/// A change that does not fit the rows that are there. The sink is then sent what differs.
pub(in crate::sink) fn changed_by_hand(message: &str, table: &Table) -> Error {
    let message = format!("{message}: somebody changed the table");
    Error::new(ErrorKind::Incomplete, message).with("table", &table.name)
}

/// Rows that are others at the end of a cycle than the source's. What differs after changes is sent
/// again ([`ErrorKind::Incomplete`]); after everything was sent ([`ErrorKind::Sink`]), it is the
/// database that does not give back what it was given.
pub(in crate::sink) fn differs(
    kind: ErrorKind,
    dataset: &DatasetId,
    table: &str,
    found: u64,
    expected: u64,
) -> Error {
    Error::new(kind, "the table's rows differ from the source's")
        .with("data set", dataset)
        .with("table", table)
        .with("rows in the table", found)
        .with("rows at the source", expected)
}

/// A cell that no sink wrote.
pub(in crate::sink) fn not_as_written(table: &Table, column: &Column) -> Error {
    Error::new(ErrorKind::Sink, "a cell is not what was written there")
        .with("table", &table.name)
        .with("column", column.name())
}
