//! Computers of a ServiceNow instance: a page of them, and what makes rows of it.

use std::fmt::Write as _;

use connector_core::{Batch, RowWriter, Type};
use connector_http::decode::{Reply, ReplyColumn, bool, float, int, text, time};
use serde_json::Value;

use crate::{PAGE, Result};

/// A column as the connector reads it: text, or an object in its place; empty is null.
const fn read(column: ReplyColumn<'static>) -> ReplyColumn<'static> {
    column.member("value").from_text().empty_is_null()
}

/// A computer as the connector declares it, by the types that are usual for its fields.
pub(crate) const COMPUTERS: Reply = Reply {
    name: "computers",
    list: "result",
    error: "error",
    columns: &[
        text("sys_id", "sys_id").member("value").from_text().key(),
        read(text("sys_class_name", "sys_class_name")),
        read(text("name", "name")),
        read(text("fqdn", "fqdn")),
        read(text("dns_domain", "dns_domain")),
        read(text("serial_number", "serial_number")),
        read(text("asset_tag", "asset_tag")),
        read(text("ip_address", "ip_address")),
        read(text("manufacturer", "manufacturer")),
        read(text("model_id", "model_id")),
        read(text("location", "location")),
        read(text("company", "company")),
        read(text("department", "department")),
        read(text("assigned_to", "assigned_to")),
        read(text("support_group", "support_group")),
        read(text("os", "os")),
        read(text("os_version", "os_version")),
        read(int("cpu_count", "cpu_count")),
        read(int("cpu_core_count", "cpu_core_count")),
        read(text("cpu_name", "cpu_name")),
        read(float("cpu_speed", "cpu_speed")),
        read(int("ram", "ram")),
        read(float("disk_space", "disk_space")),
        read(bool("virtual", "virtual")),
        read(text("object_id", "object_id")),
        read(text("chassis_type", "chassis_type")),
        read(int("install_status", "install_status")),
        read(int("operational_status", "operational_status")),
        read(text("discovery_source", "discovery_source")),
        read(time("first_discovered", "first_discovered").utc()),
        read(time("last_discovered", "last_discovered").utc()).volatile(),
        read(text("correlation_id", "correlation_id")),
        read(time("sys_created_on", "sys_created_on").utc()),
        read(time("sys_updated_on", "sys_updated_on").utc()).volatile(),
        read(int("sys_mod_count", "sys_mod_count")).volatile(),
    ],
    ..Reply::NEW
}
.checked();

/// Returns the id of a computer, which stands in the order of numbers.
pub(crate) fn id(number: u64) -> String {
    format!("{number:016x}{:016x}", mixed(number, 0))
}

fn mixed(number: u64, place: u64) -> u64 {
    (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15 ^ (place << 17)) >> 20
}

/// Makes a page of computers from this number on.
pub(crate) fn page(from: u64) -> Result<String> {
    let mut page = String::from(r#"{"result":["#);
    for number in from..from + PAGE {
        if number > from {
            page.push(',');
        }
        page.push('{');
        for (place, column) in COMPUTERS.columns.iter().enumerate() {
            if place > 0 {
                page.push(',');
            }
            write!(page, "\"{}\":\"", column.path())?;
            member(&mut page, column, number, place as u64)?;
            page.push('"');
        }
        page.push('}');
    }
    page.push_str("]}");
    Ok(page)
}

/// Writes the text of a value as such computers have it.
fn member(page: &mut String, column: &ReplyColumn<'_>, number: u64, place: u64) -> Result<()> {
    let mixed = mixed(number, place);
    match column.ty() {
        Type::Bool => write!(page, "{}", mixed.is_multiple_of(2))?,
        // Of what discovery does not find.
        _ if !column.is_key() && mixed % 8 == 3 => {}
        Type::Int => write!(page, "{}", mixed % 65_536)?,
        Type::Float => write!(page, "{}.{}", mixed % 4_000, mixed % 10)?,
        Type::Timestamp => write!(
            page,
            "202{}-{:02}-{:02} {:02}:{:02}:{:02}",
            mixed % 7,
            mixed % 12 + 1,
            mixed % 28 + 1,
            mixed % 24,
            mixed % 60,
            mixed % 59,
        )?,
        _ => match column.path() {
            "sys_id" => page.push_str(&id(number)),
            "sys_class_name" => page.push_str("cmdb_ci_win_server"),
            "name" => write!(page, "SRV-{number:07}")?,
            "fqdn" => write!(page, "srv-{number:07}.acme.example")?,
            "cpu_name" => page.push_str("Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz, \\\"Ice\\\""),
            "os" => page.push_str("Windows Server 2022 Standard"),
            "manufacturer" | "model_id" | "location" | "company" | "department" | "assigned_to"
            | "support_group" => write!(page, "{:032x}", u128::from(mixed % 5_000) << 70)?,
            _ => write!(page, "value {}", mixed % 100_000)?,
        },
    }
    Ok(())
}

/// Writes a cell by way of a value.
pub(crate) fn write_value(
    row: &mut RowWriter<'_, Batch>,
    column: &ReplyColumn<'_>,
    value: Option<&Value>,
) -> Result<()> {
    match (value, column.ty()) {
        (Some(Value::String(text)), _) if text.is_empty() => row.null(),
        (Some(Value::String(text)), Type::Timestamp) => {
            row.parse(&format!("{}Z", text.replace(' ', "T")))
        }
        (Some(Value::String(text)), _) => row.parse(text),
        _ => return Err("a value of another kind".into()),
    };
    Ok(())
}
