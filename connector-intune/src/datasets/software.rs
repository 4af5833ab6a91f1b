//! Programs found on devices, and apps that are managed.

use connector_graph::{
    Call, Collection, Each, Export, FILE, GraphDataset, LIST,
    connector_core::Type,
    decode::{Reply, bool, float, given, int, text, time},
    group,
};

use super::{APPS, MANAGED_DEVICES_READ, SOFTWARE};

const APPS_READ: &[&str] = &["DeviceManagementApps.Read.All"];

/// Programs found on devices: one row for each name, version, publisher and platform.
pub(super) const DETECTED_APPS: GraphDataset = GraphDataset {
    category: SOFTWARE,
    about: "programs found on devices, with the number of devices",
    permissions: MANAGED_DEVICES_READ,
    reply: Reply {
        name: "detectedApps",
        columns: &[
            text("id", "id").key(),
            text("displayName", "displayName").null(),
            text("version", "version").null(),
            text("publisher", "publisher").null(),
            text("platform", "platform").null(),
            int("sizeInByte", "sizeInByte").zero_is_null(),
            int("deviceCount", "deviceCount").null(),
        ],
        ..LIST
    },
    call: Call::Collection(Collection::new("deviceManagement/detectedApps").top(1000)),

    group: group::DEVICES,
    ..GraphDataset::NEW
}
.checked();

/// The same as a file. Its keys and those of [`APP_INV_RAW_DATA`] differ: neither holds all.
pub(super) const APP_INV_AGGREGATE: GraphDataset = GraphDataset {
    category: SOFTWARE,
    about: "programs found on devices, as a report",
    permissions: MANAGED_DEVICES_READ,
    reply: Reply {
        name: "AppInvAggregate",
        columns: &[
            text("ApplicationKey", "ApplicationKey").key(),
            text("ApplicationId", "ApplicationId").optional(),
            text("ApplicationName", "ApplicationName").optional(),
            text("ApplicationPublisher", "ApplicationPublisher").optional(),
            text("ApplicationShortVersion", "ApplicationShortVersion").optional(),
            text("ApplicationVersion", "ApplicationVersion").optional(),
            text("Platform", "Platform").optional(),
            int("DeviceCount", "DeviceCount").optional(),
        ],
        ..FILE
    },
    call: Call::Export(Export::new("AppInvAggregate")),

    group: group::EXPORTS,
    ..GraphDataset::NEW
}
.checked();

/// Which program is on which device: devices times programs, millions of rows. What it repeats of the
/// device and its user is left out: `managedDevices` has that, by `DeviceId`.
pub(super) const APP_INV_RAW_DATA: GraphDataset = GraphDataset {
    category: SOFTWARE,
    about: "which program is installed on which device",
    permissions: MANAGED_DEVICES_READ,
    reply: Reply {
        name: "AppInvRawData",
        columns: &[
            text("ApplicationKey", "ApplicationKey").key(),
            text("DeviceId", "DeviceId").key(),
            text("ApplicationName", "ApplicationName").optional(),
            text("ApplicationPublisher", "ApplicationPublisher").optional(),
            text("ApplicationShortVersion", "ApplicationShortVersion").optional(),
            text("ApplicationVersion", "ApplicationVersion").optional(),
            text("Platform", "Platform").optional(),
            text("UserId", "UserId").optional(),
        ],
        ..FILE
    },
    call: Call::Export(Export::new("AppInvRawData")),

    group: group::EXPORTS,
    ..GraphDataset::NEW
}
.checked();

/// Apps that are managed. `type` is the subtype; what a subtype has besides is in data sets of its
/// own, since it can't be selected on the list of all.
pub(super) const MOBILE_APPS: GraphDataset = GraphDataset {
    category: APPS,
    about: "apps that are managed",
    permissions: APPS_READ,
    reply: Reply {
        name: "mobileApps",
        columns: &[
            text("id", "id").key(),
            text("type", "@odata.type").null(),
            text("displayName", "displayName").null(),
            text("description", "description").null(),
            text("publisher", "publisher").null(),
            text("developer", "developer").null(),
            text("owner", "owner").null(),
            text("notes", "notes").null(),
            text("informationUrl", "informationUrl").null(),
            text("privacyInformationUrl", "privacyInformationUrl").null(),
            bool("isFeatured", "isFeatured").null(),
            text("publishingState", "publishingState").null(),
            time("createdDateTime", "createdDateTime").year_one_is_null(),
            time("lastModifiedDateTime", "lastModifiedDateTime").year_one_is_null(),
        ],
        ..LIST
    },
    call: Call::Collection(Collection::new("deviceAppManagement/mobileApps")),

    group: group::CONFIGURATION,
    ..GraphDataset::NEW
}
.checked();

/// Licences of apps bought through Apple.
pub(super) const IOS_VPP_APPS: GraphDataset = GraphDataset {
    category: APPS,
    about: "apps bought through Apple, with their licences",
    permissions: APPS_READ,
    reply: Reply {
        name: "iosVppApps",
        columns: &[
            text("id", "id").key(),
            text("displayName", "displayName").null(),
            text("publisher", "publisher").null(),
            text("bundleId", "bundleId").null(),
            int("totalLicenseCount", "totalLicenseCount").null(),
            int("usedLicenseCount", "usedLicenseCount").null(),
            bool(
                "supportsDeviceLicensing",
                "licensingType/supportsDeviceLicensing",
            )
            .null(),
            bool(
                "supportsUserLicensing",
                "licensingType/supportsUserLicensing",
            )
            .null(),
            text("vppTokenOrganizationName", "vppTokenOrganizationName").null(),
            text("vppTokenAccountType", "vppTokenAccountType").null(),
            text("vppTokenAppleId", "vppTokenAppleId").null(),
            time("releaseDateTime", "releaseDateTime").year_one_is_null(),
            text("appStoreUrl", "appStoreUrl").null(),
        ],
        ..LIST
    },
    call: Call::Collection(Collection::new(
        "deviceAppManagement/mobileApps/microsoft.graph.iosVppApp",
    )),

    group: group::CONFIGURATION,
    ..GraphDataset::NEW
}
.checked();

/// Licences of apps of the Microsoft Store for Business. The product key is the store's name of the
/// app, no licence key.
pub(super) const STORE_APPS: GraphDataset = GraphDataset {
    category: APPS,
    about: "apps of the Microsoft Store for Business, with their licences",
    permissions: APPS_READ,
    reply: Reply {
        name: "microsoftStoreForBusinessApps",
        columns: &[
            text("id", "id").key(),
            text("displayName", "displayName").null(),
            text("publisher", "publisher").null(),
            text("packageIdentityName", "packageIdentityName").null(),
            text("productKey", "productKey").null(),
            text("licenseType", "licenseType").null(),
            int("totalLicenseCount", "totalLicenseCount").null(),
            int("usedLicenseCount", "usedLicenseCount").null(),
        ],
        ..LIST
    },
    call: Call::Collection(Collection::new(
        "deviceAppManagement/mobileApps/microsoft.graph.microsoftStoreForBusinessApp",
    )),

    group: group::CONFIGURATION,
    ..GraphDataset::NEW
}
.checked();

/// What identifies a Windows app on a device. Command lines are left out: they hold passwords at times.
pub(super) const WIN32_APPS: GraphDataset = GraphDataset {
    category: APPS,
    about: "Windows apps, with their product codes",
    permissions: APPS_READ,
    reply: Reply {
        name: "win32LobApps",
        columns: &[
            text("id", "id").key(),
            text("displayName", "displayName").null(),
            text("publisher", "publisher").null(),
            text("fileName", "fileName").null(),
            int("size", "size").zero_is_null(),
            text("committedContentVersion", "committedContentVersion").null(),
            text("setupFilePath", "setupFilePath").null(),
            text("applicableArchitectures", "applicableArchitectures").null(),
            text(
                "minimumSupportedWindowsRelease",
                "minimumSupportedWindowsRelease",
            )
            .null(),
            text("msiProductCode", "msiInformation/productCode").null(),
            text("msiProductName", "msiInformation/productName").null(),
            text("msiProductVersion", "msiInformation/productVersion").null(),
            text("msiPublisher", "msiInformation/publisher").null(),
            text("msiUpgradeCode", "msiInformation/upgradeCode").null(),
            text("msiPackageType", "msiInformation/packageType").null(),
        ],
        ..LIST
    },
    call: Call::Collection(Collection::new(
        "deviceAppManagement/mobileApps/microsoft.graph.win32LobApp",
    )),

    group: group::CONFIGURATION,
    ..GraphDataset::NEW
}
.checked();

/// Who gets an app: a call for each, since all of them at once ran into time-outs.
pub(super) const APP_ASSIGNMENTS: GraphDataset = GraphDataset {
    category: APPS,
    about: "who gets which app",
    permissions: APPS_READ,
    reply: Reply {
        name: "mobileAppAssignments",
        columns: &[
            given("appId", Type::Text).key(),
            text("id", "id").key(),
            text("intent", "intent").null(),
            text("targetType", "target/@odata.type").null(),
            text("targetGroupId", "target/groupId").null(),
        ],
        ..LIST
    },
    call: Call::Each(Each::new(
        Collection::new("deviceAppManagement/mobileApps"),
        "deviceAppManagement/mobileApps/{id}/assignments",
    )),

    group: group::CONFIGURATION,
    ..GraphDataset::NEW
}
.checked();

/// How installing managed apps went, by app.
pub(super) const APP_INSTALL_STATUS: GraphDataset = GraphDataset {
    category: APPS,
    about: "how installing managed apps went, by app",
    permissions: APPS_READ,
    reply: Reply {
        name: "AppInstallStatusAggregate",
        columns: &[
            text("ApplicationId", "ApplicationId").key(),
            text("DisplayName", "DisplayName").optional(),
            text("Publisher", "Publisher").optional(),
            text("AppVersion", "AppVersion").optional(),
            text("Platform", "Platform").optional(),
            text("AppPlatform", "AppPlatform").optional(),
            float("FailedDevicePercentage", "FailedDevicePercentage").optional(),
            int("InstalledDeviceCount", "InstalledDeviceCount").optional(),
            int("InstalledUserCount", "InstalledUserCount").optional(),
            int("FailedDeviceCount", "FailedDeviceCount").optional(),
            int("FailedUserCount", "FailedUserCount").optional(),
            int("NotInstalledDeviceCount", "NotInstalledDeviceCount").optional(),
            int("NotInstalledUserCount", "NotInstalledUserCount").optional(),
            int("PendingInstallDeviceCount", "PendingInstallDeviceCount").optional(),
            int("PendingInstallUserCount", "PendingInstallUserCount").optional(),
            int("NotApplicableDeviceCount", "NotApplicableDeviceCount").optional(),
            int("NotApplicableUserCount", "NotApplicableUserCount").optional(),
        ],
        ..FILE
    },
    call: Call::Export(Export::new("AppInstallStatusAggregate")),

    group: group::EXPORTS,
    ..GraphDataset::NEW
}
.checked();

/// Configurations of apps. What they set is left out: it holds credentials at times.
pub(super) const APP_CONFIGURATIONS: GraphDataset = GraphDataset {
    category: APPS,
    about: "configurations of managed apps",
    permissions: APPS_READ,
    reply: Reply {
        name: "mobileAppConfigurations",
        columns: &[
            text("id", "id").key(),
            text("type", "@odata.type").null(),
            text("displayName", "displayName").null(),
            text("description", "description").null(),
            int("version", "version").null(),
            text("targetedMobileApps", "targetedMobileApps")
                .null()
                .joined(","),
            time("createdDateTime", "createdDateTime").year_one_is_null(),
            time("lastModifiedDateTime", "lastModifiedDateTime").year_one_is_null(),
        ],
        ..LIST
    },
    call: Call::Collection(Collection::new(
        "deviceAppManagement/mobileAppConfigurations",
    )),

    group: group::CONFIGURATION,
    ..GraphDataset::NEW
}
.checked();
