//! A picture for a terminal: each service with what it waits for below it, then networks and volumes.
//!
//! A service that several wait for is told in full once, and by its name after that.

use std::collections::BTreeSet;

use crate::graph::outline::{Kind, Link, Outline};

/// The tree.
pub(crate) fn render(outline: &Outline) -> String {
    let needs: Vec<Vec<(usize, String)>> = needs(outline);
    let needed: BTreeSet<usize> = needs.iter().flatten().map(|(to, _)| *to).collect();
    let mut tree = Tree {
        outline,
        needs,
        told: BTreeSet::new(),
        text: format!("{}\n", outline.project),
    };
    let roots: Vec<usize> = outline
        .of_kind(Kind::Service)
        .map(|(index, _)| index)
        .filter(|index| !needed.contains(index))
        .collect();
    for (place, index) in roots.iter().enumerate() {
        tree.service(*index, "", "", place + 1 == roots.len());
    }
    for (kind, title) in [(Kind::Network, "networks"), (Kind::Volume, "volumes")] {
        tree.uses(kind, title);
    }
    tree.text
}

/// For each box the services it waits for, with the words of the line.
fn needs(outline: &Outline) -> Vec<Vec<(usize, String)>> {
    let mut needs = vec![Vec::new(); outline.boxes.len()];
    for line in &outline.lines {
        if matches!(line.link, Link::Needs { .. }) {
            needs[line.from].push((line.to, line.link.label()));
        }
    }
    needs
}

struct Tree<'a> {
    outline: &'a Outline,
    needs: Vec<Vec<(usize, String)>>,
    told: BTreeSet<usize>,
    text: String,
}

impl Tree<'_> {
    fn service(&mut self, index: usize, indent: &str, until: &str, last: bool) {
        let shape = &self.outline.boxes[index];
        let branch = if last { "└── " } else { "├── " };
        let until = match until {
            "" => String::new(),
            until => format!(" ({until})"),
        };
        let again = !self.told.insert(index);
        let needs = match again {
            true => Vec::new(),
            false => self.needs[index].clone(),
        };
        let details = match again {
            true if self.needs[index].is_empty() => String::new(),
            true => "  see above".to_owned(),
            false => format!("  {}", shape.details.join("  ")),
        };
        self.text += &format!("{indent}{branch}{}{until}{details}\n", shape.name);
        let indent = format!("{indent}{}", if last { "    " } else { "│   " });
        for (place, (to, until)) in needs.iter().enumerate() {
            self.service(*to, &indent, until, place + 1 == needs.len());
        }
    }

    /// Networks or volumes, and who uses each.
    fn uses(&mut self, kind: Kind, title: &str) {
        let outline = self.outline;
        let all: Vec<_> = outline.of_kind(kind).collect();
        if all.is_empty() {
            return;
        }
        self.text += &format!("{title}\n");
        for (place, (index, shape)) in all.iter().enumerate() {
            let users: Vec<String> = outline
                .lines
                .iter()
                .filter(|line| line.to == *index)
                .map(|line| match line.link.label() {
                    label if label.is_empty() => outline.boxes[line.from].name.clone(),
                    label => format!("{} at {label}", outline.boxes[line.from].name),
                })
                .collect();
            let branch = if place + 1 == all.len() {
                "└── "
            } else {
                "├── "
            };
            let details = match shape.details.is_empty() {
                true => String::new(),
                false => format!(" ({})", shape.details.join(", ")),
            };
            self.text += &format!("{branch}{}{details}: {}\n", shape.name, users.join(", "));
        }
    }
}
