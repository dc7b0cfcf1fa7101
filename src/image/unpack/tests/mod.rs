//! Layers as an attacker writes them, and as GNU tar does.

mod differential;
mod hostile;
mod tar;
mod tree;
