//! What every cluster begins with: its first namespaces, and the service by which pods find the API.
//!
//! Safe to run at every start and on every member: what is there is left as it is. The endpoints of the
//! service are written by whoever knows where the API listens; what new namespaces get is a controller's.

use serde_json::json;

use crate::kinds::{NAMESPACE, SERVICE};
use crate::local::Settings;
use crate::object::Object;
use crate::objects::{Objects, Scope, Target, WriteOptions};
use crate::status::{Reason, Result};

/// The namespaces of every cluster.
pub const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// Makes what is not there yet. `port` is where the API listens.
pub async fn begin(objects: &dyn Objects, settings: &Settings, port: u16) -> Result<()> {
    for name in NAMESPACES {
        let namespace = Object::new("v1", "Namespace", "", name);
        make(objects, &Scope::all(&NAMESPACE), namespace).await?;
    }
    let mut service = Object::new("v1", "Service", "default", "kubernetes");
    service.set(
        &["metadata", "labels"],
        json!({ "component": "apiserver", "provider": "kubernetes" }),
    );
    service.set(
        &["spec"],
        json!({
            "clusterIP": settings.first_address().to_string(),
            "ports": [{ "name": "https", "port": 443, "targetPort": port }],
        }),
    );
    make(objects, &Scope::inside(&SERVICE, "default"), service).await
}

async fn make(objects: &dyn Objects, scope: &Scope, object: Object) -> Result<()> {
    let target = Target::new(scope.kind, &scope.namespace, object.name());
    if objects.get(&target, "").await.is_ok() {
        return Ok(());
    }
    let made = objects
        .create(scope, object, &WriteOptions::by("orc"))
        .await;
    match made {
        Err(status) if status.reason() != Reason::AlreadyExists => Err(status),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use orc_base::clock::FakeClock;
    use orc_store::MemoryStore;

    use super::*;
    use crate::local::LocalObjects;
    use crate::objects::ListOptions;

    #[tokio::test]
    async fn begins_once() {
        let settings = Settings::default();
        let store = Arc::new(MemoryStore::default());
        let clock = Arc::new(FakeClock::default());
        let objects = LocalObjects::new(store, clock, settings.clone());
        begin(&objects, &settings, 6443).await.unwrap();
        let all = ListOptions::default();
        let first = objects.list(&Scope::all(&NAMESPACE), &all).await.unwrap();
        assert_eq!(first.items.len(), 4);
        begin(&objects, &settings, 6443).await.unwrap();
        let again = objects.list(&Scope::all(&NAMESPACE), &all).await.unwrap();
        assert_eq!(again, first);
        let target = Target::new(&SERVICE, "default", "kubernetes");
        let service = objects.get(&target, "").await.unwrap();
        assert_eq!(service.text(&["spec", "clusterIP"]), "10.96.0.1");
    }
}
