//! Policies, what became of them, and usage.

use connector_graph::{
    Call, Collection, Each, Export, FILE, GraphDataset, LIST,
    connector_core::Type,
    decode::{Reply, float, given, int, text, time},
    group,
};

use super::{COMPLIANCE, MANAGED_DEVICES_READ, USAGE};

const CONFIGURATION_READ: &[&str] = &["DeviceManagementConfiguration.Read.All"];

/// Compliance policies. There is no platform but in `type`, the subtype.
pub(super) const COMPLIANCE_POLICIES: GraphDataset = GraphDataset {
    category: COMPLIANCE,
    about: "compliance policies",
    permissions: CONFIGURATION_READ,
    reply: Reply {
        name: "deviceCompliancePolicies",
        columns: &[
            text("id", "id").key(),
            text("type", "@odata.type").null(),
            text("displayName", "displayName").null(),
            text("description", "description").null(),
            int("version", "version").null(),
            time("createdDateTime", "createdDateTime").year_one_is_null(),
            time("lastModifiedDateTime", "lastModifiedDateTime").year_one_is_null(),
        ],
        ..LIST
    },
    call: Call::Collection(Collection::new("deviceManagement/deviceCompliancePolicies")),

    group: group::CONFIGURATION,
    ..GraphDataset::NEW
}
.checked();

/// Whom compliance policies are for.
pub(super) const COMPLIANCE_ASSIGNMENTS: GraphDataset = GraphDataset {
    category: COMPLIANCE,
    about: "whom compliance policies are for",
    permissions: CONFIGURATION_READ,
    reply: Reply {
        name: "deviceCompliancePolicyAssignments",
        columns: &[
            given("policyId", Type::Text).key(),
            text("id", "id").key(),
            text("targetType", "target/@odata.type").null(),
            text("targetGroupId", "target/groupId").null(),
        ],
        ..LIST
    },
    call: Call::Each(Each::new(
        Collection::new("deviceManagement/deviceCompliancePolicies"),
        "deviceManagement/deviceCompliancePolicies/{id}/assignments",
    )),

    group: group::CONFIGURATION,
    ..GraphDataset::NEW
}
.checked();

/// Compliance of each device. Formats of its times are not documented, so they are texts.
pub(super) const DEVICE_COMPLIANCE: GraphDataset = GraphDataset {
    category: COMPLIANCE,
    about: "the compliance of each device",
    permissions: MANAGED_DEVICES_READ,
    reply: Reply {
        name: "DeviceCompliance",
        columns: &[
            text("DeviceId", "DeviceId").key(),
            text("IntuneDeviceId", "IntuneDeviceId").optional(),
            text("AadDeviceId", "AadDeviceId").optional(),
            text("PartnerDeviceId", "PartnerDeviceId").optional(),
            text("DeviceName", "DeviceName").optional(),
            text("DeviceType", "DeviceType").optional(),
            text("OS", "OS").optional(),
            text("OSDescription", "OSDescription").optional(),
            text("OSVersion", "OSVersion").optional(),
            text("OwnerType", "OwnerType").optional(),
            text("LastContact", "LastContact").optional(),
            text("InGracePeriodUntil", "InGracePeriodUntil").optional(),
            text("IMEI", "IMEI").optional(),
            text("SerialNumber", "SerialNumber").optional(),
            text("ManagementAgents", "ManagementAgents").optional(),
            text("PrimaryUser", "PrimaryUser").optional(),
            text("UserId", "UserId").optional(),
            text("UPN", "UPN").optional(),
            text("UserEmail", "UserEmail").optional(),
            text("UserName", "UserName").optional(),
            text("DeviceHealthThreatLevel", "DeviceHealthThreatLevel").optional(),
            text("RetireAfterDatetime", "RetireAfterDatetime").optional(),
            text("ComplianceState", "ComplianceState").optional(),
        ],
        ..FILE
    },
    call: Call::Export(Export::new("DeviceCompliance")),

    group: group::EXPORTS,
    ..GraphDataset::NEW
}
.checked();

/// How much programs are used and how they fail, over the whole tenant; the unit of
/// `appUsageDuration` is not documented. Nothing tells it by user or device.
pub(super) const APP_PERFORMANCE: GraphDataset = GraphDataset {
    category: USAGE,
    about: "how much programs are used and how they fail, over the whole tenant",
    permissions: MANAGED_DEVICES_READ,
    reply: Reply {
        name: "userExperienceAnalyticsAppHealthApplicationPerformance",
        columns: &[
            text("id", "id").key(),
            text("appName", "appName").null(),
            text("appDisplayName", "appDisplayName").null(),
            text("appPublisher", "appPublisher").null(),
            int("activeDeviceCount", "activeDeviceCount").null(),
            int("appUsageDuration", "appUsageDuration").null(),
            int("appCrashCount", "appCrashCount").null(),
            int("appHangCount", "appHangCount").null(),
            float("appHealthScore", "appHealthScore").null(),
            int("meanTimeToFailureInMinutes", "meanTimeToFailureInMinutes").null(),
        ],
        ..LIST
    },
    call: Call::Collection(Collection::new(
        "deviceManagement/userExperienceAnalyticsAppHealthApplicationPerformance",
    )),

    group: group::DEVICES,
    ..GraphDataset::NEW
}
.checked();
