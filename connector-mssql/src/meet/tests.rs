use std::collections::BTreeMap;

use connector_core::Retry;

use super::*;
use crate::{
    config::{DatasetConfig, Override},
    dataset::{Others, Range, SqlDataset, int, join, left_join, part, text, time},
};

const INT: SqlType = SqlType::Int { bits: 32 };
const NAME: SqlType = SqlType::Text {
    wide: true,
    padded: false,
    length: Some(64),
};

fn column(name: &str, ty: SqlType) -> FoundColumn {
    FoundColumn {
        name: name.to_owned(),
        ty,
        nullable: true,
        collation: Some("Latin1_General_CI_AS".to_owned()),
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "one that the server has, beside `None` for one that it lacks"
)]
fn object<const N: usize>(name: &str, columns: [(&str, SqlType); N]) -> Option<FoundObject> {
    Some(FoundObject {
        name: ObjectName::parse(name).unwrap(),
        columns: columns.map(|(name, ty)| column(name, ty)).to_vec(),
    })
}

/// A server with these objects for the parts and the joins.
fn found<const P: usize, const J: usize>(
    parts: [Option<FoundObject>; P],
    joins: [Option<FoundObject>; J],
) -> Found {
    Found {
        parts: parts.into(),
        joins: joins.into(),
        query: Vec::new(),
        decoded: true,
    }
}

fn declared(dataset: SqlDataset) -> Definition {
    Definition::declared(&dataset.checked(), None).unwrap()
}

fn overridden(dataset: SqlDataset, own: &Override) -> Result<Definition> {
    Definition::declared(&dataset.checked(), Some(own))
}

/// What each column of the statement is read by, `-` for null.
fn selects(part: &MetPart) -> Vec<&str> {
    let cells = part.cells.iter();
    cells
        .map(|cell| cell.as_ref().map_or("-", |cell| &cell.select))
        .collect()
}

fn names(schema: &Schema) -> Vec<&str> {
    schema.columns().iter().map(Column::name).collect()
}

const DEVICES: SqlDataset = SqlDataset {
    name: "devices",
    from: "v_R_System s",
    columns: &[
        int("id", "s.ResourceID").key(),
        text("name", "s.Name0").null(),
        text("os", "o.Caption0").optional(),
    ],
    joins: &[left_join("v_GS_OS o", "o.ResourceID = s.ResourceID")],
    ..SqlDataset::NEW
};

fn system() -> Option<FoundObject> {
    object("v_R_System", [("ResourceID", INT), ("NAME0", NAME)])
}

fn os() -> Option<FoundObject> {
    object("v_GS_OS", [("ResourceID", INT), ("Caption0", NAME)])
}

#[test]
fn everything_there_is_read_as_the_server_spells_it() {
    let met = meet(&declared(DEVICES), &found([system()], [os()]), None).unwrap();
    assert_eq!(
        selects(&met.parts[0]),
        ["[s].[ResourceID]", "[s].[NAME0]", "[o].[Caption0]"]
    );
    assert_eq!(
        met.parts[0].from,
        "[dbo].[v_R_System] AS [s] LEFT JOIN [dbo].[v_GS_OS] AS [o] ON o.ResourceID = s.ResourceID"
    );
    assert!(met.missing.is_empty());
    assert_eq!(names(&met.schema), ["id", "name", "os"]);
}

#[test]
fn an_outer_join_may_be_missing_if_its_columns_may() {
    const NEEDED: SqlDataset = SqlDataset {
        columns: &[
            int("id", "s.ResourceID").key(),
            text("os", "o.Caption0").null(),
        ],
        ..DEVICES
    };
    let met = meet(&declared(DEVICES), &found([system()], [None]), None).unwrap();
    assert_eq!(
        selects(&met.parts[0]),
        ["[s].[ResourceID]", "[s].[NAME0]", "-"]
    );
    assert_eq!(met.parts[0].from, "[dbo].[v_R_System] AS [s]");
    assert_eq!(met.missing, ["[dbo].[v_GS_OS]", "os"]);
    assert_eq!(names(&met.schema), ["id", "name", "os"]);

    let unmet = meet(&declared(NEEDED), &found([system()], [None]), None).unwrap_err();
    assert_eq!(unmet, Unmet::Columns(vec!["os".to_owned()]));
}

#[test]
fn an_inner_join_may_not_be_missing() {
    const INNER: SqlDataset = SqlDataset {
        joins: &[join("v_GS_OS o", "o.ResourceID = s.ResourceID")],
        ..DEVICES
    };
    let met = meet(&declared(INNER), &found([system()], [os()]), None).unwrap();
    assert!(met.parts[0].from.contains("] JOIN [dbo].[v_GS_OS] AS [o]"));
    let unmet = meet(&declared(INNER), &found([system()], [None]), None).unwrap_err();
    let names = "[dbo].[v_GS_OS]".to_owned();
    assert_eq!(unmet, Unmet::NoObject { names });
}

#[test]
fn a_query_may_be_joined_and_names_the_objects_that_were_found() {
    const DATASET: SqlDataset = SqlDataset {
        instead: &["v_System"],
        columns: &[
            int("id", "s.ResourceID").key(),
            int("disks", "d.Count").null(),
            int("all", "(SELECT COUNT(*) FROM {s})"),
        ],
        joins: &[left_join(
            "(SELECT x.ResourceID, COUNT(*) AS [Count] FROM {s} AS x GROUP BY x.ResourceID) d",
            "d.ResourceID = s.ResourceID",
        )],
        filter: "s.ResourceID IN (SELECT ResourceID FROM {s})",
        ..DEVICES
    };
    // Under the other name.
    let other = object("v_System", [("ResourceID", INT)]);
    let met = meet(&declared(DATASET), &found([other], [None]), None).unwrap();
    let part = &met.parts[0];
    assert_eq!(
        selects(part),
        [
            "[s].[ResourceID]",
            "d.Count",
            "(SELECT COUNT(*) FROM [dbo].[v_System])"
        ]
    );
    assert!(
        part.from
            .contains("LEFT JOIN (SELECT x.ResourceID, COUNT(*) AS [Count] FROM [dbo].[v_System]")
    );
    assert_eq!(
        part.filters,
        ["s.ResourceID IN (SELECT ResourceID FROM [dbo].[v_System])"]
    );
    assert!(met.missing.is_empty());
}

#[test]
fn another_spelling_or_a_constant_stands_in() {
    const DATASET: SqlDataset = SqlDataset {
        columns: &[
            int("id", "s.ResourceID").key(),
            text("name", "s.Name").or("s.Name0"),
            int("bits", "s.Bits").or("32"),
            text("owner", "s.Owner").or("s.Owner0").optional(),
        ],
        joins: &[],
        ..DEVICES
    };
    let met = meet(&declared(DATASET), &found([system()], []), None).unwrap();
    assert_eq!(
        selects(&met.parts[0]),
        ["[s].[ResourceID]", "[s].[NAME0]", "32", "-"]
    );
    // What another spelling stands in for is not missing.
    assert_eq!(met.missing, ["owner"]);
    let columns = met.schema.columns();
    assert!(!columns[1].is_nullable() && columns[3].is_nullable());
}

#[test]
fn a_missing_column_that_is_needed_is_an_error_before_any_row() {
    let lacks = object("v_R_System", [("Name0", NAME)]);
    let unmet = meet(&declared(DEVICES), &found([lacks], [os()]), None).unwrap_err();
    assert_eq!(unmet, Unmet::Columns(vec!["id".to_owned()]));
    let error = unmet.into_error(true);
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Data, Retry::Never)
    );
    assert!(error.to_string().contains("columns: id"), "{error}");
}

#[test]
fn a_changed_type_is_an_error_that_names_both() {
    let changed = object("v_R_System", [("ResourceID", NAME), ("Name0", NAME)]);
    let unmet = meet(&declared(DEVICES), &found([changed], [os()]), None).unwrap_err();
    let text = unmet.into_error(false).to_string();
    assert!(
        text.contains("nvarchar(64)") && text.contains("become int") && text.contains("column: id"),
        "{text}"
    );
}

const SOFTWARE: SqlDataset = SqlDataset {
    name: "software",
    from: "v_ARP a",
    columns: &[
        int("id", "a.ResourceID").key(),
        int("bits", "32").key(),
        text("name", "a.Name0").optional(),
    ],
    parts: &[part("v_ARP_64 a", &[("bits", "64")])],
    range: Some(Range::of("a.ResourceID")),
    ..SqlDataset::NEW
};

fn arp() -> Option<FoundObject> {
    object("v_ARP", [("ResourceID", INT), ("Name0", NAME)])
}

#[test]
fn each_part_is_a_statement_with_values_of_its_own() {
    let other = object("v_ARP_64", [("ResourceID", INT)]);
    let met = meet(&declared(SOFTWARE), &found([arp(), other], []), None).unwrap();
    assert_eq!(
        selects(&met.parts[0]),
        ["[a].[ResourceID]", "32", "[a].[Name0]"]
    );
    assert_eq!(selects(&met.parts[1]), ["[a].[ResourceID]", "64", "-"]);
    assert_eq!(met.parts[1].from, "[dbo].[v_ARP_64] AS [a]");
    assert_eq!(met.missing, ["name"]);
    let range = Some(("[a].[ResourceID]".to_owned(), true));
    assert_eq!(met.parts[1].range, range);
}

#[test]
fn a_missing_part_is_an_error_and_no_part_at_all_is_not_collected() {
    let software = declared(SqlDataset {
        optional: true,
        ..SOFTWARE
    });
    for (parts, name) in [
        ([arp(), None], "[dbo].[v_ARP_64]"),
        ([None, arp()], "[dbo].[v_ARP]"),
    ] {
        let unmet = meet(&software, &found(parts, []), None).unwrap_err();
        let names = vec![name.to_owned()];
        assert_eq!(unmet, Unmet::NoPart { names });
        let error = unmet.into_error(software.optional);
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let text = error.to_string();
        assert!(
            text.contains("look deleted") && text.contains(&format!("`without = [\"{name}\"]`")),
            "{text}"
        );
    }
    let unmet = meet(&software, &found([None, None], []), None).unwrap_err();
    let names = "[dbo].[v_ARP] and no [dbo].[v_ARP_64]".to_owned();
    assert_eq!(unmet, Unmet::NoObject { names });
    assert_eq!(unmet.into_error(true).kind(), ErrorKind::NotCollected);
}

#[test]
fn a_part_may_be_left_out_on_purpose() {
    let without = |names: &[&str]| Override {
        without: names.iter().map(|&name| name.to_owned()).collect(),
        ..Override::default()
    };
    for name in ["v_arp_64", "dbo.v_ARP_64", "[dbo].[v_ARP_64]"] {
        let software = overridden(SOFTWARE, &without(&[name])).unwrap();
        let met = meet(&software, &found([arp()], []), None).unwrap();
        assert_eq!(met.parts.len(), 1);
        assert_eq!(selects(&met.parts[0])[1], "32");
    }
    // The first one too.
    let software = overridden(SOFTWARE, &without(&["v_ARP"])).unwrap();
    let other = object("v_ARP_64", [("ResourceID", INT)]);
    let met = meet(&software, &found([other], []), None).unwrap();
    assert_eq!(selects(&met.parts[0])[1], "64");

    for (names, reason) in [
        (
            &["v_Other"][..],
            "it is read from [dbo].[v_ARP], [dbo].[v_ARP_64]",
        ),
        (&["v_ARP", "v_ARP_64"][..], "name the data set in `skip`"),
        (&["a.b.c"][..], "`a.b.c`"),
    ] {
        let error = overridden(SOFTWARE, &without(names)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let text = error.to_string();
        assert!(
            text.contains(reason) && text.contains("data set: software"),
            "{text}"
        );
    }
}

const CLASSES: SqlDataset = SqlDataset {
    name: "classes",
    from: "v_GS_DISK d",
    columns: &[
        int("id", "d.ResourceID").key(),
        text("label", "d.Label").or("d.Name0").optional(),
    ],
    others: Others::ReadExcept(&["GroupID"]),
    ..SqlDataset::NEW
};

/// With a column of every reason to be left out.
fn disk() -> Option<FoundObject> {
    object(
        "v_GS_DISK",
        [
            ("ResourceID", INT),
            ("groupid", INT),
            ("Name0", NAME),
            ("LABEL", NAME),
            ("Size0", SqlType::Int { bits: 64 }),
            ("Cost0", SqlType::Money),
            ("Seen0", SqlType::DateTime),
            ("Notes0", SqlType::Xml),
            ("Blob0", SqlType::Binary { length: None }),
            ("Any0", SqlType::Other("sql_variant")),
        ],
    )
}

#[test]
fn others_are_read_as_the_catalogue_describes_them() {
    let met = meet(&declared(CLASSES), &found([disk()], []), None).unwrap();
    assert_eq!(
        names(&met.schema),
        ["id", "label", "Size0", "Cost0", "Seen0"]
    );
    let types: Vec<_> = met.schema.columns().iter().map(Column::ty).collect();
    assert_eq!(
        types[2..],
        [Type::Int, Type::Decimal { scale: 4 }, Type::LocalTimestamp]
    );
    assert!(met.schema.columns()[2..].iter().all(Column::is_nullable));
    assert_eq!(
        selects(&met.parts[0])[2..],
        ["[d].[Size0]", "[d].[Cost0]", "[d].[Seen0]"]
    );
}

#[test]
fn what_was_there_last_time_stays_in_its_place_and_is_null_when_it_is_gone() {
    let before = Schema::new([
        Column::new("id", Type::Int).key(),
        Column::new("label", Type::Text).null(),
        Column::new("Gone0", Type::Int).null(),
        // As a person gave it, or as it was then.
        Column::new("Size0", Type::Text).null(),
    ])
    .unwrap();
    let met = meet(&declared(CLASSES), &found([disk()], []), Some(&before)).unwrap();
    assert_eq!(
        names(&met.schema),
        ["id", "label", "Gone0", "Size0", "Cost0", "Seen0"]
    );
    assert_eq!(met.schema.columns()[3].ty(), Type::Text);
    assert_eq!(selects(&met.parts[0])[2..4], ["-", "[d].[Size0]"]);
    assert_eq!(met.missing, ["Gone0"]);
}

#[test]
fn configuration_adds_columns() {
    let mut own = Override {
        columns: vec!["Build".to_owned(), "Seen".to_owned(), "Notes".to_owned()],
        types: BTreeMap::from([("Seen".to_owned(), Type::Timestamp)]),
        volatile: vec!["Seen".to_owned(), "name".to_owned()],
        ..Override::default()
    };
    let system = || {
        object(
            "v_R_System",
            [
                ("ResourceID", INT),
                ("Name0", NAME),
                ("Build", INT),
                ("Seen", SqlType::DateTime),
                // Asked for by name, so it is read however large.
                ("Notes", SqlType::Xml),
                ("Unasked", INT),
            ],
        )
    };
    let devices = overridden(DEVICES, &own).unwrap();
    let met = meet(&devices, &found([system()], [os()]), None).unwrap();
    assert_eq!(
        names(&met.schema),
        ["id", "name", "os", "Build", "Seen", "Notes"]
    );
    let columns = met.schema.columns();
    assert!(columns[1].is_volatile() && columns[4].is_volatile());
    assert_eq!(columns[4].ty(), Type::Timestamp);

    // A misspelt one is a mistake, not a null.
    own.columns.push("Bulid".to_owned());
    let devices = overridden(DEVICES, &own).unwrap();
    let unmet = meet(&devices, &found([system()], [os()]), None).unwrap_err();
    assert_eq!(unmet, Unmet::Columns(vec!["Bulid".to_owned()]));

    own.columns.pop();
    own.types.insert("Build".to_owned(), Type::Uuid);
    let devices = overridden(DEVICES, &own).unwrap();
    let unmet = meet(&devices, &found([system()], [os()]), None).unwrap_err();
    let declared = Some(Type::Uuid);
    assert!(matches!(unmet, Unmet::Type { declared: d, .. } if d == declared));
}

#[test]
fn configuration_adds_data_sets() {
    let mut config = DatasetConfig::new("assets", "sales.Assets", ["Site", "AssetId"]);
    config.volatile = vec!["Free".to_owned()];
    let assets = || {
        object(
            "sales.Assets",
            [
                ("AssetId", INT),
                ("Name", NAME),
                ("Free", INT),
                ("Site", NAME),
                ("Picture", SqlType::Binary { length: None }),
                ("Shape", SqlType::Other("a CLR type")),
            ],
        )
    };
    let definition = Definition::configured(&config).unwrap();
    let met = meet(&definition, &found([assets()], []), None).unwrap();
    // The key comes first, in the order that a person gave it.
    assert_eq!(names(&met.schema), ["Site", "AssetId", "Name", "Free"]);
    let key: Vec<_> = met.schema.key().map(Column::name).collect();
    assert_eq!(key, ["Site", "AssetId"]);
    assert!(met.schema.columns()[3].is_volatile());
    assert_eq!(met.parts[0].from, "[sales].[Assets] AS [t]");

    // What can't be carried is an error only for who asks for it.
    config.columns = vec!["Shape".to_owned()];
    let definition = Definition::configured(&config).unwrap();
    let unmet = meet(&definition, &found([assets()], []), None).unwrap_err();
    let text = unmet.into_error(false).to_string();
    assert!(
        text.contains("a CLR type") && text.contains("column: Shape"),
        "{text}"
    );

    let lacks = object("sales.Assets", [("Site", NAME)]);
    config.columns.clear();
    let definition = Definition::configured(&config).unwrap();
    let unmet = meet(&definition, &found([lacks], []), None).unwrap_err();
    assert_eq!(unmet, Unmet::Columns(vec!["AssetId".to_owned()]));
}

#[test]
fn a_key_that_is_gone_is_an_error_though_it_was_there() {
    let config = DatasetConfig::new("assets", "Assets", ["AssetId"]);
    let definition = Definition::configured(&config).unwrap();
    let before = Schema::new([Column::new("AssetId", Type::Int).key()]).unwrap();
    let lacks = object("Assets", [("Name", NAME)]);
    let unmet = meet(&definition, &found([lacks], []), Some(&before)).unwrap_err();
    assert_eq!(unmet, Unmet::Columns(vec!["AssetId".to_owned()]));
}

#[test]
fn a_range_goes_by_a_column_that_is_there() {
    const DATASET: SqlDataset = SqlDataset {
        range: Some(Range::of("s.Stamp")),
        ..DEVICES
    };
    let unmet = meet(&declared(DATASET), &found([system()], [os()]), None).unwrap_err();
    assert_eq!(unmet, Unmet::Columns(vec!["s.Stamp".to_owned()]));
}

#[test]
fn text_of_no_column_is_cast_where_the_database_has_another_code_page() {
    const DATASET: SqlDataset = SqlDataset {
        columns: &[
            int("id", "s.ResourceID").key(),
            text("kind", "CASE WHEN s.ResourceID > 5 THEN 'a' ELSE 'b' END"),
            time("seen", "GETUTCDATE()"),
        ],
        joins: &[],
        ..DEVICES
    };
    let mut found = found([system()], []);
    found.decoded = false;
    let met = meet(&declared(DATASET), &found, None).unwrap();
    assert_eq!(
        selects(&met.parts[0])[1..],
        [
            "CAST(CASE WHEN s.ResourceID > 5 THEN 'a' ELSE 'b' END AS nvarchar(max))",
            "GETUTCDATE()"
        ]
    );
}

#[test]
fn a_query_is_taken_for_what_the_server_describes() {
    let mut config = DatasetConfig::new("costs", "", ["Id"]);
    config.from = None;
    config.query = Some("SELECT Id, Name FROM x".to_owned());
    let definition = Definition::configured(&config).unwrap();
    let narrow = |collation: Option<&str>| Found {
        query: vec![
            column("Id", INT),
            FoundColumn {
                collation: collation.map(str::to_owned),
                ..column(
                    "Name",
                    SqlType::Text {
                        wide: false,
                        padded: true,
                        length: Some(9),
                    },
                )
            },
        ],
        ..Found::default()
    };
    let met = meet(&definition, &narrow(Some("Greek_CI_AS")), None).unwrap();
    assert_eq!(selects(&met.parts[0]), ["Id", "Name"]);
    assert!(met.parts[0].cells[1].as_ref().unwrap().padded);
}
