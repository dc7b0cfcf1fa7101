//! `images`, `history`, `tag`, `rmi` and `image prune`: what images there are.

use std::collections::BTreeSet;

use clap::Args;
use orc_base::{Error, Kind, Result, Time, units};
use orc_host::image::{Image, Removal};

use crate::cli::describe;
use crate::cli::each::each;
use crate::cli::failure::{OK, Outcome};
use crate::cli::parse::filter::{self, Named};
use crate::cli::parse::time;
use crate::cli::platform::PlatformFlag;
use crate::cli::session::Session;
use crate::ui::format::{Column, Format, Row};
use crate::ui::out;
use crate::ui::table::ellipsis;

/// List images
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Also those without a name; all are shown anyway
    #[arg(short, long, hide = true)]
    all: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Only some: reference=…, dangling=true, label=…, before=IMAGE, since=IMAGE, until=24h
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,
    /// table, json, or a template such as '{{.ID}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// The same as --format json
    #[arg(long)]
    json: bool,
    /// Whole ids
    #[arg(long)]
    no_trunc: bool,
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
    /// Only those of a name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,
}

const DIGESTS: &[Column] = &[
    ("REPOSITORY", "Repository"),
    ("TAG", "Tag"),
    ("DIGEST", "Digest"),
    ("IMAGE ID", "ID"),
    ("CREATED", "CreatedSince"),
    ("SIZE", "Size"),
];

impl List {
    /// One line for each name.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        const KEYS: &[&str] = &["reference", "dangling", "before", "since", "until"];
        let wanted = filter::named(&self.filter, KEYS)?;
        let format = Format::parse(self.format.as_deref(), self.json)?;
        let now = session.now();
        let images = session.host().await?.list_images().await?;
        let span = Span::of(&wanted, &images, now)?;
        let images = images
            .iter()
            .filter(|image| matches(&wanted, image) && span.holds(image));
        if self.quiet {
            let mut shown = BTreeSet::new();
            for image in images.filter(|image| is_named(image, self.name.as_deref())) {
                let id = if self.no_trunc {
                    &image.id
                } else {
                    describe::short_id(&image.id)
                };
                if shown.insert(id) {
                    out::line(id);
                }
            }
            return Ok(OK);
        }
        let rows: Vec<Row> = images
            .flat_map(|image| describe::image(image, now, self.no_trunc))
            .filter(|row| {
                self.name
                    .as_deref()
                    .is_none_or(|name| row_is_named(row, name))
            })
            .collect();
        format.print(
            if self.digests {
                DIGESTS
            } else {
                describe::IMAGES
            },
            &rows,
        )?;
        Ok(OK)
    }
}

/// When the images of a list were made.
#[derive(Default)]
struct Span {
    before: Option<Time>,
    since: Option<Time>,
}

impl Span {
    fn of(wanted: &Named, images: &[Image], now: Time) -> Result<Self> {
        let mut span = Self::default();
        for (key, value) in &wanted.fields {
            match key.as_str() {
                "until" => span.before = Some(time::moment(value, now)?),
                "before" => span.before = find(images, value)?.created,
                "since" => span.since = find(images, value)?.created,
                _ => {}
            }
        }
        Ok(span)
    }

    fn holds(&self, image: &Image) -> bool {
        self.before.is_none_or(|time| image.created < Some(time))
            && self.since.is_none_or(|time| image.created > Some(time))
    }
}

/// The image of a name or the start of an id.
fn find<'a>(images: &'a [Image], name: &str) -> Result<&'a Image> {
    let is_named = |image: &&Image| {
        let tagged = |tag: &String| tag == name || *tag == format!("{name}:latest");
        image.tags.iter().any(tagged)
            || image.id.starts_with(name)
            || describe::short_id(&image.id).starts_with(name)
    };
    let found = images.iter().find(is_named);
    found.ok_or_else(|| Error::not_found(format!("No such image: {name}")))
}

fn matches(wanted: &Named, image: &Image) -> bool {
    wanted.labels_match(&image.config.labels)
        && wanted
            .dangling
            .is_none_or(|dangling| dangling == image.tags.is_empty())
        && wanted.field_matches("reference", |pattern| {
            image
                .tags
                .iter()
                .any(|tag| glob(pattern, tag) || glob(pattern, describe::split_tag(tag).0))
        })
}

fn is_named(image: &Image, name: Option<&str>) -> bool {
    name.is_none_or(|name| {
        image
            .tags
            .iter()
            .any(|tag| tag == name || describe::split_tag(tag).0 == name)
    })
}

fn row_is_named(row: &Row, name: &str) -> bool {
    let field = |wanted: &str| {
        let found = row.fields.iter().find(|(field, _)| *field == wanted);
        found
            .and_then(|(_, value)| value.as_str())
            .unwrap_or_default()
    };
    let repository = field("Repository");
    repository == name || format!("{repository}:{}", field("Tag")) == name
}

/// `*` is any number of characters but slashes.
fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            let end = rest.find('/').unwrap_or(rest.len());
            (0..=end)
                .filter(|cut| rest.is_char_boundary(*cut))
                .any(|cut| glob(after, &rest[cut..]))
        }),
    }
}

/// Show how an image was made
#[derive(Debug, Args)]
pub(crate) struct History {
    /// table, json, or a template such as '{{.CreatedBy}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Sizes and dates for people; `--human=false` for programs
    #[arg(short = 'H', long, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set, value_name = "BOOL")]
    human: bool,
    /// Whole instructions
    #[arg(long)]
    no_trunc: bool,
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    platform: PlatformFlag,
    /// The image
    image: String,
}

const HISTORY: &[Column] = &[
    ("IMAGE", "ID"),
    ("CREATED", "CreatedSince"),
    ("CREATED BY", "CreatedBy"),
    ("SIZE", "Size"),
    ("COMMENT", "Comment"),
];

impl History {
    /// Newest first.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let format = Format::parse(self.format.as_deref(), false)?;
        let host = session.host().await?;
        self.platform
            .check(&*host, std::slice::from_ref(&self.image))
            .await?;
        let image = host.inspect_image(&self.image).await?;
        let now = session.now();
        let row = |(index, (step, bytes)): (usize, (&orc_host::image::History, u64))| {
            // Only of the last step it is known which image it made.
            let id = match index {
                0 if self.no_trunc => &image.id,
                0 => describe::short_id(&image.id),
                _ => "<missing>",
            };
            let created = step.created.map(|time| time.to_string());
            let size = match self.human {
                true => units::format_bytes(bytes),
                false => bytes.to_string(),
            };
            let by = step
                .created_by
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ");
            Row::default()
                .with("Comment", step.comment.clone())
                .with("CreatedAt", created.clone().unwrap_or_default())
                .with(
                    "CreatedBy",
                    if self.no_trunc { by } else { ellipsis(&by, 45) },
                )
                .with(
                    "CreatedSince",
                    match (self.human, step.created) {
                        (true, Some(time)) => describe::ago(time, now),
                        (false, Some(_)) => created.unwrap_or_default(),
                        (_, None) => "N/A".into(),
                    },
                )
                .with("ID", id)
                .with("Size", size)
        };
        let rows: Vec<Row> = image.steps().rev().enumerate().map(row).collect();
        if self.quiet {
            let ids = rows
                .iter()
                .filter_map(|row| row.object()["ID"].as_str().map(str::to_owned));
            ids.for_each(|id| out::line(&id));
            return Ok(OK);
        }
        format.print(HISTORY, &rows)?;
        Ok(OK)
    }
}

/// Give an image one more name
#[derive(Debug, Args)]
pub(crate) struct Tag {
    /// The image
    #[arg(value_name = "IMAGE")]
    image: String,
    /// The new name
    #[arg(value_name = "NAME[:TAG]")]
    name: String,
}

impl Tag {
    /// Prints nothing, as Docker does.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        session
            .host()
            .await?
            .tag_image(&self.image, &self.name)
            .await?;
        Ok(OK)
    }
}

/// Remove images
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Also when stopped containers use them
    #[arg(short, long)]
    force: bool,
    // Images of steps have no life of their own here, so none is ever left without a name.
    #[arg(long, hide = true)]
    no_prune: bool,
    #[command(flatten)]
    platform: PlatformFlag,
    /// The images
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

impl Remove {
    /// One after the other, so that of two names of one image the last removes it.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let host = session.host().await?;
        self.platform.check(&*host, &self.images).await?;
        let mut outcome = Ok(OK);
        for image in &self.images {
            let host = &host;
            let removed = each(std::slice::from_ref(image), |image| async move {
                let removals = host.remove_image(&image, self.force).await;
                match removals {
                    Err(error) if error.kind() == Kind::NotFound && self.force => Ok(String::new()),
                    other => Ok(lines(&other?)),
                }
            });
            outcome = removed.await.and(outcome);
        }
        outcome
    }
}

fn lines(removals: &[Removal]) -> String {
    let line = |removal: &Removal| match removal {
        Removal::Untagged(name) => format!("Untagged: {name}"),
        Removal::Deleted(id) => format!("Deleted: {id}"),
    };
    removals.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (pattern, text, matches) in [
            ("busybox", "busybox", true),
            ("busy*", "busybox:latest", true),
            ("*box", "busybox", true),
            ("a/*", "a/b", true),
            ("a*", "a/b", false),
            ("*", "a/b", false),
            ("*/b", "ä/b", true),
            ("x*", "busybox", false),
        ] {
            assert_eq!(glob(pattern, text), matches, "{pattern} {text}");
        }
    }

    #[test]
    fn removals() {
        let removals = [
            Removal::Untagged("a:b".into()),
            Removal::Deleted("sha256:1".into()),
        ];
        assert_eq!(lines(&removals), "Untagged: a:b\nDeleted: sha256:1");
    }
}
