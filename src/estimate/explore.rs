//! Looks for the greatest value of a function of a few numbers, and for all values that are nearly as great.
//!
//! Source: C. ter Braak, A Markov Chain Monte Carlo version of the genetic algorithm Differential Evolution, Statistics and Computing 16
//! (2006): a step is the difference of two other members times 2.38/√(2d), which needs no tuning to scales and directions.

use crate::seed::Stream;

/// A point, and the logarithm of its likelihood.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub at: Vec<f64>,
    pub value: f64,
}

/// Points that move together. Never empty.
#[derive(Clone, Debug)]
pub(super) struct Swarm(Vec<Member>);

/// What is to be great.
pub(super) type Value<'a> = &'a dyn Fn(&[f64]) -> f64;

impl Swarm {
    /// Members around `start`, up to `spread` off in each number. The first is `start` itself.
    pub(super) fn around(start: &[f64], spread: f64, value: Value<'_>, stream: &mut Stream) -> Swarm {
        let mut off = |index| if index == 0 { 0.0 } else { spread * (2.0 * stream.unit() - 1.0) };
        let at = |index| start.iter().map(|x| x + off(index)).collect::<Vec<f64>>();
        let points: Vec<_> = (0..4 * start.len() + 8).map(at).collect();
        Swarm(points.into_iter().map(|at| Member { value: value(&at), at }).collect())
    }

    /// Values anew, after what is to be great has changed.
    pub(super) fn value_again(&mut self, value: Value<'_>) {
        self.0.iter_mut().for_each(|member| member.value = value(&member.at));
    }

    /// One step of each member, kept with the probability of Metropolis: in the long run members are where the likelihood is.
    pub(super) fn step(&mut self, value: Value<'_>, stream: &mut Stream) {
        let size = self.0.len();
        let dimensions = self.0[0].at.len();
        for index in 0..size {
            let other = |stream: &mut Stream| (index + 1 + stream.below(size as u64 - 1) as usize) % size;
            let (from, to) = (other(stream), other(stream));
            // One in ten goes the whole way, from one summit to another.
            let gamma = if stream.unit() < 0.1 { 1.0 } else { 2.38 / (2.0 * dimensions as f64).sqrt() };
            let moved = |d: usize, shake: f64| self.0[index].at[d] + gamma * (self.0[to].at[d] - self.0[from].at[d]) + shake;
            let at: Vec<f64> = (0..dimensions).map(|d| moved(d, 1e-4 * (stream.unit() - 0.5))).collect();
            let new = value(&at);
            if stream.unit() < (new - self.0[index].value).exp() {
                self.0[index] = Member { at, value: new };
            }
        }
    }

    /// The worse half moves to places near the better half: what is stuck far below everything else finds nothing.
    pub(super) fn select(&mut self, value: Value<'_>, stream: &mut Stream) {
        self.0.sort_by(|a, b| b.value.total_cmp(&a.value));
        let half = self.0.len() / 2;
        for index in half..self.0.len() {
            let (near, other) = (&self.0[index - half].at, &self.0[stream.below(half as u64) as usize].at);
            let mut at: Vec<f64> = Vec::with_capacity(near.len());
            for (x, y) in near.iter().zip(other) {
                at.push(x + (0.3 * (y - x) + 1e-3) * (2.0 * stream.unit() - 1.0));
            }
            self.0[index] = Member { value: value(&at), at };
        }
    }

    /// The member of the greatest value.
    pub(super) fn best(&self) -> &Member {
        self.0.iter().fold(&self.0[0], |best, member| if member.value > best.value { member } else { best })
    }

    /// All members.
    pub(super) fn members(&self) -> &[Member] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;

    #[test]
    fn a_population_finds_a_summit_and_how_wide_it_is() {
        // Deviations 0.1 and 3.0, correlated.
        let value = |at: &[f64]| -0.5 * (((at[0] - 2.0) / 0.1).powi(2) + ((at[1] - 5.0 - 20.0 * (at[0] - 2.0)) / 3.0).powi(2));
        let mut stream = Seed(1).stream("explore");
        let mut members = Swarm::around(&[0.0, 0.0], 1.0, &value, &mut stream);
        for round in 0..80 {
            members.step(&value, &mut stream);
            if round % 8 == 7 {
                members.select(&value, &mut stream);
            }
        }
        assert!(members.best().value > -0.05, "{:?}", members.best());
        let mut seen = Vec::new();
        for _ in 0..2000 {
            members.step(&value, &mut stream);
            seen.extend(members.members().iter().map(|member| member.at[0]));
        }
        let mean = seen.iter().sum::<f64>() / seen.len() as f64;
        let deviation = (seen.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / seen.len() as f64).sqrt();
        assert!((mean - 2.0).abs() < 0.02 && (deviation - 0.1).abs() < 0.02, "{mean} {deviation}");
    }
}
