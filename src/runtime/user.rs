//! Who the program runs as: Docker's `USER` syntax against the image's own `/etc/passwd` and
//! `/etc/group`.
//!
//! A string of digits is a number and never a name, whatever the image's files say. Signs, blanks
//! and numbers beyond 2^31-2 are refused instead of wrapping around to root. The files are foreign:
//! read inside the root, regular, and bounded.

use std::io::Read;

use orc_base::root::Root;
use orc_base::{Context, Error, Kind, Result};
use rustix::fs::{FileType, Mode, OFlags};

/// The most bytes of a passwd or group file.
const MAX_FILE: u64 = 8 << 20;
/// The largest user or group id: 2^31 - 1 is left out because it is -1 for some programs.
const MAX_ID: u32 = i32::MAX as u32 - 1;
/// The most supplementary groups the kernel takes (`NGROUPS_MAX`).
const MAX_GROUPS: usize = 65_536;

/// Numbers to run as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups; the primary one is always among them, so that a file that denies its
    /// group is denied to this process too.
    pub(crate) groups: Vec<u32>,
    /// The home directory.
    pub(crate) home: String,
}

/// Looks up `user[:group]` and further groups inside `root`.
pub(crate) fn resolve(root: &Root, user: &str, further: &[String]) -> Result<Identity> {
    let passwd = read(root, "/etc/passwd")?;
    let group = read(root, "/etc/group")?;
    find(&passwd, &group, user, further)
}

/// The user and group of `user[:group]`, looked up inside `root`.
pub fn owner(root: &Root, user: &str) -> Result<(u32, u32)> {
    let identity = resolve(root, user, &[])?;
    Ok((identity.uid, identity.gid))
}

fn find(passwd: &str, group: &str, spec: &str, further: &[String]) -> Result<Identity> {
    let (user, group_name) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (spec, None),
    };
    let account = find_user(passwd, user)?;
    let gid = match group_name {
        Some(name) => find_group(group, name)?,
        None => account.gid,
    };
    let mut groups = vec![gid];
    if group_name.is_none()
        && let Some(name) = &account.name
    {
        groups.extend(memberships(group, name));
    }
    for name in further {
        groups.push(find_group(group, name)?);
    }
    groups.sort_unstable();
    groups.dedup();
    groups.truncate(MAX_GROUPS);
    Ok(Identity {
        uid: account.uid,
        gid,
        groups,
        home: account.home,
    })
}

struct Account {
    name: Option<String>,
    uid: u32,
    gid: u32,
    home: String,
}

fn find_user(passwd: &str, user: &str) -> Result<Account> {
    let wanted = match user {
        "" => Wanted::Number(0),
        _ => wanted(user, "user")?,
    };
    let found = passwd
        .lines()
        .filter_map(account)
        .find(|account| match wanted {
            Wanted::Number(uid) => account.uid == uid,
            Wanted::Name(name) => account.name.as_deref() == Some(name),
        });
    match (found, wanted) {
        (Some(account), _) => Ok(account),
        (None, Wanted::Number(uid)) => Ok(Account {
            name: None,
            uid,
            gid: 0,
            home: "/".into(),
        }),
        (None, Wanted::Name(name)) => Err(Error::not_found(format!(
            "user `{name}` is not in /etc/passwd of the image: use a number, or a user that the image has"
        ))),
    }
}

fn find_group(groups: &str, group: &str) -> Result<u32> {
    let name = match wanted(group, "group")? {
        Wanted::Number(gid) => return Ok(gid),
        Wanted::Name(name) => name,
    };
    let found = groups
        .lines()
        .filter_map(group_line)
        .find(|line| line.name == name);
    found.map(|line| line.gid).ok_or_else(|| {
        Error::not_found(format!(
            "group `{name}` is not in /etc/group of the image: use a number, or a group that the image has"
        ))
    })
}

/// Ids of the groups that list `user` as a member.
fn memberships(groups: &str, user: &str) -> impl Iterator<Item = u32> {
    groups
        .lines()
        .filter_map(group_line)
        .filter(move |line| line.members.split(',').any(|member| member == user))
        .map(|line| line.gid)
}

#[derive(Clone, Copy)]
enum Wanted<'a> {
    Number(u32),
    Name(&'a str),
}

fn wanted<'a>(text: &'a str, what: &str) -> Result<Wanted<'a>> {
    let shown = || {
        text.chars()
            .take(80)
            .flat_map(char::escape_default)
            .collect::<String>()
    };
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return number(text).map(Wanted::Number).ok_or_else(|| {
            Error::invalid(format!(
                "{what} id `{}` is out of range: use a number from 0 to {MAX_ID}",
                shown()
            ))
        });
    }
    let valid = text.len() <= 256
        && !text.starts_with(['-', '+'])
        && text
            .chars()
            .all(|c| !c.is_whitespace() && !c.is_control() && !matches!(c, ':' | ','));
    if !valid {
        return Err(Error::invalid(format!(
            "`{}` is not a {what} name or number",
            shown()
        )));
    }
    Ok(Wanted::Name(text))
}

/// Digits only, in range: what the standard parser takes beyond that (`+1`) is refused.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits
        .then(|| text.parse().ok())
        .flatten()
        .filter(|id| *id <= MAX_ID)
}

/// A line of passwd(5); lines that are not whole are passed over.
fn account(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?;
    let uid = number(fields.nth(1)?)?;
    let gid = number(fields.next()?)?;
    let home = fields.nth(1).filter(|home| !home.is_empty());
    Some(Account {
        name: Some(name.into()),
        uid,
        gid,
        home: home.unwrap_or("/").into(),
    })
}

struct GroupLine<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// A line of group(5).
fn group_line(line: &str) -> Option<GroupLine<'_>> {
    let mut fields = line.split(':');
    Some(GroupLine {
        name: fields.next().filter(|name| !name.is_empty())?,
        gid: number(fields.nth(1)?)?,
        members: fields.next().unwrap_or("").trim_end(),
    })
}

/// The whole file; empty when the image has none.
fn read(root: &Root, path: &str) -> Result<String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fd = match root.open_at(path, flags, Mode::empty()) {
        Err(error) if error.kind() == Kind::NotFound => return Ok(String::new()),
        other => other.context(|| format!("read {path} of the image"))?,
    };
    let stat = rustix::fs::fstat(&fd).context(|| format!("read {path} of the image"))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::invalid(format!(
            "{path} of the image is not a regular file"
        )));
    }
    let mut bytes = Vec::new();
    std::fs::File::from(fd)
        .take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .context(|| format!("read {path} of the image"))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Error::exhausted(format!(
            "{path} of the image is larger than {MAX_FILE} bytes"
        )));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
        garbage\n\
        1000:x:0:0:a trap::/bin/sh\n\
        web:x:33:33::/var/www:/bin/false\n\
        bare:x:44:45\n\
        evil:x:4294967296:0::/:/bin/sh\n";
    const GROUP: &str = "root:x:0:\n\
        www:x:33:\n\
        audio:x:29:web,other\n\
        video:x:44:other,web\n\
        1000:x:7:\n";

    fn check(user: &str, further: &[&str], expected: &str) {
        let further: Vec<String> = further.iter().map(|name| name.to_string()).collect();
        let shown = match find(PASSWD, GROUP, user, &further) {
            Ok(id) => format!("{}:{} {:?} {}", id.uid, id.gid, id.groups, id.home),
            Err(error) => format!("{:?}", error.kind()),
        };
        assert_eq!(shown, expected, "{user:?}");
    }

    #[test]
    fn names_and_numbers() {
        check("", &[], "0:0 [0] /root");
        check("root", &[], "0:0 [0] /root");
        check("web", &[], "33:33 [29, 33, 44] /var/www");
        check("33", &[], "33:33 [29, 33, 44] /var/www");
        check("web:audio", &[], "33:29 [29] /var/www");
        check("web:7", &["video"], "33:7 [7, 44] /var/www");
        check("5000", &["5"], "5000:0 [0, 5] /");
        check("5000:6000", &[], "5000:6000 [6000] /");
        check("bare:", &[], "44:45 [45] /");
    }

    /// R12: a number is never looked up as a name, and never wraps around.
    #[test]
    fn a_number_is_a_number() {
        check("1000", &[], "1000:0 [0] /");
        check("0:1000", &[], "0:1000 [1000] /root");
        for bad in [
            "4294967296",
            "4294967295",
            "2147483647",
            "65536000000:0",
            "0:4294967296",
            "99999999999999999999999999",
            "-1",
            "+0",
            " 0",
            "0 ",
            "0:+0",
            "0:-1",
            "a\nb",
            ":x y",
        ] {
            check(bad, &[], "Invalid");
        }
        check("0", &["-5"], "Invalid");
    }

    #[test]
    fn unknown_names_are_not_found() {
        check("nobody", &[], "NotFound");
        check("web:nogroup", &[], "NotFound");
        check("web", &["nogroup"], "NotFound");
        check("evil", &[], "NotFound");
    }

    #[test]
    fn foreign_files_are_read_with_care() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert_eq!(resolve(&root, "7", &[]).unwrap().home, "/");

        let etc = dir.path().join("etc");
        std::fs::create_dir(&etc).unwrap();
        symlink("/etc/passwd", etc.join("passwd")).unwrap();
        assert!(resolve(&root, "0", &[]).is_err(), "a link to itself");
        std::fs::remove_file(etc.join("passwd")).unwrap();

        let pipe = rustix::fs::CWD;
        rustix::fs::mknodat(pipe, etc.join("passwd"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(resolve(&root, "0", &[]).unwrap_err().kind(), Kind::Invalid);
        std::fs::remove_file(etc.join("passwd")).unwrap();

        let large = std::fs::File::create(etc.join("passwd")).unwrap();
        large.set_len(200 << 20).unwrap();
        assert_eq!(
            resolve(&root, "0", &[]).unwrap_err().kind(),
            Kind::Exhausted
        );
    }
}
