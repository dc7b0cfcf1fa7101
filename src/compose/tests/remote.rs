//! Files that are elsewhere: who fetches them, what they may name, and what they ask for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use orc_base::{Error, Result};

use super::support::{HOME, options};
use crate::files::{Files, Found, Memory};
use crate::load::{LoadOptions, Loaded, load_from};
use crate::remote::{Address, Fetched, Remotes};

/// Copies are `/cache/1`, `/cache/2` and so on, in the order of the list.
#[derive(Debug, Default)]
struct Shelf {
    addresses: Vec<&'static str>,
    asked: Mutex<Vec<String>>,
}

impl Remotes for Shelf {
    fn fetch(&self, address: &Address) -> Result<Fetched> {
        let shown = address.shown();
        self.asked.lock().unwrap().push(shown.clone());
        let at = self.addresses.iter().position(|known| *known == shown);
        let at = at.ok_or_else(|| Error::not_found(format!("nobody has {shown}")))?;
        let root = PathBuf::from(format!("/cache/{}", at + 1));
        Ok(Fetched {
            file: root.join("compose.yaml"),
            root,
            version: format!("sha256:{}", at + 1),
        })
    }
}

/// Memory in which some paths are links.
struct Linked(Memory, Vec<(&'static str, &'static str)>);

impl Files for Linked {
    fn read(&self, path: &Path) -> Result<String> {
        self.0.read(&self.canonical(path))
    }

    fn look(&self, path: &Path) -> Found {
        self.0.look(&self.canonical(path))
    }

    fn canonical(&self, path: &Path) -> PathBuf {
        let link = self.1.iter().find_map(|(from, to)| {
            let rest = path.strip_prefix(from).ok()?;
            Some(match rest.as_os_str().is_empty() {
                true => PathBuf::from(to),
                false => Path::new(to).join(rest),
            })
        });
        link.unwrap_or_else(|| path.to_path_buf())
    }
}

const ARTEFACT: &str = "oci://registry.example/x/y:1";
const REPOSITORY: &str = "https://example.com/x.git#main";

fn memory(files: &[(&str, &str)]) -> Memory {
    let files = files.iter().map(|(path, text)| {
        let path = Path::new(HOME).join(path);
        (path, (*text).to_owned())
    });
    Memory(files.collect())
}

fn shelf() -> Arc<Shelf> {
    Arc::new(Shelf {
        addresses: vec![ARTEFACT, REPOSITORY],
        ..Shelf::default()
    })
}

fn read(files: &[(&str, &str)], options: &LoadOptions) -> Result<Loaded> {
    let options = LoadOptions {
        remotes: Some(shelf()),
        ..options.clone()
    };
    load_from(&options, &memory(files))
}

/// `-f ARTEFACT` where the artefact's file has this text.
fn artefact(text: &str) -> Result<Loaded> {
    let options = LoadOptions {
        files: vec![ARTEFACT.into()],
        environment: [("HOME".to_owned(), "/root".to_owned())].into(),
        ..options()
    };
    read(
        &[("/cache/1/compose.yaml", text), ("/etc/passwd", "A=1")],
        &options,
    )
}

fn refused(text: &str) -> String {
    artefact(text).unwrap_err().to_string()
}

fn wishes(text: &str) -> Vec<String> {
    artefact(text).unwrap().project.foreign.wishes
}

#[test]
fn a_project_from_elsewhere_is_called_after_this_directory() {
    let options = LoadOptions {
        files: vec![ARTEFACT.into()],
        ..options()
    };
    let files = [
        (
            "/cache/1/compose.yaml",
            "services: {a: {image: '${IMAGE}', env_file: [12.env], volumes: ['./data:/d']}}",
        ),
        ("/cache/1/12.env", "A=1"),
        ("/cache/1/.env", "IMAGE=theirs"),
        (".env", "IMAGE=mine"),
    ];
    let loaded = read(&files, &options).unwrap();
    let project = loaded.project;
    assert_eq!(project.name, "demo");
    assert_eq!(project.working_dir, Path::new("/cache/1"));
    assert_eq!(project.services["a"].image.as_deref(), Some("mine"));
    assert_eq!(project.services["a"].environment["A"].as_deref(), Some("1"));
    let source = project.services["a"].volumes[0].source.as_deref();
    assert_eq!(source, Some("/cache/1/data"));
    assert_eq!(
        project.foreign.sources,
        ["oci://registry.example/x/y:1 (sha256:1)"]
    );
    assert_eq!(
        project.foreign.wishes,
        ["the project: the values of the variables IMAGE"],
        "its own directory is its own"
    );
}

#[test]
fn files_of_others_are_included_and_extended_and_fetched_once() {
    let shelf = shelf();
    let loaded = LoadOptions {
        remotes: Some(Arc::clone(&shelf) as Arc<dyn Remotes>),
        ..options()
    };
    let own = format!(
        "include:\n- {ARTEFACT}\n- path: ['{REPOSITORY}']\nservices:\n  a: {{extends: {{file: '{ARTEFACT}', service: base}}, privileged: true}}\n"
    );
    let files = memory(&[
        ("compose.yaml", &own),
        (
            "/cache/1/compose.yaml",
            "services: {base: {image: x, env_file: ./b.env}}",
        ),
        ("/cache/1/b.env", "B=${C}"),
        (
            "/cache/2/compose.yaml",
            "services: {other: {image: '${TAG:-y}'}}",
        ),
        ("/cache/2/.env", "TAG=z"),
    ]);
    let project = load_from(&loaded, &files).unwrap().project;
    let names: Vec<_> = project.services.keys().collect();
    assert_eq!(names, ["a", "base", "other"]);
    assert_eq!(project.services["other"].image.as_deref(), Some("z"));
    assert!(project.services["a"].environment.contains_key("B"));
    assert_eq!(
        *shelf.asked.lock().unwrap(),
        [ARTEFACT, REPOSITORY],
        "each once"
    );
    assert!(
        project.foreign.wishes.is_empty(),
        "what the user's own file says is no wish: {:?}",
        project.foreign.wishes
    );
}

#[test]
fn one_address_is_no_list() {
    for (variable, expected) in [(ARTEFACT, "oci"), (REPOSITORY, "https")] {
        let options = LoadOptions {
            environment: [("COMPOSE_FILE".to_owned(), variable.to_owned())].into(),
            ..options()
        };
        let files = [
            ("/cache/1/compose.yaml", "services: {oci: {image: x}}"),
            ("/cache/2/compose.yaml", "services: {https: {image: x}}"),
        ];
        let project = read(&files, &options).unwrap().project;
        assert!(project.services.contains_key(expected), "{variable}");
        assert_eq!(project.name, "demo");
    }
}

#[test]
fn files_of_this_machine_are_not_for_others() {
    for (text, place) in [
        (
            "services: {a: {image: x, env_file: /etc/passwd}}",
            "services.a.env_file[0]",
        ),
        (
            "services: {a: {image: x, env_file: [../../etc/passwd]}}",
            "services.a.env_file[0]",
        ),
        (
            "services: {a: {image: x, env_file: ['~/x']}}",
            "services.a.env_file[0]",
        ),
        (
            "services: {a: {image: x, label_file: /etc/passwd}}",
            "services.a.label_file[0]",
        ),
        (
            "services: {a: {image: x}}\nsecrets: {s: {file: ../../etc/shadow}}",
            "secrets.s.file",
        ),
        (
            "services: {a: {image: x}}\nconfigs: {c: {file: /etc/passwd}}",
            "configs.c.file",
        ),
        ("services: {a: {build: ../..}}", "services.a.build.context"),
        (
            "services: {a: {build: {context: ., dockerfile: /etc/passwd}}}",
            "services.a.build.dockerfile",
        ),
        (
            "services: {a: {build: {context: ., additional_contexts: {k: /root}}}}",
            "services.a.build.additional_contexts.k",
        ),
        (
            "services: {a: {build: {context: ., ssh: {k: /root/.ssh/id}}}}",
            "services.a.build.ssh.k",
        ),
        (
            "services: {a: {image: x, develop: {watch: [{action: sync, path: /root, target: /x}]}}}",
            "services.a.develop.watch[0]",
        ),
        (
            "services: {a: {image: x, security_opt: ['seccomp=/etc/passwd']}}",
            "services.a.security_opt[0]",
        ),
        (
            "services: {a: {image: x, env_file: '${HOME}/x'}}",
            "services.a.env_file[0]",
        ),
        (
            "include: [../../etc/passwd]\nservices: {a: {image: x}}",
            "include[0]",
        ),
        (
            "include: [{path: x.yaml, env_file: /etc/passwd}]\nservices: {a: {image: x}}",
            "include[0]",
        ),
        (
            "include: [{path: x.yaml, project_directory: /root}]\nservices: {a: {image: x}}",
            "include[0]",
        ),
        (
            "services: {a: {extends: {file: /etc/passwd, service: a}}}",
            "services.a",
        ),
    ] {
        let error = refused(text);
        assert!(
            error.contains("is not among the files of oci://registry.example/x/y:1"),
            "{text}: {error}"
        );
        assert!(error.contains(place), "{text}: {error}");
        assert!(
            error.starts_with("oci://registry.example/x/y:1/compose.yaml:"),
            "{error}"
        );
    }
}

#[test]
fn links_lead_nowhere_else() {
    let load = |text: &str, link: (&'static str, &'static str)| {
        let options = LoadOptions {
            files: vec![REPOSITORY.into()],
            remotes: Some(shelf()),
            ..options()
        };
        let files = memory(&[
            ("/cache/2/compose.yaml", text),
            ("/etc/passwd", "A=1"),
            ("/etc/x/compose.yaml", "services: {b: {image: x}}"),
        ]);
        load_from(&options, &Linked(files, vec![link]))
    };
    let plain = "services: {a: {image: x}}";
    assert!(load(plain, ("/nowhere", "/else")).is_ok());
    let error = load(plain, ("/cache/2/compose.yaml", "/etc/passwd")).unwrap_err();
    assert!(
        error.to_string().contains("leads out of what was fetched"),
        "{error}"
    );
    for (text, link) in [
        (
            "services: {a: {image: x, env_file: e}}",
            ("/cache/2/e", "/etc/passwd"),
        ),
        ("services: {a: {build: ./c}}", ("/cache/2/c", "/etc")),
        ("include: [sub/compose.yaml]", ("/cache/2/sub", "/etc/x")),
        (
            "services: {a: {extends: {file: sub/compose.yaml, service: b}}}",
            ("/cache/2/sub", "/etc/x"),
        ),
    ] {
        assert!(load(text, link).is_err(), "{text}");
    }
    // A directory that is still to be made, behind a link.
    let text = "services: {a: {image: x, volumes: ['./l/new:/n']}}";
    let wishes = load(text, ("/cache/2/l", "/etc"))
        .unwrap()
        .project
        .foreign
        .wishes;
    assert_eq!(
        wishes,
        ["service a: /etc/new of this machine, to be read and written at /n"]
    );
    // The `.env` of an included repository.
    let options = LoadOptions {
        remotes: Some(shelf()),
        ..options()
    };
    let own = format!("include: ['{REPOSITORY}']");
    let files = memory(&[
        ("compose.yaml", &own),
        ("/cache/2/compose.yaml", plain),
        ("/etc/passwd", "A=1"),
    ]);
    let linked = Linked(files, vec![("/cache/2/.env", "/etc/passwd")]);
    let error = load_from(&options, &linked).unwrap_err().to_string();
    assert!(error.contains("leads out of what was fetched"), "{error}");
}

#[test]
fn a_directory_that_somebody_typed_may_be_named() {
    let options = LoadOptions {
        files: vec![ARTEFACT.into()],
        project_directory: Some(".".into()),
        ..options()
    };
    let files = [
        (
            "/cache/1/compose.yaml",
            "services: {a: {image: x, env_file: a.env}}",
        ),
        ("a.env", "A=1"),
    ];
    let project = read(&files, &options).unwrap().project;
    assert!(project.services["a"].environment.contains_key("A"));
    assert_eq!(project.working_dir, Path::new(HOME));
}

#[test]
fn what_is_asked_of_this_machine_is_told() {
    let text = r"
services:
  a:
    image: x
    privileged: true
    network_mode: host
    pid: host
    ipc: shareable
    cap_add: [SYS_ADMIN]
    security_opt: ['no-new-privileges:true', 'seccomp=unconfined']
    devices: [/dev/kvm]
    use_api_socket: true
    volumes: ['/var/run/docker.sock:/s:ro', './own:/o', 'v:/v', 'w:/w', 'x:/x']
    volumes_from: ['container:other']
    environment: [TOKEN, NOBODY, OWN=1]
    post_start: [{command: x, privileged: true}, {command: y}]
  b:
    build: {context: ., network: host, ssh: [default], args: [ARG]}
    image: '${TAG:-y}-${ABSENT:-z}'
    pid: service:a
  off: {image: x, privileged: true, profiles: [p]}
volumes:
  v: {external: true, name: theirs}
  w: {name: named}
  x: {driver_opts: {type: none, o: bind, device: /srv}}
secrets: {s: {environment: SECRET}}
configs: {c: {content: harmless}}
";
    let set = ["TOKEN", "TAG", "ARG", "OTHER"];
    let loaded = |text: &str| {
        let options = LoadOptions {
            files: vec![ARTEFACT.into()],
            environment: set
                .iter()
                .map(|name| ((*name).to_owned(), "1".to_owned()))
                .collect::<BTreeMap<_, _>>(),
            ..options()
        };
        read(&[("/cache/1/compose.yaml", text)], &options)
    };
    let project = loaded(text).unwrap().project;
    let expected = [
        "the project: the values of the variables ARG, TAG, TOKEN",
        "service a: /var/run/docker.sock of this machine, to be read at /s",
        "service a: all of this machine (`privileged`)",
        "service a: all of this machine (`use_api_socket`)",
        "service a: `network_mode: host`",
        "service a: `pid: host`",
        "service a: `cap_add: SYS_ADMIN`",
        "service a: `security_opt: seccomp=unconfined`",
        "service a: the device /dev/kvm",
        "service a: the volumes of the container other",
        "service a: all of this machine (`post_start`, privileged)",
        "service b: `build.network: host`",
        "service b: your SSH keys (`build.ssh: default`)",
        "volume v: the volume theirs, which may be another's",
        "volume w: the volume named, which may be another's",
        "volume x: `driver_opts.device: /srv`",
        "secret s: the value of the variable SECRET",
    ];
    assert_eq!(project.foreign.wishes, expected);
    assert_eq!(
        wishes("services: {a: {image: x, environment: {A: b}, volumes: ['v:/v']}}\nvolumes: {v: }"),
        Vec::<String>::new()
    );
}

#[test]
fn what_cannot_be_fetched_is_said_with_its_place() {
    let own = "include:\n- oci://nowhere.example/x:1\nservices: {a: {image: x}}\n";
    let error = read(&[("compose.yaml", own)], &options())
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("compose.yaml:2:3: include[0]: include: nobody has oci://nowhere"),
        "{error}"
    );
    let error = load_from(&options(), &memory(&[("compose.yaml", own)])).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("files from elsewhere are not read here")
    );
    let address = "include:\n- https://example.com/compose.yaml\n";
    let error = read(&[("compose.yaml", address)], &options())
        .unwrap_err()
        .to_string();
    assert!(error.contains("is no repository"), "{error}");
    let many: String = (0..40)
        .map(|at| format!("- oci://registry.example/x/y:{at}\n"))
        .collect();
    let shelf = Shelf {
        addresses: (0..40)
            .map(|at| &*Box::leak(format!("oci://registry.example/x/y:{at}").into_boxed_str()))
            .collect(),
        ..Shelf::default()
    };
    let copies: Vec<(String, String)> = (1..=40)
        .map(|at| {
            (
                format!("/cache/{at}/compose.yaml"),
                format!("services: {{s{at}: {{image: x}}}}"),
            )
        })
        .collect();
    let own = format!("include:\n{many}");
    let mut files = vec![("compose.yaml", own.as_str())];
    files.extend(
        copies
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str())),
    );
    let options = LoadOptions {
        remotes: Some(Arc::new(shelf)),
        ..options()
    };
    let error = load_from(&options, &memory(&files)).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("more than 32 files from elsewhere"),
        "{error}"
    );
}

#[test]
fn programs_of_this_machine_are_told() {
    let text = "services: {a: {provider: {type: evil}}, b: {image: x, depends_on: [a]}}";
    let foreign = artefact(text).unwrap().project.foreign;
    assert_eq!(foreign.programs, ["evil"]);
    assert_eq!(
        foreign.wishes,
        ["service a: a program of this machine (`provider: evil`)"]
    );
    let own = read(&[("compose.yaml", text)], &options()).unwrap();
    assert!(own.project.foreign.programs.is_empty());
}
