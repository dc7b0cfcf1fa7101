//! Logins and the registry that serves images.

use orc_base::{Error, Result};
use orc_host::image::Credentials;
use orc_host::registry::{Found, ServeSpec, ServeTls};

use crate::convert::image;
use crate::wire;

/// Where Docker's clients say they log in to the Hub.
const HUB: &str = "docker.io";

/// The registry and the account of a login.
pub(crate) fn login(request: wire::registry::LoginRequest) -> Result<(String, Credentials)> {
    let registry = server(&request.serveraddress);
    let auth = wire::image::Auth {
        username: request.username,
        password: request.password,
        identitytoken: request.identitytoken,
        registrytoken: request.registrytoken,
        auth: request.auth,
    };
    match image::account(auth, "the body")? {
        Some(credentials) => Ok((registry, credentials)),
        None => Err(Error::invalid(
            "a login needs `username` and `password`, or `identitytoken`",
        )),
    }
}

/// The other way.
pub(crate) fn login_to_wire(
    registry: &str,
    credentials: &Credentials,
) -> wire::registry::LoginRequest {
    wire::registry::LoginRequest {
        username: credentials.username.clone(),
        password: credentials.password.clone(),
        identitytoken: credentials.identity_token.clone(),
        serveraddress: registry.to_owned(),
        ..wire::registry::LoginRequest::default()
    }
}

/// `https://index.docker.io/v1/` and other URLs as the registry of a name.
fn server(address: &str) -> String {
    let host = address
        .trim_start_matches("https://")
        .trim_start_matches("http://");
    match host.split('/').next().unwrap_or_default() {
        "" | "index.docker.io" | "registry-1.docker.io" => HUB.into(),
        host => host.into(),
    }
}

/// What a name leads to.
pub(crate) fn found_to_wire(found: Found) -> wire::registry::Distribution {
    let platform = |text: &String| {
        let mut parts = text.splitn(3, '/').map(str::to_owned);
        wire::registry::RunsOn {
            os: parts.next().unwrap_or_default(),
            architecture: parts.next().unwrap_or_default(),
            variant: parts.next().unwrap_or_default(),
        }
    };
    wire::registry::Distribution {
        platforms: found.platforms.iter().map(platform).collect(),
        descriptor: wire::registry::Target {
            media_type: found.media_type,
            digest: found.digest,
            size: found.size_bytes,
        },
    }
}

/// The other way.
pub(crate) fn found_from_wire(reply: wire::registry::Distribution) -> Found {
    let platform = |platform: wire::registry::RunsOn| {
        let parts = [platform.os, platform.architecture, platform.variant];
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        parts.join("/")
    };
    Found {
        digest: reply.descriptor.digest,
        media_type: reply.descriptor.media_type,
        size_bytes: reply.descriptor.size,
        platforms: reply.platforms.into_iter().map(platform).collect(),
    }
}

/// What to serve, as it was sent.
pub(crate) fn serve(body: wire::registry::Serve) -> ServeSpec {
    ServeSpec {
        listen: body.listen,
        writable: body.writable,
        tls: body.tls.map(|tls| ServeTls {
            certificate: tls.certificate,
            key: tls.key,
            client_authorities: tls.client_authorities,
        }),
    }
}

/// The other way.
pub(crate) fn serve_to_wire(spec: &ServeSpec) -> wire::registry::Serve {
    wire::registry::Serve {
        listen: spec.listen,
        writable: spec.writable,
        tls: spec.tls.as_ref().map(|tls| wire::registry::ServeTls {
            certificate: tls.certificate.clone(),
            key: tls.key.clone(),
            client_authorities: tls.client_authorities.clone(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_become_registries() {
        for (address, registry) in [
            ("", "docker.io"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("localhost:5000", "localhost:5000"),
            ("https://reg.example/v2/", "reg.example"),
            ("http://reg.example:80", "reg.example:80"),
        ] {
            assert_eq!(server(address), registry, "{address}");
        }
    }

    #[test]
    fn what_is_found_goes_both_ways() {
        let found = Found {
            digest: "sha256:00".into(),
            media_type: "x/index".into(),
            size_bytes: 7,
            platforms: vec!["linux/amd64".into(), "linux/arm/v7".into()],
        };
        assert_eq!(found_from_wire(found_to_wire(found.clone())), found);
    }

    #[test]
    fn logins_go_both_ways() {
        let credentials = Credentials {
            username: "ann".into(),
            password: "s3cr3t".into(),
            identity_token: String::new(),
        };
        let (registry, back) = login(login_to_wire("x.example", &credentials)).unwrap();
        assert_eq!((registry.as_str(), back), ("x.example", credentials));
        let none = login(wire::registry::LoginRequest::default());
        assert!(none.unwrap_err().to_string().contains("`username`"));
    }
}
