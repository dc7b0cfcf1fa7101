//! `login` and `logout`: accounts at registries.
//!
//! The daemon asks the registry; what is kept is kept here, in Docker's `config.json` of this user or by
//! the credential helper that stands in it.

use std::io::{BufRead, Read, Write};
use std::path::PathBuf;

use clap::Args;
use orc_base::{Context, Error, Result};
use orc_host::image::Credentials;
use orc_image::credentials_file::{self, Kept};

use crate::cli::failure::{OK, Outcome};
use crate::cli::session::Session;
use crate::ui::{out, terminal};

/// What `login` asks when no server is named.
const HUB: &str = "docker.io";
/// The longest password that is read.
const MAX_SECRET_BYTES: u64 = 64 << 10;

/// Check an account at a registry, and keep it
#[derive(Debug, Args)]
pub(crate) struct Login {
    /// The account
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// Its password; better is --password-stdin, which others on this machine cannot see
    #[arg(short, long, value_name = "PASSWORD")]
    password: Option<String>,
    /// Read the password from standard input
    #[arg(long, conflicts_with = "password")]
    password_stdin: bool,
    /// The registry [default: docker.io]
    #[arg(value_name = "SERVER")]
    server: Option<String>,
}

impl Login {
    /// Nothing is kept that the registry did not accept.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let file = file()?;
        let registry = registry(self.server.as_deref());
        let credentials = match self.known(&file, &registry).await? {
            Some(credentials) => {
                out::note("Authenticating with existing credentials...");
                credentials
            }
            None => self.ask(&registry)?,
        };
        let host = session.host().await?;
        let login = host.log_in(&registry, &credentials).await?;
        let keep = orc_image::credentials::Credentials {
            username: credentials.username,
            password: credentials.password,
            identity_token: match login.identity_token.is_empty() {
                true => credentials.identity_token,
                false => login.identity_token,
            },
        };
        let kept = credentials_file::save(&file, &registry, &keep).await?;
        if kept == Kept::InFile {
            out::warning(&format!(
                "the password is kept in {}, where your own programs can read it: a credential helper avoids that",
                file.display()
            ));
        }
        out::line(&login.status);
        Ok(OK)
    }

    /// What an earlier login left, when no account is named.
    async fn known(&self, file: &std::path::Path, registry: &str) -> Result<Option<Credentials>> {
        if self.username.is_some() || self.password.is_some() || self.password_stdin {
            return Ok(None);
        }
        let found = credentials_file::find(file, registry).await?;
        Ok(found.map(|found| Credentials {
            username: found.username,
            password: found.password,
            identity_token: found.identity_token,
        }))
    }

    fn ask(&self, registry: &str) -> Result<Credentials> {
        let username = match &self.username {
            Some(username) => username.clone(),
            None if self.password_stdin => {
                return Err(Error::invalid("`--password-stdin` needs `--username`"));
            }
            None => typed("Username: ")?,
        };
        let password = match &self.password {
            Some(password) => password.clone(),
            None if self.password_stdin => from_stdin()?,
            None if terminal::stdin_is_terminal() => {
                terminal::hidden_line(&format!("Password for {username} at {registry}: "))?
            }
            None => {
                return Err(Error::invalid(
                    "there is no terminal to type the password at: use `--password-stdin`",
                ));
            }
        };
        match username.is_empty() || password.is_empty() {
            true => Err(Error::invalid("a user name and a password are needed")),
            false => Ok(Credentials {
                username,
                password,
                identity_token: String::new(),
            }),
        }
    }
}

/// Forget an account at a registry
#[derive(Debug, Args)]
pub(crate) struct Logout {
    /// The registry [default: docker.io]
    #[arg(value_name = "SERVER")]
    server: Option<String>,
}

impl Logout {
    /// Docker's words; not being logged in is no error.
    pub(crate) async fn run(self, _session: &Session) -> Outcome {
        let registry = registry(self.server.as_deref());
        match credentials_file::remove(&file()?, &registry).await? {
            true => out::line(&format!("Removing login credentials for {registry}")),
            false => out::line(&format!("Not logged in to {registry}")),
        }
        Ok(OK)
    }
}

fn file() -> Result<PathBuf> {
    credentials_file::default_file().ok_or_else(|| {
        Error::invalid("neither DOCKER_CONFIG nor HOME says where accounts are kept: set one")
    })
}

/// A server as it stands in the names of images.
fn registry(server: Option<&str>) -> String {
    let server = server.unwrap_or(HUB);
    let host = server
        .trim_start_matches("https://")
        .trim_start_matches("http://");
    match host.split('/').next().unwrap_or_default() {
        "" | "index.docker.io" | "registry-1.docker.io" => HUB.into(),
        host => host.into(),
    }
}

fn typed(question: &str) -> Result<String> {
    if !terminal::stdin_is_terminal() {
        return Err(Error::invalid(
            "there is no terminal to type the user name at: use `--username`",
        ));
    }
    let mut err = std::io::stderr().lock();
    let _ = write!(err, "{question}").and_then(|()| err.flush());
    drop(err);
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .take(MAX_SECRET_BYTES)
        .read_line(&mut line)
        .context(|| "read the user name")?;
    Ok(line.trim().to_owned())
}

/// All of standard input without the line feed at its end.
fn from_stdin() -> Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(MAX_SECRET_BYTES)
        .read_to_string(&mut text)
        .context(|| "read the password from standard input")?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers() {
        for (server, expected) in [
            (None, "docker.io"),
            (Some("https://index.docker.io/v1/"), "docker.io"),
            (Some("localhost:5000"), "localhost:5000"),
            (Some("https://reg.example/"), "reg.example"),
        ] {
            assert_eq!(registry(server), expected);
        }
    }
}
