//! Settings of several structs in one table of a configuration file.
//!
//! `serde(flatten)` does not go together with `deny_unknown_fields`, and loses where in the file an
//! error is. Here each struct takes the settings that it knows from the one map, one by one, and
//! what none of them knows is an error that names it.

use serde::de::{self, MapAccess};

/// A struct that takes its settings from a table that it shares with others.
///
/// [`settings!`](crate::settings) implements it.
pub trait Settings: Default {
    /// The names of its settings.
    const NAMES: &'static [&'static str];

    /// Reads the value of a setting of that name; returns false when it has none of that name, and
    /// then leaves the value alone.
    ///
    /// # Errors
    ///
    /// What reading the value fails with.
    fn take<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error>;
}

/// Makes the error for a setting that neither a product nor what it shares knows.
pub fn unknown_setting<E: de::Error>(name: &str, own: &[&str], shared: &[&str]) -> E {
    let known: Vec<_> = own
        .iter()
        .chain(shared)
        .map(|name| format!("`{name}`"))
        .collect();
    E::custom(format!(
        "unknown field `{name}`, expected one of {}",
        known.join(", ")
    ))
}

/// Nothing to set.
impl Settings for () {
    const NAMES: &'static [&'static str] = &[];

    fn take<'de, A: MapAccess<'de>>(&mut self, _: &str, _: &mut A) -> Result<bool, A::Error> {
        Ok(false)
    }
}

/// Declares a struct of [`Settings`], each with its default.
///
/// ```
/// use connector_core::Settings;
///
/// connector_core::settings! {
///     /// What a person sets for this product, besides the server.
///     pub struct CitrixSettings {
///         /// Whether groomed rows are kept. Default: true.
///         pub keep_groomed: bool = true,
///     }
/// }
///
/// assert_eq!(CitrixSettings::NAMES, ["keep_groomed"]);
/// assert!(CitrixSettings::default().keep_groomed);
/// ```
#[macro_export]
macro_rules! settings {
    (
        $(#[$doc:meta])*
        pub struct $name:ident {
            $($(#[$field_doc:meta])* pub $field:ident: $ty:ty = $default:expr,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $ty,)*
        }

        impl ::std::default::Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $crate::Settings for $name {
            const NAMES: &'static [&'static str] = &[$(stringify!($field),)*];

            fn take<'de, A: $crate::serde::de::MapAccess<'de>>(
                &mut self,
                name: &str,
                map: &mut A,
            ) -> ::std::result::Result<bool, A::Error> {
                match name {
                    $(stringify!($field) => self.$field = map.next_value()?,)*
                    _ => return Ok(false),
                }
                Ok(true)
            }
        }
    };
}
