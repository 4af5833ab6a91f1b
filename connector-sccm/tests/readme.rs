//! The README's list of data sets is the one that the declarations make.

#![expect(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::{collections::BTreeSet, fmt::Write, fs, path::Path};

use connector_sccm::{
    Applications, Contents, DuplicatesBy, Patchs, SccmSettings, SettingsFrom,
    connector_mssql::{SqlDataset, dataset::SqlColumn},
    datasets,
};

const START: &str = "<!-- generated: ";
const END: &str = "<!-- end -->";

/// What `check` asks besides.
const SITE: [&str; 2] = ["v_Identification", "v_Site"];

fn names<'a>(columns: impl IntoIterator<Item = &'a SqlColumn>) -> String {
    let names = columns.into_iter().map(|column| {
        if column.is_volatile() {
            format!("*`{}`*", column.name())
        } else {
            format!("`{}`", column.name())
        }
    });
    names.collect::<Vec<_>>().join(", ")
}

fn objects(dataset: &SqlDataset) -> Vec<&'static str> {
    let mut objects: Vec<_> = dataset.objects().iter().map(|object| object.name).collect();
    objects.extend(dataset.instead);
    objects
}

/// The object that a data set is of, and what it takes in addition.
fn from(dataset: &SqlDataset) -> String {
    let list = "v_R_System";
    let own = dataset.from.split_once(' ').unwrap().0;
    let mut text = format!("`{own}`");
    let all = dataset.objects();
    let more = all.iter().map(|object| object.name);
    // Lists that ranges take their bounds from bring no rows.
    let bounds = |name: &str| dataset.range.is_some() && (name == list || name == "v_Collection");
    for name in more.filter(|name| *name != own && !bounds(name)) {
        write!(text, ", `{name}`").unwrap();
    }
    for name in dataset.instead {
        write!(text, ", or `{name}`").unwrap();
    }
    text
}

fn overview(all: &[SqlDataset]) -> String {
    let mut text = "## Data sets\n\n| data set | category | from | key | rows |\n\
                    | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for dataset in all {
        let key = names(dataset.columns.iter().filter(|column| column.is_key()));
        let (name, category, about) = (dataset.name, dataset.category, dataset.about);
        let optional = if dataset.optional { "; optional" } else { "" };
        let from = from(dataset);
        writeln!(
            text,
            "| `{name}` | `{category}` | {from} | {key} | {about}{optional} |"
        )
        .unwrap();
    }
    text
}

fn columns(all: &[SqlDataset]) -> String {
    let mut text = "## Columns\n\nBy type; all but the key's may be null.\n".to_owned();
    for dataset in all {
        write!(text, "\n**`{}`**", dataset.name).unwrap();
        let mut types: Vec<String> = Vec::new();
        for column in dataset.columns {
            let ty = column.ty().to_string();
            if !types.contains(&ty) {
                types.push(ty);
            }
        }
        for ty in types {
            let of = dataset.columns.iter().filter(|c| c.ty().to_string() == ty);
            write!(text, " · {}: {}", ty.replace('_', " "), names(of)).unwrap();
        }
        if dataset.others != connector_sccm::connector_mssql::dataset::Others::Ignored {
            text.push_str(" · and every other column as it is found");
        }
        text.push('\n');
    }
    text
}

fn rights(all: &[SqlDataset]) -> String {
    let mut text = "## Rights\n\nAll that is needed:\n\n```sql\nUSE CM_P01;\n\
                    CREATE USER [ACME\\DATASYNC$] FOR LOGIN [ACME\\DATASYNC$];\n\
                    ALTER ROLE db_datareader ADD MEMBER [ACME\\DATASYNC$];\n```\n\n\
                    Or, instead of the last line, only what is read; leave out what the site does \
                    not have:\n\n```sql\n"
        .to_owned();
    let names: BTreeSet<_> = all.iter().flat_map(objects).chain(SITE).collect();
    for name in names {
        writeln!(text, "GRANT SELECT ON dbo.{name} TO [ACME\\DATASYNC$];").unwrap();
    }
    text.push_str("```\n");
    text
}

fn generated() -> String {
    let all = datasets(&SccmSettings::default());
    let other = datasets(&SccmSettings {
        patchs: Patchs::Updates,
        settings_from: SettingsFrom::Components,
        applications: Applications::DeploymentTypes,
        contents: Contents::Packages,
        duplicates_by: DuplicatesBy::Name,
    });
    let changed: Vec<_> = all
        .iter()
        .zip(other)
        .filter(|(one, other)| one.from != other.from)
        .map(|(_, other)| other)
        .collect();
    format!(
        "\n{}\nWith the other choice of their settings:\n\n{}\n{}\n{}",
        overview(&all),
        overview(&changed).trim_start_matches("## Data sets\n\n"),
        columns(&all),
        rights(&all)
    )
}

#[test]
fn the_readme_lists_what_is_declared() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&path).unwrap();
    let start = readme.find(START).unwrap();
    let start = start + readme[start..].find('\n').unwrap() + 1;
    let end = readme.find(END).unwrap();
    let right = format!("{}{}{}", &readme[..start], generated(), &readme[end..]);
    if readme != right {
        let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("README.md");
        fs::write(&made, right).unwrap();
        panic!("{} is stale: put {} there", path.display(), made.display());
    }
}
