//! Where a curve bends: Kneedle.
//!
//! Source: Satopää, Albrecht, Irwin, Raghavan, "Finding a 'Kneedle' in a Haystack: Detecting Knee Points in System Behavior" (ICDCS
//! Workshops 2011). The paper smooths with a spline; here each point is the median of its runs, which does it for ten or twenty points.

/// How a curve bends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bend {
    /// It rises ever more slowly, as throughput against load.
    Concave,
    /// It rises ever faster, as latency against load.
    Convex,
}

/// With fewer points a bend is a matter of taste.
pub const POINTS_NEEDED: usize = 5;
/// How flat the curve must be beyond a knee, in mean distances between points: S of the paper, which recommends 1.
const SENSITIVITY: f64 = 1.0;

/// The x of the knee of a rising curve; `points` by increasing x. `None` where there is no bend, or there are too few points.
pub fn knee(points: &[(f64, f64)], bend: Bend) -> Option<f64> {
    let (first, last) = (points.first()?, points.last()?);
    let (least, most) = points.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (_, y)| (low.min(*y), high.max(*y)));
    if points.len() < POINTS_NEEDED || last.0 <= first.0 || most <= least {
        return None;
    }
    // Both axes to 0 … 1; how far the curve lies from the diagonal, on the side to which it bends.
    let distance = |(x, y): &(f64, f64)| {
        let (x, y) = ((x - first.0) / (last.0 - first.0), (y - least) / (most - least));
        if bend == Bend::Concave { y - x } else { x - y }
    };
    let distances: Vec<f64> = points.iter().map(distance).collect();
    let gap = 1.0 / (points.len() - 1) as f64;
    let mut best: Option<(usize, f64)> = None;
    for (at, here) in distances.iter().enumerate() {
        let is_peak = at > 0 && at + 1 < distances.len() && *here >= distances[at - 1] && *here > distances[at + 1];
        // A knee is one where the curve falls below the threshold before it rises to a further peak.
        let threshold = here - SENSITIVITY * gap;
        let falls = distances[at + 1..].iter().take_while(|next| *next <= here).any(|next| *next < threshold);
        if is_peak && falls && *here > 0.0 && best.is_none_or(|(_, found)| *here > found) {
            best = Some((at, *here));
        }
    }
    best.map(|(at, _)| points[at].0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(n: usize, y: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        (0..=n).map(|i| i as f64 / n as f64 * 10.0).map(|x| (x, y(x))).collect()
    }

    #[test]
    fn known_knees_are_found() {
        for (what, points, bend, expected) in [
            // The example of the paper: y = −1/x + 5; the distance is greatest at x ≈ 0.22 of the range in its ten points.
            ("the paper", (0..10).map(|i| f64::from(i) / 9.0).map(|x| (x, -1.0 / (x + 0.1) + 5.0)).collect(), Bend::Concave, 2.0 / 9.0),
            ("offered load meets capacity at 4", curve(20, |x| x.min(4.0)), Bend::Concave, 4.0),
            ("latency takes off at 7", curve(20, |x| 1.0 + (x - 7.0_f64).max(0.0) * 10.0), Bend::Convex, 7.0),
            // Doubling and bisection space the points unevenly.
            ("uneven", [1.0, 2.0, 4.0, 8.0, 9.0, 10.0, 12.0, 16.0, 32.0].map(|x: f64| (x, x.min(10.0))).to_vec(), Bend::Concave, 10.0),
        ] {
            let found = knee(&points, bend).unwrap_or_else(|| panic!("{what}: none"));
            assert!((found - expected).abs() < 1e-9, "{what}: {found}");
        }
    }

    #[test]
    fn a_queue_that_grows_without_end_has_its_knee_where_theory_has_it() {
        // M/M/1 in units of service time: 1 / (1 − ρ). On ρ up to 0.95 the chord's slope is matched where (1 − ρ)⁻² = 20.
        let points: Vec<_> = (0..=95).map(|i| f64::from(i) / 100.0).map(|load| (load, 1.0 / (1.0 - load))).collect();
        let found = knee(&points, Bend::Convex).unwrap();
        assert!((found - (1.0 - 1.0 / 20.0_f64.sqrt())).abs() < 0.011, "{found}");
    }

    #[test]
    fn small_noise_does_not_move_it_far() {
        let points: Vec<_> = curve(20, |x| x.min(4.0)).into_iter().enumerate().map(|(i, (x, y))| (x, y + 0.05 * (i % 3) as f64)).collect();
        let found = knee(&points, Bend::Concave).unwrap();
        assert!((3.5..=4.6).contains(&found), "{found}");
    }

    #[test]
    fn without_a_bend_there_is_no_knee() {
        assert_eq!(knee(&curve(20, |x| 3.0 * x), Bend::Concave), None);
        assert_eq!(knee(&curve(20, |_| 5.0), Bend::Concave), None);
        assert_eq!(knee(&curve(20, |x| x * x), Bend::Concave), None, "it bends the other way");
        assert_eq!(knee(&[(1.0, 1.0), (2.0, 2.0), (3.0, 2.0)], Bend::Concave), None, "too few points");
        assert_eq!(knee(&[], Bend::Convex), None);
    }
}
