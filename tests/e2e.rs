//! The whole program, as a person uses it: the real binary, the real kernel, real clients.

mod examples;
