//! Prism, and the contracts that it holds requests against.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::{
    io::{Read, Write},
    net::TcpStream,
    panic::{self, AssertUnwindSafe},
};

use connector_testkit::peer::{GRAPH_CONTRACT, Prism, SERVICENOW_CONTRACT};

const BEARER: &str = "authorization: Bearer a-token\r\n";
const ID: &str = "client-request-id: 94fb3b52-452a-4535-a601-69e0a90e3aa2\r\n";
const DEVICES: &str = "/v1.0/deviceManagement/managedDevices";
const JOBS: &str = "/v1.0/deviceManagement/reports/exportJobs";
const JSON: &str = "application/json";

/// Sends a request and returns the whole reply.
fn send(prism: &Prism, method: &str, path: &str, headers: &str, body: &str) -> String {
    let url = prism.url(path);
    let (address, target) = url["http://".len()..].split_once('/').unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "{method} /{target} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

fn get(prism: &Prism, path: &str) -> String {
    send(prism, "GET", path, &format!("{BEARER}{ID}"), "")
}

fn post(prism: &Prism, path: &str, content_type: &str, body: &str) -> String {
    let headers = format!("{BEARER}{ID}content-type: {content_type}\r\n");
    send(prism, "POST", path, &headers, body)
}

fn status(reply: &str) -> u16 {
    reply.split(' ').nth(1).unwrap().parse().unwrap()
}

/// A request of each operation that keeps the contract.
const KEPT: [(&str, u16); 25] = [
    ("/v1.0/subscribedSkus?$select=id,skuId,prepaidUnits", 200),
    ("/v1.0/directory/subscriptions?$top=999", 200),
    ("/v1.0/users?$select=id,assignedLicenses&$top=999", 200),
    ("/v1.0/organization?$select=id,displayName", 200),
    ("/v1.0/admin/reportSettings", 200),
    (
        "/v1.0/deviceManagement/managedDevices?$select=id,deviceName&$top=1000\
         &$filter=lastSyncDateTime%20gt%202026-11-20T00:00:00Z%20and%20model%20eq%20%27XPS%2015%27",
        200,
    ),
    (
        "/v1.0/deviceManagement/managedDevices/705c034c-034c-705c-4c03-5c704c035c70\
         ?%24select=id%2CphysicalMemoryInBytes",
        200,
    ),
    (
        "/beta/deviceManagement/managedDevices?$select=id,skuFamily",
        200,
    ),
    (
        "/beta/deviceManagement/managedDevices/705c034c-034c-705c-4c03-5c704c035c70\
         ?$select=id,hardwareInformation",
        200,
    ),
    ("/v1.0/deviceManagement/managedDeviceOverview", 200),
    ("/v1.0/deviceManagement/detectedApps?$top=1000", 200),
    ("/v1.0/deviceManagement/deviceCompliancePolicies", 200),
    (
        "/v1.0/deviceManagement/windowsAutopilotDeviceIdentities?$select=id,groupTag",
        200,
    ),
    ("/v1.0/deviceAppManagement/mobileApps?$top=100", 200),
    (
        "/v1.0/deviceAppManagement/mobileApps/microsoft.graph.iosVppApp?$select=id,bundleId",
        200,
    ),
    (
        "/v1.0/deviceAppManagement/mobileApps/microsoft.graph.microsoftStoreForBusinessApp\
         ?$select=id,productKey",
        200,
    ),
    (
        "/v1.0/deviceAppManagement/mobileApps/microsoft.graph.win32LobApp?$select=id,size",
        200,
    ),
    (
        "/v1.0/deviceAppManagement/mobileApps/0177548a-548a-0177-8a54-77018a547701/assignments",
        200,
    ),
    (
        "/v1.0/deviceManagement/deviceCompliancePolicies/2919ae62-ae62-2919-62ae-192962ae1929\
         /assignments",
        200,
    ),
    (
        "/v1.0/deviceManagement/userExperienceAnalyticsAppHealthApplicationPerformance?$top=1",
        200,
    ),
    (
        "/v1.0/deviceAppManagement/mobileAppConfigurations?$select=id,version",
        200,
    ),
    (
        "/v1.0/deviceManagement/reports/exportJobs\
         ('AppInvRawData_9ddfb995-b995-9ddf-95b9-df9d95b9df9d')",
        200,
    ),
    ("/v1.0/reports/getMailboxUsageDetail(period='D180')", 302),
    ("/v1.0/reports/getOffice365ActivationsUserDetail", 302),
    ("/data/download/JDFKdf2_eJXKS034dbc7e0t__XDe", 200),
];

#[test]
fn the_contract_of_graph_is_valid_and_its_replies_keep_it() {
    let prism = Prism::start(GRAPH_CONTRACT);
    for (path, expected) in KEPT {
        let reply = get(&prism, path);
        assert_eq!(status(&reply), expected, "{path}: {reply}");
    }
    let reply = post(
        &prism,
        JOBS,
        JSON,
        r#"{"reportName":"AppInvRawData","select":["ApplicationKey","DeviceId"],"format":"csv"}"#,
    );
    assert_eq!(status(&reply), 201, "{reply}");
    let form = "grant_type=client_credentials&client_id=an-app&client_secret=s3cret\
                &scope=https%3A%2F%2Fgraph.microsoft.com%2F.default";
    let urlencoded = "application/x-www-form-urlencoded";
    let reply = post(
        &prism,
        "/contoso.example/oauth2/v2.0/token",
        urlencoded,
        form,
    );
    assert_eq!(status(&reply), 200, "{reply}");
    assert!(reply.contains("a-token"), "{reply}");

    let operations = GRAPH_CONTRACT.matches("operationId:").count();
    assert_eq!(
        operations,
        KEPT.len() + 2,
        "an operation without a request here"
    );
    assert_eq!(prism.violations(), [""; 0]);
}

/// Asserts the status of a reply and that the violations tell this.
fn assert_refused(prism: &Prism, reply: &str, expected: u16, why: &str) {
    assert_eq!(status(reply), expected, "{reply}");
    let violations = prism.violations();
    assert!(
        violations.iter().any(|line| line.contains(why)),
        "{why}: {violations:?}"
    );
}

#[test]
fn requests_that_break_the_contract_are_refused_and_told() {
    let prism = Prism::start(GRAPH_CONTRACT);
    let select = format!("{DEVICES}?$select=id");

    let reply = send(&prism, "GET", &select, ID, "");
    assert_refused(&prism, &reply, 401, "Invalid security scheme");
    let reply = send(&prism, "GET", &select, BEARER, "");
    assert_refused(&prism, &reply, 422, "client-request-id");

    let refused_queries = [
        ("$select=id,supplementalDeviceDetails", "$select.1 must be"),
        ("$select=activationLockBypassCode", "$select.0 must be"),
        ("$top=10", "required property '$select'"),
        ("$select=id&$top=1001", "$top must be <= 1000"),
        ("$select=id&$skip=1000", "$skip"),
        (
            "$select=id&$filter=notes%20eq%20%27x%27",
            "$filter must match",
        ),
    ];
    for (query, why) in refused_queries {
        let reply = get(&prism, &format!("{DEVICES}?{query}"));
        assert_refused(&prism, &reply, 422, why);
    }

    let refused_jobs = [
        (
            r#"{"select":["DeviceId"]}"#,
            "required property 'reportName'",
        ),
        (
            r#"{"reportName":"AppInvRawData"}"#,
            "required property 'select'",
        ),
        (
            r#"{"reportName":"AppInvRawData","select":["DeviceCount"]}"#,
            "select.0 must be",
        ),
        (
            r#"{"reportName":"AppInvRawData","select":["DeviceId"],"columns":[]}"#,
            "must NOT have additional properties",
        ),
    ];
    for (job, why) in refused_jobs {
        let reply = post(&prism, JOBS, JSON, job);
        assert_refused(&prism, &reply, 422, why);
    }
    let reply = post(&prism, JOBS, "text/plain", "{}");
    assert_refused(&prism, &reply, 415, "Supported content types");

    let reply = get(&prism, "/v1.0/reports/getMailboxUsageDetail(period='D8')");
    assert_refused(&prism, &reply, 422, "period must be");
    let reply = get(&prism, "/v1.0/deviceManagement/nothing");
    assert_refused(&prism, &reply, 404, "no path matched");
    assert_eq!(prism.violations(), [""; 0], "each is told once");
}

fn panic_of(act: impl FnOnce()) -> String {
    let panic = panic::catch_unwind(AssertUnwindSafe(act)).unwrap_err();
    *panic.downcast::<String>().unwrap()
}

#[test]
fn a_violation_that_nobody_looked_at_fails_the_test() {
    let prism = Prism::start(GRAPH_CONTRACT);
    get(&prism, "/v1.0/users?$select=id,shoeSize");
    let said = panic_of(|| drop(prism));
    assert!(said.contains("$select.1 must be"), "{said}");
}

#[test]
fn a_document_that_is_not_valid_is_refused() {
    let said = panic_of(|| drop(Prism::start("openapi: 3.0.3\ninfo: {}\npaths: {}\n")));
    assert!(said.contains("not valid OpenAPI"), "{said}");
    assert!(said.contains("title"), "{said}");
}

#[test]
fn a_reply_that_breaks_its_own_contract_is_a_violation() {
    let prism = Prism::start(
        r"
openapi: 3.0.3
info: { title: one number, version: '1' }
paths:
  /number:
    get:
      responses:
        '200':
          description: A number.
          content:
            application/json:
              schema: { type: object, properties: { number: { type: integer } } }
              example: { number: none }
",
    );
    let reply = get(&prism, "/number");
    assert_refused(&prism, &reply, 500, "VIOLATIONS");
}

/// A request for a page that keeps the contract of ServiceNow.
const PAGE: &str = "sysparm_fields=sys_id,name&sysparm_query=sys_id%3Ea1%5EORDERBYsys_id\
                    &sysparm_limit=1000&sysparm_display_value=false\
                    &sysparm_exclude_reference_link=true&sysparm_no_count=true";

fn table(name: &str, query: &str) -> String {
    format!("/api/now/v2/table/{name}?{query}")
}

#[test]
fn the_contract_of_servicenow_is_valid_and_its_replies_keep_it() {
    let prism = Prism::start(SERVICENOW_CONTRACT);
    let field = "sysparm_query=sys_id%3Ea1%5E";
    let tables = PAGE.replace(field, "sysparm_query=name=cmdb_ci%5E");
    let condition = "sysparm_query=nameINcmdb,cmdb_ci%5EelementISNOTEMPTY%5Eactive=true%5E";
    let fields = PAGE.replace(field, condition);
    for (name, query) in [
        ("sys_db_object", &*tables),
        ("sys_dictionary", &fields),
        ("cmdb_ci_computer", PAGE),
    ] {
        let reply = get(&prism, &table(name, query));
        assert_eq!(status(&reply), 200, "{name}: {reply}");
        assert!(
            reply.to_ascii_lowercase().contains("x-total-count: "),
            "{reply}"
        );
    }
    let urlencoded = "application/x-www-form-urlencoded";
    for form in [
        "grant_type=client_credentials&client_id=a&client_secret=b",
        "grant_type=password&client_id=a&client_secret=b&username=c&password=d",
        "grant_type=refresh_token&client_id=a&client_secret=b&refresh_token=c",
    ] {
        let reply = post(&prism, "/oauth_token.do", urlencoded, form);
        assert_eq!(status(&reply), 200, "{reply}");
        assert!(reply.contains("a-token"), "{reply}");
    }
    assert_eq!(prism.violations(), [""; 0]);
}

#[test]
fn requests_that_servicenow_would_take_for_others_are_refused() {
    let prism = Prism::start(SERVICENOW_CONTRACT);
    let reply = send(&prism, "GET", &table("cmdb_ci_computer", PAGE), "", "");
    assert_refused(&prism, &reply, 401, "Invalid security scheme");
    for (kept, broken, why) in [
        ("sys_id,name", "sys_id,nmae", "sysparm_fields.1 must be"),
        ("%5EORDERBYsys_id", "", "sysparm_query must match"),
        (
            "%5EORDERBYsys_id",
            "%5EORDERBYname",
            "sysparm_query must match",
        ),
        ("limit=1000", "limit=1000000", "sysparm_limit must be"),
        (
            "display_value=false",
            "display_value=true",
            "sysparm_display_value must be",
        ),
        (
            "limit=1000",
            "limit=1000&sysparm_offset=1000",
            "sysparm_offset",
        ),
    ] {
        let query = PAGE.replace(kept, broken);
        assert_ne!(query, PAGE);
        let reply = get(&prism, &table("cmdb_ci_computer", &query));
        assert_refused(&prism, &reply, 422, why);
    }
    let reply = get(&prism, &table("cmdb_ci_computre", PAGE));
    assert_refused(&prism, &reply, 422, "table must be");
    let json = r#"{"grant_type":"client_credentials","client_id":"a","client_secret":"b"}"#;
    let reply = post(&prism, "/oauth_token.do", JSON, json);
    assert_refused(&prism, &reply, 415, "Supported content types");
    let form = "grant_type=client_credentials&client_id=a";
    let urlencoded = "application/x-www-form-urlencoded";
    let reply = post(&prism, "/oauth_token.do", urlencoded, form);
    assert_refused(&prism, &reply, 422, "client_secret");
}
