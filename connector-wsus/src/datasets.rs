//! The data sets, declared as data.
//!
//! The views are the read-only interface of WSUS, described in "Using WSUS Views"
//! (<https://learn.microsoft.com/en-us/previous-versions/windows/desktop/bb410149(v=vs.85)>). Columns of
//! `vUpdate` are confirmed by public code that declares them, the types of the others follow from
//! their meaning: all but keys and what rows are about may be missing there, and what a server
//! has otherwise can be said in [`Override`](connector_mssql::Override): the object, the
//! expression of a column, further columns.
//!
//! All times are in UTC. No view tells when a row changed.

use std::time::Duration;

use connector_core::Duplicates;
use connector_mssql::{
    SqlDataset,
    dataset::{Others, Range, bool, int, text, time, uuid},
};

use crate::config::WsusSettings;

const UPDATES: &str = "Updates";
const COMPUTERS: &str = "Computers";
const APPROVALS: &str = "Approvals";
const INSTALLATION: &str = "Installation";

/// The list that bounds of ranges come from. The stored states are indexed by computer.
const EACH_COMPUTER: &str = "PUBLIC_VIEWS.vComputerTarget.ComputerTargetId";

/// The views are known to be slow on large servers.
const SLOW: Duration = Duration::from_mins(15);

/// Returns the data sets as these settings have them.
pub fn datasets(settings: &WsusSettings) -> Vec<SqlDataset> {
    let mut datasets = DATASETS.to_vec();
    if settings.not_applicable {
        for dataset in &mut datasets {
            if dataset.name == UPDATE_INSTALLATION.name {
                dataset.filter = "";
            }
        }
    }
    datasets
}

const DATASETS: [SqlDataset; 12] = [
    UPDATE,
    CLASSIFICATION,
    CATEGORY,
    UPDATE_IN_CATEGORY,
    UPDATE_ADDITIONAL_INFO_URL,
    COMPUTER_TARGET,
    COMPUTER_TARGET_GROUP,
    COMPUTER_GROUP_MEMBERSHIP,
    COMPUTER_INVENTORY,
    UPDATE_APPROVAL,
    UPDATE_EFFECTIVE_APPROVAL,
    UPDATE_INSTALLATION,
];

/// Updates at their latest revision. `KnowledgebaseArticle` is not unique: there is one for each
/// product and architecture.
///
/// Reports of Microsoft ask whether `MsrcSeverity` is null, so it may be.
const UPDATE: SqlDataset = SqlDataset {
    name: "vUpdate",
    category: UPDATES,
    about: "updates, each at its latest revision",
    from: "PUBLIC_VIEWS.vUpdate u",
    columns: &[
        uuid("UpdateId", "u.UpdateId").key(),
        int("RevisionNumber", "u.RevisionNumber"),
        text("DefaultTitle", "u.DefaultTitle"),
        text("DefaultDescription", "u.DefaultDescription").null(),
        uuid("ClassificationId", "u.ClassificationId"),
        time("ArrivalDate", "u.ArrivalDate"),
        time("CreationDate", "u.CreationDate"),
        bool("IsDeclined", "u.IsDeclined"),
        bool("IsWsusInfrastructureUpdate", "u.IsWsusInfrastructureUpdate"),
        text("MsrcSeverity", "u.MsrcSeverity").null(),
        text("PublicationState", "u.PublicationState").null(),
        text("UpdateType", "u.UpdateType"),
        text("UpdateSource", "u.UpdateSource"),
        text("KnowledgebaseArticle", "u.KnowledgebaseArticle").null(),
        text("SecurityBulletin", "u.SecurityBulletin").null(),
        bool(
            "InstallationCanRequestUserInput",
            "u.InstallationCanRequestUserInput",
        ),
        bool(
            "InstallationRequiresNetworkConnectivity",
            "u.InstallationRequiresNetworkConnectivity",
        ),
        text("InstallationImpact", "u.InstallationImpact"),
        text("InstallationRebootBehavior", "u.InstallationRebootBehavior"),
    ],
    first_row: Some(SLOW),
    ..SqlDataset::NEW
}
.checked();

/// Classifications of updates: critical, security, drivers.
const CLASSIFICATION: SqlDataset = SqlDataset {
    name: "vClassification",
    category: UPDATES,
    about: "classifications of updates",
    from: "PUBLIC_VIEWS.vClassification k",
    columns: &[
        uuid("ClassificationId", "k.ClassificationId").key(),
        text("DefaultTitle", "k.DefaultTitle").null(),
        text("DefaultDescription", "k.DefaultDescription").optional(),
    ],
    ..SqlDataset::NEW
}
.checked();

/// Companies, families of products and products. Which types there are, and that there is a parent,
/// is inferred.
const CATEGORY: SqlDataset = SqlDataset {
    name: "vCategory",
    category: UPDATES,
    about: "companies, product families and products",
    from: "PUBLIC_VIEWS.vCategory k",
    columns: &[
        uuid("CategoryId", "k.CategoryId").key(),
        text("DefaultTitle", "k.DefaultTitle").null(),
        text("CategoryType", "k.CategoryType").optional(),
        uuid("ParentCategoryId", "k.ParentCategoryId").optional(),
    ],
    ..SqlDataset::NEW
}
.checked();

/// Which update is for which product. That the two ids are unique together is likely, and not
/// documented.
const UPDATE_IN_CATEGORY: SqlDataset = SqlDataset {
    name: "vUpdateInCategory",
    category: UPDATES,
    about: "which update is for which product",
    from: "PUBLIC_VIEWS.vUpdateInCategory x",
    columns: &[
        uuid("UpdateId", "x.UpdateId").key(),
        uuid("CategoryId", "x.CategoryId").key(),
        text("CategoryType", "x.CategoryType").optional(),
    ],
    first_row: Some(SLOW),
    duplicates: Duplicates::KeepGreatest,
    ..SqlDataset::NEW
}
.checked();

/// Where to read more of an update. The name of the column is in no document, only in a report that
/// somebody published: `expressions` of the data set's override takes another.
const UPDATE_ADDITIONAL_INFO_URL: SqlDataset = SqlDataset {
    name: "vUpdateAdditionalInfoUrl",
    category: UPDATES,
    about: "where to read more of an update",
    from: "PUBLIC_VIEWS.vUpdateAdditionalInfoUrl l",
    columns: &[
        uuid("UpdateId", "l.UpdateId").key(),
        // Whether an update without one has a row is not known.
        text("Url", "ISNULL(l.Url, N'')").key(),
    ],
    optional: true,
    first_row: Some(SLOW),
    ..SqlDataset::NEW
}
.checked();

/// Computers that report to this server or, rolled up, to one below it (`ParentServerId`).
///
/// The id is the client's. Copies of one image share it, and are one row that changes its name; a
/// computer that was given another is two rows of one name, of which the one with the newest
/// `LastReportedStatusTime` is alive. So that one is compared, and the other times, which move at
/// each contact, are not.
const COMPUTER_TARGET: SqlDataset = SqlDataset {
    name: "vComputerTarget",
    category: COMPUTERS,
    about: "computers that report to the server",
    from: "PUBLIC_VIEWS.vComputerTarget c",
    columns: &[
        text("ComputerTargetId", "c.ComputerTargetId").key(),
        uuid("ParentServerId", "c.ParentServerId").optional(),
        text("Name", "c.Name").null(),
        text("IPAddress", "c.IPAddress").optional(),
        int("LastSyncResult", "c.LastSyncResult").optional(),
        time("LastSyncTime", "c.LastSyncTime").optional().volatile(),
        time("LastReportedStatusTime", "c.LastReportedStatusTime").optional(),
        time("LastReportedInventoryTime", "c.LastReportedInventoryTime")
            .optional()
            .volatile(),
        text("ClientVersion", "c.ClientVersion").optional(),
        text("OSArchitecture", "c.OSArchitecture").optional(),
        text("Make", "c.Make").optional(),
        text("Model", "c.Model").optional(),
        text("BiosName", "c.BiosName").optional(),
        text("BiosVersion", "c.BiosVersion").optional(),
        time("BiosReleaseDate", "c.BiosReleaseDate").optional(),
        int("OSMajorVersion", "c.OSMajorVersion").optional(),
        int("OSMinorVersion", "c.OSMinorVersion").optional(),
        int("OSBuildNumber", "c.OSBuildNumber").optional(),
        int("OSServicePackMajorNumber", "c.OSServicePackMajorNumber").optional(),
        text("OSDefaultUILanguage", "c.OSDefaultUILanguage").optional(),
    ],
    ..SqlDataset::NEW
}
.checked();

/// Groups of computers.
const COMPUTER_TARGET_GROUP: SqlDataset = SqlDataset {
    name: "vComputerTargetGroup",
    category: COMPUTERS,
    about: "groups of computers",
    from: "PUBLIC_VIEWS.vComputerTargetGroup g",
    columns: &[
        uuid("ComputerTargetGroupId", "g.ComputerTargetGroupId").key(),
        text("Name", "g.Name").null(),
        uuid("ParentTargetGroupId", "g.ParentTargetGroupId").optional(),
    ],
    ..SqlDataset::NEW
}
.checked();

/// Which computer is in which group. `IsExplicitMember` is false where a group above another
/// inherits its members. Texts that call the view `vComputerTargetGroupMembership` are not confirmed;
/// it is taken where there is no other.
const COMPUTER_GROUP_MEMBERSHIP: SqlDataset = SqlDataset {
    name: "vComputerGroupMembership",
    category: COMPUTERS,
    about: "which computer is in which group",
    from: "PUBLIC_VIEWS.vComputerGroupMembership m",
    columns: &[
        text("ComputerTargetId", "m.ComputerTargetId").key(),
        uuid("ComputerTargetGroupId", "m.ComputerTargetGroupId").key(),
        bool("IsExplicitMember", "m.IsExplicitMember").null(),
    ],
    instead: &["PUBLIC_VIEWS.vComputerTargetGroupMembership"],
    ..SqlDataset::NEW
}
.checked();

/// What the hardware and software inventory of WSUS found, one value a row; `WsusInternal_ARP` is
/// what is installed. Empty unless the server collects inventory. That the four columns are unique is
/// likely, and not documented.
const COMPUTER_INVENTORY: SqlDataset = SqlDataset {
    name: "vComputerInventory",
    category: COMPUTERS,
    about: "what the inventory of WSUS found, one value a row",
    from: "PUBLIC_VIEWS.vComputerInventory i",
    columns: &[
        text("ComputerTargetId", "i.ComputerTargetId").key(),
        text("ClassName", "i.ClassName").key(),
        text("InstanceId", "i.InstanceId").key(),
        text("PropertyName", "i.PropertyName").key(),
        text("Value", "i.Value").null(),
    ],
    optional: true,
    range: Some(
        Range::of("i.ComputerTargetId")
            .keys(EACH_COMPUTER, 500)
            .always(),
    ),
    first_row: Some(SLOW),
    duplicates: Duplicates::KeepGreatest,
    ..SqlDataset::NEW
}
.checked();

/// Approvals of updates for groups. Deadline, administrator and what else the view has are read as
/// the catalogue describes them; which columns that are is not documented.
const UPDATE_APPROVAL: SqlDataset = SqlDataset {
    name: "vUpdateApproval",
    category: APPROVALS,
    about: "approvals of updates for groups",
    from: "PUBLIC_VIEWS.vUpdateApproval a",
    columns: &[
        uuid("UpdateApprovalId", "a.UpdateApprovalId").key(),
        uuid("UpdateId", "a.UpdateId").null(),
        uuid("ComputerTargetGroupId", "a.ComputerTargetGroupId").null(),
        text("Action", "a.Action").null(),
        time("CreationDate", "a.CreationDate").optional(),
    ],
    others: Others::ReadExcept(&[]),
    first_row: Some(SLOW),
    ..SqlDataset::NEW
}
.checked();

/// Which approval counts for a computer, after its groups inherited theirs: up to the product of
/// both, so it is read some computers at a time.
const UPDATE_EFFECTIVE_APPROVAL: SqlDataset = SqlDataset {
    name: "vUpdateEffectiveApprovalPerComputer",
    category: APPROVALS,
    about: "which approval counts for which computer",
    from: "PUBLIC_VIEWS.vUpdateEffectiveApprovalPerComputer e",
    columns: &[
        uuid("UpdateApprovalId", "e.UpdateApprovalId").key(),
        text("ComputerTargetId", "e.ComputerTargetId").key(),
        uuid("UpdateId", "e.UpdateId").key(),
    ],
    range: Some(
        Range::of("e.ComputerTargetId")
            .keys(EACH_COMPUTER, 5_000)
            .always(),
    ),
    first_row: Some(SLOW),
    ..SqlDataset::NEW
}
.checked();

/// What became of an update on a computer: 0 unknown, 1 not applicable, 2 needed, 3 downloaded,
/// 4 installed, 5 failed, 6 installed and waiting for a restart.
///
/// Of the two views with these columns it is the one that has only rows that are stored; the other
/// computes one for each update and computer. It is read some computers at a time, never as a
/// whole, and without state 1 unless [`WsusSettings::not_applicable`] is set.
const UPDATE_INSTALLATION: SqlDataset = SqlDataset {
    name: "vUpdateInstallationInfoBasic",
    category: INSTALLATION,
    about: "what became of each update on each computer",
    from: "PUBLIC_VIEWS.vUpdateInstallationInfoBasic b",
    columns: &[
        uuid("UpdateId", "b.UpdateId").key(),
        text("ComputerTargetId", "b.ComputerTargetId").key(),
        int("State", "b.State"),
    ],
    filter: "b.State <> 1",
    range: Some(
        Range::of("b.ComputerTargetId")
            .keys(EACH_COMPUTER, 1_500)
            .always(),
    ),
    first_row: Some(SLOW),
    ..SqlDataset::NEW
}
.checked();
