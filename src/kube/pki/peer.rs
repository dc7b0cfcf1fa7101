//! What the certificate of the other side says.
//!
//! Reads only; whether the certificate may be believed was decided by `trust` before.

use orc_base::{Error, Result, Time};
use x509_parser::extensions::GeneralName;

use crate::pki::identity::NodeIdentity;

/// The other side of a connection, by its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The user's name.
    pub common_name: String,
    /// The user's groups.
    pub organizations: Vec<String>,
    /// The machine, when it is one.
    pub node: Option<NodeIdentity>,
    /// The certificate's number among those of its authority, in hexadecimal digits.
    pub serial: String,
    /// When the certificate begins to be good.
    pub not_before: Time,
    /// When it ceases to be.
    pub not_after: Time,
}

impl Peer {
    /// Reads a certificate. `Invalid` when it is none, or has a URI that names no machine of ours.
    pub fn read(certificate: &[u8]) -> Result<Self> {
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
            .map_err(|_| Error::invalid("the certificate cannot be read"))?;
        let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            value.as_str().map(str::to_owned).unwrap_or_default()
        };
        let subject = parsed.subject();
        let common_name = subject.iter_common_name().map(text).next();
        let node = uri(&parsed)?;
        let node = node.map(|uri| NodeIdentity::from_uri(&uri)).transpose()?;
        Ok(Self {
            common_name: common_name.unwrap_or_default(),
            organizations: subject.iter_organization().map(text).collect(),
            node,
            serial: orc_base::id::hex(parsed.raw_serial()),
            not_before: Time::from_secs(parsed.validity().not_before.timestamp()),
            not_after: Time::from_secs(parsed.validity().not_after.timestamp()),
        })
    }
}

/// The one URI of a certificate; `Invalid` when there are several, for then it is nobody's.
fn uri(certificate: &x509_parser::certificate::X509Certificate<'_>) -> Result<Option<String>> {
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| Error::invalid("the certificate names its subject twice"))?;
    let Some(names) = names else {
        return Ok(None);
    };
    let mut uris = names
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some((*uri).to_owned()),
            _ => None,
        });
    let first = uris.next();
    match uris.next() {
        Some(_) => Err(Error::invalid("the certificate has more than one URI")),
        None => Ok(first),
    }
}
