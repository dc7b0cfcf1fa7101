//! The unmodified `docker` client is an ordinary user of orc.

use std::io::Read;
use std::process::Command;

use crate::support::lab::{Lab, until};
use crate::support::registry::Registry;

#[test]
fn runs_lists_and_removes() {
    let lab = Lab::with_busybox("dcli");
    let before = lab.snapshot();
    assert!(
        lab.docker("version --format {{.Server.Version}}")
            .ok()
            .starts_with("0.")
    );
    assert_eq!(
        lab.docker("run --rm example/busybox:1 echo hello").ok(),
        "hello\n"
    );
    let id = lab
        .docker("run -d --name c -e A=1 --init example/busybox:1 sleep 100000")
        .ok();
    assert_eq!(id.trim().len(), 64, "{id}");
    let row = lab
        .docker("ps --no-trunc --format {{.Names}}|{{.Image}}|{{.State}}|{{.Command}}")
        .ok();
    assert_eq!(row, "c|example/busybox:1|running|\"sleep 100000\"\n");
    assert!(lab.docker("ps").ok().contains("Up "), "the default table");
    let running = lab
        .docker("inspect -f {{.State.Running}}|{{.Config.Image}}|{{.HostConfig.NetworkMode}} c")
        .ok();
    assert_eq!(running, "true|example/busybox:1|bridge\n");
    assert!(
        lab.docker("inspect -f {{.NetworkSettings.Networks.bridge.IPAddress}} c")
            .ok()
            .contains('.')
    );
    assert_eq!(
        lab.host(["docker", "exec", "c", "sh", "-c", "echo $A"])
            .ok(),
        "1\n"
    );
    assert!(lab.docker("top c").ok().contains("sleep 100000"));
    lab.docker("stop -t 1 c").ok();
    assert_eq!(lab.docker("ps -aq").ok().lines().count(), 1);
    lab.docker("start c").ok();
    lab.docker("restart -t 0 c").ok();
    lab.docker("kill c").ok();
    assert_eq!(lab.docker("wait c").ok(), "137\n");
    lab.docker("rename c d").ok();
    lab.docker("rm d").ok();
    assert_eq!(lab.docker("ps -aq").ok(), "");
    before.is_back(&lab);
}

#[test]
fn exit_codes_are_dockers() {
    let lab = Lab::with_busybox("dcodes");
    let before = lab.snapshot();
    assert_eq!(lab.docker("run --rm example/busybox:1 false").code, 1);
    assert_eq!(lab.docker("run --rm example/busybox:1 /bin/nope").code, 127);
    assert_eq!(
        lab.docker("run --rm example/busybox:1 /etc/passwd").code,
        126
    );
    assert_eq!(
        lab.docker("run --rm --network nope example/busybox:1 true")
            .code,
        125
    );
    lab.docker("run -d --name c example/busybox:1 sleep 100000")
        .ok();
    assert_eq!(lab.docker("exec c /bin/nope").code, 127);
    assert_eq!(lab.docker("exec c false").code, 1);
    lab.docker("rm -f c").ok();
    before.is_back(&lab);
}

#[test]
fn streams_flow_both_ways() {
    let lab = Lab::with_busybox("dstreams");
    let script = "printf 'a\\nb\\n' | docker run --rm -i example/busybox:1 sort -r";
    assert_eq!(lab.sh(lab.path(), script).ok(), "b\na\n");
    let ran = lab.docker("run --rm example/busybox:1 ls /nope");
    assert!(
        ran.stdout.is_empty() && ran.stderr.contains("/nope"),
        "{ran}"
    );
    // 3 MiB of noise arrive whole: nothing on the way is text.
    let script = "docker run --rm example/busybox:1 sh -c 'head -c 3145728 /dev/zero | tr \"\\0\" \"\\377\"' | sha256sum; \
                  head -c 3145728 /dev/zero | tr '\\0' '\\377' | sha256sum";
    let sums = lab.sh(lab.path(), script).ok();
    let sums: Vec<&str> = sums.lines().collect();
    assert_eq!(sums[0], sums[1]);
}

#[test]
fn a_terminal_is_a_terminal() {
    let lab = Lab::with_busybox("dtty");
    lab.docker("run -d --name c example/busybox:1 sleep 100000")
        .ok();
    let script = "script -qec 'stty rows 31 cols 97; docker exec -it c sh -c \"tty; stty size\"' /dev/null < /dev/null";
    let output = lab.sh(lab.path(), script).ok();
    assert!(output.contains("/dev/pts/"), "{output}");
    assert!(output.contains("31 97"), "{output}");
    let script = "script -qec 'docker run --rm -it example/busybox:1 sh -c \"tty && exit 3\"' /dev/null < /dev/null";
    let ran = lab.sh(lab.path(), script);
    assert_eq!(ran.code, 3, "{ran}");
    assert!(ran.stdout.contains("/dev/"), "{ran}");
    lab.docker("rm -f c").ok();
}

#[test]
fn logs_follow() {
    let lab = Lab::with_busybox("dlogs");
    lab.orc([
        "run",
        "-d",
        "--name",
        "c",
        "example/busybox:1",
        "sh",
        "-c",
        "for i in 1 2 3; do echo $i; sleep 0.3; done",
    ])
    .ok();
    let mut follower = lab.spawn(["docker", "logs", "-f", "c"]);
    let mut text = String::new();
    follower
        .stdout
        .take()
        .expect("a pipe")
        .read_to_string(&mut text)
        .expect("its output");
    assert!(follower.wait().expect("an end").success());
    assert_eq!(text, "1\n2\n3\n");
    assert_eq!(lab.docker("logs --tail 1 c").ok(), "3\n");
    assert!(lab.docker("logs -t --tail 1 c").ok().starts_with("20"));
    lab.docker("rm c").ok();
}

#[test]
fn networks_and_volumes() {
    let lab = Lab::with_busybox("dnet");
    let before = lab.snapshot();
    lab.docker("network create front").ok();
    assert!(
        lab.docker("network ls --format {{.Name}}")
            .ok()
            .lines()
            .any(|name| name == "front")
    );
    lab.docker("volume create data").ok();
    assert_eq!(lab.docker("volume ls -q").ok(), "data\n");
    lab.docker("run --rm --network front -v data:/data example/busybox:1 touch /data/kept")
        .ok();
    assert_eq!(
        lab.docker("run --rm -v data:/data example/busybox:1 ls /data")
            .ok(),
        "kept\n"
    );
    lab.docker("run -d --name web --network front example/busybox:1 sleep 100000")
        .ok();
    let address = lab
        .docker("run --rm --network front example/busybox:1 nslookup web")
        .ok();
    assert!(address.contains("Address"), "{address}");
    assert!(lab.docker("network rm front").refused().contains("web"));
    lab.docker("rm -f web").ok();
    lab.docker("network rm front").ok();
    lab.docker("volume rm data").ok();
    before.is_back(&lab);
}

#[test]
fn images_are_pulled_tagged_and_removed() {
    let lab = Lab::with_busybox("dimages");
    let registry = Registry::start(&lab);
    let image = registry.name("b:1");
    lab.docker(&format!("tag example/busybox:1 {image}")).ok();
    let pushed = lab.docker(&format!("push {image}")).ok();
    let last = pushed.lines().last().unwrap_or_default();
    assert!(last.starts_with("1: digest: sha256:"), "{pushed}");
    let size = last.rsplit_once(" size: ").expect("a size").1;
    assert!(size.parse::<u32>().is_ok_and(|size| size > 100), "{pushed}");
    assert_eq!(pushed.matches("digest: ").count(), 1, "{pushed}");
    lab.docker(&format!("rmi {image}")).ok();
    lab.docker(&format!("pull {image}")).ok();
    let listed = lab.docker("images --format {{.Repository}}:{{.Tag}}").ok();
    assert!(listed.lines().any(|name| name == image), "{listed}");
    let text = lab
        .docker(&format!("pull {}", registry.name("nope:1")))
        .refused();
    assert!(text.contains("nope"), "{text}");
    lab.docker(&format!("rmi {image}")).ok();
}

#[test]
fn events_are_told() {
    let lab = Lab::with_busybox("devents");
    let mut listener = lab.spawn([
        "docker",
        "events",
        "--format",
        "{{.Action}}",
        "--filter",
        "type=container",
    ]);
    // There is no sign that the listener listens: repeat until it has heard something.
    let mut output = listener.stdout.take().expect("a pipe");
    let (heard, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 1024];
        while let Ok(count @ 1..) = output.read(&mut buffer) {
            let _ = heard.send(String::from_utf8_lossy(&buffer[..count]).into_owned());
        }
    });
    let mut text = String::new();
    until("an event was heard", || {
        lab.docker("run --rm example/busybox:1 true").ok();
        text.extend(told.try_iter());
        (text.contains("create") && text.contains("start") && text.contains("die")).then_some(())
    });
    let _ = Command::new("kill").arg(listener.id().to_string()).status();
    let _ = listener.wait();
}
