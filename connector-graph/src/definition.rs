//! A data set as it is read: the declaration, and what a person set about it.

use connector_core::{DatasetInfo, Error, ErrorKind, Result};

use crate::{
    cloud::Cloud,
    config::{GraphConfig, Override},
    dataset::{Call, Collection, GraphDataset, Version},
};

#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) declared: &'static GraphDataset,
    pub(crate) info: DatasetInfo,
    own: Override,
    /// The properties or columns that are asked for.
    pub(crate) select: Vec<&'static str>,
    /// Why it is not read here, where it is not.
    pub(crate) absent: Option<String>,
}

impl Definition {
    pub(crate) fn new(declared: &'static GraphDataset, config: &GraphConfig) -> Result<Self> {
        let own = config
            .overrides
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(declared.name()))
            .map(|(_, own)| own.clone())
            .unwrap_or_default();
        let mut select = declared.select(config.cloud);
        leave_out(declared, &own, &mut select)?;
        if own.period.is_some() && !matches!(declared.call, Call::Report(_)) {
            return Err(wrong(declared, "`period` is for usage reports"));
        }
        if own.filter.is_some() && matches!(declared.call, Call::Single(_) | Call::Report(_)) {
            return Err(wrong(declared, "`filter` is for collections and exports"));
        }
        Ok(Self {
            declared,
            info: declared.info(),
            absent: absent(declared, config.cloud, config.beta),
            own,
            select,
        })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.declared.name()
    }

    /// Returns a declared path, report or function, or what a person set instead.
    pub(crate) fn path<'a>(&'a self, declared: &'a str) -> &'a str {
        self.own.path.as_deref().unwrap_or(declared)
    }

    pub(crate) fn filter<'a>(&'a self, declared: &'a str) -> &'a str {
        self.own.filter.as_deref().unwrap_or(declared)
    }

    pub(crate) fn period<'a>(&'a self, declared: &'a str) -> &'a str {
        self.own.period.as_deref().unwrap_or(declared)
    }

    /// Returns `$select`, if there is one.
    pub(crate) fn select(&self, is_selected: bool) -> Option<String> {
        (is_selected && !self.select.is_empty()).then(|| self.select.join(","))
    }

    /// Returns the options of a query for pages of a collection.
    pub(crate) fn options(
        &self,
        collection: &Collection,
        select: Option<&str>,
        top: u32,
    ) -> Vec<(&'static str, String)> {
        let mut options = Vec::new();
        let mut add = |name, value: &str| {
            if !value.is_empty() {
                options.push((name, value.to_owned()));
            }
        };
        add("$select", select.unwrap_or_default());
        add("$expand", collection.expand);
        add("$filter", self.filter(collection.filter));
        if top > 0 {
            add("$top", &top.to_string());
        }
        options
    }
}

/// Takes columns out that a person named.
fn leave_out(declared: &GraphDataset, own: &Override, select: &mut Vec<&str>) -> Result<()> {
    for name in &own.without {
        let mut columns = declared.reply.columns.iter();
        let column = columns
            .find(|column| column.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| {
                let message = format!("`without` names the column {name}, which is none");
                wrong(declared, &message)
            })?;
        if !column.is_nullable() || column.is_given() {
            let message = format!("`without` names the column {name}, which is needed");
            return Err(wrong(declared, &message));
        }
        // Columns within one property are asked for as one.
        let own = |path: &str| path.split('/').next() == column.path().split('/').next();
        select.retain(|path| !own(path));
    }
    Ok(())
}

fn absent(declared: &GraphDataset, cloud: Cloud, beta: bool) -> Option<String> {
    if !declared.is_offered_in(cloud) {
        return Some(format!("not offered in the cloud `{}`", cloud.name()));
    }
    (declared.version == Version::Beta && !beta)
        .then(|| "it is in Graph's version beta only: `beta = true` reads that".to_owned())
}

fn wrong(declared: &GraphDataset, message: &str) -> Error {
    Error::new(ErrorKind::Config, format!("override: {message}")).with("data set", declared.name())
}
