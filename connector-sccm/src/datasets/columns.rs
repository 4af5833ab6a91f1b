//! Lists of columns as the product's documents give them: by type, under the names of the view.

/// The columns of a data set, read from the object of that alias and called as they are there.
///
/// A group of columns starts with their type: one of [`connector_mssql::dataset`], `local` for a
/// timestamp whose zone nobody knows, or one in brackets after `key`, `needed` or `volatile`. All
/// but those of the first two may be null or missing: which columns a view has depends on the
/// product's version and on what a site collects. `other` columns stand in parentheses, written
/// out.
macro_rules! columns {
    ($alias:ident => $($kind:tt: $($name:tt),+;)+) => {
        &[$($(column!($alias $kind $name)),+),+]
    };
}

/// The same for a view of hardware inventory, whose alias is `i`: with the columns that all of
/// them have. What the client or the site stamps on a row moves when nothing else did.
macro_rules! inventory {
    ($($kind:tt: $($name:tt),+;)+) => {
        columns!(i =>
            [key int]: ResourceID, GroupID;
            $($kind: $($name),+;)+
            [volatile int]: RevisionID, AgentID;
            [volatile local]: TimeStamp;
        )
    };
}

macro_rules! column {
    ($alias:ident other ($column:expr)) => {
        $column
    };
    ($alias:ident [key $ty:ident] $name:ident) => {
        plain!($alias $ty $name).key()
    };
    ($alias:ident [needed $ty:ident] $name:ident) => {
        plain!($alias $ty $name).null()
    };
    ($alias:ident [volatile $ty:ident] $name:ident) => {
        plain!($alias $ty $name).optional().volatile()
    };
    ($alias:ident $ty:ident $name:ident) => {
        plain!($alias $ty $name).optional()
    };
}

macro_rules! plain {
    ($alias:ident local $name:ident) => {
        plain!($alias time $name).local()
    };
    ($alias:ident $ty:ident $name:ident) => {
        connector_mssql::dataset::$ty(
            stringify!($name),
            concat!(stringify!($alias), ".", stringify!($name)),
        )
    };
}
