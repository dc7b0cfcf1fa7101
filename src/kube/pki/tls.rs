//! The two TLS configurations of a cluster, and what their failures mean.
//!
//! TLS 1.3 only, with *ring*'s primitives. Time comes from a [`Clock`], so that a wrong clock can be
//! tested and is told apart from a wrong certificate.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use orc_base::{Clock, Error, Result, Time};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use rustls::{AlertDescription, CertificateError, ClientConfig, ServerConfig};

use crate::pki::live::Live;
use crate::pki::token::Digest;
use crate::pki::trust::{Belief, Clients, Gate, Servers, Trust, open_gate};

/// Whether clients of a listener must show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They must: the port of the cluster's members.
    Required,
    /// They may: the Kubernetes API, which also takes bearer tokens, and the door for joining.
    Accepted,
}

/// A listener's configuration. `protocols` is what it speaks, best first (ALPN).
pub fn server(
    shown: Arc<Live>,
    trust: Arc<Trust>,
    gate: Gate,
    clients: ClientCertificates,
    protocols: &[&str],
    clock: Arc<dyn Clock>,
) -> Result<ServerConfig> {
    let provider = provider();
    let verifier = Clients {
        trust,
        gate,
        required: clients == ClientCertificates::Required,
        provider: provider.clone(),
    };
    let mut config = ServerConfig::builder_with_details(provider, Arc::new(Ticks(clock)))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| failed(&error))?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(shown);
    config.alpn_protocols = bytes(protocols);
    // A resumed session would not ask the gate again.
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// A client's configuration; without `shown` it is nobody in particular.
pub fn client(
    shown: Option<Arc<Live>>,
    trust: Arc<Trust>,
    gate: Gate,
    protocols: &[&str],
    clock: Arc<dyn Clock>,
) -> Result<ClientConfig> {
    asking(shown, Belief::Roots(trust), gate, protocols, clock)
}

/// The configuration of a machine that has nothing but a join token: it believes only the root the token
/// names, and the handshake fails before anything was said.
pub fn joining(digest: Digest, protocols: &[&str], clock: Arc<dyn Clock>) -> Result<ClientConfig> {
    asking(None, Belief::Pinned(digest), open_gate(), protocols, clock)
}

fn asking(
    shown: Option<Arc<Live>>,
    belief: Belief,
    gate: Gate,
    protocols: &[&str],
    clock: Arc<dyn Clock>,
) -> Result<ClientConfig> {
    let provider = provider();
    let verifier = Servers {
        belief,
        gate,
        provider: provider.clone(),
    };
    let config = ClientConfig::builder_with_details(provider, Arc::new(Ticks(clock)))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| failed(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match shown {
        Some(shown) => config.with_client_cert_resolver(shown),
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = bytes(protocols);
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// What a failed handshake, or the first failed read after it, means to people. With TLS 1.3 a client that
/// was refused sees a finished handshake first, and the refusal when it reads.
pub fn explain(error: std::io::Error) -> Error {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(tls) => explain_tls(tls),
        None => error.into(),
    }
}

fn explain_tls(error: &rustls::Error) -> Error {
    use CertificateError as Bad;
    match error {
        rustls::Error::InvalidCertificate(Bad::Other(other)) => {
            match other.0.downcast_ref::<Error>() {
                Some(ours) => ours.clone(),
                None => Error::denied(error.to_string()),
            }
        }
        rustls::Error::InvalidCertificate(Bad::NotValidYetContext { time, not_before }) => {
            let off = not_before.as_secs().saturating_sub(time.as_secs());
            Error::denied(format!(
                "the other side's certificate begins {} from now by this machine's clock: the clock is probably slow; set it and try again",
                span(off)
            ))
        }
        rustls::Error::InvalidCertificate(Bad::ExpiredContext { time, not_after }) => {
            let off = time.as_secs().saturating_sub(not_after.as_secs());
            Error::denied(format!(
                "the other side's certificate ended {} ago by this machine's clock: the clock is fast, or the certificate was not renewed",
                span(off)
            ))
        }
        rustls::Error::InvalidCertificate(Bad::UnknownIssuer | Bad::BadSignature) => {
            Error::denied("the other side's certificate is not of this cluster")
        }
        rustls::Error::InvalidCertificate(
            Bad::NotValidForName | Bad::NotValidForNameContext { .. },
        ) => Error::denied("the other side's certificate is that of another machine"),
        rustls::Error::AlertReceived(alert) => refused(*alert),
        rustls::Error::NoCertificatesPresented => {
            Error::denied("the other side showed no certificate")
        }
        _ => Error::denied(format!("TLS: {error}")),
    }
}

/// What the other side says when it hangs up.
fn refused(alert: AlertDescription) -> Error {
    let why = match alert {
        AlertDescription::CertificateExpired => {
            "the other side finds this machine's certificate expired or not begun: one of the two clocks is wrong, or the certificate was not renewed"
        }
        AlertDescription::UnknownCA => {
            "the other side is of another cluster, or this machine's certificate is"
        }
        AlertDescription::CertificateRequired => "the other side asks for a certificate",
        AlertDescription::CertificateUnknown | AlertDescription::CertificateRevoked => {
            "the other side refuses this machine's certificate: it was removed from the cluster, or has another role"
        }
        AlertDescription::ProtocolVersion => {
            "the two sides have no version of TLS in common: members of a cluster speak TLS 1.3 only"
        }
        other => return Error::denied(format!("the other side ended the connection: {other:?}")),
    };
    Error::denied(why)
}

fn span(seconds: u64) -> String {
    let (number, word) = match seconds {
        0..120 => (seconds, "seconds"),
        120..7200 => (seconds / 60, "minutes"),
        7200..172_800 => (seconds / 3600, "hours"),
        _ => (seconds / 86_400, "days"),
    };
    format!("{number} {word}")
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn bytes(protocols: &[&str]) -> Vec<Vec<u8>> {
    protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect()
}

fn failed(error: &rustls::Error) -> Error {
    Error::internal(format!("TLS: {error}"))
}

/// Our clock for rustls.
struct Ticks(Arc<dyn Clock>);

impl fmt::Debug for Ticks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticks")
    }
}

impl TimeProvider for Ticks {
    fn current_time(&self) -> Option<UnixTime> {
        let since = self.0.now().since(Time::EPOCH);
        Some(UnixTime::since_unix_epoch(Duration::from_secs(
            since.as_secs(),
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::authority::{Authority, NODE_LIFE};
    use crate::pki::identity::{NodeIdentity, Role, Subject};
    use crate::pki::rotation::Roots;
    use orc_base::clock::FakeClock;
    use rustls::pki_types::ServerName;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    const DAY: Duration = Duration::from_secs(86_400);

    fn noon() -> Time {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    fn clock(now: Time) -> Arc<dyn Clock> {
        Arc::new(FakeClock::at(now))
    }

    fn subject(node: &str, role: Role) -> Subject {
        Subject::Node {
            identity: NodeIdentity::new("c1", node, role).unwrap(),
            names: vec![],
        }
    }

    /// A node's certificate by the signer of `roots`, with what it shows behind it.
    fn live(roots: &Roots, node: &str, role: Role) -> Arc<Live> {
        let signer = roots.signer().unwrap();
        let issued = signer
            .issue(&subject(node, role), noon(), NODE_LIFE)
            .unwrap();
        let chain = issued.certificate + &roots.chain().concat();
        Arc::new(Live::new(&chain, &issued.key).unwrap())
    }

    fn trust(roots: &Roots) -> Arc<Trust> {
        Arc::new(Trust::new(roots.trusted()).unwrap())
    }

    fn serving(roots: &Roots, gate: Gate, now: Time) -> ServerConfig {
        let shown = live(roots, "m1", Role::Manager);
        let required = ClientCertificates::Required;
        server(shown, trust(roots), gate, required, &["h2"], clock(now)).unwrap()
    }

    fn asking_as(roots: &Roots, node: &str, role: Role, now: Time) -> ClientConfig {
        let shown = live(roots, node, role);
        client(Some(shown), trust(roots), open_gate(), &["h2"], clock(now)).unwrap()
    }

    /// What the client and the server say of a connection on which the server greets.
    async fn meet(server: ServerConfig, client: ClientConfig) -> (String, String) {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let greet = async {
            let mut stream = TlsAcceptor::from(Arc::new(server)).accept(theirs).await?;
            stream.write_all(b"hello").await?;
            stream.shutdown().await
        };
        let listen = async {
            let name = ServerName::try_from("m1.node.c1.orc.internal").unwrap();
            let connector = TlsConnector::from(Arc::new(client));
            let mut stream = connector.connect(name, ours).await?;
            let mut text = String::new();
            stream.read_to_string(&mut text).await?;
            Ok(text)
        };
        let (served, heard): (std::io::Result<()>, std::io::Result<String>) =
            tokio::join!(greet, listen);
        let served = served.map_or_else(|e| explain(e).to_string(), |()| "ok".to_owned());
        let heard = heard.unwrap_or_else(|e| explain(e).to_string());
        (heard, served)
    }

    fn only_managers() -> Gate {
        Arc::new(|peer| match &peer.node {
            Some(node) if node.role == Role::Manager => Ok(()),
            _ => Err(Error::denied("only managers may do this")),
        })
    }

    #[tokio::test]
    async fn members_meet() {
        let roots = Roots::first("c1", noon()).unwrap();
        let server = serving(&roots, only_managers(), noon());
        let client = asking_as(&roots, "m2", Role::Manager, noon());
        assert_eq!(meet(server, client).await, ("hello".into(), "ok".into()));
    }

    #[tokio::test]
    async fn another_role_is_refused() {
        let roots = Roots::first("c1", noon()).unwrap();
        let server = serving(&roots, only_managers(), noon());
        let client = asking_as(&roots, "w1", Role::Worker, noon());
        let (heard, served) = meet(server, client).await;
        assert!(heard.contains("has another role"), "{heard}");
        assert_eq!(served, "only managers may do this");
    }

    #[tokio::test]
    async fn a_removed_node_is_refused_at_once() {
        let roots = Roots::first("c1", noon()).unwrap();
        let removed: Gate = Arc::new(|peer| match &peer.node {
            Some(node) if node.node == "w1" => Err(Error::denied("w1 was removed")),
            _ => Ok(()),
        });
        let server = serving(&roots, removed, noon());
        let client = asking_as(&roots, "w1", Role::Worker, noon());
        let (heard, served) = meet(server, client).await;
        assert!(heard.contains("it was removed from the cluster"), "{heard}");
        assert_eq!(served, "w1 was removed");
    }

    #[tokio::test]
    async fn nobody_comes_in_without_a_certificate() {
        let roots = Roots::first("c1", noon()).unwrap();
        let server = serving(&roots, open_gate(), noon());
        let client = client(None, trust(&roots), open_gate(), &["h2"], clock(noon())).unwrap();
        let (heard, served) = meet(server, client).await;
        assert_eq!(heard, "the other side asks for a certificate");
        assert_eq!(served, "the other side showed no certificate");
    }

    #[tokio::test]
    async fn another_cluster_is_refused_on_both_sides() {
        let ours = Roots::first("c1", noon()).unwrap();
        let theirs = Roots::first("c1", noon()).unwrap();
        let server = serving(&ours, open_gate(), noon());
        let member = asking_as(&theirs, "m2", Role::Manager, noon());
        let (heard, _) = meet(server, member).await;
        assert_eq!(heard, "the other side's certificate is not of this cluster");
        // A client that believes us but has their certificate.
        let server = serving(&ours, open_gate(), noon());
        let shown = Some(live(&theirs, "m2", Role::Manager));
        let client = client(shown, trust(&ours), open_gate(), &["h2"], clock(noon())).unwrap();
        let (heard, served) = meet(server, client).await;
        assert!(heard.contains("of another cluster"), "{heard}");
        assert_eq!(
            served,
            "the other side's certificate is not of this cluster"
        );
    }

    #[tokio::test]
    async fn a_clock_that_is_off_by_a_day_is_named() {
        let roots = Roots::first("c1", noon()).unwrap();
        let early = Time::from_secs(noon().secs() - 86_400);
        let server = serving(&roots, open_gate(), noon());
        let client = asking_as(&roots, "m2", Role::Manager, early);
        let (heard, _) = meet(server, client).await;
        assert_eq!(
            heard,
            "the other side's certificate begins 23 hours from now by this machine's clock: the clock is probably slow; set it and try again"
        );
        let late = noon().plus(NODE_LIFE).plus(DAY);
        let server = serving(&roots, open_gate(), noon());
        let client = asking_as(&roots, "m2", Role::Manager, late);
        let (heard, _) = meet(server, client).await;
        assert!(
            heard.contains("ended 24 hours ago by this machine's clock"),
            "{heard}"
        );
    }

    #[tokio::test]
    async fn a_token_finds_its_cluster_and_no_other() {
        let roots = Roots::first("c1", noon()).unwrap();
        let accept = |roots: &Roots| {
            let shown = live(roots, "m1", Role::Manager);
            let accepted = ClientCertificates::Accepted;
            server(
                shown,
                trust(roots),
                open_gate(),
                accepted,
                &["h2"],
                clock(noon()),
            )
            .unwrap()
        };
        let digest = roots.signer().unwrap().digest().unwrap();
        let client = joining(digest, &["h2"], clock(noon())).unwrap();
        assert_eq!(meet(accept(&roots), client).await.0, "hello");
        let other = Roots::first("c1", noon()).unwrap();
        let client = joining(digest, &["h2"], clock(noon())).unwrap();
        let (heard, _) = meet(accept(&other), client).await;
        assert!(
            heard.starts_with("the cluster's root certificate is not the one"),
            "{heard}"
        );
    }

    #[tokio::test]
    async fn a_member_that_slept_through_the_new_root_believes_the_bridge() {
        let old = Roots::first("c1", noon()).unwrap();
        let new = old.begin("c1", noon()).unwrap().step(&[]).unwrap().unwrap();
        let server = serving(&new, open_gate(), noon());
        let client = asking_as(&old, "m2", Role::Manager, noon());
        assert_eq!(meet(server, client).await.0, "hello");
        let done = new.step(&[]).unwrap().unwrap();
        let server = serving(&done, open_gate(), noon());
        let client = asking_as(&old, "m2", Role::Manager, noon());
        assert!(meet(server, client).await.0.contains("not of this cluster"));
    }

    #[tokio::test]
    async fn a_new_certificate_is_shown_by_the_next_connection() {
        let roots = Roots::first("c1", noon()).unwrap();
        let shown = live(&roots, "m1", Role::Manager);
        let accepted = ClientCertificates::Accepted;
        let later = noon().plus(NODE_LIFE).plus(DAY);
        let now = clock(later);
        let config = |shown: &Arc<Live>| {
            let gate = open_gate();
            server(
                shown.clone(),
                trust(&roots),
                gate,
                accepted,
                &["h2"],
                now.clone(),
            )
            .unwrap()
        };
        let client = || client(None, trust(&roots), open_gate(), &["h2"], now.clone()).unwrap();
        assert!(
            meet(config(&shown), client())
                .await
                .0
                .contains("ended 24 hours ago")
        );
        let signer: Authority = roots.signer().unwrap();
        let node = subject("m1", Role::Manager);
        let next = signer.issue(&node, later, NODE_LIFE).unwrap();
        shown.replace(&next.certificate, &next.key).unwrap();
        assert_eq!(meet(config(&shown), client()).await.0, "hello");
        let other = signer.issue(&node, later, NODE_LIFE).unwrap();
        assert!(shown.replace(&next.certificate, &other.key).is_err());
    }

    #[tokio::test]
    async fn older_versions_of_tls_are_refused() {
        let roots = Roots::first("c1", noon()).unwrap();
        let old = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let (heard, served) = meet(serving(&roots, open_gate(), noon()), old).await;
        assert!(heard.contains("TLS 1.3 only"), "{heard}");
        assert_ne!(served, "ok");
    }
}
