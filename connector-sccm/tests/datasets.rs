//! Every data set against a site made from the declarations, served by a SQL Server that we did
//! not write.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

mod site;

use std::{sync::Arc, time::Duration};

use connector_core::{
    Availability, Connector, Dataset, DatasetExt, Error, ErrorKind, Secret, Type,
};
use connector_sccm::{
    Applications, Contents, DuplicatesBy, Patchs, Sccm, SccmConfig, SccmSettings, SettingsFrom,
    connector_mssql::{Authentication, SqlDataset},
    datasets,
};
use connector_testkit::peer::SqlServerPeer;
use serde_json::{Value as Json, json};
use site::Site;

const USER: &str = "reader";
const PASSWORD: &str = "Correct-Horse-1";
const DEVICES: usize = 4;

struct Lab {
    peer: SqlServerPeer,
    authority: tempfile::NamedTempFile,
}

impl Lab {
    fn new(site: &Site) -> Self {
        let peer = SqlServerPeer::start(USER, PASSWORD);
        let authority = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(authority.path(), peer.authority_pem()).unwrap();
        let lab = Self { peer, authority };
        lab.serve(site);
        lab
    }

    fn serve(&self, site: &Site) {
        self.peer.serve(&site.tables());
    }

    fn config(&self) -> SccmConfig {
        let server = format!("localhost,{}", self.peer.port()).parse().unwrap();
        let mut config = SccmConfig::new(server, "CM_P01");
        config.auth = Authentication::Sql {
            user: USER.to_owned(),
            password: Secret::new(PASSWORD),
        };
        config.ca_file = Some(self.authority.path().to_owned());
        config.timeouts.first_row = Duration::from_secs(5);
        config
    }

    fn connector(&self) -> Sccm {
        Sccm::new("cm", self.config()).unwrap()
    }
}

fn small(datasets: &[SqlDataset]) -> Site {
    let mut site = Site::new(datasets, DEVICES, |object| match object {
        "v_Identification" | "v_Site" => 1,
        // Several rows a device.
        "v_GS_SERVICE" | "v_UpdateComplianceStatus" => 3 * DEVICES,
        _ => DEVICES,
    });
    if site.0.contains_key("v_Identification") {
        site.table("v_Identification")
            .set(0, "ThisSiteCode", json!("P01"));
    }
    site.table("v_Site").set(0, "SiteCode", json!("P01"));
    site.table("v_Site").set(0, "Type", json!(2));
    site.table("v_Site").set(0, "ReportingSiteCode", json!(""));
    site
}

async fn dataset(connector: &Sccm, name: &str) -> Arc<dyn Dataset> {
    let datasets = connector.datasets().await.unwrap();
    datasets.into_iter().find(|d| d.name() == name).unwrap()
}

async fn refused(connector: &Sccm, name: &str) -> Error {
    let dataset = dataset(connector, name).await;
    dataset.collect().await.unwrap_err()
}

/// The column that the expression is, if it is nothing else.
fn plain(expression: &str) -> Option<&str> {
    let (_, column) = expression.split_once('.')?;
    let name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (expression.chars().all(|c| name(c) || c == '.')).then_some(column)
}

/// The rows that a data set without joins and filters brings, by its declaration; none of what is
/// computed.
fn expected(site: &Site, dataset: &SqlDataset) -> Vec<Vec<Json>> {
    let own = dataset.from.split_once(' ').unwrap().0;
    let parts = dataset.objects().into_iter().map(|object| object.name);
    let parts = parts.filter(|name| *name == own || name.strip_prefix(own) == Some("_64"));
    let mut rows = Vec::new();
    for (place, object) in parts.enumerate() {
        let table = &site.0[object];
        for row in &table.rows {
            let cells = dataset.columns.iter().map(|column| {
                match (column.name(), plain(column.expression())) {
                    ("Bits", _) => json!([32, 64][place]),
                    (_, Some(name))
                        if alias(column.expression())
                            == alias(&format!("{}.", dataset.from.split_once(' ').unwrap().1)) =>
                    {
                        shown(name, &row[table.place(name)])
                    }
                    _ => Json::Null,
                }
            });
            rows.push(cells.collect());
        }
    }
    rows
}

fn alias(expression: &str) -> &str {
    expression.split_once('.').unwrap().0
}

/// Bytes of Active Directory are shown as the id that they are.
fn shown(column: &str, value: &Json) -> Json {
    let Some(hex) = value.as_str().filter(|_| column == "Object_GUID0") else {
        return value.clone();
    };
    let cut = |from: usize, to: usize| &hex[from..to];
    json!([cut(0, 8), cut(8, 12), cut(12, 16), cut(16, 20), cut(20, 32)].join("-"))
}

async fn every_data_set_is_read(settings: SccmSettings) {
    let declared = datasets(&settings);
    assert_eq!(declared.len(), 36);
    let site = small(&declared);
    let lab = Lab::new(&site);
    let mut config = lab.config();
    config.product = settings;
    let connector = Sccm::new("cm", config).unwrap();
    for dataset in connector.datasets().await.unwrap() {
        let name = dataset.name().to_owned();
        let declaration = declared.iter().find(|d| d.name == name).unwrap();
        let rows = dataset.collect().await;
        let rows = rows.unwrap_or_else(|error| panic!("{name}: {error:#}"));
        if name == "Duplicates" {
            let copies = rows
                .iter()
                .map(|row| site::told(&row.value("Copies").unwrap()));
            assert_eq!(copies.collect::<Vec<_>>(), [json!(2), json!(2)]);
            continue;
        }
        let mut expected = expected(&site, declaration);
        let mut seen: Vec<Vec<Json>> = Vec::new();
        for row in &rows {
            let cells = declaration
                .columns
                .iter()
                .enumerate()
                .map(|(place, column)| {
                    let value = row.value(column.name()).unwrap();
                    assert!(!value.is_null(), "{name}.{}", column.name());
                    // What is computed or joined is there, and that is all that is known here.
                    let known = expected.first().is_some_and(|row| !row[place].is_null());
                    if known {
                        site::told(&value)
                    } else {
                        Json::Null
                    }
                });
            seen.push(cells.collect());
        }
        let order = |row: &Vec<Json>| serde_json::to_string(row).unwrap();
        expected.sort_by_key(order);
        seen.sort_by_key(order);
        assert_eq!(seen, expected, "{name}");
    }
}

#[tokio::test]
async fn every_data_set_is_read_as_it_is_declared() {
    every_data_set_is_read(SccmSettings::default()).await;
}

#[tokio::test]
async fn every_other_choice_is_read_as_it_is_declared() {
    every_data_set_is_read(SccmSettings {
        patchs: Patchs::Updates,
        settings_from: SettingsFrom::Components,
        applications: Applications::DeploymentTypes,
        contents: Contents::Packages,
        duplicates_by: DuplicatesBy::HardwareId,
    })
    .await;
}

#[tokio::test]
async fn the_check_tells_the_site_and_what_can_be_read() {
    let mut site = small(&datasets(&SccmSettings::default()));
    let lab = Lab::new(&site);
    let connector = lab.connector();
    let report = connector.check().await.unwrap();
    let fact = |name: &str| {
        let fact = report.facts.iter().find(|(known, _)| known == name);
        fact.map(|(_, fact)| fact.as_str())
    };
    assert_eq!(fact("site"), Some("P01"));
    assert_eq!(fact("site version"), Some("Version 0"));
    assert_eq!(fact("site role"), Some("primary site that stands alone"));
    assert_eq!(fact("parent site"), None);
    for dataset in &report.datasets {
        let available = matches!(dataset.availability, Availability::Available);
        assert!(available, "{}: {}", dataset.name, dataset.availability);
    }

    // Below another site; a class that nobody enabled, a view that is gone, a column that is gone,
    // one that has another type, and a right that is missing.
    site.table("v_Site")
        .set(0, "ReportingSiteCode", json!("CAS"));
    site.0.remove("v_GS_INSTALLED_SOFTWARE");
    site.0.remove("v_Collection");
    let ids = &mut site.table("v_CategoryInfo").columns;
    ids.retain(|(name, _)| name != "CategoryInstanceID");
    for row in &mut site.table("v_CategoryInfo").rows {
        row.remove(0);
    }
    let versions = site.table("v_GS_PROCESSOR");
    let place = versions.place("NumberOfCores0");
    versions.columns[place].1 = Type::Text;
    for row in &mut versions.rows {
        row[place] = json!("four");
    }
    lab.peer.deny(&site.tables(), ["v_R_User"]);
    let report = connector.check().await.unwrap();
    let role = report.facts.iter().find(|(name, _)| name == "site role");
    assert!(role.unwrap().1.contains("read that of CAS"), "{role:?}");
    for dataset in &report.datasets {
        let told = dataset.availability.to_string();
        let as_it_is = match (dataset.name.as_str(), &dataset.availability) {
            ("v_R_User", Availability::MissingPermission { reason }) => {
                reason.contains("v_R_User") && reason.contains("GRANT SELECT")
            }
            ("v_CategoryInfo", Availability::MissingColumns { columns }) => {
                columns == &["CategoryInstanceID"]
            }
            ("Collections", Availability::Failed(error)) => error.kind() == ErrorKind::NotFound,
            ("v_GS_PROCESSOR", Availability::Failed(error)) => {
                error.kind() == ErrorKind::Data && error.to_string().contains("NumberOfCores0")
            }
            ("v_GS_INSTALLED_SOFTWARE", Availability::NotCollected { .. })
            | (_, Availability::Available) => true,
            _ => false,
        };
        assert!(as_it_is, "{}: {told}", dataset.name);
    }
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let mut site = small(&datasets(&SccmSettings::default()));
    let lab = Lab::new(&site);
    let mut config = lab.config();
    config.auth = Authentication::Sql {
        user: USER.to_owned(),
        password: Secret::new("wrong"),
    };
    let error = Sccm::new("cm", config).unwrap().check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Auth);

    let connector = lab.connector();
    // 208 and 229.
    site.0.remove("v_Collection");
    lab.peer.deny(&site.tables(), ["v_GS_PC_BIOS"]);
    let error = refused(&connector, "Collections").await;
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("[v_Collection]"), "{error:#}");
    let error = refused(&connector, "v_GS_PC_BIOS").await;
    assert_eq!(error.kind(), ErrorKind::Permission);
    assert!(format!("{error:#}").contains("GRANT SELECT"), "{error:#}");
    // The others go on.
    let bios = dataset(&connector, "v_GS_PROCESSOR").await;
    assert_eq!(bios.collect().await.unwrap().len(), DEVICES);
}

#[tokio::test]
async fn a_class_that_was_never_there_is_not_collected_and_one_that_is_gone_stops() {
    let mut site = small(&datasets(&SccmSettings::default()));
    let lab = Lab::new(&site);
    let connector = lab.connector();
    let apps = dataset(&connector, "v_GS_CCM_RECENTLY_USED_APPS").await;
    let schema = apps.schema(None).await.unwrap();
    site.0.remove("v_GS_CCM_RECENTLY_USED_APPS");
    lab.serve(&site);
    let never = apps.schema(None).await.unwrap_err();
    assert_eq!(never.kind(), ErrorKind::NotCollected);
    let gone = apps.schema(Some(&schema)).await.unwrap_err();
    assert!(
        gone.to_string().contains("was there in the last cycle"),
        "{gone}"
    );

    // Without one half of the software its rows would look deleted, until a person says so.
    site.0.remove("v_GS_ADD_REMOVE_PROGRAMS_64");
    lab.serve(&site);
    let error = refused(&connector, "v_Add_Remove_Programs").await;
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let mut config = lab.config();
    let without = "[v_Add_Remove_Programs]\nwithout = ['v_GS_ADD_REMOVE_PROGRAMS_64']";
    config.overrides = toml::from_str(without).unwrap();
    let connector = Sccm::new("cm", config).unwrap();
    let software = dataset(&connector, "v_Add_Remove_Programs").await;
    assert_eq!(software.collect().await.unwrap().len(), DEVICES);
}

#[tokio::test]
async fn other_spellings_and_further_columns_are_found() {
    let mut site = small(&datasets(&SccmSettings::default()));
    // The view of an own class instead of its table, with a property; the provider's programs under
    // the report's names; categories in two languages.
    let mut own = site.0.remove("CUSTOM_SQL_Property_DATA").unwrap();
    for (column, _) in &mut own.columns {
        *column = match column.as_str() {
            "MachineID" => "ResourceID".to_owned(),
            "InstanceKey" => "GroupID".to_owned(),
            "TimeKey" => "TimeStamp".to_owned(),
            _ => column.clone(),
        };
    }
    own.columns.push(("PropertyName0".to_owned(), Type::Text));
    for row in &mut own.rows {
        row.push(json!("SKUNAME"));
    }
    site.0.insert("v_GS_CUSTOM_SQL_Property0".to_owned(), own);
    for (column, _) in &mut site.table("vSMS_Program").columns {
        *column = match column.as_str() {
            "PkgID" => "PackageID".to_owned(),
            "Name" => "ProgramName".to_owned(),
            _ => column.clone(),
        };
    }
    let names = site.table("v_CategoryInfo");
    let mut second = names.rows[0].clone();
    second[names.place("LocaleID")] = json!(1031);
    names.rows.push(second);
    let lab = Lab::new(&site);
    let mut config = lab.config();
    // A department that the site added to discovery.
    let further = toml::from_str(
        "[v_R_User]\ncolumns = ['department0']\n[Patchs]\nfrom = 'v_Update_ComplianceStatusAll'",
    );
    config.overrides = further.unwrap();
    let users = site.table("v_R_User");
    users.columns.push(("department0".to_owned(), Type::Text));
    for row in &mut users.rows {
        row.push(json!("Sales"));
    }
    let states = site.0.remove("v_UpdateComplianceStatus").unwrap();
    site.0
        .insert("v_Update_ComplianceStatusAll".to_owned(), states);
    lab.serve(&site);
    let connector = Sccm::new("cm", config).unwrap();
    for (name, rows, column, value) in [
        (
            "CUSTOM_SQL_Property_DATA",
            DEVICES,
            "PropertyName0",
            json!("SKUNAME"),
        ),
        ("vSMS_Program", DEVICES, "PkgID", json!("PkgID 0")),
        (
            "v_CategoryInfo",
            DEVICES + 1,
            "CategoryInstanceID",
            json!(1),
        ),
        ("v_R_User", DEVICES, "department0", json!("Sales")),
        ("Patchs", 3 * DEVICES, "CI_ID", json!(1)),
    ] {
        let dataset = dataset(&connector, name).await;
        let read = dataset.collect().await;
        let read = read.unwrap_or_else(|error| panic!("{name}: {error:#}"));
        assert_eq!(read.len(), rows, "{name}");
        let first = read[0].value(column).unwrap();
        assert_eq!(site::told(&first), value, "{name}");
    }
}

#[test]
fn what_is_expensive_is_given_time_and_what_is_large_is_split() {
    let declared = datasets(&SccmSettings::default());
    let of = |name: &str| declared.iter().find(|d| d.name == name).unwrap();
    let patient: Vec<_> = declared.iter().filter(|d| d.first_row.is_some()).collect();
    let names: Vec<_> = patient.iter().map(|d| d.name).collect();
    assert_eq!(names, ["Patchs", "v_UpdateCIs"]);
    assert!(
        patient
            .iter()
            .all(|d| d.first_row > Some(Duration::from_mins(2)))
    );
    for name in [
        "v_GS_SERVICE",
        "v_Add_Remove_Programs",
        "CollectionMembers",
        "Patchs",
    ] {
        assert!(of(name).range.is_some(), "{name}");
    }
    // A row's place in the catalogue of a filter can't be missing.
    for dataset in &declared {
        let missing = dataset
            .columns
            .iter()
            .filter(|column| column.is_optional() && dataset.filter.contains(column.expression()));
        assert_eq!(missing.count(), 0, "{}", dataset.name);
    }
}

#[test]
fn a_person_chooses_by_category() {
    let mut config = SccmConfig::new("cm01".parse().unwrap(), "CM_P01");
    config.auth = Authentication::Sql {
        user: USER.to_owned(),
        password: Secret::new(PASSWORD),
    };
    config.categories = vec!["cmsync".to_owned()];
    let connector = Sccm::new("cm", config).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let chosen = runtime.block_on(connector.datasets()).unwrap();
    assert_eq!(chosen.len(), 9);
}
