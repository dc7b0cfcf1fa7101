//! `config` of a generated project of 2 000 lines, as people feel it: the program from its start to its
//! end. No daemon is asked.

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Lines of the project.
const LINES: usize = 2_000;
/// How often it is read.
const ROUNDS: usize = 21;
/// The most it may take.
pub(crate) const LIMIT_MS: f64 = 50.0;

/// The times of all rounds.
pub(crate) fn rounds(directory: &Path) -> Vec<Duration> {
    std::fs::write(directory.join("compose.yaml"), project()).expect("a file");
    (0..ROUNDS).map(|_| round(directory)).collect()
}

fn round(directory: &Path) -> Duration {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orc"));
    command.args(["compose", "config"]).current_dir(directory);
    command.stdout(Stdio::null());
    let start = Instant::now();
    let status = command.status().expect("orc starts");
    let time = start.elapsed();
    assert!(status.success(), "the project is printed");
    time
}

/// Services as people write them: anchors, variables, ports, mounts, health checks, a row of
/// dependencies.
fn project() -> String {
    let mut text = String::from(
        "x-base: &base\n  restart: unless-stopped\n  logging: {driver: local}\nservices:\n",
    );
    let mut count = 0;
    while text.lines().count() + count < LINES {
        service(&mut text, count);
        count += 1;
    }
    text.push_str("networks:\n  front:\n  back:\nvolumes:\n");
    for index in 0..count {
        writeln!(text, "  data{index}:").expect("memory takes all");
    }
    text
}

fn service(text: &mut String, index: usize) {
    let (before, port) = (index.saturating_sub(1), 10_000 + index);
    let needs = match index {
        0 => String::new(),
        _ => format!("    depends_on:\n      s{before}:\n        condition: service_healthy\n"),
    };
    write!(
        text,
        "  s{index}:\n    <<: *base\n    image: registry.example.com/app-{index}:${{TAG:-1.{index}}}\n    \
         command: run --name s{index}\n    environment:\n      INDEX: {index}\n      \
         LOG_LEVEL: ${{LOG_LEVEL:-info}}\n    ports:\n      - \"{port}:80\"\n    volumes:\n      \
         - data{index}:/data\n      - ./conf:/etc/app:ro\n    networks: [front, back]\n    \
         healthcheck:\n      test: [CMD, curl, -f, http://localhost]\n      interval: 10s\n    \
         deploy:\n      resources:\n        limits:\n          memory: 128M\n    labels:\n      \
         - traefik.enable=true\n{needs}"
    )
    .expect("memory takes all");
}
