//! Packages and their programs.

use connector_mssql::{
    SqlDataset,
    dataset::{Others, int, text, time},
};

const PACKAGES: &str = "Packages";

/// All packages with all that the site keeps of them but pictures; without those being deleted.
pub(super) const SMS_PACKAGES: SqlDataset = SqlDataset {
    name: "SMSPackages",
    category: PACKAGES,
    about: "packages of every type",
    from: "SMSPackages p",
    columns: columns! { p =>
        [key text]: PkgID;
        text: Name, Version, Language, Manufacturer, Description;
        int: PackageType;
        text: Source, SourceSite;
        int: SourceVersion;
        local: SourceDate;
        int: SourceSize, SourceCompSize, StoredPkgVersion;
        text: StoredPkgPath;
        local: LastRefresh;
        int: PkgFlags, Priority, HashVersion;
        text: Hash, NewHash, ISVString, RefreshSchedule, ShareName, PreferredAddress, Architecture,
            ImagePath, MIFFilename, MIFPublisher, MIFName, MIFVersion, AlternateContentProviders;
        int: ShareType, StorePkgFlag, Permission, UseForcedDisconnect, ForcedRetryDelay,
            DisconnectDelay, IgnoreSchedule, ImageFlags, SourceLocaleID, TransformReadiness,
            UpdateMask, UpdateMaskEx;
        local: TransformAnalysisDate;
        [needed int]: Action;
    },
    filter: "ISNULL(p.Action, 0) <> 3",
    ..SqlDataset::NEW
}
.checked();

/// Packages as reports show them.
///
/// What the product's data set of this name reads is not documented publicly. Another object goes
/// into `override`: the columns are also found as `SMSPackages` spells them, and only those of
/// software updates are `filter = "p.PackageType = 5"`.
pub(super) const DEPLOYMENT_PACKAGE: SqlDataset = SqlDataset {
    name: "DeploymentPackage",
    category: PACKAGES,
    about: "packages as reports show them",
    from: "v_Package p",
    columns: columns! { p =>
        other: (text("PackageID", "p.PackageID").or("p.PkgID").key());
        text: Name, Version, Language, Manufacturer, Description;
        int: PackageType;
        other: (text("PkgSourcePath", "p.PkgSourcePath").or("p.Source").optional());
        int: PkgSourceFlag, SourceVersion;
        local: SourceDate;
        text: SourceSite;
        int: SourceSize, StoredPkgVersion;
        text: StoredPkgPath;
        other: (time("LastRefreshTime", "p.LastRefreshTime").or("p.LastRefresh").local().optional());
        int: PkgFlags, Priority;
        text: ShareName, MIFFilename, MIFPublisher, MIFName, MIFVersion;
        int: ShareType;
        other: (text("PreferredAddressType", "p.PreferredAddressType").or("p.PreferredAddress").optional()),
            (int("ActionInProgress", "p.ActionInProgress").or("p.Action").optional());
    },
    ..SqlDataset::NEW
}
.checked();

/// Programs of packages as reports show them.
///
/// What the product's data set of this name reads is not documented publicly. Another object goes
/// into `override`; which programs are *deployed* is in `v_Advertisement`, whose key is another:
/// a data set of its own in configuration.
pub(super) const DEPLOYMENT_PROGRAM: SqlDataset = SqlDataset {
    name: "DeploymentProgram",
    category: PACKAGES,
    about: "programs of packages as reports show them",
    from: "v_Program g",
    columns: columns! { g =>
        other: (text("PackageID", "g.PackageID").or("g.PkgID").key()),
            (text("ProgramName", "g.ProgramName").or("g.Name").key());
        text: PackageName;
        int: PackageType;
        text: PackageVersion, CommandLine, Comment, Description, WorkingDirectory,
            DependentProgram;
        other: (text("DiskSpaceRequired", "g.DiskSpaceRequired").or("g.DiskSpaceReq").optional());
        text: DriveLetter;
        int: Duration, ProgramFlags;
        text: RemovalKey, Requirements, MSIFilePath, MSIProductID, SupportedOperatingSystems,
            ApplicationHierarchy;
        int: DeviceFlags, TransformReadiness, ActionInProgress;
    },
    ..SqlDataset::NEW
}
.checked();

/// Programs of packages as the site's own provider sees them.
///
/// The view is none that Microsoft promises to keep, and its list of columns is not documented
/// publicly: the key is taken in either spelling, and every other column as it is found.
pub(super) const VSMS_PROGRAM: SqlDataset = SqlDataset {
    name: "vSMS_Program",
    category: PACKAGES,
    about: "programs of packages with all that the provider has",
    from: "vSMS_Program g",
    columns: columns! { g =>
        other: (text("PkgID", "g.PkgID").or("g.PackageID").key()),
            (text("Name", "g.Name").or("g.ProgramName").key());
        int: ProgramFlags;
        text: MSIProductID;
    },
    // Moves at every write.
    others: Others::ReadExcept(&["rowversion"]),
    ..SqlDataset::NEW
}
.checked();
