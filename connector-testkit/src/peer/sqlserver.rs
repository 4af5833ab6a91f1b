//! The SQL Server peer.

use std::{
    io,
    process::Command,
    sync::{Mutex, PoisonError},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{process::Process, python::PythonPackages};
use crate::certificate::{Authority, Certificate};

const PACKAGES: PythonPackages = PythonPackages {
    name: "sqlserver",
    requirements: include_str!("../../peers/sqlserver.txt"),
};
const SCRIPT: &str = include_str!("../../peers/sqlserver.py");

/// A table of a [`SqlServerPeer`]: columns with T-SQL types, and rows.
///
/// Types: `bit`, `tinyint`, `smallint`, `int`, `bigint`, `real`, `float`, `datetime`,
/// `uniqueidentifier`, `nvarchar(n)`, `nvarchar(max)`, `varbinary(n)`, `binary(n)`. Values are
/// JSON: numbers, booleans and text, `null`, a `datetime` as `2026-01-02T03:04:05.123`, a
/// `uniqueidentifier` as text, bytes in hex.
///
/// ```
/// use connector_testkit::peer::SqlTable;
/// use serde_json::json;
///
/// let table = SqlTable::new("v_Device")
///     .column("ResourceID", "int")
///     .column("Name", "nvarchar(256)")
///     .row([json!(1), json!("PC-1")])
///     .row([json!(2), json!(null)]);
/// # drop(table);
/// ```
#[derive(Debug, Clone)]
pub struct SqlTable {
    name: String,
    columns: Vec<Value>,
    rows: Vec<Value>,
}

impl SqlTable {
    /// Starts a table without columns; its schema is `dbo`.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            columns: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// Adds a column.
    #[must_use]
    pub fn column(mut self, name: &str, sql_type: &str) -> Self {
        self.columns.push(json!({ "name": name, "type": sql_type }));
        self
    }

    /// Adds a row, a value for each column.
    #[must_use]
    pub fn row(mut self, values: impl IntoIterator<Item = Value>) -> Self {
        self.rows.push(values.into_iter().collect());
        self
    }

    /// Adds rows.
    #[must_use]
    pub fn rows(mut self, rows: impl IntoIterator<Item = Vec<Value>>) -> Self {
        self.rows.extend(rows.into_iter().map(Value::Array));
        self
    }
}

/// A server that speaks SQL Server's protocol and reads its SQL, and that we did not write:
/// `pysqlbridge` 2.1.3.
///
/// It listens on a free port of 127.0.0.1 with a certificate for `localhost` and `127.0.0.1`, and
/// serves the tables it was last given, to open connections too. Its database is always called
/// `pysqlbridge`, whatever database a login names. The process ends when this is dropped.
///
/// # What it does
///
/// Found by asking it, version 2.1.3:
///
/// | asked | answered |
/// | --- | --- |
/// | encryption required, or login only | yes, TLS 1.2; unencrypted, and strict (TDS 8.0): no |
/// | SQL login, right and wrong password | yes; 18456, class 14 |
/// | Windows login | on Windows only |
/// | several connections at once | yes |
/// | a table without schema, `dbo.`, `[db].[dbo].` | yes; any other schema and database, too: they are ignored |
/// | `WHERE`, `ORDER BY`, `TOP (n)`, `JOIN`, `GROUP BY … HAVING`, `WITH … AS`, derived tables, `UNION`, `CASE`, `ROW_NUMBER`, `OPTION (…)`, `WITH (NOLOCK)` | yes |
/// | `COUNT_BIG(*)`, `MIN`, `MAX` | yes; `bigint`, and the column's type |
/// | `SELECT TOP (0) *` | yes, with the columns' types |
/// | `COLLATE` in an expression | no, a syntax error with number 50000 |
/// | `CAST` to `bigint`, `smallint`, `tinyint` | the value; the column is an `int` when all values fit |
/// | `CAST` to `decimal`, `numeric`, `money`, `real` | a `float` column |
/// | `CAST` to `date`, `datetime2` | a `datetime` column |
/// | `CAST` to `nvarchar(n)`, `varchar(n)` | an `nvarchar` column as long as its longest value |
/// | `CAST` to `bit`, `float`, `datetime` | that type |
/// | `CAST` to `uniqueidentifier`, `varbinary`, `time`, `datetimeoffset` | no, number 50000 |
/// | `CONVERT(nvarchar(36), uniqueidentifier)`, `CONVERT(varchar(33), datetime, 126)` | yes |
/// | `CONVERT` of bytes to text | wrong: Python's `b'…'` |
/// | several statements in a batch; `DECLARE`, `IF`, `TRY` | yes |
/// | parameters: `sp_executesql` as a remote call | yes |
/// | an unknown table; an unknown column | 208; 207. Both with other words than SQL Server's |
/// | a table that was given to [`deny`](Self::deny) | 229, class 14, in SQL Server's words |
/// | `sys.objects`, `sys.tables`, `sys.columns`, `sys.types`, `sys.schemas`, `INFORMATION_SCHEMA.TABLES` and `.COLUMNS` | yes: every table is a `USER_TABLE`, every column nullable |
/// | `sys.views`, `INFORMATION_SCHEMA.VIEWS`, `sys.index_columns`, `sys.dm_exec_connections` | empty |
/// | types in `sys.columns` | right, except: `binary(n)` is in no `sys.types`, `real` is said to be `float`, `nvarchar(max)` is `nvarchar` of 8000 bytes rather than -1 |
/// | types in `INFORMATION_SCHEMA.COLUMNS` | `int`, `bigint`, `float`, `nvarchar`, `datetime` right; `smallint` and `tinyint` are `int`, and `bit`, `uniqueidentifier` and binary types `nvarchar` |
/// | `sp_describe_first_result_set`; `sys.dm_exec_describe_first_result_set`, `sys.partitions` | 2812; 208 |
/// | `OBJECT_ID(N'dbo.x')` | an id, or null |
/// | `HAS_PERMS_BY_NAME` | always 0 |
/// | `fn_my_permissions`, `TYPE_NAME`, `COL_LENGTH`, `SYSDATETIMEOFFSET` | no; `SYSDATETIME`, `GETUTCDATE`, `DATEDIFF`: yes |
/// | `SERVERPROPERTY` of version, edition, collation; `DB_NAME()`, `@@VERSION` | yes |
/// | `sys.databases` | `snapshot_isolation_state` 0, `is_read_committed_snapshot_on` 0, collation `SQL_Latin1_General_CP1_CI_AS` |
/// | `SET …`, `SET TRANSACTION ISOLATION LEVEL SNAPSHOT`, `SET FMTONLY ON` | accepted without effect |
/// | `BEGIN TRAN`, `COMMIT`, `@@TRANCOUNT` | counted; `COMMIT` without `BEGIN` is 3902 |
/// | views that are a query | no: every name is a table with rows. A column's type is what the table declares |
///
/// What else SQL Server does (the other types, errors by number, cuts, hangs, attention) is
/// [`TdsServer`](crate::tds::TdsServer)'s.
pub struct SqlServerPeer {
    process: Mutex<Process>,
    port: u16,
    authority: Authority,
    user: String,
    /// Holds the script that runs.
    _folder: TempDir,
}

impl SqlServerPeer {
    /// Installs the peer if that was not done before, starts it without tables, and waits until it
    /// listens.
    ///
    /// The only login is this user with this password. Blocks the thread for about a second, and
    /// for the time of a download once.
    ///
    /// # Panics
    ///
    /// When it can't be installed or started: with what was printed, and what to do.
    pub fn start(user: &str, password: &str) -> Self {
        match Self::try_start(user, password) {
            Ok(peer) => peer,
            Err(error) => panic!("no SQL Server peer: {error}"),
        }
    }

    fn try_start(user: &str, password: &str) -> io::Result<Self> {
        let python = PACKAGES.python()?;
        let folder = tempfile::tempdir()?;
        let script = folder.path().join("serve.py");
        std::fs::write(&script, SCRIPT)?;
        let mut process = Process::start(Command::new(python).arg("-B").arg(&script))?;
        let authority = Authority::new();
        let certificate: Certificate = authority.issue(&["localhost", "127.0.0.1"]);
        let ready = process.ask(&json!({
            "certificate": certificate.pem(),
            "key": certificate.key_pem(),
            "logins": [{ "user": user, "password": password }],
        }))?;
        let port = ready["port"]
            .as_u64()
            .and_then(|port| u16::try_from(port).ok());
        Ok(Self {
            process: Mutex::new(process),
            port: port.ok_or_else(|| io::Error::other(format!("a port, but {ready}")))?,
            authority,
            user: user.to_owned(),
            _folder: folder,
        })
    }

    /// Serves these tables and no others, from the next statement on.
    ///
    /// # Panics
    ///
    /// When the peer refuses a table, or has ended.
    pub fn serve<'a>(&self, tables: impl IntoIterator<Item = &'a SqlTable>) {
        self.deny(tables, []);
    }

    /// Serves these tables, and refuses SELECT on those names with error 229.
    ///
    /// As on SQL Server, a name without rights is in no catalogue view.
    ///
    /// # Panics
    ///
    /// When the peer refuses a table, or has ended.
    pub fn deny<'a>(
        &self,
        tables: impl IntoIterator<Item = &'a SqlTable>,
        denied: impl IntoIterator<Item = &'a str>,
    ) {
        let tables: Vec<_> = tables
            .into_iter()
            .map(|t| json!({ "name": t.name, "columns": t.columns, "rows": t.rows }))
            .collect();
        let denied: Vec<_> = denied.into_iter().collect();
        let question = json!({ "tables": tables, "denied": denied });
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        match process.ask(&question) {
            Ok(answer) if answer["served"] == true => {}
            Ok(answer) => panic!("the SQL Server peer refuses the tables: {answer}"),
            Err(error) => panic!("{error}"),
        }
    }

    /// Returns the port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the one user that may log in.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Returns the certificate of the authority to trust, as PEM.
    pub fn authority_pem(&self) -> String {
        self.authority.pem()
    }
}
