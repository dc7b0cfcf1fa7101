//! `-v`, `--mount`, `--volumes-from` and `--tmpfs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use orc_base::{Error, Result, units};
use orc_host::container::{Mount, Submounts, VolumesFrom};

/// What one `-v` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Volume {
    /// A directory that gets an anonymous volume.
    Anonymous(String),
    /// A bind mount or a named volume.
    Mount(Mount),
}

/// `-v [SOURCE:]TARGET[:OPTIONS]`. A source with a slash is a path (relative to `directory`), and a
/// missing one is made; anything else is the name of a volume.
pub(crate) fn volume(text: &str, directory: &Path) -> Result<Volume> {
    let fail = |why: &str| Error::invalid(format!("`-v {text}` is not understood: {why}"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => ("", *target, ""),
        [source, target] => (*source, *target, ""),
        [source, target, options] => (*source, *target, *options),
        _ => return Err(fail("use [SOURCE:]TARGET[:OPTIONS]")),
    };
    if !target.starts_with('/') {
        return Err(fail("the target must be an absolute path in the container"));
    }
    if target == "/" {
        return Err(fail("the target cannot be `/`"));
    }
    if parts.len() == 1 {
        return Ok(Volume::Anonymous(target.to_owned()));
    }
    if source.is_empty() {
        return Err(fail("the source is empty"));
    }
    let options = Options::parse(options)
        .map_err(|option| fail(&format!("there is no option `{option}`")))?;
    if !is_path(source) {
        let name = source.parse::<orc_base::Name>().map_err(|_| fail(&format!("`{source}` is neither a path nor the name of a volume; for a directory here use `./{source}`")))?;
        return Ok(Volume::Mount(Mount::Volume {
            name: name.into(),
            target: target.to_owned(),
            read_only: options.read_only,
            no_copy: options.no_copy,
            subpath: None,
            labels: BTreeMap::new(),
            options: BTreeMap::new(),
        }));
    }
    Ok(Volume::Mount(Mount::Bind {
        source: absolute(source, directory),
        target: target.to_owned(),
        read_only: options.read_only,
        propagation: options.propagation,
        create_source: true,
        submounts: Submounts::Follow,
    }))
}

fn is_path(source: &str) -> bool {
    source.starts_with(['/', '.'])
}

/// A path here without `.` and `..`, which are taken literally: links are followed by the engine.
pub(crate) fn absolute(path: &str, directory: &Path) -> PathBuf {
    let mut absolute = PathBuf::new();
    for part in directory.join(path).components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                absolute.pop();
            }
            part => absolute.push(part),
        }
    }
    absolute
}

#[derive(Default)]
struct Options {
    read_only: bool,
    no_copy: bool,
    propagation: Option<String>,
}

impl Options {
    fn parse(text: &str) -> std::result::Result<Self, String> {
        let mut options = Self::default();
        for option in text.split(',').filter(|option| !option.is_empty()) {
            match option {
                "ro" | "readonly" => options.read_only = true,
                "rw" => options.read_only = false,
                "nocopy" => options.no_copy = true,
                // Labels of SELinux, which orc does not set, and hints for Docker on other systems.
                "z" | "Z" | "cached" | "delegated" | "consistent" => {}
                _ if PROPAGATIONS.contains(&option) => {
                    options.propagation = Some(option.to_owned());
                }
                _ => return Err(option.to_owned()),
            }
        }
        Ok(options)
    }
}

const PROPAGATIONS: [&str; 6] = [
    "private", "rprivate", "shared", "rshared", "slave", "rslave",
];

/// `--volumes-from CONTAINER[:ro|rw]`.
pub(crate) fn volumes_from(text: &str) -> Result<VolumesFrom> {
    let (container, options) = text.split_once(':').unwrap_or((text, ""));
    let mut read_only = false;
    let known = options.split(',').all(|option| match option {
        "ro" => {
            read_only = true;
            true
        }
        // Labels of SELinux, which orc does not set.
        "" | "rw" | "z" | "Z" => true,
        _ => false,
    });
    match container.is_empty() || !known {
        true => Err(Error::invalid(format!(
            "`--volumes-from {text}`: use CONTAINER, CONTAINER:ro or CONTAINER:rw"
        ))),
        false => Ok(VolumesFrom {
            container: container.to_owned(),
            read_only,
        }),
    }
}

/// `--tmpfs TARGET[:OPTIONS]`.
pub(crate) fn tmpfs(text: &str) -> Result<Mount> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    if !target.starts_with('/') || target == "/" {
        return Err(Error::invalid(format!(
            "`--tmpfs {text}`: the target must be an absolute path below `/`"
        )));
    }
    let (mut size_bytes, mut mode, mut others) = (None, None, Vec::new());
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", size)) => size_bytes = Some(units::parse_bytes(size)?),
            Some(("mode", digits)) => mode = Some(octal(digits)?),
            _ => others.push(option.to_owned()),
        }
    }
    Ok(Mount::Tmpfs {
        target: target.to_owned(),
        size_bytes,
        mode,
        options: others,
    })
}

fn octal(text: &str) -> Result<u32> {
    u32::from_str_radix(text, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| Error::invalid(format!("`{text}` is not a mode such as 1777")))
}

/// `--mount type=…,source=…,target=…,…`; the type is `volume` when it is not said.
pub(crate) fn mount(text: &str, directory: &Path) -> Result<Mount> {
    let fail = |why: String| Error::invalid(format!("`--mount {text}` is not understood: {why}"));
    let mut fields = Fields::default();
    for field in columns(text).map_err(|why| fail(why.into()))? {
        let (key, value) = field
            .split_once('=')
            .map_or((field.as_str(), None), |(key, value)| (key, Some(value)));
        fields.set(key.trim(), value).map_err(fail)?;
    }
    let target = fields
        .target
        .clone()
        .filter(|target| target.starts_with('/') && target != "/");
    let target =
        target.ok_or_else(|| fail("it needs `target=` with an absolute path below `/`".into()))?;
    let kind = fields.kind.clone().unwrap_or_else(|| "volume".into());
    if let Some((key, _)) = fields.used.iter().find(|(_, only)| *only != kind) {
        return Err(fail(format!("`{key}` does not go with `type={kind}`")));
    }
    match (kind.as_str(), fields.source) {
        ("bind", Some(source)) if is_path(&source) => Ok(Mount::Bind {
            source: absolute(&source, directory),
            target,
            read_only: fields.read_only,
            propagation: fields.propagation,
            create_source: fields.create_source,
            submounts: submounts(fields.submounts, fields.read_only).map_err(fail)?,
        }),
        ("bind", _) => Err(fail("a bind mount needs `source=` with a path".into())),
        ("volume", source) => {
            let name = source.unwrap_or_default();
            if !name.is_empty() {
                name.parse::<orc_base::Name>()?;
            }
            Ok(Mount::Volume {
                name,
                target,
                read_only: fields.read_only,
                no_copy: fields.no_copy,
                subpath: fields.subpath,
                labels: fields.labels,
                options: fields.options,
            })
        }
        ("image", Some(image)) => Ok(Mount::Image {
            image,
            target,
            subpath: fields.subpath,
        }),
        ("image", None) => Err(fail("it needs `source=` with an image".into())),
        ("tmpfs", None) => Ok(Mount::Tmpfs {
            target,
            size_bytes: fields.size_bytes,
            mode: fields.mode,
            options: if fields.read_only {
                vec!["ro".into()]
            } else {
                Vec::new()
            },
        }),
        ("tmpfs", Some(_)) => Err(fail("a tmpfs has no source".into())),
        (kind, _) => Err(fail(format!(
            "`type={kind}` is not supported: use bind, volume, tmpfs or image"
        ))),
    }
}

/// The fields of one line of comma-separated values, as Docker's command line reads them: one in
/// quotes may have commas, and `""` in it is a quote (RFC 4180).
fn columns(text: &str) -> std::result::Result<Vec<String>, &'static str> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let last = fields.len() - 1;
        let field = &mut fields[last];
        match character {
            '"' if quoted && characters.next_if_eq(&'"').is_some() => field.push('"'),
            '"' if quoted => {
                quoted = false;
                if !matches!(characters.peek(), None | Some(',')) {
                    return Err("something follows a closing quote");
                }
            }
            '"' if field.is_empty() => quoted = true,
            '"' => return Err("a quote stands within a field: put the whole field into quotes"),
            ',' if !quoted => fields.push(String::new()),
            other => field.push(other),
        }
    }
    match quoted {
        true => Err("a quote is not closed"),
        false => Ok(fields),
    }
}

/// Docker's rule: what sets mounts below apart from the bind is about binds that are read-only.
fn submounts(wish: Submounts, read_only: bool) -> std::result::Result<Submounts, String> {
    match wish {
        Submounts::Writable | Submounts::ReadOnly if !read_only => {
            Err("`bind-recursive=writable` and `=readonly` need `readonly`".into())
        }
        wish => Ok(wish),
    }
}

/// `bind-recursive`.
fn recursive(text: &str) -> std::result::Result<Submounts, String> {
    Ok(match text {
        "enabled" => Submounts::Follow,
        "disabled" => Submounts::Leave,
        "writable" => Submounts::Writable,
        "readonly" => Submounts::ReadOnly,
        _ => {
            return Err(format!(
                "`bind-recursive={text}`: use enabled, disabled, writable or readonly"
            ));
        }
    })
}

#[derive(Default)]
struct Fields {
    kind: Option<String>,
    source: Option<String>,
    target: Option<String>,
    read_only: bool,
    propagation: Option<String>,
    create_source: bool,
    submounts: Submounts,
    no_copy: bool,
    subpath: Option<String>,
    labels: BTreeMap<String, String>,
    options: BTreeMap<String, String>,
    size_bytes: Option<u64>,
    mode: Option<u32>,
    /// Fields that only one type has, with that type.
    used: Vec<(String, &'static str)>,
}

impl Fields {
    fn set(&mut self, key: &str, value: Option<&str>) -> std::result::Result<(), String> {
        let needed = || {
            value
                .filter(|value| !value.is_empty())
                .map(str::to_owned)
                .ok_or(format!("`{key}` needs a value"))
        };
        let flag = || match value {
            None | Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(other) => Err(format!("`{key}={other}` is neither true nor false")),
        };
        let mut only = |kind| self.used.push((key.to_owned(), kind));
        match key {
            "type" => self.kind = Some(needed()?),
            "source" | "src" => self.source = Some(needed()?),
            "target" | "dst" | "destination" => self.target = Some(needed()?),
            "readonly" | "ro" => self.read_only = flag()?,
            "consistency" => {}
            "bind-propagation" => {
                only("bind");
                let propagation = needed()?;
                if !PROPAGATIONS.contains(&propagation.as_str()) {
                    return Err(format!(
                        "`{propagation}` is not one of {}",
                        PROPAGATIONS.join(", ")
                    ));
                }
                self.propagation = Some(propagation);
            }
            "bind-create-src" => {
                only("bind");
                self.create_source = flag()?;
            }
            "bind-recursive" => {
                only("bind");
                self.submounts = recursive(&needed()?)?;
            }
            // Docker's word for it before.
            "bind-nonrecursive" => {
                only("bind");
                if flag()? {
                    self.submounts = Submounts::Leave;
                }
            }
            "volume-nocopy" => {
                only("volume");
                self.no_copy = flag()?;
            }
            "volume-subpath" => {
                only("volume");
                self.subpath = Some(needed()?);
            }
            "volume-label" => {
                only("volume");
                let label = needed()?;
                let (key, value) = label.split_once('=').unwrap_or((&label, ""));
                self.labels.insert(key.to_owned(), value.to_owned());
            }
            "volume-opt" => {
                only("volume");
                let option = needed()?;
                let (key, value) = option
                    .split_once('=')
                    .ok_or(format!("`volume-opt={option}`: use volume-opt=KEY=VALUE"))?;
                self.options.insert(key.to_owned(), value.to_owned());
            }
            "volume-driver" => {
                only("volume");
                let driver = needed()?;
                if driver != "local" {
                    return Err(format!("there is no volume driver `{driver}`: use local"));
                }
            }
            "image-subpath" => {
                only("image");
                self.subpath = Some(needed()?);
            }
            "tmpfs-size" => {
                only("tmpfs");
                self.size_bytes =
                    Some(units::parse_bytes(&needed()?).map_err(|error| error.to_string())?);
            }
            "tmpfs-mode" => {
                only("tmpfs");
                self.mode = Some(octal(&needed()?).map_err(|error| error.to_string())?);
            }
            "" => return Err("a field is empty".into()),
            _ => {
                return Err(format!("there is no field `{key}`"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(source: &str, target: &str, read_only: bool) -> Mount {
        Mount::Bind {
            source: source.into(),
            target: target.into(),
            read_only,
            propagation: None,
            create_source: true,
            submounts: Submounts::Follow,
        }
    }

    #[test]
    fn short_volumes() {
        let here = Path::new("/home/me");
        let volume = |text: &str| volume(text, here);
        assert_eq!(volume("/data").unwrap(), Volume::Anonymous("/data".into()));
        assert_eq!(
            volume("/a:/b").unwrap(),
            Volume::Mount(bind("/a", "/b", false))
        );
        assert_eq!(
            volume("./x/../y:/b:ro,z").unwrap(),
            Volume::Mount(bind("/home/me/y", "/b", true))
        );
        let Volume::Mount(Mount::Volume { name, no_copy, .. }) = volume("data:/b:nocopy").unwrap()
        else {
            panic!("not a volume");
        };
        assert_eq!((name.as_str(), no_copy), ("data", true));
        for bad in [
            "",
            "data",
            ":/b",
            "a:b",
            "a/b:/c",
            "/a:/",
            "/a:/b:what",
            "/a:/b:ro:x",
            "-x:/b",
        ] {
            assert!(volume(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn long_mounts() {
        let here = Path::new("/home/me");
        let mount = |text: &str| mount(text, here);
        let Mount::Bind {
            source,
            read_only,
            create_source,
            ..
        } = mount("type=bind,src=.,dst=/x,readonly").unwrap()
        else {
            panic!("not a bind mount");
        };
        assert_eq!(
            (source.as_path(), read_only, create_source),
            (here, true, false)
        );
        assert!(
            matches!(mount("source=v,target=/x").unwrap(), Mount::Volume { name, .. } if name == "v")
        );
        assert!(matches!(
            mount("type=tmpfs,target=/x,tmpfs-size=1m,tmpfs-mode=700").unwrap(),
            Mount::Tmpfs {
                size_bytes: Some(1_048_576),
                mode: Some(0o700),
                ..
            }
        ));
        let image = Mount::Image {
            image: "busybox:1".into(),
            target: "/x".into(),
            subpath: Some("bin".into()),
        };
        assert_eq!(
            mount("type=image,source=busybox:1,target=/x,image-subpath=bin").unwrap(),
            image
        );
        let nfs = "type=volume,source=v,target=/x,volume-driver=local,volume-label=a=b,volume-opt=type=nfs,\
             \"volume-opt=o=addr=10.0.0.1,rw\"";
        let Mount::Volume {
            labels, options, ..
        } = mount(nfs).unwrap()
        else {
            panic!("not a volume");
        };
        assert_eq!(labels["a"], "b");
        assert_eq!(
            (&*options["type"], &*options["o"]),
            ("nfs", "addr=10.0.0.1,rw")
        );
        for (field, expected) in [
            ("bind-recursive=disabled", Submounts::Leave),
            ("bind-nonrecursive", Submounts::Leave),
            ("readonly,bind-recursive=readonly", Submounts::ReadOnly),
            ("bind-recursive=writable,ro", Submounts::Writable),
        ] {
            let text = format!("type=bind,source=/a,target=/x,{field}");
            assert!(
                matches!(mount(&text).unwrap(), Mount::Bind { submounts, .. } if submounts == expected),
                "{text}"
            );
        }
        for bad in [
            "",
            "type=image,target=/x",
            "type=volume,target=/x,image-subpath=a",
            "type=volume,target=/x,volume-driver=nfs",
            "type=volume,target=/x,volume-opt=a",
            "type=bind,source=/a,target=/x,bind-recursive=readonly",
            "type=bind,source=/a,target=/x,bind-recursive=no",
            "type=npipe,source=/a,target=/x",
            "type=volume,\"target=/x",
            "type=volume,\"target=/x\"y",
            "type=volume,targ\"et=/x",
            "type=bind,target=/x",
            "type=nope,target=/x",
            "type=bind,source=a,target=/x",
            "source=v",
            "source=v,target=x",
            "type=tmpfs,source=a,target=/x",
            "type=volume,target=/x,tmpfs-size=1",
            "type=bind,source=/a,target=/x,what=1",
            "type=bind,source=/a,target=/x,ro=maybe",
        ] {
            assert!(mount(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tmpfs_options() {
        let Mount::Tmpfs {
            target,
            size_bytes,
            mode,
            options,
        } = tmpfs("/run:rw,size=64m,mode=1777").unwrap()
        else {
            panic!("not a tmpfs");
        };
        assert_eq!(
            (target.as_str(), size_bytes, mode),
            ("/run", Some(64 << 20), Some(0o1777))
        );
        assert_eq!(options, ["rw"]);
        for bad in ["", "run", "/", "/run:size=x", "/run:mode=9"] {
            assert!(tmpfs(bad).is_err(), "{bad}");
        }
    }
}
