//! The data sets, declared as data.
//!
//! Tables and columns are those of the schema diagram that Citrix publishes beside its Monitor
//! Service API (<https://github.com/citrix/monitoring-api>); a type that is not in it is inferred
//! from the data model there. Citrix supports reading over OData and promises nothing of the
//! tables, so all but the key and what the rows are about may be missing, and whatever a site has
//! otherwise can be said in [`Override`](connector_mssql::Override): the object, the expression of
//! a column, further columns.
//!
//! All times are in UTC. `ModifiedDate` is a stamp: it never is a change by itself.

use connector_core::Gone;
use connector_mssql::{
    SqlDataset,
    dataset::{Range, bool, int, text, time, uuid},
};

use crate::config::CitrixSettings;

const APPLICATIONS: &str = "Applications";
const MACHINES: &str = "Machines";
const SESSIONS: &str = "Sessions";

/// Returns the nine data sets of VDX as these settings have them.
pub fn datasets(settings: &CitrixSettings) -> Vec<SqlDataset> {
    let gone = if settings.keep_groomed {
        Gone::Keep
    } else {
        Gone::Delete
    };
    DATASETS
        .into_iter()
        .map(|dataset| SqlDataset { gone, ..dataset })
        .collect()
}

const DATASETS: [SqlDataset; 9] = [
    APPLICATION,
    APPLICATION_INSTANCE,
    CONNECTION,
    DESKTOP_GROUP,
    MACHINE,
    SESSION,
    SESSION_METRICS,
    SESSION_AUTO_RECONNECT,
    USER,
];

/// Published applications. Those that were deleted stay, with `LifecycleState` 1, until they are
/// groomed; names are not unique.
const APPLICATION: SqlDataset = SqlDataset {
    name: "Application",
    category: APPLICATIONS,
    about: "published applications",
    from: "MonitorData.Application a",
    columns: &[
        uuid("Id", "a.Id").key(),
        text("Name", "a.Name").null(),
        text("PublishedName", "a.PublishedName").optional(),
        text("BrowserName", "a.BrowserName").optional(),
        int("ApplicationType", "a.ApplicationType").optional(),
        bool("Enabled", "a.Enabled").optional(),
        text("AdminFolder", "a.AdminFolder").optional(),
        text("Path", "a.Path").optional(),
        int("LifecycleState", "a.LifecycleState").optional(),
        time("CreatedDate", "a.CreatedDate").optional(),
        time("ModifiedDate", "a.ModifiedDate").optional().volatile(),
    ],
    ..SqlDataset::NEW
}
.checked();

/// One row each time that an application is started in a session; `EndDate` is set once. That the
/// id is a `bigint` is inferred.
const APPLICATION_INSTANCE: SqlDataset = SqlDataset {
    name: "ApplicationInstance",
    category: APPLICATIONS,
    about: "starts of applications in sessions",
    from: "MonitorData.ApplicationInstance i",
    columns: &[
        int("Id", "i.Id").key(),
        uuid("ApplicationId", "i.ApplicationId").null(),
        uuid("SessionKey", "i.SessionKey").null(),
        time("StartDate", "i.StartDate").optional(),
        time("EndDate", "i.EndDate").optional(),
        time("CreatedDate", "i.CreatedDate").optional(),
        time("ModifiedDate", "i.ModifiedDate").optional().volatile(),
    ],
    range: Some(Range::of("i.Id")),
    ..SqlDataset::NEW
}
.checked();

/// Connections to sessions with the phases of the logon; a session has another for each reconnect.
/// `ClientName` is what a user calls a device, `ClientAddress` can be a gateway's.
const CONNECTION: SqlDataset = SqlDataset {
    name: "Connection",
    category: SESSIONS,
    about: "connections to sessions, with the phases of the logon",
    from: "MonitorData.Connection c",
    columns: &[
        int("Id", "c.Id").key(),
        uuid("SessionKey", "c.SessionKey").null(),
        text("ClientName", "c.ClientName").optional(),
        text("ClientAddress", "c.ClientAddress").optional(),
        text("ClientVersion", "c.ClientVersion").optional(),
        text("ClientPlatform", "c.ClientPlatform").optional(),
        text("ConnectedViaHostName", "c.ConnectedViaHostName").optional(),
        text("ConnectedViaIPAddress", "c.ConnectedViaIPAddress").optional(),
        text("LaunchedViaHostName", "c.LaunchedViaHostName").optional(),
        text("LaunchedViaIPAddress", "c.LaunchedViaIPAddress").optional(),
        bool("IsReconnect", "c.IsReconnect").optional(),
        bool("IsSecureIca", "c.IsSecureIca").optional(),
        text("Protocol", "c.Protocol").optional(),
        time("LogOnStartDate", "c.LogOnStartDate").optional(),
        time("LogOnEndDate", "c.LogOnEndDate").optional(),
        time("BrokeringDate", "c.BrokeringDate").optional(),
        int("BrokeringDuration", "c.BrokeringDuration").optional(),
        int("DisconnectCode", "c.DisconnectCode").optional(),
        time("DisconnectDate", "c.DisconnectDate").optional(),
        time("VMStartStartDate", "c.VMStartStartDate").optional(),
        time("VMStartEndDate", "c.VMStartEndDate").optional(),
        time("ClientSessionValidateDate", "c.ClientSessionValidateDate").optional(),
        time("ServerSessionValidateDate", "c.ServerSessionValidateDate").optional(),
        time("EstablishmentDate", "c.EstablishmentDate").optional(),
        time("HdxStartDate", "c.HdxStartDate").optional(),
        time("HdxEndDate", "c.HdxEndDate").optional(),
        int("AuthenticationDuration", "c.AuthenticationDuration").optional(),
        time("GpoStartDate", "c.GpoStartDate").optional(),
        time("GpoEndDate", "c.GpoEndDate").optional(),
        time("LogOnScriptsStartDate", "c.LogOnScriptsStartDate").optional(),
        time("LogOnScriptsEndDate", "c.LogOnScriptsEndDate").optional(),
        time("ProfileLoadStartDate", "c.ProfileLoadStartDate").optional(),
        time("ProfileLoadEndDate", "c.ProfileLoadEndDate").optional(),
        time("InteractiveStartDate", "c.InteractiveStartDate").optional(),
        time("InteractiveEndDate", "c.InteractiveEndDate").optional(),
        time("CreatedDate", "c.CreatedDate").optional(),
        time("ModifiedDate", "c.ModifiedDate").optional().volatile(),
    ],
    range: Some(Range::of("c.Id")),
    ..SqlDataset::NEW
}
.checked();

/// Delivery groups.
const DESKTOP_GROUP: SqlDataset = SqlDataset {
    name: "DesktopGroup",
    category: MACHINES,
    about: "delivery groups",
    from: "MonitorData.DesktopGroup g",
    columns: &[
        uuid("Id", "g.Id").key(),
        text("Name", "g.Name").null(),
        bool("IsRemotePC", "g.IsRemotePC").optional(),
        int("DesktopKind", "g.DesktopKind").optional(),
        int("SessionSupport", "g.SessionSupport").optional(),
        int("DeliveryType", "g.DeliveryType").optional(),
        bool("IsInMaintenanceMode", "g.IsInMaintenanceMode").optional(),
        int("LifecycleState", "g.LifecycleState").optional(),
        time("CreatedDate", "g.CreatedDate").optional(),
        time("ModifiedDate", "g.ModifiedDate").optional().volatile(),
    ],
    ..SqlDataset::NEW
}
.checked();

/// Machines that sessions run on. Those that were deleted stay, with `LifecycleState` 1, until they
/// are groomed; names and SIDs are not unique over time.
///
/// What load and power do all day is volatile, or each machine would change in every cycle. `Hash`
/// is left out: no document gives its type.
const MACHINE: SqlDataset = SqlDataset {
    name: "Machine",
    category: MACHINES,
    about: "machines that sessions run on",
    from: "MonitorData.Machine m",
    columns: &[
        uuid("Id", "m.Id").key(),
        text("Sid", "m.Sid").optional(),
        text("Name", "m.Name").null(),
        text("DnsName", "m.DnsName").optional(),
        int("LifecycleState", "m.LifecycleState").optional(),
        text("IPAddress", "m.IPAddress").optional(),
        text("HostedMachineId", "m.HostedMachineId").optional(),
        text("HostedMachineName", "m.HostedMachineName").optional(),
        text("HostingServerName", "m.HostingServerName").optional(),
        bool("IsAssigned", "m.IsAssigned").optional(),
        bool("IsInMaintenanceMode", "m.IsInMaintenanceMode").optional(),
        bool("IsPendingUpdate", "m.IsPendingUpdate").optional(),
        bool("IsPreparing", "m.IsPreparing").optional(),
        text("AgentVersion", "m.AgentVersion").optional(),
        text("AssociatedUserFullNames", "m.AssociatedUserFullNames").optional(),
        text("AssociatedUserNames", "m.AssociatedUserNames").optional(),
        text("AssociatedUserUPNs", "m.AssociatedUserUPNs").optional(),
        int("CurrentRegistrationState", "m.CurrentRegistrationState").optional(),
        time(
            "RegistrationStateChangeDate",
            "m.RegistrationStateChangeDate",
        )
        .optional(),
        int("LastDeregisteredCode", "m.LastDeregisteredCode").optional(),
        time("LastDeregisteredDate", "m.LastDeregisteredDate").optional(),
        int("CurrentPowerState", "m.CurrentPowerState")
            .optional()
            .volatile(),
        time("PowerStateChangeDate", "m.PowerStateChangeDate")
            .optional()
            .volatile(),
        time("PoweredOnDate", "m.PoweredOnDate")
            .optional()
            .volatile(),
        int("CurrentSessionCount", "m.CurrentSessionCount")
            .optional()
            .volatile(),
        int("CurrentLoadIndexId", "m.CurrentLoadIndexId")
            .optional()
            .volatile(),
        text("ControllerDnsName", "m.ControllerDnsName").optional(),
        int("FunctionalLevel", "m.FunctionalLevel").optional(),
        time("FailureDate", "m.FailureDate").optional(),
        int("WindowsConnectionSetting", "m.WindowsConnectionSetting").optional(),
        int("FaultState", "m.FaultState").optional(),
        text("OSType", "m.OSType").optional(),
        uuid("CatalogId", "m.CatalogId").optional(),
        uuid("DesktopGroupId", "m.DesktopGroupId").optional(),
        uuid("HypervisorId", "m.HypervisorId").optional(),
        int("MachineRole", "m.MachineRole").optional(),
        time("CreatedDate", "m.CreatedDate").optional(),
        time("ModifiedDate", "m.ModifiedDate").optional().volatile(),
    ],
    ..SqlDataset::NEW
}
.checked();

/// Sessions of users. `UserId` is null for anonymous ones and failed launches; `EndDate` also for
/// those whose end was never reported.
///
/// Read in one statement: no column of a whole number that stays as it is leads an index. The type
/// of `PublishedDesktopId`, which newer releases have, is in no document: text takes any of them.
const SESSION: SqlDataset = SqlDataset {
    name: "Session",
    category: SESSIONS,
    about: "sessions of users",
    from: "MonitorData.Session s",
    columns: &[
        uuid("SessionKey", "s.SessionKey").key(),
        int("UserId", "s.UserId").null(),
        uuid("MachineId", "s.MachineId").null(),
        int("SessionType", "s.SessionType").optional(),
        time("StartDate", "s.StartDate").optional(),
        time("EndDate", "s.EndDate").optional(),
        int("LogOnDuration", "s.LogOnDuration").optional(),
        int("ConnectionState", "s.ConnectionState").optional(),
        time("ConnectionStateChangeDate", "s.ConnectionStateChangeDate").optional(),
        int("LifecycleState", "s.LifecycleState").optional(),
        int("CurrentConnectionId", "s.CurrentConnectionId").optional(),
        int("ExitCode", "s.ExitCode").optional(),
        int("FailureId", "s.FailureId").optional(),
        time("FailureDate", "s.FailureDate").optional(),
        bool("IsAnonymous", "s.IsAnonymous").optional(),
        text("PublishedDesktopId", "s.PublishedDesktopId").optional(),
        time("SessionIdleTime", "s.SessionIdleTime")
            .optional()
            .volatile(),
        time("CreatedDate", "s.CreatedDate").optional(),
        time("ModifiedDate", "s.ModifiedDate").optional().volatile(),
    ],
    ..SqlDataset::NEW
}
.checked();

/// One row for each open session and interval of some minutes: by far the largest table, so it is
/// never read in one statement. `IcaLatency` comes with newer releases.
const SESSION_METRICS: SqlDataset = SqlDataset {
    name: "SessionMetrics",
    category: SESSIONS,
    about: "round-trip times of open sessions, every few minutes",
    from: "MonitorData.SessionMetrics x",
    columns: &[
        int("Id", "x.Id").key(),
        uuid("SessionId", "x.SessionId").null(),
        time("CollectedDate", "x.CollectedDate").optional(),
        int("IcaRttMS", "x.IcaRttMS").optional(),
        int("IcaLatency", "x.IcaLatency").optional(),
        time("CreatedDate", "x.CreatedDate").optional(),
        time("ModifiedDate", "x.ModifiedDate").optional().volatile(),
    ],
    optional: true,
    range: Some(Range::of("x.Id").always()),
    ..SqlDataset::NEW
}
.checked();

/// Reconnects that a client made by itself. Rows never change.
const SESSION_AUTO_RECONNECT: SqlDataset = SqlDataset {
    name: "SessionAutoReconnect",
    category: SESSIONS,
    about: "reconnects that a client made by itself",
    from: "MonitorData.SessionAutoReconnect r",
    columns: &[
        int("Id", "r.Id").key(),
        uuid("SessionKey", "r.SessionKey").null(),
        int("ConnectionId", "r.ConnectionId").optional(),
        int("AutoReconnectCount", "r.AutoReconnectCount").optional(),
        int("AutoReconnectType", "r.AutoReconnectType").optional(),
        time("EventTimestamp", "r.EventTimestamp").optional(),
        time("CreatedDate", "r.CreatedDate").optional(),
    ],
    optional: true,
    range: Some(Range::of("r.Id")),
    ..SqlDataset::NEW
}
.checked();

/// Users who have had a session; `Sid` is who they are in the directory, and null for anonymous
/// ones.
const USER: SqlDataset = SqlDataset {
    name: "User",
    category: SESSIONS,
    about: "users who have had a session",
    from: "MonitorData.User u",
    columns: &[
        int("Id", "u.Id").key(),
        text("Sid", "u.Sid").null(),
        text("Upn", "u.Upn").optional(),
        text("Domain", "u.Domain").optional(),
        text("UserName", "u.UserName").null(),
        text("FullName", "u.FullName").optional(),
        time("CreatedDate", "u.CreatedDate").optional(),
        time("ModifiedDate", "u.ModifiedDate").optional().volatile(),
    ],
    ..SqlDataset::NEW
}
.checked();
