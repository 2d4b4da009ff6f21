//! Tables that are read in a terminal and kept as Markdown.

use comfy_table::{CellAlignment, Table, presets};

/// A table with this header; the first columns are words, the others are numbers.
pub(super) fn table(header: &[&str], words: usize) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(header);
    for column in table.column_iter_mut().skip(words) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
