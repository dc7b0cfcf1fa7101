//! `history`: what ran before.

use clap::Args;
use orc_compose::history::{History as Revisions, Revision};
use serde_json::{Value, json};

use crate::cli::compose::book::Book;
use crate::cli::describe;
use crate::cli::failure::{OK, Outcome};
use crate::cli::project::ProjectFlags;
use crate::cli::session::Session;
use crate::ui::format::{Column, Format, Row};
use crate::ui::{escape, out};

/// Show what ran before: each revision with its file and its images
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    orc compose history           the last revisions of the project here\n  \
    orc compose history 3         the file of the third, and its images\n  \
    orc compose rollback 3        back to it\n\n\
    A revision is written when `up` or `rollback` has changed something; the last 20 are kept, also\n\
    over `down`. Files of secrets and configs are not kept.")]
pub(crate) struct History {
    /// table, json, or a template such as '{{.Revision}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// The same as --format json
    #[arg(long)]
    json: bool,
    /// Only numbers
    #[arg(short, long)]
    quiet: bool,
    /// Forget all revisions
    #[arg(long, conflicts_with_all = ["format", "json", "quiet", "revision"])]
    clear: bool,
    /// Show the file of this revision
    #[arg(value_name = "REVISION")]
    revision: Option<u64>,
}

const COLUMNS: &[Column] = &[
    ("REVISION", "Revision"),
    ("WHEN", "RunningSince"),
    ("BY", "By"),
    ("CHANGES", "Changes"),
];

impl History {
    /// Asks no daemon.
    pub(crate) fn run(self, session: &Session, flags: &ProjectFlags) -> Outcome {
        let project = flags.load_or_name(&[])?;
        let book = Book::of(session, &project.name)?;
        if self.clear {
            book.clear()?;
            return Ok(OK);
        }
        let history = book.read()?;
        match self.revision {
            Some(number) => self.one(history.find(Some(number))?),
            None => self.all(&history, session),
        }
    }

    fn one(&self, revision: &Revision) -> Outcome {
        if self.json {
            out::line(&object(revision).to_string());
            return Ok(OK);
        }
        for (service, ran) in &revision.services {
            let digest = ran.digests.first().unwrap_or(&ran.image_id);
            out::line(&format!(
                "# {}: {} ({})",
                escape::line(service),
                escape::line(&ran.image),
                escape::line(digest)
            ));
        }
        out::bytes(escape::text(&revision.text).as_bytes());
        Ok(OK)
    }

    fn all(&self, history: &Revisions, session: &Session) -> Outcome {
        if self.quiet {
            let numbers = history.revisions.iter().rev();
            numbers.for_each(|one| out::line(&one.number.to_string()));
            return Ok(OK);
        }
        let format = Format::parse(self.format.as_deref(), self.json)?;
        let earlier = std::iter::once(None).chain(history.revisions.iter().map(Some));
        let mut rows: Vec<Row> = history
            .revisions
            .iter()
            .zip(earlier)
            .map(|(one, earlier)| row(one, earlier, session))
            .collect();
        rows.reverse();
        format.print(COLUMNS, &rows)?;
        Ok(OK)
    }
}

fn row(revision: &Revision, earlier: Option<&Revision>, session: &Session) -> Row {
    Row::default()
        .with("Revision", revision.number)
        .with("RunningSince", describe::ago(revision.time, session.now()))
        .with("By", revision.by.clone())
        .with("Changes", changes(revision, earlier))
        .with("Time", revision.time.to_string())
        .with("Services", images(revision))
}

/// `web (image), db (new)`.
fn changes(revision: &Revision, earlier: Option<&Revision>) -> String {
    let changes = revision.changes(earlier);
    let words: Vec<String> = changes
        .iter()
        .map(|(service, what)| format!("{service} ({})", what.join(", ")))
        .collect();
    match words.is_empty() {
        true => "what no container is made from".into(),
        false => words.join(", "),
    }
}

fn images(revision: &Revision) -> Value {
    let services = revision.services.iter();
    let image = |ran: &orc_compose::history::Ran| json!({"Image": ran.image, "ImageID": ran.image_id, "Digests": ran.digests, "ConfigHash": ran.hash});
    services
        .map(|(name, ran)| (name.clone(), image(ran)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn object(revision: &Revision) -> Value {
    json!({
        "Revision": revision.number,
        "Time": revision.time.to_string(),
        "By": revision.by,
        "Services": images(revision),
        "File": revision.text,
    })
}
