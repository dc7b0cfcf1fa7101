//! Certificates are checked, and plain HTTP is never a way around that (HAZARDS G6).
//!
//! The registry is `0.0.0.0`: the kernel leads that to this machine, but it is no loopback address, so
//! orc treats it like any other host.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;

use orc_base::{Error, Kind, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::image::Image;
use crate::progress::Silent;
use crate::registry::config::{ClientCertificate, HostConfig, RegistryConfig};
use crate::transfer::pull::PullOptions;
use crate::transfer::tests::certificates::{AUTHORITY, EXPIRED, GOOD, KEY, OTHER_NAME};
use crate::transfer::tests::fixture::Fixture;
use crate::transfer::tests::scripted::{Request, Server};
use crate::transfer::tests::{Bench, assert_error};

/// An honest registry behind this certificate; its threads end with the test's process.
fn serve(certificate: &str) -> u16 {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let (config, fixture) = (Arc::new(config), Arc::new(Fixture::new(1)));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (config, fixture) = (Arc::clone(&config), Arc::clone(&fixture));
            std::thread::spawn(move || {
                let connection = ServerConnection::new(config).unwrap();
                converse(&mut StreamOwned::new(connection, stream), &fixture);
            });
        }
    });
    port
}

/// Clients of these tests end the handshake on purpose, so no error here is one.
fn converse(stream: &mut (impl Read + Write), fixture: &Fixture) {
    let mut head = Vec::new();
    let mut byte = [0];
    while matches!(stream.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        let text = String::from_utf8(std::mem::take(&mut head)).unwrap();
        let request = Request {
            method: "GET".into(),
            path: text.split(' ').nth(1).unwrap().to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        };
        let reply = fixture.honest(&request);
        let bytes = [reply.head(), reply.body].concat();
        if stream
            .write_all(&bytes)
            .and_then(|()| stream.flush())
            .is_err()
        {
            return;
        }
    }
}

async fn pull(port: u16, change: impl FnOnce(&mut RegistryConfig)) -> Result<Image> {
    let name = format!("0.0.0.0:{port}/test/app");
    let bench = Bench::with(change);
    let image = bench
        .pull_with(&name, &PullOptions::default(), &Silent)
        .await;
    if image.is_err() {
        bench.becomes_empty().await;
    }
    image
}

fn trusting(file: PathBuf) -> impl FnOnce(&mut RegistryConfig) {
    |config| config.certificates.push(file)
}

/// A file with the tests' authority.
fn authority() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("authority.pem");
    std::fs::write(&file, AUTHORITY).unwrap();
    (directory, file)
}

#[tokio::test]
async fn a_trusted_authority_is_enough() {
    let (_directory, file) = authority();
    let image = pull(serve(GOOD), trusting(file)).await;
    image.unwrap();
}

#[tokio::test]
async fn certificates_that_are_not_good_are_refused() {
    let (_directory, file) = authority();
    let untrusted = pull(serve(GOOD), |_| {}).await.unwrap_err();
    assert_error(&untrusted, Kind::Invalid, "is not trusted");
    for (certificate, why) in [(EXPIRED, "expired"), (OTHER_NAME, "not valid for name")] {
        let file = file.clone();
        let error = pull(serve(certificate), trusting(file)).await;
        let error: Error = error.unwrap_err();
        assert_error(&error, Kind::Invalid, "is not trusted");
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[tokio::test]
async fn a_registry_that_is_listed_may_show_any_certificate() {
    for certificate in [GOOD, EXPIRED, OTHER_NAME] {
        let port = serve(certificate);
        let listed = format!("0.0.0.0:{port}");
        let image = pull(port, |config| config.insecure = vec![listed]).await;
        image.unwrap();
    }
}

#[tokio::test]
async fn plain_http_is_only_for_registries_that_are_listed() {
    let fixture = Fixture::new(1);
    let server = Server::start(move |request, _| fixture.honest(request)).await;
    let port = server.address.port();
    let (_directory, file) = authority();
    let error = pull(port, trusting(file)).await.unwrap_err();
    assert_error(&error, Kind::Invalid, "does not speak TLS");
    assert!(server.requests().is_empty());

    let other = pull(port, |config| config.insecure = vec!["0.0.0.0:1".into()]).await;
    assert!(other.is_err());
    assert!(server.requests().is_empty());

    let listed = format!("0.0.0.0:{port}");
    let image = pull(port, |config| config.insecure = vec![listed]).await;
    image.unwrap();
}

#[tokio::test]
async fn a_loopback_registry_may_speak_tls_too() {
    let port = serve(OTHER_NAME);
    let name = format!("127.0.0.1:{port}/test/app");
    let bench = Bench::new();
    let image = bench
        .pull_with(&name, &PullOptions::default(), &Silent)
        .await;
    image.unwrap();
}

/// The registry's own authorities and certificate, as the file about registries says them.
fn own(
    port: u16,
    host: &str,
    change: impl FnOnce(&mut HostConfig),
) -> impl FnOnce(&mut RegistryConfig) {
    let name = format!("{host}:{port}");
    move |config| change(config.hosts.entry(name).or_default())
}

#[tokio::test]
async fn an_authority_of_its_own_is_for_one_registry() {
    let (_directory, file) = authority();
    let (one, other) = (serve(GOOD), serve(GOOD));
    let trust = |port, file: PathBuf| own(port, "0.0.0.0", |host| host.authorities = vec![file]);
    pull(one, trust(one, file.clone())).await.unwrap();
    let error = pull(other, trust(one, file)).await.unwrap_err();
    assert_error(&error, Kind::Invalid, "is not trusted");
}

#[tokio::test]
async fn an_authority_of_its_own_makes_loopback_strict() {
    let (_directory, file) = authority();
    for certificate in [OTHER_NAME, EXPIRED] {
        let port = serve(certificate);
        let file = file.clone();
        let bench = Bench::with(own(port, "127.0.0.1", |host| host.authorities = vec![file]));
        let name = format!("127.0.0.1:{port}/test/app");
        let error = bench
            .pull_with(&name, &PullOptions::default(), &Silent)
            .await
            .unwrap_err();
        assert_error(&error, Kind::Invalid, "is not trusted");
    }
    // And plain HTTP is no way around it.
    let fixture = Fixture::new(1);
    let server = Server::start(move |request, _| fixture.honest(request)).await;
    let bench = Bench::with(own(server.address.port(), "127.0.0.1", |host| {
        host.authorities = vec![file];
    }));
    let error = bench.pull(&server).await.unwrap_err();
    assert_error(&error, Kind::Invalid, "does not speak TLS");
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_certificate_of_ours_that_cannot_be_read_is_named() {
    let (directory, file) = authority();
    let port = serve(GOOD);
    let key = directory.path().join("client.key");
    std::fs::write(&key, "s3cr3t").unwrap();
    let client = ClientCertificate {
        certificate: file,
        key,
    };
    let error = pull(
        port,
        own(port, "0.0.0.0", |host| host.client = Some(client)),
    )
    .await
    .unwrap_err();
    assert_error(&error, Kind::Invalid, "client.key");
    assert!(!error.to_string().contains("s3cr3t"), "{error}");
}
