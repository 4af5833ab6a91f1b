//! Sites, what they are set to, and which inventory they collect.

use connector_mssql::{
    SqlDataset,
    dataset::{Others, int, time},
};

const SITES_CATEGORY: &str = "Sites";

/// The sites of the hierarchy, from the table. Its document of capabilities is not read.
pub(super) const SITES: SqlDataset = SqlDataset {
    name: "Sites",
    category: SITES_CATEGORY,
    about: "sites of the hierarchy, from the table",
    from: "Sites s",
    columns: columns! { s =>
        [key text]: SiteCode;
        int: SiteKey;
        text: SiteName, ReportToSite;
        int: SiteType, Status, DetailedStatus, BuildNumber;
        text: Version, SiteServer, InstallDir, DefaultMP;
        int: ReplicatesReservedRanges;
        // Of which type it is differs.
        text: Settings;
    },
    ..SqlDataset::NEW
}
.checked();

/// The sites of the hierarchy, as reports show them.
pub(super) const V_SITE: SqlDataset = SqlDataset {
    name: "v_Site",
    category: SITES_CATEGORY,
    about: "sites of the hierarchy, as reports show them",
    from: "v_Site s",
    columns: columns! { s =>
        [key text]: SiteCode;
        text: SiteName, ReportingSiteCode, ServerName, InstallDir;
        int: Type, Status, RequestedStatus, BuildNumber;
        text: Version;
        int: Mode;
        // Whether these are numbers or text differs.
        text: Features, TimeZoneInfo, SecondarySiteCMUpdateStatus;
    },
    ..SqlDataset::NEW
}
.checked();

/// Which site this database is of: one row.
///
/// What the product's data set of this name reads is not documented publicly, nor is an object of
/// that name; the setting `settings_from` takes [`SETTINGS_COMPONENTS`] instead.
pub(super) const SETTINGS_IDENTITY: SqlDataset = SqlDataset {
    name: "Settings",
    category: SITES_CATEGORY,
    about: "which site the database is of",
    from: "v_Identification i",
    instead: &["SMSData"],
    columns: columns! { i =>
        [key text]: ThisSiteCode;
        text: ThisSiteName, ThisSiteGuid, SMSVersion, SMSBuildNumber, LocaleID, SiteNumber;
    },
    ..SqlDataset::NEW
}
.checked();

/// What the site's components are set to, three values a setting. Names of accounts can be among
/// them; the tables of encrypted secrets are never read.
///
/// The key, and how the view spells it, are inferred.
pub(super) const SETTINGS_COMPONENTS: SqlDataset = SqlDataset {
    name: "Settings",
    category: SITES_CATEGORY,
    about: "what the site's components are set to",
    from: "vSMS_SC_Component_Property i",
    columns: columns! { i =>
        other: (int("SiteNumber", "i.SiteNumber").or("0").key()),
            (int("ComponentID", "i.ID").or("i.ComponentID").key());
        [key text]: Name;
        text: Value1, Value2, Value3;
    },
    ..SqlDataset::NEW
}
.checked();

/// The inventory classes that the site collects, with the views that show them.
///
/// The columns of the table of that name are not documented publicly, those of the view are.
pub(super) const GROUP_MAP: SqlDataset = SqlDataset {
    name: "GroupMap",
    category: SITES_CATEGORY,
    about: "inventory classes that the site collects, and their views",
    from: "v_GroupMap g",
    instead: &["GroupMap"],
    columns: columns! { g =>
        [key int]: ResourceType, GroupID;
        text: DisplayName, InvClassName, InvHistoryClassName, MIFClass;
    },
    ..SqlDataset::NEW
}
.checked();

/// An inventory class of one's own for SQL Servers, absent on most sites. By the product's naming
/// rule this is its table; where only its view is there, that is read.
///
/// Its properties are not documented publicly, so every column is taken as it is found.
pub(super) const CUSTOM_SQL_PROPERTY_DATA: SqlDataset = SqlDataset {
    name: "CUSTOM_SQL_Property_DATA",
    category: SITES_CATEGORY,
    about: "an inventory class of one's own for SQL Servers",
    from: "CUSTOM_SQL_Property_DATA t",
    instead: &["v_GS_CUSTOM_SQL_Property", "v_GS_CUSTOM_SQL_Property0"],
    columns: columns! { t =>
        other: (int("MachineID", "t.MachineID").or("t.ResourceID").key()),
            (int("InstanceKey", "t.InstanceKey").or("t.GroupID").key());
        [volatile int]: RevisionID, AgentID;
        other: (time("TimeKey", "t.TimeKey").or("t.TimeStamp").local().optional().volatile());
    },
    // Moves at every write.
    others: Others::ReadExcept(&["rowversion"]),
    optional: true,
    ..SqlDataset::NEW
}
.checked();
