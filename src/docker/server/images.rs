//! Images: looked at, named and removed.

use hyper::StatusCode;
use orc_base::{Error, Result, Time};
use orc_host::image::Image;

use crate::convert::filter::{self, Filters, Label};
use crate::convert::{image, pattern};
use crate::server::call::Call;
use crate::server::reply::{self, Reply};

/// `GET /images/json`
pub(crate) async fn list(call: Call) -> Result<Reply> {
    let mut filters = call.query.filters()?;
    // Before 1.25 there was a parameter of its own.
    if let Some(reference) = call.query.get("filter") {
        filters.put("reference", [reference.to_owned()]);
    }
    let wanted = Wanted::of(&call, filters).await?;
    let extended = call.extended();
    let rows: Vec<_> = call
        .host
        .list_images()
        .await?
        .into_iter()
        .filter_map(|found| wanted.shown(found))
        .map(|found| image::summary(&found, extended))
        .collect();
    reply::ok(&rows)
}

/// Which images a list wants.
struct Wanted {
    references: Vec<String>,
    dangling: Option<bool>,
    labels: Vec<Label>,
    before: Option<Time>,
    since: Option<Time>,
    until: Option<Time>,
}

impl Wanted {
    async fn of(call: &Call, mut filters: Filters) -> Result<Self> {
        let mut moments = Vec::new();
        for key in ["before", "since"] {
            moments.push(match filters.take(key).first() {
                Some(name) => call.host.inspect_image(name).await?.created,
                None => None,
            });
        }
        let wanted = Self {
            references: filters.take("reference"),
            dangling: filters.take_flag("dangling")?,
            labels: filters.take_labels("label"),
            before: moments[0],
            since: moments[1],
            until: filters.take_until(call.now())?,
        };
        filters.finish()?;
        Ok(wanted)
    }

    /// The image with the names that fit, when it is wanted.
    fn shown(&self, mut found: Image) -> Option<Image> {
        let older = |time: Option<Time>| time.is_none_or(|time| found.created < Some(time));
        let fits = self
            .dangling
            .is_none_or(|dangling| dangling == found.tags.is_empty())
            && self
                .labels
                .iter()
                .all(|label| filter::labelled(&found.config.labels, label))
            && older(self.before)
            && older(self.until)
            && self.since.is_none_or(|time| found.created > Some(time));
        if !fits {
            return None;
        }
        if !self.references.is_empty() {
            found.tags.retain(|name| self.refers(name));
            found.digests.retain(|name| self.refers(name));
            if found.tags.is_empty() && found.digests.is_empty() {
                return None;
            }
        }
        Some(found)
    }

    fn refers(&self, name: &str) -> bool {
        let repository = repository(name);
        self.references
            .iter()
            .any(|wanted| pattern::fits(wanted, name) || pattern::fits(wanted, repository))
    }
}

/// A reference without its tag and digest.
fn repository(name: &str) -> &str {
    let name = name.split('@').next().unwrap_or(name);
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

/// `GET /images/{..}/json`
pub(crate) async fn inspect(call: Call) -> Result<Reply> {
    let found = call.host.inspect_image(&call.name).await?;
    reply::ok(&image::to_wire(&found, call.extended()))
}

/// `GET /images/{..}/history`
pub(crate) async fn history(call: Call) -> Result<Reply> {
    let found = call.host.inspect_image(&call.name).await?;
    reply::ok(&image::history(&found))
}

/// `POST /images/{..}/tag`
pub(crate) async fn tag(call: Call) -> Result<Reply> {
    let repo = image::familiar(call.query.needed("repo")?);
    let reference = match call.query.get("tag") {
        Some(tag) => format!("{repo}:{tag}"),
        None => repo.into(),
    };
    call.host.tag_image(&call.name, &reference).await?;
    Ok(reply::empty(StatusCode::CREATED))
}

/// `DELETE /images/{..}`
pub(crate) async fn remove(call: Call) -> Result<Reply> {
    if call.query.flag("noprune") {
        return Err(Error::unsupported(
            "`noprune`: there are no parent images that could stay",
        ));
    }
    let removed = call
        .host
        .remove_image(&call.name, call.query.flag("force"))
        .await?;
    let rows: Vec<_> = removed.iter().map(image::removal_to_wire).collect();
    reply::ok(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories() {
        assert_eq!(repository("busybox:latest"), "busybox");
        assert_eq!(repository("127.0.0.1:5000/a/b"), "127.0.0.1:5000/a/b");
        assert_eq!(
            repository("127.0.0.1:5000/a/b:v1@sha256:00"),
            "127.0.0.1:5000/a/b"
        );
    }
}
