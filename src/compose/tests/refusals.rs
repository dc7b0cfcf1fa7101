//! Bad input: a first line that names the place and says what to do. `testdata/config/mistakes-*.txt`
//! has more of them, with the lines that are shown.

use super::support::{HOME, load_with, machine, options, plan_of, project, refusal, up};
use crate::load::LoadOptions;
use crate::plan::{Goal, Up};

#[track_caller]
fn check(text: &str, expected: &str) {
    let found = refusal(text);
    assert_eq!(found.lines().next(), Some(expected));
}

#[test]
fn files_that_are_wrong() {
    for (text, expected) in [
        (
            "services:\n  web:\n    image: x\n    prots: []\n",
            "compose.yaml:4:5: services.web: additional properties 'prots' not allowed: did you mean `ports`?",
        ),
        (
            "services:\n  web:\n    image: ${IMG:?say which}\n",
            "compose.yaml:3:12: services.web.image: required variable IMG is missing a value: say which",
        ),
        (
            "services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, depends_on: [a]}\n",
            "compose.yaml:2:3: services.a.depends_on: dependency cycle detected: a -> b -> a",
        ),
        (
            "services:\n  a: {image: x, networks: [n]}\n",
            "compose.yaml:2:28: services.a.networks: service \"a\" refers to undefined network n: declare it at the top level",
        ),
        (
            "services:\n  a: {image: x, volumes: ['data:/x']}\n",
            "compose.yaml:2:27: services.a.volumes[0]: service \"a\" refers to undefined volume data: declare it at the top level",
        ),
        (
            "services:\n  a: {image: x, secrets: [s]}\n",
            "compose.yaml:2:27: services.a.secrets[0]: service \"a\" refers to undefined secret s: declare it at the top level",
        ),
        (
            "services:\n  a: {image: x, depends_on: [b]}\n",
            "compose.yaml:2:30: services.a.depends_on: service \"a\" depends on undefined service \"b\"",
        ),
        (
            "services:\n  a: {image: x, container_name: c}\n  b: {image: x, container_name: c}\n",
            "compose.yaml:3:33: services.b.container_name: container name \"c\" is already in use by service \"a\"",
        ),
        (
            "services:\n  a: {image: x, restart: sometimes}\n",
            "compose.yaml:2:26: services.a.restart: `sometimes` is not a restart policy: use no, always, on-failure[:n] or unless-stopped",
        ),
        (
            "services:\n  a: {image: x, networks: {default: {ipv4_address: 1.2.3}}}\n",
            "compose.yaml:2:52: services.a.networks.default.ipv4_address: `1.2.3` is not an IPv4 address",
        ),
        (
            "services:\n  a: {image: x, scale: 2, deploy: {replicas: 3}}\n",
            "compose.yaml:2:24: services.a.scale: can't set distinct values on 'scale' and 'deploy.replicas'",
        ),
        (
            "services:\n  a: {command: x}\n",
            "compose.yaml:2:3: services.a: service \"a\" has neither an image nor a build context specified",
        ),
        (
            "services:\n  a: {image: x, mem_limit: lots}\n",
            "compose.yaml:2:28: services.a.mem_limit: `lots` is not a size such as 512k, 64m or 1g",
        ),
        (
            "services:\n  a: {image: x, scale: -1}\n",
            "compose.yaml:2:24: services.a.scale: must be greater than or equal to 0",
        ),
        ("", "compose.yaml: empty compose file"),
    ] {
        check(text, expected);
    }
}

#[test]
fn files_that_are_missing() {
    let none = crate::load::load_from(&options(), &crate::files::Memory::default());
    let error = none.unwrap_err();
    assert_eq!(error.kind(), orc_base::Kind::NotFound);
    assert!(
        error
            .to_string()
            .starts_with("no configuration file provided")
    );

    let named = LoadOptions {
        files: vec!["other.yaml".into()],
        ..options()
    };
    let error = load_with("services: {}", &[], &named)
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        format!("open {HOME}/other.yaml: no such file or directory")
    );

    check(
        "services:\n  a: {image: x, env_file: [gone.env]}\n",
        "compose.yaml:2:28: services.a.env_file[0]: env file /home/demo/gone.env not found: make it, or say `required: false`",
    );
    let error = refusal("services:\n  a: {extends: {file: gone.yaml, service: b}}\n");
    assert!(
        error.starts_with("compose.yaml:2:7: services.a: extends: read"),
        "{error}"
    );
    let error = refusal("include: [gone.yaml]\n");
    assert!(
        error.starts_with("compose.yaml:1:11: include[0]: include: read"),
        "{error}"
    );
}

#[test]
fn circles_between_files() {
    let error = refusal("services:\n  a: {extends: b}\n  b: {extends: a}\n");
    assert!(
        error.contains("circular reference in extends: a -> b -> a"),
        "{error}"
    );
    let error = refusal("include: [compose.yaml]\n");
    assert!(
        error.contains("include cycle detected: compose.yaml includes compose.yaml"),
        "{error}"
    );
}

#[test]
fn names_that_are_no_names() {
    let bad = |name: &str| {
        let options = LoadOptions {
            project_name: Some(name.into()),
            ..options()
        };
        load_with("services: {}", &[], &options)
            .unwrap_err()
            .to_string()
    };
    for name in ["../x", "-rf", "Demo", "a b", &"x".repeat(300)] {
        assert!(bad(name).starts_with("invalid project name"), "{name}");
    }
    for text in [
        "services: {'a b': {image: x}}",
        "services: {'é': {image: x}}",
        "volumes: {'..': {}}",
        "networks: {n: {name: ../x}}",
        "volumes: {v: {name: -rf}}",
        "services: {a: {image: x, container_name: ../x}}",
    ] {
        assert!(refusal(text).contains("is not a valid name"), "{text}");
    }
}

#[tokio::test]
async fn what_orc_does_not_do_is_refused_before_anything_is_made() {
    let host = machine();
    for (text, expected) in [
        (
            "services:\n  a: {build: {context: ., isolation: hyperv}}\n",
            "services.a.build.isolation: not supported",
        ),
        (
            "services:\n  a: {image: x, gpus: all}\n",
            "compose.yaml:2:23: services.a.gpus: not supported: orc hands out no devices by driver and count: name the device nodes by `devices`",
        ),
        (
            "services:\n  a: {image: x, runtime: nvidia}\n",
            "services.a.runtime: not supported: orc has one runtime, its own: take it away",
        ),
        (
            "services:\n  a: {image: x, deploy: {resources: {reservations: {devices: [{capabilities: [gpu]}]}}}}\n",
            "services.a.deploy.resources.reservations.devices: not supported: orc hands out no devices",
        ),
        (
            "services:\n  a: {image: x, credential_spec: {file: x.json}}\n",
            "services.a.credential_spec: not supported: credential specs are for accounts of Windows: take it away",
        ),
        (
            "services:\n  a: {image: x, isolation: hyperv}\n",
            "services.a.isolation: not supported: it means something on Windows only: take it away",
        ),
        (
            "services:\n  a: {image: x, userns_mode: keep-id}\n",
            "services.a.userns_mode: not supported: containers of orc share the machine's users: take it away",
        ),
        (
            "services:\n  a: {image: x, storage_opt: {size: 1G}}\n",
            "services.a.storage_opt: not supported: the layers of orc's containers have no quota: take it away",
        ),
        (
            "services:\n  a: {image: x, pull_policy: sometimes}\n",
            "services.a.pull_policy: `sometimes` is not a policy: use always, missing, never, build, daily, weekly or every_",
        ),
        (
            "services:\n  a: {image: x, pull_policy: every_12x}\n",
            "services.a.pull_policy: `12x` is not a time such as 12h or 1d12h",
        ),
        (
            "services:\n  a: {image: x, logging: {options: {max-speed: '1'}}}\n",
            "services.a.logging.options.max-speed: not supported: use max-size and max-file",
        ),
        (
            "services:\n  a: {image: x, volumes: [{type: cluster, source: c, target: /c}]}\n",
            "services.a.volumes[0]: not supported: volumes of type `cluster` belong to a cluster",
        ),
        (
            "services:\n  a: {image: x, volumes: [{type: npipe, source: c, target: /c}]}\n",
            "services.a.volumes[0]: not supported: named pipes exist on Windows only",
        ),
        (
            "services:\n  a: {image: x, volumes: [{type: image, target: /c}]}\n",
            "services.a.volumes[0]: a mount of an image must name one in `source`",
        ),
        (
            "services:\n  a: {image: x, ports: ['53:53/sctp']}\n",
            "services.a.ports[0]: not supported: sctp",
        ),
        (
            "services:\n  a: {image: x}\nnetworks: {default: {driver: overlay}}\n",
            "networks.default.driver: not supported",
        ),
        (
            "services:\n  a: {image: x}\nnetworks: {default: {ipam: {config: [{subnet: 'fd00::/64'}, {subnet: 10.0.0.0/24}, {subnet: 'fd01::/64'}]}}}\n",
            "networks.default.ipam.config[2]: not supported",
        ),
        (
            "services:\n  a: {image: x, volumes: ['v:/v']}\nvolumes: {v: {driver: nfs}}\n",
            "volumes.v.driver: not supported",
        ),
        (
            "services:\n  a: {image: x, secrets: [s]}\nsecrets: {s: {external: true}}\n",
            "services.a.secrets[0]: unsupported external secret s: one machine has no store of secrets: use file, environment or content",
        ),
        (
            "services:\n  a: {image: x, configs: [c]}\nconfigs: {c: {external: true, name: real}}\n",
            "services.a.configs[0]: unsupported external config real: ",
        ),
        (
            "services:\n  a: {image: x, secrets: [s]}\nsecrets: {s: {driver: vault}}\n",
            "compose.yaml:3:23: secrets.s.driver: not supported: drivers of secrets",
        ),
        (
            "services:\n  a: {image: x, post_start: [{user: x}]}\n",
            "services.a.post_start[0]: missing property 'command'",
        ),
        (
            "services:\n  a: {image: x, security_opt: ['seccomp=/p.json']}\n",
            "services.a.security_opt: seccomp profile: ",
        ),
        (
            "services:\n  a: {image: x, volumes: ['./nginx.conf:/c']}\n",
            "compose.yaml:2:27: services.a.volumes[0]: bind source path does not exist: /home/demo/nginx.conf: its name looks like a file's",
        ),
        (
            "services:\n  a: {image: x, volumes: [{type: bind, source: ./d, target: /d, bind: {create_host_path: false}}]}\n",
            "bind source path does not exist: /home/demo/d",
        ),
        (
            "services:\n  a: {image: x, configs: [c]}\nconfigs: {c: {file: ./gone}}\n",
            "compose.yaml:3:21: configs.c.file: file /home/demo/gone does not exist",
        ),
    ] {
        let error = plan_of(&host, &project(text), &up())
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    assert!(host.calls().is_empty());
}

#[tokio::test]
async fn what_is_ignored_is_said() {
    let host = machine();
    let text = "services:\n  a: {image: busybox, cpu_count: 2, logging: {driver: syslog}, deploy: {placement: {constraints: [x]}}}\n";
    let plan = plan_of(&host, &project(text), &up()).await.unwrap();
    assert_eq!(
        plan.warnings,
        [
            "compose.yaml:2:0: services.a.cpu_count: ignored: it means something on Windows only"
                .replace("2:0", &place(text, "2,")),
            "compose.yaml:2:79: services.a.deploy.placement: ignored: it means something on a cluster only"
                .replace("2:79", &place(text, "{constraints")),
            "compose.yaml:2:0: services.a.logging.driver: `syslog` is not built: the log goes to orc's own files"
                .replace("2:0", &place(text, "syslog")),
        ]
    );
}

/// Where `what` stands, as `line:column`.
fn place(text: &str, what: &str) -> String {
    let at = text.find(what).unwrap();
    let line = text[..at].matches('\n').count() + 1;
    let column = at - text[..at].rfind('\n').map_or(0, |end| end + 1) + 1;
    format!("{line}:{column}")
}

#[tokio::test]
async fn numbers_that_cannot_be_meant_are_refused_before_anything_is_made() {
    let host = machine();
    let scaled = |count| {
        Goal::Up(Up {
            scale: [("a".to_owned(), count)].into(),
            ..Up::default()
        })
    };
    let error = |text: &'static str, goal: Goal| {
        let host = host.clone();
        async move {
            plan_of(&host, &project(text), &goal)
                .await
                .unwrap_err()
                .to_string()
        }
    };
    let plain = "services: {a: {image: busybox}}";
    assert!(
        error(plain, scaled(1_000_000_000))
            .await
            .contains("1000000000 replicas are more than")
    );
    let many = "services: {a: {image: busybox, ports: ['1-10001']}}";
    assert!(
        error(many, scaled(2))
            .await
            .contains("20002 published ports are more than")
    );
    let everything = "services: {a: {image: busybox, ports: ['1-65535:1-65535']}}";
    assert!(refusal(everything).contains("more than 12000 ports"));
    let fixed = "services: {a: {image: busybox, ports: ['80:80']}}";
    assert!(
        error(fixed, scaled(2))
            .await
            .contains("2 replicas cannot all publish port 80")
    );
    let twice = "services: {a: {image: busybox, ports: ['80:80']}, b: {image: busybox, ports: ['127.0.0.1:80:81']}}";
    assert!(
        error(twice, up())
            .await
            .contains("services a and b both publish port 80/tcp")
    );
    let named = "services: {a: {image: busybox, container_name: c}}";
    assert!(
        error(named, scaled(2))
            .await
            .contains("2 replicas cannot all be called c")
    );
    assert!(host.calls().is_empty());
    // Different addresses, protocols and free ports do not collide.
    let fine = "services: {a: {image: busybox, ports: ['127.0.0.1:80:80', '53:53/udp', '81']}, b: {image: busybox, ports: ['127.0.0.2:80:80', '53:53', '81']}}";
    assert!(plan_of(&host, &project(fine), &up()).await.is_ok());
}

#[test]
fn a_needed_service_that_is_off_is_named() {
    let error = refusal(
        "services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, profiles: [debug]}\n",
    );
    assert!(
        error.contains(
            "service \"b\" is required by \"a\" but is disabled. Can be enabled by profiles [debug]"
        ),
        "{error}"
    );
}

#[test]
fn large_files_are_read_in_bounded_time() {
    let many: String = (0..20_000)
        .map(|index| format!("  k{index}: v\n"))
        .collect();
    let text = format!("x-many:\n{many}services: {{a: {{image: x}}}}\n");
    assert!(load_with(&text, &[], &options()).is_ok());
    let bomb = format!(
        "x-a: &a [{}]\nx-b: [{}]\n",
        "x,".repeat(5_000),
        "*a,".repeat(5_000)
    );
    assert!(refusal(&bomb).contains("excessive aliasing"));
}

#[test]
fn what_is_missing_is_told_with_what_is_wrong() {
    let error = refusal(
        "services:\n  a: {image: x, prots: ['80:80'], depends_on: [bb], networks: [front], volumes: ['v:/v']}\n  b: {image: x, network_mode: 'service:c'}\nnetworks: {fronts: }\n",
    );
    for told in [
        "services.a: additional properties 'prots' not allowed",
        "service \"a\" depends on undefined service \"bb\"",
        "refers to undefined network front: did you mean `fronts`?",
        "service \"b\" depends on undefined service \"c\"",
    ] {
        assert!(error.contains(told), "{told}: {error}");
    }
    assert!(
        !error.contains("volume v"),
        "no `volumes` may be the mistake itself: {error}"
    );
    // Names that another file would have given are not missed.
    for torn in [
        "include: [gone.yaml]\nservices: {a: {image: x, depends_on: [b]}}\n",
        "services: {a: {extends: {file: gone.yaml, service: a}, depends_on: [b]}}\n",
    ] {
        let error = refusal(torn);
        assert!(error.contains("gone.yaml"), "{error}");
        assert!(!error.contains("undefined"), "{error}");
    }
}

#[tokio::test]
async fn all_that_a_plan_is_refused_for_is_told_with_its_place() {
    let host = machine();
    let text = "services:\n  a: {image: busybox, isolation: hyperv, ports: ['53:53/sctp', '80:80']}\n  b: {image: busybox, ports: ['81:81', '80:80'], container_name: c}\n";
    let goal = Goal::Up(Up {
        scale: [("b".to_owned(), 2)].into(),
        ..Up::default()
    });
    let error = plan_of(&host, &project(text), &goal).await.unwrap_err();
    assert_eq!(error.kind(), orc_base::Kind::Unsupported, "the first one's");
    let error = error.to_string();
    for (told, at) in [
        ("services.a.isolation: not supported", "hyperv"),
        ("services.a.ports[0]: not supported: sctp", "'53"),
        (
            "services.b.container_name: 2 replicas cannot all be called c",
            "c}",
        ),
        (
            "services.b.ports[0]: 2 replicas cannot all publish port 81",
            "'81",
        ),
    ] {
        let expected = format!("compose.yaml:{}: {told}", place(text, at));
        assert!(error.contains(&expected), "{expected}: {error}");
    }
    let up = plan_of(&host, &project(text), &up()).await.unwrap_err();
    let shared = "services.b.ports[1]: services a and b both publish port 80/tcp";
    assert!(up.to_string().contains(shared), "{up}");
    assert!(host.calls().is_empty());
}
