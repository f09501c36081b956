//! Root seed → independent named random streams, so that adding a fault does not shift the numbers of a client.

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// The seed of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    /// The stream called `name`, as `client/17/reconnect`. The same seed and name give the same numbers on every machine and version.
    pub fn stream(self, name: &str) -> Stream {
        self.of(hash(BASIS, name.as_bytes()))
    }

    /// The stream called `<before><number><after>`, as `client/` 17 `/reconnect`: the same as by [`Seed::stream`], for millions of them.
    pub fn numbered(self, before: &str, number: u32, after: &str) -> Stream {
        // u32::MAX has ten digits.
        let (mut digits, mut first, mut rest) = ([0_u8; 10], 10, number);
        loop {
            first -= 1;
            digits[first] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.of(hash(hash(hash(BASIS, before.as_bytes()), &digits[first..]), after.as_bytes()))
    }

    /// SplitMix64 (inside seed_from_u64) mixes the hash of a name with the root.
    fn of(self, hash: u64) -> Stream {
        Stream(Xoshiro256PlusPlus::seed_from_u64(hash ^ self.0.rotate_left(32).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }
}

/// Start of FNV-1a.
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a, continued.
fn hash(from: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(from, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A stream of random numbers: xoshiro256++, which is stable across versions.
#[derive(Clone, Debug)]
pub struct Stream(Xoshiro256PlusPlus);

impl Stream {
    /// Uniform in `[0, 1)`, 53 bits.
    pub fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Exponential with mean 1: the gap of a Poisson process of rate 1.
    pub fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }

    /// Uniform in `0..n`; 0 when `n` is 0.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// 32 random bits.
    pub fn bits(&mut self) -> u32 {
        self.0.next_u32()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_stable_and_independent() {
        let first = |name: &str| Seed(7).stream(name).bits();
        assert_eq!(first("client/1/reconnect"), first("client/1/reconnect"));
        assert_ne!(first("client/1/reconnect"), first("client/2/reconnect"));
        assert_ne!(Seed(8).stream("a").bits(), Seed(7).stream("a").bits());
    }

    #[test]
    fn a_numbered_stream_is_the_one_of_its_name() {
        for number in [0, 7, 10, 99, 1_000_000, u32::MAX] {
            let name = format!("client/{number}/reconnect");
            assert_eq!(Seed(7).numbered("client/", number, "/reconnect").bits(), Seed(7).stream(&name).bits(), "{name}");
        }
    }

    #[test]
    fn unit_stays_in_its_interval() {
        let mut stream = Seed(1).stream("unit");
        let mean = (0..10_000).map(|_| stream.unit()).inspect(|u| assert!((0.0..1.0).contains(u))).sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
    }
}
