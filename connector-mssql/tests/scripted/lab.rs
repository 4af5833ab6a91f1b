//! A connector over a scripted server, and time that passes without anybody living through it.

use std::{pin::pin, sync::Arc, time::Duration};

use connector_core::{Connector, Dataset, DatasetExt, Result, Row, Secret};
use connector_mssql::{Authentication, DatasetConfig, SqlServer, SqlServerConfig};
use connector_testkit::{
    cells,
    tds::{Column, Reply, Script, SqlType, TdsServer},
};

/// What every statement that reads the table has.
pub(crate) const FROM: &str = "FROM [dbo].[t] AS";
pub(crate) const USER: &str = "reader";
pub(crate) const PASSWORD: &str = "Passw0rd!";

/// Name, type, length, precision, scale and collation of a column, as `sys.columns` has them.
pub(crate) type Described = (&'static str, i64, i64, i64, i64, Option<&'static str>);

pub(crate) const ID: Described = ("id", 56, 4, 10, 0, None);

/// The catalogue's answer.
pub(crate) fn catalogue(columns: &[Described]) -> Reply {
    let text = || SqlType::NVarChar(128);
    let mut reply = Reply::columns([
        Column::new("name", text()),
        Column::new("system_type_id", SqlType::Int),
        Column::new("max_length", SqlType::Int),
        Column::new("precision", SqlType::Int),
        Column::new("scale", SqlType::Int),
        Column::new("is_nullable", SqlType::Bit),
        Column::new("collation_name", text()),
    ]);
    for (name, system, length, precision, scale, collation) in columns {
        let mut row = cells![*name, *system, *length, *precision, *scale, true].to_vec();
        row.extend(match collation {
            Some(name) => cells![*name],
            None => cells![()],
        });
        reply = reply.row(row);
    }
    reply
}

/// What the database says of itself: whether it allows snapshots, and row versions.
pub(crate) fn database(snapshots: bool, row_versions: bool) -> Reply {
    Reply::columns([
        Column::new("a", SqlType::TinyInt),
        Column::new("b", SqlType::Bit),
        Column::new("c", SqlType::NVarChar(128)),
    ])
    .row(cells![
        u8::from(snapshots),
        row_versions,
        "SQL_Latin1_General_CP1_CI_AS"
    ])
}

/// A server that has the table `t` with these columns.
pub(crate) fn script(columns: &[Described]) -> Script {
    Script::new()
        .login(USER, PASSWORD)
        .on("sys.databases", database(true, true))
        .on("OBJECT_ID(N'[dbo].[t]')", catalogue(columns))
}

/// Rows of the one column `id`.
pub(crate) fn id_column() -> Reply {
    Reply::columns([Column::new("id", SqlType::Int).not_null()])
}

/// As many rows, numbered from 0.
pub(crate) fn ids(count: u64) -> Reply {
    id_column().rows(count, |number| {
        cells![i64::try_from(number).unwrap()].to_vec()
    })
}

/// A server, and what a person would set for it.
pub(crate) struct Lab {
    pub(crate) server: TdsServer,
    pub(crate) config: SqlServerConfig,
    _authority: tempfile::NamedTempFile,
}

impl Lab {
    pub(crate) async fn start(script: Script) -> Self {
        let server = script.start().await;
        let authority = server.authority_pem();
        Self::trusting(server, &authority)
    }

    /// With certificates that are trusted other than those of the server's own authority.
    pub(crate) fn trusting(server: TdsServer, pem: &str) -> Self {
        let authority = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(authority.path(), pem).unwrap();
        // An address: to look up a name takes a thread, and so time.
        let name = format!("127.0.0.1,{}", server.port()).parse().unwrap();
        let mut config = SqlServerConfig::<()>::new(name, "db");
        config.auth = Authentication::Sql {
            user: USER.to_owned(),
            password: Secret::new(PASSWORD),
        };
        config.ca_file = Some(authority.path().to_owned());
        config.datasets = vec![DatasetConfig::new("t", "t", ["id"])];
        Self {
            server,
            config,
            _authority: authority,
        }
    }

    pub(crate) fn connector(&self) -> SqlServer {
        SqlServer::new("mssql", "lab", self.config.clone(), &[]).unwrap()
    }

    pub(crate) async fn dataset(&self) -> Arc<dyn Dataset> {
        self.connector().datasets().await.unwrap().swap_remove(0)
    }

    pub(crate) async fn read(&self) -> Result<Vec<Row>> {
        self.dataset().await.collect().await
    }

    /// The statements that read the table, in order.
    pub(crate) fn reads(&self) -> Vec<String> {
        let requests = self.server.requests().into_iter();
        let texts = requests.map(|request| request.text);
        texts.filter(|text| text.contains(FROM)).collect()
    }
}

/// Turns of the runtime in which everything that has arrived is dealt with.
const TURNS: usize = 32;
const STEP: Duration = Duration::from_millis(500);

/// Does the work, letting time pass only when everybody waits for it: on the paused clock, which
/// would leap ahead by itself whenever bytes are on their way.
pub(crate) async fn hurried<F: Future>(work: F) -> F::Output {
    tokio::time::pause();
    let mut work = pin!(work);
    loop {
        for _ in 0..TURNS {
            tokio::select! {
                biased;
                outcome = &mut work => {
                    tokio::time::resume();
                    return outcome;
                }
                () = tokio::task::yield_now() => {}
            }
        }
        tokio::time::advance(STEP).await;
    }
}
