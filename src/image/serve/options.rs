//! What the built-in registry is told, and whether it is safe to do.
//!
//! Without a certificate of its own and an authority for those of its clients the registry listens on
//! loopback only: it has no accounts, so on a network a client certificate is what lets somebody in.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use orc_base::{Context, Error, Result};

use crate::digest::Digest;

/// Says which container needs the image of an id, if one does.
pub type InUse = Arc<dyn Fn(&Digest) -> Option<String> + Send + Sync>;

/// How to serve.
#[derive(Clone)]
pub struct ServeOptions {
    /// Where to listen; port 0 for a free one.
    pub listen: SocketAddr,
    /// Whether pushes are taken and what was pushed may be removed.
    pub writable: bool,
    /// The texts of certificates and keys (PEM), for TLS.
    pub tls: Option<TlsTexts>,
    /// Asked before an image is removed.
    pub in_use: InUse,
}

/// Certificates and keys as PEM.
#[derive(Clone)]
pub struct TlsTexts {
    /// The server's certificate, and those between it and its authority.
    pub certificate: String,
    /// Its key.
    pub key: String,
    /// Whoever comes must show a certificate that one of these signed.
    pub client_authorities: Option<String>,
}

impl fmt::Debug for ServeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServeOptions")
            .field("listen", &self.listen)
            .field("writable", &self.writable)
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

impl ServeOptions {
    /// Refuses to be open to a network without knowing who comes.
    pub(crate) fn check(&self) -> Result<()> {
        let knows_clients = self
            .tls
            .as_ref()
            .is_some_and(|tls| tls.client_authorities.is_some());
        if self.listen.ip().is_loopback() || knows_clients {
            return Ok(());
        }
        Err(Error::denied(format!(
            "the registry does not listen on {}: it has no accounts, so beyond loopback it needs `--tls-cert`, `--tls-key` and `--client-ca`",
            self.listen
        )))
    }
}

impl TlsTexts {
    /// What rustls needs.
    pub(crate) fn server_config(&self) -> Result<ServerConfig> {
        // One that is there already is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let chain = certificates(&self.certificate, "the server's certificate")?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())
            .map_err(|_| Error::invalid("the server's key is not one in PEM form"))?;
        let builder = ServerConfig::builder();
        let builder = match &self.client_authorities {
            None => builder.with_no_client_auth(),
            Some(text) => {
                let mut roots = RootCertStore::empty();
                for one in certificates(text, "the clients' authority")? {
                    roots
                        .add(one)
                        .map_err(|error| Error::invalid(error.to_string()))
                        .context(|| "the clients' authority")?;
                }
                let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build();
                builder.with_client_cert_verifier(
                    verifier
                        .map_err(|error| Error::invalid(error.to_string()))
                        .context(|| "the clients' authority")?,
                )
            }
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(|error| Error::invalid(error.to_string()))
            .context(|| "the server's certificate and key")?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn certificates(text: &str, what: &str) -> Result<Vec<CertificateDer<'static>>> {
    let all: std::result::Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        _ => Err(Error::invalid(format!(
            "{what}: no certificates in PEM form"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(listen: &str, tls: Option<TlsTexts>) -> ServeOptions {
        ServeOptions {
            listen: listen.parse().unwrap(),
            writable: false,
            tls,
            in_use: Arc::new(|_| None),
        }
    }

    #[test]
    fn beyond_loopback_it_must_know_who_comes() {
        let tls = |authorities: Option<&str>| {
            Some(TlsTexts {
                certificate: String::new(),
                key: String::new(),
                client_authorities: authorities.map(str::to_owned),
            })
        };
        for (listen, tls, allowed) in [
            ("127.0.0.1:5000", None, true),
            ("127.9.9.9:5000", None, true),
            ("[::1]:5000", None, true),
            ("0.0.0.0:5000", None, false),
            ("[::]:5000", None, false),
            ("192.0.2.1:5000", None, false),
            ("[::ffff:127.0.0.1]:5000", None, false),
            ("192.0.2.1:5000", tls(None), false),
            ("192.0.2.1:5000", tls(Some("ca")), true),
            ("127.0.0.1:5000", tls(None), true),
        ] {
            let checked = options(listen, tls).check();
            assert_eq!(checked.is_ok(), allowed, "{listen}");
            if let Err(error) = checked {
                assert!(error.to_string().contains("--client-ca"), "{error}");
            }
        }
    }

    #[test]
    fn texts_that_are_no_certificates_are_named() {
        let texts = TlsTexts {
            certificate: "nonsense".into(),
            key: "s3cr3t".into(),
            client_authorities: None,
        };
        let error = texts.server_config().unwrap_err().to_string();
        assert!(error.contains("the server's certificate"), "{error}");
        assert!(!error.contains("s3cr3t"));
    }
}
