//! Reading collections and single objects.

use std::sync::Arc;

use connector_core::{Batch, Error, ErrorKind, Result, SnapshotWriter, Type, Value};
use connector_http::{
    Page, Pages, Refusal, Request, Seen,
    decode::{PageDecoder, Reply, text},
};
use futures::{StreamExt, stream};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    dataset::{Collection, Each},
    definition::Definition,
    link::Link,
};

/// Rows are handed on in batches of this many bytes where each comes alone.
const BATCH_BYTES: usize = 256 << 10;

const IDS: Reply = Reply {
    name: "ids",
    columns: &[text("id", "id").key()],
    ..Reply::ODATA
}
.checked();

/// Reads a collection to its end.
pub(crate) async fn read(
    link: &Link,
    definition: &Definition,
    collection: &Collection,
    out: &mut SnapshotWriter,
) -> Result<()> {
    let request = request(link, definition, collection, collection.top)?;
    let mut decoder = PageDecoder::new(&definition.declared.reply)?;
    walk(link, request, &mut decoder, out).await
}

/// Makes the request for the first page.
pub(crate) fn request(
    link: &Link,
    definition: &Definition,
    collection: &Collection,
    top: u32,
) -> Result<Request> {
    let path = definition.path(collection.path);
    let select = definition.select(collection.select);
    let options = definition.options(collection, select.as_deref(), top);
    let url = link.url(definition.declared.version, path, None)?;
    with_headers(Link::get(definition, url, &options), collection)
}

fn with_headers(mut request: Request, collection: &Collection) -> Result<Request> {
    for (name, value) in collection.headers {
        request = request.header(name, value)?;
    }
    Ok(request)
}

async fn walk(
    link: &Link,
    first: Request,
    decoder: &mut PageDecoder<'_>,
    out: &mut SnapshotWriter,
) -> Result<()> {
    let mut pages = pages(link, first);
    let mut rows = Batch::new(Arc::clone(decoder.schema()));
    while let Some(page) = pages.next().await? {
        let bytes = page.bytes(u64::MAX).await?;
        let facts = decoder.decode(&bytes, &mut rows)?;
        pages.seen(&Seen::from(&facts))?;
        let next = rows.next(None);
        out.batch(std::mem::replace(&mut rows, next)).await?;
    }
    Ok(())
}

/// A link is the service's own, so what it refuses about one is that it has forgotten the walk:
/// `Directory_ExpiredPageToken`, and other codes that no page lists.
fn pages(link: &Link, first: Request) -> Pages {
    Pages::new(Arc::clone(&link.transport), first, Page::Link)
        .expired(|refusal: &Refusal| matches!(refusal.status.as_u16(), 400 | 410))
}

/// Reads one object.
pub(crate) async fn single(
    link: &Link,
    definition: &Definition,
    path: &str,
    out: &mut SnapshotWriter,
) -> Result<()> {
    let mut decoder = PageDecoder::new(&definition.declared.reply)?;
    let mut rows = Batch::new(Arc::clone(decoder.schema()));
    let reply = link.transport.send(object(link, definition, path, None)?);
    let bytes = reply.await?.bytes(u64::MAX).await?;
    decoder.decode(unwrapped(&bytes), &mut rows)?;
    out.batch(rows).await
}

/// Makes the request for one object.
pub(crate) fn object(
    link: &Link,
    definition: &Definition,
    path: &str,
    id: Option<&str>,
) -> Result<Request> {
    let path = definition.path(path);
    let select = definition.select(true).map(|select| ("$select", select));
    let url = link.url(definition.declared.version, path, id)?;
    Ok(Link::get(definition, url, select.as_slice()))
}

/// Takes an object out of the `value` that the documentation's samples have around it.
pub(crate) fn unwrapped(body: &[u8]) -> &[u8] {
    #[derive(Deserialize)]
    struct Around<'a> {
        #[serde(borrow)]
        value: &'a RawValue,
    }
    match serde_json::from_slice::<Around<'_>>(body) {
        Ok(Around { value }) if value.get().starts_with('{') => value.get().as_bytes(),
        _ => body,
    }
}

/// Reads the ids of a collection, and what each of them has.
pub(crate) async fn each(
    link: &Link,
    definition: &Definition,
    each: &Each,
    out: &mut SnapshotWriter,
) -> Result<()> {
    let first = id_request(link, definition, &each.of, each.of.top)?;
    let ids = ids(link, first).await?;
    if definition.declared.reply.list.is_empty() {
        objects(link, definition, each, ids, out).await
    } else {
        lists(link, definition, each, ids, out).await
    }
}

/// Makes the request for the first page of ids.
pub(crate) fn id_request(
    link: &Link,
    definition: &Definition,
    of: &Collection,
    top: u32,
) -> Result<Request> {
    let options = definition.options(of, Some("id"), top);
    let url = link.url(definition.declared.version, of.path, None)?;
    with_headers(Link::get(definition, url, &options), of)
}

async fn ids(link: &Link, first: Request) -> Result<Vec<String>> {
    let mut decoder = PageDecoder::new(&IDS)?;
    let mut pages = pages(link, first);
    let mut ids = Vec::new();
    while let Some(page) = pages.next().await? {
        let bytes = page.bytes(u64::MAX).await?;
        let mut rows = Batch::new(Arc::clone(decoder.schema()));
        let facts = decoder.decode(&bytes, &mut rows)?;
        pages.seen(&Seen::from(&facts))?;
        ids.extend(texts(&rows));
    }
    // The same object may be on two pages.
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// Returns one id of a collection, if it has any.
pub(crate) async fn first_id(link: &Link, request: Request) -> Result<Option<String>> {
    let mut decoder = PageDecoder::new(&IDS)?;
    let mut rows = Batch::new(Arc::clone(decoder.schema()));
    let bytes = link.transport.send(request).await?.bytes(u64::MAX).await?;
    decoder.decode(&bytes, &mut rows)?;
    Ok(texts(&rows).next())
}

fn texts(rows: &Batch) -> impl Iterator<Item = String> {
    rows.rows().filter_map(|row| match row.at(0) {
        Value::Text(id) => Some(id.into_owned()),
        _ => None,
    })
}

/// Reads one object for each id, several at once.
async fn objects(
    link: &Link,
    definition: &Definition,
    each: &Each,
    ids: Vec<String>,
    out: &mut SnapshotWriter,
) -> Result<()> {
    let mut decoder = PageDecoder::new(&definition.declared.reply)?;
    let mut rows = Batch::new(Arc::clone(decoder.schema()));
    let mut gone = Gone::of(&ids);
    let mut replies = stream::iter(ids)
        .map(|id| {
            let transport = Arc::clone(&link.transport);
            let request = each_object(link, definition, each, &id);
            async move {
                let reply = transport.send(request?).await?;
                Ok((id, reply.bytes(u64::MAX).await?))
            }
        })
        .buffer_unordered(link.connections);
    while let Some(reply) = replies.next().await {
        let Some((id, bytes)) = gone.unless(reply)? else {
            continue;
        };
        give(definition, &mut decoder, &id)?;
        decoder.decode(unwrapped(&bytes), &mut rows)?;
        if rows.byte_len() >= BATCH_BYTES {
            let next = rows.next(None);
            out.batch(std::mem::replace(&mut rows, next)).await?;
        }
    }
    out.batch(rows).await
}

/// Makes the request for what one id has.
pub(crate) fn each_object(
    link: &Link,
    definition: &Definition,
    each: &Each,
    id: &str,
) -> Result<Request> {
    let select = definition.select(each.select);
    let select = select.map(|select| ("$select", select));
    let path = definition.path(each.path);
    let url = link.url(definition.declared.version, path, Some(id))?;
    Ok(Link::get(definition, url, select.as_slice()))
}

/// Walks a collection for each id.
async fn lists(
    link: &Link,
    definition: &Definition,
    each: &Each,
    ids: Vec<String>,
    out: &mut SnapshotWriter,
) -> Result<()> {
    let mut decoder = PageDecoder::new(&definition.declared.reply)?;
    let mut gone = Gone::of(&ids);
    for id in ids {
        give(definition, &mut decoder, &id)?;
        let first = each_object(link, definition, each, &id)?;
        gone.unless(walk(link, first, &mut decoder, out).await)?;
    }
    Ok(())
}

/// Puts the id into the columns that are given.
fn give(definition: &Definition, decoder: &mut PageDecoder<'_>, id: &str) -> Result<()> {
    let columns = definition.declared.reply.columns;
    for column in columns.iter().filter(|column| column.is_given()) {
        if column.ty() != Type::Text {
            let message = "a column that is given is an id, which is text";
            return Err(Error::new(ErrorKind::Unexpected, message).with("column", column.name()));
        }
        decoder.give(column.name(), Value::Text(id.to_owned().into()))?;
    }
    Ok(())
}

/// Counts objects that went away between the list and the call for them.
struct Gone {
    asked: usize,
    gone: usize,
}

impl Gone {
    fn of(ids: &[String]) -> Self {
        Self {
            asked: ids.len(),
            gone: 0,
        }
    }

    /// Takes "not found" for an object that is gone, unless all of them are: then it is the path
    /// that is wrong, and nothing is to be deleted.
    fn unless<T>(&mut self, reply: Result<T>) -> Result<Option<T>> {
        match reply {
            Ok(reply) => Ok(Some(reply)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.gone += 1;
                if self.gone == self.asked {
                    return Err(error);
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_taken_out_of_what_is_around_it() {
        for (body, inner) in [
            (r#"{"id":"a"}"#, r#"{"id":"a"}"#),
            (r#"{"value": {"id":"a"}}"#, r#"{"id":"a"}"#),
            (
                r#"{"id":"a","value":"text"}"#,
                r#"{"id":"a","value":"text"}"#,
            ),
            (r#"{"value""#, r#"{"value""#),
        ] {
            assert_eq!(unwrapped(body.as_bytes()), inner.as_bytes());
        }
    }
}
