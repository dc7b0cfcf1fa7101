//! Getting and listing: which version a request means, and pages that all show one version.
//!
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use orc_base::Kind;
use orc_store::{Key, Listing, Range, Read, Revision, Store};
use serde::{Deserialize, Serialize};

use crate::kind::ObjectKind;
use crate::local::keys;
use crate::object::Object;
use crate::objects::{List, ListOptions, Scope, Target, VersionMatch};
use crate::selector::{FieldSelector, LabelSelector};
use crate::status::{Result, Status};

/// Entries that are taken from the store at once for a list that leaves some out.
const PAGE: usize = 500;

/// Reads of a store with the patience to wait for a version.
pub(crate) struct Reader<'s> {
    pub(crate) store: &'s dyn Store,
    pub(crate) patience: Duration,
}

/// Where a list goes on.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Token {
    /// The version that all pages show; -1 for whatever is latest.
    rv: i64,
    /// Behind which key, without the prefix.
    start: String,
}

impl Reader<'_> {
    /// One object.
    pub(crate) async fn get(&self, target: &Target, version: &str) -> Result<Object> {
        let key = keys::key(target.kind, &target.namespace, &target.name)?;
        let read = match parse_version(version)? {
            None => Read::Latest,
            Some(0) => Read::Local,
            Some(version) => Read::AtLeast(Revision(version)),
        };
        let found = self.waiting(read, self.store.get(&key, read)).await?;
        match found.entry {
            Some(entry) => Ok(keys::decode(target.kind, &entry)?),
            None => Err(Status::not_found(target.kind, &target.name)),
        }
    }

    /// Many objects.
    pub(crate) async fn list(&self, scope: &Scope, options: &ListOptions) -> Result<List> {
        options.fields.check(scope.kind).map_err(Status::from)?;
        let (mut read, mut after) = how(options)?;
        let prefix = prefix(scope, &options.fields);
        let filtered = !options.labels.is_empty() || !options.fields.is_empty();
        let mut list = List::default();
        loop {
            let range = Range {
                prefix: prefix.clone(),
                after: after
                    .as_ref()
                    .map(|start| Key::new(format!("{}{start}", base(scope))))
                    .transpose()?,
                limit: match (options.limit, filtered) {
                    (0, _) => 0,
                    (limit, false) => limit,
                    (limit, true) => limit.max(PAGE),
                },
            };
            let page = self.page(&range, read, options, after.as_deref()).await?;
            read = Read::Exactly(page.revision);
            list.version = page.revision.to_string();
            let last = take(&page, scope, options, &mut list)?;
            let left = page.remaining > 0 || last < page.entries.len();
            let full = options.limit > 0 && list.items.len() >= options.limit;
            after = page.entries[..last]
                .last()
                .map(|entry| entry.key.as_str()[base(scope).len()..].to_owned());
            if !left || full || options.limit == 0 {
                if left && let Some(start) = after {
                    list.continue_token = token(page.revision.0, start);
                    list.remaining = (!filtered).then_some(page.remaining);
                }
                return Ok(list);
            }
        }
    }

    async fn page(
        &self,
        range: &Range,
        read: Read,
        options: &ListOptions,
        start: Option<&str>,
    ) -> Result<Listing> {
        let answer = self.waiting(read, self.store.list(range, read)).await;
        match answer {
            Err(status) if status.code() == 410 && !options.continue_token.is_empty() => {
                let again = Token {
                    rv: -1,
                    start: start.unwrap_or_default().to_owned(),
                };
                Err(Status::expired(
                    "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
                )
                .with_continue(again.encode()))
            }
            answer => answer,
        }
    }

    /// Waits for a read, but not for ever when its version is not there yet.
    async fn waiting<T>(
        &self,
        read: Read,
        answer: impl Future<Output = orc_base::Result<T>>,
    ) -> Result<T> {
        let asked = match read {
            Read::AtLeast(revision) | Read::Exactly(revision) => revision.0,
            Read::Latest | Read::Local => return answer.await.map_err(Status::from),
        };
        match tokio::time::timeout(self.patience, answer).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) if error.kind() == Kind::Expired => Err(Status::expired(format!(
                "The resourceVersion for the provided list is too old: {error}"
            ))),
            Ok(Err(error)) if error.kind() == Kind::Invalid => {
                Err(Status::too_large_version(asked, self.current().await))
            }
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(Status::too_large_version(asked, self.current().await)),
        }
    }

    async fn current(&self) -> u64 {
        let nothing = Range {
            prefix: "/nothing/".to_owned(),
            ..Range::default()
        };
        let found = self.store.list(&nothing, Read::Local).await;
        found.map_or(0, |listing| listing.revision.0)
    }
}

/// What the keys of a scope begin with.
fn base(scope: &Scope) -> String {
    let namespace = if scope.kind.namespaced {
        &scope.namespace
    } else {
        ""
    };
    keys::prefix(scope.kind, namespace)
}

/// What the keys of a list begin with: one name is as good as a longer prefix.
pub(crate) fn prefix(scope: &Scope, fields: &FieldSelector) -> String {
    let whole = !scope.kind.namespaced || !scope.namespace.is_empty();
    match fields.name() {
        Some(name) if whole => format!("{}{name}", base(scope)),
        _ => base(scope),
    }
}

/// Adds the wanted objects of a page until the list is full; how many entries were looked at.
fn take(page: &Listing, scope: &Scope, options: &ListOptions, list: &mut List) -> Result<usize> {
    for (index, entry) in page.entries.iter().enumerate() {
        if options.limit > 0 && list.items.len() == options.limit {
            return Ok(index);
        }
        let object = keys::decode(scope.kind, entry)?;
        if wanted(scope.kind, &object, &options.labels, &options.fields) {
            list.items.push(object);
        }
    }
    Ok(page.entries.len())
}

/// Whether selectors want an object.
pub(crate) fn wanted(
    kind: &ObjectKind,
    object: &Object,
    labels: &LabelSelector,
    fields: &FieldSelector,
) -> bool {
    (labels.is_empty() || labels.matches(&object.labels()))
        && (fields.is_empty() || fields.matches(kind, object))
}

/// Which version a list reads, and behind which key it begins.
fn how(options: &ListOptions) -> Result<(Read, Option<String>)> {
    let version = parse_version(&options.version)?;
    if !options.continue_token.is_empty() {
        if options.version_match != VersionMatch::Unset {
            return Err(Status::bad_request(
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided",
            ));
        }
        if version.is_some_and(|version| version != 0) {
            return Err(Status::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let token = Token::decode(&options.continue_token)?;
        let read = match u64::try_from(token.rv) {
            Ok(version) => Read::Exactly(Revision(version)),
            Err(_) => Read::Latest,
        };
        return Ok((read, Some(token.start).filter(|start| !start.is_empty())));
    }
    let read = match (options.version_match, version) {
        (VersionMatch::Unset, None) => Read::Latest,
        (_, None) => {
            return Err(Status::bad_request(
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
            ));
        }
        (VersionMatch::Exact, Some(0)) => {
            return Err(Status::bad_request(
                "resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            ));
        }
        (_, Some(0)) => Read::Local,
        (VersionMatch::Exact, Some(version)) => Read::Exactly(Revision(version)),
        (VersionMatch::NotOlderThan, Some(version)) => Read::AtLeast(Revision(version)),
        (VersionMatch::Unset, Some(version)) => match options.limit {
            0 => Read::AtLeast(Revision(version)),
            _ => Read::Exactly(Revision(version)),
        },
    };
    Ok((read, None))
}

/// A version as a number; nothing when it was not given.
pub(crate) fn parse_version(version: &str) -> Result<Option<u64>> {
    match version {
        "" => Ok(None),
        _ => version.parse().map(Some).map_err(|_| {
            Status::bad_request(format!(
                "resourceVersion: Invalid value: {version:?}: must be a whole number that a list or watch has told"
            ))
        }),
    }
}

fn token(revision: u64, start: String) -> String {
    let rv = i64::try_from(revision).unwrap_or(-1);
    Token { rv, start }.encode()
}

impl Token {
    fn encode(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).expect("a token is plain JSON"))
    }

    fn decode(text: &str) -> Result<Self> {
        let wrong =
            || Status::bad_request("continue key is not valid: it is none that a list has told");
        if text.len() > 4096 {
            return Err(wrong());
        }
        let bytes = BASE64_URL_SAFE_NO_PAD
            .decode(text.trim_end_matches('='))
            .map_err(|_| wrong())?;
        let token: Self = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
        match token.start.chars().any(char::is_control) || token.start.contains("..") {
            true => Err(wrong()),
            false => Ok(token),
        }
    }
}
