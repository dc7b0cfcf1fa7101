//! The file by which kubectl reaches a cluster. JSON, which is YAML.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::pki::authority::Issued;

/// A kubeconfig with one cluster, one user and one context, all named `name`. `server` is a URL, `roots`
/// PEM, `user` the user's certificate and key.
pub fn render(name: &str, server: &str, roots: &str, user: &Issued) -> Value {
    let data = |pem: &str| STANDARD.encode(pem);
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": name,
            "cluster": { "server": server, "certificate-authority-data": data(roots) },
        }],
        "users": [{
            "name": name,
            "user": {
                "client-certificate-data": data(&user.certificate),
                "client-key-data": data(&user.key),
            },
        }],
        "contexts": [{ "name": name, "context": { "cluster": name, "user": name } }],
        "current-context": name,
        "preferences": {},
    })
}
