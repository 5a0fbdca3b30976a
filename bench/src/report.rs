//! What a run found: a table for people, the same as JSON for programs, and whether it can be trusted.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};

/// Everything a run found.
#[derive(Debug)]
pub(crate) struct Report {
    environment: Json,
    tables: Vec<Table>,
    /// Why the result cannot be trusted.
    problems: Vec<String>,
}

/// Rows of one kind.
#[derive(Debug)]
struct Table {
    title: String,
    rows: Vec<Map<String, Json>>,
}

impl Report {
    /// Nothing found yet, on this host.
    pub(crate) fn new(environment: Json) -> Self {
        Self {
            environment,
            tables: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Adds a row of named figures to the table of this title.
    pub(crate) fn row(&mut self, title: &str, figures: Json) {
        let Json::Object(row) = figures else {
            unreachable!("rows are objects: {figures}")
        };
        match self.tables.iter_mut().find(|table| table.title == title) {
            Some(table) => table.rows.push(row),
            None => self.tables.push(Table {
                title: title.to_owned(),
                rows: vec![row],
            }),
        }
    }

    /// Says why the result cannot be trusted.
    pub(crate) fn problem(&mut self, problem: String) {
        eprintln!("invalid: {problem}");
        self.problems.push(problem);
    }

    /// Whether nothing speaks against the result.
    pub(crate) fn is_valid(&self) -> bool {
        self.problems.is_empty()
    }

    /// Prints everything for people.
    pub(crate) fn print(&self) {
        if let Json::Object(facts) = &self.environment {
            facts
                .iter()
                .for_each(|(name, fact)| println!("{name}: {}", shown(fact)));
        }
        for table in &self.tables {
            println!("\n{}", table.title);
            table.print();
        }
        for problem in &self.problems {
            println!("INVALID: {problem}");
        }
    }

    /// Writes everything for programs.
    pub(crate) fn write_json(&self, path: &Path) -> io::Result<()> {
        let tables: Map<_, _> = self
            .tables
            .iter()
            .map(|table| (table.title.clone(), json!(table.rows)))
            .collect();
        let all = json!({
            "environment": self.environment,
            "results": tables,
            "problems": self.problems,
        });
        fs::write(path, format!("{all:#}\n"))
    }
}

impl Table {
    fn print(&self) {
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
                    .map(|line| line[column].len())
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

    fn columns(&self) -> impl Iterator<Item = &str> {
        self.rows
            .first()
            .into_iter()
            .flat_map(|row| row.keys().map(String::as_str))
    }
}

fn shown(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

/// Milliseconds with as many digits as a reader can use.
pub(crate) fn ms(duration: Duration) -> f64 {
    rounded(duration.as_secs_f64() * 1e3)
}

/// Microseconds with as many digits as a reader can use.
pub(crate) fn us(duration: Duration) -> f64 {
    rounded(duration.as_secs_f64() * 1e6)
}

/// Three digits behind the point.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// The middle of some values; zero of none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_does_not_depend_on_the_sequence() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([]), 0.0);
    }

    #[test]
    fn rows_of_one_title_make_one_table() {
        let mut report = Report::new(json!({}));

        report.row("fanout", json!({"n": 1}));
        report.row("fanout", json!({"n": 2}));

        assert_eq!(report.tables.len(), 1);
        assert_eq!(report.tables[0].rows.len(), 2);
        assert!(report.is_valid());
    }
}
