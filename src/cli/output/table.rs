//! Tables.

use std::io;

use comfy_table::{ContentArrangement, Table, presets};

use super::terminal;

/// Columns side by side, as wide as their widest cell. On a terminal that is too narrow for that, cells are broken into
/// lines.
pub(in crate::cli) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    within(header, rows, terminal::width(&io::stdout()))
}

fn within(header: &[&str], rows: &[Vec<String>], width: Option<usize>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().map(|cell| cell.to_uppercase()));
    if let Some(width) = width.and_then(|width| u16::try_from(width).ok()) {
        // the first column of blanks is taken away below
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width.saturating_add(1));
    }
    for row in rows {
        table.add_row(row);
    }
    let lines: Vec<_> =
        table.lines().map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned()).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_fits_the_terminal() {
        let cell = |text: &str| text.to_owned();
        let rows = [
            vec![
                cell("shop"),
                cell("running"),
                cell("s3 9000, console 9001, kes 7373"),
                cell("/home/me/shop/kestack.yaml"),
            ],
            vec![cell("blog"), cell("down"), cell("-"), cell("/home/me/a/folder/with/a/long/name/kestack.yaml")],
        ];
        let header = ["name", "state", "ports", "manifest"];
        for width in [30, 40, 60, 80] {
            let text = within(&header, &rows, Some(width));
            assert!(text.lines().all(|line| line.chars().count() <= width), "{width}:\n{text}");
        }
        assert_eq!(within(&header, &rows, None).lines().count(), 3);
    }
}
