//! Replies of HTTP sources into rows: pages of JSON, and exported files.

use std::{
    fmt::Write as _,
    fs::File,
    io::{BufWriter, Read, Write},
    path::Path,
    sync::Arc,
};

use connector_core::{Batch, RowWriter, Schema, Type};
use connector_http::decode::{
    CsvDecoder, PageDecoder, Reply, ReplyColumn, Unzip, bool, int, text, time,
};
use serde_json::Value;

use crate::{Report, Result, computers};

/// How many devices a page has.
pub const PAGE: u64 = 1_000;

/// What Microsoft Graph documents of a managed device and a list fills.
const DEVICES: Reply = Reply {
    name: "managed_devices",
    columns: &[
        text("id", "id").key(),
        text("user_id", "userId").empty_is_null(),
        text("device_name", "deviceName").null(),
        text("owner_type", "managedDeviceOwnerType").null(),
        time("enrolled_at", "enrolledDateTime").year_one_is_null(),
        time("last_sync_at", "lastSyncDateTime")
            .year_one_is_null()
            .volatile(),
        text("operating_system", "operatingSystem").null(),
        text("compliance_state", "complianceState").null(),
        text("jail_broken", "jailBroken").null(),
        text("management_agent", "managementAgent").null(),
        text("os_version", "osVersion").null(),
        bool("eas_activated", "easActivated").null(),
        text("eas_device_id", "easDeviceId").null(),
        time("eas_activated_at", "easActivationDateTime").year_one_is_null(),
        bool("entra_registered", "azureADRegistered").null(),
        text("enrollment_type", "deviceEnrollmentType").null(),
        text("email_address", "emailAddress").null(),
        text("entra_device_id", "azureADDeviceId").null(),
        text("registration_state", "deviceRegistrationState").null(),
        text("category", "deviceCategoryDisplayName").null(),
        bool("is_supervised", "isSupervised").null(),
        time("exchange_sync_at", "exchangeLastSuccessfulSyncDateTime").year_one_is_null(),
        text("exchange_access_state", "exchangeAccessState").null(),
        text("exchange_access_reason", "exchangeAccessStateReason").null(),
        bool("is_encrypted", "isEncrypted").null(),
        text("user_principal_name", "userPrincipalName").null(),
        text("model", "model").null(),
        text("manufacturer", "manufacturer").null(),
        text("imei", "imei").null(),
        time(
            "grace_period_ends_at",
            "complianceGracePeriodExpirationDateTime",
        )
        .year_one_is_null(),
        text("serial_number", "serialNumber").null(),
        text("phone_number", "phoneNumber").null(),
        text("android_patch_level", "androidSecurityPatchLevel").null(),
        text("user_display_name", "userDisplayName").null(),
        text("wifi_mac_address", "wiFiMacAddress").null(),
        text("subscriber_carrier", "subscriberCarrier").null(),
        text("meid", "meid").null(),
        int("total_storage_bytes", "totalStorageSpaceInBytes").zero_is_null(),
        int("free_storage_bytes", "freeStorageSpaceInBytes")
            .zero_is_null()
            .volatile(),
        text("managed_device_name", "managedDeviceName").null(),
        text("threat_state", "partnerReportedThreatState").null(),
        int("memory_bytes", "physicalMemoryInBytes").zero_is_null(),
    ],
    ..Reply::ODATA
}
.checked();

/// The columns of `AppInvRawData`.
const INSTALLS: Reply = Reply {
    name: "app_installs",
    columns: &[
        text("app_key", "ApplicationKey").key(),
        text("device_id", "DeviceId").key(),
        text("app_name", "ApplicationName").null(),
        text("publisher", "ApplicationPublisher").null(),
        text("short_version", "ApplicationShortVersion").null(),
        text("version", "ApplicationVersion").null(),
        text("device_name", "DeviceName").null(),
        text("email_address", "EmailAddress").null(),
        text("os_description", "OSDescription").null(),
        text("os_version", "OSVersion").null(),
        text("platform", "Platform").null(),
        text("user_id", "UserId").null(),
        text("user_name", "UserName").null(),
    ],
    ..Reply::NEW
}
.checked();

/// Whose page it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Source {
    /// Devices of Microsoft Graph.
    Graph,
    /// Computers of ServiceNow, whose values are all text.
    Servicenow,
}

impl Source {
    /// Returns it as works take it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Graph => "graph",
            Self::Servicenow => "servicenow",
        }
    }

    fn reply(self) -> &'static Reply<'static> {
        match self {
            Self::Graph => &DEVICES,
            Self::Servicenow => &computers::COMPUTERS,
        }
    }
}

/// Writes one page.
pub(crate) fn write_page(file: &Path, source: Source) -> Result<Report> {
    let next = "https://graph.microsoft.com/v1.0/deviceManagement/managedDevices?$skiptoken=LastDeviceName%3d%27PC%27";
    let page = match source {
        Source::Graph => page(0, Some(next))?,
        Source::Servicenow => computers::page(0)?,
    };
    std::fs::write(file, &page)?;
    Ok(Report::from([("bytes".into(), page.len() as u64)]))
}

/// Makes a page of devices from this number on, in the order of members of the documented sample.
pub(crate) fn page(from: u64, next: Option<&str>) -> Result<String> {
    let mut page = String::from(
        r#"{"@odata.context":"https://graph.microsoft.com/v1.0/$metadata#deviceManagement/managedDevices","@odata.count":1000,"#,
    );
    if let Some(next) = next {
        write!(page, "\"@odata.nextLink\":\"{next}\",")?;
    }
    page.push_str("\"value\":[");
    for number in from..from + PAGE {
        if number > from {
            page.push(',');
        }
        page.push('{');
        for (place, column) in DEVICES.columns.iter().enumerate() {
            if place > 0 {
                page.push(',');
            }
            write!(page, "\"{}\":", column.path())?;
            member(&mut page, column, number, place as u64)?;
        }
        page.push('}');
    }
    page.push_str("]}");
    Ok(page)
}

/// Writes a value as such devices have it.
fn member(page: &mut String, column: &ReplyColumn, number: u64, place: u64) -> Result<()> {
    let mixed = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15 ^ (place << 17)) >> 20;
    let path = column.path();
    match column.ty() {
        Type::Bool => write!(page, "{}", mixed.is_multiple_of(2))?,
        Type::Int => write!(
            page,
            "{}",
            if mixed.is_multiple_of(8) {
                0
            } else {
                mixed % 2_000_000_000_000
            }
        )?,
        Type::Timestamp if mixed.is_multiple_of(4) => page.push_str("\"0001-01-01T00:00:00Z\""),
        Type::Timestamp => write!(
            page,
            "\"202{}-{:02}-{:02}T{:02}:{:02}:{:02}.{:07}Z\"",
            mixed % 7,
            mixed % 12 + 1,
            mixed % 28 + 1,
            mixed % 24,
            mixed % 60,
            mixed % 59,
            mixed % 10_000_000,
        )?,
        _ if path.ends_with("Id") || path == "id" => write!(
            page,
            "\"{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}\"",
            mixed & 0xffff_ffff,
            mixed >> 7 & 0xffff,
            mixed >> 3 & 0xfff,
            number & 0xfff,
            number
        )?,
        _ => match (path, mixed % 5) {
            ("imei" | "meid" | "phoneNumber" | "subscriberCarrier", 1..) => page.push_str("null"),
            ("userDisplayName", 0) => write!(page, "\"Zoë Müller {number}\"")?,
            ("userDisplayName", 1) => write!(page, "\"O\\u0027Neill, \\\"Pat\\\" {number}\"")?,
            ("userPrincipalName" | "emailAddress", _) => {
                write!(page, "\"user.{number}@contoso.onmicrosoft.com\"")?;
            }
            ("deviceName" | "managedDeviceName", _) => {
                write!(page, "\"DESKTOP-{:07}\"", mixed % 10_000_000)?;
            }
            ("operatingSystem", _) => page.push_str("\"Windows\""),
            ("osVersion", _) => write!(page, "\"10.0.22631.{}\"", mixed % 5000)?,
            (_, kind) => write!(
                page,
                "\"{}\"",
                [
                    "unknown",
                    "company",
                    "registered",
                    "compliant",
                    "Standard PC"
                ][usize::try_from(kind)?]
            )?,
        },
    }
    Ok(())
}

/// Decodes a page as often as it takes for so many rows.
pub(crate) fn page_rows(file: &Path, rows: u64, source: Source) -> Result<Report> {
    let page = std::fs::read(file)?;
    let mut decoder = PageDecoder::new(source.reply())?;
    let mut batch = Batch::new(Arc::clone(decoder.schema()));
    let mut bytes = 0;
    for _ in 0..pages(rows) {
        decoder.decode(&page, &mut batch)?;
        bytes += batch.byte_len() as u64;
        // With the same memory again, as a read gives it back.
        batch = Batch::new(Arc::clone(decoder.schema())).next(Some(batch));
    }
    Ok(Report::from([("bytes".into(), bytes)]))
}

/// The same by way of a value a page.
pub(crate) fn page_values(file: &Path, rows: u64, source: Source) -> Result<Report> {
    let page = std::fs::read(file)?;
    let reply = source.reply();
    let schema = Arc::new(reply.schema()?);
    let mut batch = Batch::new(Arc::clone(&schema));
    let mut bytes = 0;
    for _ in 0..pages(rows) {
        let page: Value = serde_json::from_slice(&page)?;
        let records = page.get(reply.list).and_then(Value::as_array);
        for record in records.ok_or("the page has no records")? {
            let mut row = batch.row();
            for column in reply.columns {
                let value = record.get(column.path());
                match source {
                    Source::Graph => write_value(&mut row, column, value)?,
                    Source::Servicenow => computers::write_value(&mut row, column, value)?,
                }
            }
            row.end()?;
        }
        bytes += batch.byte_len() as u64;
        batch = Batch::new(Arc::clone(&schema)).next(Some(batch));
    }
    Ok(Report::from([("bytes".into(), bytes)]))
}

fn write_value(
    row: &mut RowWriter<'_, Batch>,
    column: &ReplyColumn,
    value: Option<&Value>,
) -> Result<()> {
    match (value, column.ty()) {
        (None | Some(Value::Null), _) => row.null(),
        (Some(Value::Bool(value)), Type::Bool) => row.bool(*value),
        (Some(Value::Number(number)), Type::Int) => match number.as_i64() {
            Some(0) => row.null(),
            Some(number) => row.int(number),
            None => return Err("not a whole number".into()),
        },
        (Some(Value::String(text)), Type::Timestamp) if text.starts_with("0001-01-01") => {
            row.null()
        }
        (Some(Value::String(text)), Type::Text | Type::Timestamp) => row.parse(text),
        _ => return Err("a value of another kind".into()),
    };
    Ok(())
}

fn pages(rows: u64) -> u64 {
    rows.div_ceil(PAGE).max(1)
}

/// Writes an export of installs, in the order in which reports have their columns; packed too, as
/// an archive beside it.
pub(crate) fn write_installs(file: &Path, rows: u64) -> Result<Report> {
    let mut out = BufWriter::new(File::create_new(file)?);
    out.write_all(b"\xEF\xBB\xBFApplicationKey,ApplicationName,ApplicationPublisher,ApplicationShortVersion,ApplicationVersion,DeviceId,DeviceName,EmailAddress,OSDescription,OSVersion,Platform,UserId,UserName\r\n")?;
    for number in 0..rows {
        let (app, device) = (number % 150, number / 150);
        let mixed = (app + 7).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        write!(
            out,
            "{mixed:016x}{mixed:016x},\"Product {app}, 64-bit\",{},{}.{app},{}.{app}.{}.0,{device:08x}-0000-4000-8000-{device:012x},DESKTOP-{device:07},user.{device}@contoso.onmicrosoft.com,Windows,10.0.22631.{},Windows,{device:08x}-1111-4000-8000-{device:012x},\"Müller, User {device}\"\r\n",
            ["Contoso Ltd.", "", "Fabrikam"][usize::try_from(app % 3)?],
            mixed % 20,
            mixed % 20,
            mixed % 9000,
            device % 5000,
        )?;
    }
    out.flush()?;
    Ok(Report::from([("rows".into(), rows)]))
}

/// Packs a file into an archive of it.
pub(crate) fn pack(file: &Path, archive: &Path) -> Result<Report> {
    let mut source = File::open(file)?;
    let mut packed = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(6));
    let mut checksum = flate2::CrcReader::new(&mut source);
    let unpacked = std::io::copy(&mut checksum, &mut packed)?;
    let (sum, packed) = (checksum.crc().sum(), packed.finish()?);
    let sizes = [u32::try_from(packed.len())?, u32::try_from(unpacked)?];
    let mut facts = sum.to_le_bytes().to_vec();
    facts.extend(sizes.iter().flat_map(|size| size.to_le_bytes()));
    let mut out = b"PK\x03\x04\x14\0\0\0\x08\0\0\0\0\0".to_vec();
    out.extend_from_slice(&facts);
    out.extend_from_slice(b"\x05\0\0\0a.csv");
    out.extend_from_slice(&packed);
    let directory = u32::try_from(out.len())?;
    out.extend_from_slice(b"PK\x01\x02\x14\0\x14\0\0\0\x08\0\0\0\0\0");
    out.extend_from_slice(&facts);
    out.extend_from_slice(b"\x05\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0a.csv");
    out.extend_from_slice(b"PK\x05\x06\0\0\0\0\x01\0\x01\0\x33\0\0\0");
    out.extend_from_slice(&directory.to_le_bytes());
    out.extend_from_slice(b"\0\0");
    std::fs::write(archive, out)?;
    Ok(Report::from([("bytes".into(), unpacked)]))
}

/// Makes rows of an export, in chunks as a connection has them.
pub(crate) fn install_rows(file: &Path, is_packed: bool) -> Result<Report> {
    let mut file = File::open(file)?;
    let mut decoder = CsvDecoder::new(&INSTALLS)?;
    let schema: Arc<Schema> = Arc::clone(decoder.schema());
    let mut batch = Batch::new(Arc::clone(&schema));
    let mut zip = is_packed.then(|| Unzip::new(u64::MAX));
    let (mut chunk, mut unpacked) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut push = |part: &[u8], batch: &mut Batch| -> Result<()> {
        decoder.push(part, batch)?;
        if batch.byte_len() >= 256 << 10 {
            let spent = std::mem::replace(batch, Batch::new(Arc::clone(&schema)));
            *batch = batch.next(Some(spent));
        }
        Ok(())
    };
    loop {
        let len = file.read(&mut chunk)?;
        if len == 0 {
            break;
        }
        let mut rest = &chunk[..len];
        let Some(zip) = &mut zip else {
            push(rest, &mut batch)?;
            continue;
        };
        loop {
            let len = zip.read(&mut rest, &mut unpacked)?;
            if len == 0 {
                break;
            }
            push(&unpacked[..len], &mut batch)?;
        }
    }
    if let Some(zip) = zip {
        zip.finish()?;
    }
    let facts = decoder.finish(&mut batch)?;
    Ok(Report::from([("rows".into(), facts.rows)]))
}
