//! What runs inside a pod, over the API: exec, attach, port-forward, logs.
//!
//! [`node`] is the seam to whoever can reach the pod's machine. Here is only what clients speak:
//! `websocket` (RFC 6455), `channels` (kubectl's streams of exec and attach inside it), `spdy` and
//! `forward` (port-forward: SPDY frames inside a WebSocket). The older transport, SPDY without
//! WebSocket, is not offered: kubectl has not needed it since 1.31.

pub mod node;

pub(in crate::server) mod channels;
pub(in crate::server) mod forward;
pub(in crate::server) mod websocket;

mod spdy;
