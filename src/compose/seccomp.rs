//! Seccomp profiles that services name by `security_opt: [seccomp=profile.json]`.
//!
//! As docker compose does it: the path starts at the project's directory, and what is in the file goes
//! to the engine, which knows what it means. A file that is not there is said when the service is made.

use std::path::Path;

use orc_base::{Error, Result};

use crate::files::{Files, join};
use crate::model::service::Service;
use crate::model::{Finding, Project, Severity, Subject};

/// Reads the profiles of all services.
pub(crate) fn read(project: &mut Project, files: &dyn Files) {
    let directory = project.working_dir.clone();
    let services = project.services.iter_mut().chain(&mut project.disabled);
    for (name, service) in services {
        let Some(path) = named(service) else {
            continue;
        };
        let path = join(&directory, path);
        match text(files, &path) {
            Ok(text) => service.seccomp_profile = Some(text),
            Err(error) => project.findings.push(Finding {
                subject: Subject::Service(name.clone()),
                text: format!("services.{name}.security_opt: seccomp profile: {error}"),
                severity: Severity::Missing,
            }),
        }
    }
}

/// The file that a service names; the last one counts.
fn named(service: &Service) -> Option<&str> {
    let options = service.security_opt.iter().rev();
    let mut profiles = options.filter_map(|option| {
        let path = option.strip_prefix("seccomp")?;
        path.strip_prefix(['=', ':'])
    });
    let last = profiles.next()?;
    (!matches!(last, "unconfined" | "builtin" | "")).then_some(last)
}

fn text(files: &dyn Files, path: &Path) -> Result<String> {
    let text = files.read(path)?;
    match text.trim_start().starts_with('{') {
        true => Ok(text),
        false => Err(Error::invalid(format!(
            "{} is not a JSON object",
            path.display()
        ))),
    }
}
