//! The reference pages are what the program says: `docs/cli.md` is its help, word for word.
//!
//! `BLESS=1 cargo test -p orc docs` writes the page anew.

use std::path::Path;
use std::process::Command;

/// Bounds the walk through commands of commands.
const MAX_DEPTH: usize = 3;

fn help(path: &[String]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_orc"))
        .args(path)
        .arg("--help")
        .env_clear()
        .env("NO_COLOR", "1")
        .env("COLUMNS", "100")
        .output()
        .expect("orc runs");
    assert!(output.status.success(), "orc {} --help", path.join(" "));
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

/// The commands that a help text lists: two blanks, a word, blanks, a sentence.
fn commands(help: &str) -> Vec<String> {
    let section = |line: &str| line.ends_with(':') && !line.starts_with(' ');
    let mut listing = false;
    let mut found = Vec::new();
    for line in help.lines() {
        if section(line) {
            let title = line.trim_end_matches(':');
            listing = !matches!(
                title,
                "Flags" | "Options" | "Arguments" | "Examples" | "Project"
            );
        } else if let Some(rest) = line.strip_prefix("  ").filter(|_| listing) {
            let word = rest.split(' ').next().unwrap_or_default();
            let listed = rest
                .strip_prefix(word)
                .is_some_and(|rest| rest.starts_with("  "));
            let lower = word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
            if listed && lower && !word.is_empty() && !word.starts_with('-') && word != "help" {
                found.push(word.to_owned());
            }
        }
    }
    found
}

fn page(path: &[String], page_text: &mut String) {
    let text = help(path);
    let name = std::iter::once("orc")
        .chain(path.iter().map(String::as_str))
        .collect::<Vec<_>>()
        .join(" ");
    *page_text += &format!(
        "\n{} `{name}`\n\n```text\n{}\n```\n",
        "#".repeat(path.len() + 2),
        text.trim_end()
    );
    if path.len() < MAX_DEPTH {
        for command in commands(&text) {
            let mut path = path.to_vec();
            path.push(command);
            page(&path, page_text);
        }
    }
}

#[test]
fn the_command_line_is_documented_as_it_is() {
    let mut now = String::from(
        "# The command line\n\nWhat `orc COMMAND --help` says. Written by `BLESS=1 cargo test -p orc docs`; do not edit.\n",
    );
    page(&[], &mut now);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, &now).expect("write the page");
    }
    let then = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        now == then,
        "docs/cli.md is not what orc says: run `BLESS=1 cargo test -p orc docs`"
    );
}
