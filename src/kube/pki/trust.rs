//! Whom a connection believes: the cluster's roots as they are now, and a gate that is asked every time.
//!
//! Wraps rustls' own verifier, which checks signatures, times and names; adds that roots can change under
//! open listeners, and that a machine which was removed is refused although its certificate is good.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use orc_base::{Error, Result};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, RootCertStore,
    SignatureScheme,
};

use crate::pki::peer::Peer;
use crate::pki::token::Digest;

/// Asked about everybody whose certificate is good: `Err` refuses. The place of the list of removed nodes.
pub type Gate = Arc<dyn Fn(&Peer) -> Result<()> + Send + Sync>;

/// A gate that lets everybody in.
pub fn open_gate() -> Gate {
    Arc::new(|_| Ok(()))
}

/// The roots that are believed now.
#[derive(Debug)]
pub struct Trust(RwLock<Arc<RootCertStore>>);

impl Trust {
    /// From certificates as PEM. `Invalid` when there is none.
    pub fn new<'c>(roots: impl IntoIterator<Item = &'c str>) -> Result<Self> {
        Ok(Self(RwLock::new(read(roots)?)))
    }

    /// Believes these from the next connection on. Errors as [`Trust::new`].
    pub fn replace<'c>(&self, roots: impl IntoIterator<Item = &'c str>) -> Result<()> {
        let next = read(roots)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    fn current(&self) -> Arc<RootCertStore> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn read<'c>(roots: impl IntoIterator<Item = &'c str>) -> Result<Arc<RootCertStore>> {
    let mut store = RootCertStore::empty();
    for root in roots {
        for certificate in CertificateDer::pem_slice_iter(root.as_bytes()) {
            let certificate =
                certificate.map_err(|_| Error::invalid("the root certificate is not PEM"))?;
            store
                .add(certificate)
                .map_err(|error| Error::invalid(format!("the root certificate: {error}")))?;
        }
    }
    if store.is_empty() {
        return Err(Error::invalid("there is no root certificate"));
    }
    Ok(Arc::new(store))
}

/// What a server checks about its clients.
pub(super) struct Clients {
    pub(super) trust: Arc<Trust>,
    pub(super) gate: Gate,
    /// Whether a client without a certificate is refused.
    pub(super) required: bool,
    pub(super) provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clients")
    }
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    /// None: they are hints, and the roots may change.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        WebPkiClientVerifier::builder_with_provider(self.trust.current(), self.provider.clone())
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?
            .verify_client_cert(end_entity, intermediates, now)?;
        pass(&self.gate, end_entity)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let schemes = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, schemes)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// What a client checks about the server.
pub(super) struct Servers {
    pub(super) belief: Belief,
    pub(super) gate: Gate,
    pub(super) provider: Arc<CryptoProvider>,
}

/// Whom a client believes.
pub(super) enum Belief {
    /// Whoever the cluster's roots vouch for.
    Roots(Arc<Trust>),
    /// The one root with this digest, which the server shows: for a machine that has only a token.
    Pinned(Digest),
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Servers")
    }
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let roots = match &self.belief {
            Belief::Roots(trust) => trust.current(),
            Belief::Pinned(digest) => Arc::new(pinned(*digest, intermediates)?),
        };
        WebPkiServerVerifier::builder_with_provider(roots, self.provider.clone())
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?
            .verify_server_cert(end_entity, intermediates, name, ocsp, now)?;
        pass(&self.gate, end_entity)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let schemes = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, schemes)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// The root among what the server shows whose public key has the digest of the token.
fn pinned(digest: Digest, shown: &[CertificateDer<'_>]) -> Result<RootCertStore, rustls::Error> {
    let found = shown
        .iter()
        .find(|der| Digest::of_certificate(der).is_ok_and(|found| found == digest))
        .ok_or_else(|| {
            refusal(Error::denied(
                "the cluster's root certificate is not the one the join token names: the token is of another cluster, the root was rotated since, or somebody stands in between; nothing of the token was sent",
            ))
        })?;
    let mut roots = RootCertStore::empty();
    roots.add(found.clone().into_owned())?;
    Ok(roots)
}

fn pass(gate: &Gate, certificate: &[u8]) -> Result<(), rustls::Error> {
    let peer = Peer::read(certificate).map_err(refusal)?;
    gate(&peer).map_err(refusal)
}

/// Our own words inside an error of rustls; `tls::explain` finds them again.
fn refusal(error: Error) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(error))).into()
}
