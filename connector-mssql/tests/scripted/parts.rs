//! Data sets that are put together from several objects.

use connector_core::{Availability, Connector, DatasetExt, ErrorKind};
use connector_mssql::{
    Override, SqlServer,
    dataset::{SqlDataset, int, part},
};
use connector_testkit::{
    cells,
    tds::{Column, Reply, ServerError, SqlType},
};

use crate::lab::{FROM, ID, Lab, script};

/// Software of 32 bits and of 64.
const SOFTWARE: SqlDataset = SqlDataset {
    name: "software",
    from: "t x",
    columns: &[int("id", "x.id").key(), int("bits", "32").key()],
    parts: &[part("t_64 x", &[("bits", "64")])],
    ..SqlDataset::NEW
}
.checked();

fn rows(bits: i32) -> Reply {
    let columns = ["id", "bits"].map(|name| Column::new(name, SqlType::Int));
    Reply::columns(columns).row(cells![1, bits])
}

async fn lab(has_64: bool) -> (Lab, SqlServer) {
    let mut script = script(&[ID]).on(FROM, rows(32));
    script = if has_64 {
        script
            .on("OBJECT_ID(N'[dbo].[t_64]')", crate::lab::catalogue(&[ID]))
            .on("FROM [dbo].[t_64] AS", rows(64))
    } else {
        script
            .on("OBJECT_ID(N'[dbo].[t_64]')", crate::lab::catalogue(&[]))
            .on(
                "FROM [dbo].[t_64] AS",
                Reply::error(ServerError::new(208, 16, 1, "Invalid object name.")),
            )
    };
    let mut lab = Lab::start(script).await;
    lab.config.datasets.clear();
    let connector = connector(&lab);
    (lab, connector)
}

fn connector(lab: &Lab) -> SqlServer {
    SqlServer::new("mssql", "lab", lab.config.clone(), &[SOFTWARE]).unwrap()
}

async fn read(connector: &SqlServer) -> connector_core::Result<usize> {
    let dataset = connector.datasets().await?.swap_remove(0);
    dataset.collect().await.map(|rows| rows.len())
}

#[tokio::test]
async fn both_are_read() {
    let (_lab, connector) = lab(true).await;
    assert_eq!(read(&connector).await.unwrap(), 2);
}

#[tokio::test]
async fn one_that_is_missing_is_an_error_until_a_person_leaves_it_out() {
    let (mut lab, connector_of_both) = lab(false).await;
    let error = read(&connector_of_both).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let text = error.to_string();
    for part in [
        "no [dbo].[t_64]",
        "its rows would look deleted",
        "`without = [\"[dbo].[t_64]\"]`",
        "data set: software",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let report = connector_of_both.check().await.unwrap();
    let availability = &report.datasets[0].availability;
    assert!(
        matches!(availability, Availability::Failed(_)),
        "{availability}"
    );

    let own = Override {
        without: vec!["[dbo].[t_64]".to_owned()],
        ..Override::default()
    };
    lab.config.overrides.insert("software".to_owned(), own);
    assert_eq!(read(&connector(&lab)).await.unwrap(), 1);
}
