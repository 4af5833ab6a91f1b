//! What was bought, and who has it.

use connector_graph::{
    Call, Collection, GraphDataset, LIST,
    decode::{Reply, bool, int, text, time, uuid},
    group,
};

use super::LICENSES;

const ORGANIZATION: &[&str] = &["Organization.Read.All"];
const USER: &[&str] = &["User.Read.All"];

/// So many users are on a page at most.
const LARGEST: u32 = 999;

/// One row for each product that was bought, with the numbers of units. What can be assigned is
/// `enabled` and `warning`; `consumedUnits` may be more.
/// <https://learn.microsoft.com/graph/api/resources/subscribedsku>
///
/// The service promises no options of a query here, so everything is asked for.
/// `prepaidUnits.lockedOut` is in the global cloud alone, and null elsewhere.
pub(super) const SUBSCRIBED_SKUS: GraphDataset = GraphDataset {
    category: LICENSES,
    about: "products that were bought, with the numbers of licences",
    permissions: ORGANIZATION,
    reply: Reply {
        name: "subscribedSkus",
        columns: &[
            text("id", "id").key(),
            uuid("skuId", "skuId").null(),
            text("skuPartNumber", "skuPartNumber").null(),
            text("accountId", "accountId").null(),
            text("accountName", "accountName").null(),
            text("appliesTo", "appliesTo").null(),
            text("capabilityStatus", "capabilityStatus").null(),
            int("consumedUnits", "consumedUnits").null(),
            int("enabledUnits", "prepaidUnits/enabled").null(),
            int("warningUnits", "prepaidUnits/warning").null(),
            int("suspendedUnits", "prepaidUnits/suspended").null(),
            int("lockedOutUnits", "prepaidUnits/lockedOut").null(),
            text("subscriptionIds", "subscriptionIds")
                .joined(";")
                .null(),
        ],
        ..LIST
    },
    call: Call::Collection(Collection::new("subscribedSkus").whole()),
    group: group::DIRECTORY,
    ..GraphDataset::NEW
}
.checked();

/// One row for each service that a product contains.
/// <https://learn.microsoft.com/graph/api/resources/serviceplaninfo>
pub(super) const SERVICE_PLANS: GraphDataset = GraphDataset {
    category: LICENSES,
    about: "services that each product contains",
    permissions: ORGANIZATION,
    reply: Reply {
        name: "servicePlans",
        each: "servicePlans",
        columns: &[
            text("subscribedSkuId", "id").key(),
            uuid("servicePlanId", "servicePlans/servicePlanId").key(),
            text("servicePlanName", "servicePlans/servicePlanName").null(),
            text("provisioningStatus", "servicePlans/provisioningStatus").null(),
            text("appliesTo", "servicePlans/appliesTo").null(),
        ],
        ..LIST
    },
    call: Call::Collection(Collection::new("subscribedSkus").whole()),
    group: group::DIRECTORY,
    ..GraphDataset::NEW
}
.checked();

/// One row for each subscription: until when it runs, and whether it is a trial.
/// <https://learn.microsoft.com/graph/api/resources/companysubscription>
pub(super) const SUBSCRIPTIONS: GraphDataset = GraphDataset {
    category: LICENSES,
    about: "subscriptions behind the products: terms, trials, renewals",
    permissions: ORGANIZATION,
    reply: Reply {
        name: "subscriptions",
        columns: &[
            text("id", "id").key(),
            text("commerceSubscriptionId", "commerceSubscriptionId").null(),
            text("skuId", "skuId").null(),
            text("skuPartNumber", "skuPartNumber").null(),
            text("status", "status").null(),
            bool("isTrial", "isTrial").null(),
            int("totalLicenses", "totalLicenses").null(),
            time("createdDateTime", "createdDateTime").year_one_is_null(),
            time("nextLifecycleDateTime", "nextLifecycleDateTime").year_one_is_null(),
            text("ownerId", "ownerId").null(),
            text("ownerTenantId", "ownerTenantId").null(),
            text("ownerType", "ownerType").null(),
        ],
        ..LIST
    },
    call: Call::Collection(Collection::new("directory/subscriptions").whole()),
    group: group::DIRECTORY,
    ..GraphDataset::NEW
}
.checked();

/// One row for each product that a user has, by a group too.
/// <https://learn.microsoft.com/graph/api/resources/assignedlicense>
///
/// With `servicePlans` less `disabledPlans` that is what `licenseDetails` says in one call a user.
pub(super) const USER_LICENSES: GraphDataset = GraphDataset {
    category: LICENSES,
    about: "products that each user has",
    permissions: USER,
    reply: Reply {
        name: "userLicenses",
        each: "assignedLicenses",
        columns: &[
            text("userId", "id").key(),
            uuid("skuId", "assignedLicenses/skuId").key(),
            text("disabledPlans", "assignedLicenses/disabledPlans")
                .joined(";")
                .null(),
        ],
        ..LIST
    },
    call: Call::Collection(Collection::new("users").top(LARGEST)),
    group: group::DIRECTORY,
    ..GraphDataset::NEW
}
.checked();

/// One row for each way in which a user has a product: directly, or by a group, with the error of
/// an assignment that failed. Twice the same product uses one unit.
/// <https://learn.microsoft.com/graph/api/resources/licenseassignmentstate>
///
/// `assignedByGroup` is part of the key, and empty for a direct assignment.
pub(super) const LICENSE_ASSIGNMENTS: GraphDataset = GraphDataset {
    category: LICENSES,
    about: "how each user came to each product: directly or by which group",
    permissions: USER,
    reply: Reply {
        name: "licenseAssignments",
        each: "licenseAssignmentStates",
        columns: &[
            text("userId", "id").key(),
            uuid("skuId", "licenseAssignmentStates/skuId").key(),
            text("assignedByGroup", "licenseAssignmentStates/assignedByGroup")
                .key()
                .or_empty(),
            text("state", "licenseAssignmentStates/state").null(),
            text("error", "licenseAssignmentStates/error").null(),
            text("disabledPlans", "licenseAssignmentStates/disabledPlans")
                .joined(";")
                .null(),
            time(
                "lastUpdatedDateTime",
                "licenseAssignmentStates/lastUpdatedDateTime",
            )
            .year_one_is_null(),
        ],
        ..LIST
    },
    call: Call::Collection(Collection::new("users").top(LARGEST)),
    group: group::DIRECTORY,
    ..GraphDataset::NEW
}
.checked();

/// One row for each service that a user has or had.
/// <https://learn.microsoft.com/graph/api/resources/assignedplan>
///
/// A service that was taken away stays in the list as `Deleted`, beside the same one that was given
/// again: so the status is part of the key.
pub(super) const USER_PLANS: GraphDataset = GraphDataset {
    category: LICENSES,
    about: "services that each user has or had",
    permissions: USER,
    reply: Reply {
        name: "userPlans",
        each: "assignedPlans",
        columns: &[
            text("userId", "id").key(),
            uuid("servicePlanId", "assignedPlans/servicePlanId").key(),
            text("capabilityStatus", "assignedPlans/capabilityStatus")
                .key()
                .or_empty(),
            text("service", "assignedPlans/service").null(),
            time("assignedDateTime", "assignedPlans/assignedDateTime").year_one_is_null(),
        ],
        ..LIST
    },
    call: Call::Collection(Collection::new("users").top(LARGEST)),
    group: group::DIRECTORY,
    ..GraphDataset::NEW
}
.checked();
