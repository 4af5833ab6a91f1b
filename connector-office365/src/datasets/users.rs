//! Users, and when they signed in last.

use connector_graph::{
    Call, Collection, GraphDataset, LIST,
    decode::{Reply, bool, text, time},
    group,
};

use super::{SIGN_INS, USERS as CATEGORY};

/// One row for each user, guests too. `userPrincipalName` changes over time, `id` never does.
/// <https://learn.microsoft.com/graph/api/resources/user>
///
/// No property is asked for that holds a secret (`passwordProfile`), that a collection refuses
/// (`skills`), or that needs a right of its own (`employeeLeaveDateTime`).
pub(super) const USERS: GraphDataset = GraphDataset {
    category: CATEGORY,
    about: "users of the tenant, guests too",
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
            text("mailNickname", "mailNickname").null(),
            text("proxyAddresses", "proxyAddresses").joined(";").null(),
            text("otherMails", "otherMails").joined(";").null(),
            bool("accountEnabled", "accountEnabled").null(),
            text("userType", "userType").null(),
            text("creationType", "creationType").null(),
            text("externalUserState", "externalUserState").null(),
            text("jobTitle", "jobTitle").null(),
            text("department", "department").null(),
            text("companyName", "companyName").null(),
            text("officeLocation", "officeLocation").null(),
            text("city", "city").null(),
            text("state", "state").null(),
            text("country", "country").null(),
            text("usageLocation", "usageLocation").null(),
            text("preferredLanguage", "preferredLanguage").null(),
            text("businessPhones", "businessPhones").joined(";").null(),
            text("mobilePhone", "mobilePhone").null(),
            text("employeeId", "employeeId").null(),
            text("employeeType", "employeeType").null(),
            time("employeeHireDate", "employeeHireDate").year_one_is_null(),
            text("division", "employeeOrgData/division").null(),
            text("costCenter", "employeeOrgData/costCenter").null(),
            time("createdDateTime", "createdDateTime").year_one_is_null(),
            bool("onPremisesSyncEnabled", "onPremisesSyncEnabled").null(),
            text("onPremisesSamAccountName", "onPremisesSamAccountName").null(),
            text("onPremisesDomainName", "onPremisesDomainName").null(),
            text("onPremisesUserPrincipalName", "onPremisesUserPrincipalName").null(),
            text("onPremisesImmutableId", "onPremisesImmutableId").null(),
            text(
                "onPremisesSecurityIdentifier",
                "onPremisesSecurityIdentifier",
            )
            .null(),
            text("onPremisesDistinguishedName", "onPremisesDistinguishedName").null(),
            time("onPremisesLastSyncDateTime", "onPremisesLastSyncDateTime")
                .year_one_is_null()
                .volatile(),
        ],
        ..LIST
    },
    call: Call::Collection(Collection::new("users").top(999)),
    group: group::DIRECTORY,
    ..GraphDataset::NEW
}
.checked();

/// One row for each user: when somebody last tried to sign in as them, and when that last went
/// well. Null for who never did, and for what was before these times were kept: April 2020, and
/// December 2023 for `lastSuccessfulSignInDateTime`.
/// <https://learn.microsoft.com/graph/api/resources/signinactivity>
///
/// In a pass of its own, because a page has 120 users then, and its requests count against the
/// limit of sign-in reports: 100,000 users take half an hour.
/// <https://github.com/microsoftgraph/msgraph-sdk-powershell/issues/1898>
pub(super) const SIGN_IN_ACTIVITY: GraphDataset = GraphDataset {
    category: SIGN_INS,
    about: "when each user signed in last; needs a licence of Entra ID P1 or P2",
    permissions: &["AuditLog.Read.All", "User.Read.All"],
    reply: Reply {
        name: "signInActivity",
        columns: &[
            text("userId", "id").key(),
            time("lastSignInDateTime", "signInActivity/lastSignInDateTime").year_one_is_null(),
            time(
                "lastNonInteractiveSignInDateTime",
                "signInActivity/lastNonInteractiveSignInDateTime",
            )
            .year_one_is_null(),
            time(
                "lastSuccessfulSignInDateTime",
                "signInActivity/lastSuccessfulSignInDateTime",
            )
            .year_one_is_null(),
        ],
        ..LIST
    },
    call: Call::Collection(Collection::new("users").top(120)),
    group: group::SIGN_INS,
    ..GraphDataset::NEW
}
.checked();
