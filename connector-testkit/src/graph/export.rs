//! Export jobs: created, asked after, and downloaded as a zip archive of one CSV file.
//! <https://learn.microsoft.com/intune/device-management/reports/export-graph-apis>

use serde_json::{Value as Json, json};

use super::{
    file,
    refusal::{bad_request, refused},
};
use crate::http::HttpReply;

/// A report that can be exported, and its columns.
#[derive(Debug, Clone)]
#[must_use]
pub struct GraphExport {
    pub(super) name: String,
    columns: Vec<Column>,
    needs: Option<String>,
    pub(super) polls: u32,
    pub(super) rows: Vec<Json>,
}

#[derive(Debug, Clone)]
struct Column {
    name: String,
    header: String,
    localized: bool,
}

/// A job that was created.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) report: String,
    pub(super) select: Vec<String>,
    pub(super) polls: u32,
    pub(super) end: JobEnd,
    /// Where its file is, once it has one.
    pub(super) file: Option<String>,
    request: Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JobEnd {
    Completed,
    Failed,
    /// In progress for ever.
    Stuck,
}

impl GraphExport {
    /// Takes the report's name and the columns that it knows. A job is done when it is asked after
    /// for the second time.
    pub fn new<'a>(name: &str, columns: impl IntoIterator<Item = &'a str>) -> Self {
        let columns = columns.into_iter().map(|name| Column {
            name: name.to_owned(),
            header: name.to_owned(),
            localized: false,
        });
        Self {
            name: name.to_owned(),
            columns: columns.collect(),
            needs: None,
            polls: 2,
            rows: Vec::new(),
        }
    }

    /// Sets the header of a column where that is not its name, as in `Devices` and
    /// `DevicesWithInventory`.
    pub fn header(mut self, column: &str, header: &str) -> Self {
        for known in &mut self.columns {
            if known.name == column {
                header.clone_into(&mut known.header);
            }
        }
        self
    }

    /// Writes the column a second time, with `_loc` behind its name, for people to read.
    pub fn localized(mut self, column: &str) -> Self {
        for known in &mut self.columns {
            known.localized |= known.name == column;
        }
        self
    }

    /// Refuses a job whose filter does not name this column.
    pub fn needs_filter(mut self, column: &str) -> Self {
        self.needs = Some(column.to_owned());
        self
    }

    /// Sets how often a job is asked after until it is done.
    pub fn polls(mut self, polls: u32) -> Self {
        self.polls = polls.max(1);
        self
    }

    /// Creates a job, from the body of a request. The default of `select` is not promised to stay
    /// as it is, so one without is refused here.
    pub(super) fn job(&self, body: &Json, end: JobEnd) -> Result<Job, HttpReply> {
        let select: Option<Vec<_>> = body["select"].as_array().map(|names| {
            let names = names.iter().filter_map(Json::as_str);
            names.map(str::to_owned).collect()
        });
        let select = select.filter(|names| !names.is_empty());
        let Some(select) = select else {
            return Err(bad_request("this script wants columns to be selected"));
        };
        for name in &select {
            if !self.columns.iter().any(|column| column.name == *name) {
                return Err(invalid(&format!("Invalid column name: {name}")));
            }
        }
        if !matches!(body["format"].as_str(), None | Some("csv")) {
            return Err(bad_request("this script exports as csv"));
        }
        let filter = body["filter"].as_str().unwrap_or_default();
        if let Some(needed) = &self.needs
            && !filter.contains(needed.as_str())
        {
            return Err(invalid(&format!("Filter column is missing: {needed}")));
        }
        Ok(Job {
            report: self.name.clone(),
            select,
            polls: 0,
            end,
            file: None,
            request: body.clone(),
        })
    }

    /// Writes the file of a job: the columns that were asked for, in that order.
    pub(super) fn archive(&self, id: &str, select: &[String]) -> Vec<u8> {
        let columns: Vec<_> = select
            .iter()
            .filter_map(|name| self.columns.iter().find(|column| column.name == *name))
            .collect();
        let localized: Vec<_> = columns
            .iter()
            .map(|column| format!("{}_loc", column.header))
            .collect();
        let mut headers = Vec::new();
        for (column, localized) in columns.iter().zip(&localized) {
            headers.push(column.header.as_str());
            if column.localized {
                headers.push(localized);
            }
        }
        let rows = self.rows.iter().map(|row| {
            let mut cells = Vec::new();
            for column in &columns {
                let cell = file::text(&row[column.name.as_str()]);
                if column.localized {
                    cells.push(cell.clone());
                }
                cells.push(cell);
            }
            cells
        });
        file::zip(&format!("{id}.csv"), &file::csv(headers, rows))
    }
}

fn invalid(message: &str) -> HttpReply {
    refused(
        400,
        "BadRequest",
        &json!({ "Message": message }).to_string(),
    )
}

impl Job {
    /// Returns the job as a reply shows it.
    pub(super) fn shown(&self, id: &str, url: Option<&str>, state: &str) -> Json {
        let expires = match url {
            Some(_) => "2026-11-21T06:00:00.0000000Z",
            None => "0001-01-01T00:00:00Z",
        };
        json!({
            "@odata.context": "https://graph.microsoft.com/v1.0/$metadata#deviceManagement/\
                reports/exportJobs/$entity",
            "id": id,
            "reportName": self.report,
            "filter": self.request["filter"],
            "select": self.select,
            "format": "csv",
            "snapshotId": null,
            "localizationType": "localizedValuesAsAdditionalColumn",
            "status": state,
            "url": url,
            "requestDateTime": "2026-11-21T00:00:00.0000000Z",
            "expirationDateTime": expires,
        })
    }
}
