//! A picture in the language of Graphviz, <https://graphviz.org/doc/info/lang.html>.

use crate::graph::outline::{Kind, Link, Outline};

/// The digraph.
pub(crate) fn render(outline: &Outline) -> String {
    let mut text = format!(
        "digraph {} {{\n  node [fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\", fontsize=10];\n",
        quoted(&outline.project)
    );
    for (index, shape) in outline.boxes.iter().enumerate() {
        let lines: Vec<&str> = std::iter::once(&shape.name)
            .chain(&shape.details)
            .map(String::as_str)
            .collect();
        let form = match shape.kind {
            Kind::Service => "box",
            Kind::Network => "ellipse",
            Kind::Volume => "cylinder",
        };
        text += &format!(
            "  n{index} [label={}, shape={form}];\n",
            quoted(&lines.join("\n"))
        );
    }
    for line in &outline.lines {
        let style = match &line.link {
            Link::Needs { required: true, .. } => "",
            Link::Needs { .. } => ", style=dashed",
            Link::Joins => ", style=dotted, dir=none",
            Link::Mounts { .. } => ", style=dotted",
        };
        let label = quoted(&line.link.label());
        text += &format!("  n{} -> n{} [label={label}{style}];\n", line.from, line.to);
    }
    text + "}\n"
}

fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", text.replace('\n', "\\n"))
}
