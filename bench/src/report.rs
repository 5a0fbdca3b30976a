//! What a run found: tables for people, the same as JSON for programs, a page to show, and whether it can be trusted.

mod figures;
mod glossary;
mod goal;
mod page;
mod plot;
mod scale;
mod table;

use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Map, Value as Json, json};

pub(crate) use figures::{bytes, median, ms, quantile_ms, rounded, shown};
pub(crate) use goal::{Bound, Goal, Measured};
pub(crate) use plot::{Moments, Plot, Series};
use table::Table;

/// Everything a run found.
#[derive(Debug)]
pub(crate) struct Report {
    environment: Json,
    headlines: Vec<Headline>,
    goals: Vec<Goal>,
    chapters: Vec<Chapter>,
    /// Why the result cannot be trusted.
    problems: Vec<String>,
    /// What a reader should know, though it does not spoil the result.
    notes: Vec<String>,
    /// Whether only the server's conduct is judged, not the figures.
    checks_only: bool,
}

/// A figure that a reader should see first.
#[derive(Debug)]
struct Headline {
    figure: String,
    what: String,
    beside: String,
}

/// What belongs to one question.
#[derive(Debug)]
struct Chapter {
    title: String,
    table: Table,
    plots: Vec<Plot>,
}

impl Report {
    /// Nothing found yet, on this host.
    pub(crate) fn new(environment: Json, checks_only: bool) -> Self {
        Self {
            environment,
            headlines: Vec::new(),
            goals: Vec::new(),
            chapters: Vec::new(),
            problems: Vec::new(),
            notes: Vec::new(),
            checks_only,
        }
    }

    /// Adds a row of named figures to the table of this title.
    pub(crate) fn row(&mut self, title: &str, figures: Json) {
        let Json::Object(row) = figures else {
            unreachable!("rows are objects: {figures}")
        };
        self.chapter(title).table.rows.push(row);
    }

    /// Adds a plot beside the table of this title; one without a line is left out.
    pub(crate) fn plot(&mut self, title: &str, plot: Plot) {
        if !plot.is_empty() {
            self.chapter(title).plots.push(plot);
        }
    }

    /// Puts a figure where a reader sees it first, with what it stands beside.
    pub(crate) fn headline(&mut self, figure: String, what: String, beside: String) {
        self.headlines.push(Headline {
            figure,
            what,
            beside,
        });
    }

    /// Adds a number to reach, and what was reached.
    pub(crate) fn goal(&mut self, goal: Goal) {
        self.goals.push(goal);
    }

    /// Says why the result cannot be trusted: the server did wrong.
    pub(crate) fn problem(&mut self, problem: String) {
        eprintln!("invalid: {problem}");
        self.problems.push(problem);
    }

    /// Says why the figures cannot be trusted, though the server did right.
    pub(crate) fn doubt(&mut self, doubt: String) {
        if self.checks_only {
            self.note(doubt);
        } else {
            self.problem(doubt);
        }
    }

    /// Says what a reader should know.
    pub(crate) fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            eprintln!("note: {note}");
            self.notes.push(note);
        }
    }

    /// Adds what is only known at the end.
    pub(crate) fn fact(&mut self, name: &str, fact: Json) {
        self.environment[name] = fact;
    }

    /// Whether nothing speaks against the result.
    pub(crate) fn is_valid(&self) -> bool {
        self.problems.is_empty()
    }

    /// A figure of the last row in the table of this title that has these values.
    pub(crate) fn figure(&self, title: &str, of: &[(&str, Json)], name: &str) -> Option<f64> {
        self.figures(title, of, name).pop()
    }

    /// A figure of all such rows.
    pub(crate) fn figures(&self, title: &str, of: &[(&str, Json)], name: &str) -> Vec<f64> {
        let chapters = self.chapters.iter();
        let rows = chapters
            .filter(|chapter| chapter.title == title)
            .flat_map(|chapter| &chapter.table.rows);
        let rows = rows.filter(|row| {
            of.iter()
                .all(|(column, value)| row.get(*column) == Some(value))
        });
        rows.filter_map(|row| row.get(name)?.as_f64()).collect()
    }

    fn chapter(&mut self, title: &str) -> &mut Chapter {
        let place = self
            .chapters
            .iter()
            .position(|chapter| chapter.title == title);
        let place = place.unwrap_or_else(|| {
            self.chapters.push(Chapter {
                title: title.to_owned(),
                table: Table::default(),
                plots: Vec::new(),
            });
            self.chapters.len() - 1
        });
        &mut self.chapters[place]
    }

    /// Prints everything for people.
    pub(crate) fn print(&self) {
        if let Json::Object(facts) = &self.environment {
            facts
                .iter()
                .for_each(|(name, fact)| println!("{name}: {}", table::shown(fact)));
        }
        for chapter in &self.chapters {
            println!("\n{}", chapter.title);
            chapter.table.print();
        }
        if !self.goals.is_empty() {
            println!("\nnumbers to reach");
            self.goals_table().print();
        }
        for note in &self.notes {
            println!("note: {note}");
        }
        for problem in &self.problems {
            println!("INVALID: {problem}");
        }
    }

    fn goals_table(&self) -> Table {
        let rows = self.goals.iter().map(Goal::row).collect();
        Table { rows }
    }

    /// Writes everything for programs.
    pub(crate) fn write_json(&self, path: &Path) -> io::Result<()> {
        let tables: Map<_, _> = self
            .chapters
            .iter()
            .map(|chapter| (chapter.title.clone(), json!(chapter.table.rows)))
            .collect();
        let all = json!({
            "valid": self.is_valid(),
            "environment": self.environment,
            "goals": self.goals_table().rows,
            "results": tables,
            "problems": self.problems,
            "notes": self.notes,
        });
        fs::write(path, format!("{all:#}\n"))
    }

    /// Writes everything as one page that needs nothing else.
    pub(crate) fn write_html(&self, path: &Path) -> io::Result<()> {
        fs::write(path, page::page(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_title_make_one_table() {
        let mut report = Report::new(json!({}), false);

        report.row("fanout", json!({"n": 1, "ms": 5.0}));
        report.row("fanout", json!({"n": 2, "ms": 7.0}));

        assert_eq!(report.chapters.len(), 1);
        assert_eq!(report.figure("fanout", &[("n", json!(2))], "ms"), Some(7.0));
        assert_eq!(report.figure("fanout", &[("n", json!(3))], "ms"), None);
        assert!(report.is_valid());
    }

    #[test]
    fn a_doubt_spoils_figures_but_not_a_check() {
        let (mut figures, mut check) =
            (Report::new(json!({}), false), Report::new(json!({}), true));

        figures.doubt("the client was the limit".to_owned());
        check.doubt("the client was the limit".to_owned());

        assert!(!figures.is_valid());
        assert!(check.is_valid());
    }
}
