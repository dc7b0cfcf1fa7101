//! The Dockerfile language: from text to typed instructions, and the words, paths and configs in them.
//!
//! Pure: text in, data or messages out. As BuildKit's frontend 1.x has it
//! (<https://docs.docker.com/reference/dockerfile/>).
//!
//! ```text
//! text ─► lines (comments, continuations, here-documents) ─► parse (flags, arguments) ─► ast
//!                                                                     ast ─► expand ─► apply ─► config
//! ```
//!
//! The parser is our own. `parse-dockerfile` 0.1.9 was tried first: it ends at the first mistake and
//! leaves flags, pairs and expansion to its caller; what decides is that it takes a here-document
//! only where it is the whole command (`RUN cat <<EOF >file`, `3<<B` and quoted names are errors),
//! splits quoted flags at spaces, and cannot say where an empty continuation line was.
//!
//! What a whole file means as a build is `build::plan`'s; which files exist is nobody's here.

pub mod apply;
mod arguments;
pub mod ast;
pub mod checks;
pub mod environment;
pub mod expand;
mod flags;
pub mod glob;
pub(crate) mod heredoc;
pub mod ignore;
mod instructions;
mod lines;
pub mod mount;
pub mod parse;
pub mod paths;
mod pattern;
pub(crate) mod ports;
pub mod source;
mod style;
pub mod words;
