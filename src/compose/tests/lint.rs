//! `lint`: each rule with what it finds and what it leaves alone.

use std::collections::BTreeMap;
use std::path::Path;

use super::support::{HOME, options};
use crate::files::Memory;
use crate::lint::remark::{MAX_REMARKS, Remark, Rule};
use crate::lint::{lint_from, to_json};
use crate::load::LoadOptions;

fn lint_with(files: &[(&str, &str)], options: &LoadOptions) -> Vec<Remark> {
    let files: BTreeMap<_, _> = files
        .iter()
        .map(|(name, text)| (Path::new(HOME).join(name), (*text).to_owned()))
        .collect();
    lint_from(options, &Memory(files)).unwrap()
}

/// The first lines of remarks of one rule.
fn found(rule: Rule, files: &[(&str, &str)]) -> Vec<String> {
    lint_with(files, &options())
        .into_iter()
        .filter(|remark| remark.rule == rule)
        .map(|remark| remark.to_string().lines().next().unwrap().to_owned())
        .collect()
}

#[track_caller]
fn check(rule: Rule, text: &str, expected: &[&str]) {
    assert_eq!(found(rule, &[("compose.yaml", text)]), expected);
}

#[test]
fn nothing_to_say() {
    let text = "
x-env: &env {A: 1}
services:
  web:
    image: nginx:1.27
    ports: ['127.0.0.1:8080:80']
    environment: {<<: *env, B: 2, PASSWORD_FILE: /run/secrets/p}
    depends_on: {db: {condition: service_healthy}}
  db: {image: 'postgres:16@sha256:abc', healthcheck: {test: [CMD, pg_isready]}}
";
    assert_eq!(lint_with(&[("compose.yaml", text)], &options()), []);
    assert_eq!(to_json(&[]), "[]\n");
}

#[test]
fn unused_anchor() {
    check(
        Rule::UnusedAnchor,
        "x-a: &used {image: 'x:1'}\nx-b: &idle {image: 'y:1'}\nservices:\n  a: *used\n",
        &["compose.yaml:2:6: unused-anchor: &idle: no alias names this anchor"],
    );
}

#[test]
fn shadowed_merge() {
    check(
        Rule::ShadowedMerge,
        "\
x-a: &a {image: 'x:1', environment: {A: 1, B: 2}, cap_add: [NET_ADMIN]}
x-b: &b {image: 'y:1', tty: true}
services:
  one:
    <<: *a
    image: z:1
    environment: {C: 3}
  two: {<<: [*a, *b]}
  three:
    <<: *b
    tty: false
",
        &[
            "compose.yaml:7:5: shadowed-merge: services.one.environment: this hides the 2 entries of the `environment` that `<<` brings",
            "compose.yaml:8:9: shadowed-merge: services.two.image: two of the merged mappings have `image`: the first one counts",
        ],
    );
}

#[test]
fn repeated_override() {
    let base =
        "services:\n  a: {image: 'x:1', tty: true, command: [run], environment: {A: 1, B: 2}}\n";
    let over = "services:\n  a:\n    image: x:2\n    tty: true\n    command: run\n    environment: {A: 1, B: 3}\n";
    assert_eq!(
        found(
            Rule::RepeatedOverride,
            &[("compose.yaml", base), ("compose.override.yaml", over)]
        ),
        [
            "compose.override.yaml:4:5: repeated-override: services.a.tty: compose.yaml:2:26 says the same",
            "compose.override.yaml:5:5: repeated-override: services.a.command: compose.yaml:2:41 says the same",
            "compose.override.yaml:6:19: repeated-override: services.a.environment.A: compose.yaml:2:65 says the same",
        ]
    );
}

#[test]
fn shadowed_variable() {
    let text = "\
services:
  a:
    image: x:1
    env_file: [a.env, b.env]
    environment:
      BOTH: here
      MODE: fast
      PORT: ${PORT}
";
    let files = [
        ("compose.yaml", text),
        ("a.env", "BOTH=file\nTWICE=1\n"),
        ("b.env", "# c\nexport TWICE=2\n"),
        (".env", "MODE=slow\nPORT=80\nSHELL_TOO=no\n"),
    ];
    assert_eq!(
        found(Rule::ShadowedVariable, &files),
        [
            "b.env:2:1: shadowed-variable: services.a.env_file[1]: TWICE: a.env:2 sets it, too; the later file counts",
            "compose.yaml:6:7: shadowed-variable: services.a.environment.BOTH: a.env:1 sets it, too; `environment` counts",
            "compose.yaml:7:7: shadowed-variable: services.a.environment.MODE: .env:1 sets it to another value, which only `${MODE}` would bring here",
        ]
    );
    let mut options = options();
    options.environment.insert("SHELL_TOO".into(), "yes".into());
    let remarks = lint_with(&files, &options);
    let around = remarks.iter().find(|remark| remark.file == ".env").unwrap();
    assert_eq!((around.line, around.path.as_str()), (3, "SHELL_TOO"));
}

#[test]
fn open_port() {
    check(
        Rule::OpenPort,
        "\
services:
  a:
    image: x:1
    ports:
      - 8080:80
      - '127.0.0.1:8081:81'
      - '3000-3002:3000-3002'
      - {target: 90, host_ip: 0.0.0.0}
  b: {image: 'x:1', network_mode: host, ports: ['70:70']}
",
        &[
            "compose.yaml:5:9: open-port: services.a.ports[0]: port 8080 is open on every address of this machine",
            "compose.yaml:7:9: open-port: services.a.ports[2]: port 3000 is open on every address of this machine",
            "compose.yaml:8:9: open-port: services.a.ports[5]: a free port for 90 is open on every address of this machine",
        ],
    );
}

#[test]
fn duplicate_port() {
    check(
        Rule::DuplicatePort,
        "\
services:
  a: {image: 'x:1', ports: ['127.0.0.1:80:80', '53:53/udp']}
  b: {image: 'x:1', ports: ['80:80', '53:53']}
  c: {image: 'x:1', ports: ['127.0.0.2:81:80'], profiles: [one]}
  d: {image: 'x:1', ports: ['81:80'], profiles: [two]}
  e: {image: 'x:1', ports: ['127.0.0.3:90:80'], scale: 3}
",
        &[
            "compose.yaml:3:29: duplicate-port: services.b.ports[0]: port 80/tcp of the machine is `a`'s already (compose.yaml:2:29)",
            "compose.yaml:6:29: duplicate-port: services.e.ports[0]: 3 replicas want port 90/tcp of the machine",
        ],
    );
}

#[test]
fn floating_tag() {
    check(
        Rule::FloatingTag,
        "\
services:
  a: {image: nginx}
  b: {image: 'localhost:5000/x:latest'}
  c: {image: 'localhost:5000/x:1'}
  d: {image: 'x@sha256:0123'}
  e: {image: mine, build: /}
",
        &[
            "compose.yaml:2:14: floating-tag: services.a.image: `nginx` has no tag, which means `latest`",
            "compose.yaml:3:14: floating-tag: services.b.image: `localhost:5000/x:latest` names whatever is newest",
        ],
    );
}

#[test]
fn missing_healthcheck() {
    check(
        Rule::MissingHealthcheck,
        "\
services:
  a:
    image: x:1
    depends_on:
      none: {condition: service_healthy}
      off: {condition: service_healthy}
      has: {condition: service_healthy}
      unneeded: {condition: service_started}
  none: {image: 'x:1'}
  off: {image: 'x:1', healthcheck: {disable: true}}
  has: {image: 'x:1', healthcheck: {test: [CMD, 'true']}}
  unneeded: {image: 'x:1'}
",
        &[
            "compose.yaml:5:7: missing-healthcheck: services.a.depends_on.none: `none` has no health check in the file, so it must come with the image",
            "compose.yaml:6:7: missing-healthcheck: services.a.depends_on.off: `off` switches its health check off",
        ],
    );
}

#[test]
fn jobs() {
    let text = "\
services:
  a:
    image: x:1
    depends_on: [db-migrate, load, init-server]
  b:
    image: x:1
    depends_on:
      load: {condition: service_completed_successfully}
      loop: {condition: service_completed_successfully}
  db-migrate: {image: 'x:1'}
  load: {image: 'x:1', restart: on-failure}
  loop: {image: 'x:1', restart: unless-stopped}
  init-server: {image: 'x:1', restart: always}
";
    check(
        Rule::StartedJob,
        text,
        &[
            "compose.yaml:4:18: started-job: services.a.depends_on.db-migrate: `db-migrate` looks like a job (it is called `migrate`), and only its start is waited for",
            "compose.yaml:4:30: started-job: services.a.depends_on.load: `load` looks like a job (`b` waits for its end), and only its start is waited for",
        ],
    );
    check(
        Rule::EndlessJob,
        text,
        &[
            "compose.yaml:9:7: endless-job: services.b.depends_on.loop: `loop` has `restart: unless-stopped`, and its end is waited for",
        ],
    );
}

#[test]
fn fixed_name() {
    check(
        Rule::FixedName,
        "services:\n  a: {image: 'x:1', container_name: one, scale: 1}\n  b: {image: 'x:1', container_name: two}\n",
        &[
            "compose.yaml:2:37: fixed-name: services.a.container_name: the name is fixed, and there is `scale`",
        ],
    );
}

#[test]
fn obsolete_version() {
    assert_eq!(
        found(
            Rule::ObsoleteVersion,
            &[
                ("compose.yaml", "version: '3'\ninclude: [more.yaml]\n"),
                ("more.yaml", "services: {a: {image: 'x:1'}}\nversion: '2'\n"),
            ]
        ),
        [
            "compose.yaml:1:1: obsolete-version: version: the attribute is obsolete",
            "more.yaml:2:1: obsolete-version: version: the attribute is obsolete",
        ]
    );
}

#[test]
fn missing_bind() {
    assert_eq!(
        found(
            Rule::MissingBind,
            &[
                (
                    "compose.yaml",
                    "services:\n  a: {image: 'x:1', volumes: ['./there:/a', './gone:/b', 'v:/c']}\nvolumes: {v: {}}\n"
                ),
                ("there/file", ""),
            ]
        ),
        ["compose.yaml:2:45: missing-bind: services.a.volumes[1]: /home/demo/gone does not exist"]
    );
}

#[test]
fn plain_secret() {
    let text = "\
x-more: &more {ROOT_PASSWORD: 'of all'}
services:
  a:
    image: x:1
    environment:
      DB_PASSWORD: hunter2
      API_KEY: ${API_KEY:-none}
      ALLOW_EMPTY_PASSWORD: 'yes'
      SECRET_FILE: /run/secrets/x
      URL: postgres://u:hunter2@db/x
      FROM_OUTSIDE_TOKEN:
    build: {context: /, args: [NPM_TOKEN=hunter2, BARE_TOKEN]}
  b:
    image: x:1
    environment: [TOKEN=hunter2, OTHER_TOKEN]
  c: {image: 'x:1', environment: *more}
";
    let mut options = options();
    for name in ["FROM_OUTSIDE_TOKEN", "OTHER_TOKEN", "BARE_TOKEN"] {
        options.environment.insert(name.into(), "hunter2".into());
    }
    let remarks = lint_with(&[("compose.yaml", text)], &options);
    let secrets: Vec<String> = remarks
        .iter()
        .filter(|remark| remark.rule == Rule::PlainSecret)
        .map(|remark| format!("{}:{} {}", remark.line, remark.column, remark.path))
        .collect();
    assert_eq!(
        secrets,
        [
            "1:16 services.c.environment.ROOT_PASSWORD",
            "6:7 services.a.environment.DB_PASSWORD",
            "10:7 services.a.environment.URL",
            "12:32 services.a.build.args.NPM_TOKEN",
            "15:19 services.b.environment.TOKEN",
        ]
    );
    assert!(
        !to_json(&remarks).contains("hunter2"),
        "values are never shown"
    );
}

#[test]
fn what_is_ignored() {
    let text = "\
x-orc-lint: {ignore: [floating-tag, open-prot]}
services:
  a: {image: x, ports: ['80:80'], x-orc-lint: {ignore: [open-port]}}
  b: {image: x, ports: ['81:80'], x-orc-lint: {ignore: no}}
";
    let shown: Vec<String> = lint_with(&[("compose.yaml", text)], &options())
        .iter()
        .map(|remark| format!("{} {} {}", remark.rule.as_str(), remark.path, remark.fix))
        .collect();
    assert_eq!(
        shown,
        [
            "unknown-rule x-orc-lint.ignore[1] did you mean `open-port`?",
            "open-port services.b.ports[0] write `127.0.0.1:81:80` when only this machine needs it; else ignore the rule in `x-orc-lint`",
            "unknown-rule services.b.x-orc-lint write `x-orc-lint: {ignore: [rule, …]}`",
        ]
    );
}

#[test]
fn formats() {
    let remarks = lint_with(
        &[("compose.yaml", "services: {a: {image: x}}\n")],
        &options(),
    );
    let [remark] = &remarks[..] else {
        panic!("one remark: {remarks:?}");
    };
    assert_eq!(
        remark.to_string(),
        "\
compose.yaml:1:23: floating-tag: services.a.image: `x` has no tag, which means `latest`
    why: what it names changes over time, so two machines may run different programs
    fix: name a version (`name:1.2`) or a digest (`name@sha256:…`)
"
    );
    assert_eq!(
        to_json(&remarks),
        r#"[
  {
    "column": 23,
    "file": "compose.yaml",
    "fix": "name a version (`name:1.2`) or a digest (`name@sha256:…`)",
    "line": 1,
    "path": "services.a.image",
    "rule": "floating-tag",
    "what": "`x` has no tag, which means `latest`",
    "why": "what it names changes over time, so two machines may run different programs"
  }
]
"#
    );
}

#[test]
fn standard_input_and_files_that_do_not_load() {
    let stdin = LoadOptions {
        files: vec!["-".into()],
        stdin: Some("services: {a: {image: 'x:1', tty: &idle true}}\n".into()),
        ..options()
    };
    let remarks = lint_with(&[], &stdin);
    assert_eq!(remarks[0].file, "(stdin)");
    assert_eq!(remarks[0].rule, Rule::UnusedAnchor);
    let broken = LoadOptions {
        stdin: Some("services: {a: {imgae: x}}\n".into()),
        ..stdin
    };
    let error = lint_from(&broken, &Memory::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("did you mean `image`?"), "{error}");
}

#[test]
fn large_files_take_no_long_time() {
    let mut text = String::from(
        "services:\n  a:\n    image: x:1\n    env_file: [big.env]\n    environment:\n",
    );
    let mut env = String::new();
    for index in 0..20_000 {
        text += &format!("      V{index}_TOKEN: literal\n");
        env += &format!("V{index}_TOKEN=file\n");
    }
    let start = std::time::Instant::now();
    let remarks = lint_with(&[("compose.yaml", &text), ("big.env", &env)], &options());
    assert_eq!(remarks.len(), MAX_REMARKS, "no more are kept");
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}
