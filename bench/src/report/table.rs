//! Rows of named figures.

use serde_json::{Map, Value as Json};

/// Rows of one kind; the columns are those of the first.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) rows: Vec<Map<String, Json>>,
}

impl Table {
    /// Prints the table in aligned columns.
    pub(super) fn print(&self) {
        let mut lines = vec![self.columns().map(str::to_owned).collect::<Vec<_>>()];
        for row in &self.rows {
            lines.push(
                self.columns()
                    .map(|name| row.get(name).map_or_else(String::new, shown))
                    .collect(),
            );
        }
        let widths: Vec<_> = (0..lines[0].len())
            .map(|column| {
                lines
                    .iter()
                    .map(|line| line[column].chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        for line in lines {
            let cells = line
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:>width$}"));
            println!("{}", cells.collect::<Vec<_>>().join("  "));
        }
    }

    /// The names of its columns.
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        self.rows
            .first()
            .into_iter()
            .flat_map(|row| row.keys().map(String::as_str))
    }
}

/// A value as text.
pub(super) fn shown(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Null => "-".to_owned(),
        other => other.to_string(),
    }
}
