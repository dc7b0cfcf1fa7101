//! `RUN --mount`: its options, once their variables are expanded.
//!
//! <https://docs.docker.com/reference/dockerfile/#run---mount>. The options are one line of CSV, so a
//! value with a comma stands in double quotes.

use std::fmt;

use orc_base::{Error, Result, spelling, units};

/// What kind of mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MountKind {
    /// Part of another file system.
    #[default]
    Bind,
    /// A directory that stays from build to build.
    Cache,
    /// Memory.
    Tmpfs,
    /// A secret.
    Secret,
    /// The socket of an agent.
    Ssh,
}

impl fmt::Display for MountKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bind => "bind",
            Self::Cache => "cache",
            Self::Tmpfs => "tmpfs",
            Self::Secret => "secret",
            Self::Ssh => "ssh",
        })
    }
}

const KINDS: [MountKind; 5] = [
    MountKind::Bind,
    MountKind::Cache,
    MountKind::Tmpfs,
    MountKind::Secret,
    MountKind::Ssh,
];

/// How builds share a cache directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheSharing {
    /// All at once.
    #[default]
    Shared,
    /// Another one when it is taken.
    Private,
    /// One after the other.
    Locked,
}

/// The options of a mount.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// `type`.
    pub kind: MountKind,
    /// `from`.
    pub from: Option<String>,
    /// `source`.
    pub source: Option<String>,
    /// `target`.
    pub target: Option<String>,
    /// Whether nothing can be written.
    pub readonly: bool,
    /// `size`, in bytes.
    pub size_bytes: Option<u64>,
    /// `id`.
    pub id: Option<String>,
    /// `sharing`.
    pub sharing: CacheSharing,
    /// `required`.
    pub required: bool,
    /// `env`.
    pub env: Option<String>,
    /// `mode`.
    pub mode: Option<u32>,
    /// `uid`.
    pub uid: Option<u32>,
    /// `gid`.
    pub gid: Option<u32>,
}

const OPTIONS: [&str; 14] = [
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "readwrite",
    "size",
    "id",
    "sharing",
    "required",
    "env",
    "mode",
    "uid",
    "gid",
];

/// One option as it is written: in lower case and by its long name; the value when it has one.
pub(crate) type MountOption = (String, Option<String>);

/// Splits the options of a mount. Errors: a quote that is not closed, an option that does not exist.
pub(crate) fn split(text: &str) -> Result<Vec<MountOption>> {
    let mut options = Vec::new();
    for field in fields(text)? {
        let (name, value) = match field.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (field.as_str(), None),
        };
        let name = name.trim().to_ascii_lowercase();
        let name = match name.as_str() {
            "src" => "source",
            "dst" | "destination" => "target",
            "ro" => "readonly",
            "rw" => "readwrite",
            other => other,
        };
        if !OPTIONS.contains(&name) {
            let hint = match spelling::nearest(name, OPTIONS) {
                Some(near) => format!(", did you mean {near}?"),
                None => format!(", there are {}", OPTIONS.join(" ")),
            };
            return Err(Error::invalid(format!("unknown mount option {name}{hint}")));
        }
        let switch = ["readonly", "readwrite", "required"].contains(&name);
        if value.is_none() && !switch {
            return Err(Error::invalid(format!(
                "the mount option {name} needs a value: {name}=…"
            )));
        }
        options.push((name.into(), value));
    }
    Ok(options)
}

/// One line of CSV (RFC 4180).
fn fields(text: &str) -> Result<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Ok(fields),
            None => {
                return Err(Error::invalid(format!(
                    "a comma is missing before `{after}` in the mount options"
                )));
            }
        }
    }
}

fn quoted_field(text: &str) -> Result<(String, &str)> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let end = rest
            .find('"')
            .ok_or_else(|| Error::invalid("a quote in the mount options is not closed"))?;
        field.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                field.push('"');
                rest = after;
            }
            None => return Ok((field, rest)),
        }
    }
}

impl MountOptions {
    /// Reads options whose variables are expanded. Errors: values and combinations that mean nothing.
    pub(crate) fn read(options: &[MountOption]) -> Result<Self> {
        let mut mount = Self::default();
        let mut readonly = None;
        let mut sharing = None;
        for (name, value) in options {
            let text = value.clone().unwrap_or_default();
            match name.as_str() {
                "type" => mount.kind = one_of(name, &text, &KINDS)?,
                "from" => mount.from = Some(text),
                "source" => mount.source = Some(text),
                "target" => mount.target = Some(text),
                "readonly" => readonly = Some(boolean(name, value.as_deref())?),
                "readwrite" => readonly = Some(!boolean(name, value.as_deref())?),
                "required" => mount.required = boolean(name, value.as_deref())?,
                "size" => mount.size_bytes = Some(units::parse_bytes(&text)?),
                "id" => mount.id = Some(text),
                "sharing" => sharing = Some(share(&text)?),
                "env" => mount.env = Some(text),
                "mode" => mount.mode = Some(number(name, &text, 8)?),
                "uid" => mount.uid = Some(number(name, &text, 10)?),
                _ => mount.gid = Some(number(name, &text, 10)?),
            }
        }
        let written = matches!(mount.kind, MountKind::Cache | MountKind::Tmpfs);
        mount.readonly = readonly.unwrap_or(!written);
        mount.sharing = sharing.unwrap_or_default();
        mount.check(options)?;
        Ok(mount)
    }

    fn check(&self, options: &[MountOption]) -> Result<()> {
        use MountKind::{Bind, Cache, Secret, Ssh, Tmpfs};
        // What means nothing elsewhere but does no harm, such as `id` of a bind, is let pass as
        // BuildKit does.
        let only: [(&str, &[MountKind]); 8] = [
            ("from", &[Bind, Cache, Tmpfs, Ssh]),
            ("source", &[Bind, Cache, Tmpfs, Secret]),
            ("size", &[Tmpfs]),
            ("sharing", &[Cache]),
            ("required", &[Secret, Ssh]),
            ("mode", &[Cache, Secret, Ssh]),
            ("uid", &[Cache, Secret, Ssh]),
            ("gid", &[Cache, Secret, Ssh]),
        ];
        for (name, _) in options {
            let rule = only.iter().find(|(other, _)| other == name);
            if rule.is_some_and(|(_, kinds)| !kinds.contains(&self.kind)) {
                return Err(Error::invalid(format!(
                    "the mount option {name} does not belong to a mount of type {}",
                    self.kind
                )));
            }
        }
        let none = |text: &Option<String>| text.as_ref().is_none_or(String::is_empty);
        match self.kind {
            Secret if none(&self.source) && none(&self.target) && none(&self.id) => Err(
                Error::invalid("a secret mount needs one of id, source and target"),
            ),
            Secret if !none(&self.source) && !none(&self.id) => Err(Error::invalid(
                "id and source of a secret mount mean the same, leave one",
            )),
            _ => Ok(()),
        }
    }
}

fn one_of<T: fmt::Display + Copy>(name: &str, text: &str, known: &[T]) -> Result<T> {
    let names: Vec<String> = known.iter().map(T::to_string).collect();
    let lower = text.to_ascii_lowercase();
    if let Some(index) = names.iter().position(|name| *name == lower) {
        return Ok(known[index]);
    }
    let hint = match spelling::nearest(&lower, names.iter().map(String::as_str)) {
        Some(near) => format!(", did you mean {near}?"),
        None => format!(", there are {}", names.join(" ")),
    };
    Err(Error::invalid(format!(
        "unknown mount {name} `{text}`{hint}"
    )))
}

fn share(text: &str) -> Result<CacheSharing> {
    let index = one_of("sharing", text, &["shared", "private", "locked"])?;
    Ok(match index {
        "private" => CacheSharing::Private,
        "locked" => CacheSharing::Locked,
        _ => CacheSharing::Shared,
    })
}

fn boolean(name: &str, value: Option<&str>) -> Result<bool> {
    match value.map(str::to_ascii_lowercase).as_deref() {
        None | Some("true" | "1" | "t") => Ok(true),
        Some("false" | "0" | "f") => Ok(false),
        Some(other) => Err(Error::invalid(format!(
            "the mount option {name} is true or false, not `{other}`"
        ))),
    }
}

fn number(name: &str, text: &str, radix: u32) -> Result<u32> {
    let kind = if radix == 8 {
        "an octal number"
    } else {
        "a number"
    };
    u32::from_str_radix(text, radix)
        .ok()
        .filter(|number| radix != 8 || *number <= 0o7777)
        .filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
        .ok_or_else(|| Error::invalid(format!("the mount option {name} is {kind}, not `{text}`")))
}
