//! `orc --help`: all commands under headings, which clap has not for subcommands.

use clap::CommandFactory;

/// Every command, by what it is about.
const GROUPS: &[(&str, &[&str])] = &[
    ("Compose", &["up", "down", "plan", "compose"]),
    (
        "Containers",
        &[
            "run",
            "exec",
            "ps",
            "logs",
            "create",
            "start",
            "stop",
            "restart",
            "kill",
            "rm",
            "attach",
            "wait",
            "pause",
            "unpause",
            "rename",
            "update",
            "top",
            "stats",
            "port",
            "cp",
            "diff",
            "export",
            "commit",
            "container",
        ],
    ),
    (
        "Images",
        &[
            "build", "images", "pull", "push", "tag", "rmi", "history", "import", "save", "load",
            "image", "builder",
        ],
    ),
    ("Registries", &["login", "logout", "registry"]),
    ("Networks and volumes", &["network", "volume"]),
    (
        "This machine",
        &["inspect", "events", "info", "version", "system", "daemon"],
    ),
];

const EXAMPLES: &str = "\
Examples:
  orc up -d --wait                   run the project in this directory
  orc logs -f web                    what its service `web` writes
  orc exec web sh                    a shell in it
  orc run --rm -it busybox sh        a shell in a new container
";

/// The command line with its help put together from [`GROUPS`].
pub(crate) fn command<C: CommandFactory>() -> clap::Command {
    let command = C::command();
    let help = text(&command);
    command.override_help(help)
}

fn text(command: &clap::Command) -> String {
    let mut text = String::from(
        "Run containers, and projects of several, on an engine of its own.\n\nUsage: orc [FLAGS] COMMAND\n",
    );
    let about = |name: &str| {
        let found = command
            .get_subcommands()
            .find(|command| command.get_name() == name);
        found
            .and_then(clap::Command::get_about)
            .map(ToString::to_string)
            .unwrap_or_default()
    };
    for (title, names) in GROUPS {
        text.push_str(&format!("\n{title}:\n"));
        for name in *names {
            text.push_str(&format!("  {name:<11} {}\n", about(name)));
        }
    }
    text.push_str("\nFlags:\n");
    for flag in command.get_arguments().filter(|flag| !flag.is_positional()) {
        let short = flag
            .get_short()
            .map_or("    ".into(), |short| format!("-{short}, "));
        let long = flag.get_long().unwrap_or_default();
        let value = flag
            .get_value_names()
            .filter(|_| flag.get_action().takes_values());
        let value = value
            .map(|names| format!(" {}", names.join(" ")))
            .unwrap_or_default();
        let env = flag
            .get_env()
            .map(|name| format!(" [{}]", name.to_string_lossy()))
            .unwrap_or_default();
        let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
        text.push_str(&format!(
            "  {:<27} {help}{env}\n",
            format!("{short}--{long}{value}")
        ));
    }
    text.push_str("  -h, --help                  Print help; `orc COMMAND --help` for a command\n  -V, --version               Print the version\n\n");
    text.push_str(EXAMPLES);
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::cli::command::Cli;

    use super::*;

    #[test]
    fn every_command_has_its_place() {
        let command = Cli::command();
        let known: BTreeSet<&str> = command
            .get_subcommands()
            .map(clap::Command::get_name)
            .collect();
        let listed: Vec<&str> = GROUPS
            .iter()
            .flat_map(|(_, names)| names.iter().copied())
            .collect();
        assert_eq!(listed.iter().copied().collect::<BTreeSet<_>>(), known);
        assert_eq!(listed.len(), known.len(), "a command is listed twice");
    }

    #[test]
    fn the_tree_holds_together() {
        command::<Cli>().debug_assert();
    }

    #[test]
    fn nothing_is_without_words() {
        fn check(command: &clap::Command) {
            for inner in command.get_subcommands() {
                assert!(
                    inner.get_about().is_some(),
                    "{} has no help",
                    inner.get_name()
                );
                check(inner);
            }
            for flag in command.get_arguments().filter(|flag| !flag.is_hide_set()) {
                assert!(
                    flag.get_help().is_some(),
                    "{} of {} has no help",
                    flag.get_id(),
                    command.get_name()
                );
            }
        }
        check(&command::<Cli>());
    }
}
