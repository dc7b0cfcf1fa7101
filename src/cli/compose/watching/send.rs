//! Brings files into containers: what is gone is removed, the rest sent as one archive.
//!
//! A container takes them whether it runs or not, so what was sent outlives its restart. Links on the
//! way are the container's own. The files belong to the container's user, else to root, as those that
//! a build copies.

use std::path::PathBuf;

use futures_util::{StreamExt, TryStreamExt, stream};
use orc_base::{Error, Kind, Result};
use orc_compose::watch::decide::Sync;
use orc_host::Host;
use orc_host::archive::WriteOptions;
use orc_host::stream::{Bytes, Stream};
use orc_image::archive::files::{self, Named};
use tokio_util::io::ReaderStream;

/// How many paths are removed by one request.
const REMOVED_AT_ONCE: usize = 1000;
/// How often files are packed anew that changed while they were.
const TRIES: usize = 3;

/// Brings `sync` into one container.
pub(crate) async fn send(host: &dyn Host, container: &str, sync: &Sync) -> Result<()> {
    let removed: Vec<String> = sync.removed.iter().cloned().collect();
    for some in removed.chunks(REMOVED_AT_ONCE) {
        host.remove_paths(container, some).await?;
    }
    if sync.files.is_empty() {
        return Ok(());
    }
    let options = WriteOptions {
        keeps_kinds: false,
        as_user: true,
    };
    let mut tries = 1;
    loop {
        let written = host
            .write_path(container, "/", archive(sync), options)
            .await;
        match written {
            Err(error) if tries < TRIES && may_pass(&error) => tries += 1,
            done => return done,
        }
    }
}

/// Whether a file changed while it was read: the next try may find it as it stays.
fn may_pass(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::Conflict | Kind::Invalid | Kind::Unavailable
    )
}

/// The archive of what is sent; what is gone by now is not in it.
fn archive(sync: &Sync) -> Stream<Bytes> {
    let things = sync.files.iter().map(|(place, path)| Named {
        path: path.clone(),
        called: PathBuf::from(place.trim_start_matches('/')),
    });
    let (theirs, ours) = tokio::io::duplex(256 << 10);
    let sent = tokio::spawn(files::send_each(things.collect(), (0, 0), ours));
    let bytes = ReaderStream::with_capacity(theirs, 64 << 10).map_err(Error::from);
    // The archive ends when its writer is gone; why it went is asked then.
    let end = stream::once(sent).filter_map(|sent| {
        let failed = match sent {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Err(error)),
            Err(error) => Some(Err(Error::internal(error.to_string()))),
        };
        std::future::ready(failed)
    });
    Box::pin(bytes.chain(end))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use orc_base::clock::SystemClock;
    use orc_host::container::ContainerSpec;
    use orc_host::fake::FakeHost;
    use orc_host::image::ImageConfig;

    use super::*;

    #[tokio::test]
    async fn files_arrive_and_go() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "hello").unwrap();
        let host = FakeHost::new(Arc::new(SystemClock));
        host.add_image("busybox:latest", ImageConfig::default());
        let spec = ContainerSpec {
            image: "busybox:latest".into(),
            command: Some(vec!["true".into()]),
            ..ContainerSpec::default()
        };
        host.create_container(Some("web"), &spec).await.unwrap();
        let place = |name: &str| (format!("/app/{name}"), dir.path().join(name));
        let mut sync = Sync {
            service: "web".into(),
            files: [place("a"), place("gone")].into(),
            removed: ["/etc".to_owned()].into(),
        };
        send(&host, "web", &sync).await.unwrap();
        let stat = host.stat_path("web", "/app/a").await.unwrap();
        assert_eq!(stat.size_bytes, 5);
        for missing in ["/app/gone", "/etc"] {
            let found = host.stat_path("web", missing).await;
            assert_eq!(found.unwrap_err().kind(), Kind::NotFound, "{missing}");
        }
        sync.files.clear();
        sync.removed = ["/app".to_owned()].into();
        send(&host, "web", &sync).await.unwrap();
        assert!(host.stat_path("web", "/app/a").await.is_err());
        assert!(send(&host, "nobody", &sync).await.is_err());
    }
}
