//! Attributes of services that mean something to the kernel, seen from inside a container and in its
//! control groups.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::support::lab::{Lab, Ran};

/// What a script prints in the first container of a service.
fn inside(lab: &Lab, project: &Path, service: &str, script: &str) -> String {
    let ran = lab.sh(
        project,
        &format!("orc compose exec -T {service} sh -c '{script}'"),
    );
    ran.ok()
}

fn up(lab: &Lab, project: &Path) -> Ran {
    let ran = lab.sh(project, "orc up -d");
    assert_eq!(ran.code, 0, "{ran}");
    ran
}

/// A file of a container's control group, in whichever hierarchy has it.
fn knob(lab: &Lab, below: &str, controller: &str, files: &[&str]) -> Option<String> {
    let group = format!("{}/{below}", lab.cgroup_parent().trim_start_matches('/'));
    let roots = [
        format!("/sys/fs/cgroup/{controller}"),
        "/sys/fs/cgroup".to_owned(),
    ];
    roots.iter().find_map(|root| {
        files.iter().find_map(|file| {
            std::fs::read_to_string(format!("{root}/{group}/{file}"))
                .ok()
                .map(|text| text.trim().to_owned())
        })
    })
}

fn id(lab: &Lab, name: &str) -> String {
    let id = lab.orc(["inspect", "-f", "{{.Id}}", name]).ok();
    id.trim().to_owned()
}

#[test]
fn limits_of_a_service_are_in_its_control_groups() {
    let lab = Lab::with_busybox("attrlimits");
    let file = "
services:
  a:
    image: example/busybox:1
    command: sleep 100000
    init: true
    mem_limit: 64m
    memswap_limit: 96m
    mem_reservation: 32m
    mem_swappiness: 7
    oom_kill_disable: true
    oom_score_adj: 77
    cpus: 0.5
    cpu_shares: 512
    cpuset: '0'
    pids_limit: 50
    cgroup_parent: jobs/night
    blkio_config: {weight: 300}
";
    let project = lab.project("attrlimits", file);
    let ran = up(&lab, &project);
    let below = format!("jobs/night/{}", id(&lab, "attrlimits-a-1"));
    for (controller, files, v1, v2) in [
        (
            "memory",
            &["memory.limit_in_bytes", "memory.max"][..],
            "67108864",
            "67108864",
        ),
        (
            "memory",
            &["memory.memsw.limit_in_bytes", "memory.swap.max"],
            "100663296",
            "33554432",
        ),
        (
            "memory",
            &["memory.soft_limit_in_bytes", "memory.low"],
            "33554432",
            "33554432",
        ),
        (
            "cpu",
            &["cpu.cfs_quota_us", "cpu.max"],
            "50000",
            "50000 100000",
        ),
        ("cpu", &["cpu.shares", "cpu.weight"], "512", "20"),
        ("cpuset", &["cpuset.cpus"], "0", "0"),
        ("pids", &["pids.max"], "50", "50"),
    ] {
        let found = knob(&lab, &below, controller, files)
            .unwrap_or_else(|| panic!("no {files:?} in {below}"));
        assert!(found == v1 || found == v2, "{files:?}: {found}");
    }
    // What not every machine has is either kept or named.
    for (controller, files, value) in [
        ("memory", &["memory.swappiness"][..], "7"),
        ("memory", &["memory.oom_control"], "oom_kill_disable 1"),
        (
            "blkio",
            &["blkio.weight", "blkio.bfq.weight", "io.bfq.weight"],
            "300",
        ),
    ] {
        match knob(&lab, &below, controller, files) {
            Some(found) => assert!(found.contains(value), "{files:?}: {found}"),
            None => assert!(
                ran.stderr.contains(files[0]),
                "{files:?} is not named: {ran}"
            ),
        }
    }
    assert_eq!(
        inside(
            &lab,
            &project,
            "a",
            "cat /proc/1/oom_score_adj; grep Cpus_allowed_list /proc/self/status | cut -f2"
        ),
        "77\n0\n"
    );

    // The unmodified client of Docker changes them while it runs.
    let changed = lab.docker("update --memory 32m --memory-swap 48m --pids-limit 9 --cpus 0.25 --restart on-failure:2 attrlimits-a-1");
    assert_eq!(
        (changed.code, changed.stdout.as_str()),
        (0, "attrlimits-a-1\n"),
        "{changed}"
    );
    let now =
        |controller: &str, files: &[&str]| knob(&lab, &below, controller, files).expect("a knob");
    assert_eq!(
        now("memory", &["memory.limit_in_bytes", "memory.max"]),
        "33554432"
    );
    assert_eq!(now("pids", &["pids.max"]), "9");
    assert!(now("cpu", &["cpu.cfs_quota_us", "cpu.max"]).starts_with("25000"));
    let format =
        "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}} {{.HostConfig.RestartPolicy.Name}}";
    assert_eq!(
        lab.orc(["inspect", "-f", format, "attrlimits-a-1"]).ok(),
        "33554432 9 on-failure\n"
    );
    let refused = lab.docker("update --memory 1m attrlimits-a-1");
    assert!(
        refused.code != 0 && refused.stderr.contains("6MB"),
        "{refused}"
    );
    assert_eq!(
        now("memory", &["memory.limit_in_bytes", "memory.max"]),
        "33554432"
    );
    lab.sh(&project, "orc down").ok();
    let left = lab.cgroups();
    let jobs = |path: &std::path::PathBuf| path.components().any(|part| part.as_os_str() == "jobs");
    assert!(!left.iter().any(jobs), "{left:?}");
}

#[test]
fn what_a_service_asks_of_the_kernel_is_seen_inside() {
    let lab = Lab::with_busybox("attrkernel");
    let file = "
services:
  a:
    image: example/busybox:1
    command: sleep 100000
    init: true
    hostname: web
    domainname: example.test
    user: '1000:1001'
    group_add: [2000, '3000']
    read_only: true
    shm_size: 3m
    cap_drop: [ALL]
    cap_add: [NET_BIND_SERVICE]
    security_opt: ['no-new-privileges:true', 'seccomp:unconfined']
    sysctls: {net.core.somaxconn: 77, kernel.shm_rmid_forced: 1}
    ulimits: {nofile: {soft: 100, hard: 200}, core: 0}
    stop_signal: SIGUSR1
    dns: 192.0.2.1
    dns_search: [one.test]
    dns_opt: ['ndots:3']
    extra_hosts: ['other.test:192.0.2.7', 'machine.test:host-gateway']
    tmpfs: /scratch
  d:
    image: example/busybox:1
    command: sleep 100000
    init: true
    device_cgroup_rules: ['c 10:237 r']
    devices: ['/dev/fuse:/dev/given:r']
  n:
    image: example/busybox:1
    command: sleep 100000
    init: true
    ipc: service:a
    pid: service:a
    uts: service:a
    network_mode: service:a
  h:
    image: example/busybox:1
    command: sleep 100000
    init: true
    network_mode: host
    pid: host
    uts: host
    ipc: host
    cgroup: host
  s:
    image: example/busybox:1
    command: sleep 100000
    init: true
    security_opt: ['seccomp:profile.json']
  p:
    image: example/busybox:1
    command: sleep 100000
    privileged: true
    network_mode: none
";
    let project = lab.project("attrkernel", file);
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}"#;
    std::fs::write(project.join("profile.json"), profile).expect("a file");
    up(&lab, &project);
    let a = |script: &str| inside(&lab, &project, "a", script);
    assert_eq!(
        a("hostname; cat /proc/sys/kernel/domainname"),
        "web\nexample.test\n"
    );
    assert_eq!(a("id -u; id -g; id -G"), "1000\n1001\n1001 2000 3000\n");
    assert_eq!(
        a("touch /x 2>/dev/null || echo no; touch /scratch/x && echo yes"),
        "no\nyes\n"
    );
    assert_eq!(
        a("df -k /dev/shm | tail -n 1 | awk \"{print \\$2}\""),
        "3072\n"
    );
    assert_eq!(
        a("grep -E \"^(CapBnd|NoNewPrivs|Seccomp):\" /proc/1/status | cut -f2"),
        "0000000000000400\n1\n0\n"
    );
    assert_eq!(
        a("cat /proc/sys/net/core/somaxconn /proc/sys/kernel/shm_rmid_forced"),
        "77\n1\n"
    );
    assert_eq!(a("ulimit -Sn; ulimit -Hn; ulimit -c"), "100\n200\n0\n");
    let resolv = a("cat /etc/resolv.conf");
    assert!(
        resolv.contains("search one.test") && resolv.contains("ndots:3"),
        "{resolv}"
    );
    let hosts = a("cat /etc/hosts");
    assert!(hosts.contains("192.0.2.7\tother.test"), "{hosts}");
    let gateway = hosts.lines().find(|line| line.ends_with("machine.test"));
    let gateway = gateway
        .and_then(|line| line.split_whitespace().next())
        .expect("the machine");
    let route = a("ip route | grep default | cut -d\" \" -f3");
    assert_eq!(gateway, route.trim());

    let d = |script: &str| inside(&lab, &project, "d", script);
    assert_eq!(d("stat -c %t:%T /dev/given"), "a:e5\n");
    assert_eq!(
        d(": < /dev/given && echo r; (: > /dev/given) 2>/dev/null || echo only"),
        "r\nonly\n"
    );
    assert_eq!(
        d("mknod /dev/l c 10 237 && : < /dev/l && echo open"),
        "open\n"
    );
    let closed = "mknod /dev/m c 1 1 && (: < /dev/m) 2>/dev/null || echo closed";
    assert_eq!(d(closed), "closed\n");

    let space = |service: &str, kind: &str| {
        inside(
            &lab,
            &project,
            service,
            &format!("readlink /proc/self/ns/{kind}"),
        )
    };
    let own = |kind: &str| {
        let link = std::fs::read_link(format!("/proc/self/ns/{kind}")).expect("a namespace");
        format!("{}\n", link.display())
    };
    for kind in ["net", "ipc", "uts", "pid"] {
        assert_eq!(space("n", kind), space("a", kind), "{kind}");
        if kind != "net" {
            assert_eq!(space("h", kind), own(kind), "{kind}");
        }
        assert_ne!(space("a", kind), own(kind), "{kind}");
    }
    a("echo shared > /dev/shm/of-a");
    let n = |script: &str| inside(&lab, &project, "n", script);
    assert_eq!(n("cat /dev/shm/of-a"), "shared\n");
    assert_eq!(a("echo again > /dev/shm/of-a"), "");
    assert_eq!(n("cat /dev/shm/of-a"), "again\n");
    assert_eq!(space("h", "cgroup"), own("cgroup"));
    assert_ne!(space("a", "cgroup"), own("cgroup"));
    assert_eq!(
        inside(
            &lab,
            &project,
            "p",
            "ls /sys/class/net; grep -E \"^Seccomp:\" /proc/1/status | cut -f2"
        ),
        "lo\n0\n"
    );
    let made = inside(&lab, &project, "s", "mkdir /x 2>&1; touch /y && echo made");
    assert!(
        made.contains("No space left") && made.ends_with("made\n"),
        "{made}"
    );
    // The signal that ends a service is its own: `sleep` below an init dies of SIGUSR1.
    lab.sh(&project, "orc stop a").ok();
    assert_eq!(
        lab.orc(["inspect", "-f", "{{.State.ExitCode}}", "attrkernel-a-1"])
            .ok(),
        "138\n"
    );
    lab.sh(&project, "orc down").ok();
}

#[test]
fn a_service_may_speak_to_the_engine() {
    let lab = Lab::with_busybox("attrsocket");
    let file = "
services:
  a:
    image: example/busybox:1
    command: sleep 100000
    init: true
    use_api_socket: true
";
    let project = lab.project("attrsocket", file);
    let ran = up(&lab, &project);
    assert!(
        ran.stderr.contains("can do everything on this machine"),
        "{ran}"
    );
    assert_eq!(
        inside(
            &lab,
            &project,
            "a",
            "echo $DOCKER_HOST; test -S /var/run/docker.sock && echo socket"
        ),
        "unix:///var/run/docker.sock\nsocket\n"
    );
    let socket = std::fs::metadata(lab.run_root().join("orc.sock")).expect("the socket");
    let seen = inside(&lab, &project, "a", "stat -c %i /var/run/docker.sock");
    assert_eq!(seen.trim(), socket.ino().to_string());
    lab.sh(&project, "orc down").ok();
}

#[test]
fn an_images_labels_make_it_no_member_of_a_project() {
    let lab = Lab::with_busybox("attrlabels");
    let dockerfile = "FROM example/busybox:1\n\
        LABEL com.docker.compose.project=attrlabels com.docker.compose.service=a \
        com.docker.compose.container-number=1 com.docker.compose.oneoff=False \
        com.docker.compose.project.config_files=/etc/passwd \
        com.docker.compose.depends_on=b:service_healthy:true \
        orc.restart=always io.containerd.runc.v2.group=x io.kubernetes.pod.name=x\n\
        CMD sleep 100000\n";
    let project = lab.project(
        "attrlabels",
        "services:\n  b:\n    image: example/busybox:1\n    command: sleep 100000\n    init: true\n",
    );
    std::fs::write(project.join("Dockerfile"), dockerfile).expect("a file");
    lab.sh(&project, "orc build -q -t labelled:1 .").ok();
    lab.orc_line("run -d --init --name stranger labelled:1")
        .ok();
    let ran = up(&lab, &project);
    assert!(!ran.stderr.contains("orphan"), "{ran}");
    assert_eq!(
        lab.sh(&project, "orc compose ps -a --format '{{.Names}}'")
            .ok(),
        "attrlabels-b-1\n"
    );
    let format = "{{.HostConfig.RestartPolicy.Name}} {{len .Mounts}}";
    assert_eq!(
        lab.orc(["inspect", "-f", format, "stranger"]).ok(),
        "no 0\n"
    );
    lab.sh(&project, "orc down --remove-orphans").ok();
    assert_eq!(
        lab.orc(["inspect", "-f", "{{.State.Status}}", "stranger"])
            .ok(),
        "running\n",
        "it is not the project's"
    );
    lab.orc_line("rm -f stranger").ok();
}
