//! Who may connect, from memory: what listeners ask at each handshake and the API at each call.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::StreamExt as _;
use orc_base::task::Tasks;
use orc_base::{Error, Result};
use orc_store::{Range, Read, Revision, Store, Update};

use crate::membership::records::{PLACE, Records};
use crate::pki::peer::Peer;
use crate::pki::rotation::Roots;
use crate::pki::trust::Gate;

/// A pause after a failure to read.
const PAUSE: Duration = Duration::from_millis(200);

/// What is known of the members on this machine, kept current by a watch.
pub struct Known {
    records: Arc<RwLock<Option<Records>>>,
    roots: tokio::sync::watch::Receiver<Option<Roots>>,
    _tasks: Tasks,
}

impl Known {
    /// Follows a store. Nothing is known until the first read is done.
    pub fn follow(store: Arc<dyn Store>) -> Self {
        let records = Arc::new(RwLock::new(None));
        let (changed, roots) = tokio::sync::watch::channel(None);
        let tasks = Tasks::default();
        let theirs = Arc::clone(&records);
        tasks.spawn("members", async move {
            loop {
                if let Err(error) = follow(&*store, &theirs, &changed).await {
                    tracing::debug!(%error, "follow the members of the cluster");
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        Self {
            records,
            roots,
            _tasks: tasks,
        }
    }

    /// Lets in nodes whose certificate is on record, and people. While nothing is known at all, as on a
    /// manager that has just joined, whoever has a certificate of the cluster is let in.
    pub fn gate(&self) -> Gate {
        let records = Arc::clone(&self.records);
        Arc::new(move |peer| check(&records, peer, true))
    }

    /// The same for the door where certificates are renewed: there a node may still show its old role.
    pub fn renewal_gate(&self) -> Gate {
        let records = Arc::clone(&self.records);
        Arc::new(move |peer| check(&records, peer, false))
    }

    /// The roots, and news of them.
    pub fn roots(&self) -> tokio::sync::watch::Receiver<Option<Roots>> {
        self.roots.clone()
    }
}

fn check(records: &RwLock<Option<Records>>, peer: &Peer, role_counts: bool) -> Result<()> {
    let records = records.read().unwrap_or_else(PoisonError::into_inner);
    let (Some(records), Some(node)) = (&*records, &peer.node) else {
        return Ok(());
    };
    let (_, record) = records.node_of(peer)?;
    match record.role == node.role || !role_counts {
        true => Ok(()),
        false => Err(Error::denied(format!(
            "node {} is a {} now and shows the certificate of a {}: it must be renewed",
            node.node, record.role, node.role
        ))),
    }
}

async fn follow(
    store: &dyn Store,
    known: &RwLock<Option<Records>>,
    changed: &tokio::sync::watch::Sender<Option<Roots>>,
) -> Result<()> {
    let mut after = read(store, known, changed).await?;
    loop {
        let mut watch = store.watch(PLACE, after).await?;
        // A change is read with all that has come by then.
        while let Some(update) = watch.next().await {
            if let Update::Event(event) = update?
                && event.revision() > after
            {
                after = read(store, known, changed).await?;
            }
        }
    }
}

async fn read(
    store: &dyn Store,
    known: &RwLock<Option<Records>>,
    changed: &tokio::sync::watch::Sender<Option<Roots>>,
) -> Result<Revision> {
    let range = Range {
        prefix: PLACE.to_owned(),
        ..Range::default()
    };
    let listing = store.list(&range, Read::Local).await?;
    if !listing.entries.is_empty() {
        let records = Records::of(&listing.entries)?;
        changed.send_if_modified(|roots| {
            let differs = roots.as_ref() != Some(&records.roots);
            *roots = Some(records.roots.clone());
            differs
        });
        *known.write().unwrap_or_else(PoisonError::into_inner) = Some(records);
    }
    Ok(listing.revision)
}
