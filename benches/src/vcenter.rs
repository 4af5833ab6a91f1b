//! A vCenter with many virtual machines, and a cycle of all of its inventory.
//!
//! The server is in a process of its own, over TLS, and makes each reply once. It gives out ids and
//! tokens that say themselves what they are of, so whoever repeats a cycle's requests gets the same
//! replies.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{Read, stdin},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use connector_core::{Cycle, FileStorage, NamedSink, Outcome, Secret, Store, SystemClock, Type};
use connector_http::{HttpConfig, Request, Service, Stack};
use connector_testkit::{
    Authority,
    http::{HttpReply, HttpRequest, HttpServer, ServerTls},
};
use connector_vcenter::{Take, Vcenter, VcenterConfig, datasets};
use quick_xml::{Reader, events::Event};

use crate::{
    Report, Result,
    child::print,
    counted::{CountedStorage, NoSink},
};

const SDK: &str = "/sdk";
/// Where the requests of the first cycle are told.
const ASKED: &str = "/asked";
const XML: &str = "text/xml; charset=utf-8";
/// How many bytes the server sends at a time.
const CHUNK: usize = 16 << 10;

/// Serves a vCenter of so many virtual machines until standard input ends.
pub(crate) async fn serve(machines: u64, authority: &Path) -> Result<()> {
    let own = Authority::new();
    std::fs::write(authority, own.pem())?;
    let tls = ServerTls::new(own.issue(&["localhost"]));
    let server = Mutex::new(Inventory::new(machines)?);
    let answer = move |request: &HttpRequest| {
        let mut server = server.lock().unwrap_or_else(PoisonError::into_inner);
        server.answer(request)
    };
    let server = HttpServer::start_tls(&tls, answer).await;
    print(&Report::from([("port".into(), server.port().into())]))?;
    tokio::task::spawn_blocking(|| stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}

struct Inventory {
    machines: u64,
    /// Of each property that a column is taken from.
    types: BTreeMap<&'static str, Type>,
    walks: Vec<Walk>,
    /// The bodies of what was posted.
    asked: Vec<String>,
    is_told: bool,
}

/// The chunks of what is asked for with one body.
struct Walk {
    asked: String,
    chunks: Vec<HttpReply>,
}

impl Inventory {
    fn new(machines: u64) -> Result<Self> {
        let mut types = BTreeMap::new();
        for dataset in datasets() {
            let schema = dataset.schema()?;
            for (property, column) in dataset.columns.iter().zip(schema.columns()) {
                if let Take::Property(path) = property.take() {
                    types.insert(path, column.ty());
                }
            }
        }
        Ok(Self {
            machines,
            types,
            walks: Vec::new(),
            asked: Vec::new(),
            is_told: false,
        })
    }

    fn answer(&mut self, request: &HttpRequest) -> HttpReply {
        if request.path() == ASKED {
            self.is_told = true;
            return HttpReply::json(serde_json::json!(self.asked).to_string());
        }
        if request.path() != SDK {
            return HttpReply::status(200).chunk(VERSIONS);
        }
        let body = request.text();
        if !self.is_told {
            self.asked.push(body.clone());
        }
        let method = between(&body, "<soapenv:Body><", " ");
        match method {
            "RetrieveServiceContent" => reply(method, CONTENT),
            "Login" => reply(method, "<returnval><key>1</key></returnval>")
                .header("set-cookie", "vmware_soap_session=\"1\"; Path=/; Secure"),
            "CreateContainerView" => {
                let of = between(&body, "<type>", "</type>");
                let view = format!("<returnval type=\"ContainerView\">view-{of}</returnval>");
                reply(method, &view)
            }
            "RetrievePropertiesEx" => self.chunk(&body),
            "ContinueRetrievePropertiesEx" => {
                let token = between(&body, "<token>", "</token>").split_once('-');
                let place = token.and_then(|(walk, chunk)| {
                    let walk = self.walks.get(walk.parse::<usize>().ok()?)?;
                    walk.chunks.get(chunk.parse::<usize>().ok()?)
                });
                place.cloned().unwrap_or_else(|| HttpReply::status(404))
            }
            "QueryAssignedLicenses" => reply(method, ASSIGNED),
            _ => reply(method, ""),
        }
    }

    /// The first chunk of a walk.
    fn chunk(&mut self, body: &str) -> HttpReply {
        let known = self.walks.iter().position(|walk| walk.asked == body);
        let walk = known.unwrap_or_else(|| {
            let chunks = self.chunks(body, self.walks.len());
            let asked = body.to_owned();
            self.walks.push(Walk { asked, chunks });
            self.walks.len() - 1
        });
        self.walks[walk].chunks[0].clone()
    }

    fn chunks(&self, body: &str, walk: usize) -> Vec<HttpReply> {
        let of = between(body, "<propSet><type>", "</type>");
        let paths = body.split("<pathSet>").skip(1);
        let paths: Vec<&str> = paths.map(|path| between(path, "", "</pathSet>")).collect();
        let most = between(body, "<maxObjects>", "</maxObjects>").parse();
        let (most, count) = (most.unwrap_or(u64::MAX), self.count(of));
        let chunks = count.div_ceil(most).max(1);
        let chunk = |chunk: u64| {
            let mut result = String::from("<returnval>");
            if chunk + 1 < chunks {
                let _ = write!(result, "<token>{walk}-{}</token>", chunk + 1);
            }
            for number in chunk * most..count.min((chunk + 1) * most) {
                let _ = write!(result, "<objects><obj type=\"{of}\">{of}-{number}</obj>");
                for path in &paths {
                    let _ = write!(result, "<propSet><name>{path}</name>");
                    self.value(&mut result, path, number);
                    result.push_str("</propSet>");
                }
                result.push_str("</objects>");
            }
            result.push_str("</returnval>");
            reply("RetrievePropertiesEx", &result)
        };
        (0..chunks).map(chunk).collect()
    }

    /// How many objects of a type there are.
    fn count(&self, of: &str) -> u64 {
        let each = match of {
            "VirtualMachine" => 1,
            "HostSystem" => 20,
            "Folder" => 30,
            "Datastore" => 60,
            "Network" | "ResourcePool" => 100,
            "ClusterComputeResource" => 300,
            "Datacenter" => 1000,
            _ => u64::MAX,
        };
        self.machines.div_ceil(each)
    }

    /// Writes what a property of an object has for a value.
    fn value(&self, out: &mut String, path: &str, number: u64) {
        let mixed = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15 ^ path.len() as u64) >> 20;
        let mut list = |of: &str, count: u64, item: &dyn Fn(u64) -> String| {
            let _ = write!(out, "<val xsi:type=\"ArrayOf{of}\">");
            for place in 0..count {
                let item = item(place);
                let _ = write!(out, "<{of} xsi:type=\"{of}\">{item}</{of}>");
            }
            out.push_str("</val>");
        };
        match path {
            "guest.net" => list("GuestNicInfo", 2, &|place| adapter(number, place)),
            "hardware.systemInfo.otherIdentifyingInfo" => {
                list("HostSystemIdentificationInfo", 4, &|place| {
                    identifier(number, place)
                });
            }
            "customValue" => list("CustomFieldStringValue", 4, &|field| {
                format!(
                    "<key>{field}</key><value>Cost centre {}</value>",
                    mixed % 900
                )
            }),
            "host" => list("DatastoreHostMount", 8, &|host| {
                format!(
                    "<key type=\"HostSystem\">host-{host}</key><mountInfo><path>/vmfs/volumes/{mixed}\
                     </path><accessMode>readWrite</accessMode><mounted>true</mounted>\
                     <accessible>true</accessible></mountInfo>"
                )
            }),
            "licenses" => list("LicenseManagerLicenseInfo", 5, &|licence| {
                format!(
                    "<licenseKey>AAAAA-{licence}</licenseKey><editionKey>esx</editionKey>\
                         <name>vSphere 8</name><total>64</total><used>32</used>"
                )
            }),
            "field" => list("CustomFieldDef", 4, &|field| {
                format!("<key>{field}</key><name>field {field}</name><type>string</type>")
            }),
            "childType" => list("string", 2, &|place| {
                ["Folder", "VirtualMachine"][usize::from(place == 1)].to_owned()
            }),
            "datastore" | "network" | "vm" => {
                let count = if path == "vm" { 20 } else { 2 };
                let _ = write!(out, "<val xsi:type=\"ArrayOfManagedObjectReference\">");
                for place in 0..count {
                    let id = number * 20 % 64 + place;
                    let _ = write!(
                        out,
                        "<ManagedObjectReference type=\"{path}\" \
                         xsi:type=\"ManagedObjectReference\">{path}-{id}</ManagedObjectReference>"
                    );
                }
                out.push_str("</val>");
            }
            _ => self.scalar(out, path, number, mixed),
        }
    }

    fn scalar(&self, out: &mut String, path: &str, number: u64, mixed: u64) {
        let is_reference = ["arent", "Pool", "Folder", "host", "owner", "Manager"]
            .iter()
            .any(|end| path.ends_with(end));
        if is_reference {
            let _ = write!(
                out,
                "<val type=\"Folder\" xsi:type=\"ManagedObjectReference\">group-{}</val>",
                number / 30
            );
            return;
        }
        let _ = match self.types.get(path) {
            Some(Type::Int) => {
                write!(out, "<val xsi:type=\"xsd:int\">{}</val>", mixed % 1_000_000)
            }
            Some(Type::Bool) => {
                write!(
                    out,
                    "<val xsi:type=\"xsd:boolean\">{}</val>",
                    mixed.is_multiple_of(2)
                )
            }
            Some(Type::Timestamp) => write!(
                out,
                "<val xsi:type=\"xsd:dateTime\">2026-{:02}-{:02}T{:02}:{:02}:07.{:06}Z</val>",
                mixed % 12 + 1,
                mixed % 28 + 1,
                mixed % 24,
                mixed % 60,
                mixed % 1_000_000
            ),
            Some(Type::Uuid) => write!(
                out,
                "<val xsi:type=\"xsd:string\">{:08x}-0000-4000-8000-{number:012x}</val>",
                mixed & 0xffff_ffff
            ),
            _ if path == "config.annotation" => write!(
                out,
                "<val xsi:type=\"xsd:string\">Owner: R&amp;D, host {number}&#xD;\nTicket {mixed}</val>"
            ),
            _ => write!(
                out,
                "<val xsi:type=\"xsd:string\">{} of app{number:05}</val>",
                path.rsplit('.').next().unwrap_or(path)
            ),
        };
    }
}

fn adapter(number: u64, place: u64) -> String {
    let address = format!("10.{place}.{}.{}", number >> 8, number & 0xff);
    format!(
        "<network>LAN {place}</network><ipAddress>{address}</ipAddress>\
         <ipAddress>fe80::250:56ff:fe00:{number:x}</ipAddress>\
         <macAddress>00:50:56:{place:02x}:{:02x}:{:02x}</macAddress><connected>true</connected>\
         <deviceConfigId>{}</deviceConfigId><dnsConfig><dhcp>false</dhcp><hostName>app</hostName>\
         <domainName>acme.local</domainName><ipAddress>10.0.0.1</ipAddress></dnsConfig><ipConfig>\
         <ipAddress><ipAddress>{address}</ipAddress><prefixLength>24</prefixLength>\
         <state>preferred</state></ipAddress></ipConfig>",
        number >> 8 & 0xff,
        number & 0xff,
        4000 + place
    )
}

fn identifier(number: u64, place: u64) -> String {
    format!(
        "<identifierValue>7XK{number}{place}</identifierValue><identifierType><label>Service tag\
         </label><summary>Service tag of the system</summary><key>Tag{place}</key></identifierType>"
    )
}

/// Only repeats what the first cycle asked for, and reads the replies as events of XML.
pub(crate) async fn drain(port: u16, authority: PathBuf) -> Result<Report> {
    let mut config = HttpConfig::default();
    config.ca_file = Some(authority);
    let transport = Stack::new(Service::new("the server"), config).build()?;
    let url = |path: &str| format!("https://localhost:{port}{path}").parse();
    let asked = Request::get(url(ASKED)?).without_credential();
    let asked = transport.send(asked).await?.bytes(u64::MAX).await?;
    let asked: Vec<String> = serde_json::from_slice(&asked)?;
    let (mut bytes, mut events) = (0, 0);
    for body in asked {
        let request = Request::post(url(SDK)?, XML, body)?
            .header("soapaction", "urn:vim25/8.0.3.0")?
            .without_credential();
        let reply = transport.send(request).await?.bytes(u64::MAX).await?;
        bytes += reply.len() as u64;
        let mut reader = Reader::from_str(std::str::from_utf8(&reply)?);
        loop {
            match std::hint::black_box(reader.read_event()?) {
                Event::Eof => break,
                _ => events += 1,
            }
        }
    }
    Ok(Report::from([
        ("bytes".into(), bytes),
        ("events".into(), events),
    ]))
}

/// Runs a cycle of all data sets.
pub(crate) async fn cycle(port: u16, authority: PathBuf, state: &Path) -> Result<Report> {
    let url = format!("https://localhost:{port}").parse()?;
    let mut config = VcenterConfig::new(url, "reader@vsphere.local", Secret::new("s3cret"));
    config.http.ca_file = Some(authority);
    let connector = Vcenter::new("bench", &config)?;
    let written = Arc::new(AtomicU64::new(0));
    let storage = CountedStorage::new(FileStorage::new(state), Arc::clone(&written));
    let store = Store::open(Arc::new(storage), Arc::new(SystemClock::default())).await?;
    let cycle = Cycle::new(&store).sink(NamedSink::new("none", NoSink));
    let mut rows = 0;
    for report in cycle.run(&connector).await? {
        match report.outcome {
            Outcome::Synced(_) if report.sink_errors.is_empty() => rows += report.rows,
            _ => return Err(format!("the cycle failed: {report:?}").into()),
        }
    }
    Ok(Report::from([
        ("rows".into(), rows),
        ("written".into(), written.load(Ordering::Relaxed)),
    ]))
}

fn reply(method: &str, result: &str) -> HttpReply {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope \
         xmlns:soapenc=\"http://schemas.xmlsoap.org/soap/encoding/\" \
         xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\n<soapenv:Body>\n\
         <{method}Response xmlns=\"urn:vim25\">{result}</{method}Response>\n</soapenv:Body>\n\
         </soapenv:Envelope>"
    );
    let mut reply = HttpReply::status(200).header("content-type", XML);
    for chunk in body.as_bytes().chunks(CHUNK) {
        reply = reply.chunk(chunk);
    }
    reply
}

/// What stands between two texts; nothing where they are not.
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let found = text
        .split_once(from)
        .and_then(|(_, rest)| rest.split_once(to));
    found.map_or("", |(found, _)| found)
}

const VERSIONS: &str = "<namespaces version=\"1.0\"><namespace><name>urn:vim25</name>\
    <version>8.0.3.0</version></namespace></namespaces>";

const CONTENT: &str = "<returnval><rootFolder type=\"Folder\">group-d1</rootFolder>\
    <propertyCollector type=\"PropertyCollector\">propertyCollector</propertyCollector>\
    <viewManager type=\"ViewManager\">ViewManager</viewManager><about>\
    <fullName>VMware vCenter Server 8.0.3</fullName><apiVersion>8.0.3.0</apiVersion>\
    <instanceUuid>dbed6e0c-bd88-4ef6-b594-21283e1c677f</instanceUuid></about>\
    <sessionManager type=\"SessionManager\">SessionManager</sessionManager>\
    <customFieldsManager type=\"CustomFieldsManager\">CustomFieldsManager</customFieldsManager>\
    <licenseManager type=\"LicenseManager\">LicenseManager</licenseManager></returnval>";

const ASSIGNED: &str = "<returnval><entityId>host-1</entityId><assignedLicense>\
    <licenseKey>AAAAA-1</licenseKey><editionKey>esx</editionKey><name>vSphere 8</name>\
    </assignedLicense></returnval>";
