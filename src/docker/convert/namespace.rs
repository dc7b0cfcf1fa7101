//! Docker's words for whose namespaces and whose network a container uses.

use orc_base::{Error, Result};
use orc_host::container::{NamespaceMode, NetworkMode};

/// The network that Docker joins when none is named.
pub(crate) const DEFAULT_NETWORK: &str = "bridge";

/// `IpcMode`, `PidMode`, `UTSMode` or `CgroupnsMode`.
pub(crate) fn to_wire(mode: &NamespaceMode, private: &str) -> String {
    match mode {
        NamespaceMode::Private => private.into(),
        NamespaceMode::Host => "host".into(),
        NamespaceMode::Container(name) => format!("container:{name}"),
    }
}

/// The inverse of [`to_wire`]; `member` is its name.
pub(crate) fn from_wire(member: &str, text: &str) -> Result<NamespaceMode> {
    match text {
        "" | "private" => Ok(NamespaceMode::Private),
        // An IPC namespace of one's own that others may join; orc lets them always.
        "shareable" if member == "IpcMode" => Ok(NamespaceMode::Private),
        "host" => Ok(NamespaceMode::Host),
        _ => match text.strip_prefix("container:") {
            Some(name) if !name.is_empty() => Ok(NamespaceMode::Container(name.into())),
            _ => Err(Error::unsupported(format!(
                "`HostConfig.{member}`: `{text}` is not supported: use private, host or container:NAME"
            ))),
        },
    }
}

/// What `NetworkMode` says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Network {
    /// Not [`NetworkMode::Networks`].
    Mode(NetworkMode),
    /// The default network, unless others are named elsewhere.
    Default,
    /// The network of this name.
    Named(String),
}

/// Reads `NetworkMode`.
pub(crate) fn network_from_wire(text: &str) -> Result<Network> {
    Ok(match text {
        "" | "default" => Network::Default,
        "none" => Network::Mode(NetworkMode::None),
        "host" => Network::Mode(NetworkMode::Host),
        _ => match text.strip_prefix("container:") {
            Some("") => {
                return Err(Error::invalid(
                    "`HostConfig.NetworkMode`: name a container after `container:`",
                ));
            }
            Some(name) => Network::Mode(NetworkMode::Container(name.into())),
            None => Network::Named(text.into()),
        },
    })
}

/// `NetworkMode`; the first network names the mode.
pub(crate) fn network_to_wire(mode: &NetworkMode, first: Option<&str>) -> String {
    match mode {
        NetworkMode::Networks => first.unwrap_or("default").into(),
        NetworkMode::None => "none".into(),
        NetworkMode::Host => "host".into(),
        NetworkMode::Container(name) => format!("container:{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_come_back() {
        for mode in [
            NamespaceMode::Private,
            NamespaceMode::Host,
            NamespaceMode::Container("db".into()),
        ] {
            assert_eq!(from_wire("PidMode", &to_wire(&mode, "")).unwrap(), mode);
            assert_eq!(
                from_wire("IpcMode", &to_wire(&mode, "private")).unwrap(),
                mode
            );
        }
        for (member, bad) in [
            ("IpcMode", "none"),
            ("PidMode", "shareable"),
            ("PidMode", "container:"),
        ] {
            let text = from_wire(member, bad).unwrap_err().to_string();
            assert!(text.contains(member), "{text}");
        }
    }

    #[test]
    fn network_modes() {
        assert_eq!(network_from_wire("").unwrap(), Network::Default);
        assert_eq!(
            network_from_wire("front").unwrap(),
            Network::Named("front".into())
        );
        assert!(network_from_wire("container:").is_err());
        for mode in [
            NetworkMode::None,
            NetworkMode::Host,
            NetworkMode::Container("a".into()),
        ] {
            let text = network_to_wire(&mode, Some("ignored"));
            assert_eq!(network_from_wire(&text).unwrap(), Network::Mode(mode));
        }
    }
}
