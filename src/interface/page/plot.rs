//! Plots of the last ten minutes, as paths of SVG.

use std::fmt::Write as _;

use serde::Serialize;

/// Size of the area of a plot, and where it begins.
const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 90.0;
const LEFT: f64 = 36.0;
const TOP: f64 = 12.0;

/// One plot.
#[derive(Debug, Serialize)]
pub(super) struct Plot {
    title: &'static str,
    /// What the last slot says.
    now: String,
    tone: &'static str,
    top: String,
    area: String,
    curves: Vec<String>,
    words: String,
}

impl Plot {
    /// The curves of these series, the first of which is filled; `unit` follows the numbers.
    pub(super) fn new(title: &'static str, tone: &'static str, unit: &str, series: &[(&str, Vec<f64>)]) -> Self {
        let highest = series.iter().flat_map(|(_, values)| values.iter().copied()).fold(0.0, f64::max);
        let top = round_up(highest);
        let curves: Vec<_> = series.iter().map(|(_, values)| curve(values, top)).collect();
        let area = curves.first().map(|curve| format!("{curve}V{bottom}H{LEFT}Z", bottom = TOP + HEIGHT));
        let last = |values: &Vec<f64>| values.iter().rev().nth(1).copied().unwrap_or_default();
        let now = series.iter().map(|(name, values)| format!("{name}{}{unit}", shown(last(values))));
        let now = now.collect::<Vec<_>>().join(" · ");
        let words = format!("{title}: now {now}; at most {}{unit} in the last ten minutes", shown(highest));
        Self { title, now, tone, top: shown(top), area: area.unwrap_or_default(), curves, words }
    }
}

fn curve(values: &[f64], top: f64) -> String {
    let step = WIDTH / f64::from(u32::try_from(values.len().saturating_sub(1)).unwrap_or(1).max(1));
    let (mut path, mut x) = (String::new(), LEFT);
    for value in values {
        let y = TOP + HEIGHT - value / top * HEIGHT;
        let _ = write!(path, "{}{x:.1} {y:.1}", if path.is_empty() { 'M' } else { 'L' });
        x += step;
    }
    path
}

/// The next of 1, 2, 5, 10, …, so that the axis does not jump with each value.
fn round_up(value: f64) -> f64 {
    let mut top = 1.0;
    for factor in [2.0, 2.5, 2.0].into_iter().cycle().take(30) {
        if value <= top {
            break;
        }
        top *= factor;
    }
    top
}

fn shown(value: f64) -> String {
    match value {
        value if value == 0.0 || value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}").trim_end_matches(".0").to_owned(),
        value => format!("{value:.2}").trim_end_matches('0').trim_end_matches('.').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_stay_within_their_area() {
        let plot = Plot::new("Requests", "", "/s", &[("", vec![0.0, 7.0, 3.0])]);
        assert_eq!(plot.top, "10");
        assert_eq!(plot.curves, ["M36.0 102.0L196.0 39.0L356.0 75.0"]);
        assert_eq!(plot.area, "M36.0 102.0L196.0 39.0L356.0 75.0V102H36Z");
        assert_eq!(plot.now, "7/s", "the slot that is complete");
        let none = Plot::new("Requests", "", "", &[("", vec![0.0; 120])]);
        assert!(none.top == "1" && !none.area.contains("NaN"), "{none:?}");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([0.0, 0.25, 3.5, 12.34, 1234.6].map(shown), ["0", "0.25", "3.5", "12.3", "1235"]);
    }
}
