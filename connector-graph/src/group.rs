//! The limits that Graph publishes, by the names that requests count under.
//!
//! <https://learn.microsoft.com/graph/throttling-limits>. The figures are ceilings and no promises:
//! what a service asks for with 429 is kept to besides.

use std::time::Duration;

use connector_http::{Quota, Service};

/// Intune's devices: `managedDevices`, `detectedApps`, endpoint analytics.
pub const DEVICES: &str = "Intune devices";

/// Intune's apps, policies and everything else of it.
pub const CONFIGURATION: &str = "Intune configuration";

/// Intune's export jobs.
pub const EXPORTS: &str = "Intune exports";

/// Users, groups, licences.
pub const DIRECTORY: &str = "directory";

/// Sign-ins and audit, to which listing `signInActivity` counts as well.
pub const SIGN_INS: &str = "sign-ins";

/// What is known of Graph before it is asked.
pub(crate) const SERVICE: Service = Service::new("Microsoft Graph")
    .request_id("client-request-id")
    .reply_ids(&[
        "request-id",
        "client-request-id",
        "x-ms-ags-diagnostic",
        "date",
    ])
    .quotas(&[
        (DEVICES, Quota::new(2_000, Duration::from_secs(20))),
        (CONFIGURATION, Quota::new(1_000, Duration::from_secs(20))),
        (EXPORTS, Quota::new(48, Duration::from_mins(1))),
        (SIGN_INS, Quota::new(5, Duration::from_secs(10))),
    ]);
