//! What a benchmark says: one row for each thing measured, with the ratio that counts.

use causeway::cli::out::table;
use serde::Serialize;

/// Which of two numbers is the better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Seconds, bytes.
    Lower,
    /// Rates, shares.
    Higher,
}

/// What a row has to reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// A ratio to the peer of at least this.
    Ratio(f64),
    /// At most so much, whatever the peer does.
    AtMost(f64),
}

/// Numbers of both sides, taken turn about.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    /// Ours, one a round.
    pub ours: Vec<f64>,
    /// The peer's, one a round; empty without a peer.
    pub peer: Vec<f64>,
}

/// One thing measured.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Its name: what, then how, by slashes.
    pub row: String,
    /// Unit of the numbers.
    pub unit: &'static str,
    /// Which is the better number.
    pub better: Better,
    /// Median of ours.
    pub ours: Option<f64>,
    /// Median of the peer's.
    pub peer: Option<f64>,
    /// Median of the rounds' ratios: 1 or more means no worse than the peer.
    pub ratio: Option<f64>,
    /// Smallest and largest of the rounds' ratios.
    pub spread: Option<(f64, f64)>,
    /// What must be reached, in words.
    pub target: Option<String>,
    /// Whether it was.
    pub met: Option<bool>,
}

impl Row {
    /// Judges samples.
    pub fn new(row: String, unit: &'static str, better: Better, samples: &Samples, target: Option<Target>) -> Self {
        let ratios: Vec<f64> =
            samples.ours.iter().zip(&samples.peer).filter_map(|(o, p)| ratio(*o, *p, better)).collect();
        let (ours, ratio) = (median(&samples.ours), median(&ratios));
        let spread = ratios.iter().copied().reduce(f64::min).zip(ratios.iter().copied().reduce(f64::max));
        let met = match target {
            Some(Target::Ratio(least)) => ratio.map(|ratio| ratio >= least),
            Some(Target::AtMost(most)) => ours.map(|ours| ours <= most),
            None => None,
        };
        let target = target.map(|target| match target {
            Target::Ratio(least) => format!("ratio >= {least}"),
            Target::AtMost(most) => format!("<= {most} {unit}"),
        });
        Self { row, unit, better, ours, peer: median(&samples.peer), ratio, spread, target, met }
    }
}

/// The middle one; the mean of the two in the middle of an even number. None of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2)?;
    let lower = sorted.get((sorted.len() - 1) / 2)?;
    Some((upper + lower) / 2.0)
}

/// How many times better ours is; none where it cannot be said.
pub fn ratio(ours: f64, peer: f64, better: Better) -> Option<f64> {
    let ratio = match better {
        Better::Lower => peer / ours,
        Better::Higher => ours / peer,
    };
    Some(ratio).filter(|ratio| ratio.is_finite())
}

/// All rows of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What was measured against what.
    pub about: String,
    /// What could not be measured, and why.
    pub skipped: Vec<String>,
    /// The rows.
    pub rows: Vec<Row>,
}

impl Report {
    /// For people.
    pub fn lines(&self) -> Vec<String> {
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), short);
        let cells = |row: &Row| {
            let spread = row.spread.map_or_else(String::new, |(low, high)| format!("{}..{}", short(low), short(high)));
            let verdict = match row.met {
                Some(true) => "met",
                Some(false) => "MISSED",
                None => "",
            };
            let target = row.target.clone().unwrap_or_default();
            let numbers = [number(row.ours), number(row.peer), number(row.ratio), spread];
            let texts = [row.unit.to_owned(), target, verdict.to_owned()];
            [row.row.clone()].into_iter().chain(numbers).chain(texts).collect()
        };
        let rows: Vec<Vec<String>> = self.rows.iter().map(cells).collect();
        let mut lines = vec![self.about.clone(), String::new()];
        lines.extend(table(&["row", "ours", "peer", "ratio", "spread", "unit", "target", ""], &rows));
        lines.extend(self.skipped.iter().map(|why| format!("SKIPPED {why}")));
        lines
    }
}

/// Three digits that count.
fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 100.0]), Some(3.0));
    }

    #[test]
    fn a_ratio_of_one_or_more_is_no_worse_whichever_way_better_is() {
        assert_eq!(ratio(1.0, 2.0, Better::Lower), Some(2.0));
        assert_eq!(ratio(1.0, 2.0, Better::Higher), Some(0.5));
        assert_eq!(ratio(0.0, 2.0, Better::Lower), None);
        assert_eq!(ratio(1.0, 0.0, Better::Higher), None);
    }

    #[test]
    fn rounds_are_compared_with_each_other_and_not_with_another_rounds_weather() {
        let samples = Samples { ours: vec![1.0, 10.0, 2.0], peer: vec![2.0, 20.0, 4.0] };
        let row = Row::new("r".into(), "s", Better::Lower, &samples, Some(Target::Ratio(2.0)));
        assert_eq!((row.ours, row.peer, row.ratio), (Some(2.0), Some(4.0), Some(2.0)));
        assert_eq!((row.spread, row.met), (Some((2.0, 2.0)), Some(true)));
        let row = Row::new("r".into(), "s", Better::Lower, &samples, Some(Target::Ratio(2.5)));
        assert_eq!(row.met, Some(false));
        let alone = Samples { ours: vec![31.0], peer: vec![] };
        let row = Row::new("r".into(), "MB", Better::Lower, &alone, Some(Target::AtMost(32.0)));
        assert_eq!((row.ratio, row.met), (None, Some(true)));
    }

    #[test]
    fn the_table_names_what_was_missed_and_what_was_skipped() {
        let samples = Samples { ours: vec![40.0], peer: vec![300.0] };
        let rows = vec![Row::new("rss/rest".into(), "MB", Better::Lower, &samples, Some(Target::AtMost(32.0)))];
        let report = Report { about: "a against b".into(), skipped: vec!["no java".into()], rows };
        let text = report.lines().join("\n");
        for part in ["rss/rest  40.0  300", "7.50", "<= 32 MB", "MISSED", "SKIPPED no java"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }
}
