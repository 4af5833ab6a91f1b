//! The 27 data sets of a site's inventory, by category.

mod devices;
mod packages;
mod sites;
mod software;
mod updates;
mod users;

use connector_mssql::SqlDataset;

use crate::config::{Patchs, SccmSettings, SettingsFrom};

/// The list that bounds of ranges come from: each device once. Views of inventory are indexed by
/// it.
const EACH_DEVICE: &str = "v_R_System.ResourceID";

/// In the order of the list.
pub(super) fn datasets(settings: &SccmSettings) -> Vec<SqlDataset> {
    vec![
        sites::CUSTOM_SQL_PROPERTY_DATA,
        packages::DEPLOYMENT_PACKAGE,
        packages::DEPLOYMENT_PROGRAM,
        sites::GROUP_MAP,
        match settings.patchs {
            Patchs::States => updates::PATCHS_STATES,
            Patchs::Updates => updates::PATCHS_UPDATES,
        },
        match settings.settings_from {
            SettingsFrom::Identity => sites::SETTINGS_IDENTITY,
            SettingsFrom::Components => sites::SETTINGS_COMPONENTS,
        },
        sites::SITES,
        packages::SMS_PACKAGES,
        software::ADD_REMOVE_PROGRAMS,
        updates::CATEGORY_INFO,
        updates::CI_CATEGORIES,
        software::RECENTLY_USED_APPS,
        devices::COMPUTER_SYSTEM,
        software::INSTALLED_SOFTWARE,
        devices::OPERATING_SYSTEM,
        devices::PC_BIOS,
        devices::PROCESSOR,
        devices::SERVICE,
        users::SYSTEM_CONSOLE_USER,
        devices::VIRTUAL_MACHINE,
        devices::WORKSTATION_STATUS,
        devices::R_SYSTEM,
        users::R_USER,
        devices::SYSTEM_OU_NAME,
        sites::V_SITE,
        updates::UPDATE_CIS,
        packages::VSMS_PROGRAM,
    ]
}
