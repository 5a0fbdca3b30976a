//! The page: what a colleague should see first, then everything, in one file that needs no network and no script.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value as Json;

use super::figures::shown;
use super::glossary::{GLOSSARY, meaning};
use super::table::{self, Table};
use super::{Chapter, Goal, Headline, Measured, Report};

const STYLE: &str = include_str!("page.css");
/// Colours that the style sheet has for servers that are neither the product nor a yardstick.
const COLOURS: usize = 7;

/// The whole page.
pub(super) fn page(report: &Report) -> String {
    let names = names(report);
    let colour = |name: &str| colour(&names, name);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Rollcall under load" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { "Rollcall under load" }
                    p.subtitle {
                        code { (fact(report, "command")) } br;
                        (fact(report, "date")) " · " (fact(report, "cpu")) " · Linux " (fact(report, "kernel"))
                    }
                    (verdict(report))
                }
                main {
                    (headlines(&report.headlines))
                    (goals(report))
                    @for chapter in &report.chapters { (self::chapter(chapter, &colour)) }
                    (environment(report))
                    (glossary(report))
                }
            }
        }
    };
    page.into_string()
}

fn fact(report: &Report, name: &str) -> String {
    table::shown(&report.environment[name])
}

/// Whether the figures can be trusted, and why not.
fn verdict(report: &Report) -> Markup {
    html! {
        @if report.is_valid() {
            p.verdict.valid {
                "Valid: every push was complete, versions only grew, nothing was refused or cut"
                @if report.checks_only { ". Whether the figures can be trusted was not asked (" code { "--check" } ")." }
                @else { ", and the load generator was not the limit." }
            }
        } @else {
            div.verdict.invalid {
                strong { "Invalid: do not quote these figures." }
                ul { @for problem in &report.problems { li { (problem) } } }
            }
        }
        @if !report.notes.is_empty() {
            div.verdict.noted {
                ul { @for note in &report.notes { li { (note) } } }
            }
        }
    }
}

fn headlines(headlines: &[Headline]) -> Markup {
    html! {
        @if !headlines.is_empty() {
            section.headlines {
                @for headline in headlines {
                    div.card {
                        p.figure { (headline.figure) }
                        p.what { (headline.what) }
                        p.beside { (headline.beside) }
                    }
                }
            }
        }
    }
}

fn goals(report: &Report) -> Markup {
    let met = |goal: &Goal| format!("met {}", goal.met().replace(' ', "-"));
    html! {
        @if !report.goals.is_empty() {
            section {
                h2 { "Numbers to reach" }
                div.wide { table.goals {
                    thead { tr { th { "measure" } th { "measured" } th { "must" } th { "stretch" } th { "met" } } }
                    tbody { @for goal in &report.goals {
                        @let row = goal.row();
                        tr {
                            th { (goal.measure) }
                            td class=(measured(goal)) { (table::shown(&row["measured"])) }
                            td { (table::shown(&row["must"])) }
                            td { (table::shown(&row["stretch"])) }
                            td { span class=(met(goal)) { (goal.met()) } }
                        }
                    } }
                } }
            }
        }
    }
}

/// A figure stands out, a reason why there is none does not.
fn measured(goal: &Goal) -> &'static str {
    match goal.measured {
        Measured::Figure(_) => "figure",
        Measured::Missing(_) | Measured::NotHere(_) => "reason",
    }
}

fn chapter(chapter: &Chapter, colour: &dyn Fn(&str) -> String) -> Markup {
    html! {
        section {
            h2 { (chapter.title) }
            @if !chapter.plots.is_empty() {
                div.plots { @for plot in &chapter.plots { (plot.draw(colour)) } }
            }
            (rows(&chapter.table))
        }
    }
}

fn rows(table: &Table) -> Markup {
    let columns: Vec<_> = table.columns().collect();
    html! {
        div.wide { table.rows {
            thead { tr {
                @for column in &columns {
                    th.text[is_text(table, column)] title=[meaning(column)] { (heading(column)) }
                }
            } }
            tbody { @for row in &table.rows {
                tr {
                    @for column in &columns {
                        @let value = row.get(*column).unwrap_or(&Json::Null);
                        td.text[value.is_string()].list[value.is_array()] { (cell(value)) }
                    }
                }
            } }
        } }
    }
}

/// Whether a column holds words, which begin on the left.
fn is_text(table: &Table, column: &str) -> bool {
    let first = table.rows.first().and_then(|row| row.get(column));
    first.is_some_and(Json::is_string)
}

/// The name of a column or a fact as people write it.
fn heading(name: &str) -> String {
    let words = name.split('_').map(|word| match word {
        "us" => "µs",
        "mib" => "MiB",
        "cpu" => "CPU",
        "cpus" => "CPUs",
        word => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

fn cell(value: &Json) -> String {
    match value {
        Json::Null => "–".to_owned(),
        Json::Number(number) => number.as_f64().map_or_else(|| number.to_string(), shown),
        Json::Array(values) => values.iter().map(cell).collect::<Vec<_>>().join("  "),
        other => table::shown(other),
    }
}

fn environment(report: &Report) -> Markup {
    let facts = report.environment.as_object();
    html! {
        section {
            h2 { "Where this was measured" }
            dl.facts {
                @for (name, fact) in facts.into_iter().flatten() {
                    dt { (heading(name)) }
                    dd { (table::shown(fact)) }
                }
            }
        }
    }
}

/// What the columns on this page mean.
fn glossary(report: &Report) -> Markup {
    let is_here = |name: &str| {
        let tables = report.chapters.iter().map(|chapter| &chapter.table);
        tables.flat_map(Table::columns).any(|column| column == name)
    };
    html! {
        section {
            h2 { "How to read the tables" }
            dl.facts {
                @for (name, meaning) in GLOSSARY.iter().filter(|(name, _)| is_here(name)) {
                    dt { (heading(name)) }
                    dd { (meaning) }
                }
            }
        }
    }
}

/// Everything that is drawn in a colour of its own, in the sequence of its first appearance.
fn names(report: &Report) -> Vec<&str> {
    let plots = report.chapters.iter().flat_map(|chapter| &chapter.plots);
    let mut names = Vec::new();
    for name in plots.flat_map(|plot| plot.names()) {
        if !names.contains(&name) && own_class(name).is_none() {
            names.push(name);
        }
    }
    names
}

/// The class of a series: one name has one colour on the whole page.
fn colour(names: &[&str], name: &str) -> String {
    let place = names.iter().position(|other| *other == name).unwrap_or(0);
    own_class(name).map_or_else(|| format!("series s{}", place % COLOURS), str::to_owned)
}

/// The product stands out, yardsticks stand back.
fn own_class(name: &str) -> Option<&'static str> {
    match name {
        "rollcall" => Some("series product"),
        "floor" => Some("series yardstick dashed"),
        "floor+acks" | "toy" => Some("series yardstick"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_says_what_is_wrong_and_needs_nothing_from_elsewhere() {
        let mut report = Report::new(json!({"kernel": "6.1"}), false);
        report.row("fanout", json!({"server": "rollcall", "p50_ms": 1.5}));
        report.problem("3 <lost> pushes".to_owned());

        let page = page(&report);

        assert!(page.contains("Invalid") && page.contains("3 &lt;lost&gt; pushes"));
        assert!(page.contains("1.5"));
        assert!(
            !page.contains("<script") && !page.contains("http://") && !page.contains("https://")
        );
    }

    #[test]
    fn a_name_keeps_its_colour() {
        assert_eq!(colour(&["redis", "nats"], "nats"), "series s1");
        assert_eq!(colour(&["redis"], "rollcall"), "series product");
    }
}
