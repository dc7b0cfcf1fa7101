//! Files of containers: `cp`, `export`, `commit` and `diff`, by orc's own command line and by Docker's
//! (checklist B11 to B13; hazards D1 to D3 and the `cp` row of U).

use std::path::Path;

use crate::support::lab::{Lab, Ran};

const IMAGE: &str = "example/busybox:1";

/// Both command lines, for what they must do alike.
const CLIENTS: [&str; 2] = ["orc", "docker"];

fn client(lab: &Lab, client: &str, line: &str) -> Ran {
    lab.host(std::iter::once(client).chain(line.split_whitespace()))
}

/// A container that has written something here and there, and goes on.
fn busy(lab: &Lab, name: &str) {
    let script =
        "mkdir -p /d/e; echo one > /d/one; echo two > /d/e/two; chmod 640 /d/one; chown 5:6 /d/one
        ln -s /d /link; echo volume > /vol/file; rm /bin/yes; echo ready; exec sleep 100000";
    lab.orc([
        "run", "-d", "--name", name, "-v", "vol:/vol", "--tmpfs", "/mem", IMAGE, "sh", "-c", script,
    ])
    .ok();
    crate::support::lab::until("the container is ready", || {
        lab.orc(["logs", name]).ok().contains("ready").then_some(())
    });
}

/// All files below a directory, with the text of regular ones.
fn tree(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(at) = left.pop() {
        for entry in std::fs::read_dir(&at).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = path
                .strip_prefix(directory)
                .expect("below")
                .display()
                .to_string();
            let meta = path.symlink_metadata().expect("metadata");
            found.push(match meta.file_type() {
                kind if kind.is_symlink() => {
                    format!("{name} -> {}", path.read_link().expect("a link").display())
                }
                kind if kind.is_dir() => {
                    left.push(path);
                    format!("{name}/")
                }
                _ => {
                    let text = std::fs::read_to_string(&path).expect("a text");
                    format!("{name} = {}", text.trim())
                }
            });
        }
    }
    found.sort();
    found
}

/// What is mounted on this lab's directories.
fn mounts(lab: &Lab) -> Vec<String> {
    let own = lab.path().display().to_string();
    let all = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let ours = all.lines().filter(|line| line.contains(&own));
    ours.map(str::to_owned).collect()
}

#[test]
fn files_come_out_where_docker_puts_them() {
    let lab = Lab::with_busybox("cpout");
    let before = lab.snapshot();
    busy(&lab, "c");
    for client_name in CLIENTS {
        let out = lab.path().join(client_name);
        std::fs::create_dir(&out).unwrap();
        std::fs::create_dir(out.join("there")).unwrap();
        std::fs::write(out.join("file"), "old").unwrap();
        std::os::unix::fs::symlink("nowhere", out.join("dangling")).unwrap();
        let copy = |line: &str| {
            let line = line.replace("OUT", &out.display().to_string());
            client(&lab, client_name, &format!("cp {line}"))
        };
        copy("c:/d/one OUT/new").ok();
        copy("c:/d/one OUT/file").ok();
        copy("c:/d/one OUT/there").ok();
        copy("c:/d OUT/there").ok();
        copy("c:/d OUT/renamed").ok();
        copy("c:/d/. OUT/contents").ok();
        copy("c:/d/e/. OUT/there").ok();
        copy("c:/link OUT/link").ok();
        copy("-L c:/link OUT/followed").ok();
        copy("c:/link/ OUT/through").ok();
        copy("c:vol/file OUT/dangling").ok();
        let expected = [
            "contents/",
            "contents/e/",
            "contents/e/two = two",
            "contents/one = one",
            "dangling -> nowhere",
            "file = one",
            "followed/",
            "followed/e/",
            "followed/e/two = two",
            "followed/one = one",
            "link -> /d",
            "new = one",
            "nowhere = volume",
            "renamed/",
            "renamed/e/",
            "renamed/e/two = two",
            "renamed/one = one",
            "there/",
            "there/d/",
            "there/d/e/",
            "there/d/e/two = two",
            "there/d/one = one",
            "there/one = one",
            "there/two = two",
            "through/",
            "through/e/",
            "through/e/two = two",
            "through/one = one",
        ];
        assert_eq!(tree(&out), expected, "{client_name}");
        for (line, told) in [
            (
                "c:/nope OUT/x",
                "Could not find the file /nope in container c",
            ),
            ("nope:/d OUT/x", "No such container: nope"),
            ("c:/d OUT/file", "cannot copy directory"),
            ("c:/d/one OUT/new/", "not a directory"),
            ("c:/d/one OUT/no/no", "does not exist"),
            ("c:/a c:/b", "copying between containers is not supported"),
            ("OUT/a OUT/b", "must specify at least one container source"),
        ] {
            let refused = copy(line).refused();
            assert!(refused.contains(told), "{client_name} {line}: {refused}");
        }
        let script = format!("{client_name} cp c:/d - | tar tvn");
        let listed = lab.sh(lab.path(), &script).ok();
        assert!(listed.contains("-rw-r----- 5/6"), "{listed}");
    }
    lab.orc(["rm", "-f", "c"]).ok();
    lab.orc(["volume", "rm", "vol"]).ok();
    before.is_back(&lab);
}

#[test]
fn files_go_in_where_docker_puts_them() {
    let lab = Lab::with_busybox("cpin");
    let before = lab.snapshot();
    busy(&lab, "c");
    let home = lab.path().join("home");
    std::fs::create_dir_all(home.join("dir/sub")).unwrap();
    std::fs::write(home.join("dir/sub/deep"), "deep").unwrap();
    std::fs::write(home.join("f"), "text").unwrap();
    std::os::unix::fs::symlink("f", home.join("l")).unwrap();
    let look = |path: &str| lab.orc(["exec", "c", "find", path]).ok();
    for client_name in CLIENTS {
        let copy = |words: &str| lab.sh(&home, &format!("{client_name} cp {words}"));
        lab.orc(["exec", "c", "rm", "-rf", "/in"]).ok();
        lab.orc(["exec", "c", "mkdir", "-p", "/in/there"]).ok();
        copy("f c:/in/new").ok();
        copy("f c:/in/there").ok();
        copy("dir c:/in/there").ok();
        copy("dir c:/in/renamed").ok();
        copy("dir/. c:/in/contents").ok();
        copy("l c:/in/link").ok();
        copy("-L l c:/in/followed").ok();
        copy("f c:/link/in-d").ok();
        copy("f c:/vol/in-volume").ok();
        copy("f c:mem/in-memory").ok();
        lab.sh(&home, &format!("tar c f | {client_name} cp - c:/in/there"))
            .ok();
        let mut found: Vec<_> = look("/in").lines().map(str::to_owned).collect();
        found.sort();
        let expected = [
            "/in",
            "/in/contents",
            "/in/contents/sub",
            "/in/contents/sub/deep",
            "/in/followed",
            "/in/link",
            "/in/new",
            "/in/renamed",
            "/in/renamed/sub",
            "/in/renamed/sub/deep",
            "/in/there",
            "/in/there/dir",
            "/in/there/dir/sub",
            "/in/there/dir/sub/deep",
            "/in/there/f",
        ];
        assert_eq!(found, expected, "{client_name}");
        for path in [
            "/d/in-d",
            "/vol/in-volume",
            "/mem/in-memory",
            "/in/followed",
        ] {
            let text = lab.orc(["exec", "c", "cat", path]).ok();
            assert_eq!(text, "text", "{client_name} {path}");
        }
        for (words, told) in [
            ("nope c:/in", "no such file or directory"),
            ("f c:/no/no", "Could not find the file /no in container c"),
            ("f nope:/x", "No such container: nope"),
            ("dir c:/in/new", "cannot copy directory"),
            ("f c:/in/nope/", "no such directory"),
            ("- c:/in/new < f", "must be a directory"),
            (
                "f c:/proc/sys/kernel/x",
                "Could not find the file /proc/sys/kernel",
            ),
        ] {
            let refused = copy(words).refused();
            assert!(refused.contains(told), "{client_name} {words}: {refused}");
        }
        // A directory is not replaced by a file.
        let refused = copy("f c:/in/there/dir/sub/..").code;
        assert_eq!(refused, 0, "into the directory");
        lab.orc(["exec", "c", "mkdir", "/in/there/f2", "/in/f"])
            .ok();
        let refused = lab
            .sh(&home, &format!("tar c f | {client_name} cp - c:/in"))
            .refused();
        assert!(refused.contains("cannot overwrite directory"), "{refused}");
    }
    // By default the archive says who owns it; with -a the container's user does.
    lab.orc([
        "run", "-d", "--name", "u", "--user", "7:8", IMAGE, "sleep", "100000",
    ])
    .ok();
    lab.sh(
        &home,
        "chown 3:4 f; orc cp f u:/theirs; orc cp -a f u:/ours",
    )
    .ok();
    let owners = lab
        .orc(["exec", "u", "stat", "-c", "%u:%g", "/theirs", "/ours"])
        .ok();
    assert_eq!(owners, "3:4\n7:8\n");
    lab.orc(["rm", "-f", "c", "u"]).ok();
    lab.orc(["volume", "rm", "vol"]).ok();
    before.is_back(&lab);
}

#[test]
fn stopped_containers_have_files_too() {
    let lab = Lab::with_busybox("cpstop");
    let before = lab.snapshot();
    lab.orc([
        "create",
        "--name",
        "fresh",
        "-v",
        "vol:/deep/vol",
        IMAGE,
        "cat",
        "/deep/vol/f",
        "/own/f",
    ])
    .ok();
    let before_mounts = mounts(&lab);
    std::fs::write(lab.path().join("f"), "text").unwrap();
    for line in ["cp f fresh:/deep/vol/f", "cp f fresh:/tmp-f"] {
        lab.orc_line(line).ok();
    }
    lab.docker("cp f fresh:/own-f").ok();
    assert!(
        lab.orc_line("cp f fresh:/own/f")
            .refused()
            .contains("Could not find")
    );
    lab.sh(lab.path(), "mkdir own; cp f own; orc cp own fresh:/")
        .ok();
    assert_eq!(mounts(&lab), before_mounts);
    assert_eq!(lab.orc_line("start -a fresh").ok(), "texttext");
    let copied = lab.sh(
        lab.path(),
        "docker cp fresh:/deep - | tar x; cat deep/vol/f",
    );
    assert_eq!(copied.ok(), "text");
    // Read-only roots stay what they are; their volumes do not.
    lab.orc([
        "run",
        "-d",
        "--name",
        "ro",
        "--read-only",
        "-v",
        "vol:/vol",
        "-v",
        "vol:/rovol:ro",
        IMAGE,
        "sleep",
        "100000",
    ])
    .ok();
    for stop in [false, true] {
        if stop {
            lab.orc_line("stop -t 0 ro").ok();
        }
        let refused = lab.docker("cp f ro:/x").refused();
        assert!(
            refused.contains("container rootfs is marked read-only"),
            "{refused}"
        );
        let refused = lab.orc_line("cp f ro:/rovol/x").refused();
        assert!(
            refused.contains("mounted volume is marked read-only"),
            "{refused}"
        );
        lab.docker("cp f ro:/vol/x").ok();
    }
    lab.orc_line("rm fresh ro").ok();
    lab.orc_line("volume rm vol").ok();
    before.is_back(&lab);
}

#[test]
fn a_container_becomes_an_image_and_an_archive() {
    let lab = Lab::with_busybox("commit");
    busy(&lab, "c");
    let layers = |image: &str| {
        let format = "{{len .RootFS.Layers}}";
        let text = lab.orc(["image", "inspect", "-f", format, image]).ok();
        text.trim().parse::<usize>().expect("a number")
    };
    let expected = "A /d\nA /d/e\nA /d/e/two\nA /d/one\nA /link\nA /mem\nA /vol\n";
    for client_name in CLIENTS {
        let diff = client(&lab, client_name, "diff c").ok();
        let (bin, rest): (Vec<_>, Vec<_>) = diff.lines().partition(|line| line.contains("/bin"));
        assert_eq!(bin, ["C /bin", "D /bin/yes"], "{client_name}");
        assert_eq!(rest.join("\n") + "\n", expected, "{client_name}");
        let image = format!("snap-{client_name}:1");
        let id = lab
            .host([
                client_name,
                "commit",
                "-a",
                "me",
                "-m",
                "why",
                "-c",
                "ENV A=b",
                "-c",
                "CMD [\"cat\", \"/d/one\"]",
                "c",
                &image,
            ])
            .ok();
        assert!(id.trim().starts_with("sha256:"), "{id}");
        assert_eq!(layers(&image), layers(IMAGE) + 1);
        assert_eq!(lab.orc(["run", "--rm", &image]).ok(), "one\n");
        assert!(lab.orc(["run", "--rm", &image, "ls", "/bin/yes"]).code != 0);
        assert_eq!(
            lab.orc(["run", "--rm", &image, "sh", "-c", "echo $A; ls /vol"])
                .ok(),
            "b\n"
        );
        let facts = lab
            .orc(["inspect", "-f", "{{.Author}} {{.Comment}}", &image])
            .ok();
        assert_eq!(facts, "me why\n");
        let history = lab.docker(&format!("history --no-trunc {image}")).ok();
        assert!(history.contains("why"), "{history}");
        // It goes to another host as it is.
        let tar = lab.path().join("saved.tar");
        lab.orc(["save", "-o", &tar.display().to_string(), &image])
            .ok();
        let state = lab.orc(["inspect", "-f", "{{.State.Status}}", "c"]).ok();
        assert_eq!(state, "running\n", "it goes on after it was frozen");
        let exported = lab
            .sh(lab.path(), &format!("{client_name} export c | tar tv"))
            .ok();
        assert!(exported.contains("-rw-r----- 5/6"), "{exported}");
        assert!(!exported.contains("vol/file"), "volumes are not exported");
        assert!(!exported.contains("proc/self"), "{exported}");
    }
    let refused = lab.orc(["commit", "-c", "RUN x", "c", "bad"]).refused();
    assert!(refused.contains("not a valid change command"), "{refused}");
    lab.orc(["commit", "--no-pause", "c"]).ok();
    lab.orc_line("stop -t 0 c").ok();
    lab.docker("commit --pause=false c stopped:1").ok();
    assert_eq!(
        lab.orc_line("run --rm stopped:1 cat /d/e/two").ok(),
        "two\n"
    );
    // What is exported can be imported.
    lab.sh(lab.path(), "orc export c | orc import - flat:1")
        .ok();
    assert_eq!(lab.orc_line("run --rm flat:1 cat /d/one").ok(), "one\n");
    let events = lab
        .orc_line("events --since 10m --until 0s --filter event=commit")
        .ok();
    assert!(events.lines().count() >= 4, "{events}");
}

/// A path component is a directory at one moment and a link to a directory of the host at the next
/// (CVE-2018-15664). Whatever `cp` finds, it is in the container.
#[test]
fn a_race_of_links_leads_nowhere() {
    let lab = Lab::with_busybox("cprace");
    let sentinel = lab.path().join("sentinel");
    std::fs::create_dir(&sentinel).unwrap();
    std::fs::write(sentinel.join("secret"), "of the host").unwrap();
    let inside = sentinel.display();
    let script = format!(
        "mkdir -p /a/real {inside}; echo inside > /a/real/secret; echo inside > {inside}/secret; ln -s {inside} /a/link
        echo ready
        while true; do ln -sfn real /a/x; ln -sfn {inside} /a/x; ln -sfn ../../../../../../../..{inside} /a/x; \
        rm /a/x; mv /a/real /a/x; mv /a/x /a/real; done"
    );
    lab.orc(["run", "-d", "--name", "c", IMAGE, "sh", "-c", &script])
        .ok();
    crate::support::lab::until("the race is on", || {
        lab.orc(["logs", "c"]).ok().contains("ready").then_some(())
    });
    let before = mounts(&lab);
    let race = "
        echo in > payload; done=0
        for n in $(seq 100); do
            orc cp -q payload c:/a/x/written 2> /dev/null && done=$((done + 1))
            orc cp -q c:/a/x/secret out 2> /dev/null && cat out && rm -f out
            orc cp -q c:/a/x/. outdir 2> /dev/null && cat outdir/secret; rm -rf outdir
        done
        echo $done";
    let ran = lab.sh(lab.path(), race).ok();
    assert!(!ran.contains("of the host"), "{ran}");
    assert!(ran.contains("inside"), "nothing was ever read: {ran}");
    let written = ran.lines().last().and_then(|line| line.parse::<u32>().ok());
    assert!(
        written.is_some_and(|times| times > 0),
        "nothing was ever written: {ran}"
    );
    assert_eq!(tree(&sentinel), ["secret = of the host"]);
    assert_eq!(mounts(&lab), before);
    lab.orc_line("rm -f c").ok();
}

/// What comes in by `cp` goes through the same reader as a layer.
#[test]
fn hostile_archives_stay_inside() {
    let lab = Lab::with_busybox("cpbad");
    lab.orc(["run", "-d", "--name", "c", IMAGE, "sleep", "100000"])
        .ok();
    let sentinel = lab.path().join("sentinel");
    std::fs::create_dir(&sentinel).unwrap();
    let script = format!(
        "set -e; mkdir t; echo evil > t/evil; ln -s {0} t/link
        tar cf up.tar -C t --transform 's,^evil,../../../../../../../..{0}/evil,' -P evil
        tar cf through.tar -C t link; tar rf through.tar -C t --transform 's,^evil,link/evil,' evil
        printf 'LZIP\\001 and more' > packed.tar.lz; echo fine > t/fine; tar cJf good.tar.xz -C t fine; head -c 700 through.tar > cut.tar; tar czf good.tar.gz -C t evil",
        sentinel.display()
    );
    lab.sh(lab.path(), &script).ok();
    let put = |name: &str| lab.sh(lab.path(), &format!("docker cp - c:/ < {name}"));
    for (name, told) in [
        ("up.tar", "`..`"),
        ("packed.tar.lz", "compressed with lzip"),
        ("cut.tar", "ends"),
    ] {
        let refused = put(name).refused();
        assert!(refused.contains(told), "{name}: {refused}");
    }
    // A link that leads out of the container leads to the same path in it, where nothing is.
    assert!(put("through.tar").code != 0);
    lab.orc(["exec", "c", "mkdir", "-p", &sentinel.display().to_string()])
        .ok();
    lab.orc(["exec", "c", "rm", "/link"]).ok();
    put("through.tar").ok();
    let inside = format!("{}/evil", sentinel.display());
    assert_eq!(lab.orc(["exec", "c", "cat", &inside]).ok(), "evil\n");
    put("good.tar.gz").ok();
    put("good.tar.xz").ok();
    assert_eq!(lab.orc(["exec", "c", "cat", "/fine"]).ok(), "fine\n");
    assert_eq!(tree(&sentinel), [""; 0], "nothing was written on the host");
    assert!(!Path::new("/evil").exists());
    lab.orc_line("rm -f c").ok();
}
