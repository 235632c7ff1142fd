//! Numbers for people.

use std::time::Duration;

/// Microseconds as milliseconds.
pub(super) fn milliseconds(us: u64) -> f64 {
    Duration::from_micros(us).as_secs_f64() * 1e3
}

/// A count as a number to calculate with; exact up to 2^32, the largest that a bench meets.
pub(super) fn number(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}

/// Middle of some numbers, and the least and the greatest.
pub(super) fn median(values: &[f64]) -> Option<(f64, f64, f64)> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2)?;
    let lower = sorted.get((sorted.len() - 1) / 2)?;
    Some(((lower + upper) / 2.0, *sorted.first()?, *sorted.last()?))
}

/// Medians of a figure by who had it, as `who median (least-greatest)`, with the first ones as the measure of the others.
pub(super) fn compared<'a, T: 'a>(
    runs: impl Iterator<Item = &'a T>,
    who: impl Fn(&T) -> &'static str,
    figure: impl Fn(&T) -> f64,
) -> String {
    let mut all: Vec<(&'static str, Vec<f64>)> = Vec::new();
    for run in runs {
        match all.iter_mut().find(|(name, _)| *name == who(run)) {
            Some((_, values)) => values.push(figure(run)),
            None => all.push((who(run), vec![figure(run)])),
        }
    }
    let base = all.first().and_then(|(_, values)| median(values)).map_or(1.0, |(middle, ..)| middle);
    let line = |(name, values): &(&str, Vec<f64>)| {
        median(values)
            .map(|(middle, least, most)| format!("{name} {middle:.2} ({least:.2}-{most:.2}), x{:.2}", middle / base))
    };
    all.iter().filter_map(line).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_ones() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some((2.5, 1.0, 4.0)));
        assert_eq!(median(&[7.0]), Some((7.0, 7.0, 7.0)));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn what_came_first_is_the_measure() {
        let runs = [("a", 2.0), ("b", 3.0), ("a", 4.0)];
        assert_eq!(compared(runs.iter(), |r| r.0, |r| r.1), "a 3.00 (2.00-4.00), x1.00; b 3.00 (3.00-3.00), x1.00");
    }
}
