//! What is read, declared as data.

use connector_core::{DatasetInfo, Duplicates, Result, Schema};
use connector_http::decode::Reply;

use crate::cloud::Cloud;

/// What the columns of a collection are declared from: [`Reply::ODATA`], where an object that moves
/// from one page to another while they are read may be there twice, and one of its rows is kept.
pub const LIST: Reply = Reply {
    duplicates: Duplicates::KeepGreatest,
    ..Reply::ODATA
};

/// What those of a single object are declared from.
pub const OBJECT: Reply = Reply {
    duplicates: Duplicates::KeepGreatest,
    ..Reply::NEW
};

/// What those of a file are declared from, where a key may repeat.
pub const FILE: Reply = OBJECT;

/// One data set of Graph, declared as a constant.
///
/// ```
/// use connector_graph::{Call, Collection, GraphDataset, LIST, group};
/// use connector_graph::decode::{Reply, text, int};
///
/// pub const DETECTED_APPS: GraphDataset = GraphDataset {
///     category: "Software",
///     about: "programs found on devices, each with the number of devices",
///     permissions: &["DeviceManagementManagedDevices.Read.All"],
///     reply: Reply {
///         name: "detectedApps",
///         columns: &[
///             text("id", "id").key(),
///             text("displayName", "displayName").null(),
///             int("sizeInByte", "sizeInByte").zero_is_null(),
///         ],
///         ..LIST
///     },
///     call: Call::Collection(Collection::new("deviceManagement/detectedApps").top(1000)),
///     group: group::DEVICES,
///     ..GraphDataset::NEW
/// }
/// .checked();
/// assert_eq!(DETECTED_APPS.name(), "detectedApps");
/// ```
///
/// [`checked`](Self::checked) runs in the compiler.
#[derive(Debug, Clone, Copy)]
pub struct GraphDataset {
    /// The category that a person chooses by.
    pub category: &'static str,

    /// What its rows are about, for people.
    pub about: &'static str,

    /// The least application permissions, all of which are needed.
    pub permissions: &'static [&'static str],

    /// The columns. Its name is the data set's. It is made from [`LIST`] where collections are read,
    /// and else from [`OBJECT`] or [`FILE`].
    pub reply: Reply<'static>,

    /// The call that gives the rows.
    pub call: Call,

    /// The version of Graph that has it. Default: [`Version::V1`].
    pub version: Version,

    /// The clouds that offer it. Default: all.
    pub clouds: &'static [Cloud],

    /// Properties that a cloud does not know: they are not asked for there, since that is refused,
    /// and their columns are null. Default: none.
    pub lacks: &'static [(Cloud, &'static str)],

    /// The limit that its requests count against, one of [`group`](crate::group). Default: the empty
    /// name. Each usage report counts for itself.
    pub group: &'static str,
}

/// How the rows of a data set are asked for.
#[derive(Debug, Clone, Copy)]
pub enum Call {
    /// A collection, page by page.
    Collection(Collection),
    /// One object, by its path below the version: `admin/reportSettings`.
    Single(&'static str),
    /// A pass over a collection for ids, and then one call for each of them.
    Each(Each),
    /// A file that Intune makes on request.
    Export(Export),
    /// A usage report.
    Report(Report),
}

/// A collection, and what is asked of it besides the columns.
#[derive(Debug, Clone, Copy)]
pub struct Collection {
    pub(crate) path: &'static str,
    pub(crate) top: u32,
    pub(crate) filter: &'static str,
    pub(crate) expand: &'static str,
    pub(crate) headers: &'static [(&'static str, &'static str)],
    pub(crate) select: bool,
}

impl Collection {
    /// Takes the path below the version: `deviceManagement/managedDevices`.
    pub const fn new(path: &'static str) -> Self {
        Self {
            path,
            top: 0,
            filter: "",
            expand: "",
            headers: &[],
            select: true,
        }
    }

    /// Sets how many objects a page has at most (`$top`). Default: as many as the service likes.
    #[must_use]
    pub const fn top(mut self, top: u32) -> Self {
        self.top = top;
        self
    }

    /// Sets which objects are asked for (`$filter`). Default: all.
    #[must_use]
    pub const fn filter(mut self, filter: &'static str) -> Self {
        self.filter = filter;
        self
    }

    /// Sets which related objects come along (`$expand`). Default: none.
    #[must_use]
    pub const fn expand(mut self, expand: &'static str) -> Self {
        self.expand = expand;
        self
    }

    /// Sets headers that go along with each page, names in lower case. Default: none.
    #[must_use]
    pub const fn headers(mut self, headers: &'static [(&'static str, &'static str)]) -> Self {
        self.headers = headers;
        self
    }

    /// Leaves `$select` out: for collections that take none, and for columns that are of a derived
    /// type, which can't be selected on a collection of its base.
    #[must_use]
    pub const fn whole(mut self) -> Self {
        self.select = false;
        self
    }
}

/// A pass over a collection for ids, and one call for each.
///
/// Where the declaration's rows come from a collection ([`Reply::ODATA`]), that is walked for each
/// id; otherwise one object is asked for. Columns that are
/// [given](connector_http::decode::given) are the id. An object that is not there any more (404) has
/// no row.
#[derive(Debug, Clone, Copy)]
pub struct Each {
    pub(crate) of: Collection,
    pub(crate) path: &'static str,
    pub(crate) select: bool,
}

impl Each {
    /// Takes the collection, and the path for one id, in which `{id}` stands for it.
    pub const fn new(of: Collection, path: &'static str) -> Self {
        Self {
            of,
            path,
            select: true,
        }
    }

    /// Leaves `$select` out of the call for one id.
    #[must_use]
    pub const fn whole(mut self) -> Self {
        self.select = false;
        self
    }
}

/// A file that Intune makes on request: `deviceManagement/reports/exportJobs`.
///
/// The paths of the columns are the names that are asked for, and the headers; where a header is
/// another, it goes into [`or`](connector_http::decode::ReplyColumn::or).
#[derive(Debug, Clone, Copy)]
pub struct Export {
    pub(crate) report: &'static str,
    pub(crate) filter: &'static str,
}

impl Export {
    /// Takes the report's name.
    pub const fn new(report: &'static str) -> Self {
        Self { report, filter: "" }
    }

    /// Sets which rows are asked for. Default: all.
    #[must_use]
    pub const fn filter(mut self, filter: &'static str) -> Self {
        self.filter = filter;
        self
    }
}

/// A usage report: a function below `reports` that redirects to a CSV file.
///
/// The paths of the columns are the headers.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    pub(crate) function: &'static str,
    pub(crate) period: Option<&'static str>,
    pub(crate) user: Option<&'static str>,
}

impl Report {
    /// Takes the function's name: `getOffice365ActivationsUserDetail`.
    pub const fn new(function: &'static str) -> Self {
        Self {
            function,
            period: None,
            user: None,
        }
    }

    /// Sets the time that it is about: `D7`, `D30`, `D90` or `D180`. Default: none, for a function
    /// that takes none.
    #[must_use]
    pub const fn period(mut self, period: &'static str) -> Self {
        self.period = Some(period);
        self
    }

    /// Names the column that holds the name of a user or site, so that concealed names are found.
    /// Default: none.
    #[must_use]
    pub const fn user(mut self, column: &'static str) -> Self {
        self.user = Some(column);
        self
    }
}

/// A version of Graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    /// `v1.0`
    #[default]
    V1,
    /// `beta`, which may change; read only where the setting `beta` says so.
    Beta,
}

impl Version {
    /// Returns it as it stands in addresses.
    pub const fn path(self) -> &'static str {
        match self {
            Self::V1 => "v1.0",
            Self::Beta => "beta",
        }
    }
}

impl GraphDataset {
    /// What a declaration takes its defaults from. It has no columns and no call.
    pub const NEW: Self = Self {
        category: "",
        about: "",
        permissions: &[],
        reply: Reply::NEW,
        call: Call::Single(""),
        version: Version::V1,
        clouds: Cloud::ALL,
        lacks: &[],
        group: "",
    };

    /// Checks the declaration, its [`Reply`] included.
    ///
    /// # Panics
    ///
    /// When it is wrong; in a constant that is a compile error.
    #[must_use]
    pub const fn checked(mut self) -> Self {
        self.reply = self.reply.checked();
        assert!(!self.category.is_empty(), "a data set has no category");
        assert!(!self.about.is_empty(), "a data set is about nothing");
        assert!(
            !self.permissions.is_empty(),
            "a data set needs no permission"
        );
        assert!(!self.clouds.is_empty(), "no cloud offers the data set");
        let is_list = !self.reply.list.is_empty();
        let has_path = match self.call {
            Call::Collection(collection) => {
                assert!(is_list, "a collection is declared from Reply::ODATA");
                !collection.path.is_empty()
            }
            Call::Single(path) => {
                assert!(!is_list, "a single object is declared from Reply::NEW");
                !path.is_empty()
            }
            Call::Each(each) => !each.path.is_empty() && !each.of.path.is_empty(),
            Call::Export(Export { report, .. }) => {
                assert!(!is_list, "a file is declared from Reply::NEW");
                !report.is_empty()
            }
            Call::Report(report) => {
                assert!(!is_list, "a file is declared from Reply::NEW");
                !report.function.is_empty()
            }
        };
        assert!(has_path, "a data set has no call");
        self
    }

    /// Returns the name.
    pub const fn name(&self) -> &'static str {
        self.reply.name
    }

    /// Returns the path of a collection or an object below the version; files have none.
    pub const fn path(&self) -> Option<&'static str> {
        match self.call {
            Call::Collection(Collection { path, .. })
            | Call::Single(path)
            | Call::Each(Each { path, .. }) => Some(path),
            Call::Export(_) | Call::Report(_) => None,
        }
    }

    /// Returns name and category.
    pub const fn info(&self) -> DatasetInfo {
        DatasetInfo::new(self.reply.name, self.category)
    }

    /// Returns the columns as a schema has them.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Data`](connector_core::ErrorKind::Data) when the declaration is wrong, which
    /// one that was [checked](Self::checked) is not.
    pub fn schema(&self) -> Result<Schema> {
        self.reply.schema()
    }

    /// Tells whether a cloud offers it.
    pub fn is_offered_in(&self, cloud: Cloud) -> bool {
        self.clouds.contains(&cloud)
    }

    /// Returns the properties, or columns of a file, that are asked for in a cloud: `$select`.
    pub fn select(&self, cloud: Cloud) -> Vec<&'static str> {
        let is_file = matches!(self.call, Call::Export(_) | Call::Report(_));
        let mut names = Vec::new();
        for column in self
            .reply
            .columns
            .iter()
            .filter(|column| !column.is_given())
        {
            let path = column.path();
            let name = match path.split_once('/') {
                Some((first, _)) if !is_file => first,
                _ => path,
            };
            let lacks = self.lacks.contains(&(cloud, name));
            // Annotations come by themselves.
            if !lacks && !name.contains('@') && !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Says in short how it is asked for, for people: `GET /v1.0/users`, `export AppInvRawData`.
    pub fn call_text(&self) -> String {
        let version = self.version.path();
        match self.call {
            Call::Collection(collection) => format!("GET /{version}/{}", collection.path),
            Call::Single(path) | Call::Each(Each { path, .. }) => format!("GET /{version}/{path}"),
            Call::Export(export) => format!("export {}", export.report),
            Call::Report(report) => format!("report {}", report.function),
        }
    }
}
