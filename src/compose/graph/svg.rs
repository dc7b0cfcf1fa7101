//! A picture as SVG 1.1, which needs no program but a browser; colours follow its light or dark mode.

use crate::graph::layers::{Layers, Stop};
use crate::graph::outline::{Kind, Line, Link, Outline, Shape};

/// Width of a letter at 13 pixels, with room to spare.
const LETTER: f64 = 7.4;
const LINE_HEIGHT: f64 = 17.0;
const PADDING: f64 = 12.0;
/// Between two boxes of a row.
const GAP: f64 = 36.0;
/// Between two rows.
const ROW_GAP: f64 = 72.0;
const MARGIN: f64 = 24.0;
/// Room for the bend of a line.
const BEND: f64 = 12.0;
/// The longest text of one line, in letters.
const MAX_LETTERS: usize = 48;

const STYLE: &str = "\
text{font:13px sans-serif;fill:#1f2328}.name{font-weight:bold}.label{font-size:11px;fill:#59636e}\
.service{fill:#ddf4ff;stroke:#0969da}.network{fill:#dafbe1;stroke:#1a7f37}.volume{fill:#fff8c5;stroke:#9a6700}\
path{fill:none;stroke:#59636e}.needs{marker-end:url(#arrow)}.optional{stroke-dasharray:6 4}.joins,.mounts{stroke-dasharray:2 3}\
@media (prefers-color-scheme:dark){text{fill:#f0f6fc}.label{fill:#9198a1}.service{fill:#0d2d4f}.network{fill:#0f3320}.volume{fill:#3b2e0a}path{stroke:#9198a1}}";

/// Where something stands.
#[derive(Debug, Clone, Copy, Default)]
struct Area {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

/// The drawing.
pub(crate) fn render(outline: &Outline) -> String {
    let layers = Layers::of(outline);
    let (areas, width, height) = places(outline, &layers);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\">\n<title>{}</title>\n<style>{STYLE}</style>\n<defs><marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\"><path d=\"M0 0L8 4L0 8\"/></marker></defs>\n",
        escaped(&outline.project)
    );
    for (line, way) in outline.lines.iter().zip(&layers.ways) {
        text += &curve(line, way, &areas);
    }
    for (shape, area) in outline.boxes.iter().zip(&areas) {
        text += &figure(shape, area);
    }
    for (line, way) in outline.lines.iter().zip(&layers.ways) {
        text += &label(line, way, &areas);
    }
    text + "</svg>\n"
}

/// The area of each stop, and the size of it all.
fn places(outline: &Outline, layers: &Layers) -> (Vec<Area>, f64, f64) {
    let mut areas: Vec<Area> = layers
        .stops
        .iter()
        .map(|stop| size(outline, *stop))
        .collect();
    let row_width = |row: &Vec<usize>, areas: &[Area]| {
        let boxes: f64 = row.iter().map(|stop| areas[*stop].width).sum();
        boxes + GAP * row.len().saturating_sub(1) as f64
    };
    let widest = layers
        .rows
        .iter()
        .map(|row| row_width(row, &areas))
        .fold(0.0, f64::max);
    let mut y = MARGIN;
    for row in &layers.rows {
        let height = row
            .iter()
            .map(|stop| areas[*stop].height)
            .fold(0.0, f64::max);
        let mut x = MARGIN + (widest - row_width(row, &areas)) / 2.0;
        for stop in row {
            let area = &mut areas[*stop];
            (area.x, area.y) = (x, y + (height - area.height) / 2.0);
            x += area.width + GAP;
        }
        y += height + ROW_GAP;
    }
    let height = if layers.rows.is_empty() {
        y
    } else {
        y - ROW_GAP
    };
    (areas, widest + 2.0 * MARGIN, height + MARGIN)
}

fn size(outline: &Outline, stop: Stop) -> Area {
    let Stop::Box(index) = stop else {
        return Area {
            width: BEND,
            ..Area::default()
        };
    };
    let lines = lines(&outline.boxes[index]);
    let longest = lines.iter().map(|line| line.chars().count()).max();
    Area {
        width: longest.unwrap_or(0) as f64 * LETTER + 2.0 * PADDING,
        height: lines.len() as f64 * LINE_HEIGHT + 2.0 * PADDING,
        ..Area::default()
    }
}

/// What stands in a box.
fn lines(shape: &Shape) -> Vec<String> {
    std::iter::once(&shape.name)
        .chain(&shape.details)
        .map(|line| short(line))
        .collect()
}

fn short(line: &str) -> String {
    match line.chars().count() > MAX_LETTERS {
        true => line.chars().take(MAX_LETTERS - 1).chain(['…']).collect(),
        false => line.to_owned(),
    }
}

fn figure(shape: &Shape, area: &Area) -> String {
    let (class, radius) = match shape.kind {
        Kind::Service => ("service", 6.0),
        Kind::Network => ("network", area.height / 2.0),
        Kind::Volume => ("volume", 0.0),
    };
    let Area {
        x,
        y,
        width,
        height,
    } = area;
    let mut text = format!(
        "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"{radius:.1}\"/>\n"
    );
    for (index, line) in lines(shape).iter().enumerate() {
        let class = if index == 0 { " class=\"name\"" } else { "" };
        let y = y + PADDING + LINE_HEIGHT * index as f64 + 13.0;
        text += &format!(
            "<text{class} x=\"{:.1}\" y=\"{y:.1}\" text-anchor=\"middle\">{}</text>\n",
            x + width / 2.0,
            escaped(line)
        );
    }
    text
}

/// A smooth line through the stops of its way: down from one, down into the next.
fn curve(line: &Line, way: &[usize], areas: &[Area]) -> String {
    let class = match &line.link {
        Link::Needs { required: true, .. } => "needs",
        Link::Needs { .. } => "needs optional",
        Link::Joins => "joins",
        Link::Mounts { .. } => "mounts",
    };
    let mut data = String::new();
    for pair in way.windows(2) {
        let (from, to) = (&areas[pair[0]], &areas[pair[1]]);
        let (x1, y1) = (from.x + from.width / 2.0, from.y + from.height);
        let (x2, y2) = (to.x + to.width / 2.0, to.y);
        let middle = (y1 + y2) / 2.0;
        if data.is_empty() {
            data = format!("M{x1:.1} {y1:.1}");
        }
        data += &format!("C{x1:.1} {middle:.1} {x2:.1} {middle:.1} {x2:.1} {y2:.1}");
    }
    format!("<path class=\"{class}\" d=\"{data}\"/>\n")
}

/// The words of a line, where its first piece is half-way.
fn label(line: &Line, way: &[usize], areas: &[Area]) -> String {
    let words = line.link.label();
    let (Some(from), Some(to)) = (way.first(), way.get(1)) else {
        return String::new();
    };
    if words.is_empty() {
        return words;
    }
    let (from, to) = (&areas[*from], &areas[*to]);
    let x = (from.x + from.width / 2.0 + to.x + to.width / 2.0) / 2.0;
    let y = (from.y + from.height + to.y) / 2.0;
    format!(
        "<text class=\"label\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\n",
        x + 4.0,
        y + 4.0,
        escaped(&short(&words))
    )
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML 1.0 knows no other control characters.
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
