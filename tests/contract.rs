//! The contract of `trait Host`, kept by the engine and by the socket client in one go: the client
//! speaks to a real daemon, which is a server over the engine. (The fake keeps it in its own crate.)

use std::sync::Arc;

use crate::support::lab::Lab;

#[test]
fn the_engine_keeps_every_promise_through_the_socket() {
    let lab = Lab::with_busybox("contract");
    let before = lab.snapshot();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let socket = lab.run_root().join("orc.sock");
        let client = orc_docker::Client::connect(&socket)
            .await
            .expect("the daemon answers");
        orc_host::contract::run_all(Arc::new(client), "example/busybox:1").await;
    });
    drop(runtime);
    before.is_back(&lab);
}
