//! The one integration binary: the shape of the tree, the contract of the seams, and the whole
//! program end to end.

mod contract;
mod docs;
mod e2e;
mod layers;
mod lint;
mod support;
