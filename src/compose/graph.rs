//! The project as a picture: services, what they wait for, their networks and volumes.
//!
//! Pure: a project in, text out, the same text for the same project. The picture is made of the
//! services that are on, and of the networks and volumes that they use. `outline.rs` says what is
//! drawn, the other files say how.

pub(crate) mod dot;
pub(crate) mod layers;
pub(crate) mod mermaid;
pub(crate) mod outline;
pub(crate) mod svg;
pub(crate) mod tree;

use crate::graph::outline::Outline;
use crate::model::Project;

/// The languages of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Picture {
    /// A tree for a terminal.
    #[default]
    Text,
    /// Graphviz.
    Dot,
    /// Mermaid, as Markdown pages show it.
    Mermaid,
    /// A drawing for a browser.
    Svg,
}

/// Draws the services of a project that are on.
pub fn draw(project: &Project, picture: Picture) -> String {
    let outline = Outline::of(project);
    match picture {
        Picture::Text => tree::render(&outline),
        Picture::Dot => dot::render(&outline),
        Picture::Mermaid => mermaid::render(&outline),
        Picture::Svg => svg::render(&outline),
    }
}
