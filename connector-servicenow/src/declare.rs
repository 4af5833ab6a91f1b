//! What is read, declared as data.

use connector_core::DatasetInfo;

/// One data set of an instance, declared as a constant.
///
/// A declaration names fields. Their types are those of the instance's own dictionary, since an
/// instance may add, rename and re-type any; a field that it does not have is no column.
///
/// ```
/// use connector_servicenow::{ServiceNowDataset, field};
///
/// const STOCKROOMS: ServiceNowDataset = ServiceNowDataset {
///     name: "stockrooms",
///     category: "Assets",
///     table: "alm_stockroom",
///     about: "rooms where assets are kept",
///     role: "asset",
///     fields: &[field("name"), field("location"), field("last_counted").volatile()],
/// }
/// .checked();
/// # let _ = STOCKROOMS;
/// ```
///
/// [`checked`](Self::checked) runs in the compiler.
#[derive(Debug, Clone, Copy)]
pub struct ServiceNowDataset {
    /// The name.
    pub name: &'static str,

    /// The category that a person chooses by.
    pub category: &'static str,

    /// The table. Its rows are those of the tables that extend it, too.
    pub table: &'static str,

    /// What its rows are about, for people.
    pub about: &'static str,

    /// A role that may read the table, for messages: which roles do is up to the instance's access
    /// controls.
    pub role: &'static str,

    /// The fields besides `sys_id`, which is the key, and what each record has:
    /// `sys_created_on`, `sys_updated_on` and `sys_mod_count`.
    pub fields: &'static [Field],
}

/// A field of a declared data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    pub(crate) name: &'static str,
    pub(crate) volatile: bool,
}

/// Declares a field by its name.
pub const fn field(name: &'static str) -> Field {
    Field {
        name,
        volatile: false,
    }
}

/// What each record has and each declared data set reads.
pub(crate) const RECORD: &[Field] = &[
    field("sys_created_on"),
    field("sys_updated_on").volatile(),
    field("sys_mod_count").volatile(),
];

/// Fields that move when nothing else did, whichever table they are in.
pub(crate) fn is_stamp(name: &str) -> bool {
    name == "sys_updated_by"
        || RECORD
            .iter()
            .any(|field| field.volatile && field.name == name)
}

impl Field {
    /// Marks a field that moves when nothing else did: its value travels with an event and never
    /// causes one.
    #[must_use]
    pub const fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// Returns the name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Tells whether it moves when nothing else did.
    pub const fn is_volatile(&self) -> bool {
        self.volatile
    }
}

impl ServiceNowDataset {
    /// Checks the declaration.
    ///
    /// # Panics
    ///
    /// When it is wrong; in a constant that is a compile error.
    #[must_use]
    pub const fn checked(self) -> Self {
        assert!(!self.name.is_empty(), "a data set has no name");
        assert!(!self.category.is_empty(), "a data set has no category");
        assert!(!self.table.is_empty(), "a data set has no table");
        assert!(!self.about.is_empty(), "a data set is about nothing");
        assert!(!self.role.is_empty(), "a data set has no role");
        let mut i = 0;
        while i < self.fields.len() {
            let name = self.fields[i].name.as_bytes();
            assert!(!name.is_empty(), "a field has no name");
            assert!(!same(name, b"sys_id"), "`sys_id` is read anyway");
            let mut j = 0;
            while j < RECORD.len() {
                assert!(
                    !same(name, RECORD[j].name.as_bytes()),
                    "a field that each record has is read anyway"
                );
                j += 1;
            }
            let mut j = 0;
            while j < i {
                assert!(
                    !same(name, self.fields[j].name.as_bytes()),
                    "a field is repeated"
                );
                j += 1;
            }
            i += 1;
        }
        self
    }

    /// Returns name and category.
    pub const fn info(&self) -> DatasetInfo {
        DatasetInfo::new(self.name, self.category)
    }

    /// Returns the fields that are columns besides `sys_id`, in their order.
    pub fn columns(&self) -> impl Iterator<Item = &'static Field> {
        self.fields.iter().chain(RECORD)
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
