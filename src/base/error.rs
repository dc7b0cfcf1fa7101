//! The one error type: a *kind* to act on and a *trail* to read.
//!
//! The innermost message says what failed and why; each level above adds what only it knows (which
//! container, which file), in lower case and without a full stop. Printed once, outermost first,
//! joined by `: `, by whoever gives up. Callers match on [`Kind`], never on text.

use std::fmt;

/// What a caller can do about an error. A new kind needs a caller who acts on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The named thing does not exist.
    NotFound,
    /// The thing exists already, is in use, or is in a state that forbids the operation.
    Conflict,
    /// The input is wrong; the same call can never succeed.
    Invalid,
    /// Credentials are missing or not good enough.
    Denied,
    /// The other side does not answer or asks to come back later; a retry may succeed.
    Unavailable,
    /// A deadline passed.
    Timeout,
    /// A limit was reached: disk, memory, a bound on a reader.
    Exhausted,
    /// Valid, but not built, or not offered by this kernel.
    Unsupported,
    /// The thing is already as asked; nothing was done.
    Unchanged,
    /// It was there once and is no longer kept; start over from what is now.
    Expired,
    /// Something failed that no caller can act on.
    Internal,
}

/// `Result` with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A kind and a trail of messages, outermost first when printed.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: Kind,
    /// Innermost first: the last one was added by the outermost caller.
    trail: Vec<String>,
}

impl Error {
    /// An error of `kind` whose cause is `message`.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            trail: vec![message.into()],
        }))
    }

    /// [`Kind::NotFound`].
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    /// [`Kind::Conflict`].
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, message)
    }

    /// [`Kind::Invalid`].
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    /// [`Kind::Denied`].
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(Kind::Denied, message)
    }

    /// [`Kind::Unavailable`].
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, message)
    }

    /// [`Kind::Timeout`].
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new(Kind::Timeout, message)
    }

    /// [`Kind::Exhausted`].
    pub fn exhausted(message: impl Into<String>) -> Self {
        Self::new(Kind::Exhausted, message)
    }

    /// [`Kind::Unsupported`].
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(Kind::Unsupported, message)
    }

    /// [`Kind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The same error with another kind, for a level that knows better what it means.
    #[must_use]
    pub fn with_kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    /// The same error with one more level of context, printed before what is there.
    #[must_use]
    pub fn within(mut self, context: impl Into<String>) -> Self {
        self.0.trail.push(context.into());
        self
    }

    /// The messages, outermost first.
    pub fn trail(&self) -> impl Iterator<Item = &str> {
        self.0.trail.iter().rev().map(String::as_str)
    }

    /// Joins what several steps of a teardown could not do into one error, or `Ok` when all went
    /// well. The kind is the first one's.
    pub fn all(errors: impl IntoIterator<Item = Error>) -> Result<()> {
        let mut errors = errors.into_iter();
        let Some(first) = errors.next() else {
            return Ok(());
        };
        let kind = first.kind();
        let text = std::iter::once(first)
            .chain(errors)
            .map(|error| error.to_string())
            .collect::<Vec<_>>();
        Err(Self::new(kind, text.join("; ")))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, message) in self.trail().enumerate() {
            if index > 0 {
                f.write_str(": ")?;
            }
            f.write_str(message)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({self})", self.0.kind)
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind;
        let kind = match error.kind() {
            ErrorKind::NotFound => Kind::NotFound,
            ErrorKind::AlreadyExists | ErrorKind::AddrInUse | ErrorKind::ResourceBusy => {
                Kind::Conflict
            }
            ErrorKind::PermissionDenied => Kind::Denied,
            ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::NotConnected
            | ErrorKind::BrokenPipe
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable => Kind::Unavailable,
            ErrorKind::TimedOut => Kind::Timeout,
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::OutOfMemory => {
                Kind::Exhausted
            }
            ErrorKind::InvalidInput | ErrorKind::InvalidData => Kind::Invalid,
            ErrorKind::Unsupported => Kind::Unsupported,
            _ => Kind::Internal,
        };
        Self::new(kind, plain(&error))
    }
}

impl From<rustix::io::Errno> for Error {
    fn from(errno: rustix::io::Errno) -> Self {
        std::io::Error::from(errno).into()
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::invalid(error.to_string())
    }
}

/// The system's words without Rust's ` (os error N)` and in the case of our trails.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    match (error.raw_os_error(), text.find(" (os error")) {
        (Some(_), Some(end)) => text[..end].to_lowercase(),
        _ => text,
    }
}

/// Adds a level of context to a failed result.
pub trait Context<T> {
    /// `context` is only built when there is an error.
    fn context<S: Into<String>>(self, context: impl FnOnce() -> S) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for std::result::Result<T, E> {
    fn context<S: Into<String>>(self, context: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| error.into().within(context()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_outermost_first() {
        let missing = std::io::Error::from_raw_os_error(2);
        let error = Err::<(), _>(missing)
            .context(|| "read /etc/nope")
            .context(|| "start web-1")
            .unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
        assert_eq!(
            error.to_string(),
            "start web-1: read /etc/nope: no such file or directory"
        );
    }

    #[test]
    fn all_keeps_every_failure() {
        assert!(Error::all([]).is_ok());
        let error = Error::all([Error::conflict("a"), Error::internal("b")]).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (Kind::Conflict, "a; b")
        );
    }
}
