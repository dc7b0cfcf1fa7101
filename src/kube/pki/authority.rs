//! The certificate authority: signs for machines and people, and decides alone what it signs.
//!
//! A request brings nothing but a public key and the proof that its sender has the private one; name,
//! role, uses and times are the authority's. ECDSA on P-256 with SHA-256 throughout.

use std::time::Duration;

use orc_base::id::random_bytes;
use orc_base::{Context, Error, Result, Time};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::pki::identity::{NODES, ServedName, Subject};
use crate::pki::token::Digest;

/// How long a root is good for.
pub const ROOT_LIFE: Duration = Duration::from_secs(10 * 365 * 86_400);
/// How long a machine's certificate is good for when nobody says otherwise.
pub const NODE_LIFE: Duration = Duration::from_secs(30 * 86_400);
/// The shortest life that may be asked for.
pub const MIN_LIFE: Duration = Duration::from_secs(3600);
/// How much earlier than now certificates begin: clocks differ.
const BACKDATE: Duration = Duration::from_secs(3600);
/// Bytes of a request to sign, at most.
const MAX_REQUEST: usize = 16 * 1024;

/// A root certificate and its key.
pub struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its private key, as PEM.
#[derive(Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// The key, PKCS #8.
    pub key: String,
}

impl Authority {
    /// A new authority for a cluster.
    pub fn create(cluster: &str, now: Time) -> Result<Self> {
        let key = new_key()?;
        // The name differs from root to root, so that nobody takes one for the other in a rotation.
        let serial = serial();
        let name = format!("orc {cluster} {:02x}{:02x}", serial[0], serial[1]);
        let mut params = params(&name, now, ROOT_LIFE);
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(|error| failed(&error))?;
        Ok(Self {
            certificate: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        })
    }

    /// What [`Authority::certificate`] and [`Authority::key`] gave. `Invalid` when it is not that.
    pub fn load(certificate: &str, key: &str) -> Result<Self> {
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|_| Error::invalid("the authority's certificate is not PEM"))?;
        let key = KeyPair::from_pem(key)
            .map_err(|_| Error::invalid("the authority's key is not a PEM private key"))?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(|error| failed(&error))?;
        let authority = Self {
            certificate,
            issuer,
        };
        let info = authority.issuer.key().subject_public_key_info();
        if Digest::of(&info) != authority.digest()? {
            return Err(Error::invalid(
                "the authority's key is not the one of its certificate",
            ));
        }
        Ok(authority)
    }

    /// The root certificate as PEM.
    pub fn certificate(&self) -> String {
        pem(&self.certificate)
    }

    /// The root certificate.
    pub fn certificate_der(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The private key as PEM. Nothing but the store, encrypted, may keep it.
    pub fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// What join tokens say about this authority.
    pub fn digest(&self) -> Result<Digest> {
        Digest::of_certificate(&self.certificate)
    }

    /// Signs the public key of a request (DER) for `subject`, as PEM. `Invalid` when the request is
    /// none, or its signature is not by its own key.
    pub fn sign(
        &self,
        request: &[u8],
        subject: &Subject,
        now: Time,
        life: Duration,
    ) -> Result<String> {
        if request.len() > MAX_REQUEST {
            return Err(Error::invalid(format!(
                "a certificate request of more than {MAX_REQUEST} bytes"
            )));
        }
        let request = CertificateSigningRequestParams::from_der(&request.into())
            .map_err(|error| Error::invalid(format!("the certificate request: {error}")))?;
        if request.public_key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
            return Err(Error::invalid(
                "the certificate request: only ECDSA keys on P-256 are signed",
            ));
        }
        self.certify(&request.public_key, subject, now, life)
    }

    /// A certificate with a key of its own, for those who cannot make one: the administrator's kubeconfig.
    pub fn issue(&self, subject: &Subject, now: Time, life: Duration) -> Result<Issued> {
        let key = new_key()?;
        Ok(Issued {
            certificate: self.certify(&key, subject, now, life)?,
            key: key.serialize_pem(),
        })
    }

    /// A certificate for the *other* authority's key, so that who trusts only this one believes what that
    /// one signs: a rotation's bridge.
    pub fn cross_sign(&self, other: &Self, now: Time) -> Result<String> {
        let (_, parsed) = x509_parser::parse_x509_certificate(&other.certificate)
            .map_err(|_| Error::internal("the other authority's certificate cannot be read"))?;
        let name = parsed
            .subject()
            .iter_common_name()
            .find_map(|name| name.as_str().ok())
            .unwrap_or_default();
        let mut params = params(name, now, ROOT_LIFE);
        params.serial_number = Some(SerialNumber::from_slice(&serial()));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.use_authority_key_identifier_extension = true;
        let signed = params
            .signed_by(other.issuer.key(), &self.issuer)
            .map_err(|error| failed(&error))?;
        Ok(signed.pem())
    }

    fn certify(
        &self,
        key: &impl PublicKeyData,
        subject: &Subject,
        now: Time,
        life: Duration,
    ) -> Result<String> {
        if life < MIN_LIFE {
            return Err(Error::invalid("a certificate lives for an hour at least"));
        }
        let mut params = leaf(subject, now, life).context(|| "make a certificate")?;
        params.serial_number = Some(SerialNumber::from_slice(&serial()));
        params.use_authority_key_identifier_extension = true;
        let signed = params
            .signed_by(key, &self.issuer)
            .map_err(|error| failed(&error))?;
        Ok(signed.pem())
    }
}

/// A new private key and a request for a certificate: what a machine makes for itself. The request says
/// nothing but the key, for nothing else of it would be taken.
pub fn request() -> Result<(Vec<u8>, String)> {
    let key = new_key()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let request = params
        .serialize_request(&key)
        .map_err(|error| failed(&error))?;
    Ok((request.der().to_vec(), key.serialize_pem()))
}

/// A certificate as PEM.
pub fn pem(der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).expect("base64 is ASCII"))
        .collect();
    let lines = lines.join("\n");
    format!("-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n")
}

fn leaf(subject: &Subject, now: Time, life: Duration) -> Result<CertificateParams> {
    let params = match subject {
        Subject::Node { identity, names } => {
            let mut params = params(&identity.user(), now, life);
            params
                .distinguished_name
                .push(DnType::OrganizationName, NODES);
            params
                .distinguished_name
                .push(DnType::OrganizationalUnitName, identity.role.to_string());
            params.extended_key_usages = vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ];
            params.subject_alt_names = vec![
                SanType::URI(ascii(&identity.to_string())?),
                SanType::DnsName(ascii(&identity.server_name())?),
            ];
            for name in names {
                params.subject_alt_names.push(match name {
                    ServedName::Host(host) => SanType::DnsName(ascii(host)?),
                    ServedName::Address(address) => SanType::IpAddress(*address),
                });
            }
            params
        }
        Subject::User { name, groups } => {
            // rcgen writes one value of a kind into a name.
            if groups.len() > 1 {
                return Err(Error::unsupported("a certificate with more than one group"));
            }
            let mut params = params(name, now, life);
            for group in groups {
                params
                    .distinguished_name
                    .push(DnType::OrganizationName, group.as_str());
            }
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            params
        }
    };
    Ok(params)
}

fn params(name: &str, now: Time, life: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let begin = rcgen::date_time_ymd(1970, 1, 1);
    let now = Duration::from_secs(u64::try_from(now.secs()).unwrap_or_default());
    params.not_before = begin + now.saturating_sub(BACKDATE);
    params.not_after = begin + now + life;
    params
}

fn new_key() -> Result<KeyPair> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|error| failed(&error))
}

/// Sixteen random bytes that read as a positive number.
fn serial() -> [u8; 16] {
    let mut serial = random_bytes::<16>();
    serial[0] = serial[0] & 0x7f | 0x40;
    serial
}

fn ascii(text: &str) -> Result<rcgen::string::Ia5String> {
    text.try_into()
        .map_err(|_| Error::invalid(format!("{text:?} cannot stand in a certificate")))
}

fn failed(error: &rcgen::Error) -> Error {
    Error::internal(error.to_string()).within("certificates")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::identity::{NodeIdentity, Role};
    use crate::pki::peer::Peer;

    fn noon() -> Time {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    fn der(pem: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
    }

    fn node(role: Role) -> Subject {
        Subject::Node {
            identity: NodeIdentity::new("c1", "n1", role).unwrap(),
            names: vec![ServedName::Address([10, 0, 0, 1].into())],
        }
    }

    #[test]
    fn overwrites_what_a_request_asks_for() {
        let authority = Authority::create("c1", noon()).unwrap();
        let key = new_key().unwrap();
        let mut wish = CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
        wish.distinguished_name.push(DnType::CommonName, "root");
        wish.distinguished_name
            .push(DnType::OrganizationName, "system:masters");
        wish.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        wish.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        let request = wish.serialize_request(&key).unwrap();

        let signed = authority
            .sign(request.der(), &node(Role::Worker), noon(), NODE_LIFE)
            .unwrap();
        let peer = Peer::read(&der(&signed)).unwrap();
        assert_eq!(peer.common_name, "system:node:n1");
        assert_eq!(peer.organizations, ["system:nodes"]);
        assert_eq!(peer.node.unwrap().role, Role::Worker);
        assert_eq!(peer.not_after, noon().plus(NODE_LIFE));
        let bytes = der(&signed);
        let (_, parsed) = x509_parser::parse_x509_certificate(&bytes).unwrap();
        assert!(!parsed.is_ca());
        assert!(!signed_text(&parsed).contains("evil"));
        let usage = parsed.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && usage.server_auth && !usage.code_signing);
    }

    fn signed_text(certificate: &x509_parser::certificate::X509Certificate<'_>) -> String {
        let names = certificate.subject_alternative_name().unwrap().unwrap();
        format!("{} {:?}", certificate.subject(), names.value)
    }

    #[test]
    fn refuses_requests_that_prove_nothing() {
        let authority = Authority::create("c1", noon()).unwrap();
        let (mut bytes, _) = request().unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        for bad in [&bytes[..], b"", b"not a request", &[0x30; 20_000]] {
            let refused = authority.sign(bad, &node(Role::Worker), noon(), NODE_LIFE);
            assert_eq!(refused.unwrap_err().kind(), orc_base::Kind::Invalid);
        }
        let (good, _) = request().unwrap();
        let short = Duration::from_secs(60);
        assert!(
            authority
                .sign(&good, &node(Role::Worker), noon(), short)
                .is_err()
        );
    }

    #[test]
    fn comes_back_from_its_two_texts() {
        let authority = Authority::create("c1", noon()).unwrap();
        let again = Authority::load(&authority.certificate(), &authority.key()).unwrap();
        assert_eq!(again.digest().unwrap(), authority.digest().unwrap());
        let other = Authority::create("c1", noon()).unwrap();
        assert!(Authority::load(&authority.certificate(), &other.key()).is_err());
    }

    #[test]
    fn an_administrator_is_no_machine() {
        let authority = Authority::create("c1", noon()).unwrap();
        let subject = Subject::User {
            name: "admin".to_owned(),
            groups: vec!["system:masters".to_owned()],
        };
        let issued = authority.issue(&subject, noon(), NODE_LIFE).unwrap();
        let peer = Peer::read(&der(&issued.certificate)).unwrap();
        assert_eq!(peer.common_name, "admin");
        assert_eq!(peer.organizations, ["system:masters"]);
        assert_eq!(peer.node, None);
    }
}
