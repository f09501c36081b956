//! How much load a run may put on its target: on another machine only so much without `--yes`, and anywhere what `--max-rate` says.

use super::{Plan, Shard};
use crate::fault::Side;
use crate::units::{Bytes, Rate};
use core::net::IpAddr;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Clients against a target that is not on this machine, without `--yes`.
pub const CLIENTS_ELSEWHERE: u32 = 100;
/// The same for the attempts of any second.
pub const ATTEMPTS_ELSEWHERE: Rate = Rate(50.0);
/// The same for messages, and for frames of any kind: pings, and those of faults.
pub const MESSAGES_ELSEWHERE: Rate = Rate(1000.0);
/// The same for pieces in which the kernel takes bytes, as a fault may cut them: a packet each.
pub const WRITES_ELSEWHERE: Rate = Rate(2000.0);
/// The same for all bytes that clients send in any second: frames with their headers, opening requests, TLS.
pub const BYTES_ELSEWHERE: Bytes = Bytes(1 << 20);

/// What the user has allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadLimits {
    /// A target that is not on this machine gets little: there is no `--yes`.
    pub elsewhere: bool,
    /// Attempts per second, wherever the target is; `None`: as many as the plan wants.
    pub max_rate: Option<Rate>,
}

/// What a run keeps to while it goes on; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LoadCaps {
    /// Attempts per second, and the words for who says so.
    pub attempts: Option<(Rate, &'static str)>,
    /// What clients send.
    pub sends: Option<SendCaps>,
}

/// What all clients together send in any second, at most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SendCaps {
    /// Frames.
    pub frames: Rate,
    /// Writes to the kernel.
    pub writes: Rate,
    /// Bytes, whatever they are.
    pub bytes: Bytes,
}

impl LoadLimits {
    /// What they mean for a target: `here` says whether all its addresses are on this machine.
    pub fn caps(self, here: bool) -> LoadCaps {
        let elsewhere = self.elsewhere && !here;
        let small = elsewhere.then_some((ATTEMPTS_ELSEWHERE, "the target is on another machine; --yes allows more"));
        let own = self.max_rate.map(|rate| (rate, "--max-rate"));
        let attempts = small.into_iter().chain(own).min_by(|(one, _), (other, _)| one.0.total_cmp(&other.0));
        let sends = SendCaps { frames: MESSAGES_ELSEWHERE, writes: WRITES_ELSEWHERE, bytes: BYTES_ELSEWHERE };
        LoadCaps { attempts, sends: elsewhere.then_some(sends) }
    }
}

/// Whether what connects to an address reaches this machine only: loopback, also as IPv4 in IPv6, or no address, which the kernel takes for it.
pub fn is_here(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback() || address.is_unspecified()
}

/// Whether a host is this machine by what is written: `localhost`, or such an address. No other name is looked up.
pub fn is_named_here(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(is_here)
}

/// What a frame of a client with so much payload has on the wire: header and mask (RFC 6455 §5.2).
fn frame_bytes(payload: u64) -> f64 {
    let header = match payload {
        ..126 => 6,
        126..=0xffff => 8,
        _ => 14,
    };
    (payload + header) as f64
}

/// How many of a whole may begin in which time, for a part of the run: whole numbers whose sum over all parts is the whole's.
pub fn window(rate: Rate, shard: Shard) -> (u64, Duration) {
    let second = |n: f64| Duration::from_secs_f64((n / rate.0.max(f64::MIN_POSITIVE)).min(1e9));
    let whole = rate.0.floor();
    if whole >= f64::from(shard.of) { (shard.quota(whole as u64, 0), second(whole)) } else { (1, second(f64::from(shard.of))) }
}

impl Plan {
    /// What of the plan itself is more than a target on another machine gets without `--yes`, in words; empty where nothing is. What comes of
    /// reconnects and of closed loops shows only in the run.
    pub fn too_much_elsewhere(&self) -> Vec<String> {
        let mut words = Vec::new();
        if self.clients() > CLIENTS_ELSEWHERE {
            words.push(format!("{} clients (without it, at most {CLIENTS_ELSEWHERE})", self.clients()));
        }
        let peak = self.arrivals_peak();
        if peak as f64 > ATTEMPTS_ELSEWHERE.0 {
            let what = if self.scripts().any(|script| !script.before.is_empty()) {
                "first attempts and their HTTP requests"
            } else {
                "first attempts"
            };
            words.push(format!("up to {peak} {what} a second (at most {})", ATTEMPTS_ELSEWHERE.0));
        }
        let (messages, bytes) = self.planned_messages();
        if messages > MESSAGES_ELSEWHERE.0 {
            words.push(format!("{messages:.0} messages a second (at most {})", MESSAGES_ELSEWHERE.0));
        }
        if bytes > BYTES_ELSEWHERE.0 as f64 {
            words.push(format!("{} a second (at most {BYTES_ELSEWHERE})", Bytes(bytes as u64)));
        }
        words
    }

    /// Most first attempts, and HTTP requests before them, that are due in any second of the run.
    pub fn arrivals_peak(&self) -> usize {
        let each = |cohort: &super::Cohort| 1 + cohort.script.as_ref().map_or(0, |script| script.before.len());
        let within = |due: &Duration| *due < self.duration;
        let dues =
            |cohort| super::Cohort::dues(cohort, self.seed).filter(within).flat_map(move |due| std::iter::repeat_n(due, each(cohort)));
        let mut due: Vec<_> = self.cohorts.iter().flat_map(dues).collect();
        due.sort_unstable();
        let end = |from: &Duration| from.saturating_add(Duration::from_secs(1));
        due.iter().enumerate().map(|(index, from)| due.partition_point(|at| *at < end(from)) - index).max().unwrap_or(0)
    }

    /// Messages and pings per second of all clients while they are connected, with the pings of faults at their most, and the bytes of their
    /// frames. A message that is larger than what goes in a second counts as one each second.
    fn planned_messages(&self) -> (f64, f64) {
        let (mut messages, mut bytes) = (0.0, 0.0);
        for cohort in &self.cohorts {
            let count = f64::from(cohort.count);
            let size = frame_bytes(cohort.traffic.message_bytes().into());
            let rate = cohort.traffic.rate().map_or(0.0, |rate| rate.0);
            messages += count * rate;
            bytes += (count * rate * size).max(size);
            let pings = cohort.heartbeat.map_or(0.0, |beat| count / beat.every.as_secs_f64().max(1e-3));
            messages += pings;
            bytes += pings * frame_bytes(8);
        }
        for fault in self.faults.iter().filter(|fault| fault.side == Side::Client) {
            let values = &fault.inject.values;
            let size = frame_bytes(values.bytes("bytes").or_else(|| values.bytes("size")).unwrap_or(0));
            let rate = values.whole("per_s").map_or(0.0, |rate| rate as f64) * f64::from(self.clients());
            messages += rate;
            bytes += (rate * size).max(size);
        }
        (messages, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Overrides, Source, load};

    #[test]
    fn who_never_comes_is_no_load() {
        for (arrive, peak) in [
            // Eighty are sent away at the moment at which they come.
            ("{stages=[{to=100},{to=20},{hold=\"5s\"}]}", 20),
            ("{stages=[{to=100},{hold=\"5s\"}]}", 100),
            ("{per_second=[3,0,9]}", 9),
            ("{per_second=[0,0,0,0,0,0,0,0,0,0,9]}", 0),
        ] {
            let text = format!("[clients.web]\narrive = {arrive}\n[target.url]\naddress = \"ws://192.0.2.1/\"\n");
            let plan = load(&Source::Text { name: "arrivals".to_owned(), text }, &Overrides::default());
            let plan = plan.unwrap_or_else(|errors| panic!("{errors}"));
            assert_eq!(plan.arrivals_peak(), peak, "{arrive}");
            assert_eq!(plan.too_much_elsewhere().iter().any(|words| words.contains("first attempts")), peak > 50, "{arrive}");
        }
    }

    #[test]
    fn the_smaller_limit_holds_and_says_who_set_it() {
        let limits = |elsewhere, rate: Option<f64>| LoadLimits { elsewhere, max_rate: rate.map(Rate) };
        for (limits, here, attempts, messages) in [
            (limits(true, None), true, None, false),
            (limits(true, None), false, Some(50.0), true),
            (limits(true, Some(200.0)), false, Some(50.0), true),
            (limits(true, Some(20.0)), false, Some(20.0), true),
            (limits(false, Some(200.0)), false, Some(200.0), false),
            (limits(true, Some(200.0)), true, Some(200.0), false),
            (limits(false, None), false, None, false),
        ] {
            let caps = limits.caps(here);
            assert_eq!(caps.attempts.map(|(rate, _)| rate.0), attempts, "{limits:?} {here}");
            assert_eq!(caps.sends.is_some(), messages, "{limits:?} {here}");
        }
    }

    #[test]
    fn this_machine_is_known_by_address() {
        for (address, here) in [
            ("127.0.0.1", true),
            ("127.9.8.7", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("0.0.0.0", true),
            ("::", true),
            ("192.0.2.1", false),
            ("::ffff:192.0.2.1", false),
            ("fd00::2", false),
        ] {
            assert_eq!(is_here(address.parse().expect("an address")), here, "{address}");
        }
    }

    #[test]
    fn parts_of_a_rate_add_up_to_no_more_than_the_whole() {
        for rate in [0.2, 0.5, 1.0, 1.5, 3.0, 50.0, 199.5, 10_000.0] {
            for of in [1, 2, 3, 8, 60] {
                let each = (0..of).map(|index| window(Rate(rate), Shard { index, of }));
                let sum: f64 = each.map(|(most, time)| most as f64 / time.as_secs_f64()).sum();
                assert!(sum <= rate * 1.000_001 && sum > rate * 0.999, "{rate} over {of}: {sum}");
            }
        }
        assert_eq!(window(Rate(50.0), Shard::WHOLE), (50, Duration::from_secs(1)));
        assert_eq!(window(Rate(0.5), Shard::WHOLE), (1, Duration::from_secs(2)));
    }
}
