//! Families of policies that a fit chooses from, and the policy that numbers make of one.
//!
//! A search moves logarithms of times and of odds, so that every number means something.

use crate::reconnect::{CapStage, Jitter, Policy, TableEnd};
use crate::units::duration_ms;
use std::time::Duration;

/// How delays grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// Not at all.
    Fixed,
    /// By the same time with each attempt.
    Linear,
    /// By the same factor.
    Exponential,
    /// As a list says, with so many delays; the last is for ever.
    Table(usize),
}

/// A kind of jitter, without its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JitterForm {
    /// `raw`.
    None,
    /// `raw · U(0, 1)`.
    Full,
    /// `raw · U(0.5, 1)`.
    Equal,
    /// `raw · U(1 - x, 1)`.
    Below,
    /// `raw · U(1 - x, 1 + x)`.
    Around,
    /// `raw + U(0, width)`.
    Add,
    /// `offset + U(0, raw)`.
    OffsetFull,
    /// `U(offset, raw)`.
    Between,
    /// Ten bands around raw, as backo2.
    Comb,
    /// `U(base, factor · previous)`.
    Decorrelated,
}

/// All of a policy but the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Delays before those of the formula.
    pub lead: usize,
    /// How delays grow.
    pub growth: Growth,
    /// Which jitter.
    pub jitter: JitterForm,
    /// Where a longest delay applies, if there is one.
    pub cap: Option<CapStage>,
    /// Each client has its own base, which is known and not searched.
    pub own_base: bool,
}

/// A number of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// First raw delay, ms.
    Base,
    /// Growth of linear, ms.
    Step,
    /// Growth of exponential, at least 1.
    Factor,
    /// Longest delay, ms.
    Cap,
    /// x of a jitter, 0 to 1.
    Share,
    /// Width or offset of a jitter, ms.
    Width,
    /// A delay of a table, ms.
    Delay(usize),
}

/// A number that was estimated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ParameterEstimate {
    /// Which.
    pub quantity: Quantity,
    /// The roundest value within the interval; in milliseconds where it is a time.
    pub value: f64,
    /// Lower end of the interval in which it lies with a probability of 95 %.
    pub lo: f64,
    /// Upper end.
    pub hi: f64,
}

const JITTERS: [JitterForm; 9] = [
    JitterForm::Full,
    JitterForm::Equal,
    JitterForm::Below,
    JitterForm::Around,
    JitterForm::Add,
    JitterForm::OffsetFull,
    JitterForm::Between,
    JitterForm::Comb,
    JitterForm::Decorrelated,
];

impl Family {
    /// The families of delays with jitter, with so many lead delays.
    pub fn jittered(lead: usize) -> Vec<Family> {
        let mut all = Vec::new();
        for growth in [Growth::Fixed, Growth::Linear, Growth::Exponential] {
            for jitter in JITTERS {
                let caps: &[Option<CapStage>] = match (growth, jitter) {
                    // All of these are U(a, b), which `Below` is, too.
                    (
                        Growth::Fixed,
                        JitterForm::Add | JitterForm::OffsetFull | JitterForm::Between | JitterForm::Around | JitterForm::Equal,
                    )
                    | (Growth::Fixed | Growth::Linear, JitterForm::Decorrelated) => continue,
                    (Growth::Fixed, _) => &[None],
                    (_, JitterForm::Decorrelated) => &[None, Some(CapStage::Raw)],
                    _ => &[None, Some(CapStage::Raw), Some(CapStage::Final)],
                };
                all.extend(caps.iter().map(|cap| Family { lead, growth, jitter, cap: *cap, own_base: false }));
            }
        }
        all
    }

    /// The same delay for ever, with so many lead delays.
    pub fn constant(lead: usize) -> Family {
        Family { lead, growth: Growth::Fixed, jitter: JitterForm::None, cap: None, own_base: false }
    }

    /// The families of delays without jitter, with so many lead delays, where so many steps were seen after those.
    pub fn unjittered(lead: usize, steps: usize, own_base: bool) -> Vec<Family> {
        let one = |growth, cap| Family { lead, growth, jitter: JitterForm::None, cap, own_base };
        let mut all = vec![one(Growth::Fixed, None)];
        for growth in [Growth::Linear, Growth::Exponential].into_iter().filter(|_| steps > 1) {
            all.extend([None, Some(CapStage::Raw)].map(|cap| one(growth, cap)));
        }
        if lead == 0 && !own_base {
            all.extend((2..=steps).map(|delays| one(Growth::Table(delays), None)));
        }
        all
    }

    /// Its numbers, in order.
    pub fn quantities(self) -> Vec<Quantity> {
        let mut all = Vec::new();
        match self.growth {
            Growth::Table(delays) => all.extend((0..delays).map(Quantity::Delay)),
            _ if self.own_base => {}
            _ => all.push(Quantity::Base),
        }
        match self.growth {
            Growth::Linear => all.push(Quantity::Step),
            Growth::Exponential => all.push(Quantity::Factor),
            Growth::Fixed | Growth::Table(_) => {}
        }
        match self.jitter {
            JitterForm::Below | JitterForm::Around | JitterForm::Comb => all.push(Quantity::Share),
            JitterForm::Add | JitterForm::OffsetFull | JitterForm::Between => all.push(Quantity::Width),
            _ => {}
        }
        all.extend(self.cap.map(|_| Quantity::Cap));
        all
    }

    /// The policy of these values, one for each of its numbers. Its lead, and bases of clients, are the caller's.
    pub fn policy(self, values: &[f64]) -> Policy {
        let quantities = self.quantities();
        let get = |wanted| quantities.iter().position(|one| *one == wanted).and_then(|at| values.get(at)).copied().unwrap_or_default();
        let (share, width) = (get(Quantity::Share), duration_ms(get(Quantity::Width)));
        let jitter = match self.jitter {
            JitterForm::None => Jitter::None,
            JitterForm::Full => Jitter::FULL,
            JitterForm::Equal => Jitter::EQUAL,
            JitterForm::Below => Jitter::Mult { lo: 1.0 - share, hi: 1.0 },
            JitterForm::Around => Jitter::Mult { lo: 1.0 - share, hi: 1.0 + share },
            JitterForm::Add => Jitter::Add { lo: Duration::ZERO, hi: width },
            JitterForm::OffsetFull => Jitter::OffsetFull { offset: width },
            JitterForm::Between => Jitter::Between { offset: width },
            JitterForm::Comb => Jitter::Comb10 { x: share },
            JitterForm::Decorrelated => Jitter::Decorrelated,
        };
        let base = duration_ms(get(Quantity::Base));
        let plain = match self.growth {
            Growth::Fixed => Policy::fixed(base),
            Growth::Linear => Policy::linear(base, duration_ms(get(Quantity::Step)), None),
            Growth::Exponential => Policy::exponential(base, get(Quantity::Factor), None, Jitter::None),
            Growth::Table(delays) => Policy::table((0..delays).map(|at| duration_ms(get(Quantity::Delay(at)))).collect(), TableEnd::Repeat),
        };
        let cap = self.cap.map(|_| duration_ms(get(Quantity::Cap)));
        Policy { cap, cap_stage: self.cap.unwrap_or(CapStage::Raw), jitter, ..plain }
    }

    /// Whether a delay depends on the delay before.
    pub fn is_chained(self) -> bool {
        self.jitter == JitterForm::Decorrelated
    }
}

impl Quantity {
    /// The value of a free number.
    pub fn value(self, free: f64) -> f64 {
        match self {
            Quantity::Factor => 1.0 + free.clamp(-12.0, 4.0).exp(),
            Quantity::Share => 1.0 / (1.0 + (-free).exp()),
            _ => free.clamp(-3.0, 18.0).exp(),
        }
    }

    /// The free number of a value.
    pub fn free(self, value: f64) -> f64 {
        let share = value.clamp(1e-6, 1.0 - 1e-6);
        match self {
            Quantity::Factor => (value - 1.0).max(1e-5).ln(),
            Quantity::Share => (share / (1.0 - share)).ln(),
            _ => value.max(0.06).ln(),
        }
    }

    /// Whether it is a time, in milliseconds.
    pub fn is_time(self) -> bool {
        !matches!(self, Quantity::Factor | Quantity::Share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_has_the_values_of_its_family() {
        assert!(matches!(Family::unjittered(0, 3, false).last(), Some(Family { growth: Growth::Table(3), .. })));
        for family in [Family::jittered(0), Family::unjittered(1, 4, false), Family::unjittered(0, 4, false)].concat() {
            let values: Vec<f64> =
                family.quantities().iter().map(|one| if one.is_time() { 250.0 } else { one.value(one.free(0.25)) }).collect();
            let policy = family.policy(&values);
            assert_eq!(policy.cap.is_some(), family.cap.is_some(), "{family:?}");
            assert_eq!(policy.kind == crate::reconnect::ScheduleKind::Exponential, family.growth == Growth::Exponential);
            assert_eq!(policy.jitter == Jitter::None, family.jitter == JitterForm::None);
        }
    }

    #[test]
    fn every_value_has_a_free_number() {
        for (one, value) in [(Quantity::Base, 250.0), (Quantity::Factor, 1.3), (Quantity::Share, 0.5)] {
            assert!((one.value(one.free(value)) / value - 1.0).abs() < 1e-9, "{one:?}");
        }
    }
}
