//! What a container with the default profile cannot do (HAZARDS R1, R2, R7 to R16, R24).

use orc_runtime::capability::{Capability, Set};
use orc_runtime::spec::Seccomp;

use crate::bed::Bed;

crate::tests! {
    capabilities_are_the_default_set
    other_users_have_none
    asked_capabilities_are_given
    the_filter_is_on
    no_new_privileges_can_be_asked_for
    only_three_descriptors_are_open
    no_way_out_by_the_working_directory
    masked_and_read_only
    devices_are_the_default_set
    the_first_process_is_alone
    the_program_of_the_runtime_is_out_of_reach
    supplementary_groups
    sysctls_are_the_containers_own
    privileged_is_what_it_says
}

async fn capabilities_are_the_default_set(bed: Bed) {
    let text = bed
        .say("grep ^Cap /proc/self/status")
        .await
        .replace('\t', " ");
    assert_eq!(
        text,
        "CapInh: 0000000000000000\nCapPrm: 00000000a80425fb\nCapEff: 00000000a80425fb\nCapBnd: 00000000a80425fb\nCapAmb: 0000000000000000\n"
    );
}

async fn other_users_have_none(bed: Bed) {
    for user in ["33", "web", "1000:29"] {
        let mut spec = bed.script("grep -E '^Cap(Inh|Prm|Eff|Amb)' /proc/self/status; id -u");
        spec.process.user = user.into();
        let text = bed.run(&spec).await.stdout.replace('\t', " ");
        let zero = "0000000000000000";
        let uid = if user == "1000:29" { "1000" } else { "33" };
        assert_eq!(
            text,
            format!("CapInh: {zero}\nCapPrm: {zero}\nCapEff: {zero}\nCapAmb: {zero}\n{uid}\n")
        );
    }
}

async fn asked_capabilities_are_given(bed: Bed) {
    let mut spec = bed.script("grep CapEff /proc/self/status");
    spec.process.capabilities = [Capability::parse("NET_ADMIN").unwrap()]
        .into_iter()
        .collect();
    assert_eq!(bed.run(&spec).await.stdout, "CapEff:\t0000000000001000\n");
    let mut spec = bed.script(
        "grep -E 'CapEff|CapBnd' /proc/self/status; chmod 700 /tmp && echo own; cat /etc/secret",
    );
    std::fs::write(bed.image().join("etc/secret"), "").unwrap();
    std::os::unix::fs::chown(bed.image().join("etc/secret"), Some(5), Some(5)).unwrap();
    use std::os::unix::fs::PermissionsExt;
    let secret = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(bed.image().join("etc/secret"), secret).unwrap();
    spec.process.capabilities = Set::EMPTY;
    let outcome = bed.run(&spec).await;
    assert_eq!(
        outcome.stdout,
        "CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nown\n"
    );
    assert!(outcome.stderr.contains("denied"), "{outcome:?}");
}

async fn the_filter_is_on(bed: Bed) {
    let text = bed
        .say("grep Seccomp: /proc/self/status; mount -t tmpfs none /tmp || echo no mount; umount /dev/shm || echo no umount")
        .await;
    assert_eq!(text, "Seccomp:\t2\nno mount\nno umount\n");
    let mut spec = bed.script("grep Seccomp: /proc/self/status");
    spec.process.seccomp = Seccomp::Unconfined;
    assert_eq!(bed.run(&spec).await.stdout, "Seccomp:\t0\n");
    // With the capability the calls are let through again.
    let mut spec =
        bed.script("grep Seccomp: /proc/self/status; mount -t tmpfs none /tmp && echo mounted");
    let admin = [Capability::parse("SYS_ADMIN").unwrap()]
        .into_iter()
        .collect();
    spec.process.capabilities = Set::DEFAULT.with(admin);
    assert_eq!(bed.run(&spec).await.stdout, "Seccomp:\t2\nmounted\n");
}

async fn no_new_privileges_can_be_asked_for(bed: Bed) {
    for (wanted, text) in [(false, "NoNewPrivs:\t0\n"), (true, "NoNewPrivs:\t1\n")] {
        let mut spec =
            bed.script("grep NoNewPrivs /proc/self/status; grep Seccomp: /proc/self/status");
        spec.process.no_new_privs = wanted;
        spec.process.user = "33".into();
        assert_eq!(bed.run(&spec).await.stdout, format!("{text}Seccomp:\t2\n"));
    }
}

/// R2: with a daemon that holds many descriptors.
async fn only_three_descriptors_are_open(bed: Bed) {
    let held: Vec<_> = (0..300)
        .map(|_| std::fs::File::open("/etc/passwd").unwrap())
        .collect();
    let leaking: Vec<_> = (0..20)
        .map(|_| rustix::io::fcntl_dupfd_cloexec(&held[0], 3).unwrap())
        .collect();
    for fd in &leaking {
        rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty()).unwrap();
    }
    // A launcher that is born with them.
    let runtime = bed.another_runtime();
    for init in [false, true] {
        // The shell opens the directory it lists as 3.
        let mut spec = bed.script("echo /proc/self/fd/*; echo /proc/1/fd/*");
        spec.init = init;
        let monitor = runtime.start(&spec).await.unwrap();
        let outcome = bed.outcome(&spec, monitor.wait().await);
        for line in outcome.stdout.lines() {
            let open: Vec<&str> = line
                .split(' ')
                .map(|path| path.rsplit('/').next().unwrap())
                .collect();
            let shell_only = open
                .iter()
                .all(|fd| matches!(*fd, "0" | "1" | "2" | "3" | "10"));
            assert!(shell_only || *fd_star(&open), "{outcome:?}");
        }
    }
    drop(held);
}

fn fd_star<'a>(open: &[&'a str]) -> &'a bool {
    match open {
        ["*"] => &true,
        _ => &false,
    }
}

async fn no_way_out_by_the_working_directory(bed: Bed) {
    for path in (3..64).map(|number| format!("/proc/self/fd/{number}")) {
        let mut spec = bed.script("pwd");
        spec.process.cwd = path;
        bed.refusal(&spec).await;
    }
    let mut spec = bed.script("pwd; ls");
    spec.process.cwd = "/../../..".into();
    assert!(
        bed.run(&spec)
            .await
            .stdout
            .starts_with("/\nbin\ndev\netc\n")
    );
}

async fn masked_and_read_only(bed: Bed) {
    let text = bed
        .say(
            "for p in /proc/kcore /proc/keys /proc/timer_list /proc/interrupts; do [ -e $p ] && stat -c '%t:%T' $p; done | grep -v ^1:3$; \
             for p in /proc/acpi /proc/scsi /sys/firmware; do [ -e $p ] && ls -A $p; done; \
             for p in /proc/sys/kernel/hostname /proc/sysrq-trigger /proc/irq/x /sys/x /sys/fs/cgroup/x; do (echo x > $p) 2>/dev/null && echo wrote $p; done; \
             grep -c ' - proc ' /proc/self/mountinfo; readlink /proc/self/root; hostname",
        )
        .await;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert_eq!(lines[1..], ["/", "bed"], "{text}");
    let mounts = bed.say("cat /proc/self/mountinfo").await;
    let on = |target: &str| {
        mounts
            .lines()
            .rev()
            .find(|line| line.split(' ').nth(4) == Some(target))
            .unwrap_or_else(|| panic!("nothing on {target}: {mounts}"))
            .to_owned()
    };
    for (target, kind, access) in [
        ("/", " - overlay ", " rw,nodev"),
        ("/proc", " - proc ", " rw,nosuid,nodev,noexec"),
        ("/proc/sys", " - proc ", " ro,nosuid,nodev,noexec"),
        ("/sys", " - sysfs ", " ro,nosuid,nodev,noexec"),
        ("/dev", " - tmpfs ", " rw,nosuid"),
        ("/dev/pts", " - devpts ", " rw,nosuid,noexec"),
        ("/dev/shm", " - tmpfs ", " rw,nosuid,nodev,noexec"),
        ("/dev/mqueue", " - mqueue ", " rw,nosuid,nodev,noexec"),
    ] {
        let line = on(target);
        assert!(line.contains(kind) && line.contains(access), "{line}");
    }
    // Nothing of the host's tree, and all private.
    let own = bed.path("");
    assert!(
        !mounts.contains("shared:") && !mounts.contains("master:"),
        "{mounts}"
    );
    let host = mounts.lines().filter(|line| {
        line.split(' ')
            .nth(4)
            .unwrap()
            .starts_with(own.to_str().unwrap())
    });
    assert_eq!(host.count(), 0);
}

/// R16: nodes can be made, and none but the default ones can be opened.
async fn devices_are_the_default_set(bed: Bed) {
    let text = bed
        .say(
            "ls /dev | tr '\\n' ' '; echo; \
             for d in null zero full random urandom; do dd if=/dev/$d of=/dev/null bs=1 count=1 2>/dev/null || echo $d closed; done; \
             echo x > /dev/full || echo full is full; \
             mknod /dev/disk b 8 0; mknod /dev/mem c 1 1; mknod /dev/shm/null c 1 3; mknod /tmp/null c 1 3; \
             for d in /dev/disk /dev/mem /dev/shm/null /tmp/null; do dd if=$d of=/dev/null bs=1 count=1 2>/dev/null && echo opened $d; done; \
             ls -l /dev/fd /dev/stdin /dev/ptmx | sed 's/.*-> //'",
        )
        .await;
    assert_eq!(
        text,
        "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero \nfull is full\n/proc/self/fd\npts/ptmx\n/proc/self/fd/0\n"
    );
}

async fn the_first_process_is_alone(bed: Bed) {
    let text = bed
        .say("ps | grep -c -v PID; for n in pid mnt net ipc uts cgroup; do readlink /proc/self/ns/$n; done; cat /proc/self/cgroup; cat /proc/net/dev | grep -c :; cat /sys/class/net/lo/flags")
        .await;
    let mut lines = text.lines();
    assert!(lines.next().unwrap().parse::<u32>().unwrap() <= 3, "{text}");
    for name in ["pid", "mnt", "net", "ipc", "uts", "cgroup"] {
        let own = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert_ne!(lines.next().unwrap(), own.to_str().unwrap(), "{name}");
    }
    let (groups, rest): (Vec<&str>, Vec<&str>) = lines.partition(|line| line.contains(':'));
    assert!(groups.iter().all(|line| line.ends_with(":/")), "{groups:?}");
    assert_eq!(rest, ["1", "0x9"], "only loopback, and it is up");
}

/// R1 (CVE-2019-5736): an image whose program is a link to the program that executes it.
async fn the_program_of_the_runtime_is_out_of_reach(bed: Bed) {
    use std::os::unix::fs::symlink;
    let own = std::env::current_exe().unwrap();
    let before = std::fs::read(&own).unwrap();
    symlink("/proc/self/exe", bed.image().join("self")).unwrap();
    let spec = bed.spec(["/self"]);
    // It executes this very program in the container, where it has nothing to say.
    if let Ok(monitor) = bed.runtime.start(&spec).await {
        monitor.signal(orc_runtime::signal::KILL).ok();
        monitor.wait().await;
    }
    let mut spec = bed.script(
        "for p in /proc/[0-9]*/exe; do (: >> $p) 2>/dev/null && echo wrote $(readlink $p); done; echo done",
    );
    spec.init = true;
    let text = bed.run(&spec).await.stdout;
    assert!(
        text.ends_with("done\n") && !text.contains("orc") && !text.contains("containers"),
        "{text}"
    );
    assert!(before == std::fs::read(&own).unwrap());

    // Even the launcher, from the host and as root, cannot write through its own link.
    let exe = format!("/proc/{}/exe", bed.launcher_pid());
    let error = std::fs::OpenOptions::new()
        .append(true)
        .open(exe)
        .unwrap_err();
    assert!(
        matches!(error.raw_os_error(), Some(libc) if libc == 30 || libc == 26),
        "{error}"
    );
}

/// R13: `id -G` is the primary group and the image's groups; a file that denies its group stays
/// denied.
async fn supplementary_groups(bed: Bed) {
    let mut spec = bed.script("id -G");
    spec.process.user = "web".into();
    assert_eq!(bed.run(&spec).await.stdout, "33 29\n");
    let mut spec = bed.script("id -G; cat /etc/denied");
    std::fs::write(bed.image().join("etc/denied"), "x").unwrap();
    std::os::unix::fs::chown(bed.image().join("etc/denied"), Some(0), Some(33)).unwrap();
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(0o604);
    std::fs::set_permissions(bed.image().join("etc/denied"), mode).unwrap();
    spec.process.user = "33:33".into();
    spec.process.groups = vec!["audio".into(), "5".into()];
    let outcome = bed.run(&spec).await;
    assert!(outcome.stdout.starts_with("33 5 29\n"), "{outcome:?}");
    assert!(outcome.stderr.contains("denied"), "{outcome:?}");
}

async fn sysctls_are_the_containers_own(bed: Bed) {
    let before = std::fs::read_to_string("/proc/sys/kernel/shmmni").unwrap();
    let mut spec =
        bed.script("cat /proc/sys/kernel/shmmni /proc/sys/net/ipv4/ip_unprivileged_port_start");
    spec.sysctls = [
        ("kernel.shmmni".to_owned(), "77".to_owned()),
        (
            "net.ipv4.ip_unprivileged_port_start".to_owned(),
            "0".to_owned(),
        ),
    ]
    .into();
    assert_eq!(bed.run(&spec).await.stdout, "77\n0\n");
    assert_eq!(
        std::fs::read_to_string("/proc/sys/kernel/shmmni").unwrap(),
        before
    );
    let mut spec = bed.script("true");
    spec.sysctls = [("net.ipv4.no_such_thing".to_owned(), "1".to_owned())].into();
    let error = bed.refusal(&spec).await;
    assert!(error.to_string().contains("no_such_thing"), "{error}");
}

async fn privileged_is_what_it_says(bed: Bed) {
    let mut spec = bed.script(
        "mkdir /sys/fs/cgroup/pids/below && echo made; mount -t tmpfs none /tmp && echo mounted; mknod /dev/k c 1 11; : < /dev/k && echo opened; grep Seccomp: /proc/self/status",
    );
    spec.privileged = true;
    spec.masked_paths.clear();
    spec.readonly_paths.clear();
    spec.process.capabilities = Set::ALL;
    spec.process.seccomp = Seccomp::Unconfined;
    let outcome = bed.run(&spec).await;
    assert!(outcome.stdout.contains("mounted\n"), "{outcome:?}");
    assert!(
        outcome.stdout.contains("opened\nSeccomp:\t0\n"),
        "{outcome:?}"
    );
    // The group that the container made below its own goes with it.
    bed.assert_nothing_left(&spec);
}
