//! Images: Docker's JSON of them, and back.

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose};
use orc_base::{Context, Error, Result};
use orc_host::image::{Credentials, History, Image, ImageConfig, Removal};

use crate::convert::{health, resources, time};
use crate::wire::container::GraphDriver;
use crate::wire::image as wire;
use crate::wire::json::{Empty, Words};

/// What `docker image inspect` prints; the history comes with `extended` only.
pub(crate) fn to_wire(image: &Image, extended: bool) -> wire::Inspect {
    wire::Inspect {
        id: image.id.clone(),
        repo_tags: image.tags.clone(),
        repo_digests: image.digests.clone(),
        comment: image
            .history
            .last()
            .map(|step| step.comment.clone())
            .unwrap_or_default(),
        created: image
            .created
            .map(|time| time.to_string())
            .unwrap_or_default(),
        author: image.author.clone(),
        config: config_to_wire(&image.config),
        architecture: image.architecture.clone(),
        variant: image.variant.clone(),
        os: image.os.clone(),
        size: image.size_bytes,
        graph_driver: GraphDriver {
            name: "overlayfs".into(),
            ..Default::default()
        },
        root_fs: wire::RootFs {
            r#type: "layers".into(),
            layers: image.layers.clone(),
        },
        metadata: wire::Metadata {
            last_tag_time: time::or_never(image.pulled),
        },
        orc_history: extended.then(|| image.history.clone()),
        orc_layer_sizes: extended.then(|| image.layer_sizes.clone()),
        ..Default::default()
    }
}

/// The inverse of [`to_wire`] with `extended`.
pub(crate) fn from_wire(inspect: &wire::Inspect) -> Result<Image> {
    let convert = || -> Result<Image> {
        Ok(Image {
            id: inspect.id.clone(),
            tags: inspect.repo_tags.clone(),
            digests: inspect.repo_digests.clone(),
            created: time::known(&inspect.created)?,
            pulled: time::known(&inspect.metadata.last_tag_time)?,
            size_bytes: inspect.size,
            architecture: inspect.architecture.clone(),
            variant: inspect.variant.clone(),
            os: inspect.os.clone(),
            config: config_from_wire(&inspect.config)?,
            layers: inspect.root_fs.layers.clone(),
            layer_sizes: inspect.orc_layer_sizes.clone().unwrap_or_default(),
            author: inspect.author.clone(),
            history: inspect
                .orc_history
                .clone()
                .ok_or_else(|| Error::internal("the daemon did not say its history"))?,
        })
    };
    convert()
        .map_err(|error| error.with_kind(orc_base::Kind::Internal))
        .context(|| format!("read image {}", inspect.id))
}

fn config_to_wire(config: &ImageConfig) -> wire::Config {
    let keys = |keys: &[String]| keys.iter().map(|key| (key.clone(), Empty)).collect();
    wire::Config {
        user: config.user.clone(),
        exposed_ports: keys(&config.exposed_ports),
        env: config.env.clone(),
        entrypoint: Words(config.entrypoint.clone()),
        cmd: Words(config.command.clone()),
        healthcheck: config.healthcheck.as_ref().map(health::check_to_wire),
        volumes: keys(&config.volumes),
        working_dir: config.working_dir.clone(),
        labels: config.labels.clone(),
        stop_signal: config.stop_signal.clone().unwrap_or_default(),
    }
}

fn config_from_wire(config: &wire::Config) -> Result<ImageConfig> {
    let keys = |keys: &[(String, Empty)]| keys.iter().map(|(key, _)| key.clone()).collect();
    Ok(ImageConfig {
        env: config.env.clone(),
        entrypoint: config.entrypoint.0.clone(),
        command: config.cmd.0.clone(),
        user: config.user.clone(),
        working_dir: config.working_dir.clone(),
        exposed_ports: keys(&config.exposed_ports.0),
        volumes: keys(&config.volumes.0),
        labels: config.labels.clone(),
        stop_signal: resources::text(&config.stop_signal),
        healthcheck: config
            .healthcheck
            .as_ref()
            .map(health::check_from_wire)
            .transpose()?,
    })
}

/// A row of `docker images`.
pub(crate) fn summary(image: &Image, extended: bool) -> wire::Summary {
    wire::Summary {
        containers: -1,
        created: image.created.map_or(0, |time| time.secs()),
        id: image.id.clone(),
        labels: image.config.labels.clone(),
        repo_digests: image.digests.clone(),
        repo_tags: image.tags.clone(),
        shared_size: -1,
        size: image.size_bytes,
        orc_inspect: extended.then(|| Box::new(to_wire(image, true))),
        ..Default::default()
    }
}

/// What `docker history` prints, newest first.
pub(crate) fn history(image: &Image) -> Vec<wire::History> {
    let steps = image.steps().rev().enumerate();
    steps
        .map(
            |(index, (step, size)): (usize, (&History, u64))| wire::History {
                id: if index == 0 {
                    image.id.clone()
                } else {
                    "<missing>".into()
                },
                created: step.created.map_or(0, |time| time.secs()),
                created_by: step.created_by.clone(),
                tags: Some(image.tags.clone()).filter(|tags| index == 0 && !tags.is_empty()),
                size,
                comment: step.comment.clone(),
            },
        )
        .collect()
}

/// One thing that was removed.
pub(crate) fn removal_to_wire(removal: &Removal) -> wire::Removal {
    let mut wire = wire::Removal::default();
    match removal {
        Removal::Untagged(name) => wire.untagged = name.clone(),
        Removal::Deleted(id) => wire.deleted = id.clone(),
    }
    wire
}

/// The inverse of [`removal_to_wire`].
pub(crate) fn removal_from_wire(wire: wire::Removal) -> Removal {
    match wire.untagged.is_empty() {
        true => Removal::Deleted(wire.deleted),
        false => Removal::Untagged(wire.untagged),
    }
}

/// A reference as people write it: Docker's command line sends `docker.io/library/busybox`.
pub(crate) fn familiar(reference: &str) -> &str {
    let bare = ["docker.io/", "index.docker.io/"]
        .iter()
        .find_map(|registry| reference.strip_prefix(registry));
    match bare {
        Some(bare) => bare.strip_prefix("library/").unwrap_or(bare),
        None => reference,
    }
}

/// Clients write padding or leave it out.
pub(crate) const TOLERANT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The header `X-Registry-Auth`.
pub(crate) fn auth_to_header(credentials: &Credentials) -> Result<String> {
    let auth = wire::Auth {
        username: credentials.username.clone(),
        password: credentials.password.clone(),
        identitytoken: credentials.identity_token.clone(),
        ..Default::default()
    };
    Ok(general_purpose::URL_SAFE.encode(serde_json::to_vec(&auth)?))
}

/// The inverse of [`auth_to_header`]. The error repeats nothing of it: it is secret.
pub(crate) fn auth_from_header(header: &str) -> Result<Option<Credentials>> {
    // Some clients use the other alphabet.
    let header = header.trim().replace('+', "-").replace('/', "_");
    if header.is_empty() || header == "null" {
        return Ok(None);
    }
    let wrong = || {
        Error::invalid(
            "the header `X-Registry-Auth` is not a base64 object with `username` and `password`",
        )
    };
    let bytes = TOLERANT.decode(header).map_err(|_| wrong())?;
    if bytes.starts_with(b"[") {
        return Err(wrong());
    }
    let auth: Option<wire::Auth> = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
    account(auth.unwrap_or_default(), "X-Registry-Auth")
}

/// One account of a header; none when it is empty. The error repeats nothing of it.
pub(crate) fn account(mut auth: wire::Auth, header: &str) -> Result<Option<Credentials>> {
    if !auth.registrytoken.is_empty() {
        return Err(Error::unsupported(format!(
            "`registrytoken` in `{header}` is not supported: use a user name and password"
        )));
    }
    if auth.username.is_empty() && !auth.auth.is_empty() {
        let wrong = || Error::invalid(format!("`auth` in `{header}` is not base64 of a pair"));
        let pair = general_purpose::STANDARD
            .decode(&auth.auth)
            .map_err(|_| wrong())?;
        let pair = String::from_utf8(pair).map_err(|_| wrong())?;
        let (username, password) = pair.split_once(':').ok_or_else(wrong)?;
        (auth.username, auth.password) = (username.into(), password.into());
    }
    let credentials = Credentials {
        username: auth.username,
        password: auth.password,
        identity_token: auth.identitytoken,
    };
    Ok((credentials != Credentials::default()).then_some(credentials))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn familiar_names() {
        assert_eq!(familiar("docker.io/library/busybox:1"), "busybox:1");
        assert_eq!(familiar("docker.io/me/app"), "me/app");
        assert_eq!(
            familiar("127.0.0.1:5000/library/a"),
            "127.0.0.1:5000/library/a"
        );
    }

    #[test]
    fn credentials_come_back() {
        let credentials = Credentials {
            username: "me".into(),
            password: "p?~>ÿ".into(),
            identity_token: String::new(),
        };
        let header = auth_to_header(&credentials).unwrap();
        assert_eq!(
            auth_from_header(&header).unwrap(),
            Some(credentials.clone())
        );
        let unpadded = header
            .trim_end_matches('=')
            .replace('-', "+")
            .replace('_', "/");
        assert_eq!(auth_from_header(&unpadded).unwrap(), Some(credentials));
    }

    #[test]
    fn no_credentials_are_none() {
        for none in ["", "e30=", "e30", "bnVsbA=="] {
            assert_eq!(auth_from_header(none).unwrap(), None, "{none}");
        }
        let pair = general_purpose::STANDARD.encode(br#"{"auth":"bWU6c2VjcmV0"}"#);
        assert_eq!(auth_from_header(&pair).unwrap().unwrap().password, "secret");
    }

    #[test]
    fn a_refusal_keeps_the_secret() {
        for bad in ["!!", "c2VjcmV0", "WyJzZWNyZXQiXQ=="] {
            let text = auth_from_header(bad).unwrap_err().to_string();
            assert!(!text.contains("secret") && !text.contains(bad), "{text}");
        }
        let token = general_purpose::STANDARD.encode(br#"{"registrytoken":"abc"}"#);
        assert!(
            !auth_from_header(&token)
                .unwrap_err()
                .to_string()
                .contains("abc")
        );
    }
}
