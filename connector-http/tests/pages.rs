//! Pages of JSON: every sample reply of the documentation parses, and what is wrong is named.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::{path::Path, sync::Arc};

use connector_http::{
    connector_core::{Batch, ErrorKind, Result, Type, Value},
    decode::{
        PageDecoder, PageFacts, Reply, bool, bytes, date, decimal, float, given, int, json, text,
        time, uuid,
    },
};

/// A sample has the reply in `body`.
const SAMPLE: Reply = Reply {
    list: "body/value",
    next: "body/@odata.nextLink",
    error: "body/error",
    ..Reply::ODATA
};

const DEVICES: Reply = Reply {
    name: "managed_devices",
    columns: &[
        text("id", "id").key(),
        text("type", "@odata.type").null(),
        text("device_name", "deviceName").null(),
        text("compliance_state", "complianceState"),
        time("enrolled_at", "enrolledDateTime").year_one_is_null(),
        bool("is_encrypted", "isEncrypted").null(),
        int("total_storage_bytes", "totalStorageSpaceInBytes").zero_is_null(),
        json("features", "configurationManagerClientEnabledFeatures").null(),
        text("bit_locker", "deviceHealthAttestationState/bitLockerStatus").null(),
        int("restarts", "deviceHealthAttestationState/restartCount").null(),
        int("hardware_storage", "hardwareInformation/totalStorageSpace").zero_is_null(),
        int("hardware_free", "hardwareInformation/freeStorageSpace").zero_is_null(),
        text("tpm", "hardwareInformation/tpmSpecificationVersion").null(),
    ],
    ..SAMPLE
}
.checked();

const ACTIONS: Reply = Reply {
    name: "device_actions",
    each: "deviceActionResults",
    columns: &[
        text("device_id", "id").key(),
        text("action", "deviceActionResults/actionName").key(),
        text("state", "deviceActionResults/actionState"),
        time("started_at", "deviceActionResults/startDateTime").year_one_is_null(),
    ],
    ..SAMPLE
}
.checked();

const APPS: Reply = Reply {
    name: "mobile_apps",
    columns: &[
        text("id", "id").key(),
        text("type", "@odata.type").null(),
        text("display_name", "displayName").null(),
        time("created_at", "createdDateTime").year_one_is_null(),
        bool("is_featured", "isFeatured").null(),
        bytes("icon", "largeIcon/value").null(),
        text("product_code", "msiInformation/productCode").null(),
        json("rules", "rules").null(),
        text("version", "version").to_text().null(),
        text("targets", "targetedMobileApps").joined(";").null(),
        int("size", "sizeInByte").zero_is_null(),
        int("devices", "deviceCount").null(),
    ],
    ..SAMPLE
}
.checked();

const SKUS: Reply = Reply {
    name: "subscribed_skus",
    columns: &[
        text("id", "id").key(),
        uuid("sku_id", "skuId").null(),
        int("enabled", "prepaidUnits/enabled").null(),
        int("locked_out", "prepaidUnits/lockedOut").null(),
        text("status", "capabilityStatus"),
    ],
    ..SAMPLE
}
.checked();

const PLANS: Reply = Reply {
    name: "sku_plans",
    each: "servicePlans",
    columns: &[
        text("sku", "id").key(),
        text("plan_id", "servicePlans/servicePlanId").key(),
        text("status", "servicePlans/provisioningStatus"),
    ],
    ..SAMPLE
}
.checked();

const USERS: Reply = Reply {
    name: "users",
    columns: &[
        text("name", "displayName").key(),
        text("principal_name", "userPrincipalName").null(),
        text("addresses", "proxyAddresses").joined("; ").null(),
        time("last_sign_in_at", "signInActivity/lastSignInDateTime").null(),
        uuid("last_sign_in_id", "signInActivity/lastSignInRequestId").null(),
    ],
    ..SAMPLE
}
.checked();

const ADDRESSES: Reply = Reply {
    name: "addresses",
    each: "proxyAddresses",
    columns: &[
        text("principal_name", "userPrincipalName").key(),
        text("address", "proxyAddresses").key(),
    ],
    ..SAMPLE
}
.checked();

const APP_USAGE: Reply = Reply {
    name: "app_usage",
    each: "details",
    columns: &[
        text("principal_name", "userPrincipalName").key(),
        date("refreshed_on", "reportRefreshDate"),
        int("period", "details/reportPeriod").key(),
        bool("teams_web", "details/teamsWeb"),
    ],
    ..SAMPLE
}
.checked();

const MAILBOXES: Reply = Reply {
    name: "mailboxes",
    columns: &[
        text("principal_name", "userPrincipalName").key(),
        date("deleted_on", "deletedDate").null(),
        int("used_bytes", "storageUsedInBytes").null(),
        int("period", "reportPeriod").from_text().null(),
        text("products", "assignedProducts").joined("+").null(),
        bool("exchange", "hasExchangeLicense").null(),
    ],
    ..SAMPLE
}
.checked();

fn sample(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    std::fs::read(folder.join(format!("{name}.json"))).unwrap()
}

fn decode(reply: &'static Reply<'static>, page: &[u8]) -> Result<(PageFacts, Vec<Vec<String>>)> {
    let mut decoder = PageDecoder::new(reply)?;
    let mut rows = Batch::new(Arc::clone(decoder.schema()));
    let facts = decoder.decode(page, &mut rows)?;
    let width = rows.schema().columns().len();
    let cells = |row: connector_http::connector_core::RowRef<'_>| {
        (0..width)
            .map(|place| match row.at(place) {
                Value::Null => "-".to_owned(),
                value => value.to_string(),
            })
            .collect()
    };
    Ok((facts, rows.rows().map(cells).collect()))
}

fn rows(reply: &'static Reply<'static>, name: &str) -> Vec<String> {
    let (_, rows) = decode(reply, &sample(name)).unwrap();
    rows.iter().map(|row| row.join("|")).collect()
}

#[test]
fn samples_of_devices_are_rows() {
    let features = r#"{"@odata.type":"microsoft.graph.configurationManagerClientEnabledFeatures","compliancePolicy":true,"deviceConfiguration":true,"inventory":true,"modernApps":true,"resourceAccess":true,"windowsUpdateForBusiness":true}"#;
    let listed = rows(&DEVICES, "v1.0-intune-devices-manageddevice-list-1");
    assert_eq!(
        listed,
        [format!(
            "705c034c-034c-705c-4c03-5c704c035c70|#microsoft.graph.managedDevice|Device Name \
             value|compliant|2017-01-01T07:59:43.797191Z|true|8|{features}|Bit Locker Status \
             value|12|-|-|-"
        )]
    );
    // By its id: one object, and what a list leaves empty.
    let got = rows(&DEVICES, "beta-intune-devices-manageddevice-get-1");
    assert_eq!(got.len(), 1);
    assert!(
        got[0].ends_with("|12|1|-|Tpm Specification Version value"),
        "{got:?}"
    );
    for name in [
        "v1.0-intune-devices-manageddevice-list-1",
        "beta-intune-devices-manageddevice-get-1",
    ] {
        assert_eq!(
            rows(&ACTIONS, name),
            [
                "705c034c-034c-705c-4c03-5c704c035c70|Action Name value|pending|2017-01-01T07:58:46.7156189Z"
            ]
        );
    }
}

#[test]
fn samples_of_apps_policies_and_licences_are_rows() {
    for (reply, name, expected) in [
        (
            &APPS,
            "v1.0-intune-apps-mobileapp-list-1",
            "0177548a-548a-0177-8a54-77018a547701|#microsoft.graph.mobileApp|Display Name value|2017-01-01T08:02:43.5775965Z|true|dmFsdWU=|-|-|-|-|-|-",
        ),
        (
            &APPS,
            "v1.0-intune-apps-manageddevicemobileappconfiguration-list-1",
            "c60e7591-7591-c60e-9175-0ec691750ec6|#microsoft.graph.managedDeviceMobileAppConfiguration|Display Name value|2017-01-01T08:02:43.5775965Z|-|-|-|-|7|Targeted Mobile Apps value|-|-",
        ),
        (
            &APPS,
            "v1.0-intune-devices-detectedapp-list-1",
            "caf60db6-0db6-caf6-b60d-f6cab60df6ca|#microsoft.graph.detectedApp|Display Name value|-|-|-|-|-|Version value|-|10|11",
        ),
        (
            &USERS,
            "v1.0-user-list-1",
            "contoso1|contoso1_gmail.com#EXT#@microsoft.onmicrosoft.com|SMTP:contoso1@gmail.com|-|-",
        ),
        (
            &ADDRESSES,
            "v1.0-user-list-1",
            "contoso1_gmail.com#EXT#@microsoft.onmicrosoft.com|SMTP:contoso1@gmail.com",
        ),
        (
            &USERS,
            "beta-user-list-4",
            "Eric Solomon|-|-|2017-09-04T15:35:02Z|c7df2760-2c81-4ef7-b578-5b5392b571df",
        ),
        (
            &APP_USAGE,
            "beta-reportroot-getm365appuserdetail-3",
            "admin@contoso.com|2020-06-30|7|true",
        ),
        (
            &MAILBOXES,
            "beta-reportroot-getmailboxusagedetail-3",
            "userPrincipalName-value|-|10414748704|7|-|-",
        ),
        (
            &MAILBOXES,
            "beta-reportroot-getoffice365activeuserdetail-3",
            "userprincipalname-value|-|-|-|Microsoft 365 ENTERPRISE E5|true",
        ),
        (
            &PLANS,
            "v1.0-user-list-licensedetails-1",
            "id-value|servicePlanId-value|provisioningStatus-value",
        ),
    ] {
        assert_eq!(rows(reply, name), [expected], "{name}");
    }
    for (reply, name, count) in [
        (&APPS, "v1.0-intune-apps-win32lobapp-list-1", 1),
        (
            &APPS,
            "v1.0-intune-deviceconfig-devicecompliancepolicy-list-1",
            1,
        ),
        (
            &APPS,
            "v1.0-intune-deviceconfig-windows10compliancepolicy-list-1",
            1,
        ),
        (&SKUS, "v1.0-subscribedsku-list-1", 2),
        (&PLANS, "v1.0-subscribedsku-list-1", 2),
        (&USERS, "beta-user-list-3", 2),
        (&USERS, "beta-user-list-5", 2),
    ] {
        assert_eq!(rows(reply, name).len(), count, "{name}");
    }
    let (facts, _) = decode(
        &APP_USAGE,
        &sample("beta-reportroot-getm365appuserdetail-3"),
    )
    .unwrap();
    assert!(facts.next.unwrap().ends_with("$skiptoken=AAAAA"));
}

const ODD: Reply = Reply {
    name: "odd",
    columns: &[
        given("app", Type::Text).key(),
        text("id", "id").key(),
        int("n", "n").null(),
        decimal("price", "price", 2).null(),
        float("load", "load").minus_one_is_null(),
        text("state", "state").to_text().null_where(&["(Unknown)"]),
        date("day", "day").year_one_is_null(),
        time("at", "at").utc().null(),
        time("seen", "seen").local().null(),
        bool("on", "on").null(),
        text("owner", "owner/value").null(),
        json("raw", "owner").null(),
    ],
    ..Reply::ODATA
}
.checked();

fn odd(member: &str) -> Result<String> {
    odd_page(&format!(
        "{{\"value\":[{{\"id\":\"a\"}},{{\"id\":\"b\",{member}}}]}}"
    ))
}

fn odd_page(page: &str) -> Result<String> {
    let mut decoder = PageDecoder::new(&ODD)?;
    decoder.give("app", Value::Text("walk".into()))?;
    let mut rows = Batch::new(Arc::clone(decoder.schema()));
    decoder.decode(page.as_bytes(), &mut rows)?;
    let row = rows.rows().last().unwrap();
    assert_eq!(row.at(0), Value::Text("walk".into()));
    let cells: Vec<String> = (2..12)
        .filter(|place| !row.at(*place).is_null())
        .map(|place| row.at(place).to_string())
        .collect();
    Ok(cells.join("|"))
}

#[test]
fn odd_values_are_read_as_declared() {
    for (member, cells) in [
        ("\"n\":-9223372036854775808", "-9223372036854775808"),
        (
            "\"price\":1234567890123456789012345678901.10",
            "1234567890123456789012345678901.10",
        ),
        ("\"load\":-1", ""),
        ("\"load\":1e2", "100.0"),
        ("\"state\":\"(Unknown)\"", ""),
        ("\"state\":\"intuneAosp\"", "intuneAosp"),
        ("\"state\":12.50", "12.50"),
        ("\"state\":\"a\\u00e9\\ud83d\\ude00\\n\"", "aé😀\n"),
        ("\"day\":\"0001-01-01\"", ""),
        ("\"at\":\"2024-05-31 17:30:00\"", "2024-05-31T17:30:00Z"),
        (
            "\"at\":\"2024-05-31T17:30:00.1234567+02:00\"",
            "2024-05-31T15:30:00.1234567Z",
        ),
        ("\"seen\":\"2024-05-31 17:30:00\"", "2024-05-31T17:30:00"),
        ("\"owner\":\"\"", "\"\""),
        (
            "\"owner\":{\"value\":\"x\",\"link\":1.0}",
            "x|{\"link\":1.0,\"value\":\"x\"}",
        ),
        ("\"\\u006e\":7", "7"),
        ("\"unknown\":[{\"x\":[]},1,\"\\\\\"],\"n\":7", "7"),
    ] {
        assert_eq!(odd(member).unwrap(), cells, "{member}");
    }
}

#[test]
fn what_is_wrong_is_named_and_never_shown() {
    let secret = "s3cr3t";
    for (member, kind, message) in [
        (
            "\"n\":\"s3cr3t\"",
            ErrorKind::Data,
            "the column is int, the reply has text (data set: odd, column: n, row: 2, byte: 36)",
        ),
        (
            "\"n\":1.5",
            ErrorKind::Data,
            "the column is int, the value is not a whole number of 64 bits (data set: odd, column: n, row: 2, byte: 35)",
        ),
        (
            "\"n\":9223372036854775808",
            ErrorKind::Data,
            "the column is int, the value is not a whole number of 64 bits (data set: odd, column: n, row: 2, byte: 35)",
        ),
        (
            "\"n\":true",
            ErrorKind::Data,
            "the column is int, the reply has a truth value (data set: odd, column: n, row: 2, byte: 35)",
        ),
        (
            "\"n\":1,\"n\":1",
            ErrorKind::Data,
            "the reply has a member twice (data set: odd, column: n, row: 2, byte: 37)",
        ),
        (
            "\"n\":NaN",
            ErrorKind::Data,
            "the reply is not JSON: a value is missing (data set: odd, row: 2, byte: 35)",
        ),
        (
            "\"price\":1.005",
            ErrorKind::Data,
            "the column is decimal(2), the value is does not fit the decimal's scale (data set: odd, column: price, row: 2, byte: 39)",
        ),
        (
            "\"load\":1e999",
            ErrorKind::Data,
            "the column is float, the value is outside what a float holds (data set: odd, column: load, row: 2, byte: 38)",
        ),
        (
            "\"at\":\"s3cr3t\"",
            ErrorKind::Data,
            "the column is timestamp, the value is not a time with an offset such as 2024-05-31T17:30:00Z (data set: odd, column: at, row: 2, byte: 37)",
        ),
        (
            "\"seen\":\"2024-05-31T17:30:00Z\"",
            ErrorKind::Data,
            "the column is local_timestamp, the value is not a local time such as 2024-05-31T17:30:00 (data set: odd, column: seen, row: 2, byte: 39)",
        ),
        (
            "\"on\":\"true\"",
            ErrorKind::Data,
            "the column is bool, the reply has text (data set: odd, column: on, row: 2, byte: 37)",
        ),
        (
            "\"owner\":\"s3cr3t\"",
            ErrorKind::Data,
            "the reply has no object where one should be (data set: odd, column: raw, row: 2, byte: 40)",
        ),
        (
            "\"owner\":{\"a\":1,\"a\":2}",
            ErrorKind::Data,
            "the column is json, the value is JSON that repeats a key (data set: odd, column: raw, row: 2, byte: 21)",
        ),
        (
            "\"state\":[]",
            ErrorKind::Data,
            "the column is text, the reply has an array (data set: odd, column: state, row: 2, byte: 39)",
        ),
    ] {
        let error = odd(member).unwrap_err();
        assert_eq!(
            (error.kind(), &*error.to_string()),
            (kind, message),
            "{member}"
        );
        assert!(!format!("{error:?}").contains(secret));
    }
}

#[test]
fn what_is_wrong_with_a_page_is_named_and_never_shown() {
    for (page, kind, message) in [
        (
            "{\"value\":[{\"id\":null}]}",
            ErrorKind::Data,
            "the column can't be null, the reply says null (data set: odd, column: id, row: 1, byte: 16)",
        ),
        (
            "{\"value\":[{}]}",
            ErrorKind::Data,
            "the column can't be null, the reply lacks it (data set: odd, column: id, row: 1, byte: 10)",
        ),
        (
            "{\"value\":[7]}",
            ErrorKind::Data,
            "the reply has no object where one should be (data set: odd, row: 1, byte: 10)",
        ),
        (
            "{\"value\":7}",
            ErrorKind::Data,
            "the reply has no records where they should be (data set: odd, path: value)",
        ),
        (
            "{}",
            ErrorKind::Data,
            "the reply has no records where they should be (data set: odd, path: value)",
        ),
        (
            "",
            ErrorKind::Incomplete,
            "the reply was cut short (data set: odd, byte: 0)",
        ),
        (
            "<html>",
            ErrorKind::Data,
            "the reply is not JSON: a value is missing (data set: odd, byte: 0)",
        ),
        (
            "{\"value\":[]} x",
            ErrorKind::Data,
            "the reply is not JSON: something follows the end (data set: odd, byte: 13)",
        ),
        (
            "{\"error\":{\"code\":\"s3cr3t\"}}",
            ErrorKind::Source,
            "the reply is an error, not records (data set: odd)",
        ),
        (
            "{\"value\":[{\"id\":\"a\"}],\"error\":{\"code\":\"s3cr3t\"}}",
            ErrorKind::Source,
            "the reply is an error, not records (data set: odd)",
        ),
        (
            "{\"value\":[],\"value\":[]}",
            ErrorKind::Data,
            "the reply has a member twice (data set: odd, path: value, byte: 12)",
        ),
    ] {
        let error = odd_page(page).unwrap_err();
        assert_eq!(
            (error.kind(), &*error.to_string()),
            (kind, message),
            "{page}"
        );
        assert!(!format!("{error:?}").contains("s3cr3t"));
    }
    let mut decoder = PageDecoder::new(&ODD).unwrap();
    let mut rows = Batch::new(Arc::clone(decoder.schema()));
    let error = decoder
        .decode(b"{\"value\":[{\"id\":\"\xff\"}]}", &mut rows)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the reply is not UTF-8 (data set: odd, byte: 17)"
    );
    let deep = format!(
        "{{\"value\":[],\"x\":{}{}}}",
        "[".repeat(5000),
        "]".repeat(5000)
    );
    let error = decoder.decode(deep.as_bytes(), &mut rows).unwrap_err();
    assert_eq!(error.message(), "the reply nests over 127 levels deep");
    // What is given must be.
    let error = decoder
        .decode(b"{\"value\":[{\"id\":\"a\"}]}", &mut rows)
        .unwrap_err();
    assert_eq!(error.context().nth(1), Some(("column", "app")));
    assert_eq!(
        decoder.give("id", Value::Null).unwrap_err().kind(),
        ErrorKind::Unexpected
    );
}

#[test]
fn a_cut_page_is_incomplete_wherever_it_is_cut() {
    let page = sample("v1.0-intune-devices-manageddevice-list-1");
    let end = page.len()
        - page
            .iter()
            .rev()
            .take_while(|b| b.is_ascii_whitespace())
            .count();
    for cut in 0..end {
        let error = decode(&DEVICES, &page[..cut]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Incomplete, "{cut}: {error}");
    }
}

#[test]
fn a_page_says_what_comes_next() {
    const PAGES: Reply = Reply {
        name: "hosts",
        list: "data/items",
        next: "data/cursor",
        count: "total",
        columns: &[
            int("site", "site").key(),
            text("id", "id").key(),
            text("dot", "a.b").null(),
        ],
        ..Reply::NEW
    }
    .checked();
    let page = "\u{feff}{\"data\":{\"cursor\":\"c\\/2\",\"items\":[{\"site\":1,\"id\":\"a\"},{\"a.b\":\"x\",\"id\":\"b\",\"site\":2}],\"more\":{}},\"total\":\"7\"}\r\n";
    let (facts, rows) = decode(&PAGES, page.as_bytes()).unwrap();
    assert_eq!(facts.next.as_deref(), Some("c/2"));
    assert_eq!((facts.count, facts.records, facts.rows), (Some(7), 2, 2));
    assert_eq!(facts.last_key, [Value::Int(2), Value::Text("b".into())]);
    assert_eq!(rows[1], ["2", "b", "x"]);
    let (facts, _) = decode(&PAGES, b"{\"data\":{\"items\":[],\"cursor\":\"\"}}").unwrap();
    assert_eq!(facts, PageFacts::default());
}

#[test]
fn what_to_ask_for_is_made_from_the_columns() {
    assert_eq!(
        DEVICES.select(),
        "id,deviceName,complianceState,enrolledDateTime,isEncrypted,totalStorageSpaceInBytes,\
         configurationManagerClientEnabledFeatures,deviceHealthAttestationState,hardwareInformation"
    );
    assert_eq!(ACTIONS.select(), "id,deviceActionResults");
    assert_eq!(ODD.select(), "id,n,price,load,state,day,at,seen,on,owner");
    assert_eq!(ODD.schema().unwrap().columns().len(), 12);
}

#[tokio::test]
async fn a_page_in_chunks_is_the_page_and_no_larger_than_allowed() {
    let page = sample("v1.0-subscribedsku-list-1");
    let mut decoder = PageDecoder::new(&SKUS).unwrap();
    let mut rows = Batch::new(Arc::clone(decoder.schema()));
    for len in [1, 100, page.len()] {
        let chunks = || futures::stream::iter(page.chunks(len).map(Ok));
        let facts = decoder.decode_chunks(chunks(), page.len(), &mut rows);
        assert_eq!(facts.await.unwrap().rows, 2);
        let error = decoder.decode_chunks(chunks(), page.len() - 1, &mut rows);
        let error = error.await.unwrap_err().to_string();
        let limit = page.len() - 1;
        assert_eq!(
            error,
            format!(
                "the reply is larger than is allowed (data set: subscribed_skus, bytes: {limit})"
            )
        );
    }
    assert_eq!(rows.len(), 6);
    // Rows of another declaration can't follow them.
    let mut other = PageDecoder::new(&PLANS).unwrap();
    let error = other.decode(&page, &mut rows).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unexpected);
}

#[test]
fn nothing_of_a_page_is_left_for_the_next() {
    let mut decoder = PageDecoder::new(&ODD).unwrap();
    let mut rows = Batch::new(Arc::clone(decoder.schema()));
    let first = br#"{"@odata.nextLink":"x","@odata.count":9,"value":[]}"#;
    assert_eq!(decoder.decode(first, &mut rows).unwrap().count, Some(9));
    let last = decoder.decode(br#"{"value":[]}"#, &mut rows).unwrap();
    assert_eq!(last, PageFacts::default());
}

/// As `ServiceNow` has a reference, by what was asked and by whether there is one.
const REFERENCES: Reply = Reply {
    name: "references",
    list: "result",
    columns: &[
        text("id", "sys_id").member("value").key(),
        text("company", "company").member("value").empty_is_null(),
        text("dv_company", "company")
            .member("display_value")
            .empty_is_null(),
        int("cpus", "cpus")
            .member("value")
            .from_text()
            .empty_is_null(),
    ],
    ..Reply::NEW
}
.checked();

#[test]
fn an_object_stands_for_its_member() {
    for (page, expected) in [
        (
            r#"{"result":[{"sys_id":"a","company":{"link":"https://x","value":"c\u0031"},"cpus":"4"}]}"#,
            ["a", "c1", "-", "4"],
        ),
        (
            r#"{"result":[{"sys_id":{"display_value":"a","value":"a"},"cpus":{"display_value":"four","value":"4"},
                "company":{"other":[{"value":"x"}],"display\u005fvalue":"ACME, \"Inc\".","value":"c1"}}]}"#,
            ["a", "c1", "ACME, \"Inc\".", "4"],
        ),
        (
            r#"{"result":[{"sys_id":"a","company":"","cpus":{"display_value":"","value":""}}]}"#,
            ["a", "-", "-", "-"],
        ),
    ] {
        let (_, rows) = decode(&REFERENCES, page.as_bytes()).unwrap();
        assert_eq!(rows, [expected]);
    }
    for page in [
        r#"{"result":[{"sys_id":{"link":"x"}}]}"#,
        r#"{"result":[{"sys_id":{"value":{"value":"a"}}}]}"#,
    ] {
        let error = decode(&REFERENCES, page.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().contains("column: id"), "{error}");
    }
}

#[test]
fn a_declaration_that_is_made_at_run_time_lives_as_long_as_its_decoder() {
    let names: Vec<String> = ["sys_id", "u_owner"].map(str::to_owned).into();
    let columns = [
        text(&names[0], &names[0]).key(),
        text(&names[1], &names[1]).null(),
    ];
    let reply = Reply {
        name: "found",
        columns: &columns,
        ..Reply::NEW
    };
    let mut decoder = PageDecoder::new(&reply).unwrap();
    let mut rows = Batch::new(Arc::clone(decoder.schema()));
    let page = br#"[{"sys_id":"a","u_owner":"b"}]"#;
    assert_eq!(decoder.decode(page, &mut rows).unwrap().rows, 1);
    let twice = Reply {
        columns: &[columns[0], columns[0]],
        ..reply
    };
    assert!(PageDecoder::new(&twice).is_err(), "a name is repeated");
}
