//! Every declared data set over an instance that has all of their tables.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use connector_core::{Column, Connector, DatasetExt, ErrorKind, Secret, Type, Value};
use connector_servicenow::{Authentication, Field, ServiceNow, ServiceNowConfig, datasets};
use connector_testkit::{
    read_by_key,
    servicenow::{ServiceNow as Instance, ServiceNowApp, ServiceNowTable},
};
use serde_json::{Map, Value as Json};

/// Which table extends which.
const EXTENDS: &[(&str, &str)] = &[
    ("cmdb_ci_server", "cmdb_ci_computer"),
    ("cmdb_ci_vmware_instance", "cmdb_ci_vm_instance"),
];

/// What a field is likely to be at an instance, and a value of that type.
fn sample(field: &str) -> (&'static str, &'static str, Value<'static>) {
    let time = || Value::Timestamp("2026-11-21T03:04:05Z".parse().unwrap());
    match field {
        "virtual" | "template" | "active" | "active_install" => {
            ("boolean", "true", Value::Bool(true))
        }
        "cpu_count" | "cpu_core_count" | "ram" | "cpus" | "memory" | "disks" | "nics"
        | "install_status" | "sys_mod_count" | "quantity" => ("integer", "4", Value::Int(4)),
        "cpu_speed" | "disk_space" | "latitude" | "longitude" => {
            ("decimal", "2.5", Value::Float(2.5))
        }
        "purchase_date" | "warranty_expiration" | "start_date" | "end_date" => (
            "glide_date",
            "2026-11-21",
            Value::Date("2026-11-21".parse().unwrap()),
        ),
        name if name.starts_with("last_") && name != "last_name"
            || name.ends_with("_discovered")
            || name.ends_with("_on") && name.starts_with("sys_") =>
        {
            ("glide_date_time", "2026-11-21 03:04:05", time())
        }
        _ => ("string", "text", Value::Text("text".into())),
    }
}

fn instance() -> Instance {
    let instance = Instance::new();
    let mut tables: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for dataset in datasets() {
        let fields = tables.entry(dataset.table).or_default();
        fields.extend(dataset.columns().map(Field::name));
    }
    let fields_of = |name: &str| tables.get(name).cloned().unwrap_or_default();
    for (name, fields) in &tables {
        let parent = EXTENDS.iter().find(|(table, _)| table == name);
        let mut table = ServiceNowTable::new(name);
        if let Some((_, parent)) = parent {
            table = table.extends(parent);
        }
        let inherited = parent.map(|(_, parent)| fields_of(parent));
        for field in fields.difference(&inherited.unwrap_or_default()) {
            table = table.field(field, sample(field).0);
        }
        instance.table(table);
    }
    for (name, fields) in &tables {
        let mut record = Map::new();
        record.insert("sys_id".to_owned(), format!("{name}-1").into());
        for field in fields {
            record.insert((*field).to_owned(), sample(field).1.into());
        }
        instance.load(name, [Json::Object(record)]);
    }
    instance
}

fn over(instance: &Instance) -> ServiceNow {
    let auth = Authentication::Basic {
        user: ServiceNowApp::default().user,
        password: Secret::new("s3cret"),
    };
    let config = ServiceNowConfig::new(instance.url().parse().unwrap(), auth);
    ServiceNow::over("cmdb", &config, instance.transport(), instance.clock()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn every_data_set_is_read_as_it_is_declared() {
    let instance = instance();
    let connector = over(&instance);
    for declared in datasets() {
        let rows = read_by_key(&connector, declared.name).await;
        let rows = rows.unwrap_or_else(|error| panic!("{error:#}"));
        // Of tables that extend it, too.
        let extended = EXTENDS
            .iter()
            .filter(|(_, parent)| *parent == declared.table);
        assert_eq!(rows.len(), 1 + extended.count(), "{}", declared.name);
        let row = rows.iter().find(|row| {
            let id = row.values().next().unwrap();
            id == Value::Text(format!("{}-1", declared.table).into())
        });
        let row = row.unwrap();
        let columns = row.schema().columns().iter().zip(row.values()).skip(1);
        for (field, (column, value)) in declared.columns().zip(columns) {
            assert_eq!(column.name(), field.name(), "{}", declared.name);
            let expected = sample(field.name()).2;
            assert_eq!(value, expected, "{}: {}", declared.name, field.name());
            assert_eq!(column.is_volatile(), field.is_volatile());
            assert_ne!(column.ty(), Type::Json);
        }
    }
    let report = connector.check().await.unwrap();
    assert!(report.is_ok(), "{:?}", report.datasets);
    assert_eq!(report.datasets.len(), datasets().len());
    assert_eq!(report.fact("instance"), Some("acme.service-now.com"));
    assert_eq!(report.facts.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_an_instance_does_not_have_is_no_mistake() {
    let instance = instance();
    instance.drop_table("cmdb_sam_sw_install");
    instance.table(ServiceNowTable::new("cmn_department").field("name", "string"));
    let connector = over(&instance);
    let error = read_by_key(&connector, "software_installs")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotCollected);
    let all = connector.datasets().await.unwrap();
    let departments = all.iter().find(|dataset| dataset.name() == "departments");
    let schema = departments.unwrap().schema(None).await.unwrap();
    let names: Vec<_> = schema.columns().iter().map(Column::name).collect();
    let expected = [
        "sys_id",
        "name",
        "sys_created_on",
        "sys_updated_on",
        "sys_mod_count",
    ];
    assert_eq!(names, expected);
    let report = connector.check().await.unwrap();
    assert!(report.is_ok(), "{:?}", report.datasets);
    let absent = report.fact("fields that the instance does not have");
    assert_eq!(absent, Some("departments: id, parent, dept_head"));
}

#[test]
fn the_readme_lists_every_data_set() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(folder.join("README.md")).unwrap();
    for declared in datasets() {
        let columns: Vec<String> = declared
            .fields
            .iter()
            .map(|field| {
                if field.is_volatile() {
                    format!("*`{}`*", field.name())
                } else {
                    format!("`{}`", field.name())
                }
            })
            .collect();
        let line = format!(
            "| `{}` | {} | `{}` | `{}` | {} |",
            declared.name,
            declared.category,
            declared.table,
            declared.role,
            columns.join(", ")
        );
        assert!(readme.contains(&line), "the README lacks\n{line}");
    }
}
