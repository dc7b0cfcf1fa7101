//! `develop.watch`: rules of a project, and what changes lead to.

use std::path::PathBuf;

use super::support::{HOME, load, project, refusal};
use crate::watch::decide::{Action, Change, Now, Operation, Sync, decide, renew};
use crate::watch::rules::{Watched, rules};

fn watched(text: &str) -> Watched {
    rules(&project(text), &[]).unwrap()
}

/// The rules of a file, and what is said about them.
fn check(text: &str, expected_rules: &[&str], notes: &[&str]) {
    let watched = watched(text);
    let told: Vec<String> = watched
        .rules
        .iter()
        .map(|rule| rule.to_string().replace(HOME, "~"))
        .collect();
    assert_eq!(told, expected_rules);
    let told: Vec<String> = watched
        .notes
        .iter()
        .map(|note| note.replace(HOME, "~"))
        .collect();
    assert_eq!(told, notes);
}

#[test]
fn rules_are_read() {
    let text = "services:
  web:
    build: .
    develop:
      watch:
        - {path: src, action: sync, target: /app/src, ignore: [tmp, '*.log'], include: '*.py', initial_sync: true}
        - {path: ./conf/a.conf, action: sync+restart, target: /etc/a.conf}
        - path: .
          action: sync+exec
          target: /app
          exec: {command: make all, user: nobody, privileged: true, working_dir: /app, environment: {A: b, C: }}
        - {path: requirements.txt, action: rebuild}
        - {path: /etc/hosts, action: restart}
  db:
    image: busybox
";
    check(
        text,
        &[
            "sync web: ~/src to /app/src",
            "sync+restart web: ~/conf/a.conf to /etc/a.conf",
            "sync+exec web: ~ to /app",
            "rebuild web: ~/requirements.txt",
            "restart web: /etc/hosts",
        ],
        &[],
    );
    let rules = watched(text).rules;
    assert!(rules[0].initial_sync && !rules[1].initial_sync);
    assert_eq!(rules[0].ignore, ["tmp", "*.log"]);
    assert_eq!(rules[0].include, ["*.py"]);
    let exec = rules[2].exec.clone().unwrap();
    assert_eq!(exec.command, ["make", "all"]);
    assert_eq!(exec.env, ["A=b"]);
    assert_eq!(exec.user.as_deref(), Some("nobody"));
    assert!(exec.privileged && exec.stdout && exec.stderr);
    let context = rules[0].context.clone().unwrap();
    assert_eq!(context.directory, PathBuf::from(HOME));
    assert_eq!(context.dockerfile, "Dockerfile");
    assert_eq!(rules[0].plans.len(), 2);
}

/// A rule that does nothing says why, in full and in part.
#[test]
fn rules_that_do_nothing_say_why() {
    check(
        "services:
  web:
    image: busybox
    read_only: true
    tmpfs: /run/app:size=1m
    volumes:
      - ./src:/app
      - ./other:/other
      - data:/data
      - type: bind
        source: ./ro
        target: /ro
        read_only: true
    develop:
      watch:
        - {path: src/web, action: sync, target: /app/web}
        - {path: src, action: sync+restart, target: /app}
        - {path: src, action: sync, target: /other/x}
        - {path: src, action: sync, target: /ro}
        - {path: src, action: sync, target: /srv}
        - {path: src, action: sync, target: /data/x}
        - {path: src, action: sync, target: /run/app}
        - {path: src, action: restart, target: /x, initial_sync: true}
volumes:
  data:
",
        &[
            "sync+restart web: ~/src",
            "sync web: ~/src to /data/x",
            "sync web: ~/src to /run/app",
            "restart web: ~/src",
        ],
        &[
            "watch of web: ~/src/web (sync): not watched: ~/src is mounted at /app, so the files are there",
            "watch of web: ~/src (sync+restart): no files are sent: ~/src is mounted at /app, so the files are there",
            "watch of web: ~/src (sync): not watched: /other/x is ~/other/x of this machine by a bind mount, and would be written",
            "watch of web: ~/src (sync): not watched: ~/ro is mounted read-only at /ro",
            "watch of web: ~/src (sync): not watched: the service is `read_only`, and nothing that can be written is mounted there",
            "watch of web: ~/src (restart): `target` means nothing: this action sends no files",
            "watch of web: ~/src (restart): `initial_sync` means nothing: this action sends no files",
        ],
    );
    check(
        "services:
  web:
    build: {context: web, additional_contexts: {shared: ./shared, base: 'docker-image://busybox'}, dockerfile: ../Dockerfile.web}
    develop:
      watch:
        - {path: web/src, action: rebuild}
        - {path: shared, action: rebuild}
        - {path: Dockerfile.web, action: rebuild}
        - {path: ., action: rebuild}
        - {path: elsewhere, action: rebuild}
",
        &[
            "rebuild web: ~/web/src",
            "rebuild web: ~/shared",
            "rebuild web: ~/Dockerfile.web",
            "rebuild web: ~",
            "rebuild web: ~/elsewhere",
        ],
        &[
            "watch of web: ~/elsewhere (rebuild): it is in no build context of the service, so the image will be the same",
        ],
    );
}

#[test]
fn rules_that_cannot_be_followed_are_refused() {
    for (service, wanted) in [
        (
            "{image: busybox, develop: {watch: [{path: ., action: rebuild}]}}",
            "watch of service web: the action rebuild needs a `build` section: there is nothing to build",
        ),
        (
            "{build: ., develop: {watch: [{path: ., action: sync+exec, target: /app}]}}",
            "watch of service web: the action sync+exec needs `exec` with a `command`: there is nothing to run",
        ),
        (
            "{build: .}",
            "none of the selected services is configured for watch: give one a `develop` section with `watch`",
        ),
    ] {
        let project = project(&format!("services:\n  web: {service}\n"));
        let error = rules(&project, &[]).unwrap_err().to_string();
        assert!(error.ends_with(wanted) || error == wanted, "{error}");
    }
    let text = "services:\n  web: {build: ., develop: {watch: [{path: ., action: sync}]}}\n";
    assert!(refusal(text).contains("target is required"));
    let text = "services:\n  web: {build: ., develop: {watch: [{path: ., action: jump}]}}\n";
    assert!(refusal(text).contains("jump"));
}

/// Only what is selected, and what it needs, is watched; profiles count.
#[test]
fn services_are_selected() {
    let text = "services:
  web: {build: ., depends_on: [api], develop: {watch: [{path: ., action: rebuild}]}}
  api: {build: ., develop: {watch: [{path: ., action: rebuild}]}}
  off: {build: ., profiles: [x], develop: {watch: [{path: ., action: rebuild}]}}
";
    let project = load(text).project;
    let of = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let rules = rules(&project, &names).unwrap().rules;
        rules
            .into_iter()
            .map(|rule| rule.service)
            .collect::<Vec<_>>()
    };
    assert_eq!(of(&[]), ["api", "web"]);
    assert_eq!(of(&["api"]), ["api"]);
    assert_eq!(of(&["web"]), ["api", "web"]);
    assert!(rules(&project, &["nope".into()]).is_err());
    assert!(load(text).warnings.is_empty() && project.findings.is_empty());
}

const RULES: &str = "services:
  web:
    build: .
    develop:
      watch:
        - {path: src, action: sync, target: /app/}
        - {path: conf, action: sync+restart, target: /etc/web}
        - {path: css, action: sync+exec, target: /app/css, exec: {command: [make, css]}}
        - {path: app.lock, action: rebuild}
        - {path: one.conf, action: sync, target: /etc/dir/, initial_sync: true}
        - {path: src, action: sync, target: /copy}
  worker:
    build: .
    develop:
      watch:
        - {path: app.lock, action: rebuild}
        - {path: src, action: restart}
";

fn change(rule: usize, below: &str, now: Now) -> Change {
    Change {
        rule,
        below: below.into(),
        now,
    }
}

/// `0 app.py`, `-0 old.py`: changes by rule and path.
fn changes(texts: &[&str]) -> Vec<Change> {
    let one = |text: &&str| {
        let (rule, below) = text.split_once(' ').unwrap();
        match rule.strip_prefix('-') {
            Some(rule) => change(rule.parse().unwrap(), below, Now::Gone),
            None => change(rule.parse().unwrap(), below, Now::There),
        }
    };
    texts.iter().map(one).collect()
}

fn operations(texts: &[&str]) -> Vec<Operation> {
    decide(&watched(RULES).rules, &changes(texts))
}

fn leads_to(texts: &[&str], expected: &[&str]) {
    let told: Vec<String> = operations(texts).iter().map(ToString::to_string).collect();
    assert_eq!(told, expected, "{texts:?}");
}

#[test]
fn changes_lead_to_operations() {
    leads_to(&[], &[]);
    leads_to(&["0 app.py"], &["sync web: 1 file  (app.py changed)"]);
    leads_to(&["-0 app.py"], &["sync web: 1 removed  (app.py is gone)"]);
    leads_to(
        &["0 b", "0 a", "-0 c", "5 a"],
        &["sync web: 3 files, 1 removed  (a and 2 more changed)"],
    );
    leads_to(
        &["1 web.conf"],
        &[
            "sync web: 1 file  (web.conf changed)",
            "restart web  (web.conf changed)",
        ],
    );
    leads_to(
        &["2 a.css", "2 b.css"],
        &[
            "sync web: 2 files  (a.css and 1 more changed)",
            "exec web: make css  (a.css and 1 more changed)",
        ],
    );
    leads_to(&["3 ", "6 "], &["rebuild web, worker  (app.lock changed)"]);
    // Everything at once, in the order that makes sense. The worker starts anew by its rebuild.
    leads_to(
        &["0 a", "1 b", "2 c", "3 ", "6 ", "7 a"],
        &[
            "rebuild web, worker  (app.lock changed)",
            "sync web: 3 files  (a and 2 more changed)",
            "restart web  (b changed)",
            "exec web: make css  (c changed)",
        ],
    );
    leads_to(&["7 a"], &["restart worker  (a changed)"]);
    leads_to(&["99 a"], &[]);
}

fn sync_of(operation: &Operation) -> &Sync {
    match &operation.action {
        Action::Sync(sync) => sync,
        other => panic!("{other}"),
    }
}

#[test]
fn files_go_where_the_rules_say() {
    let all = operations(&["0 d/a.py", "5 d/a.py", "4 ", "1 x"]);
    let sync = sync_of(&all[0]);
    let told: Vec<String> = sync
        .files
        .iter()
        .map(|(place, path)| format!("{place} < {}", path.display()).replace(HOME, "~"))
        .collect();
    assert_eq!(
        told,
        [
            "/app/d/a.py < ~/src/d/a.py",
            "/copy/d/a.py < ~/src/d/a.py",
            "/etc/dir/one.conf < ~/one.conf",
            "/etc/web/x < ~/conf/x",
        ]
    );
    // What goes with something above it is not named; the later word counts.
    let all = operations(&[
        "-0 d/a", "-0 d/b", "-0 d", "-0 dd", "0 e", "-0 e", "-0 f", "0 f",
    ]);
    let sync = sync_of(&all[0]);
    let removed: Vec<&str> = sync.removed.iter().map(String::as_str).collect();
    assert_eq!(removed, ["/app/d", "/app/dd", "/app/e"]);
    assert_eq!(sync.files.keys().collect::<Vec<_>>(), ["/app/f"]);
}

/// A container that takes the place of another is as new as that one was.
#[test]
fn new_containers_are_sent_what_the_old_ones_were() {
    let rules = watched(RULES).rules;
    let none = Sync::default();
    assert_eq!(renew(&rules, "web", &[], &none), None);
    let there = changes(&["4 ", "0 not-initial"]);
    let first = renew(&rules, "web", &there, &none).unwrap();
    assert_eq!(first.to_string(), "sync web: 1 file  (initial_sync)");
    assert_eq!(renew(&rules, "worker", &there, &none), None);
    let mut sent = Sync::default();
    for texts in [
        &["0 a", "0 d/b", "0 d/c"] as &[&str],
        &["-0 d", "0 e"],
        &["0 d/b", "-0 a"],
    ] {
        sent.then(sync_of(&operations(texts)[0]));
    }
    assert_eq!(
        sent.files.keys().collect::<Vec<_>>(),
        ["/app/d/b", "/app/e"]
    );
    assert_eq!(
        sent.removed.iter().collect::<Vec<_>>(),
        ["/app/a", "/app/d"]
    );
    let again = renew(&rules, "web", &[], &sent).unwrap();
    assert_eq!(
        again.to_string(),
        "sync web: 2 files, 2 removed  (its container is new, and was sent these before)"
    );
    // The project's own files are no part of an initial sync, but of a change.
    let rules = watched(
        "services:\n  web: {build: ., develop: {watch: [{path: ., action: sync, target: /app, initial_sync: true}]}}\n",
    )
    .rules;
    let there = changes(&["0 compose.yaml", "0 Dockerfile", "0 app.py"]);
    let first = renew(&rules, "web", &there, &none).unwrap();
    assert_eq!(
        sync_of(&first).files.keys().collect::<Vec<_>>(),
        ["/app/app.py"]
    );
    assert_eq!(sync_of(&decide(&rules, &there)[0]).files.len(), 3);
}
