//! Ways out of Compose and back: files for Kubernetes, images that make something of a project, and
//! Compose files of containers.

use crate::support::lab::{Lab, Ran};

/// What a command did that succeeded.
#[track_caller]
fn fine(ran: Ran) -> Ran {
    assert_eq!(ran.code, 0, "{ran}");
    ran
}

const PROJECT: &str = "
services:
  web:
    image: example/busybox:1
    command: [sh, -c, 'echo $$HOME; exec sleep 1000']
    ports: ['8080:80']
    environment: {FLAG: 'yes', OCTAL: '0644', TIME: '12:30:00'}
    configs: [site]
    secrets: [token]
    ulimits: {nofile: 100}
  migrate: {image: example/busybox:1, command: ['true']}
  late:
    image: example/busybox:1
    depends_on: {migrate: {condition: service_completed_successfully}}
configs: {site: {content: 'listen 80'}}
secrets: {token: {file: ./token}}
";

#[test]
fn kubectl_reads_what_a_project_becomes() {
    let lab = Lab::new("bridge");
    let directory = lab.project("demo", PROJECT);
    std::fs::write(directory.join("token"), "s3cret").expect("a file");
    let converted = fine(lab.sh(&directory, "orc compose bridge convert"));
    assert!(
        converted
            .stderr
            .contains("services.web.ulimits: left out: the node decides"),
        "{converted}"
    );
    let built = fine(lab.sh(&directory, "kubectl kustomize out"));
    for expected in [
        "kind: Namespace",
        "kind: Job",
        "  site: listen 80",
        "  token: czNjcmV0",
        "type: LoadBalancer",
        "value: \"yes\"",
        "value: \"0644\"",
        "value: \"12:30:00\"",
        "echo $HOME; exec sleep 1000",
    ] {
        assert!(built.stdout.contains(expected), "{expected}: {built}");
    }
    // Again it is the same, also elsewhere; what is somebody else's stays.
    fine(lab.sh(
        &directory,
        "orc compose bridge convert && orc compose bridge convert -o again",
    ));
    fine(lab.sh(&directory, "diff -r out again"));
    std::fs::write(directory.join("again/mine.yaml"), "kind: Mine\n").expect("a file");
    let refused = lab
        .sh(&directory, "orc compose bridge convert --output again")
        .refused();
    assert!(
        refused.contains("again has mine.yaml, which is not of this command"),
        "{refused}"
    );
    assert!(directory.join("again/mine.yaml").exists());
    assert!(directory.join("again/web-deployment.yaml").exists());
    // No daemon was needed for it.
    assert!(!lab.run_root().join("orc.sock").exists());
}

/// An image that prints what it was given, with templates.
const TRANSFORMER: &str = r#"FROM example/busybox:1
LABEL com.docker.compose.bridge=transformation
RUN mkdir /templates && echo one >/templates/one.tmpl
CMD ["sh", "-c", "cp /in/compose.yaml /out/seen.yaml; ls /templates >/out/templates; echo $LICENSE_AGREEMENT; exit ${CODE:-0}"]
"#;

#[test]
fn images_make_something_of_a_project() {
    let lab = Lab::with_busybox("transform");
    let before = lab.snapshot();
    let directory = lab.project("demo", PROJECT);
    std::fs::write(directory.join("token"), "s3cret").expect("a file");
    std::fs::create_dir(directory.join("image")).expect("a directory");
    std::fs::write(directory.join("image/Dockerfile"), TRANSFORMER).expect("a file");
    fine(lab.sh(&directory, "orc build -q -t example/to-something image"));
    let ran = fine(lab.sh(
        &directory,
        "orc compose bridge convert -t example/to-something",
    ));
    assert!(ran.stdout.contains("true"), "{ran}");
    let seen = std::fs::read_to_string(directory.join("out/seen.yaml")).expect("it was there");
    for expected in [
        "content: s3cret",
        "content: listen 80",
        "echo $HOME",
        "expose:",
    ] {
        assert!(seen.contains(expected), "{expected}: {seen}");
    }
    let listed = fine(lab.sh(&directory, "orc compose bridge transformations ls -q"));
    assert_eq!(listed.stdout.trim(), "example/to-something:latest");
    let table = fine(lab.sh(&directory, "orc compose bridge transformations list"));
    assert!(table.stdout.starts_with("IMAGE ID"), "{table}");

    let create = "orc compose bridge transformations create -f example/to-something mine";
    fine(lab.sh(&directory, create));
    assert!(directory.join("mine/templates/one.tmpl").exists());
    let dockerfile = std::fs::read_to_string(directory.join("mine/Dockerfile")).expect("a file");
    assert!(
        dockerfile.contains("COPY templates /templates"),
        "{dockerfile}"
    );
    lab.sh(&directory, create).refused();
    let own =
        "orc compose bridge convert -t example/to-something --templates mine/templates -o two";
    std::fs::write(directory.join("mine/templates/two.tmpl"), "").expect("a file");
    fine(lab.sh(&directory, own));
    let templates = std::fs::read_to_string(directory.join("two/templates")).expect("it was there");
    assert_eq!(templates, "one.tmpl\ntwo.tmpl\n");
    assert_eq!(fine(lab.orc_line("ps -aq")).stdout, "");
    fine(lab.orc_line("rmi example/to-something"));
    fine(lab.orc_line("builder prune -af"));
    before.is_back(&lab);
}

#[test]
fn a_compose_file_of_containers_makes_them_again() {
    let lab = Lab::with_busybox("generate");
    let before = lab.snapshot();
    fine(lab.orc_line("network create apart"));
    fine(lab.orc_line("volume create kept"));
    fine(lab.orc([
        "run",
        "-d",
        "--name",
        "one",
        "--network",
        "apart",
        "-v",
        "kept:/data",
        "-e",
        "PRICE=5$",
        "-p",
        "8080:80",
        "--restart",
        "on-failure:3",
        "--memory",
        "64m",
        "--label",
        "team=a",
        "--read-only",
        "--init",
        "example/busybox:1",
        "sleep",
        "1000",
    ]));
    let file = fine(lab.orc_line("compose alpha generate --name again one")).stdout;
    let directory = lab.project("again", &file);
    for expected in [
        "name: again",
        "PRICE: 5$$",
        "restart: on-failure:3",
        "mem_limit: \"67108864\"",
        "external: true",
        "team: a",
    ] {
        assert!(file.contains(expected), "{expected}: {file}");
    }
    fine(lab.orc_line("rm -f one"));
    fine(lab.sh(&directory, "orc compose config -q"));
    fine(lab.sh(&directory, "orc up -d"));
    let format = "{{.Config.Env}} {{.HostConfig.RestartPolicy.Name}} {{.HostConfig.Memory}} {{.HostConfig.ReadonlyRootfs}}";
    let made = fine(lab.orc(["inspect", "--format", format, "again-one-1"])).stdout;
    assert!(
        made.contains("PRICE=5$") && made.contains("on-failure 67108864 true"),
        "{made}"
    );
    let replicas = fine(lab.sh(
        &directory,
        "orc compose alpha scale one=1 && orc compose alpha viz",
    ));
    assert!(
        replicas.stdout.starts_with("digraph \"again\" {"),
        "{replicas}"
    );
    let dry = fine(lab.sh(&directory, "orc compose alpha dry-run -- down"));
    assert!(dry.stdout.contains("remove again-one-1"), "{dry}");
    assert_eq!(
        fine(lab.sh(&directory, "orc compose ps -q"))
            .stdout
            .lines()
            .count(),
        1
    );
    let odd = lab
        .sh(&directory, "orc compose alpha dry-run upp")
        .refused();
    assert!(odd.contains("upp"), "{odd}");
    fine(lab.sh(&directory, "orc down -t 0"));
    fine(lab.orc_line("network rm apart"));
    fine(lab.orc_line("volume rm kept"));
    before.is_back(&lab);
}
