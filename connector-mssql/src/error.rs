//! What the server's errors mean to a caller.
//!
//! Numbers: <https://learn.microsoft.com/en-us/sql/relational-databases/errors-events/database-engine-events-and-errors>

use connector_core::{Error, ErrorKind, Retry};

use crate::{
    browser::BrowserError,
    config::{Encryption, SqlServerConfig},
    driver::{DriverError, ServerError, tls_explained},
};

/// Snapshots are not allowed, whatever the catalogue said.
pub(crate) const NO_SNAPSHOT: u32 = 3952;

/// Messages that show a value of a row.
const SHOW_VALUES: [u32; 12] = [
    220, 232, 241, 242, 244, 245, 248, 295, 2601, 2627, 8114, 8115,
];

/// Turns an error of the driver into one for callers. `sql` is what was asked, of `object`.
pub(crate) fn explain(
    error: DriverError,
    config: &SqlServerConfig,
    sql: Option<&str>,
    object: Option<&str>,
) -> Error {
    let explained = match error {
        DriverError::Server(error) => server(&error, config, object),
        DriverError::Resolve(cause) => Error::new(
            ErrorKind::Unavailable,
            "the name of the server is not known; is `server` right, and does DNS know it?",
        )
        .with_source(cause),
        DriverError::Connect(cause) => Error::new(
            ErrorKind::Unavailable,
            "the server does not answer: it may be down, listen on another port, have TCP/IP \
             switched off, or a firewall is in between",
        )
        .with_source(cause),
        DriverError::Browser(BrowserError::NoTcp) => Error::new(
            ErrorKind::Config,
            "SQL Server Browser says that the instance has TCP/IP switched off: switch it on",
        ),
        DriverError::Browser(error) => Error::new(
            ErrorKind::Unavailable,
            "SQL Server Browser did not tell the port of the instance: it may be off, UDP port \
             1434 closed, or the instance's name wrong; write `server = \"host\\INSTANCE,port\"` \
             and nobody is asked",
        )
        .with_source(error),
        DriverError::Open(error) => open(error, config.encrypt),
        DriverError::Ended(cause) => Error::new(
            ErrorKind::Incomplete,
            format!("the connection to the server ended: {cause}"),
        )
        .with_retry(Retry::Backoff),
        DriverError::Protocol(cause) => Error::new(
            ErrorKind::Incomplete,
            format!("the server's reply can't be understood: {cause}"),
        )
        .with_retry(Retry::Backoff),
        DriverError::SignIn(cause) => Error::new(
            ErrorKind::Auth,
            format!("the way to sign in failed: {cause}"),
        ),
        DriverError::Redirected => Error::new(
            ErrorKind::Unavailable,
            "the server sent to another one, which sent to yet another",
        ),
    };
    let explained = explained.with("server", &config.server);
    match sql {
        Some(sql) => explained.with("query", sql),
        None => explained,
    }
}

fn open(error: crate::driver::OpenError, encrypt: Encryption) -> Error {
    use crate::driver::OpenError as E;
    match error {
        E::Io(cause) => Error::new(
            ErrorKind::Unavailable,
            "the connection ended before the login: the network broke, the port is another \
             service's, or the server takes nothing but `encrypt = \"strict\"`",
        )
        .with_source(cause),
        E::NotTds => Error::new(
            ErrorKind::Config,
            "what answers on that port is not SQL Server",
        ),
        E::NoEncryption => Error::new(
            ErrorKind::Config,
            "the server does not encrypt, and nothing is sent in clear text: give it a certificate",
        ),
        E::Tls(cause) => match tls_explained(&cause) {
            Some(why) => Error::new(ErrorKind::Config, why).with_source(cause),
            None if encrypt == Encryption::Strict => Error::new(
                ErrorKind::Unavailable,
                "the connection ended while TLS was agreed on: a server older than 2022 does not \
                 know `encrypt = \"strict\"`, for which `required` is meant",
            )
            .with_source(cause),
            None => Error::new(
                ErrorKind::Unavailable,
                "the connection ended while TLS was agreed on: the server may know only versions \
                 that are no longer safe, or take nothing but `encrypt = \"strict\"`",
            )
            .with_source(cause),
        },
    }
}

fn server(error: &ServerError, config: &SqlServerConfig, object: Option<&str>) -> Error {
    let (kind, retry, advice) = meaning(error, config, object);
    let shown = if SHOW_VALUES.contains(&error.number) {
        format!("error {}", error.number)
    } else {
        error.to_string()
    };
    let message = match advice {
        Some(advice) => format!("{advice}; SQL Server says: {shown}"),
        None => format!("SQL Server says: {shown}"),
    };
    Error::new(kind, message).with_retry(retry)
}

fn meaning(
    error: &ServerError,
    config: &SqlServerConfig,
    object: Option<&str>,
) -> (ErrorKind, Retry, Option<String>) {
    let told = |kind, retry, advice: &str| (kind, retry, Some(advice.to_owned()));
    match error.number {
        208 => told(
            ErrorKind::NotFound,
            Retry::Never,
            "the database lacks an object",
        ),
        207 => told(
            ErrorKind::Source,
            Retry::Never,
            "the object lacks a column, or an expression names none of it",
        ),
        229 | 230 | 262 | 297 | 300 => {
            let grant = match object {
                Some(object) => format!("GRANT SELECT ON {object} TO [the login's user]"),
                None => "GRANT SELECT ON the objects of the query TO [the login's user]".to_owned(),
            };
            (
                ErrorKind::Permission,
                Retry::Never,
                Some(format!(
                    "the login may not read it; a database administrator runs: {grant}"
                )),
            )
        }
        916 => told(
            ErrorKind::Permission,
            Retry::Never,
            "the login has no user in the database; a database administrator runs CREATE USER there",
        ),
        4060 => (
            ErrorKind::Config,
            Retry::Never,
            Some(format!(
                "there is no database {}, or the login has no user in it",
                config.database
            )),
        ),
        // Repeating a wrong password locks the account.
        18_456 => told(
            ErrorKind::Auth,
            Retry::Never,
            "the login was refused: user or password is wrong, or SQL logins are switched off",
        ),
        18_452 => told(
            ErrorKind::Auth,
            Retry::Never,
            "the server does not trust the account's domain, or Kerberos fell back to NTLM: check \
             the server's principal names (setspn -L)",
        ),
        18_450 | 18_451 | 18_458..=18_463 | 18_470 | 18_486..=18_488 => {
            (ErrorKind::Auth, Retry::Never, None)
        }
        1205 | 601 | 3961 => told(
            ErrorKind::Source,
            Retry::Backoff,
            "somebody else's work was in the way",
        ),
        1222 => told(
            ErrorKind::Source,
            Retry::Backoff,
            "somebody else held a lock for longer than `lock_timeout`",
        ),
        701 | 8645 | 8651 => told(
            ErrorKind::Source,
            Retry::Backoff,
            "the server is short of memory",
        ),
        NO_SNAPSHOT => told(
            ErrorKind::Source,
            Retry::Backoff,
            "the database does not allow snapshots",
        ),
        978 => told(
            ErrorKind::Config,
            Retry::Never,
            "the secondary takes readers only: set `read_only_intent = true`",
        ),
        976 | 983 | 4221 => told(
            ErrorKind::Unavailable,
            Retry::Backoff,
            "the replica can't be read now",
        ),
        40_501 | 10_928 | 10_929 | 49_918..=49_920 => told(
            ErrorKind::RateLimited,
            Retry::Backoff,
            "Azure asks for patience",
        ),
        40_197 | 40_613 => told(
            ErrorKind::Unavailable,
            Retry::Backoff,
            "the database is not there for now; a paused one takes a minute to start",
        ),
        468 => told(
            ErrorKind::Source,
            Retry::Never,
            "two columns of different collations are compared: add COLLATE to the query",
        ),
        // From 20 on the server ends the connection.
        _ if error.class >= 20 => (ErrorKind::Unavailable, Retry::Backoff, None),
        _ => (ErrorKind::Source, Retry::Never, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(number: u32, message: &str) -> Error {
        let config = SqlServerConfig::new("cm01".parse().unwrap(), "CM_CAS");
        let server = ServerError {
            number,
            class: 16,
            state: 1,
            message: message.to_owned(),
        };
        let error = DriverError::Server(server);
        explain(error, &config, Some("SELECT 1"), Some("[dbo].[v_Site]"))
    }

    #[test]
    fn errors_by_number() {
        use ErrorKind as K;
        for (number, kind, retry) in [
            (208, K::NotFound, Retry::Never),
            (207, K::Source, Retry::Never),
            (229, K::Permission, Retry::Never),
            (4060, K::Config, Retry::Never),
            (18_456, K::Auth, Retry::Never),
            (18_452, K::Auth, Retry::Never),
            (18_486, K::Auth, Retry::Never),
            (1205, K::Source, Retry::Backoff),
            (1222, K::Source, Retry::Backoff),
            (601, K::Source, Retry::Backoff),
            (3961, K::Source, Retry::Backoff),
            (701, K::Source, Retry::Backoff),
            (976, K::Unavailable, Retry::Backoff),
            (978, K::Config, Retry::Never),
            (40_501, K::RateLimited, Retry::Backoff),
            (40_613, K::Unavailable, Retry::Backoff),
            (50_000, K::Source, Retry::Never),
        ] {
            let error = error(number, "x");
            assert_eq!((error.kind(), error.retry()), (kind, retry), "{number}");
            let text = error.to_string();
            assert!(text.contains("query: SELECT 1"), "{text}");
        }
    }

    #[test]
    fn a_missing_right_says_what_to_grant() {
        let text = error(229, "denied").to_string();
        assert!(text.contains("GRANT SELECT ON [dbo].[v_Site]"), "{text}");
    }

    #[test]
    fn no_value_of_a_row_is_shown() {
        let text = error(245, "Conversion failed when converting 'canary'").to_string();
        assert!(!text.contains("canary") && text.contains("245"), "{text}");
    }
}
