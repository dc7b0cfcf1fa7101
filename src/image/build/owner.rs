//! Whose files are: `--chown=app:www` and the user of `WORKDIR`, looked up as the image has it.
//!
//! Numbers need no file. Names are looked for in the image's own `/etc/passwd` and `/etc/group`
//! (passwd(5), group(5)), opened inside its root and read up to a bound.

use std::io::Read;

use rustix::fs::{FileType, Mode, OFlags};

use orc_base::root::Root;
use orc_base::{Context, Error, Kind, Result};

const MAX_FILE_BYTES: u64 = 16 << 20;
const MAX_ID: u32 = i32::MAX as u32;

/// An owner as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    user: String,
    group: Option<String>,
}

/// A user and a group by their numbers.
pub(crate) type Ids = (u32, u32);

impl Owner {
    /// Reads `user`, `user:group`, `:group`, with names or numbers.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group.to_owned())),
            None => (text, None),
        };
        let strange = |word: &str| word.contains([':', '\n', '\0']);
        if strange(user) || group.as_deref().is_some_and(strange) || text.is_empty() {
            return Err(Error::invalid(format!(
                "`{}` is no owner; write user, user:group, uid or uid:gid",
                text.escape_debug()
            )));
        }
        Ok(Self {
            user: user.to_owned(),
            group: group.filter(|group| !group.is_empty()),
        })
    }

    /// The numbers, if no file is needed for them. A user without a group has the group of the same
    /// number, as in BuildKit.
    pub(crate) fn numbers(&self) -> Result<Option<Ids>> {
        let user = match self.user.as_str() {
            "" => Some(0),
            text => number(text)?,
        };
        let group = match &self.group {
            Some(group) => number(group)?,
            None if self.user.is_empty() => Some(0),
            None => user,
        };
        Ok(user.zip(group))
    }

    /// The numbers in the image whose root is given; none is an image without files.
    pub(crate) fn ids(&self, root: Option<&Root>) -> Result<Ids> {
        if let Some(ids) = self.numbers()? {
            return Ok(ids);
        }
        let found = self.look_up(root);
        found.context(|| format!("find the owner `{}`", self.user.escape_debug()))
    }

    fn look_up(&self, root: Option<&Root>) -> Result<Ids> {
        let (user, own_group) = match number(&self.user)? {
            Some(number) => (number, number),
            None if self.user.is_empty() => (0, 0),
            None => {
                let line = find(root, "etc/passwd", &self.user)?;
                (id(&line, 2)?, id(&line, 3)?)
            }
        };
        let group = match &self.group {
            None => own_group,
            Some(text) => match number(text)? {
                Some(number) => number,
                None => id(&find(root, "etc/group", text)?, 2)?,
            },
        };
        Ok((user, group))
    }
}

/// A word of digits is a number, never a name; one that is too large is an error.
fn number(text: &str) -> Result<Option<u32>> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse() {
        Ok(number) if number <= MAX_ID => Ok(Some(number)),
        _ => Err(Error::invalid(format!(
            "`{text}` is larger than the largest id {MAX_ID}"
        ))),
    }
}

/// The fields of the line that begins with `name`.
fn find(root: Option<&Root>, path: &str, name: &str) -> Result<Vec<String>> {
    let missing = || Error::not_found(format!("the image's /{path} has no `{name}`"));
    let Some(root) = root else {
        return Err(missing());
    };
    let text = match read(root, path) {
        Err(error) if error.kind() == Kind::NotFound => return Err(missing()),
        other => other?,
    };
    let mut lines = text.split(|byte| *byte == b'\n');
    let line = lines.find(|line| line.split(|byte| *byte == b':').next() == Some(name.as_bytes()));
    let line = line.ok_or_else(missing)?;
    let fields = line.split(|byte| *byte == b':');
    Ok(fields
        .take(8)
        .map(|field| String::from_utf8_lossy(field).into_owned())
        .collect())
}

fn id(fields: &[String], at: usize) -> Result<u32> {
    let text = fields.get(at).map_or("", String::as_str);
    number(text)?.ok_or_else(|| Error::invalid(format!("its line has `{text}` for a number")))
}

fn read(root: &Root, path: &str) -> Result<Vec<u8>> {
    // A pipe in its place must not hold us up.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let file = root.open_at(path, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::invalid(format!("the image's /{path} is no file")));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::from(file);
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MAX_FILE_BYTES {
        true => Err(Error::exhausted(format!(
            "the image's /{path} is larger than {MAX_FILE_BYTES} bytes"
        ))),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        let passwd = "root:x:0:0::/:/bin/sh\napp:x:7:8::/:\n1000:x:0:0::/:\nbad:x:y:z\n";
        std::fs::write(dir.path().join("etc/passwd"), passwd).unwrap();
        std::fs::write(dir.path().join("etc/group"), "www:x:33:\n").unwrap();
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    #[test]
    fn names_and_numbers() {
        let (_dir, root) = image();
        for (text, ids) in [
            ("app", (7, 8)),
            ("app:www", (7, 33)),
            ("app:5", (7, 5)),
            ("5", (5, 5)),
            ("5:www", (5, 33)),
            ("1000", (1000, 1000)),
            (":www", (0, 33)),
            ("app:", (7, 8)),
            ("0:0", (0, 0)),
        ] {
            let owner = Owner::parse(text).unwrap();
            assert_eq!(owner.ids(Some(&root)).unwrap(), ids, "{text}");
        }
        assert_eq!(Owner::parse("3:4").unwrap().ids(None).unwrap(), (3, 4));
    }

    #[test]
    fn refuses_what_is_nobody() {
        let (_dir, root) = image();
        for text in [
            "nobody",
            "app:nogroup",
            "bad",
            "4294967296",
            "-1",
            "+0",
            " 0",
        ] {
            let owner = Owner::parse(text).unwrap();
            assert!(owner.ids(Some(&root)).is_err(), "{text}");
        }
        for text in ["", "a:b:c", "a\nb"] {
            assert!(Owner::parse(text).is_err(), "{text}");
        }
        assert!(Owner::parse("app").unwrap().ids(None).is_err());
    }

    #[test]
    fn reads_no_file_outside_and_no_pipe() {
        let (dir, _) = image();
        std::fs::create_dir(dir.path().join("jail")).unwrap();
        std::os::unix::fs::symlink("..", dir.path().join("jail/etc")).unwrap();
        let jail = Root::open(&dir.path().join("jail")).unwrap();
        assert!(Owner::parse("app").unwrap().ids(Some(&jail)).is_err());
        let pipe = dir.path().join("jail/passwd");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let error = Owner::parse("app").unwrap().ids(Some(&jail)).unwrap_err();
        assert!(error.to_string().contains("no file"), "{error}");
    }
}
