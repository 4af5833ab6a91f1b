//! What goes wrong in any repository.

use connector_core::{Column, DatasetId, Error, ErrorKind};

use super::Table;

/// Something that whoever delivers should not have sent.
pub(in crate::sink) fn refused(message: &str) -> Error {
    Error::new(ErrorKind::Sink, message)
}

pub(in crate::sink) fn changed_by_hand(message: &str, table: &Table) -> Error {
    let message = format!("{message}: run `datasync sync --clean` to load it anew");
    Error::new(ErrorKind::Sink, message).with("table", &table.name)
}

pub(in crate::sink) fn differs(
    dataset: &DatasetId,
    table: &str,
    found: u64,
    expected: u64,
) -> Error {
    Error::new(
        ErrorKind::Sink,
        "the table's rows differ from the source's: run `datasync sync --clean` to load it anew",
    )
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
