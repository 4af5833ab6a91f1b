//! The data sets, declared as data.
//!
//! Properties are those of Graph's own metadata for v1.0
//! (<https://github.com/microsoftgraph/msgraph-metadata>), headers those of the pages that each
//! report has (<https://learn.microsoft.com/graph/api/resources/report>). Columns are called as
//! Graph calls them in JSON, those of reports too.

mod licenses;
mod usage;
mod users;

use connector_graph::GraphDataset;

const LICENSES: &str = "Licenses";
const USERS: &str = "Users";
const SIGN_INS: &str = "Sign-ins";
const USAGE: &str = "Usage";

/// All data sets.
pub static DATASETS: [GraphDataset; 20] = [
    licenses::SUBSCRIBED_SKUS,
    licenses::SERVICE_PLANS,
    licenses::SUBSCRIPTIONS,
    licenses::USER_LICENSES,
    licenses::LICENSE_ASSIGNMENTS,
    licenses::USER_PLANS,
    users::USERS,
    users::SIGN_IN_ACTIVITY,
    usage::ACTIVE_USERS,
    usage::ACTIVATIONS,
    usage::APP_USAGE,
    usage::MAILBOX_USAGE,
    usage::TEAMS_USER_ACTIVITY,
    usage::TEAMS_DEVICE_USAGE,
    usage::EMAIL_ACTIVITY,
    usage::EMAIL_APP_USAGE,
    usage::ONE_DRIVE_ACTIVITY,
    usage::ONE_DRIVE_USAGE,
    usage::SHARE_POINT_ACTIVITY,
    usage::SHARE_POINT_SITE_USAGE,
];
