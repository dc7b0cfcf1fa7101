//! Tables as Docker prints them: columns at least ten wide, three spaces between, no borders.

use crate::ui::escape;

/// The narrowest column, with the space after it.
const NARROWEST: usize = 10;
/// The space between two columns.
const GAP: usize = 3;

/// Titles and rows.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with a first row of titles.
    pub(crate) fn new(titles: &[&str]) -> Self {
        Self {
            rows: vec![titles.iter().map(|title| (*title).to_owned()).collect()],
        }
    }

    /// One more row. Cells are foreign text and are escaped.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells = cells.into_iter();
        self.rows
            .push(cells.map(|cell| escape::line(&cell).into_owned()).collect());
    }

    /// The text, a line feed after each row.
    pub(crate) fn render(&self) -> String {
        let widths = self.widths();
        let mut text = String::new();
        for row in &self.rows {
            for (index, cell) in row.iter().enumerate() {
                text.push_str(cell);
                if index + 1 < row.len() {
                    let blanks = widths[index].saturating_sub(cell.chars().count());
                    text.extend(std::iter::repeat_n(' ', blanks));
                }
            }
            text.push('\n');
        }
        text
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let mut widths = vec![NARROWEST; columns];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count() + GAP);
            }
        }
        widths
    }
}

/// The first `width` characters, the last of them an ellipsis when something was cut off.
pub(crate) fn ellipsis(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pads_like_docker() {
        let mut table = Table::new(&["ID", "IMAGE", "NAMES"]);
        table.row(["0123456789ab".into(), "busybox".into(), "web".into()]);
        table.row(["b".into(), "a-longer-image:tag".into(), "x\u{1b}[2J".into()]);
        assert_eq!(
            table.render(),
            "ID             IMAGE                NAMES\n\
             0123456789ab   busybox              web\n\
             b              a-longer-image:tag   x\\u{1b}[2J\n"
        );
    }

    #[test]
    fn cuts_with_an_ellipsis() {
        assert_eq!(ellipsis("\"sleep 100\"", 20), "\"sleep 100\"");
        assert_eq!(ellipsis("abcdefgh", 4), "abc…");
    }
}
