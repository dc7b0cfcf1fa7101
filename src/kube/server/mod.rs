//! The Kubernetes API over HTTP: what kubectl and every client library speak to.
//!
//! From pure to deed: `request` (what a path names), `accept` and `options` (what a query asks), `body` (from
//! bytes to JSON), `resources` (what there is beside the table of kinds), `discovery` (how clients learn
//! it), `reply` (how answers are written); then `guard` (may they?), `state` (what all requests share), `verbs`, `watching`, `reviews` and
//! `streams` (the calls), [`service`] (one request from its first line to its last) and [`listen`] (the
//! TLS listener). What happens to objects is the business of [`crate::Objects`].

pub mod audit;
pub mod kubeconfig;
pub mod listen;
pub mod service;
pub mod state;
pub mod streams;

mod accept;
mod body;
mod discovery;
mod guard;
mod options;
mod reply;
mod request;
mod resources;
mod reviews;
mod tables;
mod upgrade;
mod verbs;
mod watching;
