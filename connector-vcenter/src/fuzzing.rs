//! What the fuzzers in `fuzz/` run, and what the tests replay over their kept inputs.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use connector_core::{Error, ErrorKind, Type, Uuid, Value};
use quick_xml::{Reader, escape::resolve_xml_entity, events::Event};

use crate::{
    api::ApiVersion,
    client,
    datasets::datasets,
    declare::{Origin, Take, VcenterDataset},
    decode::{Plan, Surroundings, moment},
    fault::{self, Fault},
    walk,
};

type Rows = Vec<Vec<Value<'static>>>;

/// Reads any text at all as a reply of vCenter. The first byte chooses the data set.
///
/// # Panics
///
/// When the rows are not those that come of the reply as a tree of elements, or when one of the two
/// refuses what the other takes; when an error calls itself a defect; when a second reply is read
/// otherwise than the first.
pub fn reply(data: &[u8]) {
    let Some((choice, text)) = data.split_first() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    // What has no rows has no second opinion either.
    let _ = Fault::of_body(text);
    for error in [
        client::offered(text).err(),
        client::Server::read(text, VERSION).err(),
        walk::returned(text).err(),
    ] {
        assert!(error.is_none_or(|error| error.kind() != ErrorKind::Unexpected));
    }

    let all = datasets();
    let dataset = &all[usize::from(*choice) % all.len()];
    let schema = Arc::new(dataset.schema().expect("the declaration is right"));
    let plan = Arc::new(Plan::new(dataset, &schema, VERSION));
    let around = Arc::new(Surroundings {
        vcenter: Uuid::from_u128(1),
        places: HashMap::new(),
    });
    let mut decoder = plan.decoder(&around);
    let mut read = || -> Result<(Option<String>, usize, Rows), Error> {
        let (token, objects, batch) = if dataset.from == Origin::AssignedLicenses {
            (None, 0, Some(decoder.list(text)?))
        } else {
            let page = decoder.page(text)?;
            (page.token, page.objects, page.rows)
        };
        let rows = batch.iter().flat_map(connector_core::Batch::rows);
        let width = schema.columns().len();
        let cells = rows.map(|row| (0..width).map(|at| row.at(at).into_owned()).collect());
        Ok((token, objects, cells.collect()))
    };
    let first = read();
    if let Err(error) = &first {
        assert_ne!(error.kind(), ErrorKind::Unexpected, "{error:?}");
        // What it had read of the refused one is not told again.
        assert!(reference(dataset, text).is_none(), "{error:?}");
        return;
    }
    let first = first.ok();
    assert_eq!(first, read().ok());
    assert_eq!(first, reference(dataset, text));
}

const VERSION: ApiVersion = ApiVersion::new(8, 0);

/// An element, whole.
#[derive(Debug, Default)]
struct Node {
    name: String,
    /// The names with their prefixes, and the values; nothing for what is wrong.
    attributes: Vec<Option<(String, Option<String>)>>,
    /// Right within it.
    text: String,
    children: Vec<Node>,
}

/// An attribute is wrong, or stands behind one that is.
#[derive(Debug)]
struct Malformed;

impl Node {
    /// The first of such attributes, if there is one.
    fn attribute(&self, is: fn(&str) -> bool) -> Result<Option<&str>, Malformed> {
        for attribute in &self.attributes {
            let (name, value) = attribute.as_ref().ok_or(Malformed)?;
            if is(name) {
                return value.as_deref().ok_or(Malformed).map(Some);
            }
        }
        Ok(None)
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// All elements at a path.
    fn at<'n>(&'n self, path: &[&str], found: &mut Vec<&'n Self>) {
        match path.split_first() {
            None => found.push(self),
            Some((name, rest)) => self.named(name).for_each(|child| child.at(rest, found)),
        }
    }
}

fn local(name: &str) -> String {
    name.rsplit(':').next().unwrap_or_default().to_owned()
}

/// Reads the first element of a text.
fn tree(text: &str) -> Option<Node> {
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Node> = Vec::new();
    loop {
        let event = reader.read_event().ok()?;
        let (start, is_empty) = match &event {
            Event::Start(start) => (Some(start), false),
            Event::Empty(start) => (Some(start), true),
            _ => (None, false),
        };
        if let Some(start) = start {
            let mut node = Node {
                name: local(start.name().into_inner()),
                ..Node::default()
            };
            let attributes = start.attributes().map(|attribute| {
                let attribute = attribute.ok()?;
                let value = attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0);
                let value = value.ok().map(Cow::into_owned);
                Some((attribute.key.into_inner().to_owned(), value))
            });
            node.attributes = attributes.collect();
            open.push(node);
        }
        let mut text = |part: &str| {
            if let Some(node) = open.last_mut() {
                node.text.push_str(part);
            }
        };
        let lines = |part: &str| part.replace("\r\n", "\n").replace('\r', "\n");
        match &event {
            Event::Text(part) => text(&lines(&part.clone().into_inner())),
            Event::CData(part) => text(&lines(&part.clone().into_inner())),
            Event::GeneralRef(name) => match name.resolve_char_ref().ok()? {
                Some(character) => text(&character.to_string()),
                None => text(resolve_xml_entity(name)?),
            },
            Event::Eof => return None,
            _ => {}
        }
        if is_empty || matches!(event, Event::End(_)) {
            let node = open.pop()?;
            match open.last_mut() {
                Some(parent) => parent.children.push(node),
                None => return Some(node),
            }
        }
    }
}

/// What comes of a reply as a tree; nothing where it is refused.
fn reference(dataset: &VcenterDataset, text: &str) -> Option<(Option<String>, usize, Rows)> {
    let envelope = tree(text)?;
    let body = envelope
        .children
        .first()
        .filter(|body| body.name == "Body")?;
    let content = body.children.first()?;
    if envelope.name != "Envelope" {
        return None;
    }
    let (mut token, mut objects, mut rows) = (None, 0, Rows::new());
    if dataset.from == Origin::AssignedLicenses {
        for item in &content.children {
            rows.push(row_of(dataset, "", &HashMap::new(), Some(item))?);
        }
        return Some((token, objects, rows));
    }
    for part in content.named("returnval").flat_map(|value| &value.children) {
        match part.name.as_str() {
            "token" => token = Some(part.text.clone()),
            "objects" => {
                objects += 1;
                rows.extend(rows_of(dataset, part)?);
            }
            _ => {}
        }
    }
    Some((token, objects, rows))
}

fn rows_of(dataset: &VcenterDataset, object: &Node) -> Option<Rows> {
    let id = object.named("obj").last().map_or("", |id| &id.text);
    let (mut values, mut items) = (HashMap::<&str, Vec<&Node>>::new(), Vec::new());
    for property in object.named("propSet") {
        let mut name = None;
        for part in &property.children {
            match (part.name.as_str(), name) {
                ("name", _) => name = Some(part.text.as_str()),
                ("val", Some(name)) if name == dataset.each => items.extend(&part.children),
                ("val", Some(name)) => values.entry(name).or_default().push(part),
                _ => {}
            }
        }
    }
    let rows: Option<Rows> = if dataset.each.is_empty() {
        cells_of(dataset, id, &values, None)?;
        row_of(dataset, id, &values, None).map(|row| vec![row])
    } else {
        for item in &items {
            cells_of(dataset, id, &values, Some(item))?;
        }
        cells_of(dataset, id, &values, None)?;
        let rows = items.iter();
        rows.map(|item| row_of(dataset, id, &values, Some(item)))
            .collect()
    };
    let mut is_gone = false;
    let mut is_refused = false;
    for missing in object.named("missingSet") {
        let path = missing.named("path").last().map_or("", |path| &path.text);
        let mut kind = String::new();
        for fault in missing
            .named("fault")
            .flat_map(|outer| outer.named("fault"))
        {
            let typed = fault.attribute(|name| name.ends_with(":type"));
            let typed = typed.ok()?.map(local);
            kind = typed.unwrap_or_else(|| fault.name.trim_end_matches("Fault").to_owned());
            for object in fault.named("object").chain(fault.named("obj")) {
                object.attribute(|name| name == "type").ok()?;
            }
        }
        let columns = dataset.columns.iter().filter(|column| {
            matches!(column.take, Take::Property(own) if own.split('/').next() == Some(path))
        });
        let mut columns = columns.peekable();
        let is_read = columns.peek().is_some();
        match kind.as_str() {
            fault::NOT_FOUND => is_gone = true,
            fault::NO_PERMISSION if is_read && columns.all(|one| one.unless_denied) => {}
            fault::INVALID_PROPERTY if is_read && columns.all(|one| one.since.is_some()) => {}
            _ => is_refused = true,
        }
    }
    match (is_gone, is_refused) {
        (true, _) => Some(Rows::new()),
        (false, true) => None,
        (false, false) => rows,
    }
}

/// The texts of the columns; nothing where one has several that may not be put together.
fn cells_of(
    dataset: &VcenterDataset,
    id: &str,
    values: &HashMap<&str, Vec<&Node>>,
    item: Option<&Node>,
) -> Option<Vec<Option<String>>> {
    let cells = dataset.columns.iter().map(|column| {
        let Take::Property(path) = column.take else {
            return Some((column.take == Take::Id).then(|| id.to_owned()));
        };
        let (property, within) = path.split_once('/').unwrap_or((path, ""));
        let (within, is_type) = match within.strip_suffix("@type") {
            Some(within) => (within, true),
            None => (within, false),
        };
        let steps: Vec<&str> = within.split('/').filter(|step| !step.is_empty()).collect();
        let mut found = Vec::new();
        if property == dataset.each {
            item.inspect(|item| item.at(&steps, &mut found));
        } else {
            let values = values.get(property).into_iter().flatten();
            values.for_each(|value| value.at(&steps, &mut found));
        }
        let texts = found.iter().map(|node| {
            if is_type {
                node.attribute(|name| name == "type")
            } else {
                Ok(Some(node.text.as_str()))
            }
        });
        let texts: Vec<Option<&str>> = texts.collect::<Result<_, _>>().ok()?;
        let texts: Vec<&str> = texts.into_iter().flatten().collect();
        match texts.len() {
            0 => Some(None),
            2.. if !column.joined => None,
            _ => Some(Some(texts.join("; "))),
        }
    });
    cells.collect()
}

fn row_of(
    dataset: &VcenterDataset,
    id: &str,
    values: &HashMap<&str, Vec<&Node>>,
    item: Option<&Node>,
) -> Option<Vec<Value<'static>>> {
    let schema = dataset.schema().ok()?;
    let cells = cells_of(dataset, id, values, item)?;
    let cells = cells.iter().zip(dataset.columns).zip(schema.columns());
    cells
        .map(|((cell, property), column)| match cell {
            _ if property.take == Take::Vcenter => Some(Value::Uuid(Uuid::from_u128(1))),
            Some(text) if column.ty() == Type::Timestamp => {
                Some(column.ty().parse(&moment(text)).ok()?.into_owned())
            }
            Some(text) => Some(column.ty().parse(text).ok()?.into_owned()),
            None if column.is_key() && column.ty() == Type::Text => Some(Value::Text("".into())),
            None if column.is_key() => None,
            None => Some(Value::Null),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_fuzzing_found_of_replies_of_vcenter() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/vcenter");
        let mut count = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            // A find names its file.
            println!("{}", path.display());
            reply(&fs::read(path).unwrap());
            count += 1;
        }
        assert!(count > 5, "{count} inputs are kept for vcenter");
    }

    fn value() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just(String::new()),
            "[a-z&&[^q]]{1,3}( |\r\n|\r)?[A-Z]?",
            "-?[0-9]{1,19}",
            Just("true".to_owned()),
            Just("2026-11-21T14:20:45.123456789Z".to_owned()),
            Just("&lt;&#13;&amp;".to_owned()),
            Just("<![CDATA[<a>\r\n]]>".to_owned()),
            Just("<!-- no --><?no text?>".to_owned()),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            let name = prop_oneof![
                4 => Just("key"), 2 => Just("value"), 2 => Just("ipAddress"), 2 => Just("macAddress"),
                2 => Just("deviceConfigId"), 1 => Just("host"), 1 => Just("mountInfo"),
                1 => Just("identifierType"), 1 => Just("identifierValue"), 1 => Just("string"),
                1 => Just("x:licenseKey"), 1 => Just("assignedLicense"), 1 => Just("entityId"),
            ];
            let element = (name, inner.clone(), any::<bool>())
                .prop_map(|(name, value, typed)| match value.as_str() {
                    value if typed => {
                        format!("<{name} type=\"T\" xsi:type=\"y:U\">{value}</{name}>")
                    }
                    "" => format!("<{name}/>"),
                    value => format!("<{name}>{value}</{name}>"),
                });
            prop_oneof![
                prop::collection::vec(element, 0..4).prop_map(|all| all.concat()),
                (inner.clone(), inner).prop_map(|(a, b)| format!("{a}<key>{b}</key>")),
            ]
        })
    }

    /// A text that fits a column, mostly.
    fn cell(ty: Type) -> impl Strategy<Value = String> {
        let fitting = match ty {
            Type::Int => "-?[0-9]{1,6}",
            Type::Bool => "true|false",
            Type::Timestamp => "2026-1[0-2]-2[0-8]T14:20:45(\\.[0-9]{1,9})?Z",
            Type::Uuid => "b4689bed-97f0-5bcd-8a4c-[0-9a-f]{12}",
            _ => "[a-z]{0,3}(&lt;|&#13;|\r\n)?",
        };
        prop_oneof![19 => fitting, 1 => value()]
    }

    /// The columns of one property, as elements within each other.
    fn columns(dataset: &'static VcenterDataset, path: &'static str) -> BoxedStrategy<String> {
        let schema = dataset.schema().unwrap();
        let columns = dataset.columns.iter().zip(schema.columns());
        let mut all = Just(String::new()).boxed();
        for (property, column) in columns {
            let Take::Property(own) = property.take else {
                continue;
            };
            let (own, within) = own.split_once('/').unwrap_or((own, ""));
            if own != path {
                continue;
            }
            let wrapped = move |text: String| {
                let steps = within.split('/').rev();
                let steps = steps.filter(|step| !step.is_empty() && *step != "@type");
                steps.fold(text, |text, step| format!("<{step}>{text}</{step}>"))
            };
            let once = cell(column.ty()).prop_map(wrapped);
            let count = if property.joined { 0..4 } else { 0..2_usize };
            all = (all, prop::collection::vec(once, count))
                .prop_map(|(all, texts)| all + &texts.concat())
                .boxed();
        }
        all
    }

    /// A reply that has a good chance to be right.
    fn replies() -> impl Strategy<Value = (u8, String)> {
        let count = u8::try_from(datasets().len()).unwrap();
        (0..count).prop_flat_map(|choice| {
            let dataset = &datasets()[usize::from(choice)];
            let paths = dataset
                .columns
                .iter()
                .filter_map(|column| match column.take {
                    Take::Property(path) => path.split('/').next(),
                    _ => None,
                });
            let paths: Vec<&'static str> = paths.chain(["other"]).collect();
            let property = prop::sample::select(paths).prop_flat_map(move |path| {
                let item = columns(dataset, path);
                let right = if path == dataset.each {
                    let items = prop::collection::vec(item, 0..3);
                    items
                        .prop_map(|items| {
                            let items = items.iter().map(|item| format!("<I>{item}</I>"));
                            items.collect::<String>()
                        })
                        .boxed()
                } else {
                    item
                };
                (Just(path), prop_oneof![9 => right, 1 => value()], 0..20_u8)
            });
            let property = property.prop_map(|(path, value, shape)| match shape {
                0 => format!("<propSet><val>{value}</val><name>{path}</name></propSet>"),
                1 => format!(
                    "<missingSet><path>{path}</path><fault><fault xsi:type=\"InvalidProperty\"/>\
                     </fault></missingSet>"
                ),
                2 => format!(
                    "<missingSet><path>{path}</path><fault><fault xsi:type=\"v:NoPermission\">\
                     {value}</fault></fault></missingSet>"
                ),
                3..6 => format!(
                    "<propSet><name>{path}</name><val type=\"Folder\">{value}</val></propSet>"
                ),
                _ => format!("<propSet><name>{path}</name><val>{value}</val></propSet>"),
            });
            let object = prop::collection::vec(property, 0..5)
                .prop_map(|all| format!("<objects><obj>vm-1</obj>{}</objects>", all.concat()));
            let content = prop_oneof![
                6 => prop::collection::vec(object, 0..3).prop_map(|all| all.concat()),
                1 => value(),
            ];
            (content, 0..4_u8).prop_map(move |(content, shape)| {
                let content = match shape {
                    0 => format!("<returnval><token>1</token>{content}</returnval>"),
                    1 => content,
                    _ => format!("<returnval>{content}</returnval>"),
                };
                let body = format!("<s:Body><Response>{content}</Response></s:Body>");
                (
                    choice,
                    format!("<s:Envelope xmlns:s=\"x\">{body}</s:Envelope>"),
                )
            })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn rows_are_those_of_the_tree((choice, text) in replies()) {
            reply(&[&[choice], text.as_bytes()].concat());
        }

        #[test]
        fn what_is_damaged_is_refused_as_the_tree_is(
            (choice, text) in replies(),
            place in any::<prop::sample::Index>(),
            byte in prop_oneof![Just(b'<'), Just(b'>'), Just(b'/'), Just(b'&'), Just(b'"'), any::<u8>()],
            cut in any::<bool>(),
        ) {
            let mut bytes = text.into_bytes();
            let place = place.index(bytes.len());
            if cut { bytes.truncate(place); } else { bytes[place] = byte; }
            reply(&[&[choice], &*bytes].concat());
        }
    }
}
