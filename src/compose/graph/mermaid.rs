//! A picture in the language of Mermaid, <https://mermaid.js.org/syntax/flowchart.html>.

use crate::graph::outline::{Kind, Link, Outline};

/// The flowchart.
pub(crate) fn render(outline: &Outline) -> String {
    let mut text = String::from("flowchart TD\n");
    for (index, shape) in outline.boxes.iter().enumerate() {
        let lines: Vec<String> = std::iter::once(&shape.name)
            .chain(&shape.details)
            .map(|line| escaped(line))
            .collect();
        let (open, close) = match shape.kind {
            Kind::Service => ("[", "]"),
            Kind::Network => ("([", "])"),
            Kind::Volume => ("[(", ")]"),
        };
        text += &format!("  n{index}{open}\"{}\"{close}\n", lines.join("<br>"));
    }
    for line in &outline.lines {
        let arrow = match &line.link {
            Link::Needs { required: true, .. } => "-->",
            Link::Needs { .. } | Link::Mounts { .. } => "-.->",
            Link::Joins => "-.-",
        };
        let label = match line.link.label() {
            label if label.is_empty() => label,
            label => format!("|\"{}\"|", escaped(&label)),
        };
        text += &format!("  n{} {arrow}{label} n{}\n", line.from, line.to);
    }
    text
}

/// Mermaid reads HTML's entities inside quotes, with `#` for `&`.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '#' => out.push_str("#35;"),
            '"' => out.push_str("#quot;"),
            '<' => out.push_str("#lt;"),
            '>' => out.push_str("#gt;"),
            '&' => out.push_str("#amp;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
