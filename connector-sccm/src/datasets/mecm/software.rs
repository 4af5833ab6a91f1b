//! Software that is installed, and software that is used.

use connector_core::Duplicates;
use connector_mssql::{
    SqlDataset,
    dataset::{Range, int, part},
};

use super::EACH_DEVICE;

const SOFTWARE: &str = "Software";

/// What Windows shows as installed, from the 32-bit and the 64-bit registry.
///
/// No columns of the view of that name are a key, since software can stand in both registries: so
/// the two views behind it are read and `Bits` tells them apart. Entries without a name are not
/// software and are left out. Clients write these rows anew while they are read, so of two
/// versions of one row one is kept.
pub(super) const ADD_REMOVE_PROGRAMS: SqlDataset = SqlDataset {
    name: "v_Add_Remove_Programs",
    category: SOFTWARE,
    about: "software that Windows shows as installed",
    from: "v_GS_ADD_REMOVE_PROGRAMS i",
    columns: columns! { i =>
        [key int]: ResourceID;
        other: (int("Bits", "32").key());
        [key int]: GroupID;
        [needed text]: DisplayName0;
        // Text as in the registry, of any form.
        text: ProdID0, Publisher0, Version0, InstallDate0;
        [volatile int]: RevisionID, AgentID;
        [volatile local]: TimeStamp;
    },
    parts: &[part("v_GS_ADD_REMOVE_PROGRAMS_64 i", &[("Bits", "64")])],
    filter: "i.DisplayName0 <> N''",
    range: Some(Range::of("i.ResourceID").keys(EACH_DEVICE, 60)),
    duplicates: Duplicates::KeepGreatest,
    ..SqlDataset::NEW
}
.checked();

/// The inventory of software of Asset Intelligence, whose class stays off until somebody enables
/// it. Of which type its two halves of a version are differs, so they are text.
pub(super) const INSTALLED_SOFTWARE: SqlDataset = SqlDataset {
    name: "v_GS_INSTALLED_SOFTWARE",
    category: SOFTWARE,
    about: "installed software of Asset Intelligence",
    from: "v_GS_INSTALLED_SOFTWARE i",
    columns: inventory! {
        text: SoftwareCode0, ARPDisplayName0, ProductName0, ProductVersion0, Publisher0;
        local: InstallDate0;
        text: InstalledLocation0, InstallSource0, PackageCode0, UpgradeCode0,
            SoftwarePropertiesHash0, SoftwarePropertiesHashEx0;
        int: Language0, InstallDirectoryValidation0, InstallType0, OsComponent0;
        text: VersionMajor0, VersionMinor0, ChannelCode0, ChannelID0, CM_DSLID0, EvidenceSource0,
            LocalPackage0, MPC0, ProductID0, RegisteredUser0, ServicePack0, UninstallString0;
    },
    optional: true,
    range: Some(Range::of("i.ResourceID").keys(EACH_DEVICE, 100)),
    ..SqlDataset::NEW
}
.checked();

/// Which user started which program, how often and when: personal data. The busiest data set,
/// since each start is a change. That clients store the time in UTC is inferred.
pub(super) const RECENTLY_USED_APPS: SqlDataset = SqlDataset {
    name: "v_GS_CCM_RECENTLY_USED_APPS",
    category: "Usage",
    about: "which user started which program, how often and when",
    from: "v_GS_CCM_RECENTLY_USED_APPS i",
    columns: inventory! {
        text: ExplorerFileName0, FolderPath0, LastUserName0;
        time: LastUsedTime0;
        int: LaunchCount0;
        text: CompanyName0, ProductName0, ProductVersion0, FileVersion0, FileDescription0,
            OriginalFileName0;
        int: FileSize0, ProductLanguage0;
        text: ProductCode0, AdditionalProductCodes0, msiDisplayName0, msiPublisher0, msiVersion0,
            FilePropertiesHash0, SoftwarePropertiesHash0;
    },
    optional: true,
    range: Some(Range::of("i.ResourceID").keys(EACH_DEVICE, 125)),
    ..SqlDataset::NEW
}
.checked();
