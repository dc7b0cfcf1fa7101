//! From words to a command line, or one line about what is wrong with them.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, Command, Error, FromArgMatches};
use orc_base::spelling;

use crate::cli::refused;
use crate::ui::error;

/// Docker's exit code for wrong flags.
const WRONG_FLAGS: u8 = 125;

/// Reads `words`. An error was told, and is the exit code: 0 after `--help` and `--version`.
pub(crate) fn parse<T: FromArgMatches>(
    command: fn() -> Command,
    words: &[OsString],
) -> Result<T, u8> {
    read(command, words).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            0
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            1
        }
        kind => {
            let (line, path) = explain(&error, &command(), words);
            error::print(&orc_base::Error::invalid(line));
            let compose = path
                .iter()
                .any(|word| matches!(word.as_str(), "compose" | "up" | "down"));
            match kind == ErrorKind::InvalidSubcommand || compose {
                true => 1,
                false => WRONG_FLAGS,
            }
        }
    })
}

fn read<T: FromArgMatches>(command: fn() -> Command, words: &[OsString]) -> Result<T, Error> {
    let matches = match command().try_get_matches_from(words) {
        // `--rm=false`, which Docker's flags take; help shows the plain ones.
        Err(error) if matches!(error.kind(), ErrorKind::TooManyValues) => {
            with_values(command()).try_get_matches_from(words)
        }
        other => other,
    };
    T::from_arg_matches(&matches?)
}

/// Lets every switch take `=true` and `=false`.
fn with_values(command: Command) -> Command {
    let switch = |arg: clap::Arg| match arg.get_action() {
        ArgAction::SetTrue => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .default_value("false"),
        _ => arg,
    };
    command.mut_args(switch).mut_subcommands(with_values)
}

/// Rust's words for what is no number, and ours.
const NUMBERS: [(&str, &str); 5] = [
    ("invalid digit found in string", "it is not a whole number"),
    (
        "cannot parse integer from empty string",
        "it is not a whole number",
    ),
    ("number too large to fit in target type", "it is too large"),
    ("number too small to fit in target type", "it is too small"),
    ("invalid float literal", "it is not a number"),
];

/// What is wrong in one line, and the words of the command it is about.
fn explain(error: &Error, command: &Command, words: &[OsString]) -> (String, Vec<String>) {
    let text = error.render().to_string();
    let path = match usage_path(&text) {
        path if path.is_empty() => typed_path(command, words),
        path => path,
    };
    let see = format!("see `{} --help`", path.join(" "));
    if let Some((name, why)) = refused(error, &path) {
        return (format!("`{name}` is not supported: {why}"), path);
    }
    let mut lines = text.lines();
    let first: Vec<&str> = lines
        .by_ref()
        .map(str::trim)
        .take_while(|line| !line.is_empty())
        .collect();
    let mut line = first
        .join(" ")
        .trim_start_matches("error: ")
        .replace('\'', "`");
    for (theirs, ours) in NUMBERS {
        line = line.replace(theirs, ours);
    }
    let similar = lines.filter_map(|line| line.trim().strip_prefix("tip: "));
    // What would help in few cases only confuses in most.
    let mut similar = similar.filter(|tip| !tip.contains("to pass")).peekable();
    if let (None, Some(near)) = (similar.peek(), nearest_command(command, &path, error)) {
        line.push_str(&format!("; did you mean `{near}`?"));
    }
    for tip in similar {
        line.push_str(&format!("; {}", tip.replace('\'', "`")));
    }
    (format!("{line}; {see}"), path)
}

/// The words of the line `Usage: orc compose up [OPTIONS]` that name the command.
fn usage_path(text: &str) -> Vec<String> {
    let usage = text
        .lines()
        .find_map(|line| line.strip_prefix("Usage: "))
        .unwrap_or_default();
    let is_name = |word: &&str| word.chars().all(|c| c.is_ascii_lowercase());
    usage
        .split_whitespace()
        .take_while(is_name)
        .map(str::to_owned)
        .collect()
}

/// The words that lead to a command in what was typed: `orc compose up`.
fn typed_path(command: &Command, words: &[OsString]) -> Vec<String> {
    let mut path = vec![command.get_name().to_owned()];
    let mut at = command;
    let mut after_flag = false;
    for word in words.iter().skip(1).filter_map(|word| word.to_str()) {
        match at.find_subcommand(word) {
            Some(found) => {
                path.push(found.get_name().to_owned());
                at = found;
            }
            None if word.starts_with('-') || after_flag => {}
            None => break,
        }
        after_flag = word.starts_with('-');
    }
    path
}

/// The command that somebody meant who typed one that there is not, where clap has no idea.
fn nearest_command(command: &Command, path: &[String], error: &Error) -> Option<String> {
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) else {
        return None;
    };
    let group = path
        .iter()
        .skip(1)
        .try_fold(command, |at, word| at.find_subcommand(word))?;
    let known = group.get_subcommands().map(Command::get_name);
    spelling::nearest(typed, known).map(str::to_owned)
}

/// What Docker has and orc does not: the command or the flag that was typed, and why.
fn refused(error: &Error, path: &[String]) -> Option<(String, &'static str)> {
    let words = |more: &[&str]| {
        let mut words: Vec<&str> = path.iter().skip(1).map(String::as_str).collect();
        words.extend(more);
        words.join(" ")
    };
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let flag = context(ContextKind::InvalidArg)?.split('=').next()?;
            Some((flag.to_owned(), refused::flag(&words(&[]), flag)?))
        }
        ErrorKind::InvalidSubcommand => {
            let name = words(&[context(ContextKind::InvalidSubcommand)?]);
            let why = refused::command(&name)?;
            Some((format!("orc {name}"), why))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::command::Cli;
    use crate::cli::help;

    use super::*;

    fn check(line: &str, expected: &str) {
        let words: Vec<OsString> = std::iter::once("orc")
            .chain(line.split_whitespace())
            .map(OsString::from)
            .collect();
        let shown = match read::<Cli>(help::command::<Cli>, &words) {
            Ok(_) => "fine".to_owned(),
            Err(error) => explain(&error, &help::command::<Cli>(), &words).0,
        };
        assert_eq!(shown, expected, "{line}");
    }

    #[test]
    fn wrong_words_are_told_in_one_line() {
        check(
            "netwrk",
            "unrecognized subcommand `netwrk`; a similar subcommand exists: `network`; see `orc --help`",
        );
        check(
            "ps --al",
            "unexpected argument `--al` found; a similar argument exists: `--all`; see `orc ps --help`",
        );
        check(
            "run --gpus all x",
            "`--gpus` is not supported: orc hands out no devices by driver and count: name the device nodes with `--device`",
        );
        check(
            "rm",
            "the following required arguments were not provided: <NAME>...; see `orc rm --help`",
        );
        check(
            "stop -t soon web",
            "invalid value `soon` for `--timeout <SECONDS>`: it is not a whole number; see `orc stop --help`",
        );
        check(
            "rnu x",
            "unrecognized subcommand `rnu`; did you mean `run`?; see `orc --help`",
        );
        check(
            "run --cpu-shares 99999999999999999999 a",
            "invalid value `99999999999999999999` for `--cpu-shares <WEIGHT>`: it is too large; see `orc run --help`",
        );
        check("xyzzy", "unrecognized subcommand `xyzzy`; see `orc --help`");
    }

    #[test]
    fn what_docker_has_and_orc_has_not_is_refused_by_name() {
        check(
            "search nginx",
            "`orc search` is not supported: registries have no common way to be searched: use their web page; `orc registry tags NAME` lists the tags of a repository",
        );
        check(
            "container rm -l a/b",
            "`-l` is not supported: a link is no thing of its own: take the container off the network with `orc network disconnect`",
        );
        check(
            "--tlsverify ps",
            "`--tlsverify` is not supported: the daemon listens on a unix socket only",
        );
        check(
            "volume update --availability drain x",
            "`orc volume update` is not supported: it is about volumes of a cluster, and orc has none yet",
        );
        check(
            "build --isolation=hyperv .",
            "`--isolation` is not supported: it is for Windows only",
        );
    }

    #[test]
    fn what_docker_takes_is_taken() {
        for line in [
            "run --rm -it busybox sh",
            "run --rm=true -d=false busybox",
            "run -d -p 80:80 busybox --rm -x",
            "--data-root /x --host unix:///s ps -aq",
            "daemon run --data-root /x",
            "up -d --wait --scale web=3 web",
            "up -f a.yaml -p x --dry-run",
            "compose -f a -f b --profile x up -d",
            "compose up --dry-run",
            "plan --json --scale web=2 web",
            "compose -p x plan --format json --force-recreate",
            "compose exec -T web ls -la",
            "compose run --rm web ls -la",
            "compose logs -f --tail 5 web",
            "compose ps --format json --status running",
            "logs -f -n -1 --file a.yaml -p x web",
            "exec -it web sh -c true",
            "stop -t -1 web",
            "update -m 64m --memory-swap -1 --restart always web",
            "container update --cpus .5 web",
            "run --disable-content-trust --runtime runc a",
            "run --disable-content-trust=true a",
            "top web -ef",
            "container top web aux",
            "events --filter type=container",
            "image ls -q",
            "container ls -a",
            "volume rm -f a b",
            "network create --subnet 10.0.0.0/8 x",
            "inspect -f {{.Id}} x",
            "system prune -af",
            "compose rm -fsv web",
        ] {
            check(line, "fine");
        }
    }
}
