//! The certificate a machine shows, which changes while its listeners stay open: connections that begin
//! afterwards see the new one.

use std::sync::{Arc, PoisonError, RwLock};

use orc_base::{Error, Result};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// A certificate with its key, replaceable.
#[derive(Debug)]
pub struct Live(RwLock<Arc<CertifiedKey>>);

impl Live {
    /// From PEM: the certificate with what it shows behind it, and the key. `Invalid` when they do not
    /// belong together.
    pub fn new(chain: &str, key: &str) -> Result<Self> {
        Ok(Self(RwLock::new(read(chain, key)?)))
    }

    /// Shows another one from the next connection on. Errors as [`Live::new`]; the old one stays then.
    pub fn replace(&self, chain: &str, key: &str) -> Result<()> {
        let next = read(chain, key)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    fn current(&self) -> Arc<CertifiedKey> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl ResolvesServerCert for Live {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl ResolvesClientCert for Live {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn read(chain: &str, key: &str) -> Result<Arc<CertifiedKey>> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| Error::invalid("the certificate is not PEM"))?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|_| Error::invalid("the private key is not PEM"))?;
    let key = rustls::crypto::ring::sign::any_supported_type(&key)
        .map_err(|error| Error::invalid(format!("the private key: {error}")))?;
    let certified = CertifiedKey::new(chain, key);
    certified
        .keys_match()
        .map_err(|error| Error::invalid(format!("the certificate and its key: {error}")))?;
    Ok(Arc::new(certified))
}
