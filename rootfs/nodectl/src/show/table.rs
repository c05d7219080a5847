//! Columns that are as wide as what is in them.

use super::{Mood, Style, plain};

/// Spaces between columns.
const GAP: &str = "  ";

/// One cell.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    mood: Mood,
    right: bool,
}

impl Cell {
    /// Text, left-aligned.
    pub(super) fn text(text: impl AsRef<str>) -> Self {
        Self { text: plain(text.as_ref()), mood: Mood::Neutral, right: false }
    }

    /// A number, right-aligned.
    pub(super) fn number(text: impl AsRef<str>) -> Self {
        Self { right: true, ..Self::text(text) }
    }

    /// The same with a colour.
    pub(super) fn mood(self, mood: Mood) -> Self {
        Self { mood, ..self }
    }
}

/// Rows below a heading; empty without rows.
pub(super) fn table(style: Style, headings: &[Cell], rows: &[Vec<Cell>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let headings: Vec<Cell> =
        headings.iter().map(|cell| cell.clone().mood(Mood::Heading)).collect();
    let all = || std::iter::once(&headings).chain(rows);
    let width = |column: usize| {
        let cells = all().filter_map(|row| row.get(column));
        cells.map(|cell| cell.text.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    all().map(|row| line(style, row, &widths)).collect()
}

fn line(style: Style, row: &[Cell], widths: &[usize]) -> String {
    let mut line = String::new();
    let last = row.iter().rposition(|cell| !cell.text.is_empty()).map_or(0, |at| at + 1);
    for (index, (cell, width)) in row.iter().zip(widths).take(last).enumerate() {
        if index > 0 {
            line.push_str(GAP);
        }
        let padding = " ".repeat(width.saturating_sub(cell.text.chars().count()));
        let painted = style.paint(cell.mood, &cell.text);
        match (cell.right, index + 1 == last) {
            (true, _) => line.extend([padding.as_str(), &painted]),
            (false, true) => line.push_str(&painted),
            (false, false) => line.extend([painted.as_str(), &padding]),
        }
    }
    line.push('\n');
    line
}
