//! Medians and spreads. Nothing cleverer: five runs bear no more.

use std::fmt;

/// The median of several runs and how far they lay apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Spread {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let middle = values.len() / 2;
        let median =
            if values.len().is_multiple_of(2) { (at(middle.saturating_sub(1)) + at(middle)) / 2.0 } else { at(middle) };
        Spread { median, low: at(0), high: at(values.len().saturating_sub(1)) }
    }
}

/// Digits that tell runs apart and no more.
fn digits(value: f64) -> usize {
    match value.abs() {
        value if value >= 1000.0 => 0,
        value if value >= 100.0 => 1,
        _ => 2,
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.median.is_nan() {
            return formatter.write_str("-");
        }
        let digits = digits(self.median);
        write!(formatter, "{:.digits$} ({:.digits$}-{:.digits$})", self.median, self.low, self.high)
    }
}

/// The value below which `share` of `values` lie; sorts them.
pub(crate) fn percentile(values: &mut [u32], share: f64) -> f64 {
    values.sort_unstable();
    let index = (values.len() as f64 * share) as usize;
    values.get(index.min(values.len().saturating_sub(1))).map_or(f64::NAN, |value| f64::from(*value))
}

#[cfg(test)]
mod tests {
    use crate::stats::{Spread, percentile};

    #[test]
    fn the_median_is_the_middle_of_the_runs() {
        let spread = Spread::of([3.0, 1.0, 2.0]);
        assert_eq!((spread.median, spread.low, spread.high), (2.0, 1.0, 3.0));
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(Spread::of([1.5, 1.25]).to_string(), "1.38 (1.25-1.50)");
        assert_eq!(Spread::of([f64::NAN]).to_string(), "-");
    }

    #[test]
    fn a_percentile_of_nothing_is_not_a_number() {
        assert!(percentile(&mut [], 0.5).is_nan());
        assert_eq!(percentile(&mut [5, 1, 9], 0.99), 9.0);
    }
}
