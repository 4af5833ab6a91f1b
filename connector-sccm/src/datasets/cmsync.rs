//! The nine data sets of a site's content distribution.
//!
//! What the product's data sets of these names read is not documented publicly: each is the most
//! plausible object, and where there are several a setting takes another.

use connector_mssql::{
    SqlDataset,
    dataset::{Range, int, join, left_join, text},
};

use crate::config::{Applications, Contents, DuplicatesBy, SccmSettings};

const CMSYNC: &str = "CMSync";

/// In the order of the list.
pub(super) fn datasets(settings: &SccmSettings) -> Vec<SqlDataset> {
    vec![
        match settings.applications {
            Applications::Direct => APPLICATION_PACKAGES,
            Applications::DeploymentTypes => APPLICATION_PACKAGES_OF_TYPES,
        },
        COLLECTIONS,
        COLLECTION_MEMBERS,
        match settings.contents {
            Contents::Items => CONTENTS_OF_ITEMS,
            Contents::Packages => CONTENTS_OF_PACKAGES,
        },
        DEPLOYMENTS,
        match settings.duplicates_by {
            DuplicatesBy::SmbiosGuid => DUPLICATES_BY_SMBIOS_GUID,
            DuplicatesBy::HardwareId => DUPLICATES_BY_HARDWARE_ID,
            DuplicatesBy::Name => DUPLICATES_BY_NAME,
        },
        STATE_MIGRATIONS,
        TASK_SEQUENCE_PACKAGES,
        TASK_SEQUENCE_REFERENCES,
    ]
}

/// The packages that hold the content of applications.
///
/// An edit of an application makes a new `CI_ID`, so the key is the name that it keeps, and only
/// its latest revision is read (10 is the type of an application).
const APPLICATION_PACKAGES: SqlDataset = SqlDataset {
    name: "ApplicationPackages",
    category: CMSYNC,
    about: "packages that hold the content of applications",
    from: "v_ConfigurationItems ci",
    joins: &[
        join("v_CIContentPackage cp", "cp.CI_ID = ci.CI_ID"),
        left_join("SMSPackages p", "p.PkgID = cp.PkgID"),
    ],
    columns: APPLICATION_COLUMNS,
    filter: "ci.CIType_ID = 10 AND ci.IsLatest = 1 AND ci.IsHidden = 0",
    ..SqlDataset::NEW
}
.checked();

/// The same where the packages belong to the deployment types of an application instead of the
/// application, as in some versions of the product (inferred).
const APPLICATION_PACKAGES_OF_TYPES: SqlDataset = SqlDataset {
    joins: &[
        join("CI_ConfigurationItemRelations r", "r.FromCI_ID = ci.CI_ID"),
        join("v_CIContentPackage cp", "cp.CI_ID = r.ToCI_ID"),
        left_join("SMSPackages p", "p.PkgID = cp.PkgID"),
    ],
    ..APPLICATION_PACKAGES
}
.checked();

const APPLICATION_COLUMNS: &[connector_mssql::dataset::SqlColumn] = columns! { ci =>
    [key text]: ModelName;
    other: (text("PkgID", "cp.PkgID").key());
    int: CI_ID;
    text: CI_UniqueID;
    int: CIVersion;
    other: (text("PackageName", "p.Name").optional()),
        (int("SourceVersion", "p.SourceVersion").optional()),
        (int("SourceSize", "p.SourceSize").optional());
    int: IsDeployed, IsEnabled, IsExpired, IsSuperseded;
    local: DateCreated, DateLastModified;
};

/// Collections. Counts of members and times of evaluation cause no change.
const COLLECTIONS: SqlDataset = SqlDataset {
    name: "Collections",
    category: CMSYNC,
    about: "collections",
    from: "v_Collection c",
    columns: columns! { c =>
        [key text]: CollectionID;
        text: Name, Comment;
        int: CollectionType;
        text: MemberClassName, LimitToCollectionID, LimitToCollectionName;
        int: RefreshType, IsBuiltIn, IsReferenceCollection, HasProvisionedMember,
            OwnedByThisSite, ReplicateToSubSites, UseCluster, CollectionVariablesCount,
            IncludeExcludeCollectionsCount, PowerConfigsCount, ServiceWindowsCount,
            MonitoringFlags;
        [volatile int]: MemberCount, LocalMemberCount, CurrentStatus;
        [volatile local]: EvaluationStartTime, LastRefreshTime, LastMemberChangeTime,
            LastChangeTime;
        [volatile int]: FullEvaluationRunTime, FullEvaluationMemberChanges,
            IncrementalEvaluationRunTime, IncrementalEvaluationMemberChanges;
        [volatile local]: FullEvaluationMemberChangeTime, FullEvaluationLastRefreshTime,
            FullEvaluationNextRefreshTime, IncrementalEvaluationMemberChangeTime,
            IncrementalEvaluationLastRefreshTime;
    },
    ..SqlDataset::NEW
}
.checked();

/// Which device or user is in which collection: the second largest data set, read collection by
/// collection. What a member is stands in `v_R_System` and `v_R_User`.
const COLLECTION_MEMBERS: SqlDataset = SqlDataset {
    name: "CollectionMembers",
    category: CMSYNC,
    about: "members of collections",
    from: "v_FullCollectionMembership m",
    columns: columns! { m =>
        [key text]: CollectionID;
        [key int]: ResourceID;
        int: ResourceType, IsDirect;
    },
    range: Some(Range::of("m.CollectionID").keys("v_Collection.CollectionID", 600)),
    ..SqlDataset::NEW
}
.checked();

/// The content of applications and updates: what a client's cache knows it by, with its hash.
const CONTENTS_OF_ITEMS: SqlDataset = SqlDataset {
    name: "Contents",
    category: CMSYNC,
    about: "content of applications and updates",
    from: "v_CIToContent t",
    columns: columns! { t =>
        [key int]: CI_ID, ContentID;
        text: CI_UniqueID, ModelName, ContentUniqueID;
        int: ContentVersion;
        text: ContentHash;
        int: ContentHashVersion;
        text: ContentLocales, ContentDescription;
        int: ContentDownloaded, ObjectTypeID;
        text: SDMMethodType, SecuredModelName;
    },
    ..SqlDataset::NEW
}
.checked();

/// The content of packages instead.
const CONTENTS_OF_PACKAGES: SqlDataset = SqlDataset {
    name: "Contents",
    category: CMSYNC,
    about: "content of packages",
    from: "v_Content t",
    columns: columns! { t =>
        [key text]: PkgID;
        [key int]: Content_ID;
        text: Content_UniqueID;
        int: ContentVersion;
        text: ContentSource;
        int: SourceSize;
    },
    ..SqlDataset::NEW
}
.checked();

/// Deployments of every kind.
///
/// No column of the view is always filled and unique, so the key is made of four; `Deployment` is
/// the id of an advertisement or, without one, of an assignment. That these are unique is
/// inferred: the data set fails if they are not. Whether times are in UTC or in each client's own
/// time is what `UseGMTTimes` says. Counts cause no change.
const DEPLOYMENTS: SqlDataset = SqlDataset {
    name: "Deployments",
    category: CMSYNC,
    about: "deployments of every kind",
    from: "v_DeploymentSummary d",
    joins: &[left_join(
        "v_CIAssignment a",
        "a.AssignmentID = NULLIF(d.AssignmentID, 0)",
    )],
    columns: columns! { d =>
        other: (int("FeatureType", "ISNULL(d.FeatureType, 0)").key()),
            (text(
                "Deployment",
                "COALESCE(NULLIF(d.OfferID, N''), CAST(d.AssignmentID AS nvarchar(11)), N'')",
            ).key()),
            (text("CollectionID", "ISNULL(d.CollectionID, N'')").key()),
            (int("CI_ID", "ISNULL(d.CI_ID, 0)").key());
        text: DeploymentID;
        [needed int]: AssignmentID;
        [needed text]: OfferID;
        text: PackageID, ProgramName, CollectionName;
        other: (text("SoftwareName", "d.SoftwareName").or("d.ApplicationName").optional());
        int: DeploymentIntent, DesiredConfigType, ObjectTypeID;
        local: DeploymentTime, EnforcementDeadline, CreationTime, ModificationTime;
        other: (text("Assignment_UniqueID", "a.Assignment_UniqueID").optional()),
            (text("AssignmentName", "a.AssignmentName").optional()),
            (int("UseGMTTimes", "a.UseGMTTimes").optional());
        int: SummaryType, PolicyModelID;
        text: ModelName;
        int: ModelID;
        text: SecuredObjectId;
        int: Enabled;
        other: (int("NumberTotal", "d.NumberTotal").or("d.NumberTargeted").optional().volatile());
        [volatile int]: NumberSuccess, NumberInProgress, NumberErrors, NumberOther, NumberUnknown;
        [volatile local]: SummarizationTime;
    },
    ..SqlDataset::NEW
}
.checked();

/// Devices that share what should be a device's own, without records that are marked as removed.
macro_rules! duplicates {
    ($name:ident, $column:literal, $filter:literal) => {
        const $name: SqlDataset = SqlDataset {
            name: "Duplicates",
            category: CMSYNC,
            about: "devices that share what should be a device's own",
            from: "v_R_System s",
            joins: &[join(
                concat!(
                    "(SELECT ",
                    $column,
                    ", COUNT(*) AS Copies FROM {s} WHERE ",
                    $column,
                    " IS NOT NULL AND ",
                    $column,
                    " <> N''",
                    $filter,
                    " GROUP BY ",
                    $column,
                    " HAVING COUNT(*) > 1) k"
                ),
                concat!("k.", $column, " = s.", $column),
            )],
            columns: columns! { s =>
                other: (text("Rule", concat!("N'", $column, "'")).key());
                [key int]: ResourceID;
                [needed text]: Name0, SMBIOS_GUID0, Hardware_ID0;
                text: SMS_Unique_Identifier0;
                int: Obsolete0, Active0;
                local: Creation_Date0;
                other: (int("Copies", "k.Copies"));
            },
            ..SqlDataset::NEW
        }
        .checked();
    };
}

// Empty ids are what boards without one have.
duplicates!(
    DUPLICATES_BY_SMBIOS_GUID,
    "SMBIOS_GUID0",
    " AND SMBIOS_GUID0 NOT LIKE N'00000000-0000-0000-0000-%' AND SMBIOS_GUID0 NOT LIKE N'FFFFFFFF-%'"
);
duplicates!(DUPLICATES_BY_HARDWARE_ID, "Hardware_ID0", "");
duplicates!(DUPLICATES_BY_NAME, "Name0", "");

/// Users' data that is carried from one device to another. The keys that encrypt it are never
/// read. That times are in UTC is inferred.
const STATE_MIGRATIONS: SqlDataset = SqlDataset {
    name: "StateMigrations",
    category: CMSYNC,
    about: "users' data that is carried from one device to another",
    from: "v_StateMigration m",
    columns: columns! { m =>
        [key text]: MigrationID;
        int: MigrationType, MigrationBehavior, MigrationStatus, SourceClientResourceID;
        text: SourceName, SourceMACAddresses, SourceLastLogonUserDomain, SourceLastLogonUserName;
        int: RestoreClientResourceID;
        text: RestoreName, RestoreMACAddresses, RestoreLastLogonUserDomain,
            RestoreLastLogonUserName, SiteCode, StorePath;
        int: StoreSize;
        time: StoreCreationDate, StoreReleaseDate, StoreDeletionDate;
    },
    ..SqlDataset::NEW
}
.checked();

/// Task sequences, without what they do: that can hold passwords and product keys.
const TASK_SEQUENCE_PACKAGES: SqlDataset = SqlDataset {
    name: "TaskSequencePackages",
    category: CMSYNC,
    about: "task sequences",
    from: "v_TaskSequencePackage t",
    columns: columns! { t =>
        [key text]: PackageID;
        text: Name, Description, Version, Manufacturer, Language;
        int: PackageType;
        text: BootImageID;
        int: TS_Type, TS_Flags, SourceVersion;
        local: SourceDate;
        text: SourceSite, PkgSourcePath, StoredPkgPath;
        int: StoredPkgVersion;
        local: LastRefreshTime;
        int: Priority, PkgFlags;
        text: ShareName, MIFFilename, MIFName, MIFPublisher, MIFVersion;
        int: ShareType, ActionInProgress;
        text: Category, CustomProgressMsg, DependentProgram;
        int: Duration, ProgramFlags, NumOfPrograms, PackageSize, ReferencesCount;
        text: SedoObjectVersion;
    },
    ..SqlDataset::NEW
}
.checked();

/// What task sequences refer to, each once however many steps do. Columns of a step are not read.
const TASK_SEQUENCE_REFERENCES: SqlDataset = SqlDataset {
    name: "TaskSequenceReferences",
    category: CMSYNC,
    about: "packages and programs that task sequences refer to",
    from: "v_TaskSequenceReferencesInfo r",
    columns: columns! { r =>
        [key text]: PackageID;
        other: (text("ReferencePackageID", "r.ReferencePackageID").or("r.RefPackageID").key()),
            (text("ReferenceProgramName", "ISNULL(r.ReferenceProgramName, N'')").or("N''").key());
        int: ReferencePackageType;
        text: ReferenceName, ReferenceVersion, ReferenceDescription;
    },
    ..SqlDataset::NEW
}
.checked();
