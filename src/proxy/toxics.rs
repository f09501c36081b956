//! Toxiproxy's toxics: their types with attributes, and what they ask of a connection in the terms of our own links.

use crate::fault::shape::PathShape;
use crate::fault::{End, Flow};
use crate::proxy::effects::{DirectionEffects, RelayEffects};
use crate::proxy::frames::StreamSide;
use crate::seed::Seed;
use std::time::Duration;
use tokio::time::Instant;

/// Longer times count as this: sums of them stay in bounds.
const TIME_MAX: Duration = Duration::from_secs(365 * 86_400);

/// A type of toxic: its name, its attributes in the order in which they are listed, and what it does.
#[derive(Debug)]
pub(crate) struct ToxicType {
    pub(crate) name: &'static str,
    pub(crate) attributes: &'static [&'static str],
    /// From the values of the attributes, in the same order.
    effect: fn(&[i64]) -> ToxicEffect,
    /// Connections on which it acted are closed when it no longer does: bytes are missing from them.
    closes_when_removed: bool,
}

/// What a toxic asks of a connection.
#[derive(Default)]
struct ToxicEffect {
    direction: DirectionEffects,
    /// The connection ends so long after the toxic began to act on it.
    end: Option<(Duration, End)>,
}

/// All types. Toxiproxy counts a rate in KB/s of 1,000 bytes, times in ms and the slicer's in µs.
pub(crate) const TYPES: &[ToxicType] = &[
    plain("latency", &["latency", "jitter"], |of| {
        shaped(PathShape { latency: millis(of[0]), jitter: millis(of[1]), ..PathShape::default() })
    }),
    plain("bandwidth", &["rate"], |of| match u64::try_from(of[0]) {
        // Nothing passes until the rate changes or the toxic is removed.
        Ok(0) | Err(_) => shaped(PathShape { hold: true, ..PathShape::default() }),
        Ok(rate) => shaped(PathShape { rate: Some(rate.saturating_mul(1000)), ..PathShape::default() }),
    }),
    plain("slow_close", &["delay"], |of| ToxicEffect {
        direction: DirectionEffects { end_delay: millis(of[0]), ..DirectionEffects::default() },
        end: None,
    }),
    ToxicType {
        closes_when_removed: true,
        ..plain("timeout", &["timeout"], |of| ToxicEffect {
            direction: DirectionEffects { flow: Flow::Discard, ..DirectionEffects::default() },
            end: (of[0] > 0).then(|| (millis(of[0]), End::Fin)),
        })
    },
    plain("reset_peer", &["timeout"], |of| ToxicEffect { end: Some((millis(of[0]), End::Rst)), ..ToxicEffect::default() }),
    plain("slicer", &["average_size", "size_variation", "delay"], |of| {
        let [slice, slice_variation] = [of[0], of[1]].map(|size| u64::try_from(size).unwrap_or(0));
        let slice_gap = Duration::from_micros(u64::try_from(of[2]).unwrap_or(0)).min(TIME_MAX);
        shaped(PathShape { slice, slice_variation, slice_gap, ..PathShape::default() })
    }),
    plain("limit_data", &["bytes"], |of| ToxicEffect {
        direction: DirectionEffects { limit: Some(u64::try_from(of[0]).unwrap_or(0)), ..DirectionEffects::default() },
        end: None,
    }),
    plain("noop", &[], |_| ToxicEffect::default()),
];

const fn plain(name: &'static str, attributes: &'static [&'static str], effect: fn(&[i64]) -> ToxicEffect) -> ToxicType {
    ToxicType { name, attributes, effect, closes_when_removed: false }
}

fn shaped(shape: PathShape) -> ToxicEffect {
    ToxicEffect { direction: DirectionEffects { shape, ..DirectionEffects::default() }, end: None }
}

/// A negative time is none.
fn millis(count: i64) -> Duration {
    Duration::from_millis(u64::try_from(count).unwrap_or(0)).min(TIME_MAX)
}

/// A toxic of a proxy.
#[derive(Clone, Debug)]
pub(crate) struct Toxic {
    /// Not that of any other toxic, also not of one of the same name that was removed.
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) of: &'static ToxicType,
    pub(crate) stream: StreamSide,
    /// Share of connections on which it acts, 0 to 1; what is beyond counts as 0 or 1.
    pub(crate) toxicity: f64,
    /// In the order of the type's attributes.
    pub(crate) values: Vec<i64>,
}

impl Toxic {
    /// Whether it acts on a connection: drawn once from the seed and the three names, so that a change of the toxic draws nothing again.
    fn acts_on(&self, seed: Seed, proxy: &str, connection: u64) -> bool {
        seed.stream(&format!("proxy/{proxy}/{connection}/toxic/{}", self.name)).unit() < self.toxicity
    }
}

/// Which toxics act on one connection, and since when.
#[derive(Debug, Default)]
pub(crate) struct ActingToxics(Vec<ActingToxic>);

#[derive(Debug)]
struct ActingToxic {
    id: u64,
    since: Instant,
    /// Bytes of its direction that had passed then.
    passed: u64,
    closes_when_removed: bool,
}

/// The connection whose toxics change.
pub(crate) struct ToxicSubject<'a> {
    pub(crate) seed: Seed,
    pub(crate) proxy: &'a str,
    pub(crate) connection: u64,
    pub(crate) now: Instant,
    /// Bytes that have passed, up and down.
    pub(crate) passed: [u64; 2],
}

impl ActingToxics {
    /// Takes over a changed list; gives what holds for the connection from now on. `None`: it has to be closed.
    pub(crate) fn change(&mut self, toxics: &[Toxic], on: &ToxicSubject<'_>) -> Option<RelayEffects> {
        let (before, mut effects) = (std::mem::take(&mut self.0), RelayEffects::default());
        for toxic in toxics.iter().filter(|toxic| toxic.acts_on(on.seed, on.proxy, on.connection)) {
            let known = before.iter().find(|acting| acting.id == toxic.id);
            let passed = on.passed[toxic.stream as usize];
            let (since, passed) = known.map_or((on.now, passed), |known| (known.since, known.passed));
            let effect = (toxic.of.effect)(&toxic.values);
            let direction = match toxic.stream {
                StreamSide::Up => &mut effects.up,
                StreamSide::Down => &mut effects.down,
            };
            let limit = effect.direction.limit.map(|limit| limit.saturating_add(passed));
            direction.add(DirectionEffects { limit, ..effect.direction });
            let end = effect.end.and_then(|(after, how)| Some((since.checked_add(after)?, how)));
            effects.end = [effects.end, end].into_iter().flatten().min_by_key(|(at, _)| *at);
            self.0.push(ActingToxic { id: toxic.id, since, passed, closes_when_removed: toxic.of.closes_when_removed });
        }
        let gone = |acting: &&ActingToxic| !self.0.iter().any(|still| still.id == acting.id);
        if before.iter().filter(gone).any(|acting| acting.closes_when_removed) { None } else { Some(effects) }
    }

    /// Whether this one acts.
    pub(crate) fn has(&self, toxic: &Toxic) -> bool {
        self.0.iter().any(|acting| acting.id == toxic.id)
    }

    /// Whether none acts.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toxic(id: u64, of: &str, stream: StreamSide, values: &[i64]) -> Toxic {
        let of = TYPES.iter().find(|row| row.name == of).expect("a type");
        Toxic { id, name: format!("{}-{id}", of.name), of, stream, toxicity: 1.0, values: values.to_vec() }
    }

    fn subject(now: Instant, passed: [u64; 2]) -> ToxicSubject<'static> {
        ToxicSubject { seed: Seed(1), proxy: "p", connection: 1, now, passed }
    }

    #[tokio::test(start_paused = true)]
    async fn toxics_become_effects_of_their_direction() {
        let now = Instant::now();
        let list = [
            toxic(1, "latency", StreamSide::Up, &[100, 20]),
            toxic(2, "latency", StreamSide::Up, &[50, -1]),
            toxic(3, "bandwidth", StreamSide::Down, &[2]),
            toxic(4, "slicer", StreamSide::Down, &[10, 3, 500]),
            toxic(5, "limit_data", StreamSide::Down, &[100]),
            toxic(6, "slow_close", StreamSide::Up, &[70]),
            toxic(7, "timeout", StreamSide::Down, &[900]),
            toxic(8, "reset_peer", StreamSide::Up, &[800]),
        ];
        let mut acting = ActingToxics::default();
        let effects = acting.change(&list, &subject(now, [7, 40])).expect("it goes on");
        let ms = Duration::from_millis;
        assert_eq!((effects.up.shape.latency, effects.up.shape.jitter, effects.up.end_delay), (ms(150), ms(20), ms(70)));
        let down = &effects.down;
        assert_eq!((down.shape.rate, down.shape.slice, down.shape.slice_variation), (Some(2000), 10, 3));
        assert_eq!((down.limit, down.flow, effects.end), (Some(140), Flow::Discard, Some((now + ms(800), End::Rst))));
        // What acts goes on from where it began; who lost bytes is closed.
        let later = acting.change(&list[4..], &subject(now + ms(500), [7, 90])).expect("it goes on");
        assert_eq!((later.down.limit, later.end), (Some(140), Some((now + ms(800), End::Rst))));
        assert!(acting.change(&list[..6], &subject(now, [0, 0])).is_none() && !acting.is_empty());
        let none = acting.change(&[], &subject(now, [0, 0]));
        assert!(none == Some(RelayEffects::default()) && acting.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn times_and_rates_of_any_size_are_taken() {
        for row in TYPES {
            for value in [i64::MIN, -1, 0, 1, i64::MAX] {
                let list = [
                    toxic(1, row.name, StreamSide::Up, &vec![value; row.attributes.len()]),
                    toxic(2, "latency", StreamSide::Up, &[value, 0]),
                ];
                assert!(ActingToxics::default().change(&list, &subject(Instant::now(), [u64::MAX, 0])).is_some(), "{}: {value}", row.name);
            }
        }
    }

    #[test]
    fn whom_a_toxic_hits_depends_on_seed_connection_and_name_alone() {
        let hit = |seed, toxicity| -> Vec<u64> {
            let of = Toxic { toxicity, ..toxic(1, "noop", StreamSide::Up, &[]) };
            (0..1000).filter(|connection| of.acts_on(Seed(seed), "p", *connection)).collect()
        };
        let half = hit(1, 0.5);
        assert!((450..550).contains(&half.len()), "{}", half.len());
        assert!(half == hit(1, 0.5) && half != hit(2, 0.5));
        assert!(half.iter().all(|connection| hit(1, 0.6).contains(connection)), "more of them, and none less");
        assert_eq!((hit(1, 0.0).len(), hit(1, 1.0).len(), hit(1, -3.0).len()), (0, 1000, 0));
    }
}
