//! The promise of a whole command line: every verb and flag of docker compose 5 is taken.
//!
//! A table of what docker compose has, held against what `orc compose` takes. Whether a flag acts is
//! what the tests of its verb say.

use clap::{Arg, Command};

use crate::cli::command::Cli;
use crate::cli::help;

/// What stands before the verb.
const GLOBAL: &str = "-f --file -p --project-name --profile --env-file --project-directory --parallel \
     --progress --ansi --all-resources --compatibility --dry-run";

/// Each verb with its flags.
const VERBS: &[(&str, &str)] = &[
    ("attach", "--detach-keys --index --no-stdin --sig-proxy"),
    (
        "bridge convert",
        "-o --output --templates -t --transformation",
    ),
    ("bridge transformations create", "-f --from"),
    ("bridge transformations list", "--format -q --quiet"),
    (
        "build",
        "--build-arg --builder --check -m --memory --no-cache --print --provenance --pull --push -q --quiet \
         --sbom --ssh --with-dependencies",
    ),
    (
        "commit",
        "-a --author -c --change --index -m --message -p --pause",
    ),
    (
        "config",
        "--environment --format --hash --images --lock-image-digests --models --networks --no-consistency \
         --no-env-resolution --no-interpolate --no-normalize --no-path-resolution -o --output --profiles \
         -q --quiet --resolve-image-digests --services --variables --volumes",
    ),
    ("convert", "--format --hash -o -q"),
    ("cp", "--all -a --archive -L --follow-link --index"),
    (
        "create",
        "--build --force-recreate --no-build --no-recreate --pull --quiet-pull --remove-orphans --scale -y --yes",
    ),
    ("down", "--remove-orphans --rmi -t --timeout -v --volumes"),
    ("events", "--json --since --until"),
    (
        "exec",
        "-d --detach -e --env --index -T --no-tty --privileged -u --user -w --workdir",
    ),
    ("export", "--index -o --output"),
    ("images", "--format -q --quiet"),
    ("kill", "--remove-orphans -s --signal"),
    (
        "logs",
        "-f --follow --index --no-color --no-log-prefix --since -n --tail -t --timestamps --until",
    ),
    ("ls", "-a --all --filter --format -q --quiet"),
    ("pause", ""),
    ("port", "--index --protocol"),
    (
        "ps",
        "-a --all --filter --format --no-trunc --orphans -q --quiet --services --status",
    ),
    (
        "publish",
        "--app --oci-version --resolve-image-digests --with-env -y --yes",
    ),
    (
        "pull",
        "--ignore-buildable --ignore-pull-failures --include-deps --policy -q --quiet",
    ),
    ("push", "--ignore-push-failures --include-deps -q --quiet"),
    ("restart", "--no-deps -t --timeout"),
    ("rm", "-f --force -s --stop -v --volumes"),
    (
        "run",
        "--build --cap-add --cap-drop -d --detach --entrypoint -e --env --env-from-file -i --interactive \
         -l --label --name --no-deps -T --no-TTY -p --publish -P --service-ports --pull -q --quiet \
         --quiet-build --quiet-pull --remove-orphans --rm --use-aliases -u --user -v --volume -w --workdir",
    ),
    ("scale", "--no-deps"),
    ("start", "--wait --wait-timeout"),
    ("stats", "-a --all --format --no-stream --no-trunc"),
    ("stop", "-t --timeout"),
    ("top", ""),
    ("unpause", ""),
    (
        "up",
        "--abort-on-container-exit --abort-on-container-failure --always-recreate-deps --attach \
         --attach-dependencies --build -d --detach --exit-code-from --force-recreate --menu --no-attach \
         --no-build --no-color --no-deps --no-log-prefix --no-recreate --no-start --pull --quiet-build \
         --quiet-pull --remove-orphans -V --renew-anon-volumes --scale -t --timeout --timestamps --wait \
         --wait-timeout -w --watch -y --yes",
    ),
    ("version", "-f --format --short"),
    ("volumes", "--format -q --quiet"),
    ("wait", "--down-project"),
    ("watch", "--no-up --prune --quiet"),
    ("alpha dry-run", ""),
    ("alpha viz", ""),
    ("alpha generate", ""),
];

/// What others build in these days; empty when the issue is done.
const UNDER_WAY: &[&str] = &[];

fn takes(command: &Command, flag: &str) -> bool {
    let long = |arg: &Arg, name: &str| {
        let aliases = arg.get_all_aliases().unwrap_or_default();
        arg.get_long() == Some(name) || aliases.contains(&name)
    };
    let short = |arg: &Arg, name: char| {
        let aliases = arg.get_all_short_aliases().unwrap_or_default();
        arg.get_short() == Some(name) || aliases.contains(&name)
    };
    command
        .get_arguments()
        .any(|arg| match flag.strip_prefix("--") {
            Some(name) => long(arg, name),
            None => flag.chars().nth(1).is_some_and(|name| short(arg, name)),
        })
}

/// The flags of `words` that `command` does not take, each after `verb`.
fn missing(command: &Command, verb: &str, words: &str) -> Vec<String> {
    words
        .split_whitespace()
        .filter(|flag| !takes(command, flag))
        .map(|flag| format!("{verb} {flag}"))
        .collect()
}

#[test]
fn every_verb_and_flag_of_docker_compose_is_taken() {
    let whole = help::command::<Cli>();
    let compose = whole.find_subcommand("compose").expect("a verb");
    let mut all = missing(compose, "compose", GLOBAL);
    for (verb, flags) in VERBS {
        let mut words = verb.split(' ');
        match words.try_fold(compose, |command, word| command.find_subcommand(word)) {
            None => all.push((*verb).to_owned()),
            Some(command) => all.extend(missing(command, verb, flags)),
        }
    }
    all.retain(|name| !UNDER_WAY.contains(&name.as_str()));
    assert!(all.is_empty(), "not taken: {}", all.join(", "));
}

#[test]
fn a_missing_one_is_noticed() {
    let command = Command::new("x").arg(Arg::new("all").long("all").short('a').alias("every"));
    assert_eq!(
        missing(&command, "x", "-a --all --every -b --some"),
        ["x -b", "x --some"]
    );
}
