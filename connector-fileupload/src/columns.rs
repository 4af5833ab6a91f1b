//! The columns of a data set, from the headers of its files and what was found before.

use std::sync::Arc;

use connector_core::{Column, Error, ErrorKind, Result, Schema, Type};

use crate::{
    datasets::Files,
    file::while_unchanged,
    key::{self, COUNT, Found},
    stop::Stop,
    table::Table,
};

/// Returns the columns that rows of the files have.
///
/// # Errors
///
/// [`ErrorKind::Data`] when a file has no header that can be used, when a column of the key is
/// missing, or when there is no row yet to find a key by; [`ErrorKind::Incomplete`] when a file
/// changed meanwhile.
pub(crate) fn schema(files: &Files, known: Option<&Schema>, stop: &Stop) -> Result<Arc<Schema>> {
    let (names, key) = while_unchanged(&files.list, || {
        let headers = headers(files)?;
        let names = in_order(&headers, known);
        let key = key(files, &headers, &names, known, stop)?;
        Ok((names, key))
    })?;
    warn_of_unknown(files, &names);
    let mut columns: Vec<Column> = names
        .iter()
        .map(|name| match &key {
            Key::Columns(key) if key.contains(name) => column(files, name).key(),
            Key::Counted if !files.settings.volatile.contains(name) => column(files, name).key(),
            _ => optional(files, name),
        })
        .collect();
    if key == Key::Counted {
        columns.push(Column::new(COUNT, Type::Int));
    }
    let schema = Schema::new(columns)?;
    Ok(Arc::new(schema.with_duplicates(files.settings.duplicates)))
}

/// Returns the header of each file, which is all that [`schema`] needs when the key is known.
///
/// # Errors
///
/// [`ErrorKind::Data`] when a file has no header that can be used.
pub(crate) fn headers(files: &Files) -> Result<Vec<Vec<String>>> {
    let format = &files.settings.format;
    let header = |file| Ok(Table::open(file, format)?.columns().to_vec());
    files.list.iter().map(header).collect()
}

/// Returns the declared key columns that a file lacks.
pub(crate) fn missing_key(files: &Files, headers: &[Vec<String>]) -> Vec<String> {
    let lacks = |name: &&String| headers.iter().any(|header| !header.contains(*name));
    files.settings.key.iter().filter(lacks).cloned().collect()
}

/// The known columns keep their places, so that rows of the baseline keep their bytes; new ones
/// follow in the order of the files.
fn in_order(headers: &[Vec<String>], known: Option<&Schema>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for name in headers.iter().flatten() {
        if !found.contains(name) {
            found.push(name.clone());
        }
    }
    let known = known.map(Schema::columns).unwrap_or_default();
    let mut names: Vec<String> = known
        .iter()
        .map(|column| column.name().to_owned())
        .filter(|name| found.contains(name))
        .collect();
    let new = found.into_iter().filter(|name| !names.contains(name));
    names.extend(new.collect::<Vec<_>>());
    names
}

fn column(files: &Files, name: &str) -> Column {
    let ty = files.settings.types.get(name).copied();
    Column::new(name, ty.unwrap_or(Type::Text))
}

fn optional(files: &Files, name: &str) -> Column {
    let column = column(files, name).null();
    if files.settings.volatile.iter().any(|other| other == name) {
        column.volatile()
    } else {
        column
    }
}

#[derive(PartialEq, Eq)]
enum Key {
    Columns(Vec<String>),
    /// Every column, volatile ones left out, and a count of the rows that are alike.
    Counted,
}

fn key(
    files: &Files,
    headers: &[Vec<String>],
    names: &[String],
    known: Option<&Schema>,
    stop: &Stop,
) -> Result<Key> {
    if !files.settings.key.is_empty() {
        let key = files.settings.key.clone();
        require(files, headers, &key, "declared in `key`")?;
        return Ok(Key::Columns(key));
    }
    match known {
        Some(known) => pinned(files, headers, names, known),
        None => find(files, names, stop),
    }
}

/// Keeps the key that was found on the first sync.
fn pinned(files: &Files, headers: &[Vec<String>], names: &[String], known: &Schema) -> Result<Key> {
    let key: Vec<String> = known.key().map(|column| column.name().to_owned()).collect();
    if key::is_counted(known) {
        refuse_count(names)?;
        let gone = |name: &&String| !names.contains(*name);
        return match key.iter().find(gone) {
            Some(name) => Err(key_is_gone(
                name,
                "all of which are the key, for want of a smaller one",
            )),
            None => Ok(Key::Counted),
        };
    }
    require(files, headers, &key, "found on the first sync")?;
    Ok(Key::Columns(key))
}

fn require(files: &Files, headers: &[Vec<String>], key: &[String], whose: &str) -> Result<()> {
    for (file, header) in files.list.iter().zip(headers) {
        if let Some(name) = key.iter().find(|name| !header.contains(name)) {
            return Err(key_is_gone(name, whose).with("file", &file.name));
        }
    }
    Ok(())
}

fn key_is_gone(name: &str, whose: &str) -> Error {
    Error::new(
        ErrorKind::Data,
        format!(
            "a column of the key is missing ({whose}); names are compared letter by letter; bring \
             it back, or declare another `key`"
        ),
    )
    .with("column", name)
}

fn refuse_count(names: &[String]) -> Result<()> {
    if names.iter().any(|name| name == COUNT) {
        return Err(Error::new(
            ErrorKind::Data,
            "the files have a column of the name that counts equal rows; rename it, or declare a \
             `key`",
        )
        .with("column", COUNT));
    }
    Ok(())
}

fn find(files: &Files, names: &[String], stop: &Stop) -> Result<Key> {
    let volatile = |name: &&String| files.settings.volatile.contains(*name);
    let candidates: Vec<&String> = names.iter().filter(|name| !volatile(name)).collect();
    if candidates.is_empty() {
        return Err(Error::new(
            ErrorKind::Data,
            "every column is volatile, so none can be the key; take one out of `volatile`",
        ));
    }
    let columns: Vec<Column> = candidates.iter().map(|name| column(files, name)).collect();
    match key::find(files, &columns, stop)? {
        Found::Leading(count) => {
            let key: Vec<String> = candidates.into_iter().take(count).cloned().collect();
            tracing::info!(
                dataset = files.name,
                key = key.join(", "),
                "found a key, which is kept from now on; to have another declare `key`"
            );
            Ok(Key::Columns(key))
        }
        Found::Nothing => {
            refuse_count(names)?;
            tracing::info!(
                dataset = files.name,
                "found no key: every column together is the key, with a count of equal rows in \
                 `{COUNT}`; so it stays until a `key` is declared"
            );
            Ok(Key::Counted)
        }
        Found::NoRows => Err(Error::new(
            ErrorKind::Data,
            "there is no row yet to find a key by; declare a `key`, or wait for rows",
        )),
    }
}

fn warn_of_unknown(files: &Files, names: &[String]) {
    let settings = &files.settings;
    for name in settings.types.keys().chain(&settings.volatile) {
        if !names.contains(name) {
            tracing::warn!(
                dataset = files.name,
                column = name,
                "`types` or `volatile` names a column that no file has"
            );
        }
    }
}
