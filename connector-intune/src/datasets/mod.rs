//! The data sets, declared as data.
//!
//! Properties and their types are those of Graph's own schema, which a test compares; columns of
//! exports are those of "Intune reports and properties available using Graph API"
//! (<https://learn.microsoft.com/intune/device-management/reports/ref-graph-available-reports>).

mod devices;
mod policies;
mod software;

use connector_graph::GraphDataset;

use crate::config::IntuneSettings;

const DEVICES: &str = "Devices";
const SOFTWARE: &str = "Software";
const APPS: &str = "Apps";
const COMPLIANCE: &str = "Compliance";
const USERS: &str = "Users";
const USAGE: &str = "Usage";

const MANAGED_DEVICES_READ: &[&str] = &["DeviceManagementManagedDevices.Read.All"];

/// Those that take a call for each device.
const DETAILS: [&GraphDataset; 2] = [&devices::DEVICE_DETAILS, &devices::DEVICE_HARDWARE];

const DATASETS: [&GraphDataset; 21] = [
    &devices::MANAGED_DEVICES,
    &devices::DEVICE_EXTRAS,
    &devices::DEVICES_WITH_INVENTORY,
    &devices::RESOURCES,
    &devices::AUTOPILOT,
    &devices::USERS,
    &devices::DEVICE_USERS,
    &software::DETECTED_APPS,
    &software::APP_INV_AGGREGATE,
    &software::APP_INV_RAW_DATA,
    &software::MOBILE_APPS,
    &software::IOS_VPP_APPS,
    &software::STORE_APPS,
    &software::WIN32_APPS,
    &software::APP_ASSIGNMENTS,
    &software::APP_INSTALL_STATUS,
    &software::APP_CONFIGURATIONS,
    &policies::COMPLIANCE_POLICIES,
    &policies::COMPLIANCE_ASSIGNMENTS,
    &policies::DEVICE_COMPLIANCE,
    &policies::APP_PERFORMANCE,
];

/// Returns the data sets that these settings choose.
pub fn datasets(settings: &IntuneSettings) -> Vec<&'static GraphDataset> {
    let mut datasets = DATASETS.to_vec();
    if settings.device_details {
        datasets.extend(DETAILS);
    }
    datasets
}
