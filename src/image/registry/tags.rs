//! What is asked of a registry besides images: whether it knows an account, and which tags it has.

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{HeaderMap, LINK};
use serde::Deserialize;

use orc_base::{Context, Error, Result};

use crate::reference::Reference;
use crate::registry::http::Ask;
use crate::registry::refusal::Asked;
use crate::registry::session::{Endpoint, Session};

/// The most bytes of one page of tags, how many pages are read, and how many tags kept.
const MAX_PAGE_BYTES: u64 = 1 << 20;
const MAX_PAGES: usize = 100;
const MAX_TAGS: usize = 100_000;

/// One page.
struct Page {
    tags: Vec<String>,
    /// Whether the registry says that there are more.
    more: bool,
}

impl Session {
    /// Sees whether the registry takes the account of this session.
    pub(crate) async fn check_login(&self) -> Result<()> {
        let make = |at: &Endpoint| Ok(Ask::new(Method::GET, at.greeting()?));
        self.ask(&make, Asked::Login, &[]).await.map(drop)
    }

    /// All tags of the repository, sorted.
    pub(crate) async fn tags(&self, reference: &Reference) -> Result<Vec<String>> {
        let mut tags: Vec<String> = Vec::new();
        for _ in 0..MAX_PAGES {
            let last = tags.last().cloned();
            let make = |at: &Endpoint| {
                let mut url = at.url("tags/list")?;
                url.query_pairs_mut().append_pair("n", "1000");
                if let Some(last) = &last {
                    url.query_pairs_mut().append_pair("last", last);
                }
                Ok(Ask::new(Method::GET, url))
            };
            let read = |headers: &HeaderMap, bytes: Bytes| read(reference, headers, &bytes);
            let page = self
                .ask_whole(&make, Asked::Tags, MAX_PAGE_BYTES, read)
                .await?;
            // A registry that does not heed `last` begins anew each time.
            let new = page.tags.first() != tags.first() || tags.is_empty();
            let more = page.more && new && !page.tags.is_empty();
            if new {
                tags.extend(page.tags);
            }
            if tags.len() > MAX_TAGS {
                break;
            }
            if !more {
                tags.sort_unstable();
                tags.dedup();
                return Ok(tags);
            }
        }
        Err(Error::exhausted(format!(
            "{} has more tags of {} than the {MAX_TAGS} that are read: name one",
            self.who(),
            reference.familiar_name()
        )))
    }
}

fn read(reference: &Reference, headers: &HeaderMap, bytes: &[u8]) -> Result<Page> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        tags: Option<Vec<String>>,
    }

    let body: Body = serde_json::from_slice(bytes)
        .map_err(|error| Error::invalid(error.to_string()))
        .context(|| "the registry's list of tags cannot be read")?;
    let tags = body.tags.unwrap_or_default();
    for tag in &tags {
        reference
            .with_tag(tag)
            .context(|| "the registry's list of tags")?;
    }
    Ok(Page {
        more: headers.contains_key(LINK),
        tags,
    })
}
