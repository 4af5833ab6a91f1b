//! Declarations against Graph's own schema, against the samples of its documentation, and against
//! the README.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::{fmt::Write, fs, path::Path, sync::Arc};

use connector_core::{Batch, Type, Value};
use connector_graph::{
    Call, Cloud, GraphDataset, Version,
    decode::{CsvDecoder, PageDecoder, ReplyColumn},
};
use connector_office365::DATASETS;
use connector_testkit::graph::GraphSchema;
use serde_json::Value as Json;

fn dataset(name: &str) -> &'static GraphDataset {
    DATASETS.iter().find(|d| d.name() == name).unwrap()
}

fn fits(edm: &str, ty: Type) -> bool {
    match edm {
        "Edm.Boolean" => ty == Type::Bool,
        "Edm.Int32" | "Edm.Int64" => ty == Type::Int,
        "Edm.DateTimeOffset" => ty == Type::Timestamp,
        "Edm.Guid" => ty == Type::Uuid,
        _ => ty == Type::Text,
    }
}

#[test]
fn every_property_is_one_of_the_service() {
    let schema = GraphSchema::v1();
    let mut compared = 0;
    for dataset in &DATASETS {
        assert_eq!(dataset.version, Version::V1);
        let Some(path) = dataset.path() else { continue };
        let name = dataset.name();
        let ty = schema.of_path(path);
        let ty = ty.unwrap_or_else(|| panic!("{name}: nothing is at {path}"));
        for column in dataset.reply.columns {
            let path = column.path();
            let edm = schema.property(&ty, path);
            let edm = edm.unwrap_or_else(|| panic!("{name}: {ty} has no {path}"));
            // Lists of ids are one text.
            let is_list = edm.starts_with("Collection(") || path.ends_with("/disabledPlans");
            let ty = column.ty();
            assert!(
                is_list && ty == Type::Text || fits(edm, ty),
                "{name}: {path} is {edm}"
            );
            compared += 1;
        }
    }
    assert!(compared > 80, "{compared}");
}

#[test]
fn nothing_is_asked_for_that_is_secret_or_refused() {
    for dataset in &DATASETS {
        for name in dataset.select(Cloud::Global) {
            // The last ones are refused on a collection, or need a right of their own.
            let refused = ["skills", "aboutMe", "mailboxSettings", "hireDate"];
            let others = ["passwordProfile", "employeeLeaveDateTime", "print"];
            assert!(!refused.contains(&name), "{}: {name}", dataset.name());
            assert!(!others.contains(&name), "{}: {name}", dataset.name());
        }
    }
}

#[test]
fn stamps_of_the_file_never_are_a_change() {
    for dataset in &DATASETS {
        let Call::Report(_) = dataset.call else {
            continue;
        };
        assert_eq!(dataset.clouds, [Cloud::Global], "{}", dataset.name());
        let volatile: Vec<_> = volatile(dataset).map(ReplyColumn::path).collect();
        let of_file = ["Report Refresh Date", "Report Period"];
        let known = if dataset.name() == "activations" {
            &of_file[..1]
        } else {
            &of_file[..]
        };
        assert_eq!(volatile, known, "{}", dataset.name());
    }
}

fn volatile(dataset: &GraphDataset) -> impl Iterator<Item = &ReplyColumn<'_>> {
    let columns = dataset.reply.columns.iter();
    columns.filter(|column| column.column().is_volatile())
}

fn sample(file: &str) -> Json {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let text = fs::read_to_string(path.join(format!("{file}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn rows(name: &str, body: &Json) -> Batch {
    let mut decoder = PageDecoder::new(&dataset(name).reply).unwrap();
    let mut rows = Batch::new(Arc::clone(decoder.schema()));
    let facts = decoder.decode(body.to_string().as_bytes(), &mut rows);
    facts.unwrap_or_else(|error| panic!("{name}: {error:#}"));
    rows
}

fn at<'a>(rows: &'a Batch, row: usize, name: &str) -> Value<'a> {
    let columns = rows.schema().columns();
    let place = columns.iter().position(|column| column.name() == name);
    rows.rows().nth(row).unwrap().at(place.unwrap())
}

#[test]
fn samples_of_products_become_rows() {
    let skus = sample("v1.0-subscribedsku-list-1")["body"].take();
    let products = rows("subscribedSkus", &skus);
    assert_eq!(products.len(), 2);
    assert_eq!(at(&products, 0, "enabledUnits"), Value::Int(25));
    assert_eq!(at(&products, 1, "suspendedUnits"), Value::Int(25));
    assert_eq!(at(&products, 0, "lockedOutUnits"), Value::Null);
    let plans = rows("servicePlans", &skus);
    assert_eq!(plans.len(), 2);
    assert_eq!(
        at(&plans, 1, "servicePlanName"),
        Value::Text("CRMSTANDARD".into())
    );
}

#[test]
fn samples_of_users_become_rows() {
    // They were made for other queries, which leave the id out.
    let with_ids = |file: &str| {
        let mut body = sample(file)["body"].take();
        let users = body["value"].as_array_mut().unwrap();
        for (id, user) in users.iter_mut().enumerate() {
            user["id"] = id.to_string().into();
        }
        body
    };
    let users = rows("users", &with_ids("v1.0-user-list-1"));
    assert_eq!(
        at(&users, 0, "proxyAddresses"),
        Value::Text("SMTP:contoso1@gmail.com".into())
    );
    let sign_ins = rows("signInActivity", &with_ids("beta-user-list-5"));
    assert_eq!(sign_ins.len(), 2);
    assert_eq!(
        at(&sign_ins, 0, "lastSignInDateTime").to_string(),
        "2019-05-04T15:35:02Z"
    );
}

#[test]
fn files_of_the_documentation_have_the_columns_that_are_declared() {
    for (name, file, newer) in [
        (
            "activeUsers",
            "beta-reportroot-getoffice365activeuserdetail-2",
            // The file has no period in the documentation.
            &["reportPeriod"][..],
        ),
        (
            "activations",
            "beta-reportroot-getoffice365activationsuserdetail-2",
            &[],
        ),
        ("appUsage", "beta-reportroot-getm365appuserdetail-2", &[]),
        (
            "mailboxUsage",
            "beta-reportroot-getmailboxusagedetail-2",
            &["deletedItemQuotaInBytes", "hasArchive"],
        ),
        (
            "teamsUserActivity",
            "beta-reportroot-getteamsuseractivityuserdetail-2",
            &[
                "userId",
                "tenantDisplayName",
                "sharedChannelTenantDisplayNames",
                "postMessages",
                "replyMessages",
                "urgentMessages",
            ],
        ),
    ] {
        let header = sample(file)["text"].as_str().unwrap().to_owned();
        let mut decoder = CsvDecoder::new(&dataset(name).reply).unwrap();
        let mut rows = Batch::new(Arc::clone(decoder.schema()));
        decoder.push(header.as_bytes(), &mut rows).unwrap();
        let facts = decoder.finish(&mut rows);
        let facts = facts.unwrap_or_else(|error| panic!("{name}: {error:#}"));
        let mut missing = facts.missing;
        missing.sort_unstable();
        let mut newer = newer.to_vec();
        newer.sort_unstable();
        assert_eq!(missing, newer, "{name}");
        // The same durations as text.
        let ignored = facts.ignored.iter();
        assert!(
            ignored.clone().all(|header| header.ends_with("Duration")),
            "{name}: {:?}",
            facts.ignored
        );
    }
}

/// The table of the README, made from the declarations.
#[test]
fn the_readme_lists_what_is_declared() {
    let mut table = String::new();
    for dataset in &DATASETS {
        let reply = &dataset.reply;
        let mut call = format!("`{}`", dataset.call_text());
        if !reply.each.is_empty() {
            let _ = write!(call, ", each of `{}`", reply.each);
        }
        let permissions: Vec<_> = dataset
            .permissions
            .iter()
            .map(|name| format!("`{name}`"))
            .collect();
        let shown = |column: &ReplyColumn| {
            if column.column().is_volatile() {
                format!("*`{}`*", column.name())
            } else {
                format!("`{}`", column.name())
            }
        };
        let (key, others): (Vec<_>, Vec<_>) = reply.columns.iter().partition(|c| c.is_key());
        let list = |columns: Vec<&ReplyColumn>| {
            let columns: Vec<_> = columns.into_iter().map(shown).collect();
            columns.join(", ")
        };
        let _ = writeln!(
            table,
            "| `{}` | {} | {call} | {} | {} | {} |",
            dataset.name(),
            dataset.category,
            permissions.join(", "),
            list(key),
            list(others),
        );
    }
    let readme = include_str!("../README.md").replace("\r\n", "\n");
    assert!(
        readme.contains(&table),
        "the table in README.md has to be\n\n{table}"
    );
}
