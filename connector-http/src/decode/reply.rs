//! Rows of replies, declared as data.

use connector_core::{Column, Duplicates, Gone, Result, Schema, Type, schema};

/// What the rows of one data set look like and where in a reply they come from, declared as a
/// constant.
///
/// ```
/// use connector_http::decode::{Reply, int, text, time};
///
/// /// One row for each service plan of each user.
/// pub const USER_PLANS: Reply = Reply {
///     name: "user_plans",
///     each: "assignedPlans",
///     columns: &[
///         text("user_id", "id").key(),
///         text("plan_id", "assignedPlans/servicePlanId").key(),
///         text("state", "assignedPlans/capabilityStatus").null(),
///         time("assigned_at", "assignedPlans/assignedDateTime").year_one_is_null(),
///     ],
///     ..Reply::ODATA
/// }
/// .checked();
/// assert_eq!(USER_PLANS.select(), "id,assignedPlans");
/// # let _ = int("", "");
/// ```
///
/// A *path* names a member of the record, with `/` between the names of objects that stand in each
/// other, as OData has it; a dot is part of a name (`@odata.type`, and what `ServiceNow` calls
/// dot-walking). In a CSV file it is the header, whole.
///
/// [`checked`](Self::checked) runs in the compiler: a declaration without a key, with a nullable or
/// volatile key column, with a repeated name or a malformed path does not compile:
///
/// ```compile_fail
/// use connector_http::decode::{Reply, text};
///
/// const WRONG: Reply = Reply {
///     name: "users",
///     columns: &[text("id", "id")],
///     ..Reply::ODATA
/// }
/// .checked();
/// # let _ = WRONG;
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    /// The data set's name, for messages.
    pub name: &'a str,

    /// The path of the records in the reply: an array of objects, or one object. Default: empty,
    /// and the reply itself is that.
    pub list: &'a str,

    /// The path of the link or token of the next page. Default: empty, for none.
    pub next: &'a str,

    /// The path of the number of all records. Default: empty, for none.
    pub count: &'a str,

    /// The path of what makes a reply a failure although its status says otherwise, unless it is
    /// null. Default: empty, for none.
    pub error: &'a str,

    /// The path of an array in a record of which each element becomes a row, with columns of the
    /// record beside its own (whose paths begin with this one; where elements are no objects, the
    /// path is this one). A record where it is missing, null or empty gives no row. Default: empty,
    /// and each record is a row.
    pub each: &'a str,

    /// The columns, in the order in which rows are written.
    pub columns: &'a [ReplyColumn<'a>],

    /// What happens with differing rows under one key. Default: [`Duplicates::Fail`].
    pub duplicates: Duplicates,

    /// What happens with a row that a complete read no longer holds. Default: [`Gone::Delete`].
    pub gone: Gone,
}

impl Reply<'_> {
    /// What a declaration takes its defaults from. It has no name and no columns.
    pub const NEW: Self = Self {
        name: "",
        list: "",
        next: "",
        count: "",
        error: "",
        each: "",
        columns: &[],
        duplicates: Duplicates::Fail,
        gone: Gone::Delete,
    };

    /// The same for a collection as OData 4 has it (JSON Format 4.01, sections 4 and 13): records
    /// in `value`, the next page's link in `@odata.nextLink`, their number in `@odata.count`.
    pub const ODATA: Self = Self {
        list: "value",
        next: "@odata.nextLink",
        count: "@odata.count",
        error: "error",
        ..Self::NEW
    };

    /// Checks the declaration.
    ///
    /// # Panics
    ///
    /// When it is wrong; in a constant that is a compile error.
    #[must_use]
    pub const fn checked(self) -> Self {
        assert!(!self.name.is_empty(), "a data set has no name");
        assert!(
            is_path(self.list) && is_path(self.next) && is_path(self.count) && is_path(self.error),
            "a path has an empty name"
        );
        assert!(is_path(self.each), "the path of `each` has an empty name");
        assert!(
            !self.list.is_empty()
                || self.next.is_empty() && self.count.is_empty() && self.error.is_empty(),
            "a reply that is itself the records has no place for a link, a number or an error"
        );
        let mut has_key = false;
        let mut i = 0;
        while i < self.columns.len() {
            let column = &self.columns[i];
            assert!(!column.name.is_empty(), "a column has no name");
            assert!(
                column.given || !column.path.is_empty(),
                "a column has no path"
            );
            assert!(
                !(column.key && column.nullable),
                "a key column can't be null or optional"
            );
            assert!(
                !(column.key && column.volatile),
                "a key column can't be volatile"
            );
            has_key |= column.key;
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

    /// Returns the columns as a schema has them, with the policies.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Data`](connector_core::ErrorKind::Data) when the declaration is wrong, which
    /// one that was [checked](Self::checked) is not.
    pub fn schema(&self) -> Result<Schema> {
        let schema = Schema::new(self.columns.iter().map(ReplyColumn::column))
            .map_err(|error| error.with("data set", self.name))?;
        Ok(schema.with_duplicates(self.duplicates).with_gone(self.gone))
    }

    /// Returns what to ask for: the first names of all paths, each once, with commas between. That
    /// is `$select` of OData. Annotations (`@odata.type`) come by themselves.
    pub fn select(&self) -> String {
        let mut names: Vec<&str> = Vec::new();
        let paths = self.columns.iter().filter(|column| !column.given);
        for path in paths.map(|column| column.path) {
            let name = path.split('/').next().unwrap_or_default();
            if !name.contains('@') && !names.contains(&name) {
                names.push(name);
            }
        }
        names.join(",")
    }

    /// Returns the path within an element of `each`, of a column that comes from there.
    pub(crate) fn within_element<'p>(&self, path: &'p str) -> Option<&'p str> {
        if self.each.is_empty() {
            return None;
        }
        match path.strip_prefix(self.each)? {
            "" => Some(""),
            rest => rest.strip_prefix('/'),
        }
    }
}

/// One column of a [`Reply`]: what it is called, what it holds, and where in a record it stands.
///
/// A value of another kind than the column's is an error: a number where text is declared, text
/// where a number is, unless [`from_text`](Self::from_text) or [`to_text`](Self::to_text) says so.
/// In a CSV file everything is text, and an empty cell is null in a column that can be.
#[derive(Debug, Clone, Copy)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one word of a declaration, and any of them go together"
)]
pub struct ReplyColumn<'a> {
    pub(crate) name: &'a str,
    pub(crate) path: &'a str,
    pub(crate) ty: Type,
    pub(crate) instead: [Option<&'a str>; 2],
    pub(crate) key: bool,
    pub(crate) nullable: bool,
    pub(crate) volatile: bool,
    pub(crate) optional: bool,
    pub(crate) given: bool,
    pub(crate) from_text: bool,
    pub(crate) to_text: bool,
    pub(crate) or_empty: bool,
    pub(crate) utc: bool,
    pub(crate) joined: Option<&'a str>,
    pub(crate) member: Option<&'a str>,
    pub(crate) unknown: Unknown<'a>,
}

/// What stands for "not known".
#[derive(Debug, Clone, Copy, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one word of a declaration, and any of them go together"
)]
pub(crate) struct Unknown<'a> {
    pub(crate) zero: bool,
    pub(crate) minus_one: bool,
    pub(crate) year_one: bool,
    pub(crate) empty: bool,
    pub(crate) texts: &'a [&'a str],
}

impl<'a> ReplyColumn<'a> {
    /// Makes it part of the key.
    #[must_use]
    pub const fn key(mut self) -> Self {
        self.key = true;
        self
    }

    /// Lets it be null. In a JSON reply, a member that is missing is null too; a CSV file without
    /// the header is still an error; see [`optional`](Self::optional).
    #[must_use]
    pub const fn null(mut self) -> Self {
        self.nullable = true;
        self
    }

    /// Lets it be null, and lets a CSV file lack its header: it is then null in every row.
    #[must_use]
    pub const fn optional(mut self) -> Self {
        self.nullable = true;
        self.optional = true;
        self
    }

    /// Marks a column that moves when nothing else did: its value travels with an event and never
    /// causes one.
    #[must_use]
    pub const fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// Turns a timestamp into one whose zone is not known.
    ///
    /// # Panics
    ///
    /// On a column of another type; in a constant that is a compile error.
    #[must_use]
    pub const fn local(mut self) -> Self {
        assert!(
            matches!(self.ty, Type::Timestamp),
            "only a timestamp can be local"
        );
        self.ty = Type::LocalTimestamp;
        self
    }

    /// Takes a timestamp that says no offset for one in UTC, which the product documents it to be.
    ///
    /// # Panics
    ///
    /// On a column of another type; in a constant that is a compile error.
    #[must_use]
    pub const fn utc(mut self) -> Self {
        assert!(
            matches!(self.ty, Type::Timestamp),
            "only a timestamp can be in UTC"
        );
        self.utc = true;
        self
    }

    /// Names another header to take when a CSV file lacks the first: an older or newer spelling.
    /// There may be two, of which the first that is there is taken.
    ///
    /// # Panics
    ///
    /// When there are more; in a constant that is a compile error.
    #[must_use]
    pub const fn or(mut self, header: &'a str) -> Self {
        match self.instead {
            [None, _] => self.instead[0] = Some(header),
            [_, None] => self.instead[1] = Some(header),
            _ => panic!("a column has two other headers at most"),
        }
        self
    }

    /// Takes JSON text for the number or truth value that is written in it: `"42"`, `"true"`,
    /// `"Yes"`.
    #[must_use]
    pub const fn from_text(mut self) -> Self {
        self.from_text = true;
        self
    }

    /// Takes a number or a truth value of JSON for its text, as written.
    ///
    /// # Panics
    ///
    /// On a column that is not text; in a constant that is a compile error.
    #[must_use]
    pub const fn to_text(mut self) -> Self {
        assert!(matches!(self.ty, Type::Text), "only text can take a text");
        self.to_text = true;
        self
    }

    /// Takes null, or a member that is missing, for the empty text: for a part of a key that need not
    /// be there.
    ///
    /// # Panics
    ///
    /// On a column that is not text; in a constant that is a compile error.
    #[must_use]
    pub const fn or_empty(mut self) -> Self {
        assert!(matches!(self.ty, Type::Text), "only text can be empty");
        self.or_empty = true;
        self
    }

    /// Takes an array of texts (numbers, truth values) as one text with `separator` between them.
    /// Nulls are left out, and an empty array is the empty text.
    ///
    /// # Panics
    ///
    /// On a column that is not text; in a constant that is a compile error.
    #[must_use]
    pub const fn joined(mut self, separator: &'a str) -> Self {
        assert!(matches!(self.ty, Type::Text), "only text can be joined");
        self.joined = Some(separator);
        self
    }

    /// Takes an object for its member of that name, where one stands in place of a value:
    /// `ServiceNow` has a reference as text, or as an object with the text in it, by what was asked
    /// and by whether it refers to anything. An object without the member is one where it is missing.
    #[must_use]
    pub const fn member(mut self, name: &'a str) -> Self {
        self.member = Some(name);
        self
    }

    /// Takes 0 for "not known", which becomes null.
    ///
    /// # Panics
    ///
    /// On a column that is no number; in a constant that is a compile error.
    #[must_use]
    pub const fn zero_is_null(mut self) -> Self {
        assert!(is_number(self.ty), "only a number can be 0");
        self.nullable = true;
        self.unknown.zero = true;
        self
    }

    /// Takes −1 for "not known", which becomes null.
    ///
    /// # Panics
    ///
    /// On a column that is no number; in a constant that is a compile error.
    #[must_use]
    pub const fn minus_one_is_null(mut self) -> Self {
        assert!(is_number(self.ty), "only a number can be -1");
        self.nullable = true;
        self.unknown.minus_one = true;
        self
    }

    /// Takes the first day of the year 1 for "never", which becomes null: .NET writes its default
    /// date so, and Microsoft Graph sends it where a date can't be null.
    ///
    /// # Panics
    ///
    /// On a column that is no time; in a constant that is a compile error.
    #[must_use]
    pub const fn year_one_is_null(mut self) -> Self {
        assert!(
            matches!(self.ty, Type::Timestamp | Type::LocalTimestamp | Type::Date),
            "only a time has a year"
        );
        self.nullable = true;
        self.unknown.year_one = true;
        self
    }

    /// Takes empty text for null.
    #[must_use]
    pub const fn empty_is_null(mut self) -> Self {
        self.nullable = true;
        self.unknown.empty = true;
        self
    }

    /// Takes these texts for "not known", which becomes null: an identifier of zeros, `"(Unknown)"`.
    #[must_use]
    pub const fn null_where(mut self, texts: &'a [&'a str]) -> Self {
        self.nullable = true;
        self.unknown.texts = texts;
        self
    }

    /// Returns the name.
    pub const fn name(&self) -> &'a str {
        self.name
    }

    /// Returns the path; empty for a column that is [given](given).
    pub const fn path(&self) -> &'a str {
        self.path
    }

    /// Returns the type.
    pub const fn ty(&self) -> Type {
        self.ty
    }

    /// Tells whether it is part of the key.
    pub const fn is_key(&self) -> bool {
        self.key
    }

    /// Tells whether it may be null.
    pub const fn is_nullable(&self) -> bool {
        self.nullable
    }

    /// Tells whether its value comes from the walk and not from the reply.
    pub const fn is_given(&self) -> bool {
        self.given
    }

    /// Returns the column as a schema has it.
    pub fn column(&self) -> Column {
        let mut column = Column::new(self.name, self.ty);
        if self.key {
            column = column.key();
        }
        if self.nullable {
            column = column.null();
        }
        if self.volatile {
            column = column.volatile();
        }
        column
    }
}

const fn is_number(ty: Type) -> bool {
    matches!(ty, Type::Int | Type::Float | Type::Decimal { .. })
}

const fn declared<'a>(name: &'a str, path: &'a str, ty: Type) -> ReplyColumn<'a> {
    assert!(is_path(path), "a path has an empty name");
    ReplyColumn {
        name,
        path,
        ty,
        instead: [None; 2],
        key: false,
        nullable: false,
        volatile: false,
        optional: false,
        given: false,
        from_text: false,
        to_text: false,
        or_empty: false,
        utc: false,
        joined: None,
        member: None,
        unknown: Unknown {
            zero: false,
            minus_one: false,
            year_one: false,
            empty: false,
            texts: &[],
        },
    }
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $ty:expr;)*) => {$(
        $(#[$doc])*
        pub const fn $name<'a>(name: &'a str, path: &'a str) -> ReplyColumn<'a> {
            declared(name, path, $ty)
        }
    )*};
}

constructors! {
    /// Declares a [`Type::Bool`] column: `true` or `false`.
    bool => Type::Bool;
    /// Declares a [`Type::Int`] column: a number without point and exponent.
    int => Type::Int;
    /// Declares a [`Type::Float`] column: any number that a float holds.
    float => Type::Float;
    /// Declares a [`Type::Text`] column: text; names of enumerations stay as they are sent.
    text => Type::Text;
    /// Declares a [`Type::Bytes`] column: text in base64.
    bytes => Type::Bytes;
    /// Declares a [`Type::Timestamp`] column: a time with an offset, exact to 100 ns.
    /// [`ReplyColumn::local`] makes it one without a zone, [`ReplyColumn::utc`] one that needs no
    /// offset.
    time => Type::Timestamp;
    /// Declares a [`Type::Date`] column: `2024-05-31`.
    date => Type::Date;
    /// Declares a [`Type::Uuid`] column.
    uuid => Type::Uuid;
    /// Declares a [`Type::Json`] column: any value, kept whole.
    json => Type::Json;
}

/// Declares a [`Type::Decimal`] column of that many decimal places: a number without exponent.
///
/// # Panics
///
/// When there are more than 38 places; in a constant that is a compile error.
pub const fn decimal<'a>(name: &'a str, path: &'a str, scale: u8) -> ReplyColumn<'a> {
    assert!(
        scale <= connector_core::MAX_SCALE,
        "a decimal has 38 places at most"
    );
    declared(name, path, schema::decimal("", scale).ty())
}

/// Declares a column whose value is not in the reply: the walk gives it, such as the id of the app
/// whose devices are listed.
pub const fn given(name: &str, ty: Type) -> ReplyColumn<'_> {
    let mut column = declared(name, "", ty);
    column.given = true;
    column
}

/// Tells whether no name between its slashes is empty. The empty path has none.
const fn is_path(path: &str) -> bool {
    let path = path.as_bytes();
    let mut i = 0;
    let mut after_slash = !path.is_empty();
    while i < path.len() {
        if path[i] == b'/' {
            if after_slash {
                return false;
            }
            after_slash = true;
        } else {
            after_slash = false;
        }
        i += 1;
    }
    !after_slash
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
