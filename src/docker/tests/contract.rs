//! The client keeps every promise of a host.

use std::sync::Arc;

use orc_host::contract;

use crate::tests::support::Server;

#[tokio::test(flavor = "multi_thread")]
async fn the_client_keeps_every_promise() {
    let server = Server::start();
    contract::run_all(Arc::new(server.client().await), "busybox:latest").await;
}
