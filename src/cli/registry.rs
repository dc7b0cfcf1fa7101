//! `registry`: this machine as a registry for others, and what is on other registries.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use futures_util::StreamExt;
use orc_base::{Context, Error, Result, fs};
use orc_host::registry::{ServeEvent, ServeSpec, ServeTls};

use crate::cli::failure::{OK, Outcome};
use crate::cli::pull::credentials;
use crate::cli::session::Session;
use crate::ui::{escape, out};

/// The longest file of certificates or keys.
const MAX_PEM_BYTES: u64 = 1 << 20;

/// Serve the images of this machine, and look at other registries
#[derive(Debug, Subcommand)]
pub(crate) enum Registry {
    /// Let others pull the images of this machine, until interrupted
    Serve(Serve),
    /// List the tags of a repository on its registry
    Tags(Tags),
}

impl Registry {
    /// Leads to the verb.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        match self {
            Self::Serve(verb) => verb.run(session).await,
            Self::Tags(verb) => verb.run(session).await,
        }
    }
}

/// Let others pull the images of this machine, until interrupted
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where to listen: PORT, HOST:PORT, or :PORT for all addresses
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5000", value_parser = address)]
    listen: SocketAddr,
    /// Take pushes too; they are kept as registry.orc.internal/NAME
    #[arg(long)]
    writable: bool,
    /// The server's certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Who signs the certificates that clients must show (PEM); needed beyond loopback
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    client_ca: Option<PathBuf>,
    /// Do not tell of requests
    #[arg(short, long)]
    quiet: bool,
}

impl Serve {
    /// Prints where it listens, and to standard error what it answers. The registry is the daemon's, for
    /// only the daemon may open the images; it ends with this command's connection.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let spec = ServeSpec {
            listen: self.listen,
            writable: self.writable,
            tls: self.tls()?,
        };
        let mut events = session.host().await?.serve_registry(&spec).await?;
        while let Some(event) = events.next().await {
            match event? {
                ServeEvent::Listening(address) => out::line(&address.to_string()),
                ServeEvent::Answered { .. } if self.quiet => {}
                ServeEvent::Answered {
                    peer,
                    method,
                    path,
                    status,
                } => out::note(&escape::line(&format!("{peer} {method} {path} {status}"))),
            }
        }
        Err(Error::unavailable("the daemon ended, and the registry with it").into())
    }

    /// The texts are sent and not the paths: the daemon reads no file that a client names.
    fn tls(&self) -> Result<Option<ServeTls>> {
        let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) else {
            return Ok(None);
        };
        Ok(Some(ServeTls {
            certificate: pem(certificate)?,
            key: pem(key)?,
            client_authorities: self.client_ca.as_deref().map(pem).transpose()?,
        }))
    }
}

fn pem(path: &Path) -> Result<String> {
    let what = || format!("read {}", path.display());
    let bytes = fs::read_limited(path, MAX_PEM_BYTES).context(what)?;
    String::from_utf8(bytes)
        .map_err(|_| Error::invalid("it is not text: certificates and keys are wanted in PEM form"))
        .context(what)
}

/// `5000`, `:5000`, `localhost:5000` or an address with a port.
fn address(text: &str) -> std::result::Result<SocketAddr, String> {
    let port = |port: &str| {
        port.parse::<u16>()
            .map_err(|_| format!("`{text}` has no port from 0 to 65535"))
    };
    match text.rsplit_once(':') {
        None => Ok((Ipv4Addr::LOCALHOST, port(text)?).into()),
        Some(("", rest)) => Ok((Ipv6Addr::UNSPECIFIED, port(rest)?).into()),
        Some(("localhost", rest)) => Ok((Ipv4Addr::LOCALHOST, port(rest)?).into()),
        Some(_) => text
            .parse()
            .map_err(|_| format!("`{text}` is not an address and a port, such as 127.0.0.1:5000")),
    }
}

/// List the tags of a repository on its registry
#[derive(Debug, Args)]
pub(crate) struct Tags {
    /// The repository
    #[arg(value_name = "NAME")]
    name: String,
}

impl Tags {
    /// One tag a line.
    pub(crate) async fn run(self, session: &Session) -> Outcome {
        let account = credentials(&self.name).await?;
        let host = session.host().await?;
        for tag in host.list_tags(&self.name, account).await? {
            out::line(&tag);
        }
        Ok(OK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, expected) in [
            ("5000", "127.0.0.1:5000"),
            ("localhost:0", "127.0.0.1:0"),
            (":5000", "[::]:5000"),
            ("0.0.0.0:5000", "0.0.0.0:5000"),
            ("[::1]:5000", "[::1]:5000"),
        ] {
            assert_eq!(address(text).unwrap().to_string(), expected);
        }
        for bad in ["", ":", "x", "host.example:5000", "1.2.3.4", "70000", "::1"] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
