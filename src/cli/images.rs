//! `images`, `history`, `tag`, `rmi` and `image prune`: what images there are.

use std::collections::BTreeSet;

use clap::Args;
use orc_base::Kind;
use orc_host::image::{Image, Removal};

use crate::cli::describe;
use crate::cli::each::each;
use crate::cli::failure::{OK, Outcome};
use crate::cli::parse::filter::{self, Named};
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
    /// Only some: reference=…, dangling=true, label=…
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
        let wanted = filter::named(&self.filter, &["reference", "dangling"])?;
        let format = Format::parse(self.format.as_deref(), self.json)?;
        let images = session.host().await?.list_images().await?;
        let images = images.iter().filter(|image| matches(&wanted, image));
        let now = session.now();
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
    /// Whole instructions
    #[arg(long)]
    no_trunc: bool,
    /// The image
    image: String,
}

const HISTORY: &[Column] = &[
    ("CREATED", "CreatedSince"),
    ("CREATED BY", "CreatedBy"),
    ("COMMENT", "Comment"),
];

impl History {
    /// Newest first.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let format = Format::parse(self.format.as_deref(), false)?;
        let image = session.host().await?.inspect_image(&self.image).await?;
        let now = session.now();
        let row = |step: &orc_host::image::History| {
            let by = step
                .created_by
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ");
            Row::default()
                .with("Comment", step.comment.clone())
                .with(
                    "CreatedAt",
                    step.created
                        .map(|time| time.to_string())
                        .unwrap_or_default(),
                )
                .with(
                    "CreatedBy",
                    if self.no_trunc { by } else { ellipsis(&by, 45) },
                )
                .with(
                    "CreatedSince",
                    step.created
                        .map_or("N/A".into(), |time| describe::ago(time, now)),
                )
        };
        let rows: Vec<Row> = image.history.iter().rev().map(row).collect();
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
    /// The images
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

impl Remove {
    /// One after the other, so that of two names of one image the last removes it.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let host = session.host().await?;
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
