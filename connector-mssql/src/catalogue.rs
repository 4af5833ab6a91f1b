//! Asking the server what it has.

use connector_core::{ErrorKind, Result};

use crate::{
    definition::{Definition, JoinedWhat},
    link::{Asked, Link},
    meet::{Found, FoundColumn, FoundObject},
    name::{ObjectName, text_literal},
    types::{SqlType, is_decoded},
};

/// What of a database concerns every read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Database {
    /// `snapshot_isolation_state`: 1 when snapshots are allowed.
    pub(crate) snapshots: bool,
    /// Each statement sees one moment without locks.
    pub(crate) row_versions: bool,
    pub(crate) collation: Option<String>,
}

/// Reads what the database allows.
pub(crate) async fn database(link: &mut Link) -> Result<Database> {
    const SQL: &str = "SELECT d.snapshot_isolation_state, d.is_read_committed_snapshot_on, \
                       d.collation_name FROM sys.databases AS d WHERE d.database_id = DB_ID()";
    let (_, rows) = link.all(SQL.into()).await?;
    Ok(rows.first().map_or_else(Database::default, |row| Database {
        snapshots: row.int(0) == Some(1),
        row_versions: row.int(1) == Some(1),
        collation: row.text(2),
    }))
}

/// Looks up everything that a definition names.
pub(crate) async fn find(
    link: &mut Link,
    definition: &Definition,
    database: &Database,
) -> Result<Found> {
    let mut found = Found {
        decoded: is_decoded(database.collation.as_deref()),
        ..Found::default()
    };
    if let Some(query) = &definition.query {
        found.query = describe(link, query).await?;
        return Ok(found);
    }
    for part in &definition.parts {
        let mut first = None;
        for name in &part.objects {
            first = object(link, name).await?;
            if first.is_some() {
                break;
            }
        }
        found.parts.push(first);
    }
    for join in &definition.joins {
        found.joins.push(match &join.what {
            JoinedWhat::Object(name) => object(link, name).await?,
            JoinedWhat::Query(_) => None,
        });
    }
    Ok(found)
}

async fn object(link: &mut Link, name: &ObjectName) -> Result<Option<FoundObject>> {
    let sql = format!(
        "SELECT c.name, t.system_type_id, c.max_length, c.precision, c.scale, c.is_nullable, \
         c.collation_name FROM sys.columns AS c JOIN sys.types AS t \
         ON t.user_type_id = c.user_type_id WHERE c.object_id = OBJECT_ID({}) ORDER BY c.column_id",
        text_literal(&name.to_string())
    );
    let (_, rows) = link.all(sql.as_str().into()).await?;
    let int = |row: &crate::driver::Record<'_>, place| row.int(place).unwrap_or_default();
    let mut columns: Vec<_> = rows
        .iter()
        .map(|row| FoundColumn {
            name: row.text(0).unwrap_or_default(),
            ty: SqlType::from_catalogue(int(row, 1), int(row, 2), int(row, 3), int(row, 4)),
            nullable: row.int(5) != Some(0),
            collation: row.text(6),
        })
        .collect();
    if columns.is_empty() {
        // The catalogue hides what one may not read, and a synonym has no columns of its own:
        // asking for no row tells these from what does not exist.
        let shown = name.to_string();
        let sql = format!("SELECT TOP (0) * FROM {shown} AS [t]");
        let asked = Asked {
            sql: &sql,
            object: Some(&shown),
        };
        columns = match link.all(asked).await {
            Ok((reply, _)) => reply.into_iter().map(unknown).collect(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
    }
    Ok(Some(FoundObject {
        name: name.clone(),
        columns,
    }))
}

/// A column of which only the reply's description is known.
fn unknown(column: crate::driver::ResultColumn) -> FoundColumn {
    FoundColumn {
        name: column.name,
        ty: column.ty,
        nullable: true,
        collation: None,
    }
}

/// The columns of a statement that a person wrote, without running it where the server can tell.
async fn describe(link: &mut Link, query: &str) -> Result<Vec<FoundColumn>> {
    let sql = format!(
        "SELECT r.name, r.system_type_id, r.max_length, r.precision, r.scale, r.is_nullable, \
         r.collation_name FROM sys.dm_exec_describe_first_result_set({}, NULL, 0) AS r \
         WHERE r.is_hidden = 0 ORDER BY r.column_ordinal",
        text_literal(query)
    );
    let int = |row: &crate::driver::Record<'_>, place| row.int(place).unwrap_or_default();
    match link.all(sql.as_str().into()).await {
        // A row without a type is the server's way to say that the statement is wrong; running it
        // says what is.
        Ok((_, rows)) if rows.iter().all(|row| row.int(1).is_some()) && !rows.is_empty() => {
            return Ok(rows
                .iter()
                .map(|row| FoundColumn {
                    name: row.text(0).unwrap_or_default(),
                    ty: SqlType::from_catalogue(int(row, 1), int(row, 2), int(row, 3), int(row, 4)),
                    nullable: true,
                    collation: row.text(6),
                })
                .collect());
        }
        Ok(_) => {}
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Source) => {}
        Err(error) => return Err(error),
    }
    let columns = {
        let patience = link.patience();
        let reply = link.ask(query.into(), patience).await?;
        reply.columns().to_vec()
    };
    // The rows that nobody read are still on their way.
    link.reopen().await?;
    Ok(columns.into_iter().map(unknown).collect())
}
