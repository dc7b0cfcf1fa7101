//! Asks whether a project from elsewhere may have what it wishes of this machine.
//!
//! Docker compose's trust model makes whoever wrote a file as mighty as whoever runs it. So what such
//! files would get is told (`orc_compose::model::Foreign`), and nothing is made until somebody agrees: by
//! an answer, or by `-y`. The answer holds for the same versions and the same wishes, so that `scale` or
//! `run` do not ask again.

use orc_base::fs::{Durability, write_atomic};
use orc_base::{Error, Result};
use orc_compose::model::{Foreign, Project};
use orc_image::digest::Digest;

use crate::cli::compose::remote::cache::Cache;
use crate::cli::place::Place;
use crate::cli::prompt;
use crate::ui::{escape, out, terminal};

/// Comes back when the project may be made. `yes` is the answer beforehand.
pub(crate) async fn ask(place: &Place, project: &Project, yes: bool) -> Result<()> {
    let foreign = &project.foreign;
    if foreign.sources.is_empty() {
        return Ok(());
    }
    out::note(&format!(
        "The files of project {} from elsewhere are in {}",
        project.name,
        escape::line(&project.working_dir.display().to_string())
    ));
    if foreign.wishes.is_empty() {
        return Ok(());
    }
    let cache = Cache::of(place)?;
    let given = cache.consent(&fingerprint(foreign));
    if given.is_file() {
        return Ok(());
    }
    let told = told(foreign);
    if yes {
        out::note(&told);
    } else if !terminal::stdin_is_terminal() {
        return Err(Error::denied(format!(
            "{told}\nif that is meant, agree with `up -y` or `create -y`"
        )));
    } else if !prompt::ask(told.clone()).await? {
        return Err(Error::denied("nothing was made: nobody agreed"));
    }
    write_atomic(&given, told.as_bytes(), Durability::Process)
}

/// Refuses a project from elsewhere that names programs of this machine, unless somebody has agreed: who
/// looks at such a project runs them.
pub(crate) fn refuse_programs(place: &Place, project: &Project) -> Result<()> {
    let foreign = &project.foreign;
    if foreign.programs.is_empty() {
        return Ok(());
    }
    let given = Cache::of(place)?.consent(&fingerprint(foreign));
    match given.is_file() {
        true => Ok(()),
        false => Err(Error::denied(format!(
            "{}\nif that is meant, agree with `up -y` or `create -y`",
            told(foreign)
        ))),
    }
}

/// The same for the same versions and wishes.
fn fingerprint(foreign: &Foreign) -> String {
    let all = [foreign.sources.as_slice(), &foreign.wishes].concat();
    let digest = Digest::of(all.join("\0").as_bytes());
    digest.as_str().replace(':', "-")
}

fn told(foreign: &Foreign) -> String {
    let lines = |texts: &[String]| -> String {
        let line = |text: &String| format!("\n  {}", escape::line(text));
        texts.iter().map(line).collect()
    };
    format!(
        "These files are not of this machine:{}\nThey ask for what others should get from whom you trust only:{}",
        lines(&foreign.sources),
        lines(&foreign.wishes)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consent_is_for_these_versions_and_wishes() {
        let foreign = |source: &str, wish: &str| Foreign {
            sources: vec![source.into()],
            wishes: vec![wish.into()],
            programs: Vec::new(),
        };
        let one = fingerprint(&foreign("oci://x (1)", "a"));
        assert_eq!(one, fingerprint(&foreign("oci://x (1)", "a")));
        assert_ne!(one, fingerprint(&foreign("oci://x (2)", "a")));
        assert_ne!(one, fingerprint(&foreign("oci://x (1)", "b")));
        let told = told(&foreign(
            "oci://x (1)",
            "service a: /\u{1b}[2J of this machine",
        ));
        assert!(!told.contains('\u{1b}'), "{told}");
        assert_eq!(told.lines().count(), 4, "{told}");
    }
}
