//! Compose files that are elsewhere (`-f oci://…`, `include: - https://….git`): `fetcher` is whom the
//! loader asks, `artifact` and `git` are the two ways, `cache` is where copies are kept, and `consent`
//! asks before anything is made of them.

pub(crate) mod artifact;
pub(crate) mod cache;
pub(crate) mod consent;
pub(crate) mod fetcher;
pub(crate) mod git;
