//! From a command to a running program: the look-up in the container's own `PATH`, and words for
//! what went wrong.
//!
//! The search is done by executing, as a shell does it: there is no moment between a check and the
//! use of what was checked.

use std::ffi::CString;

use orc_base::{Error, Result};
use rustix::io::Errno;

use crate::sys::linux;

/// Where programs are searched when the environment does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The longest path the kernel takes.
const MAX_PATH: usize = 4095;

/// A command that is ready to be executed: nothing is left that could fail but the kernel.
#[derive(Debug)]
pub(crate) struct Program {
    name: String,
    candidates: Vec<CString>,
    args: Vec<CString>,
    env: Vec<CString>,
}

impl Program {
    /// `env` must hold `NAME=value` entries; `HOME` is added when it is missing.
    pub(crate) fn new(args: &[String], env: &[String], home: &str) -> Result<Self> {
        let name = args.first().cloned().unwrap_or_default();
        let path = value(env, "PATH").unwrap_or(DEFAULT_PATH);
        let mut env = strings(env)?;
        if !env
            .iter()
            .any(|entry| entry.as_bytes().starts_with(b"HOME="))
        {
            env.push(string(&format!("HOME={home}"))?);
        }
        Ok(Self {
            candidates: strings(&candidates(&name, path))?,
            args: strings(args)?,
            env,
            name,
        })
    }

    /// Returns only when nothing could be executed.
    pub(crate) fn execute(&self) -> Error {
        let mut worst = Errno::NOENT;
        for candidate in &self.candidates {
            match linux::execve(candidate, &self.args, &self.env) {
                // Not there: the next directory may have it.
                Errno::NOENT | Errno::NOTDIR if self.candidates.len() > 1 => {}
                // There, but not for this user: remembered, as a shell does it.
                Errno::ACCESS if self.candidates.len() > 1 => worst = Errno::ACCESS,
                errno => return explain(&self.name, errno, exists(candidate)),
            }
        }
        explain(&self.name, worst, false)
    }
}

/// What is tried, in order.
fn candidates(name: &str, path: &str) -> Vec<String> {
    if name.contains('/') {
        return vec![name.into()];
    }
    let in_directory = |directory: &str| match directory {
        "" => format!("./{name}"),
        _ => format!("{}/{name}", directory.trim_end_matches('/')),
    };
    let tried = path.split(':').map(in_directory);
    tried.filter(|path| path.len() <= MAX_PATH).collect()
}

/// The texts that Docker's tools look for are kept: "no such file or directory" is exit code 127,
/// "permission denied" 126.
fn explain(name: &str, errno: Errno, exists: bool) -> Error {
    let searched = !name.contains('/');
    let shown: String = name.chars().take(200).collect();
    let error = match errno {
        Errno::NOENT if exists => Error::not_found(
            "no such file or directory: it is in the image, but its interpreter or loader is not",
        ),
        Errno::NOENT | Errno::NOTDIR if searched => Error::not_found(
            "executable file not found in $PATH: no such file or directory in the image",
        ),
        Errno::NOENT | Errno::NOTDIR => Error::not_found("no such file or directory in the image"),
        Errno::ACCESS | Errno::PERM => Error::denied(
            "permission denied: it is not an executable file for this user, or its file system is mounted noexec",
        ),
        Errno::NOEXEC => Error::invalid(
            "exec format error: it is neither a program for this kind of machine nor a script that begins with `#!`",
        ),
        Errno::TOOBIG => Error::exhausted("the arguments and the environment are too long"),
        Errno::LOOP => Error::invalid("too many links lead to each other"),
        other => other.into(),
    };
    error.within(format!("exec `{shown}`"))
}

fn exists(path: &CString) -> bool {
    rustix::fs::stat(path.as_c_str()).is_ok()
}

fn value<'a>(env: &'a [String], name: &str) -> Option<&'a str> {
    let entry = |entry: &'a String| entry.strip_prefix(name)?.strip_prefix('=');
    env.iter().rev().find_map(entry)
}

fn strings(texts: &[String]) -> Result<Vec<CString>> {
    texts.iter().map(|text| string(text)).collect()
}

fn string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::invalid("an argument or variable contains a zero byte"))
}

#[cfg(test)]
mod tests {
    use orc_base::Kind;

    use super::*;

    #[test]
    fn searches_as_a_shell_does() {
        assert_eq!(candidates("/bin/x", "/a:/b"), ["/bin/x"]);
        assert_eq!(candidates("./x", "/a"), ["./x"]);
        assert_eq!(candidates("x", "/a/:/b::"), ["/a/x", "/b/x", "./x", "./x"]);
        let env = |entries: &[&str]| entries.iter().map(|e| e.to_string()).collect::<Vec<_>>();
        assert_eq!(
            value(&env(&["PATH=/a", "PATHS=/c", "PATH=/b"]), "PATH"),
            Some("/b")
        );
        assert_eq!(value(&env(&["XPATH=/a"]), "PATH"), None);
    }

    #[test]
    fn home_is_added_once() {
        let args = ["x".to_owned()];
        let with = Program::new(&args, &["HOME=/own".into()], "/root").unwrap();
        assert_eq!(with.env, [c"HOME=/own".to_owned()]);
        let without = Program::new(&args, &["A=b".into()], "/root").unwrap();
        assert_eq!(without.env[1], c"HOME=/root".to_owned());
    }

    #[test]
    fn errors_say_what_and_why() {
        for (name, errno, exists, kind, text) in [
            (
                "/bin/nope",
                Errno::NOENT,
                false,
                Kind::NotFound,
                "exec `/bin/nope`: no such file or directory in the image",
            ),
            (
                "nope",
                Errno::NOENT,
                false,
                Kind::NotFound,
                "exec `nope`: executable file not found in $PATH: no such file or directory in the image",
            ),
            (
                "/bin/x",
                Errno::NOENT,
                true,
                Kind::NotFound,
                "exec `/bin/x`: no such file or directory: it is in the image, but its interpreter or loader is not",
            ),
            (
                "x",
                Errno::ACCESS,
                false,
                Kind::Denied,
                "exec `x`: permission denied",
            ),
            (
                "/x",
                Errno::NOEXEC,
                true,
                Kind::Invalid,
                "exec `/x`: exec format error",
            ),
        ] {
            let error = explain(name, errno, exists);
            assert_eq!(error.kind(), kind);
            assert!(error.to_string().starts_with(text), "{error}");
        }
    }
}
