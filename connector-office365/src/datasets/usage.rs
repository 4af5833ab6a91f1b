//! Usage reports: CSV files that Microsoft 365 makes once a day, of the day before or earlier.
//!
//! Columns were added over the years, so all but a few may be missing from a file, and are null then;
//! columns that are not declared are passed over. `reportRefreshDate` and `reportPeriod` are of the
//! file and not of a row's user, so they are volatile: a file that is newer and says the same is no
//! change. Names of users and sites may be concealed: they are kept as they come, and that is said.
//!
//! A user that was deleted may be made again with the same name while both are still listed:
//! `isDeleted` is part of the key for that.

use connector_graph::{
    Call, Cloud, FILE, GraphDataset, Report,
    decode::{Reply, bool, date, int, text},
};

use super::USAGE;

/// The longest period there is: a user is listed for that long after their last activity.
const PERIOD: &str = "D180";

/// In v1.0 the reports are in the global cloud alone.
/// <https://learn.microsoft.com/graph/api/resources/report>
const fn usage(about: &'static str, reply: Reply<'static>, report: Report) -> GraphDataset {
    GraphDataset {
        category: USAGE,
        about,
        permissions: &["Reports.Read.All"],
        reply,
        call: Call::Report(report),
        clouds: &[Cloud::Global],
        ..GraphDataset::NEW
    }
    .checked()
}

/// One row for each user who has had a licence: when they last used each service.
/// <https://learn.microsoft.com/graph/api/reportroot-getoffice365activeuserdetail>
pub(super) const ACTIVE_USERS: GraphDataset = usage(
    "when each user last used each service",
    Reply {
        name: "activeUsers",
        columns: &[
            text("userPrincipalName", "User Principal Name").key(),
            bool("isDeleted", "Is Deleted").key(),
            date("deletedDate", "Deleted Date").null(),
            text("displayName", "Display Name").null(),
            bool("hasExchangeLicense", "Has Exchange License").optional(),
            bool("hasOneDriveLicense", "Has OneDrive License").optional(),
            bool("hasSharePointLicense", "Has SharePoint License").optional(),
            bool(
                "hasSkypeForBusinessLicense",
                "Has Skype For Business License",
            )
            .optional(),
            bool("hasYammerLicense", "Has Yammer License").optional(),
            bool("hasTeamsLicense", "Has Teams License").optional(),
            date("exchangeLastActivityDate", "Exchange Last Activity Date").optional(),
            date("oneDriveLastActivityDate", "OneDrive Last Activity Date").optional(),
            date(
                "sharePointLastActivityDate",
                "SharePoint Last Activity Date",
            )
            .optional(),
            date(
                "skypeForBusinessLastActivityDate",
                "Skype For Business Last Activity Date",
            )
            .optional(),
            date("yammerLastActivityDate", "Yammer Last Activity Date").optional(),
            date("teamsLastActivityDate", "Teams Last Activity Date").optional(),
            date("exchangeLicenseAssignDate", "Exchange License Assign Date").optional(),
            date("oneDriveLicenseAssignDate", "OneDrive License Assign Date").optional(),
            date(
                "sharePointLicenseAssignDate",
                "SharePoint License Assign Date",
            )
            .optional(),
            date(
                "skypeForBusinessLicenseAssignDate",
                "Skype For Business License Assign Date",
            )
            .optional(),
            date("yammerLicenseAssignDate", "Yammer License Assign Date").optional(),
            date("teamsLicenseAssignDate", "Teams License Assign Date").optional(),
            text("assignedProducts", "Assigned Products").optional(),
            date("reportRefreshDate", "Report Refresh Date")
                .null()
                .volatile(),
            text("reportPeriod", "Report Period").optional().volatile(),
        ],
        ..FILE
    },
    Report::new("getOffice365ActiveUserDetail")
        .period(PERIOD)
        .user("userPrincipalName"),
);

/// One row for each user and product that is installed: on how many devices of each kind. Without
/// a period. What `activatedOnSharedComputer` holds, a number or a truth value, no page says.
/// <https://learn.microsoft.com/graph/api/reportroot-getoffice365activationsuserdetail>
pub(super) const ACTIVATIONS: GraphDataset = usage(
    "on how many devices each user activated each product of Office",
    Reply {
        name: "activations",
        columns: &[
            text("userPrincipalName", "User Principal Name").key(),
            text("productType", "Product Type").key(),
            text("displayName", "Display Name").null(),
            date("lastActivatedDate", "Last Activated Date").null(),
            int("windows", "Windows").optional(),
            int("mac", "Mac").optional(),
            int("windows10Mobile", "Windows 10 Mobile").optional(),
            int("ios", "iOS").optional(),
            int("android", "Android").optional(),
            text("activatedOnSharedComputer", "Activated On Shared Computer").optional(),
            date("reportRefreshDate", "Report Refresh Date")
                .null()
                .volatile(),
        ],
        ..FILE
    },
    Report::new("getOffice365ActivationsUserDetail").user("userPrincipalName"),
);

/// One row for each user: which apps they used, on which platforms.
/// <https://learn.microsoft.com/graph/api/reportroot-getm365appuserdetail>
pub(super) const APP_USAGE: GraphDataset = usage(
    "which apps of Microsoft 365 each user used on which platforms",
    Reply {
        name: "appUsage",
        columns: &[
            text("userPrincipalName", "User Principal Name").key(),
            date("lastActivationDate", "Last Activation Date").null(),
            date("lastActivityDate", "Last Activity Date").null(),
            bool("windows", "Windows").optional(),
            bool("mac", "Mac").optional(),
            bool("mobile", "Mobile").optional(),
            bool("web", "Web").optional(),
            bool("outlook", "Outlook").optional(),
            bool("word", "Word").optional(),
            bool("excel", "Excel").optional(),
            bool("powerPoint", "PowerPoint").optional(),
            bool("oneNote", "OneNote").optional(),
            bool("teams", "Teams").optional(),
            bool("outlookWindows", "Outlook (Windows)").optional(),
            bool("wordWindows", "Word (Windows)").optional(),
            bool("excelWindows", "Excel (Windows)").optional(),
            bool("powerPointWindows", "PowerPoint (Windows)").optional(),
            bool("oneNoteWindows", "OneNote (Windows)").optional(),
            bool("teamsWindows", "Teams (Windows)").optional(),
            bool("outlookMac", "Outlook (Mac)").optional(),
            bool("wordMac", "Word (Mac)").optional(),
            bool("excelMac", "Excel (Mac)").optional(),
            bool("powerPointMac", "PowerPoint (Mac)").optional(),
            bool("oneNoteMac", "OneNote (Mac)").optional(),
            bool("teamsMac", "Teams (Mac)").optional(),
            bool("outlookMobile", "Outlook (Mobile)").optional(),
            bool("wordMobile", "Word (Mobile)").optional(),
            bool("excelMobile", "Excel (Mobile)").optional(),
            bool("powerPointMobile", "PowerPoint (Mobile)").optional(),
            bool("oneNoteMobile", "OneNote (Mobile)").optional(),
            bool("teamsMobile", "Teams (Mobile)").optional(),
            bool("outlookWeb", "Outlook (Web)").optional(),
            bool("wordWeb", "Word (Web)").optional(),
            bool("excelWeb", "Excel (Web)").optional(),
            bool("powerPointWeb", "PowerPoint (Web)").optional(),
            bool("oneNoteWeb", "OneNote (Web)").optional(),
            bool("teamsWeb", "Teams (Web)").optional(),
            date("reportRefreshDate", "Report Refresh Date")
                .null()
                .volatile(),
            text("reportPeriod", "Report Period").optional().volatile(),
        ],
        ..FILE
    },
    Report::new("getM365AppUserDetail")
        .period(PERIOD)
        .user("userPrincipalName"),
);

/// One row for each mailbox.
/// <https://learn.microsoft.com/graph/api/reportroot-getmailboxusagedetail>
pub(super) const MAILBOX_USAGE: GraphDataset = usage(
    "size and last use of each mailbox",
    Reply {
        name: "mailboxUsage",
        columns: &[
            text("userPrincipalName", "User Principal Name").key(),
            bool("isDeleted", "Is Deleted").key(),
            date("deletedDate", "Deleted Date").null(),
            text("displayName", "Display Name").null(),
            date("createdDate", "Created Date").null(),
            date("lastActivityDate", "Last Activity Date").null(),
            int("itemCount", "Item Count").optional(),
            int("storageUsedInBytes", "Storage Used (Byte)").optional(),
            int("issueWarningQuotaInBytes", "Issue Warning Quota (Byte)").optional(),
            int("prohibitSendQuotaInBytes", "Prohibit Send Quota (Byte)").optional(),
            int(
                "prohibitSendReceiveQuotaInBytes",
                "Prohibit Send/Receive Quota (Byte)",
            )
            .optional(),
            int("deletedItemCount", "Deleted Item Count").optional(),
            int("deletedItemSizeInBytes", "Deleted Item Size (Byte)").optional(),
            int("deletedItemQuotaInBytes", "Deleted Item Quota (Byte)").optional(),
            bool("hasArchive", "Has Archive").optional(),
            date("reportRefreshDate", "Report Refresh Date")
                .null()
                .volatile(),
            text("reportPeriod", "Report Period").optional().volatile(),
        ],
        ..FILE
    },
    Report::new("getMailboxUsageDetail")
        .period(PERIOD)
        .user("userPrincipalName"),
);

/// One row for each user of Teams. Durations are in seconds; the same ones as text are left out.
/// <https://learn.microsoft.com/graph/api/reportroot-getteamsuseractivityuserdetail>
pub(super) const TEAMS_USER_ACTIVITY: GraphDataset = usage(
    "what each user did in Teams",
    Reply {
        name: "teamsUserActivity",
        columns: &[
            text("userPrincipalName", "User Principal Name").key(),
            bool("isDeleted", "Is Deleted").key(),
            date("deletedDate", "Deleted Date").null(),
            date("lastActivityDate", "Last Activity Date").null(),
            text("userId", "User Id").optional(),
            text("tenantDisplayName", "Tenant Display Name").optional(),
            text(
                "sharedChannelTenantDisplayNames",
                "Shared Channel Tenant Display Names",
            )
            .optional(),
            text("assignedProducts", "Assigned Products").optional(),
            bool("isLicensed", "Is Licensed").optional(),
            bool("hasOtherAction", "Has Other Action").optional(),
            int("teamChatMessageCount", "Team Chat Message Count").optional(),
            int("privateChatMessageCount", "Private Chat Message Count").optional(),
            int("postMessages", "Post Messages").optional(),
            int("replyMessages", "Reply Messages").optional(),
            int("urgentMessages", "Urgent Messages").optional(),
            int("callCount", "Call Count").optional(),
            int("meetingCount", "Meeting Count").optional(),
            int("meetingsOrganizedCount", "Meetings Organized Count").optional(),
            int("meetingsAttendedCount", "Meetings Attended Count").optional(),
            int(
                "adHocMeetingsOrganizedCount",
                "Ad Hoc Meetings Organized Count",
            )
            .optional(),
            int(
                "adHocMeetingsAttendedCount",
                "Ad Hoc Meetings Attended Count",
            )
            .optional(),
            int(
                "scheduledOneTimeMeetingsOrganizedCount",
                "Scheduled One-time Meetings Organized Count",
            )
            .optional(),
            int(
                "scheduledOneTimeMeetingsAttendedCount",
                "Scheduled One-time Meetings Attended Count",
            )
            .optional(),
            int(
                "scheduledRecurringMeetingsOrganizedCount",
                "Scheduled Recurring Meetings Organized Count",
            )
            .optional(),
            int(
                "scheduledRecurringMeetingsAttendedCount",
                "Scheduled Recurring Meetings Attended Count",
            )
            .optional(),
            int("audioDurationInSeconds", "Audio Duration In Seconds").optional(),
            int("videoDurationInSeconds", "Video Duration In Seconds").optional(),
            int(
                "screenShareDurationInSeconds",
                "Screen Share Duration In Seconds",
            )
            .optional(),
            date("reportRefreshDate", "Report Refresh Date")
                .null()
                .volatile(),
            text("reportPeriod", "Report Period").optional().volatile(),
        ],
        ..FILE
    },
    Report::new("getTeamsUserActivityUserDetail")
        .period(PERIOD)
        .user("userPrincipalName"),
);

/// One row for each user of Teams.
/// <https://learn.microsoft.com/graph/api/reportroot-getteamsdeviceusageuserdetail>
pub(super) const TEAMS_DEVICE_USAGE: GraphDataset = usage(
    "on which kinds of devices each user used Teams",
    Reply {
        name: "teamsDeviceUsage",
        columns: &[
            text("userPrincipalName", "User Principal Name").key(),
            bool("isDeleted", "Is Deleted").key(),
            date("deletedDate", "Deleted Date").null(),
            date("lastActivityDate", "Last Activity Date").null(),
            bool("usedWeb", "Used Web").optional(),
            bool("usedWindowsPhone", "Used Windows Phone").optional(),
            bool("usedIOS", "Used iOS").optional(),
            bool("usedMac", "Used Mac").optional(),
            bool("usedAndroidPhone", "Used Android Phone").optional(),
            bool("usedWindows", "Used Windows").optional(),
            bool("usedChromeOS", "Used Chrome OS").optional(),
            bool("usedLinux", "Used Linux").optional(),
            bool("isLicensed", "Is Licensed").optional(),
            date("reportRefreshDate", "Report Refresh Date")
                .null()
                .volatile(),
            text("reportPeriod", "Report Period").optional().volatile(),
        ],
        ..FILE
    },
    Report::new("getTeamsDeviceUsageUserDetail")
        .period(PERIOD)
        .user("userPrincipalName"),
);

/// One row for each user with a mailbox.
/// <https://learn.microsoft.com/graph/api/reportroot-getemailactivityuserdetail>
pub(super) const EMAIL_ACTIVITY: GraphDataset = usage(
    "how many mails each user sent, received and read",
    Reply {
        name: "emailActivity",
        columns: &[
            text("userPrincipalName", "User Principal Name").key(),
            bool("isDeleted", "Is Deleted").key(),
            date("deletedDate", "Deleted Date").null(),
            text("displayName", "Display Name").null(),
            date("lastActivityDate", "Last Activity Date").null(),
            int("sendCount", "Send Count").optional(),
            int("receiveCount", "Receive Count").optional(),
            int("readCount", "Read Count").optional(),
            int("meetingCreatedCount", "Meeting Created Count")
                .or("Meeting Created")
                .optional(),
            int("meetingInteractedCount", "Meeting Interacted Count")
                .or("Meeting Interacted")
                .optional(),
            text("assignedProducts", "Assigned Products").optional(),
            date("reportRefreshDate", "Report Refresh Date")
                .null()
                .volatile(),
            text("reportPeriod", "Report Period").optional().volatile(),
        ],
        ..FILE
    },
    Report::new("getEmailActivityUserDetail")
        .period(PERIOD)
        .user("userPrincipalName"),
);

/// One row for each user with a mailbox. What the columns of the apps hold, no page says; they are
/// kept as they come.
/// <https://learn.microsoft.com/graph/api/reportroot-getemailappusageuserdetail>
pub(super) const EMAIL_APP_USAGE: GraphDataset = usage(
    "with which apps each user read mail",
    Reply {
        name: "emailAppUsage",
        columns: &[
            text("userPrincipalName", "User Principal Name").key(),
            bool("isDeleted", "Is Deleted").key(),
            date("deletedDate", "Deleted Date").null(),
            text("displayName", "Display Name").null(),
            date("lastActivityDate", "Last Activity Date").null(),
            text("mailForMac", "Mail For Mac").optional(),
            text("outlookForMac", "Outlook For Mac").optional(),
            text("outlookForWindows", "Outlook For Windows").optional(),
            text("outlookForMobile", "Outlook For Mobile").optional(),
            text("otherForMobile", "Other For Mobile").optional(),
            text("outlookForWeb", "Outlook For Web").optional(),
            text("pop3App", "POP3 App").optional(),
            text("imap4App", "IMAP4 App").optional(),
            text("smtpApp", "SMTP App").optional(),
            date("reportRefreshDate", "Report Refresh Date")
                .null()
                .volatile(),
            text("reportPeriod", "Report Period").optional().volatile(),
        ],
        ..FILE
    },
    Report::new("getEmailAppUsageUserDetail")
        .period(PERIOD)
        .user("userPrincipalName"),
);

/// One row for each user of OneDrive.
/// <https://learn.microsoft.com/graph/api/reportroot-getonedriveactivityuserdetail>
pub(super) const ONE_DRIVE_ACTIVITY: GraphDataset = usage(
    "what each user did in OneDrive",
    Reply {
        name: "oneDriveActivity",
        columns: &[
            text("userPrincipalName", "User Principal Name").key(),
            bool("isDeleted", "Is Deleted").key(),
            date("deletedDate", "Deleted Date").null(),
            date("lastActivityDate", "Last Activity Date").null(),
            int("viewedOrEditedFileCount", "Viewed Or Edited File Count").optional(),
            int("syncedFileCount", "Synced File Count").optional(),
            int("sharedInternallyFileCount", "Shared Internally File Count").optional(),
            int("sharedExternallyFileCount", "Shared Externally File Count").optional(),
            text("assignedProducts", "Assigned Products").optional(),
            date("reportRefreshDate", "Report Refresh Date")
                .null()
                .volatile(),
            text("reportPeriod", "Report Period").optional().volatile(),
        ],
        ..FILE
    },
    Report::new("getOneDriveActivityUserDetail")
        .period(PERIOD)
        .user("userPrincipalName"),
);

/// One row for each OneDrive. Its key is the id of the site, or the address in files that have none.
/// <https://learn.microsoft.com/graph/api/reportroot-getonedriveusageaccountdetail>
///
/// Addresses of sites come empty: <https://github.com/microsoftgraph/msgraph-sdk-powershell/issues/2382>.
pub(super) const ONE_DRIVE_USAGE: GraphDataset = usage(
    "size and last use of each OneDrive",
    Reply {
        name: "oneDriveUsage",
        columns: &[
            text("siteId", "Site Id").or("Site URL").key(),
            text("siteUrl", "Site URL").optional(),
            text("ownerPrincipalName", "Owner Principal Name").optional(),
            text("ownerDisplayName", "Owner Display Name").optional(),
            bool("isDeleted", "Is Deleted").null(),
            date("lastActivityDate", "Last Activity Date").null(),
            int("fileCount", "File Count").optional(),
            int("activeFileCount", "Active File Count").optional(),
            int("storageUsedInBytes", "Storage Used (Byte)").optional(),
            int("storageAllocatedInBytes", "Storage Allocated (Byte)").optional(),
            date("reportRefreshDate", "Report Refresh Date")
                .null()
                .volatile(),
            text("reportPeriod", "Report Period").optional().volatile(),
        ],
        ..Reply::NEW
    },
    Report::new("getOneDriveUsageAccountDetail")
        .period(PERIOD)
        .user("ownerPrincipalName"),
);

/// One row for each user of SharePoint.
/// <https://learn.microsoft.com/graph/api/reportroot-getsharepointactivityuserdetail>
pub(super) const SHARE_POINT_ACTIVITY: GraphDataset = usage(
    "what each user did in SharePoint",
    Reply {
        name: "sharePointActivity",
        columns: &[
            text("userPrincipalName", "User Principal Name").key(),
            bool("isDeleted", "Is Deleted").key(),
            date("deletedDate", "Deleted Date").null(),
            date("lastActivityDate", "Last Activity Date").null(),
            int("viewedOrEditedFileCount", "Viewed Or Edited File Count").optional(),
            int("syncedFileCount", "Synced File Count").optional(),
            int("sharedInternallyFileCount", "Shared Internally File Count").optional(),
            int("sharedExternallyFileCount", "Shared Externally File Count").optional(),
            int("visitedPageCount", "Visited Page Count").optional(),
            text("assignedProducts", "Assigned Products").optional(),
            date("reportRefreshDate", "Report Refresh Date")
                .null()
                .volatile(),
            text("reportPeriod", "Report Period").optional().volatile(),
        ],
        ..FILE
    },
    Report::new("getSharePointActivityUserDetail")
        .period(PERIOD)
        .user("userPrincipalName"),
);

/// One row for each site. Addresses come empty; the id is what stays.
/// <https://learn.microsoft.com/graph/api/reportroot-getsharepointsiteusagedetail>
pub(super) const SHARE_POINT_SITE_USAGE: GraphDataset = usage(
    "size and last use of each site of SharePoint",
    Reply {
        name: "sharePointSiteUsage",
        columns: &[
            text("siteId", "Site Id").key(),
            text("siteUrl", "Site URL").optional(),
            text("ownerPrincipalName", "Owner Principal Name").optional(),
            text("ownerDisplayName", "Owner Display Name").optional(),
            bool("isDeleted", "Is Deleted").null(),
            date("lastActivityDate", "Last Activity Date").null(),
            int("fileCount", "File Count").optional(),
            int("activeFileCount", "Active File Count").optional(),
            int("pageViewCount", "Page View Count").optional(),
            int("visitedPageCount", "Visited Page Count").optional(),
            int("storageUsedInBytes", "Storage Used (Byte)").optional(),
            int("storageAllocatedInBytes", "Storage Allocated (Byte)").optional(),
            text("rootWebTemplate", "Root Web Template").optional(),
            date("reportRefreshDate", "Report Refresh Date")
                .null()
                .volatile(),
            text("reportPeriod", "Report Period").optional().volatile(),
        ],
        ..Reply::NEW
    },
    Report::new("getSharePointSiteUsageDetail")
        .period(PERIOD)
        .user("ownerPrincipalName"),
);
