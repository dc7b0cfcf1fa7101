//! The promise of a whole command line: every command and flag of docker 28 is meant or refused by name.
//!
//! `testdata/docker-28.txt` is what `docker COMMAND --help` lists, a line a command (`-` is what stands
//! before commands) and `=` behind a flag that takes a value. Whether a flag acts is what the tests of
//! its command say.

use std::collections::BTreeSet;
use std::process::Command as Process;

use clap::{Arg, Command};

use crate::cli::command::Cli;
use crate::cli::{help, refused};

const DOCKER: &str = include_str!("testdata/docker-28.txt");

/// A flag as the table has it: `-d|--detach`, `--name=`.
struct Flag<'a> {
    names: Vec<&'a str>,
    takes_value: bool,
}

impl<'a> Flag<'a> {
    fn read(text: &'a str) -> Self {
        let names = text.trim_end_matches('=').split('|').collect();
        Self {
            names,
            takes_value: text.ends_with('='),
        }
    }
}

/// The commands of the table with their flags.
fn table() -> impl Iterator<Item = (&'static str, Vec<Flag<'static>>)> {
    DOCKER.lines().map(|line| {
        let (command, flags) = line.split_once(':').expect("COMMAND: FLAGS");
        let command = if command == "-" { "" } else { command };
        (command, flags.split_whitespace().map(Flag::read).collect())
    })
}

fn takes(command: &Command, flag: &str, takes_value: bool) -> bool {
    let named = |arg: &&Arg| match flag.strip_prefix("--") {
        Some(name) => {
            let aliases = arg.get_all_aliases().unwrap_or_default();
            arg.get_long() == Some(name) || aliases.contains(&name)
        }
        None => {
            let name = flag.chars().nth(1).expect("-x");
            let aliases = arg.get_all_short_aliases().unwrap_or_default();
            arg.get_short() == Some(name) || aliases.contains(&name)
        }
    };
    let needs_value = |arg: &Arg| {
        arg.get_action().takes_values()
            && arg
                .get_num_args()
                .is_none_or(|count| count.min_values() > 0)
    };
    command
        .get_arguments()
        .find(named)
        .is_some_and(|arg| needs_value(arg) == takes_value)
}

/// What of `flags` is neither taken nor refused.
fn unknown(command: &Command, path: &str, flags: &[Flag<'_>]) -> Vec<String> {
    let names = |flag: &Flag<'_>| {
        let names = flag.names.iter().copied();
        let unknown = |name: &&str| {
            !takes(command, name, flag.takes_value) && refused::flag(path, name).is_none()
        };
        names
            .filter(unknown)
            .map(|name| format!("{path} {name}"))
            .collect::<Vec<_>>()
    };
    flags.iter().flat_map(names).collect()
}

/// Whether the command, or the group it is in, is refused by name.
fn is_refused(path: &str) -> bool {
    let group = path.split(' ').next().unwrap_or_default();
    refused::command(path).is_some() || refused::command(group).is_some()
}

#[test]
fn every_command_and_flag_of_docker_is_meant_or_refused() {
    let whole = help::command::<Cli>();
    let mut all = Vec::new();
    for (path, flags) in table() {
        let mut words = path.split_whitespace();
        match words.try_fold(&whole, |command, word| command.find_subcommand(word)) {
            None if is_refused(path) => {}
            None => all.push(path.to_owned()),
            Some(command) => all.extend(unknown(command, path, &flags)),
        }
    }
    assert!(
        all.is_empty(),
        "neither meant nor refused: {}",
        all.join(", ")
    );
}

#[test]
fn what_is_refused_is_docker_s_and_not_taken() {
    let whole = help::command::<Cli>();
    let known: BTreeSet<(&str, &str)> = table()
        .flat_map(|(path, flags)| {
            let names = flags.into_iter().flat_map(|flag| flag.names);
            names.map(move |name| (path, name))
        })
        .collect();
    for (path, flag) in refused::flags() {
        assert!(known.contains(&(path, flag)), "docker has no {path} {flag}");
        let mut words = path.split_whitespace();
        let command = words.try_fold(&whole, |command, word| command.find_subcommand(word));
        let command = command.unwrap_or_else(|| panic!("there is no {path}"));
        let taken = takes(command, flag, true) || takes(command, flag, false);
        assert!(!taken, "{path} {flag} is taken, and refused");
    }
    for path in refused::commands() {
        assert!(
            table().any(|(known, _)| known == path || known.starts_with(&format!("{path} "))),
            "docker has no {path}"
        );
    }
}

#[test]
fn a_missing_one_is_noticed() {
    let command = Command::new("x")
        .arg(
            Arg::new("all")
                .long("all")
                .short('a')
                .action(clap::ArgAction::SetTrue),
        )
        .arg(Arg::new("name").long("name"));
    let flags: Vec<_> = ["-a|--all", "--name=", "-b|--some=", "--all=", "--name"]
        .map(Flag::read)
        .into();
    assert_eq!(
        unknown(&command, "x", &flags),
        ["x -b", "x --some", "x --all", "x --name"]
    );
}

/// The line of the table for one command, from the help of the real one.
fn line(path: &[&str], help: &str) -> String {
    let flags = help.lines().filter_map(|line| {
        let text = line.strip_prefix("  ")?.trim_start();
        let indent = line.len() - text.len();
        let (short, long) = match text.split_once(", --") {
            Some((short, long)) if indent == 2 && short.len() == 2 => (format!("{short}|"), long),
            _ if indent == 6 => (String::new(), text.strip_prefix("--")?),
            _ => return None,
        };
        let name = long.split(' ').next()?;
        let takes_value = !long[name.len()..].starts_with("  ") && long.len() > name.len();
        let value = if takes_value { "=" } else { "" };
        (name != "help").then(|| format!(" {short}--{name}{value}"))
    });
    let name = if path.is_empty() {
        "-".into()
    } else {
        path.join(" ")
    };
    format!("{name}:{}", flags.collect::<String>())
}

/// The table says what Docker's command line says, where it is of the same version.
#[test]
fn the_table_is_docker_s_help() {
    let ask = |words: &[&str]| {
        let output = Process::new("docker")
            .args(words)
            .env_remove("DOCKER_HOST")
            .output();
        let output = output.expect("there is no `docker` on this machine: run `make deps-test`");
        String::from_utf8(output.stdout).expect("text")
    };
    let version = ask(&["--version"]);
    if !version.starts_with("Docker version 28.") {
        println!("not compared: {}", version.trim());
        return;
    }
    for row in DOCKER.lines() {
        let name = row.split(':').next().expect("a name");
        let path: Vec<&str> = name.split(' ').filter(|word| *word != "-").collect();
        let words: Vec<&str> = path.iter().copied().chain(["--help"]).collect();
        assert_eq!(line(&path, &ask(&words)), row);
    }
}
