use serde::Serialize;
use serde_json::{Map, Value};

use crate::number::readable;
use crate::stats::Spread;

/// Problems that are told one by one.
const PROBLEMS_MAX: usize = 20;

/// What was measured, and whether it may be believed.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The subcommand.
    figure: &'static str,
    /// No problems: what was published was there, once and in order, and every request was answered as it should be.
    honest: bool,
    /// Whether the conditions are those for which the targets were set.
    counts: bool,
    settings: Map<String, Value>,
    rows: Vec<Row>,
    targets: Vec<Target>,
    notes: Vec<String>,
    /// The first [`PROBLEMS_MAX`] of them.
    problems: Vec<String>,
}

/// One figure of one thing that was measured.
#[derive(Debug, Serialize)]
struct Row {
    what: String,
    figure: &'static str,
    unit: &'static str,
    /// The median, where there are several.
    value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<f64>,
}

/// A figure that is to be reached.
#[derive(Debug, Serialize)]
struct Target {
    name: String,
    /// None: it was not measured.
    value: Option<f64>,
    unit: &'static str,
    bound: String,
    result: Verdict,
}

/// What a figure must be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
    Below(f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    Pass,
    Miss,
    /// Measured under conditions under which it says nothing, or not honestly.
    DoesNotCount,
}

impl Report {
    pub(crate) fn new(figure: &'static str) -> Report {
        Report {
            figure,
            honest: true,
            counts: true,
            settings: Map::new(),
            rows: Vec::new(),
            targets: Vec::new(),
            notes: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Under which conditions it was measured.
    pub(crate) fn setting(&mut self, name: &str, value: impl Into<Value>) {
        self.settings.insert(name.to_owned(), value.into());
    }

    /// A figure that was measured once.
    pub(crate) fn value(&mut self, what: &str, figure: &'static str, unit: &'static str, value: f64) {
        self.rows.push(Row { what: what.to_owned(), figure, unit, value, min: None, max: None });
    }

    /// A figure that was measured several times; nothing if it was not.
    pub(crate) fn values(
        &mut self,
        what: &str,
        figure: &'static str,
        unit: &'static str,
        values: impl IntoIterator<Item = f64>,
    ) -> Option<f64> {
        let Spread { median, min, max } = Spread::of(values)?;
        let (min, max) = (Some(min), Some(max));
        self.rows.push(Row { what: what.to_owned(), figure, unit, value: median, min, max });
        Some(median)
    }

    /// Compares with what is to be reached. What was to be measured and was not says so, and then nothing counts.
    pub(crate) fn target(&mut self, name: &str, value: impl Into<Option<f64>>, unit: &'static str, bound: Bound) {
        let measured = value.into();
        if measured.is_none() {
            self.does_not_count(format!("not measured: {name}"));
        }
        let value = measured.unwrap_or(f64::NAN);
        let (met, bound) = match bound {
            Bound::AtLeast(least) => (value >= least, format!(">= {least}")),
            Bound::AtMost(most) => (value <= most, format!("<= {most}")),
            Bound::Below(most) => (value < most, format!("< {most}")),
        };
        let result = match (self.counts && self.honest, met) {
            (false, _) => Verdict::DoesNotCount,
            (true, true) => Verdict::Pass,
            (true, false) => Verdict::Miss,
        };
        self.targets.push(Target { name: name.to_owned(), value: measured, unit, bound, result });
    }

    /// What was compared under this name says nothing; everything else in the report counts.
    pub(crate) fn target_does_not_count(&mut self, name: &str, why: &str) {
        self.note(format!("{name}: {why}"));
        let of_name = self.targets.iter_mut().filter(|target| target.name == name);
        of_name.for_each(|target| target.result = Verdict::DoesNotCount);
    }

    /// What was compared under this name can only have come out worse than it is: a miss says nothing, and a pass counts.
    pub(crate) fn miss_does_not_count(&mut self, name: &str, why: &str) {
        if self.targets.iter().any(|target| target.name == name && target.result == Verdict::Miss) {
            self.target_does_not_count(name, why);
        }
    }

    /// What a reader of the figures should know: said once, however often it is found.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    /// The conditions are not those for which the targets were set.
    pub(crate) fn does_not_count(&mut self, why: impl Into<String>) {
        self.note(why);
        self.counts = false;
        self.targets.iter_mut().for_each(|target| target.result = Verdict::DoesNotCount);
    }

    /// Something was lost, doubled, out of order, or not answered as it should be: nothing in this report counts.
    pub(crate) fn problem(&mut self, text: impl Into<String>) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(text.into());
        }
        self.honest = false;
        self.targets.iter_mut().for_each(|target| target.result = Verdict::DoesNotCount);
    }

    pub(crate) fn is_honest(&self) -> bool {
        self.honest
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers, texts and keys of text have a JSON")
    }

    pub(crate) fn to_table(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.settings {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            text.push_str(&format!("{name:16} {value}\n"));
        }
        if !self.rows.is_empty() {
            let rows = self.rows.iter().map(|row| {
                let optional = |value: Option<f64>| value.map(readable).unwrap_or_default();
                let separator = if row.unit.is_empty() { "" } else { ", " };
                let figure = format!("{}{separator}{}", row.figure, row.unit);
                [row.what.clone(), figure, readable(row.value), optional(row.min), optional(row.max)]
            });
            let head = ["what", "figure", "median", "min", "max"].map(str::to_owned);
            text.push_str(&table(&std::iter::once(head).chain(rows).collect::<Vec<_>>(), 2));
        }
        if !self.targets.is_empty() {
            let rows = self.targets.iter().map(|target| {
                let value = target.value.map_or_else(|| "not measured".to_owned(), readable);
                let bound = target.bound.clone();
                [target.name.clone(), bound, value, target.unit.to_owned(), target.result.in_words().to_owned()]
            });
            let head = ["target", "bound", "measured", "unit", "result"].map(str::to_owned);
            text.push_str(&table(&std::iter::once(head).chain(rows).collect::<Vec<_>>(), 1));
        }
        let told = self.notes.iter().map(|note| ("note", note));
        for (kind, line) in told.chain(self.problems.iter().map(|problem| ("NOT HONEST", problem))) {
            text.push_str(&format!("{kind}: {line}\n"));
        }
        text
    }
}

impl Verdict {
    fn in_words(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Miss => "MISS",
            Verdict::DoesNotCount => "does not count",
        }
    }
}

/// Columns as wide as they must be: the first `left` of them to the left, the others to the right.
fn table<const N: usize>(rows: &[[String; N]], left: usize) -> String {
    let widths: [usize; N] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default());
    let mut text = String::from("\n");
    for row in rows {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
            if column < left { format!("{cell:width$}") } else { format!("{cell:>width$}") }
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(report: &Report) -> Vec<Verdict> {
        report.targets.iter().map(|target| target.result).collect()
    }

    #[test]
    fn targets_are_judged() {
        let mut report = Report::new("x");
        report.target("a", 0.75, "", Bound::AtLeast(0.75));
        report.target("b", 0.74, "", Bound::AtLeast(0.75));
        report.target("c", 50.0, "ms", Bound::Below(50.0));
        report.target("d", 49.0, "ms", Bound::Below(50.0));
        report.target("e", 50.0, "ms", Bound::AtMost(50.0));
        report.target("f", 50.1, "ms", Bound::AtMost(50.0));
        let all = [Verdict::Pass, Verdict::Miss, Verdict::Miss, Verdict::Pass, Verdict::Pass, Verdict::Miss];
        assert_eq!(results(&report), all);
        assert!(report.is_honest());
    }

    #[test]
    fn under_other_conditions_no_target_counts() {
        let mut report = Report::new("x");
        report.target("before", 1.0, "", Bound::AtLeast(0.0));
        report.does_not_count("the log is small");
        report.target("after", 1.0, "", Bound::AtLeast(0.0));
        assert_eq!(results(&report), [Verdict::DoesNotCount; 2]);
        assert!(report.is_honest());
        assert!(report.to_table().ends_with("note: the log is small\n"), "{}", report.to_table());
    }

    #[test]
    fn what_can_only_be_worse_counts_where_it_passes() {
        let mut report = Report::new("x");
        report.target("share", 0.99, "", Bound::AtLeast(0.98));
        report.target("p99", 170.0, "ms", Bound::AtMost(150.0));
        report.target("of another row", 170.0, "ms", Bound::AtMost(150.0));
        ["share", "p99"].iter().for_each(|name| report.miss_does_not_count(name, "the core was full"));
        assert_eq!(results(&report), [Verdict::Pass, Verdict::DoesNotCount, Verdict::Miss]);
        assert!(report.counts && report.to_table().ends_with("\nnote: p99: the core was full\n"));
    }

    #[test]
    fn notes_are_told_once() {
        let mut report = Report::new("x");
        ["it may do more", "it may do more", "another"].iter().for_each(|&note| report.note(note));
        assert_eq!(report.notes, ["it may do more", "another"]);
    }

    #[test]
    fn what_was_not_measured_is_told_and_nothing_counts() {
        let mut report = Report::new("x");
        report.target("memory", 1.0, "B", Bound::AtLeast(0.0));
        report.target("CPU", None, "ratio", Bound::AtMost(1.0));
        assert_eq!(results(&report), [Verdict::DoesNotCount; 2]);
        let table = report.to_table();
        assert!(table.contains("not measured") && table.ends_with("note: not measured: CPU\n"), "{table}");
        let json: Value = serde_json::from_str(&report.to_json()).expect("it is JSON");
        assert_eq!((&json["targets"][1]["value"], &json["counts"]), (&Value::Null, &Value::Bool(false)));
    }

    #[test]
    fn with_a_problem_nothing_counts() {
        let mut report = Report::new("x");
        report.target("before", 1.0, "", Bound::AtLeast(0.0));
        report.problem("one event is lost");
        report.target("after", 1.0, "", Bound::AtLeast(0.0));
        assert_eq!(results(&report), [Verdict::DoesNotCount; 2]);
        assert!(!report.is_honest());
        assert!(report.to_table().ends_with("NOT HONEST: one event is lost\n"), "{}", report.to_table());
        (0..2 * PROBLEMS_MAX).for_each(|_| report.problem("another one"));
        assert_eq!(report.problems.len(), PROBLEMS_MAX);
    }

    #[test]
    fn json_and_table_say_the_same() {
        let mut report = Report::new("publish");
        report.setting("publishers", 64);
        assert_eq!(report.values("hub", "events", "1/s", [1_000.0, 3_000.0, 2_000.0]), Some(2_000.0));
        assert_eq!(report.values("hub", "nothing", "1/s", []), None);
        report.value("hub", "max", "ms", 1.5);
        let json: Value = serde_json::from_str(&report.to_json()).expect("it is JSON");
        assert_eq!(json["honest"], true);
        assert_eq!(json["settings"]["publishers"], 64);
        assert_eq!(json["rows"][0]["value"], 2_000.0);
        assert_eq!(json["rows"][0]["max"], 3_000.0);
        assert_eq!(json["rows"][1].get("max"), None);
        let table = "publishers       64\n\nwhat  figure       median    min    max\n\
                     hub   events, 1/s   2,000  1,000  3,000\nhub   max, ms        1.50\n";
        assert_eq!(report.to_table(), table);
    }
}
