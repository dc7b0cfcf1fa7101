//! What is packed and unpacked again is what it was, for trees of all kinds and through the kernel's
//! own overlay.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::XattrFlags;

use orc_base::{Kind, Time};

use crate::content::Content;
use crate::digest::Digest;
use crate::layers::Layers;
use crate::pack::blob::blob;
use crate::pack::changes::changes;
use crate::pack::layer::{PackOptions, Packed, RootLook, layer, layer_without};
use crate::pack::leftovers::Leftovers;
use crate::pack::tree::{Named, one, several, tree};
use crate::unpack::compression::Compression;
use crate::unpack::stream::Watch;

/// All that can be seen of a file: what an archive has to keep.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    mode: u32,
    owner: (u32, u32),
    /// None for whiteouts, whose time means nothing.
    mtime: Option<(i64, i64)>,
    device: u64,
    /// Of a file its digest, of a link its target.
    contents: Vec<u8>,
    links: Option<u64>,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

fn seen(root: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut all = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            if meta.is_dir() {
                left.push(path.clone());
            }
            let name = path.strip_prefix(root).unwrap().to_owned();
            all.insert(name, one_seen(&path, &meta));
        }
    }
    all
}

fn one_seen(path: &Path, meta: &std::fs::Metadata) -> Seen {
    let contents = match meta.file_type() {
        kind if kind.is_file() => Digest::of(&std::fs::read(path).unwrap()).as_str().into(),
        kind if kind.is_symlink() => path.read_link().unwrap().as_os_str().as_bytes().to_vec(),
        _ => Vec::new(),
    };
    let whiteout = meta.file_type().is_char_device() && meta.rdev() == 0;
    let mut xattrs = BTreeMap::new();
    if meta.is_file() || meta.is_dir() {
        let file = std::fs::File::open(path).unwrap();
        for name in super::look::names(file.as_fd()).unwrap() {
            let value = super::look::xattr(file.as_fd(), &name).unwrap().unwrap();
            xattrs.insert(name, value);
        }
    }
    Seen {
        mode: meta.mode(),
        owner: (meta.uid(), meta.gid()),
        mtime: (!whiteout).then(|| (meta.mtime(), meta.mtime_nsec())),
        device: meta.rdev(),
        contents,
        links: (!meta.is_dir() && !whiteout).then(|| meta.nlink()),
        xattrs,
    }
}

struct Place {
    dir: tempfile::TempDir,
    layers: Layers,
    content: Content,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    Place {
        layers: Layers::open(&dir.path().join("layers")).unwrap(),
        content: Content::open(&dir.path().join("blobs")).unwrap(),
        dir,
    }
}

impl Place {
    fn directory(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// Unpacks a layer; where it is.
    fn unpack(&self, bytes: &[u8]) -> PathBuf {
        let diff_id = Digest::of(bytes);
        let watch = Watch::default();
        self.layers
            .unpack(&diff_id, bytes, &watch, &mut |_| ())
            .unwrap();
        self.layers.path(&diff_id)
    }
}

fn pack(upper: &Path, options: &PackOptions) -> (Vec<u8>, Packed) {
    let mut bytes = Vec::new();
    let packed = layer(upper, &mut bytes, options).unwrap();
    assert_eq!(packed.bytes as usize, bytes.len());
    (bytes, packed)
}

/// Runs a script, in a mount namespace of its own that ends with it.
fn script(directory: &Path, text: &str) -> String {
    let output = Command::new("unshare")
        .args(["--mount", "bash", "-euo", "pipefail", "-c", text])
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

const EVERYTHING: &str = r#"
    mkdir -p d/e/f empty; chmod 1777 d; chown 5:6 empty
    echo hello > d/file; chmod 4755 d/file; ln d/file d/e/again; ln d/file first
    ln -s /nowhere/at/all link; ln link link2; mkfifo -m 640 fifo; ln fifo fifo2
    mknod null c 1 3; mknod loop b 7 0
    n=$(printf 'n%.0s' $(seq 200)); mkdir -p $n/$n/$n; echo deep > $n/$n/$n/$n; ln -s $n/$n/$n long
    printf 'x' > $'odd \xff\n name'; : > nothing
    python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
    truncate -s 300M holes; printf end >> holes; printf mid | dd of=holes bs=1 seek=150000000 conv=notrunc status=none
    truncate -s 1M small-hole; echo more >> small-hole
    chown 3000000000:4000000 first
    touch -h -d @-100 link; touch -d @9999999999 nothing; touch -d @5 d/e/f
"#;

#[test]
fn everything_comes_back_as_it_was() {
    let place = place();
    let upper = place.directory("upper");
    script(&upper, EVERYTHING);
    let file = std::fs::File::open(upper.join("d/file")).unwrap();
    for (name, value) in [
        ("user.b", &b"2"[..]),
        ("user.a", b"\0\n1"),
        ("trusted.mine", b"dropped"),
        (
            "security.capability",
            b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        ),
    ] {
        rustix::fs::fsetxattr(&file, OsStr::new(name), value, XattrFlags::empty()).unwrap();
    }
    let before = seen(&upper);
    let (bytes, packed) = pack(&upper, &PackOptions::default());
    assert!(!packed.has_root);
    assert!(
        bytes.len() < 4 << 20,
        "holes are not written: {}",
        bytes.len()
    );
    let unpacked = place.unpack(&bytes);
    let mut after = seen(&unpacked);
    // Adopting the directory gives the same, to the last nanosecond.
    let diff_id = Digest::of(&bytes);
    let other = Layers::open(&place.dir.path().join("adopted")).unwrap();
    other.adopt(&upper, &diff_id, &packed, None).unwrap();
    assert!(!upper.exists());
    assert_eq!(seen(&other.path(&diff_id)), after);
    assert_eq!(
        other.facts(&diff_id).unwrap(),
        place.layers.facts(&diff_id).unwrap()
    );
    // And it is what it was, but for what a layer does not keep.
    let mut expected = before;
    expected.remove(Path::new("socket")).unwrap();
    for one in expected.values_mut() {
        one.mtime = one.mtime.map(|(seconds, _)| (seconds, 0));
        one.xattrs.remove(&b"trusted.mine"[..]);
    }
    let nothing = expected.get_mut(Path::new("nothing")).unwrap();
    assert_eq!(nothing.mtime, Some((9_999_999_999, 0)));
    nothing.mtime = Some((i64::MAX / 1_000_000_000 - 1, 0));
    assert_eq!(after.len(), expected.len());
    for (path, one) in expected {
        assert_eq!(after.remove(&path).unwrap(), one, "{}", path.display());
    }
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let place = place();
    let (a, b) = (place.directory("a"), place.directory("b"));
    script(&a, "mkdir z y; touch -d @7 z/1 z/2 y/3; touch -d @8 y z");
    script(&b, "mkdir y z; touch -d @7 y/3 z/2 z/1; touch -d @8 z y");
    let options = PackOptions::default();
    assert_eq!(pack(&a, &options).0, pack(&b, &options).0);
    script(&b, "touch y z y/3");
    assert_ne!(pack(&a, &options).0, pack(&b, &options).0);
    let clamped = PackOptions {
        clamp: Some(Time::from_secs(7)),
        ..options
    };
    assert_ne!(pack(&a, &options).0, pack(&a, &clamped).0);
    assert_eq!(pack(&a, &clamped).0, pack(&b, &clamped).0);
}

const OVERLAY: &str = r#"
    mkdir -p low/tree/below low/gone-tree/x low/opaque/x low/reborn low/kept upper work merged
    echo low > low/tree/below/file; echo low > low/gone; echo low > low/opaque/x/hidden
    echo low > low/reborn/old; echo low > low/kept/file; echo low > low/changed; echo low > low/renamed
    mount -t overlay overlay -o lowerdir=low,upperdir=upper,workdir=work,index=off,redirect_dir=off,metacopy=off merged
    cd merged
    rm gone; rm -r gone-tree; rm -r opaque; mkdir opaque; echo new > opaque/new
    rm -r reborn; echo file > reborn; echo more >> changed; mv renamed renamed2
    mkdir fresh; echo a > fresh/a; ln fresh/a fresh/b; ln -s a fresh/l; chmod 700 kept; rm kept/file
    rm tree/below/file; chmod 1777 .
    cd ..; umount merged
"#;

/// What one sees of a merged tree.
const LISTING: &str = r#"
    mkdir -p m; mount -t overlay overlay -o lowerdir=$TOP:low m; cd m
    find . \( -type d -printf '%p %y %m %U %G %Ts\n' -o -printf '%p %y %m %U %G %Ts %s %n %l\n' \) | grep -v '^\. ' | sort
    find . -type f | sort | xargs sha256sum
"#;

#[test]
fn the_kernel_reads_what_it_wrote() {
    let place = place();
    let top = place.dir.path();
    script(top, OVERLAY);
    let list = |upper: &Path| script(top, &format!("TOP={}\n{LISTING}", upper.display()));
    let upper = top.join("upper");
    let before = list(&upper);
    assert!(before.contains("./opaque/new"), "{before}");
    assert!(!before.contains("hidden"), "{before}");
    let options = PackOptions {
        root: Some(RootLook::default()),
        clamp: None,
    };
    let (bytes, packed) = pack(&upper, &options);
    assert!(packed.has_root, "the mode of the root has changed");
    let unpacked = place.unpack(&bytes);
    assert_eq!(list(&unpacked), before);
    assert_eq!(RootLook::of(&unpacked).unwrap().mode, 0o1777);
    // What was unpacked packs to the same bytes, and so does what is adopted.
    assert_eq!(pack(&unpacked, &options).0, bytes);
    let diff_id = Digest::of(&bytes);
    let other = Layers::open(&top.join("adopted")).unwrap();
    other.adopt(&upper, &diff_id, &packed, None).unwrap();
    let adopted = other.path(&diff_id);
    assert_eq!(seen(&adopted), seen(&unpacked));
    assert_eq!(list(&adopted), before);
    assert_eq!(other.root_look(&[diff_id]).unwrap().mode, 0o1777);
}

#[test]
fn blobs_of_every_compression_are_what_was_packed() {
    let place = place();
    let upper = place.directory("upper");
    script(&upper, "seq 100000 > numbers; mkdir d; echo x > d/x");
    let (bytes, packed) = pack(&upper, &PackOptions::default());
    for (compression, word) in [
        (Compression::None, "tar"),
        (Compression::Gzip, "+gzip"),
        (Compression::Zstd, "+zstd"),
    ] {
        let made = blob(&place.content, &upper, compression, &PackOptions::default()).unwrap();
        let again = blob(&place.content, &upper, compression, &PackOptions::default()).unwrap();
        assert_eq!(made, again);
        assert_eq!((&made.diff_id, made.packed), (&Digest::of(&bytes), packed));
        assert!(made.blob.media_type.ends_with(word));
        let kept = std::fs::read(place.content.path(&made.blob.digest)).unwrap();
        assert_eq!(kept.len() as u64, made.blob.size);
        let mut plain = Vec::new();
        let mut decoder = compression.decoder(&kept[..]).unwrap();
        std::io::Read::read_to_end(&mut decoder, &mut plain).unwrap();
        assert!(plain == bytes);
    }
}

#[test]
fn what_no_layer_can_say_is_refused() {
    let place = place();
    for (index, (text, wanted)) in [
        ("mkdir d; touch d/.wh.x", "begins with `.wh.`"),
        ("setfattr -n trusted.overlay.redirect -v /x . || true; mkdir d; python3 -c 'import os; os.setxattr(\"d\", \"trusted.overlay.redirect\", b\"/x\")'", "redirect"),
        ("touch f; python3 -c 'import os; os.setxattr(\"f\", \"trusted.overlay.metacopy\", b\"\")'", "metacopy"),
    ]
    .into_iter()
    .enumerate()
    {
        let upper = place.directory(&index.to_string());
        script(&upper, text);
        let error = layer(&upper, &mut Vec::new(), &PackOptions::default()).unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}");
        let failed = blob(&place.content, &upper, Compression::Gzip, &PackOptions::default());
        assert!(failed.unwrap_err().to_string().contains(wanted));
    }
    let deep = place.directory("deep");
    script(&deep, "for i in $(seq 600); do mkdir d; cd d; done");
    let error = layer(&deep, &mut Vec::new(), &PackOptions::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Exhausted);
    let left = std::fs::read_dir(place.dir.path().join("blobs/partial")).unwrap();
    assert_eq!(left.count(), 0, "nothing half made stays");
}

#[test]
fn changes_are_what_differs() {
    let place = place();
    let top = place.dir.path();
    script(
        top,
        r#"
        mkdir -p low/etc low/tree/below low/opaque/x low/opened upper work merged
        for f in etc/passwd tree/below/file opaque/x/hidden opaque/kept opened/file gone same mode; do echo low > low/$f; done
        ln -s a low/link; chmod 755 low
        mount -t overlay overlay -o lowerdir=low,upperdir=upper,workdir=work,index=off,redirect_dir=off,metacopy=off merged
        cd merged
        mkdir proc sys dev mine; touch etc/hosts etc/resolv.conf etc/mine; mkdir -p new/etc
        echo more >> tree/below/file; : >> opened/file; rm gone; chmod 600 mode; touch -r same ../ref; echo >> same; truncate -s 4 same; touch -r ../ref same
        rm -r opaque; mkdir opaque; echo kept > opaque/kept; ln -sf b link; touch dev/null
        cd ..; umount merged"#,
    );
    let below = || orc_base::root::Root::open(&top.join("low")).unwrap();
    let places = ["/proc", "/sys", "/dev", "/etc/hosts", "/etc/resolv.conf"];
    let leftovers = Leftovers::new(below(), places);
    let told: Vec<String> = changes(&top.join("upper"), &leftovers)
        .unwrap()
        .into_iter()
        .map(|one| format!("{:?} {}", one.kind, one.path.display()))
        .collect();
    let expected = [
        "Added dev",
        "Added dev/null",
        "Modified etc",
        "Added etc/mine",
        "Deleted gone",
        "Modified link",
        "Added mine",
        "Modified mode",
        "Added new",
        "Added new/etc",
        "Modified opaque",
        "Modified opaque/kept",
        "Deleted opaque/x",
        "Modified tree",
        "Modified tree/below",
        "Modified tree/below/file",
    ];
    assert_eq!(told, expected);
    let mut bytes = Vec::new();
    let options = PackOptions::default();
    layer_without(&top.join("upper"), &mut bytes, &options, Some(&leftovers)).unwrap();
    let unpacked = seen(&place.unpack(&bytes));
    for path in ["proc", "sys", "etc/hosts", "etc/resolv.conf"] {
        assert!(!unpacked.contains_key(Path::new(path)), "{path}");
    }
    for path in ["dev/null", "mine", "etc/mine"] {
        assert!(unpacked.contains_key(Path::new(path)), "{path}");
    }
    // In an image without `/etc` it is only there for the files in it.
    let bare = place.directory("bare");
    script(&bare, "mkdir etc; touch etc/hosts; mkdir upper-empty");
    std::fs::create_dir(top.join("nothing")).unwrap();
    let nothing = orc_base::root::Root::open(&top.join("nothing")).unwrap();
    let told = changes(&bare, &Leftovers::new(nothing, places)).unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].path, Path::new("upper-empty"));
}

#[test]
fn a_merged_tree_is_packed_as_it_looks() {
    let place = place();
    let root = place.directory("root");
    script(&root, "mkdir d; echo x > d/.wh.x; ln -s / up; ln d/.wh.x y");
    let open = std::fs::File::open(&root).unwrap();
    let names = |bytes: &[u8]| -> Vec<String> {
        let mut reader = crate::unpack::tar::Reader::new(bytes);
        let mut names = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            names.push(String::from_utf8(entry.name).unwrap());
        }
        names
    };
    let mut bytes = Vec::new();
    tree(open.as_fd(), &mut bytes, None).unwrap();
    assert_eq!(names(&bytes), ["d/", "d/.wh.x", "up", "y"]);
    let one = |name: &str, called: &str| {
        let mut bytes = Vec::new();
        one(open.as_fd(), Path::new(name), Path::new(called), &mut bytes).map(|_| names(&bytes))
    };
    assert_eq!(one("d", "new").unwrap(), ["new/", "new/.wh.x"]);
    assert_eq!(one("up", "up").unwrap(), ["up"]);
    assert_eq!(one("missing", "m").unwrap_err().kind(), Kind::NotFound);
}

/// Single things, a directory without what is in it; of strange names and owners nothing is left.
#[test]
fn single_things_are_packed_as_if_one_user_owned_them() {
    let place = place();
    let root = place.directory("root");
    script(
        &root,
        "mkdir -p d/e; echo x > d/f; chown 5:6 d/f; ln -s /etc/passwd d/link",
    );
    let named = |path: &str, called: &str| Named {
        path: root.join(path),
        called: called.into(),
    };
    let things = [
        named("d", "app/d"),
        named("d/f", "app/other"),
        named("d/link", "app/link"),
        named("d/gone", "app/gone"),
        named("d/f/not-a-directory", "app/not"),
    ];
    let mut bytes = Vec::new();
    several(&things, (7, 8), &mut bytes).unwrap();
    let mut reader = crate::unpack::tar::Reader::new(&bytes[..]);
    let mut told = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        assert_eq!((entry.uid, entry.gid), (7, 8));
        told.push(String::from_utf8(entry.name).unwrap());
    }
    assert_eq!(told, ["app/d/", "app/other", "app/link"]);
    let nameless = [Named {
        path: "/".into(),
        called: "x".into(),
    }];
    assert!(several(&nameless, (0, 0), &mut Vec::new()).is_err());
}

/// A small generator of numbers: the same seed gives the same tree.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn grow(dice: &mut Dice, directory: &Path, depth: u64, files: &mut Vec<PathBuf>) {
    for index in 0..dice.roll(6) {
        let name = format!("{index}{}", "\u{e9}x".repeat(dice.roll(70) as usize));
        let path = directory.join(name);
        match dice.roll(6) {
            0 | 1 if depth < 6 => {
                std::fs::create_dir(&path).unwrap();
                grow(dice, &path, depth + 1, files);
            }
            2 => {
                std::os::unix::fs::symlink("t".repeat(1 + dice.roll(300) as usize), &path).unwrap();
            }
            3 if !files.is_empty() => {
                let target = &files[dice.roll(files.len() as u64) as usize];
                std::fs::hard_link(target, &path).unwrap();
            }
            _ => {
                let bytes: Vec<u8> = (0..dice.roll(2000)).map(|n| n as u8).collect();
                std::fs::write(&path, bytes).unwrap();
                let mode = std::os::unix::fs::PermissionsExt::from_mode(dice.roll(0o10000) as u32);
                std::fs::set_permissions(&path, mode).unwrap();
                files.push(path);
            }
        }
    }
}

#[test]
fn random_trees_come_back() {
    for seed in 0..40 {
        let place = place();
        let upper = place.directory("upper");
        grow(&mut Dice(seed), &upper, 0, &mut Vec::new());
        let (bytes, packed) = pack(&upper, &PackOptions::default());
        let unpacked = place.unpack(&bytes);
        assert_eq!(
            pack(&unpacked, &PackOptions::default()).0,
            bytes,
            "seed {seed}"
        );
        let after = seen(&unpacked);
        let diff_id = Digest::of(&bytes);
        let other = Layers::open(&place.dir.path().join("adopted")).unwrap();
        other.adopt(&upper, &diff_id, &packed, None).unwrap();
        assert_eq!(seen(&other.path(&diff_id)), after, "seed {seed}");
    }
}
