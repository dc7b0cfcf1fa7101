//! Where boxes stand in a drawing: in layers, each below all that point at it, with few crossings.
//!
//! The classic way (Sugiyama): a box is one layer below the lowest that needs it; a line over several
//! layers bends at a point in each; boxes of a layer stand in the order of the middle of their
//! neighbours, looked at downwards and upwards a few times. Networks and volumes are the last layer.

use crate::graph::outline::{Kind, Outline};

/// How often boxes are put in order.
const SWEEPS: usize = 8;
/// How many bends all lines may have together; beyond it lines are straight.
const MAX_BENDS: usize = 20_000;

/// What stands in a layer: a box, or the bend of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    Box(usize),
    Bend,
}

/// Layers from above, and the ways of lines through them.
pub(crate) struct Layers {
    /// All stops; boxes first, with their own index.
    pub(crate) stops: Vec<Stop>,
    /// The indices of stops, from left to right.
    pub(crate) rows: Vec<Vec<usize>>,
    /// The stops of each line, in its direction.
    pub(crate) ways: Vec<Vec<usize>>,
}

impl Layers {
    /// Puts the boxes of an outline into layers.
    pub(crate) fn of(outline: &Outline) -> Self {
        let row_of = rows(outline);
        let count = row_of.iter().max().map_or(0, |row| row + 1);
        let mut layers = Self {
            stops: (0..outline.boxes.len()).map(Stop::Box).collect(),
            rows: vec![Vec::new(); count],
            ways: Vec::new(),
        };
        for (index, row) in row_of.iter().enumerate() {
            layers.rows[*row].push(index);
        }
        let spans = outline
            .lines
            .iter()
            .map(|line| row_of[line.from].abs_diff(row_of[line.to]));
        let bends = spans.map(|span| span.saturating_sub(1)).sum::<usize>() <= MAX_BENDS;
        for line in &outline.lines {
            let (top, bottom) = (row_of[line.from], row_of[line.to]);
            let mut way = vec![line.from];
            for row in (top + 1..bottom).take_while(|_| bends) {
                layers.stops.push(Stop::Bend);
                layers.rows[row].push(layers.stops.len() - 1);
                way.push(layers.stops.len() - 1);
            }
            way.push(line.to);
            layers.ways.push(way);
        }
        layers.arrange();
        layers
    }

    /// Orders each row by the middle of its neighbours above, then below, and again.
    fn arrange(&mut self) {
        let mut above: Vec<Vec<usize>> = vec![Vec::new(); self.stops.len()];
        let mut below = above.clone();
        for way in &self.ways {
            for pair in way.windows(2) {
                above[pair[1]].push(pair[0]);
                below[pair[0]].push(pair[1]);
            }
        }
        let mut place = vec![0.0; self.stops.len()];
        for row in &self.rows {
            note(row, &mut place);
        }
        for sweep in 0..SWEEPS {
            let down = sweep % 2 == 0;
            let neighbours = if down { &above } else { &below };
            for index in 0..self.rows.len() {
                let index = if down {
                    index
                } else {
                    self.rows.len() - 1 - index
                };
                let row = &mut self.rows[index];
                let middle = |stop: usize| {
                    let near = &neighbours[stop];
                    let sum: f64 = near.iter().map(|other| place[*other]).sum();
                    if near.is_empty() {
                        place[stop]
                    } else {
                        sum / near.len() as f64
                    }
                };
                row.sort_by(|a, b| middle(*a).total_cmp(&middle(*b)));
                note(row, &mut place);
            }
        }
    }
}

/// Notes how far to the right each stop of a row is, from 0 to 1.
fn note(row: &[usize], place: &mut [f64]) {
    let width = row.len() as f64;
    for (index, stop) in row.iter().enumerate() {
        place[*stop] = (index as f64 + 0.5) / width;
    }
}

/// The row of each box: the longest way to it from a service that nobody needs.
fn rows(outline: &Outline) -> Vec<usize> {
    let count = outline.boxes.len();
    let mut row = vec![0; count];
    let mut waiting = vec![0_usize; count];
    let mut next: Vec<Vec<usize>> = vec![Vec::new(); count];
    for line in &outline.lines {
        next[line.from].push(line.to);
        waiting[line.to] += 1;
    }
    let mut ready: Vec<usize> = (0..count).filter(|index| waiting[*index] == 0).collect();
    while let Some(index) = ready.pop() {
        for to in &next[index] {
            row[*to] = row[*to].max(row[index] + 1);
            waiting[*to] -= 1;
            if waiting[*to] == 0 {
                ready.push(*to);
            }
        }
    }
    let services = outline.of_kind(Kind::Service).map(|(index, _)| row[index]);
    let last = services.max().map_or(0, |row| row + 1);
    for (index, shape) in outline.boxes.iter().enumerate() {
        if shape.kind != Kind::Service {
            row[index] = last;
        }
    }
    row
}
