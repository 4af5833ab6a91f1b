//! Devices: discovery and hardware inventory.

use connector_mssql::{
    SqlDataset,
    dataset::{Range, int, part},
};

use super::EACH_DEVICE;

const DEVICES: &str = "Devices";

/// One row for each device that the site knows: managed, unmanaged and obsolete ones. Unique is
/// the id alone; names, BIOS ids and SIDs repeat.
///
/// Whatever attribute a site adds to discovery is a further column: `override` takes it.
pub(super) const R_SYSTEM: SqlDataset = SqlDataset {
    name: "v_R_System",
    category: DEVICES,
    about: "devices that the site knows, managed or not",
    from: "v_R_System s",
    columns: columns! { s =>
        [key int]: ResourceID;
        int: ResourceType;
        text: Name0, Netbios_Name0, Resource_Domain_OR_Workgr0, Full_Domain_Name0,
            Distinguished_Name0, AD_Site_Name0;
        int: Client0, Client_Type0;
        text: Client_Version0;
        int: Active0, Obsolete0, Decommissioned0, Unknown0;
        text: Operating_System_Name_and0, Build01, BuildExt, OSBranch01, User_Domain0, User_Name0;
        local: Last_Logon_Timestamp0, Creation_Date0;
        text: SMS_Unique_Identifier0, Previous_SMS_UUID0;
        local: SMS_UUID_Change_Date0;
        text: SMBIOS_GUID0, Hardware_ID0, SID0, SerialNumber;
        uuid: Object_GUID0, AADDeviceID, AADTenantID;
        int: Is_Virtual_Machine0, Virtual_Machine_Type0;
        text: Virtual_Machine_Host_Name0, CPUType0;
        int: AlwaysInternet0, InternetEnabled0, AgentEdition0, CertKeyType, DeviceOwner0,
            DisableWindowsUpdateAccess, DoNotConnectToWULocations, DotNetRelease,
            Is_AOAC_Capable0, Is_MachineChanges_Persisted0, IsClientAMT30Compatible0,
            Is_Assigned_To_User0, Is_Portable_Operating_System0, Is_Write_Filter_Capable0,
            SuppressAutoProvision0, ManagementAuthority, MDMStatus, MDMDeviceCategoryID0,
            WipeStatus0, Primary_Group_ID0, User_Account_Control0, AMTStatus0;
        text: AMTFullVersion0, CloudPCInfo, Community_Name0, EAS_DeviceID, PublisherDeviceID,
            SenseID, WTGUniqueKey;
        uuid: DNSForestGuid, ESUValue;
    },
    ..SqlDataset::NEW
}
.checked();

/// The organisational units of each device: its own and every one above.
pub(super) const SYSTEM_OU_NAME: SqlDataset = SqlDataset {
    name: "v_RA_System_SystemOUName",
    category: DEVICES,
    about: "organisational units of each device, with those above",
    from: "v_RA_System_SystemOUName o",
    columns: columns! { o =>
        [key int]: ResourceID;
        [key text]: System_OU_Name0;
    },
    filter: "o.System_OU_Name0 IS NOT NULL",
    // The view exists once discovery of Active Directory has run.
    optional: true,
    range: Some(Range::of("o.ResourceID").keys(EACH_DEVICE, 5)),
    ..SqlDataset::NEW
}
.checked();

/// When each device last reported inventory. `LastHWScan` is what the rows are for, so it is
/// compared although it moves often.
///
/// The names of its last two columns are documented for the provider only.
pub(super) const WORKSTATION_STATUS: SqlDataset = SqlDataset {
    name: "v_GS_WORKSTATION_STATUS",
    category: DEVICES,
    about: "when each device last reported inventory",
    from: "v_GS_WORKSTATION_STATUS i",
    columns: columns! { i =>
        [key int]: ResourceID;
        [volatile int]: GroupID;
        local: LastHWScan;
        text: LastReportVersion;
        other: (int("SystemDefaultLocaleID", "i.SystemDefaultLocaleID")
                .or("i.SystemDefaultLocaleID0").optional()),
            (int("TimeZoneOffset", "i.TimeZoneOffset").or("i.TimeZoneOffset0").optional());
        [volatile int]: RevisionID, AgentID;
        [volatile local]: TimeStamp;
    },
    ..SqlDataset::NEW
}
.checked();

/// Computers; a renamed one can have two rows until its next full inventory.
pub(super) const COMPUTER_SYSTEM: SqlDataset = SqlDataset {
    name: "v_GS_COMPUTER_SYSTEM",
    category: DEVICES,
    about: "computers: make, model, domain, user, memory",
    from: "v_GS_COMPUTER_SYSTEM i",
    columns: inventory! {
        text: Name0, Domain0;
        int: DomainRole0;
        text: Manufacturer0, Model0, SystemType0, UserName0;
        int: NumberOfProcessors0, TotalPhysicalMemory0;
        text: Roles0, Status0;
        int: CurrentTimeZone0;
        text: Description0, Caption0;
        int: AdminPasswordStatus0, AutomaticResetBootOption0, AutomaticResetCapability0,
            BootOptionOnLimit0, BootOptionOnWatchDog0, BootROMSupported0, ChassisBootupState0,
            DaylightInEffect0, FrontPanelResetStatus0, InfraredSupported0,
            KeyboardPasswordStatus0, NetworkServerModeEnabled0, PowerManagementSupported0,
            PowerOnPasswordStatus0, PowerState0, PowerSupplyState0, ResetCapability0, ResetCount0,
            ResetLimit0, SystemStartupDelay0, SystemStartupSetting0, ThermalState0, WakeUpType0;
        local: InstallDate0;
        text: BootupState0, InitialLoadInfo0, LastLoadInfo0, NameFormat0, OEMLogoBitmap0,
            OEMStringArray0, PauseAfterReset0, PowerManagementCapabilities0, PrimaryOwnerContact0,
            PrimaryOwnerName0, SupportContactDescription0, SystemStartupOptions0;
    },
    ..SqlDataset::NEW
}
.checked();

/// Operating systems. An upgrade in place can leave two rows for a while; rows without caption,
/// version and service pack are remains and are left out.
pub(super) const OPERATING_SYSTEM: SqlDataset = SqlDataset {
    name: "v_GS_OPERATING_SYSTEM",
    category: DEVICES,
    about: "operating systems",
    from: "v_GS_OPERATING_SYSTEM i",
    columns: inventory! {
        [needed text]: Caption0, Version0, CSDVersion0;
        text: BuildNumber0, BuildType0, OSArchitecture0;
        int: ProductType0, OperatingSystemSKU0, OSLanguage0, OSProductSuite0, OSType0;
        local: InstallDate0, LastBootUpTime0;
        int: TotalVisibleMemorySize0, TotalVirtualMemorySize0, TotalSwapSpaceSize0,
            MaxProcessMemorySize0, SizeStoredInPagingFiles0;
        text: Name0, SerialNumber0, RegisteredUser0, Organization0, WindowsDirectory0,
            SystemDirectory0, SystemDevice0, BootDevice0, CodeSet0, CountryCode0, Description0,
            Locale0, Manufacturer0, MUILanguages0, OtherTypeDescription0, PlusProductID0,
            PlusVersionNumber0, Status0;
        int: CurrentTimeZone0, Debug0, Distributed0, ForegroundApplicationBoost0,
            MaxNumberOfProcesses0, NumberOfLicensedUsers0, NumberOfUsers0, Primary0,
            ServicePackMajorVersion0, ServicePackMinorVersion0;
        [volatile int]: NumberOfProcesses0, FreePhysicalMemory0, FreeSpaceInPagingFiles0,
            FreeVirtualMemory0;
        [volatile local]: LocalDateTime0;
    },
    filter: "NOT (i.Caption0 IS NULL AND i.Version0 IS NULL AND i.CSDVersion0 IS NULL)",
    ..SqlDataset::NEW
}
.checked();

/// BIOSes; an update of one can leave two rows for a while.
pub(super) const PC_BIOS: SqlDataset = SqlDataset {
    name: "v_GS_PC_BIOS",
    category: DEVICES,
    about: "BIOSes and serial numbers",
    from: "v_GS_PC_BIOS i",
    columns: inventory! {
        text: SerialNumber0, Manufacturer0, Name0, SMBIOSBIOSVersion0, Version0;
        local: ReleaseDate0, InstallDate0;
        int: SMBIOSMajorVersion0, SMBIOSMinorVersion0, SMBIOSPresent0, PrimaryBIOS0,
            InstallableLanguages0, SoftwareElementState0, TargetOperatingSystem0;
        text: BiosCharacteristics0, BIOSVersion0, BuildNumber0, Caption0, CodeSet0,
            CurrentLanguage0, Description0, IdentificationCode0, LanguageEdition0,
            ListOfLanguages0, OtherTargetOS0, SoftwareElementID0, Status0;
    },
    ..SqlDataset::NEW
}
.checked();

/// Processors, one row a socket.
pub(super) const PROCESSOR: SqlDataset = SqlDataset {
    name: "v_GS_PROCESSOR",
    category: DEVICES,
    about: "processors, one row a socket",
    from: "v_GS_PROCESSOR i",
    columns: inventory! {
        text: DeviceID0, Name0, Manufacturer0;
        int: NumberOfCores0, NumberOfLogicalProcessors0, MaxClockSpeed0, NormSpeed0,
            AddressWidth0, DataWidth0, Is64Bit0;
        text: SocketDesignation0, ProcessorId0;
        int: Architecture0, Availability0, BrandID0, ConfigManagerErrorCode0,
            ConfigManagerUserConfig0, CpuStatus0, ErrorCleared0, ExtClock0, Family0,
            IsHyperthreadCapable0, IsHyperthreadEnabled0, IsMobile0, IsTrustedExecutionCapable0,
            // Spelled so.
            IsVitualizationCapable0,
            L2CacheSize0, L2CacheSpeed0, L3CacheSize0, L3CacheSpeed0, LastErrorCode0, Level0,
            PartOfDomain0, PCache0, PowerManagementSupported0, ProcessorType0, Revision0,
            StatusInfo0, UpgradeMethod0, VoltageCaps0;
        local: InstallDate0;
        text: Caption0, CPUHash0, CPUKey0, Description0, ErrorDescription0,
            OtherFamilyDescription0, PNPDeviceID0, PowerManagementCapabilities0, Role0, Status0,
            Stepping0, SystemName0, UniqueId0, Version0, Workgroup0;
        [volatile int]: LoadPercentage0, CurrentClockSpeed0, CurrentVoltage0;
    },
    ..SqlDataset::NEW
}
.checked();

/// Services of Windows, 200 to 300 a device. Whether one runs at the moment of a scan causes no
/// change. Those of a user have another name each session.
pub(super) const SERVICE: SqlDataset = SqlDataset {
    name: "v_GS_SERVICE",
    category: DEVICES,
    about: "services of Windows on each device",
    from: "v_GS_SERVICE i",
    columns: inventory! {
        text: Name0, DisplayName0, PathName0, ServiceType0, StartMode0, StartName0, Status0,
            Caption0, Description0, ErrorControl0, SystemName0;
        int: AcceptPause0, AcceptStop0, DesktopInteract0, ExitCode0, ServiceSpecificExitCode0,
            TagId0, WaitHint0;
        local: InstallDate0;
        [volatile text]: State0;
        [volatile int]: ProcessId0, Started0, CheckPoint0;
    },
    optional: true,
    range: Some(Range::of("i.ResourceID").keys(EACH_DEVICE, 250)),
    ..SqlDataset::NEW
}
.checked();

/// The hosts of virtual machines of Hyper-V, as their registry tells them. `Bits` is the view of
/// the registry: the rows of 64-bit guests mostly are in that of 64.
pub(super) const VIRTUAL_MACHINE: SqlDataset = SqlDataset {
    name: "v_GS_VIRTUAL_MACHINE",
    category: DEVICES,
    about: "hosts of virtual machines of Hyper-V",
    from: "v_GS_VIRTUAL_MACHINE i",
    columns: columns! { i =>
        [key int]: ResourceID;
        other: (int("Bits", "32").key());
        [key int]: GroupID;
        text: InstanceKey0, PhysicalHostName0, PhysicalHostNameFullyQualified0;
        [volatile int]: RevisionID, AgentID;
        [volatile local]: TimeStamp;
    },
    parts: &[part("v_GS_VIRTUAL_MACHINE_64 i", &[("Bits", "64")])],
    optional: true,
    ..SqlDataset::NEW
}
.checked();
