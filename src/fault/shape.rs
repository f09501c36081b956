//! How bytes in one direction are late, slow, in pieces, stalled or damaged: a pure schedule that `transport::delay_line` carries out.
//!
//! Bytes never overtake each other. Times are offsets on any one clock.

use crate::seed::Stream;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a path does to the bytes of one direction. The default lets them pass at once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PathShape {
    /// Added to each chunk.
    pub latency: Duration,
    /// Spread of the latency; see [`JitterKind`].
    pub jitter: Duration,
    /// How the jitter is spread.
    pub distribution: JitterKind,
    /// Bytes per second; `None`: no limit.
    pub rate: Option<u64>,
    /// Bytes that pass at once before the rate binds.
    pub burst: u64,
    /// Cut into pieces of about this size; 0: not cut.
    pub slice: u64,
    /// Pieces differ from `slice` by up to this.
    pub slice_variation: u64,
    /// Between two pieces.
    pub slice_gap: Duration,
    /// Bytes wait for the next multiple of this and go on together.
    pub window: Duration,
    /// Chance that a chunk in the good state finds the path in the bad one (Gilbert–Elliott).
    pub to_bad: f64,
    /// Chance that a chunk in the bad state finds the path in the good one.
    pub to_good: f64,
    /// What a chunk in the bad state waits: a lost packet's retransmission.
    pub stall: Duration,
    /// Bytes are held until the fault is reverted.
    pub hold: bool,
    /// Damaged bytes per million.
    pub corrupt_per_mb: f64,
}

/// How jitter is spread around the latency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum JitterKind {
    /// Uniform in latency ± jitter.
    #[default]
    Uniform,
    /// Normal with the jitter as standard deviation, cut at zero.
    Normal,
    /// Pareto with shape 3 above the latency, scaled so that its mean excess is the jitter: a heavy tail.
    Pareto,
}

/// What a [`PathShape`] remembers of one direction of one connection.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// When the last byte is due, and the gap behind it is over.
    last: Duration,
    /// When the line is free again.
    line_free: Duration,
    bad: bool,
}

/// Bytes that go on together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedPiece {
    /// When.
    pub due: Duration,
    /// How many.
    pub bytes: usize,
}

impl PathShape {
    /// Whether bytes pass at once and unharmed.
    pub fn is_open(&self) -> bool {
        *self == PathShape::default()
    }

    /// Both at once: latencies and stalls add, the smaller rate and slice hold.
    pub fn and(&self, other: &PathShape) -> PathShape {
        let smaller = |a: u64, b: u64| if a == 0 || b == 0 { a.max(b) } else { a.min(b) };
        let slicer = if other.slice != 0 && (self.slice == 0 || other.slice < self.slice) { other } else { self };
        PathShape {
            latency: self.latency + other.latency,
            jitter: self.jitter + other.jitter,
            distribution: if self.jitter.is_zero() { other.distribution } else { self.distribution },
            rate: match (self.rate, other.rate) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            },
            burst: smaller(self.burst, other.burst),
            slice: slicer.slice,
            slice_variation: slicer.slice_variation,
            slice_gap: slicer.slice_gap,
            window: self.window.max(other.window),
            to_bad: self.to_bad.max(other.to_bad),
            to_good: if self.to_bad >= other.to_bad { self.to_good } else { other.to_good },
            stall: self.stall + other.stall,
            hold: self.hold || other.hold,
            corrupt_per_mb: self.corrupt_per_mb + other.corrupt_per_mb,
        }
    }

    /// When the bytes of a chunk that arrives `now` go on, in order. A held chunk is due at [`Duration::MAX`].
    pub fn schedule(&self, memory: &mut Memory, now: Duration, bytes: usize, random: &mut Stream) -> Vec<TimedPiece> {
        if self.hold {
            return vec![TimedPiece { due: Duration::MAX, bytes }];
        }
        let mut ready = now + self.delay(random) + self.stalled(memory, random);
        if !self.window.is_zero() {
            let window = self.window.as_nanos();
            ready = Duration::from_nanos(u64::try_from((ready.as_nanos() / window + 1) * window).unwrap_or(u64::MAX));
        }
        let mut pieces = Vec::new();
        let mut left = bytes;
        while left > 0 {
            let size = self.piece(left, random);
            ready = self.on_the_line(memory, ready, size).max(memory.last);
            memory.last = ready + self.slice_gap;
            pieces.push(TimedPiece { due: ready, bytes: size });
            left -= size;
        }
        pieces
    }

    fn delay(&self, random: &mut Stream) -> Duration {
        if self.jitter.is_zero() {
            return self.latency;
        }
        let (latency, jitter) = (self.latency.as_secs_f64(), self.jitter.as_secs_f64());
        let seconds = match self.distribution {
            JitterKind::Uniform => latency + jitter * (2.0 * random.unit() - 1.0),
            // Box–Muller.
            JitterKind::Normal => {
                let (u, v) = (1.0 - random.unit(), random.unit());
                latency + jitter * (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
            }
            // Excess of a Pareto with shape 3 and scale s has mean s / 2.
            JitterKind::Pareto => latency + 2.0 * jitter * ((1.0 - random.unit()).powf(-1.0 / 3.0) - 1.0),
        };
        Duration::from_secs_f64(seconds.max(0.0))
    }

    fn stalled(&self, memory: &mut Memory, random: &mut Stream) -> Duration {
        if self.to_bad <= 0.0 {
            return Duration::ZERO;
        }
        let turn = random.unit();
        memory.bad = if memory.bad { turn >= self.to_good } else { turn < self.to_bad };
        if memory.bad { self.stall } else { Duration::ZERO }
    }

    fn piece(&self, left: usize, random: &mut Stream) -> usize {
        if self.slice == 0 {
            // A slow line is fed in tenths of a second, so that a large chunk does not come in one blow at its end.
            return self.rate.map_or(left, |rate| usize::try_from(rate / 10).unwrap_or(left).max(1)).min(left);
        }
        let spread = self.slice_variation.min(self.slice - 1);
        let size = self.slice - spread + random.below(2 * spread + 1);
        usize::try_from(size).unwrap_or(left).clamp(1, left)
    }

    /// When the last bit of `bytes` that are ready at `ready` has left a line of this rate.
    fn on_the_line(&self, memory: &mut Memory, ready: Duration, bytes: usize) -> Duration {
        let Some(rate) = self.rate.filter(|rate| *rate > 0) else { return ready };
        let takes = Duration::from_secs_f64(bytes as f64 / rate as f64);
        // The bucket's fill is time that the line lies behind: a burst may leave so much earlier.
        let credit = Duration::from_secs_f64(self.burst as f64 / rate as f64);
        memory.line_free = memory.line_free.max(ready.saturating_sub(credit)) + takes;
        ready.max(memory.line_free)
    }

    /// Damages bytes where they are due to be; returns how many.
    pub fn damage(&self, bytes: &mut [u8], random: &mut Stream) -> usize {
        if self.corrupt_per_mb <= 0.0 {
            return 0;
        }
        let chance = self.corrupt_per_mb / 1e6;
        let mut damaged = 0;
        for byte in bytes {
            if random.unit() < chance {
                *byte ^= 1 << random.below(8);
                damaged += 1;
            }
        }
        damaged
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::Seed;
    use proptest::prelude::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn random() -> Stream {
        Seed(1).stream("shape")
    }

    #[test]
    fn a_rate_lets_bytes_pass_as_a_line_would() {
        let shape = PathShape { rate: Some(1000), ..PathShape::default() };
        let mut memory = Memory::default();
        let pieces = shape.schedule(&mut memory, MS(0), 500, &mut random());
        assert_eq!(pieces.iter().map(|piece| piece.bytes).sum::<usize>(), 500);
        assert_eq!(pieces.last().map(|piece| piece.due), Some(MS(500)));
        let later = shape.schedule(&mut memory, MS(100), 100, &mut random());
        assert_eq!(later.last().map(|piece| piece.due), Some(MS(600)), "behind what is on the line");
    }

    #[test]
    fn a_burst_passes_at_once_and_then_the_rate_binds() {
        let shape = PathShape { rate: Some(1000), burst: 300, ..PathShape::default() };
        let pieces = shape.schedule(&mut Memory::default(), MS(1000), 400, &mut random());
        assert_eq!(pieces[2].due, MS(1000));
        assert_eq!(pieces[3].due, MS(1100));
    }

    #[test]
    fn a_window_gathers_and_a_hold_keeps() {
        let window = PathShape { window: MS(50), ..PathShape::default() };
        for (now, due) in [(0, 50), (49, 50), (50, 100)] {
            assert_eq!(window.schedule(&mut Memory::default(), MS(now), 1, &mut random())[0].due, MS(due));
        }
        let hold = PathShape { hold: true, ..PathShape::default() };
        assert_eq!(hold.schedule(&mut Memory::default(), MS(1), 9, &mut random()), [TimedPiece { due: Duration::MAX, bytes: 9 }]);
    }

    #[test]
    fn the_gap_between_pieces_holds_between_chunks_too() {
        let shape = PathShape { slice: 10, slice_gap: MS(5), ..PathShape::default() };
        let mut memory = Memory::default();
        let mut due =
            |now, bytes| shape.schedule(&mut memory, MS(now), bytes, &mut random()).iter().map(|piece| piece.due).collect::<Vec<_>>();
        assert_eq!(due(0, 20), [MS(0), MS(5)]);
        assert_eq!(due(1, 20), [MS(10), MS(15)]);
        assert_eq!(due(100, 10), [MS(100)]);
    }

    #[test]
    fn jitter_has_the_mean_that_is_asked_for() {
        for (distribution, mean) in [(JitterKind::Uniform, 0.1), (JitterKind::Normal, 0.1), (JitterKind::Pareto, 0.12)] {
            let shape = PathShape { latency: MS(100), jitter: MS(20), distribution, ..PathShape::default() };
            let mut random = random();
            let seen = (0..20_000).map(|_| shape.delay(&mut random).as_secs_f64()).sum::<f64>() / 20_000.0;
            assert!((seen - mean).abs() < 0.002, "{distribution:?}: {seen}");
        }
    }

    proptest! {
        #[test]
        fn bytes_keep_their_number_and_order(latency in 0_u64..50, jitter in 0_u64..80, rate in 1_u64..100_000, slice in 0_u64..64, sizes in proptest::collection::vec(1_usize..3000, 1..20)) {
            let shape = PathShape { latency: MS(latency), jitter: MS(jitter), rate: Some(rate), slice, slice_variation: slice / 2, ..PathShape::default() };
            let (mut memory, mut random) = (Memory::default(), random());
            let mut last = Duration::ZERO;
            for (index, size) in sizes.iter().enumerate() {
                let now = MS(index as u64 * 3);
                let pieces = shape.schedule(&mut memory, now, *size, &mut random);
                prop_assert_eq!(pieces.iter().map(|piece| piece.bytes).sum::<usize>(), *size);
                for piece in pieces {
                    prop_assert!(piece.due >= last);
                    last = piece.due;
                }
            }
        }
    }
}
