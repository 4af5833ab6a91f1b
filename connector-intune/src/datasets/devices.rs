//! Devices and their users.

use connector_graph::{
    Call, Collection, Each, Export, FILE, GraphDataset, LIST, OBJECT, Version,
    decode::{Reply, bool, float, int, text, time},
    group,
};

use super::{DEVICES, MANAGED_DEVICES_READ, USAGE, USERS as USERS_CATEGORY};

/// The list of devices: pages of 1,000 were reported to be the largest.
const MANAGED: Collection = Collection::new("deviceManagement/managedDevices").top(1000);

/// What stands for "none" where an id of Entra ID should be.
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

/// Devices as the list gives them.
///
/// Left out are what grants access (`activationLockBypassCode`, `remoteAssistanceSessionUrl`), the
/// history of remote actions, and what a list never fills: [`DEVICE_DETAILS`] has that. The time of
/// the last contact is no volatile column, since it alone tells which of two records of a device is
/// alive.
pub(super) const MANAGED_DEVICES: GraphDataset = GraphDataset {
    category: DEVICES,
    about: "devices, as the list gives them",
    permissions: MANAGED_DEVICES_READ,
    reply: Reply {
        name: "managedDevices",
        columns: &[
            text("id", "id").key(),
            text("deviceName", "deviceName").null(),
            text("managedDeviceName", "managedDeviceName").null(),
            text("userId", "userId").null(),
            text("userPrincipalName", "userPrincipalName").null(),
            text("userDisplayName", "userDisplayName").null(),
            text("emailAddress", "emailAddress").null(),
            text("azureADDeviceId", "azureADDeviceId").null_where(&[NOBODY]),
            bool("azureADRegistered", "azureADRegistered").null(),
            text("deviceRegistrationState", "deviceRegistrationState").null(),
            text("deviceEnrollmentType", "deviceEnrollmentType").null(),
            time("enrolledDateTime", "enrolledDateTime").year_one_is_null(),
            time("lastSyncDateTime", "lastSyncDateTime").year_one_is_null(),
            text("operatingSystem", "operatingSystem").null(),
            text("osVersion", "osVersion").null(),
            text("androidSecurityPatchLevel", "androidSecurityPatchLevel").null(),
            text("manufacturer", "manufacturer").null(),
            text("model", "model").null(),
            text("serialNumber", "serialNumber").null(),
            text("imei", "imei").null(),
            text("phoneNumber", "phoneNumber").null(),
            text("subscriberCarrier", "subscriberCarrier").null(),
            text("wiFiMacAddress", "wiFiMacAddress").null(),
            text("managedDeviceOwnerType", "managedDeviceOwnerType").null(),
            text("managementAgent", "managementAgent").null(),
            text("managementState", "managementState").null(),
            time(
                "managementCertificateExpirationDate",
                "managementCertificateExpirationDate",
            )
            .year_one_is_null(),
            text("complianceState", "complianceState").null(),
            time(
                "complianceGracePeriodExpirationDateTime",
                "complianceGracePeriodExpirationDateTime",
            )
            .year_one_is_null(),
            text("deviceCategoryDisplayName", "deviceCategoryDisplayName").null(),
            bool("isEncrypted", "isEncrypted").null(),
            bool("isSupervised", "isSupervised").null(),
            text("jailBroken", "jailBroken").null(),
            text("partnerReportedThreatState", "partnerReportedThreatState").null(),
            bool(
                "requireUserEnrollmentApproval",
                "requireUserEnrollmentApproval",
            )
            .null(),
            int("totalStorageSpaceInBytes", "totalStorageSpaceInBytes").zero_is_null(),
            int("freeStorageSpaceInBytes", "freeStorageSpaceInBytes")
                .zero_is_null()
                .volatile(),
            bool("easActivated", "easActivated").null(),
            text("easDeviceId", "easDeviceId").null(),
            time("easActivationDateTime", "easActivationDateTime").year_one_is_null(),
            text("exchangeAccessState", "exchangeAccessState").null(),
            text("exchangeAccessStateReason", "exchangeAccessStateReason").null(),
            time(
                "exchangeLastSuccessfulSyncDateTime",
                "exchangeLastSuccessfulSyncDateTime",
            )
            .year_one_is_null(),
        ],
        ..LIST
    },
    call: Call::Collection(MANAGED),

    group: group::DEVICES,
    ..GraphDataset::NEW
}
.checked();

/// What only a call for a single device gives, or mostly only that: one call each.
pub(super) const DEVICE_DETAILS: GraphDataset = GraphDataset {
    category: DEVICES,
    about: "memory, addresses, notes and health attestation: a call for each device",
    permissions: MANAGED_DEVICES_READ,
    reply: Reply {
        name: "managedDeviceDetails",
        columns: &[
            text("id", "id").key(),
            int("physicalMemoryInBytes", "physicalMemoryInBytes").zero_is_null(),
            text("ethernetMacAddress", "ethernetMacAddress").null(),
            text("iccid", "iccid").null(),
            text("meid", "meid").null(),
            text("udid", "udid").null(),
            text("notes", "notes").null(),
            text("enrollmentProfileName", "enrollmentProfileName").null(),
            bool(
                "configurationManagerInventory",
                "configurationManagerClientEnabledFeatures/inventory",
            )
            .null(),
            bool(
                "configurationManagerModernApps",
                "configurationManagerClientEnabledFeatures/modernApps",
            )
            .null(),
            bool(
                "configurationManagerResourceAccess",
                "configurationManagerClientEnabledFeatures/resourceAccess",
            )
            .null(),
            bool(
                "configurationManagerDeviceConfiguration",
                "configurationManagerClientEnabledFeatures/deviceConfiguration",
            )
            .null(),
            bool(
                "configurationManagerCompliancePolicy",
                "configurationManagerClientEnabledFeatures/compliancePolicy",
            )
            .null(),
            bool(
                "configurationManagerWindowsUpdateForBusiness",
                "configurationManagerClientEnabledFeatures/windowsUpdateForBusiness",
            )
            .null(),
            text(
                "deviceHealthAttestationStatus",
                "deviceHealthAttestationState/deviceHealthAttestationStatus",
            )
            .null(),
            text(
                "healthAttestationSupportedStatus",
                "deviceHealthAttestationState/healthAttestationSupportedStatus",
            )
            .null(),
            text(
                "bitLockerStatus",
                "deviceHealthAttestationState/bitLockerStatus",
            )
            .null(),
            text("secureBoot", "deviceHealthAttestationState/secureBoot").null(),
            text(
                "bootDebugging",
                "deviceHealthAttestationState/bootDebugging",
            )
            .null(),
            text(
                "codeIntegrity",
                "deviceHealthAttestationState/codeIntegrity",
            )
            .null(),
            text(
                "earlyLaunchAntiMalwareDriverProtection",
                "deviceHealthAttestationState/earlyLaunchAntiMalwareDriverProtection",
            )
            .null(),
            text(
                "virtualSecureMode",
                "deviceHealthAttestationState/virtualSecureMode",
            )
            .null(),
            text("safeMode", "deviceHealthAttestationState/safeMode").null(),
            text("testSigning", "deviceHealthAttestationState/testSigning").null(),
            text("windowsPE", "deviceHealthAttestationState/windowsPE").null(),
            text(
                "operatingSystemKernelDebugging",
                "deviceHealthAttestationState/operatingSystemKernelDebugging",
            )
            .null(),
            text("tpmVersion", "deviceHealthAttestationState/tpmVersion").null(),
            time(
                "healthAttestationIssuedDateTime",
                "deviceHealthAttestationState/issuedDateTime",
            )
            .year_one_is_null()
            .volatile(),
        ],
        ..OBJECT
    },
    call: Call::Each(Each::new(MANAGED, "deviceManagement/managedDevices/{id}")),

    group: group::DEVICES,
    ..GraphDataset::NEW
}
.checked();

/// Hardware, one call each. Which fields are filled depends on the platform. What runs down by itself
/// (the battery) is volatile, or left out.
pub(super) const DEVICE_HARDWARE: GraphDataset = GraphDataset {
    category: DEVICES,
    about: "hardware, firmware and addresses: a call for each device",
    permissions: MANAGED_DEVICES_READ,
    reply: Reply {
        name: "managedDeviceHardware",
        columns: &[
text("id", "id").key(),
int("batteryChargeCycles", "hardwareInformation/batteryChargeCycles").zero_is_null().volatile(),
int("batteryHealthPercentage", "hardwareInformation/batteryHealthPercentage").zero_is_null().volatile(),
text("batterySerialNumber", "hardwareInformation/batterySerialNumber").null(),
text("cellularTechnology", "hardwareInformation/cellularTechnology").null(),
text("deviceFullQualifiedDomainName", "hardwareInformation/deviceFullQualifiedDomainName").null(),
text("deviceGuardLocalSystemAuthorityCredentialGuardState", "hardwareInformation/deviceGuardLocalSystemAuthorityCredentialGuardState").null(),
text("deviceGuardVirtualizationBasedSecurityHardwareRequirementState", "hardwareInformation/deviceGuardVirtualizationBasedSecurityHardwareRequirementState").null(),
text("deviceGuardVirtualizationBasedSecurityState", "hardwareInformation/deviceGuardVirtualizationBasedSecurityState").null(),
int("deviceLicensingLastErrorCode", "hardwareInformation/deviceLicensingLastErrorCode").null(),
text("deviceLicensingLastErrorDescription", "hardwareInformation/deviceLicensingLastErrorDescription").null(),
text("deviceLicensingStatus", "hardwareInformation/deviceLicensingStatus").null(),
text("esimIdentifier", "hardwareInformation/esimIdentifier").null(),
text("imei", "hardwareInformation/imei").null(),
text("ipAddressV4", "hardwareInformation/ipAddressV4").null(),
bool("isEncrypted", "hardwareInformation/isEncrypted").null(),
bool("isSharedDevice", "hardwareInformation/isSharedDevice").null(),
bool("isSupervised", "hardwareInformation/isSupervised").null(),
text("manufacturer", "hardwareInformation/manufacturer").null(),
text("meid", "hardwareInformation/meid").null(),
text("model", "hardwareInformation/model").null(),
text("operatingSystemEdition", "hardwareInformation/operatingSystemEdition").null(),
text("operatingSystemLanguage", "hardwareInformation/operatingSystemLanguage").null(),
int("operatingSystemProductType", "hardwareInformation/operatingSystemProductType").null(),
text("osBuildNumber", "hardwareInformation/osBuildNumber").null(),
text("phoneNumber", "hardwareInformation/phoneNumber").null(),
text("productName", "hardwareInformation/productName").null(),
int("residentUsersCount", "hardwareInformation/residentUsersCount").null(),
text("serialNumber", "hardwareInformation/serialNumber").null(),
text("subnetAddress", "hardwareInformation/subnetAddress").null(),
text("subscriberCarrier", "hardwareInformation/subscriberCarrier").null(),
text("systemManagementBIOSVersion", "hardwareInformation/systemManagementBIOSVersion").null(),
int("totalStorageSpace", "hardwareInformation/totalStorageSpace").zero_is_null(),
text("tpmManufacturer", "hardwareInformation/tpmManufacturer").null(),
text("tpmSpecificationVersion", "hardwareInformation/tpmSpecificationVersion").null(),
text("tpmVersion", "hardwareInformation/tpmVersion").null(),
text("wifiMac", "hardwareInformation/wifiMac").null(),
text("wiredIPv4Addresses", "hardwareInformation/wiredIPv4Addresses").null().joined(","),
bool("bootstrapTokenEscrowed", "bootstrapTokenEscrowed").null(),
int("windowsActiveMalwareCount", "windowsActiveMalwareCount").null(),
int("windowsRemediatedMalwareCount", "windowsRemediatedMalwareCount").null(),
        ],
        ..OBJECT
    },
    call: Call::Each(Each::new(MANAGED, "deviceManagement/managedDevices/{id}")),
    version: Version::Beta,
    group: group::DEVICES,
    ..GraphDataset::NEW
}
.checked();

/// What lists give in beta besides.
pub(super) const DEVICE_EXTRAS: GraphDataset = GraphDataset {
    category: DEVICES,
    about: "further properties of devices, which only beta has",
    permissions: MANAGED_DEVICES_READ,
    reply: Reply {
        name: "managedDeviceExtras",
        columns: &[
            text("id", "id").key(),
            text("deviceType", "deviceType").null(),
            text("chassisType", "chassisType").null(),
            text("joinType", "joinType").null(),
            text("ownerType", "ownerType").null(),
            text("processorArchitecture", "processorArchitecture").null(),
            text("skuFamily", "skuFamily").null(),
            int("skuNumber", "skuNumber").zero_is_null(),
            text("specificationVersion", "specificationVersion").null(),
            text("securityPatchLevel", "securityPatchLevel").null(),
            bool("autopilotEnrolled", "autopilotEnrolled").null(),
            text("enrolledByUserPrincipalName", "enrolledByUserPrincipalName").null(),
            text("lostModeState", "lostModeState").null(),
            text("managementFeatures", "managementFeatures").null(),
            bool(
                "deviceFirmwareConfigurationInterfaceManaged",
                "deviceFirmwareConfigurationInterfaceManaged",
            )
            .null(),
            time(
                "preferMdmOverGroupPolicyAppliedDateTime",
                "preferMdmOverGroupPolicyAppliedDateTime",
            )
            .year_one_is_null(),
            time("retireAfterDateTime", "retireAfterDateTime").year_one_is_null(),
            text("roleScopeTagIds", "roleScopeTagIds")
                .null()
                .joined(","),
            text(
                "configurationManagerClientState",
                "configurationManagerClientHealthState/state",
            )
            .null(),
            int(
                "configurationManagerClientError",
                "configurationManagerClientHealthState/errorCode",
            )
            .null(),
        ],
        ..LIST
    },
    call: Call::Collection(MANAGED),
    version: Version::Beta,
    group: group::DEVICES,
    ..GraphDataset::NEW
}
.checked();

/// Who has signed in to a device. Of several sign-ins of one user to it, one is kept.
pub(super) const DEVICE_USERS: GraphDataset = GraphDataset {
    category: USAGE,
    about: "who has signed in to which device",
    permissions: MANAGED_DEVICES_READ,
    reply: Reply {
        name: "managedDeviceUsers",
        each: "usersLoggedOn",
        columns: &[
            text("id", "id").key(),
            text("userId", "usersLoggedOn/userId").key(),
            time("lastLogOnDateTime", "usersLoggedOn/lastLogOnDateTime").year_one_is_null(),
        ],
        ..LIST
    },
    call: Call::Collection(MANAGED),
    version: Version::Beta,
    group: group::DEVICES,
    ..GraphDataset::NEW
}
.checked();

/// The device report, whose file has display headers and texts whatever is asked for. Formats of its
/// times and the unit of its sizes are not documented, so all columns are texts as they come.
pub(super) const DEVICES_WITH_INVENTORY: GraphDataset = GraphDataset {
    category: DEVICES,
    about: "the report of devices with what Intune keeps of their hardware",
    permissions: MANAGED_DEVICES_READ,
    reply: Reply {
        name: "DevicesWithInventory",
        columns: &[
            text("DeviceId", "DeviceId").key().or("Device ID"),
            text("DeviceName", "DeviceName")
                .optional()
                .or("Device name"),
            text("ManagedDeviceName", "ManagedDeviceName")
                .optional()
                .or("Management name"),
            text("ReferenceId", "ReferenceId")
                .optional()
                .or("Microsoft Entra Device ID")
                .or("Azure AD Device ID"),
            text("CreatedDate", "CreatedDate")
                .optional()
                .or("Enrollment date"),
            text("LastContact", "LastContact")
                .optional()
                .or("Last check-in"),
            text("OSVersion", "OSVersion").optional().or("OS version"),
            text("DeviceType", "DeviceType").optional().or("OS"),
            text("SkuFamily", "SkuFamily").optional(),
            text("JoinType", "JoinType").optional(),
            text("SerialNumber", "SerialNumber")
                .optional()
                .or("Serial number"),
            text("Manufacturer", "Manufacturer").optional(),
            text("Model", "Model").optional(),
            text("IMEI", "IMEI").optional(),
            text("MEID", "MEID").optional(),
            text("ICCID", "ICCID").optional(),
            text("EID", "EID").optional(),
            text("PhoneNumber", "PhoneNumber")
                .optional()
                .or("Phone number"),
            text("SubscriberCarrierNetwork", "SubscriberCarrierNetwork")
                .optional()
                .or("Subscriber carrier"),
            text("CellularTechnology", "CellularTechnology").optional(),
            text("WifiMacAddress", "WifiMacAddress")
                .optional()
                .or("Wi-Fi MAC"),
            text("EthernetMAC", "EthernetMAC").optional(),
            text("WiFiIPv4Address", "WiFiIPv4Address").optional(),
            text("WiFiSubnetID", "WiFiSubnetID").optional(),
            text("AndroidPatchLevel", "AndroidPatchLevel")
                .optional()
                .or("Security patch level"),
            text("StorageTotal", "StorageTotal")
                .optional()
                .or("Total storage"),
            text("StorageFree", "StorageFree")
                .optional()
                .or("Free storage")
                .volatile(),
            text("CategoryName", "CategoryName")
                .optional()
                .or("Category"),
            text("OwnerType", "OwnerType").optional().or("Ownership"),
            text("UserId", "UserId").optional(),
            text("UPN", "UPN").optional().or("Primary user UPN"),
            text("UserEmail", "UserEmail")
                .optional()
                .or("Primary user email address"),
            text("UserName", "UserName")
                .optional()
                .or("Primary user display name"),
            text("CompliantState", "CompliantState")
                .optional()
                .or("Compliance"),
            text("InGracePeriodUntil", "InGracePeriodUntil")
                .optional()
                .or("Compliance grace period expiration"),
            text("ManagementAgent", "ManagementAgent")
                .optional()
                .or("Managed by"),
            text("ManagementState", "ManagementState")
                .optional()
                .or("Device state"),
            text("DeviceRegistrationState", "DeviceRegistrationState")
                .optional()
                .or("Intune registered"),
            text("GraphDeviceIsManaged", "GraphDeviceIsManaged")
                .optional()
                .or("Microsoft Entra registered")
                .or("Azure AD registered"),
            text("IsSupervised", "IsSupervised")
                .optional()
                .or("Supervised"),
            text("IsEncrypted", "IsEncrypted")
                .optional()
                .or("Encrypted"),
            text("JailBroken", "JailBroken").optional().or("Jailbroken"),
            text("ProcessorArchitecture", "ProcessorArchitecture").optional(),
            text("SystemManagementBIOSVersion", "SystemManagementBIOSVersion").optional(),
            text("TPMManufacturerId", "TPMManufacturerId").optional(),
            text("TPMManufacturerVersion", "TPMManufacturerVersion").optional(),
        ],
        ..FILE
    },
    call: Call::Export(Export::new("DevicesWithInventory")),

    group: group::EXPORTS,
    ..GraphDataset::NEW
}
.checked();

/// Processor, memory and disk of devices in bulk, for Windows and only where endpoint analytics is on.
/// Scores are left out. Types are those of `userExperienceAnalyticsResourcePerformance`, which is the
/// same data.
pub(super) const RESOURCES: GraphDataset = GraphDataset {
    category: DEVICES,
    about: "processor, memory and disk type, from endpoint analytics",
    permissions: MANAGED_DEVICES_READ,
    reply: Reply {
        name: "EAResourcePerfAggByDevice",
        columns: &[
            text("DeviceId", "DeviceId").key(),
            text("DeviceName", "DeviceName").optional(),
            text("DeviceMake", "DeviceMake").optional(),
            text("DeviceModel", "DeviceModel").optional(),
            text("OSVersion", "OSVersion").optional(),
            text("ProcessorName", "ProcessorName").optional(),
            float("ClockSpeed", "ClockSpeed").optional(),
            int("Cores", "Cores").optional(),
            float("TotalRamInMB", "TotalRamInMB").optional(),
            text("DiskType", "DiskType").optional(),
            text("MachineType", "MachineType").optional(),
            text("IsPhysical", "IsPhysical").optional(),
        ],
        ..FILE
    },
    call: Call::Export(Export::new("EAResourcePerfAggByDevice")),

    group: group::EXPORTS,
    ..GraphDataset::NEW
}
.checked();

/// Devices that are registered for Windows Autopilot. The product key is left out.
pub(super) const AUTOPILOT: GraphDataset = GraphDataset {
    category: DEVICES,
    about: "devices registered for Windows Autopilot, with their purchase orders",
    permissions: &["DeviceManagementServiceConfig.Read.All"],
    reply: Reply {
        name: "windowsAutopilotDeviceIdentities",
        columns: &[
            text("id", "id").key(),
            text("serialNumber", "serialNumber").null(),
            text("manufacturer", "manufacturer").null(),
            text("model", "model").null(),
            text("groupTag", "groupTag").null(),
            text("purchaseOrderIdentifier", "purchaseOrderIdentifier").null(),
            text("enrollmentState", "enrollmentState").null(),
            time("lastContactedDateTime", "lastContactedDateTime")
                .year_one_is_null()
                .volatile(),
            text("addressableUserName", "addressableUserName").null(),
            text("userPrincipalName", "userPrincipalName").null(),
            text(
                "azureActiveDirectoryDeviceId",
                "azureActiveDirectoryDeviceId",
            )
            .null_where(&[NOBODY]),
            text("managedDeviceId", "managedDeviceId").null_where(&[NOBODY]),
            text("displayName", "displayName").null(),
            text("resourceName", "resourceName").null(),
            text("skuNumber", "skuNumber").null(),
            text("systemFamily", "systemFamily").null(),
        ],
        ..LIST
    },
    call: Call::Collection(Collection::new(
        "deviceManagement/windowsAutopilotDeviceIdentities",
    )),

    group: group::CONFIGURATION,
    ..GraphDataset::NEW
}
.checked();

/// Users of the tenant, to whom devices belong (`managedDevices.userId`). connector-office365 has more
/// of them.
pub(super) const USERS: GraphDataset = GraphDataset {
    category: USERS_CATEGORY,
    about: "users of the tenant",
    permissions: &["User.Read.All"],
    reply: Reply {
        name: "users",
        columns: &[
            text("id", "id").key(),
            text("userPrincipalName", "userPrincipalName").null(),
            text("displayName", "displayName").null(),
            text("givenName", "givenName").null(),
            text("surname", "surname").null(),
            text("mail", "mail").null(),
            bool("accountEnabled", "accountEnabled").null(),
            text("userType", "userType").null(),
            time("createdDateTime", "createdDateTime").year_one_is_null(),
            text("department", "department").null(),
            text("jobTitle", "jobTitle").null(),
            text("companyName", "companyName").null(),
            text("officeLocation", "officeLocation").null(),
            text("city", "city").null(),
            text("state", "state").null(),
            text("country", "country").null(),
            text("usageLocation", "usageLocation").null(),
            text("employeeId", "employeeId").null(),
            text("employeeType", "employeeType").null(),
            bool("onPremisesSyncEnabled", "onPremisesSyncEnabled").null(),
            text("onPremisesSamAccountName", "onPremisesSamAccountName").null(),
            text("onPremisesDomainName", "onPremisesDomainName").null(),
            text("onPremisesUserPrincipalName", "onPremisesUserPrincipalName").null(),
            text(
                "onPremisesSecurityIdentifier",
                "onPremisesSecurityIdentifier",
            )
            .null(),
            text("onPremisesImmutableId", "onPremisesImmutableId").null(),
        ],
        ..LIST
    },
    call: Call::Collection(Collection::new("users").top(999)),

    group: group::DIRECTORY,
    ..GraphDataset::NEW
}
.checked();
