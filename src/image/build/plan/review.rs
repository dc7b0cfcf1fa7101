//! The checks that need to know the stage so far, beside those that come with an instruction's work.

use crate::build::plan::findings::Findings;
use crate::config::ImageConfig;
use crate::dockerfile::ast::{Command, Instruction, Kind, Place};
use crate::dockerfile::checks::Rule;

/// The lines of what should be there once in a stage.
#[derive(Default)]
pub(crate) struct Review {
    cmd: Option<Place>,
    entrypoint: Option<Place>,
    healthcheck: Option<Place>,
}

impl Review {
    /// Looks at an instruction before it is applied to `config`.
    pub(crate) fn look(
        &mut self,
        config: &ImageConfig,
        instruction: &Instruction,
        findings: &mut Findings<'_>,
    ) {
        let (place, name) = (&instruction.place, instruction.kind.name());
        let (pairs, command) = match &instruction.kind {
            Kind::Env(pairs) | Kind::Label(pairs) => (&pairs[..], None),
            Kind::Cmd(command) | Kind::Entrypoint(command) => (&[][..], Some(command)),
            _ => (&[][..], None),
        };
        if pairs.iter().any(|pair| pair.legacy) {
            let message = format!(
                "\"{name} key=value\" should be used instead of legacy \"{name} key value\" format"
            );
            findings.add(place, Rule::LegacyKeyValueFormat, message);
        }
        let shell = matches!(command, Some(Command::Shell(_)));
        if shell && config.shell.is_none() {
            let message = format!(
                "JSON arguments recommended for {name} to prevent unintended behavior related to OS signals"
            );
            findings.add(place, Rule::JSONArgsRecommended, message);
        }
        let names: Vec<&str> = match &instruction.kind {
            Kind::Env(pairs) => pairs.iter().map(|pair| pair.name.as_str()).collect(),
            Kind::Arg(arguments) => arguments.iter().map(|one| one.name.as_str()).collect(),
            _ => Vec::new(),
        };
        for secret in names.into_iter().filter(|name| is_secret(name)) {
            let message = format!(
                "Do not use ARG or ENV instructions for sensitive data ({name} \"{secret}\")"
            );
            findings.add(place, Rule::SecretsUsedInArgOrEnv, message);
        }
        let before = match &instruction.kind {
            Kind::Cmd(_) => &mut self.cmd,
            Kind::Entrypoint(_) => &mut self.entrypoint,
            Kind::Healthcheck(_) => &mut self.healthcheck,
            _ => return,
        };
        if let Some(before) = before.replace(place.clone()) {
            let message = format!(
                "Multiple {name} instructions should not be used in the same stage because only the last one will be used"
            );
            findings.add(&before, Rule::MultipleInstructionsDisallowed, message);
        }
    }
}

/// Names with a word that secrets have, as BuildKit's check has it.
fn is_secret(name: &str) -> bool {
    const SECRET: [&str; 10] = [
        "apikey",
        "auth",
        "credential",
        "credentials",
        "key",
        "password",
        "pword",
        "passwd",
        "secret",
        "token",
    ];
    const FINE: [&str; 3] = ["public", "file", "version"];
    let lower = name.to_ascii_lowercase();
    let has = |words: &[&str]| lower.split('_').any(|part| words.contains(&part));
    has(&SECRET) && !has(&FINE)
}
