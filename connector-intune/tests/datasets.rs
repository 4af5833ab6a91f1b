//! Declarations against Graph's own schema, and against the samples of its documentation.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::{fs, path::Path, sync::Arc};

use connector_core::{Batch, Type, Value};
use connector_graph::{
    Call, Cloud, GraphDataset, Version,
    decode::{CsvDecoder, PageDecoder},
};
use connector_intune::{IntuneSettings, datasets};
use connector_testkit::graph::GraphSchema;
use serde_json::Value as Json;

/// All that there are.
fn all() -> Vec<&'static GraphDataset> {
    let settings = IntuneSettings {
        device_details: true,
    };
    datasets(&settings)
}

fn dataset(name: &str) -> &'static GraphDataset {
    all().into_iter().find(|d| d.name() == name).unwrap()
}

fn fits(edm: &str, ty: Type) -> bool {
    match edm {
        "Edm.Boolean" => ty == Type::Bool,
        "Edm.Int32" | "Edm.Int64" => ty == Type::Int,
        "Edm.Double" => ty == Type::Float,
        "Edm.DateTimeOffset" => ty == Type::Timestamp,
        // Texts, and names of enumerations.
        _ => ty == Type::Text,
    }
}

#[test]
fn every_property_is_one_of_the_service() {
    let (v1, beta) = (GraphSchema::v1(), GraphSchema::beta());
    let mut compared = 0;
    for dataset in all() {
        let Some(path) = dataset.path() else { continue };
        let schema = match dataset.version {
            Version::V1 => &v1,
            Version::Beta => &beta,
        };
        let name = dataset.name();
        let ty = schema.of_path(path);
        let ty = ty.unwrap_or_else(|| panic!("{name}: nothing is at {path}"));
        for column in dataset.reply.columns.iter().filter(|c| !c.is_given()) {
            let path = column.path();
            // An annotation comes with any object that is of a derived type.
            if let Some(object) = path.strip_suffix("@odata.type") {
                let object = object.trim_end_matches('/');
                assert!(object.is_empty() || schema.property(&ty, object).is_some());
                continue;
            }
            let edm = schema.property(&ty, path);
            let edm = edm.unwrap_or_else(|| panic!("{name}: {ty} has no {path}"));
            assert!(fits(edm, column.ty()), "{name}: {path} is {edm}");
            compared += 1;
        }
    }
    assert!(compared > 200, "{compared}");
}

#[test]
fn nothing_that_grants_access_is_asked_for() {
    for dataset in all() {
        for cloud in Cloud::ALL {
            for name in dataset.select(*cloud) {
                let name = name.to_ascii_lowercase();
                for secret in [
                    "bypasscode",
                    "sessionurl",
                    "encodedsettingxml",
                    "commandline",
                    "password",
                    "largeicon",
                ] {
                    assert!(!name.contains(secret), "{}: {name}", dataset.name());
                }
                let is_key = dataset.name().starts_with("windowsAutopilot");
                assert!(!is_key || name != "productkey");
            }
        }
    }
}

#[test]
fn exports_name_their_columns_and_count_as_such() {
    let is_export = |dataset: &&GraphDataset| matches!(dataset.call, Call::Export(_));
    let exports = all().into_iter().filter(is_export);
    let mut names = Vec::new();
    for dataset in exports {
        let select = dataset.select(Cloud::Global);
        // https://learn.microsoft.com/graph/api/intune-reporting-devicemanagementexportjob-create
        assert!((2..=256).contains(&select.len()), "{}", dataset.name());
        assert_eq!(dataset.group, connector_graph::group::EXPORTS);
        names.push(dataset.name());
    }
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "AppInstallStatusAggregate",
            "AppInvAggregate",
            "AppInvRawData",
            "DeviceCompliance",
            "DevicesWithInventory",
            "EAResourcePerfAggByDevice",
        ]
    );
}

fn sample(file: &str) -> Json {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let text = fs::read_to_string(path.join(format!("{file}.json"))).unwrap();
    let mut sample: Json = serde_json::from_str(&text).unwrap();
    sample["body"].take()
}

fn rows(name: &str, body: &Json) -> Batch {
    let dataset = dataset(name);
    let mut decoder = PageDecoder::new(&dataset.reply).unwrap();
    let mut rows = Batch::new(Arc::clone(decoder.schema()));
    let facts = decoder.decode(body.to_string().as_bytes(), &mut rows);
    facts.unwrap_or_else(|error| panic!("{name}: {error:#}"));
    rows
}

#[test]
fn every_sample_of_the_documentation_becomes_a_row() {
    for (name, file) in [
        ("managedDevices", "v1.0-intune-devices-manageddevice-list-1"),
        ("detectedApps", "v1.0-intune-devices-detectedapp-list-1"),
        ("mobileApps", "v1.0-intune-apps-mobileapp-list-1"),
        ("mobileApps", "v1.0-intune-apps-iosstoreapp-list-1"),
        ("mobileApps", "v1.0-intune-apps-win32lobapp-list-1"),
        ("win32LobApps", "v1.0-intune-apps-win32lobapp-list-1"),
        (
            "mobileAppConfigurations",
            "v1.0-intune-apps-manageddevicemobileappconfiguration-list-1",
        ),
        (
            "mobileAppConfigurations",
            "v1.0-intune-apps-iosmobileappconfiguration-list-1",
        ),
        (
            "deviceCompliancePolicies",
            "v1.0-intune-deviceconfig-devicecompliancepolicy-list-1",
        ),
        (
            "deviceCompliancePolicies",
            "v1.0-intune-deviceconfig-windows10compliancepolicy-list-1",
        ),
    ] {
        let rows = rows(name, &sample(file));
        assert_eq!(rows.len(), 1, "{name}");
        let row = rows.rows().next().unwrap();
        let filled = row.values().filter(|value| *value != Value::Null).count();
        assert!(
            filled * 3 >= row.values().count(),
            "{name}: {filled} columns"
        );
    }
}

#[test]
fn the_sample_of_one_device_fills_its_details_and_hardware() {
    // A sample has an object in `value`, which the service does not.
    let device = sample("beta-intune-devices-manageddevice-get-1")["value"].take();
    for (name, column, value) in [
        ("managedDeviceDetails", "secureBoot", "Secure Boot value"),
        ("managedDeviceHardware", "tpmVersion", "Tpm Version value"),
    ] {
        let rows = rows(name, &device);
        let schema = rows.schema();
        let columns = schema.columns().iter();
        let place = columns
            .map(connector_core::Column::name)
            .position(|name| name == column);
        let row = rows.rows().next().unwrap();
        assert_eq!(row.at(place.unwrap()), Value::Text(value.into()));
    }
}

#[test]
fn what_is_not_known_is_null_and_new_names_stay() {
    let device = serde_json::json!({"value": [{
        "id": "1",
        "azureADDeviceId": "00000000-0000-0000-0000-000000000000",
        "managementAgent": "intuneAosp",
        "enrolledDateTime": "0001-01-01T00:00:00Z",
        "totalStorageSpaceInBytes": 0,
    }]});
    let rows = rows("managedDevices", &device);
    let row = rows.rows().next().unwrap();
    let columns = rows.schema().columns();
    let at = |name: &str| row.at(columns.iter().position(|c| c.name() == name).unwrap());
    for name in [
        "azureADDeviceId",
        "enrolledDateTime",
        "totalStorageSpaceInBytes",
        "serialNumber",
    ] {
        assert_eq!(at(name), Value::Null, "{name}");
    }
    assert_eq!(at("managementAgent"), Value::Text("intuneAosp".into()));
}

#[test]
fn the_report_of_devices_is_read_under_each_of_its_headers() {
    // Its file has display headers, one of which was renamed.
    for (device, entra) in [
        ("Device ID", "Microsoft Entra Device ID"),
        ("Device ID", "Azure AD Device ID"),
        ("DeviceId", "ReferenceId"),
    ] {
        let mut decoder = CsvDecoder::new(&dataset("DevicesWithInventory").reply).unwrap();
        let mut rows = Batch::new(Arc::clone(decoder.schema()));
        let file = format!("\u{feff}{entra},Last check-in,{device}\r\ne1,yesterday,d1\r\n");
        decoder.push(file.as_bytes(), &mut rows).unwrap();
        decoder.finish(&mut rows).unwrap();
        let row = rows.rows().next().unwrap();
        let filled = row.values().filter(|value| *value != Value::Null);
        assert_eq!(
            filled.map(|value| value.to_string()).collect::<Vec<_>>(),
            ["d1", "e1", "yesterday"],
            "{entra}"
        );
    }
}

/// The table of the README, made from the declarations.
fn table() -> String {
    let mut table = String::from(
        "| data set | category | call | least permission | key | other columns |\n\
         | --- | --- | --- | --- | --- | --- |\n",
    );
    for dataset in all() {
        let schema = dataset.schema().unwrap();
        let shown = |is_key: bool| {
            let columns = schema.columns().iter().filter(|c| c.is_key() == is_key);
            let shown = columns.map(|column| {
                let mark = if column.is_volatile() { "*" } else { "" };
                format!("{mark}`{}`{mark}", column.name())
            });
            shown.collect::<Vec<_>>().join(", ")
        };
        let row = format!(
            "| `{}` | {} | `{}` | `{}` | {} | {} |\n",
            dataset.name(),
            dataset.category,
            dataset.call_text(),
            dataset.permissions.join("`, `"),
            shown(true),
            shown(false),
        );
        table.push_str(&row);
    }
    table
}

#[test]
fn the_readme_tells_every_data_set() {
    let readme = include_str!("../README.md");
    let table = table();
    assert!(
        readme.contains(&table),
        "the table in README.md has to be\n\n{table}"
    );
}
