//! Usage reports: a redirect to a CSV file.
//! <https://learn.microsoft.com/graph/api/resources/report>

use serde_json::Value as Json;

use super::file;

/// A usage report, and its columns.
#[derive(Debug, Clone)]
#[must_use]
pub struct GraphReport {
    pub(super) function: String,
    headers: Vec<String>,
    pub(super) has_period: bool,
    pub(super) rows: Vec<Json>,
}

impl GraphReport {
    /// Takes the function's name, such as `getOffice365ActiveUserDetail`, and the headers of the
    /// file.
    pub fn new<'a>(function: &str, headers: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            function: function.to_owned(),
            headers: headers.into_iter().map(str::to_owned).collect(),
            has_period: true,
            rows: Vec::new(),
        }
    }

    /// Lets it be called without a period, as `getOffice365ActivationsUserDetail` is.
    pub fn without_period(mut self) -> Self {
        self.has_period = false;
        self
    }

    /// Tells whether that is what the function may be called with.
    pub(super) fn takes(&self, arguments: &str) -> bool {
        let periods = ["D7", "D30", "D90", "D180"];
        if self.has_period {
            let period = arguments.strip_prefix("period='");
            let period = period.and_then(|rest| rest.strip_suffix('\''));
            period.is_some_and(|period| periods.contains(&period))
        } else {
            arguments.is_empty()
        }
    }

    /// Writes the file.
    pub(super) fn file(&self) -> Vec<u8> {
        let rows = self.rows.iter().map(|row| {
            let cells = self.headers.iter();
            cells.map(|h| file::text(&row[h.as_str()])).collect()
        });
        file::csv(self.headers.iter().map(String::as_str), rows)
    }
}
