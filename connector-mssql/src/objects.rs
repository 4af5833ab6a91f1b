//! What a declaration reads, for who gives rights or shows it to people.

use connector_core::Type;

use crate::{
    dataset::SqlDataset,
    name::{plain_column, references, split_alias},
};

/// An object that a [`SqlDataset`] reads, with its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadObject {
    /// The name as it is declared, without alias: `v_R_System` or `MonitorData.Session`.
    pub name: &'static str,
    /// The columns that are named, in no order that matters, and what they are read as; in an
    /// expression that is no more than a guess.
    pub columns: Vec<(String, Type)>,
}

impl SqlDataset {
    /// Returns the objects that its statements read, those of `instead` not among them.
    pub fn objects(&self) -> Vec<ReadObject> {
        let (from, first) = split_alias(self.from);
        let mut aliased = vec![(from, first)];
        aliased.extend(self.parts.iter().map(|part| split_alias(part.from)));
        let joined = self.joins.iter().map(|join| split_alias(join.object));
        aliased.extend(joined.filter(|(object, _)| !object.starts_with('(')));
        let mut named = Named::default();
        for column in self.columns {
            if let Some((alias, name)) = plain_column(column.expression()) {
                named.add(alias, name, Some(column.ty()));
            }
        }
        for column in self.columns {
            for (alias, name) in references(column.expression()) {
                named.add(alias, name, Some(column.ty()));
            }
        }
        let conditions = self.joins.iter().map(|join| join.on);
        let range = self.range.map(|range| range.column);
        for text in conditions.chain([self.filter]).chain(range) {
            for (alias, name) in references(text) {
                named.add(alias, name, None);
            }
        }
        let mut objects: Vec<_> = aliased
            .into_iter()
            .map(|(object, alias)| ReadObject {
                name: object,
                columns: named.of(alias),
            })
            .collect();
        if let Some((list, column)) = self
            .range
            .and_then(|range| range.keys)
            .and_then(|(list, _)| list.rsplit_once('.'))
        {
            let ty = self.range.and_then(|range| {
                let (alias, name) = plain_column(range.column)?;
                named.ty(&alias, &name)
            });
            match objects.iter_mut().find(|object| object.name == list) {
                Some(object) if object.columns.iter().any(|(name, _)| name == column) => {}
                Some(object) => object
                    .columns
                    .push((column.to_owned(), ty.unwrap_or(Type::Int))),
                None => objects.push(ReadObject {
                    name: list,
                    columns: vec![(column.to_owned(), ty.unwrap_or(Type::Int))],
                }),
            }
        }
        objects
    }
}

/// The columns that a declaration names by alias.
#[derive(Default)]
struct Named(Vec<(String, String, Option<Type>)>);

impl Named {
    fn add(&mut self, alias: String, name: String, ty: Option<Type>) {
        let known = self.0.iter().any(|(a, n, _)| *a == alias && *n == name);
        if !known {
            self.0.push((alias, name, ty));
        }
    }

    fn ty(&self, alias: &str, name: &str) -> Option<Type> {
        let same = self.0.iter().find(|(a, n, _)| a == alias && n == name);
        // What a condition compares is mostly called the same on both sides.
        let twin = || self.0.iter().find(|(_, n, ty)| n == name && ty.is_some());
        same.and_then(|(.., ty)| *ty)
            .or_else(|| twin().and_then(|(.., ty)| *ty))
    }

    fn of(&self, alias: &str) -> Vec<(String, Type)> {
        let own = self.0.iter().filter(|(a, ..)| a == alias);
        own.map(|(a, name, _)| (name.clone(), self.ty(a, name).unwrap_or(Type::Int)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{Range, int, join, left_join, part, text};

    const MEMBERS: SqlDataset = SqlDataset {
        name: "Members",
        from: "Members m",
        columns: &[
            text("Group", "m.[Group]").key(),
            int("Bits", "32").key(),
            int("Kind", "ISNULL(m.Kind, 0)"),
            text("Owner", "o.Owner").optional(),
        ],
        joins: &[
            left_join("own.Owners o", "o.[Group] = m.[Group] AND o.Rank = 1"),
            join("(SELECT x.y FROM {m} x) q", "q.y = m.Kind"),
        ],
        parts: &[part("Members64 m", &[("Bits", "64")])],
        filter: "m.Deleted = 0",
        range: Some(Range::of("m.Group").keys("Groups.Id", 3)),
        ..SqlDataset::NEW
    }
    .checked();

    #[test]
    fn every_object_is_named_with_its_columns() {
        let objects = MEMBERS.objects();
        let columns = |name: &str| {
            let object = objects.iter().find(|object| object.name == name).unwrap();
            let mut columns = object.columns.clone();
            columns.sort_by(|a, b| a.0.cmp(&b.0));
            columns
        };
        let column = |name: &str, ty| (name.to_owned(), ty);
        let own = [
            column("Deleted", Type::Int),
            column("Group", Type::Text),
            column("Kind", Type::Int),
        ];
        assert_eq!(objects.len(), 4);
        assert_eq!(columns("Members"), own);
        assert_eq!(columns("Members64"), own);
        let owners = [
            column("Group", Type::Text),
            column("Owner", Type::Text),
            column("Rank", Type::Int),
        ];
        assert_eq!(columns("own.Owners"), owners);
        assert_eq!(columns("Groups"), [column("Id", Type::Text)]);
    }
}
