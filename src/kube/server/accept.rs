//! What form of answer a client accepts (RFC 9110, section 12.5.1, as far as Kubernetes' clients use it).

/// How an answer is written. JSON in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The objects.
    Plain,
    /// A table for people, of `meta.k8s.io` in this version.
    Table {
        /// `v1` or `v1beta1`.
        version: &'static str,
    },
    /// Only the metadata.
    Metadata,
    /// All of discovery at once, of `apidiscovery.k8s.io` in this version.
    Discovery {
        /// `v2` or `v2beta1`.
        version: &'static str,
    },
}

/// The first form of the list that there is; nothing when there is none.
pub(super) fn form(accept: &str) -> Option<Form> {
    if accept.trim().is_empty() {
        return Some(Form::Plain);
    }
    accept.split(',').take(32).find_map(one)
}

fn one(range: &str) -> Option<Form> {
    let mut parts = range.split(';').map(str::trim);
    let media = parts.next()?;
    if !matches!(media, "application/json" | "*/*" | "application/*") {
        return None;
    }
    let (mut group, mut version, mut kind) = ("", "", "");
    for part in parts {
        match part.split_once('=') {
            Some(("g", value)) => group = value,
            Some(("v", value)) => version = value,
            Some(("as", value)) => kind = value,
            _ => {}
        }
    }
    match (kind, group, version) {
        ("", _, _) => Some(Form::Plain),
        ("Table", "meta.k8s.io", "v1") => Some(Form::Table { version: "v1" }),
        ("Table", "meta.k8s.io", "v1beta1") => Some(Form::Table { version: "v1beta1" }),
        ("PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io", "v1") => {
            Some(Form::Metadata)
        }
        ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2") => {
            Some(Form::Discovery { version: "v2" })
        }
        ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2beta1") => {
            Some(Form::Discovery { version: "v2beta1" })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_kubectl_accepts() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(form(table), Some(Form::Table { version: "v1" }));
        let protobuf = "application/vnd.kubernetes.protobuf,application/json";
        assert_eq!(form(protobuf), Some(Form::Plain));
        let discovery =
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
        assert_eq!(form(discovery), Some(Form::Discovery { version: "v2" }));
        assert_eq!(form("application/json;as=Table;v=v9;g=meta.k8s.io"), None);
        assert_eq!(form("text/html"), None);
        assert_eq!(form("*/*"), Some(Form::Plain));
        assert_eq!(form(""), Some(Form::Plain));
    }
}
