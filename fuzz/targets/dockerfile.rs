//! Any bytes as a Dockerfile: read, expanded, and planned with bases that say nothing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use orc_image::build::graph::Bases;
use orc_image::build::plan::make::{plan, wanted};
use orc_image::build::plan::options::PlanOptions;
use orc_image::config::ConfigFile;
use orc_image::dockerfile::ast::Dockerfile;
use orc_image::dockerfile::environment::Environment;
use orc_image::dockerfile::expand::Expander;
use orc_image::platform::Platform;

/// Triggers of bases may want more bases; these have none, so once more is enough.
const ROUNDS: usize = 3;

fuzz_target!(|bytes: &[u8]| {
    let dockerfile = match Dockerfile::parse("Dockerfile", bytes) {
        Ok(dockerfile) => dockerfile,
        Err(error) => return check(&error),
    };
    assert!(!dockerfile.stages.is_empty());
    let mut environment = Environment::default();
    environment.set("A", "a b");
    environment.set("PATH", "/bin");
    let mut expander = Expander::new(dockerfile.directives.escape, &environment);
    for instruction in dockerfile
        .stages
        .iter()
        .flat_map(|stage| &stage.instructions)
    {
        let _ = expander.kind(&instruction.kind);
    }
    let options = PlanOptions::new(Platform::host());
    let mut bases = Bases::new();
    for _ in 0..ROUNDS {
        match wanted(&dockerfile, &options, &bases) {
            Ok(more) => bases.extend(
                more.into_keys()
                    .map(|source| (source, ConfigFile::default())),
            ),
            Err(error) => return check(&error),
        }
    }
    match plan(&dockerfile, &options, &bases) {
        Ok(plan) => assert!(
            plan.config
                .config
                .env
                .iter()
                .all(|line| !line.contains('\0'))
        ),
        Err(error) => check(&error),
    }
});

/// Mistakes come together, but not without end.
fn check(error: &dyn std::fmt::Display) {
    let text = error.to_string();
    assert!(
        !text.is_empty() && text.len() < 64 << 10,
        "{} bytes",
        text.len()
    );
}
