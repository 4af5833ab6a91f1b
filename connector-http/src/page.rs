//! Walking through a collection page by page.
//!
//! A walk ends well only where the source said that there is no more; everything else is an error,
//! so that what was read in part never counts as whole.

use std::{
    collections::HashSet,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use connector_core::{Error, ErrorKind, Result, Retry};
use url::Url;

use crate::{
    decode::PageFacts,
    error::Refusal,
    transport::{Request, Response, Transport, shown},
};

/// How a source tells where the next page is.
#[derive(Debug, Clone, Copy)]
pub enum Page {
    /// There is one page.
    None,
    /// The page holds the next one's address ([`Seen::next`]), which is used as it is. Graph's
    /// `@odata.nextLink`, the `Link` header of others.
    Link,
    /// The page holds a token ([`Seen::next`]), which goes into this parameter of the query.
    Token(&'static str),
    /// The next page starts so many rows later.
    Offset {
        /// The parameter of the query that says how many rows are left out.
        offset: &'static str,
        /// The parameter that says how many rows a page has at most.
        limit: &'static str,
        /// How many.
        size: u64,
    },
    /// The next page starts after the last key of this one ([`Seen::last_key`]), in the order of
    /// keys.
    Keyset {
        /// Puts the last key into the first request. It is called with none for the first page.
        after: fn(&mut Request, Option<&str>),
        /// How many rows a page has at most.
        size: u64,
    },
}

/// What was found in a page, for the walk to go on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// How many rows it held.
    pub rows: u64,
    /// The address of the next page, or its token.
    pub next: Option<String>,
    /// The key of its last row.
    pub last_key: Option<String>,
    /// How many rows there are on all pages, where the source says that. A page with fewer rows
    /// than asked for is then not taken for the last: sources leave rows out that a credential may
    /// not see, after they have counted them.
    pub total: Option<u64>,
}

impl From<&PageFacts> for Seen {
    /// A last key of one column becomes its text; one of several columns is none.
    fn from(facts: &PageFacts) -> Self {
        let last_key = match &facts.last_key[..] {
            [key] => Some(key.to_string()),
            _ => None,
        };
        Self {
            rows: facts.records as u64,
            next: facts.next.clone(),
            last_key,
            total: facts.count,
        }
    }
}

/// What a walk may come to at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Most {
    /// How many pages. Default: 1,000,000.
    pub pages: u64,
    /// How many bytes of bodies, decompressed. Default: 1 TiB.
    pub bytes: u64,
}

impl Default for Most {
    fn default() -> Self {
        Self {
            pages: 1_000_000,
            bytes: 1 << 40,
        }
    }
}

/// A walk through the pages of one collection.
///
/// ```
/// use connector_http::{Page, Pages, Request, Seen, Transport};
/// # use std::sync::Arc;
///
/// async fn count(transport: Arc<dyn Transport>, first: Request) -> connector_core::Result<u64> {
///     let mut pages = Pages::new(transport, first, Page::Link);
///     let mut rows = 0;
///     while let Some(page) = pages.next().await? {
///         let bytes = page.bytes(64 << 20).await?;
///         let seen = Seen { rows: 1, ..Seen::default() }; // what the decoder found
///         rows += seen.rows;
///         pages.seen(&seen)?;
/// #       drop(bytes);
///     }
///     Ok(rows)
/// }
/// ```
pub struct Pages {
    transport: Arc<dyn Transport>,
    first: Request,
    page: Page,
    most: Most,
    expired: fn(&Refusal) -> bool,
    at: At,
    /// How many pages were given out, with how many rows and bytes.
    given: u64,
    rows: u64,
    bytes: Arc<AtomicU64>,
    /// The marks of links, tokens and keys that were followed.
    followed: HashSet<u64>,
}

/// Where a walk is.
enum At {
    /// This is to be asked for next.
    Next(Box<Request>),
    /// A page was given out, and what it held was not yet said.
    Given,
    End,
}

impl Pages {
    /// Starts a walk with the request for the first page. Its headers go along with each page,
    /// since they are not part of a link.
    pub fn new(transport: Arc<dyn Transport>, first: Request, page: Page) -> Self {
        let mut next = first.clone();
        let mut followed = HashSet::new();
        match page {
            Page::Offset {
                offset,
                limit,
                size,
            } => {
                set(&mut next.url, offset, "0");
                set(&mut next.url, limit, &size.to_string());
            }
            Page::Keyset { after, .. } => after(&mut next, None),
            Page::Link => {
                followed.insert(mark(first.url.as_str()));
            }
            Page::None | Page::Token(_) => {}
        }
        Self {
            transport,
            first,
            page,
            most: Most::default(),
            expired: |_| false,
            at: At::Next(Box::new(next)),
            given: 0,
            rows: 0,
            bytes: Arc::default(),
            followed,
        }
    }

    /// Sets what the walk may come to at most.
    #[must_use]
    pub fn most(mut self, most: Most) -> Self {
        self.most = most;
        self
    }

    /// Sets how to tell that the source has forgotten the walk, so that it starts from the first
    /// page again: Graph answers 400 with the code `Directory_ExpiredPageToken`. Asked about every
    /// page but the first.
    #[must_use]
    pub fn expired(mut self, expired: fn(&Refusal) -> bool) -> Self {
        self.expired = expired;
        self
    }

    /// Returns the next page, or none when the source has said that there is no more.
    ///
    /// # Errors
    ///
    /// As [`Transport::send`]. [`ErrorKind::Incomplete`] with [`Retry::Restart`] when the source has
    /// forgotten the walk: a cycle then reads the data set again. [`ErrorKind::Unexpected`] when it was not
    /// said what the page before held.
    pub async fn next(&mut self) -> Result<Option<Response>> {
        // A walk that failed is over: what follows an error would look whole.
        let request = match std::mem::replace(&mut self.at, At::Given) {
            At::Next(request) => *request,
            At::Given => {
                let message = "a page is asked for before it was said what the last one held";
                return Err(Error::new(ErrorKind::Unexpected, message));
            }
            At::End => {
                self.at = At::End;
                return Ok(None);
            }
        };
        let sent = self.transport.send(request).await;
        self.given += 1;
        match sent {
            Ok(mut response) => {
                let bytes = Arc::clone(&self.bytes);
                response.body = response.body.counted(move |more| {
                    bytes.fetch_add(more, Relaxed);
                });
                Ok(Some(response))
            }
            Err(error)
                if self.given > 1 && Refusal::of(&error).is_some_and(|r| (self.expired)(r)) =>
            {
                Err(Error::new(
                    ErrorKind::Incomplete,
                    "the source has forgotten the walk through its pages",
                )
                .with_retry(Retry::Restart)
                .with("page", self.given)
                .with_source(error))
            }
            Err(error) => Err(error.with("page", self.given)),
        }
    }

    /// Says what the page held, and so where the next one is.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Source`] when the source goes round in circles, sends to another host, or has
    /// more pages or bytes than allowed.
    pub fn seen(&mut self, seen: &Seen) -> Result<()> {
        if !matches!(self.at, At::Given) {
            let message = "it was said what a page held before the page was asked for";
            return Err(Error::new(ErrorKind::Unexpected, message));
        }
        self.rows += seen.rows;
        let next = self
            .after(seen)
            .map_err(|error| error.with("page", self.given))?;
        let bytes = self.bytes.load(Relaxed);
        if next.is_some() && (self.given >= self.most.pages || bytes >= self.most.bytes) {
            return Err(Error::new(
                ErrorKind::Source,
                "the source has more pages than were thought possible, and is not read to the end",
            )
            .with("pages", self.given)
            .with("bytes", bytes));
        }
        self.at = next.map_or(At::End, |next| At::Next(Box::new(next)));
        Ok(())
    }

    fn after(&mut self, seen: &Seen) -> Result<Option<Request>> {
        let mut request = self.first.clone();
        match self.page {
            Page::None => return Ok(None),
            Page::Link => {
                let Some(link) = &seen.next else {
                    return Ok(None);
                };
                request.url = self.link(link)?;
                self.follow(request.url.as_str())?;
            }
            Page::Token(name) => {
                let Some(token) = seen.next.as_deref().filter(|token| !token.is_empty()) else {
                    return Ok(None);
                };
                self.follow(token)?;
                set(&mut request.url, name, token);
            }
            Page::Offset {
                offset,
                limit,
                size,
            } => {
                let reached = self.given.saturating_mul(size);
                if more(seen, size, reached) {
                    set(&mut request.url, offset, &reached.to_string());
                    set(&mut request.url, limit, &size.to_string());
                } else {
                    return Ok(None);
                }
            }
            Page::Keyset { after, size } => {
                if !more(seen, size, self.rows) {
                    return Ok(None);
                }
                let Some(key) = &seen.last_key else {
                    return Err(Error::new(
                        ErrorKind::Source,
                        "a page without rows is not the last one: there is no key to go on from",
                    ));
                };
                self.follow(key)?;
                after(&mut request, Some(key));
            }
        }
        Ok(Some(request))
    }

    /// Reads a link, and refuses one that leads to another host: the credential would go there.
    fn link(&self, link: &str) -> Result<Url> {
        let wrong = |message: &str| Error::new(ErrorKind::Source, message);
        let url =
            self.first.url.join(link).map_err(|error| {
                wrong("the address of the next page is none").with_source(error)
            })?;
        if url.origin() != self.first.url.origin() {
            return Err(wrong(
                "the next page is at another host, scheme or port, which is not followed",
            )
            .with("url", shown(&self.first.url))
            .with("next", url.origin().ascii_serialization()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("the address of the next page has a user in it"));
        }
        Ok(url)
    }

    fn follow(&mut self, what: &str) -> Result<()> {
        if self.followed.insert(mark(what)) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Source,
            "the source sends to a page that was read before, and would do so forever",
        ))
    }
}

/// Eight bytes instead of a link of a kilobyte: of a million pages, two are taken for one with a
/// chance of one in thirty million, and the walk then ends with an error.
fn mark(what: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// Whether a page is not the last, by its rows.
fn more(seen: &Seen, size: u64, reached: u64) -> bool {
    match seen.total {
        Some(total) => reached < total,
        None => seen.rows >= size,
    }
}

/// Sets a parameter of a query, and leaves the others as they are.
fn set(url: &mut Url, name: &str, value: &str) {
    let kept: Vec<_> = url
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty() && pair.split('=').next() != Some(name))
        .map(str::to_owned)
        .collect();
    let value = url::form_urlencoded::byte_serialize(value.as_bytes()).collect::<String>();
    let query = kept.into_iter().chain([format!("{name}={value}")]);
    url.set_query(Some(&query.collect::<Vec<_>>().join("&")));
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages")
            .field("first", &self.first)
            .field("page", &self.page)
            .field("pages", &self.given)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}
