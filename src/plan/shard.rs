//! Parts of a plan: which clients a process looks after, and how numbers that belong to the whole are shared out.
//!
//! Client k belongs to shard k mod n, and its random streams come from the seed and k alone: one process or eight plan the same
//! actions. What is drawn over all connections of a firing is shared out as evenly as whole numbers go; see [`Shard::quota`].

use super::Embedded;
use crate::event::ClientIndex;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Place of a client in a table of one process, from 0: see [`Shard::row`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalRow(pub u32);

impl LocalRow {
    /// As an index of a slice.
    #[inline(always)]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Part `index` of `of` parts of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct Shard {
    /// From 0.
    pub index: u32,
    /// Parts; at least 1, at most 65,536.
    pub of: u32,
}

/// Parts that a plan may be divided into. Parts of parts are counted in 32 bits.
const MOST: u32 = 1 << 16;

/// A shard as it stands in a file, not looked at yet.
#[derive(Deserialize)]
struct Written {
    index: u32,
    of: u32,
}

impl TryFrom<Written> for Shard {
    type Error = String;

    fn try_from(Written { index, of }: Written) -> Result<Shard, String> {
        if index < of { Ok(Shard { index, of }) } else { Err(format!("there is no part {index} of {of}")) }
    }
}

impl Shard {
    /// All of it.
    pub const WHOLE: Shard = Shard { index: 0, of: 1 };

    /// Whether this is all of the plan.
    #[inline(always)]
    pub fn is_whole(self) -> bool {
        self.of == 1
    }

    /// Whether a client belongs to it.
    #[inline(always)]
    pub fn owns(self, client: u32) -> bool {
        // The simulator asks for every event, and divides by nothing.
        self.is_whole() || client % self.of == self.index
    }

    /// Its clients among the first `clients` of the plan, ascending.
    pub fn clients(self, clients: u32) -> impl Iterator<Item = u32> {
        (self.index..clients).step_by(self.of as usize)
    }

    /// Number of its clients among the first `clients` of the plan.
    pub fn count(self, clients: u32) -> u32 {
        clients.saturating_sub(self.index).div_ceil(self.of)
    }

    /// Position of a client among those of this shard, which must own it.
    #[inline(always)]
    pub fn row(self, client: ClientIndex) -> LocalRow {
        debug_assert!(self.owns(client.0), "client {} is not one of {self}", client.0);
        LocalRow(if self.is_whole() { client.0 } else { client.0 / self.of })
    }

    /// The client at a position among those of this shard.
    #[inline(always)]
    pub fn client(self, row: LocalRow) -> ClientIndex {
        ClientIndex(self.index + row.0 * self.of)
    }

    /// Part `index` of `of` of this part. Parts of parts are parts: 0/2 of 1/3 is 1/6, as each of its clients is 1 mod 6.
    pub fn part(self, index: u32, of: u32) -> Shard {
        Shard { index: self.index + self.of * index, of: self.of * of }
    }

    /// Its share of a number that belongs to the whole. The shares of all shards add up to `total`; `turn` moves the remainder on,
    /// so that not always the same shards have one more.
    pub fn quota(self, total: u64, turn: u64) -> u64 {
        let (each, rest) = (total / u64::from(self.of), total % u64::from(self.of));
        let place = (u64::from(self.index) + turn) % u64::from(self.of);
        each + u64::from(place < rest)
    }

    /// `share` of `candidates`, a whole number. One shard rounds to the nearest; of several each rounds at another point, so that
    /// shards with equally many candidates pick together what one would; otherwise the sum is off by less than half their number.
    pub fn portion(self, share: f64, candidates: usize) -> usize {
        let point = (f64::from(self.index) + 0.5) / f64::from(self.of);
        (candidates as f64 * share + point).floor() as usize
    }

    /// A name of a random stream that is drawn from over many clients: each shard has its own, the whole the plain one.
    pub fn stream(self, name: &str) -> String {
        if self.is_whole() { name.to_owned() } else { format!("{name}/{self}") }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index + 1, self.of)
    }
}

impl std::str::FromStr for Shard {
    type Err = String;

    /// As on the command line, counted from 1: `2/8`.
    fn from_str(text: &str) -> Result<Shard, String> {
        let wrong = || format!("`{text}` is not a shard: write its number and the number of shards, such as 2/8");
        let (number, of) = text.split_once('/').ok_or_else(wrong)?;
        let (number, of): (u32, u32) = (number.trim().parse().map_err(|_| wrong())?, of.trim().parse().map_err(|_| wrong())?);
        if of > MOST {
            return Err(format!("`{text}`: a run has at most {MOST} shards"));
        }
        if number == 0 || number > of { Err(wrong()) } else { Ok(Shard { index: number - 1, of }) }
    }
}

impl Embedded {
    /// What one of `processes` processes of an instance is told, so that together they are as one: each serves its part of the
    /// handshakes at that part of the rate, and has its part of the queue and of the tokens, rounded up, and of the limit of connections,
    /// which add up to it. `process`: which of them, from 0.
    ///
    /// The kernel deals connections out by a hash of their addresses, so the parts are even only on average, and a handshake that
    /// need not wait takes as many times longer as there are processes.
    pub fn share(&self, process: u16, processes: u16) -> Embedded {
        let n = u32::from(processes.max(1));
        let part = |whole: u32| whole.div_ceil(n).max(1);
        let mut share = self.clone();
        share.handshake_cost = self.handshake_cost * n;
        share.backlog = part(self.backlog);
        let own = Shard { index: u32::from(process), of: n };
        share.max_connections = self.max_connections.map(|most| own.quota(most.into(), 0) as u32);
        if let Some(admit) = &mut share.admit {
            admit.rate.0 /= f64::from(n);
            admit.burst = part(admit.burst);
        }
        share
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(of: u32) -> impl Iterator<Item = Shard> {
        (0..of).map(move |index| Shard { index, of })
    }

    proptest! {
        #[test]
        fn every_client_belongs_to_one_shard(clients in 0..5_000_u32, of in 1..20_u32, parts in 1..5_u32) {
            let shards: Vec<_> = all(of).flat_map(|shard| (0..parts).map(move |index| shard.part(index, parts))).collect();
            let mut owned: Vec<u32> = shards.iter().flat_map(|shard| shard.clients(clients)).collect();
            owned.sort_unstable();
            prop_assert_eq!(owned, (0..clients).collect::<Vec<_>>());
            for shard in shards {
                let own: Vec<_> = shard.clients(clients).collect();
                prop_assert_eq!(own.len(), shard.count(clients) as usize);
                for (row, client) in (0..).map(LocalRow).zip(own.into_iter().map(ClientIndex)) {
                prop_assert!(shard.owns(client.0));
                prop_assert_eq!((shard.row(client), shard.client(row)), (row, client));
            }
            }
        }

        #[test]
        fn shares_of_a_number_add_up(total in 0..100_000_u64, of in 1..50_u32, turn in 0..1_000_u64) {
            let quotas: Vec<_> = all(of).map(|shard| shard.quota(total, turn)).collect();
            prop_assert_eq!(quotas.iter().sum::<u64>(), total);
            prop_assert!(quotas.iter().max().unwrap() - quotas.iter().min().unwrap() <= 1);
        }

        #[test]
        fn portions_of_equal_shards_add_up_to_that_of_the_whole(each in 0..2_000_usize, of in 1..20_u32, percent in 0..=100_u32) {
            let share = f64::from(percent) / 100.0;
            let sum: usize = all(of).map(|shard| shard.portion(share, each)).sum();
            let whole = each as f64 * f64::from(of) * share;
            prop_assert!((sum as f64 - whole).abs() <= 0.5 + 1e-6, "{} of {}", sum, whole);
            prop_assert_eq!(Shard::WHOLE.portion(share, each), (each as f64 * share).round() as usize);
        }
    }

    #[test]
    fn shards_are_written_from_one() {
        assert_eq!("2/8".parse(), Ok(Shard { index: 1, of: 8 }));
        assert_eq!(Shard { index: 1, of: 8 }.to_string(), "2/8");
        assert!("1/65537".parse::<Shard>().unwrap_err().contains("at most 65536"));
        for (json, good) in [(r#"{"index":1,"of":2}"#, true), (r#"{"index":2,"of":2}"#, false), (r#"{"index":0,"of":0}"#, false)] {
            assert_eq!(serde_json::from_str::<Shard>(json).is_ok(), good, "{json}");
        }
        for wrong in ["0/8", "9/8", "2", "a/b", "1/0", "-1/2"] {
            assert!(wrong.parse::<Shard>().unwrap_err().contains("such as 2/8"), "{wrong}");
        }
    }

    #[test]
    fn processes_together_are_as_one_server() {
        use crate::plan::Admit;
        use crate::units::Rate;
        use std::time::Duration;
        let whole = Embedded {
            handshake_cost: Duration::from_micros(500),
            backlog: 1024,
            max_connections: Some(1000),
            admit: Some(Admit { rate: Rate(90.0), burst: 1, reject: 503, retry_after: None }),
            ..Embedded::default()
        };
        let part = whole.share(0, 3);
        assert_eq!((part.handshake_cost, part.backlog, part.max_connections), (Duration::from_micros(1500), 342, Some(334)));
        assert_eq!(part.admit.map(|admit| (admit.rate.0, admit.burst)), Some((30.0, 1)));
        let limits = (0..3).map(|process| whole.share(process, 3).max_connections.unwrap());
        assert_eq!(limits.sum::<u32>(), 1000);
        let same = whole.share(0, 1);
        assert_eq!((same.handshake_cost, same.backlog, same.max_connections), (whole.handshake_cost, 1024, Some(1000)));
    }
}
