//! A number to reach, what was measured, and whether it was reached.

use serde_json::{Map, Value as Json, json};

use super::figures::shown;

/// One line of the table of numbers to reach.
#[derive(Debug)]
pub(crate) struct Goal {
    /// What is measured.
    pub(crate) measure: &'static str,
    /// What came out.
    pub(crate) measured: Measured,
    /// Stands behind the figures.
    pub(crate) unit: &'static str,
    /// What must be reached.
    pub(crate) must: Option<Bound>,
    /// What would be better still.
    pub(crate) stretch: Option<Bound>,
}

/// What came out.
#[derive(Debug)]
pub(crate) enum Measured {
    /// This number.
    Figure(f64),
    /// Nothing, because what it needs is not installed.
    Missing(String),
    /// Nothing, because this host cannot tell.
    NotHere(String),
}

/// A side on which a figure must lie.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    /// Not above it.
    AtMost(f64),
    /// Not below it.
    AtLeast(f64),
}

impl Bound {
    fn holds(self, figure: f64) -> bool {
        match self {
            Self::AtMost(bound) => figure <= bound,
            Self::AtLeast(bound) => figure >= bound,
        }
    }

    fn shown(self, unit: &str) -> String {
        match self {
            Self::AtMost(bound) => format!("≤ {}{unit}", shown(bound)),
            Self::AtLeast(bound) => format!("≥ {}{unit}", shown(bound)),
        }
    }
}

impl Goal {
    /// What was reached, in a word.
    pub(super) fn met(&self) -> &'static str {
        let figure = match self.measured {
            Measured::Figure(figure) => figure,
            Measured::Missing(_) => return "missing",
            Measured::NotHere(_) => return "not here",
        };
        let reached = |bound: Option<Bound>| bound.is_some_and(|bound| bound.holds(figure));
        if reached(self.stretch) {
            "stretch"
        } else if reached(self.must) {
            "must"
        } else if self.must.is_none() {
            "not yet"
        } else {
            "no"
        }
    }

    /// As a row of a table.
    pub(super) fn row(&self) -> Map<String, Json> {
        let measured = match &self.measured {
            Measured::Figure(figure) => format!("{}{}", shown(*figure), self.unit),
            Measured::Missing(why) | Measured::NotHere(why) => why.clone(),
        };
        let bound = |bound: Option<Bound>| {
            bound.map_or_else(|| "-".to_owned(), |bound| bound.shown(self.unit))
        };
        let row = json!({
            "measure": self.measure,
            "measured": measured,
            "must": bound(self.must),
            "stretch": bound(self.stretch),
            "met": self.met(),
        });
        match row {
            Json::Object(row) => row,
            other => unreachable!("written as an object: {other}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(measured: Measured) -> &'static str {
        let goal = Goal {
            measure: "time against a yardstick",
            measured,
            unit: "x",
            must: Some(Bound::AtMost(1.5)),
            stretch: Some(Bound::AtMost(1.25)),
        };
        goal.met()
    }

    #[test]
    fn a_goal_says_how_far_it_was_reached() {
        assert_eq!(met(Measured::Figure(1.2)), "stretch");
        assert_eq!(met(Measured::Figure(1.5)), "must");
        assert_eq!(met(Measured::Figure(1.51)), "no");
        assert_eq!(met(Measured::Figure(f64::NAN)), "no");
        assert_eq!(met(Measured::Missing("redis".to_owned())), "missing");
    }
}
