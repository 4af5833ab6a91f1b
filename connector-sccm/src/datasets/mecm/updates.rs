//! Software updates: what there is, what it belongs to, and where it is installed.

use std::time::Duration;

use connector_mssql::{
    SqlDataset,
    dataset::{Range, int},
};

use super::EACH_DEVICE;

const PATCHES: &str = "Patches";

/// What the server may take until the first row where columns are computed row by row, by looking
/// into other tables.
const COMPUTED: Duration = Duration::from_mins(10);

/// Updates. Many columns are computed, so the view is expensive; the one of digests is a large
/// document and is never read. Titles are in [`PATCHS_UPDATES`].
///
/// That dates of the catalogue are in UTC is inferred.
pub(super) const UPDATE_CIS: SqlDataset = SqlDataset {
    name: "v_UpdateCIs",
    category: PATCHES,
    about: "software updates",
    from: "v_UpdateCIs u",
    columns: columns! { u =>
        [key int]: CI_ID;
        text: CI_UniqueID, ArticleID, BulletinID;
        int: Severity, CustomSeverity;
        time: DatePosted, DateRevised;
        int: RevisionNumber, IsExpired, IsSuperseded, IsEnabled, IsDeployed;
        local: DateCreated, DateLastModified, EffectiveDate, ModifiedTime;
        text: CreatedBy, LastModifiedBy;
        int: UpdateSource_ID, MinSourceVersion, MaxExecutionTime, CIType_ID, ModelId;
        text: ModelName;
        other: (int("CIVersion", "u.CIVersion").or("u.SDMPackageVersion").optional());
        int: PermittedUses, Precedence, IsBundle, IsHidden, IsTombstoned, IsUserDefined,
            IsQuarantined, IsChild, InUse, IsLatest, IsBroken, IsUserCI, IsSignificantRevision,
            RequiresExclusiveHandling, CMTag, ConfigurationFlags, PlatformType,
            ApplicableAtUserLogon, EULAExists, EULAAccepted;
        local: EULASignoffDate;
        text: EULASignoffUser, SourceSite, ContentSourcePath, ApplicabilityCondition, CI_CRC,
            SedoObjectVersion;
        bytes: RevisionTag;
    },
    optional: true,
    first_row: Some(COMPUTED),
    ..SqlDataset::NEW
}
.checked();

/// The state of each update on each device that needs it or has it: 2 required, 3 installed.
///
/// What the product's data set of this name reads is not documented publicly; this is the better
/// guess, since it is what the other data sets of updates lack. Hundreds of rows a device, so
/// never read in one statement. That the times are in UTC is inferred.
pub(super) const PATCHS_STATES: SqlDataset = SqlDataset {
    name: "Patchs",
    category: PATCHES,
    about: "which update is required or installed on which device",
    from: "v_UpdateComplianceStatus s",
    columns: columns! { s =>
        [key int]: CI_ID, ResourceID;
        int: Status;
        time: LastStatusChangeTime;
        // Each scan checks all of them.
        [volatile time]: LastStatusCheckTime;
        time: LastEnforcementMessageTime, LastLocalChangeTime;
        int: EnforcementSource, LastEnforcementMessageID, LastEnforcementStatusMsgID,
            LastErrorCode;
    },
    optional: true,
    range: Some(Range::of("s.ResourceID").keys(EACH_DEVICE, 1000).always()),
    first_row: Some(COMPUTED),
    ..SqlDataset::NEW
}
.checked();

/// The same data set as a list of updates with their titles, which is far smaller.
pub(super) const PATCHS_UPDATES: SqlDataset = SqlDataset {
    name: "Patchs",
    category: PATCHES,
    about: "software updates with their titles",
    from: "v_UpdateInfo s",
    columns: columns! { s =>
        [key int]: CI_ID;
        text: CI_UniqueID, Title, Description, InfoURL, ArticleID, BulletinID, UpdateType, Locales;
        int: LocaleID, Severity, CustomSeverity;
        time: DatePosted, DateRevised;
        int: RevisionNumber, IsExpired, IsSuperseded, IsEnabled, IsDeployed;
        local: DateCreated, DateLastModified;
    },
    optional: true,
    first_row: Some(COMPUTED),
    ..SqlDataset::NEW
}
.checked();

/// Which update, application or baseline belongs to which category. The first view holds what
/// bundles inherit too; a site of an old version has only the second.
pub(super) const CI_CATEGORIES: SqlDataset = SqlDataset {
    name: "v_CICategories",
    category: PATCHES,
    about: "categories of each configuration item",
    from: "v_CICategories_All c",
    instead: &["v_CICategories"],
    columns: columns! { c =>
        [key int]: CI_ID, CategoryInstanceID;
        text: CategoryInstance_UniqueID, CategoryTypeName;
        int: ParentCategoryInstanceID, IsDeleted;
        local: DateLastModified;
        text: SourceSite;
    },
    ..SqlDataset::NEW
}
.checked();

/// Categories with their names. The view shows one language; where it tells which, that is part
/// of the key, in case a version shows several (inferred).
pub(super) const CATEGORY_INFO: SqlDataset = SqlDataset {
    name: "v_CategoryInfo",
    category: PATCHES,
    about: "names of categories",
    from: "v_CategoryInfo i",
    columns: columns! { i =>
        [key int]: CategoryInstanceID;
        other: (int("LocaleID", "ISNULL(i.LocaleID, 0)").or("0").key());
        text: CategoryInstance_UniqueID, CategoryTypeName, CategoryInstanceName;
        int: ParentCategoryInstanceID, IsDeleted;
        local: DateLastModified;
        text: SourceSite;
    },
    ..SqlDataset::NEW
}
.checked();
