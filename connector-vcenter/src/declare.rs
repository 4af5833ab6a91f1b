//! How data sets are declared.

use connector_core::{Column, Duplicates, Schema, Type};

use crate::api::ApiVersion;

/// A data set: where its rows come from, and what its columns are of each.
///
/// ```
/// use connector_vcenter::datasets;
///
/// let hosts = datasets().iter().find(|dataset| dataset.name == "hosts").unwrap();
/// assert!(hosts.columns.iter().any(|column| column.name() == "serial_number"));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct VcenterDataset {
    /// The name.
    pub name: &'static str,
    /// The group of data sets.
    pub category: &'static str,
    /// What its rows are, in a few words.
    pub about: &'static str,
    /// Whose properties are read.
    pub from: Origin,
    /// The property that is a list, of which each item is a row; empty where each object is one.
    pub each: &'static str,
    /// The columns, the key among them.
    pub columns: &'static [Property],
    /// What happens with differing rows under one key.
    pub duplicates: Duplicates,
}

/// Whose properties are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// All objects of a type below the root folder.
    Objects(&'static str),
    /// One of the managers that `ServiceContent` names.
    Manager {
        /// The field of `ServiceContent`.
        field: &'static str,
        /// The type.
        kind: &'static str,
    },
    /// What `QueryAssignedLicenses` of the `LicenseAssignmentManager` returns, an item a row.
    AssignedLicenses,
}

/// What a column is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// The server's `about.instanceUuid`.
    Vcenter,
    /// The object's id.
    Id,
    /// A property, by its path. What stands behind a slash is a path within its value, and `@type`
    /// the type of the object that is referred to. Where the path is that of
    /// [`VcenterDataset::each`], it goes on within an item.
    Property(&'static str),
    /// The names of the folders and datacenters above the object, and its own.
    FolderPath,
    /// The id of the datacenter above the object.
    FolderDatacenter,
}

/// A column. Null wherever the property is absent, unless it is part of the key.
#[derive(Debug, Clone, Copy)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a word of a declaration"
)]
pub struct Property {
    name: &'static str,
    ty: Type,
    pub(crate) take: Take,
    key: bool,
    volatile: bool,
    pub(crate) since: Option<ApiVersion>,
    pub(crate) joined: bool,
    pub(crate) unless_denied: bool,
}

impl Property {
    const fn new(name: &'static str, ty: Type, take: Take) -> Self {
        Self {
            name,
            ty,
            take,
            key: false,
            volatile: false,
            since: None,
            joined: false,
            unless_denied: false,
        }
    }

    /// Makes it part of the key.
    #[must_use]
    pub const fn key(mut self) -> Self {
        self.key = true;
        self
    }

    /// Marks what moves when nothing else did: it travels with a change and never is one.
    #[must_use]
    pub const fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// Says with which version of the API the property came. It is null where an older one is spoken.
    #[must_use]
    pub const fn since(mut self, major: u16, minor: u16) -> Self {
        self.since = Some(ApiVersion::new(major, minor));
        self
    }

    /// Puts values that are there several times together, with `; ` between them.
    #[must_use]
    pub const fn joined(mut self) -> Self {
        self.joined = true;
        self
    }

    /// Makes it null where the account may not read it, which is an error otherwise.
    #[must_use]
    pub const fn unless_denied(mut self) -> Self {
        self.unless_denied = true;
        self
    }

    /// Returns the name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Returns what it is taken from.
    pub const fn take(&self) -> Take {
        self.take
    }

    fn column(&self) -> Column {
        let mut column = Column::new(self.name, self.ty);
        if self.key {
            column = column.key();
        } else {
            column = column.null();
        }
        if self.volatile {
            column = column.volatile();
        }
        column
    }
}

impl VcenterDataset {
    /// What a declaration leaves out.
    pub(crate) const NEW: Self = Self {
        name: "",
        category: "",
        about: "",
        from: Origin::AssignedLicenses,
        each: "",
        columns: &[],
        duplicates: Duplicates::Fail,
    };

    /// Checks the declaration; in a constant a wrong one does not compile.
    pub(crate) const fn checked(self) -> Self {
        assert!(!self.name.is_empty(), "a data set has no name");
        let mut has_key = false;
        let mut i = 0;
        while i < self.columns.len() {
            let column = &self.columns[i];
            has_key |= column.key;
            assert!(
                !(column.key && column.volatile),
                "a key column can't be volatile"
            );
            let mut j = 0;
            while j < i {
                assert!(
                    !same(self.columns[j].name.as_bytes(), column.name.as_bytes()),
                    "a column's name is repeated"
                );
                j += 1;
            }
            i += 1;
        }
        assert!(has_key, "no column is part of the key");
        self
    }

    /// Returns the columns as rows have them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unexpected`](connector_core::ErrorKind::Unexpected) when the declaration is
    /// wrong, which none of this crate is.
    pub fn schema(&self) -> connector_core::Result<Schema> {
        let schema = Schema::new(self.columns.iter().map(Property::column))?;
        Ok(schema.with_duplicates(self.duplicates))
    }
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// Declares the column of the server's instance uuid, without which ids are not unique.
pub(crate) const fn vcenter() -> Property {
    Property::new("vcenter", Type::Uuid, Take::Vcenter).key()
}

/// Declares the column of the object's id.
pub(crate) const fn id(name: &'static str) -> Property {
    Property::new(name, Type::Text, Take::Id).key()
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $ty:ident;)*) => {$(
        $(#[$doc])*
        pub(crate) const fn $name(name: &'static str, path: &'static str) -> Property {
            Property::new(name, Type::$ty, Take::Property(path))
        }
    )*};
}

constructors! {
    /// Declares a column of text, or of ids.
    text => Text;
    /// Declares a column of whole numbers.
    int => Int;
    /// Declares a column of truth values.
    bool => Bool;
    /// Declares a column of moments.
    time => Timestamp;
    /// Declares a column of UUIDs.
    uuid => Uuid;
}

/// Declares the column of an object's place in the tree of folders.
pub(crate) const fn folder_path(name: &'static str) -> Property {
    Property::new(name, Type::Text, Take::FolderPath)
}

/// Declares the column of the datacenter that an object is in.
pub(crate) const fn folder_datacenter(name: &'static str) -> Property {
    Property::new(name, Type::Text, Take::FolderDatacenter)
}
