//! Faults that were planned and acted on nobody, by the results of the whole run: parts of it may each have hit nobody.

use super::book::{FaultBook, Results, Status};
use super::meta::FaultMeta;
use crate::event::Event;
use crate::fault::{Acts, Effect, Side};
use crate::number::counted;
use crate::plan::{Pick, Plan, Shard};
use std::collections::BTreeMap;

impl Results {
    /// Why the results do not tell of the server, in words: what was met on the way, and what the results of the whole run show.
    pub fn why_unreliable(&self) -> Vec<String> {
        self.unreliable.iter().cloned().chain(self.parts.reasons()).chain(on_nobody(self)).collect()
    }
}

/// What of the plan's faults reached nobody, in words; each makes the verdict inconclusive.
pub fn on_nobody(results: &Results) -> Vec<String> {
    if results.status == Status::Aborted {
        // What was still to come is no failure, and the verdict is inconclusive already.
        return Vec::new();
    }
    let faults = results.meta.faults.iter().zip(&results.faults);
    // Who finds a dead server suffers, too.
    let mut attempts = results.books.iter().map(|book| &book.ledger.attempts);
    let all_opened = attempts.all(|attempts| attempts.opened == attempts.total);
    let reasons =
        faults.filter_map(|(meta, book)| Some((book, format!("fault {} was not carried out: ", meta.id), why(meta, book, all_opened)?)));
    // Of a fault that never fired the run may have told more.
    let told = |start: &str| results.unreliable.iter().any(|told| told.starts_with(start));
    reasons.filter(|(book, start, _)| book.fired > 0 || !told(start)).map(|(_, start, why)| start + &why).collect()
}

/// What parts with fixed quotas of `first_n` and `count` may have missed, in words: one has nobody left to hit while another one would.
/// Never more than the plan says.
pub fn missed(results: &Results, plan: &Plan) -> Vec<String> {
    let faults = plan.faults.iter().zip(&results.faults);
    let told = faults.filter_map(|(fault, book)| {
        // Servers ask one place for each hit.
        if fault.side != Side::Client && matches!(fault.inject.effect(fault.side), Effect::Attempt(_)) {
            return None;
        }
        let hits = book.selected.max(book.injected);
        let (bound, most) = match (fault.schedule.first_n, fault.select.pick) {
            (Some(first_n), _) => (format!("first_n = {first_n}"), first_n),
            (None, Pick::Count(count)) => (format!("count = {count}"), u64::from(count).saturating_mul(book.firings.len() as u64)),
            _ => return None,
        };
        let name = &fault.name;
        (hits < most)
            .then(|| format!("fault {name}: each worker or shard gets a fixed part of {bound}; together they hit {hits} of at most {most}"))
    });
    told.chain(rounded(results, plan)).collect()
}

/// Shares that parts have rounded each by itself, in words, where one process would have hit another number, or might have.
fn rounded(results: &Results, plan: &Plan) -> Vec<String> {
    let told = (0..).zip(&plan.faults).filter_map(|(index, fault)| {
        let Pick::Share(share) = fault.select.pick else { return None };
        let words = format!("fault {}: each worker or shard rounds its percentage on its own", fault.name);
        if super::meta::acts(fault) == Acts::Later {
            // Servers take connections and attempts of all parts.
            return Some(words).filter(|_| fault.side == Side::Client);
        }
        let mut firings: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        for (_, _, event) in results.milestones.kept() {
            if let Event::Fired { fault, firing, selected, eligible: Some(eligible) } = event
                && *fault == index
            {
                let (hit, all) = firings.entry(*firing).or_default();
                (*hit, *all) = (*hit + u64::from(*selected), *all + u64::from(*eligible));
            }
        }
        let (hit, wanted) = firings.values().fold((0, 0), |(hit, wanted), (here, all)| {
            let whole = Shard::WHOLE.portion(share, usize::try_from(*all).unwrap_or(usize::MAX));
            (hit + here, wanted + whole as u64)
        });
        (hit != wanted).then(|| format!("{words}: together they hit {hit}; one process would have hit {wanted}"))
    });
    told.collect()
}

/// Why a firing selected nobody, or fewer than it is asked for, in words.
pub fn so_few(meta: &FaultMeta, selected: u32, eligible: Option<u32>) -> Option<String> {
    match (eligible, meta.pick) {
        (None, _) if selected > 0 => None,
        (None, _) if meta.acts == Acts::Process => Some("no connection was open".to_owned()),
        (None, _) if meta.acts == Acts::Later => Some("it acts on attempts that begin after the firing".to_owned()),
        (Some(0), _) => Some("no connection matched its `select` filters".to_owned()),
        (Some(eligible), Pick::Count(count)) if eligible < count && selected > 0 => {
            Some(format!("only {eligible} of {} matched its `select` filters", counted(count.into(), "connection")))
        }
        (Some(eligible), Pick::Share(share)) if selected == 0 && share * f64::from(eligible) < 0.5 => {
            Some(format!("its percentage of {} rounds to zero", counted(eligible.into(), "connection")))
        }
        (Some(_), _) if selected == 0 => Some("its limit `hits` was reached".to_owned()),
        _ => None,
    }
}

/// Faults that were asked for more connections than there were, in words.
pub fn short(results: &Results) -> Vec<String> {
    let told = (0..).zip(&results.meta.faults).filter_map(|(index, meta)| {
        let Pick::Count(count) = meta.pick else { return None };
        let firings = results.milestones.kept().iter().filter_map(|(_, _, event)| match event {
            Event::Fired { fault, eligible: Some(eligible), .. } if *fault == index => Some(*eligible),
            _ => None,
        });
        let short: Vec<_> = firings.filter(|eligible| *eligible < count).collect();
        let (least, firings) = (short.iter().min()?, short.len());
        let times = if firings == 1 { "1 firing".to_owned() } else { format!("each of {firings} firings, at least") };
        let matched = counted((*least).into(), "connection");
        Some(format!("fault {}: select.count is {count}, and in {times} {matched} matched its filters", meta.id))
    });
    told.collect()
}

/// `all_opened`: no attempt of the run has failed.
fn why(meta: &FaultMeta, book: &FaultBook, all_opened: bool) -> Option<String> {
    match meta.acts {
        _ if book.fired == 0 => Some("it was due after the end of the run".to_owned()),
        Acts::Process if book.selected == 0 && all_opened => Some("it reached no connection and no attempt".to_owned()),
        Acts::Process | Acts::Later => None,
        Acts::Listener if book.injected == 0 => Some("it reached no listening socket".to_owned()),
        Acts::AtOnce | Acts::Perhaps if book.selected == 0 => Some("no connection matched when it fired".to_owned()),
        Acts::AtOnce if book.injected == 0 => {
            Some(format!("it selected {} but acted on none of them", counted(book.selected, "connection")))
        }
        Acts::AtOnce | Acts::Perhaps | Acts::Listener => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Recorder;
    use super::super::tests::meta;
    use super::*;
    use crate::event::{ClientIndex, ConnectionNo, Event, Outcome, Stage, Stages};
    use crate::observer::Observer;
    use crate::plan::Shard;
    use crate::scenario::{Overrides, Source, load};
    use std::time::Duration;

    #[test]
    fn faults_act_at_once_or_wait_for_something() {
        for (inject, expected) in [
            ("{drop_rst={}}", Acts::AtOnce),
            ("{blackhole={}}", Acts::AtOnce),
            ("{latency={}}", Acts::AtOnce),
            ("{frame_drop={}}", Acts::AtOnce),
            ("{ping_flood={}}", Acts::AtOnce),
            ("{pong_drop={}}", Acts::Perhaps),
            ("{close_ack_drop={}}", Acts::Perhaps),
            ("{limit_time={}}", Acts::Perhaps),
            ("{upgrade_status={}}", Acts::Later),
            ("{connect_refuse={}}", Acts::Listener),
            ("{server_crash={}}", Acts::Process),
        ] {
            let overrides = Overrides { set: vec![format!("faults=[{{at=\"1s\",inject={inject}}}]")], ..Overrides::default() };
            let plan = load(&Source::Bundled("default".to_owned()), &overrides).unwrap_or_else(|errors| panic!("{inject}: {errors}"));
            assert_eq!(super::super::meta::acts(&plan.faults[0]), expected, "{inject}");
        }
    }

    #[test]
    fn a_fault_that_reached_nobody_is_told_once() {
        let told = |selected: u32, injected: bool, status| {
            let mut recorder = Recorder::of(meta(), Shard::WHOLE, false, false);
            for fault in 0..3 {
                (0..2).for_each(|firing| recorder.on(Duration::from_secs(1), &Event::Fired { fault, firing, selected, eligible: None }));
            }
            let (client, connection) = (ClientIndex(0), ConnectionNo(1));
            if injected {
                recorder.on(Duration::from_secs(1), &Event::Injected { fault: 2, client, connection });
            }
            on_nobody(&recorder.finish(Duration::from_secs(9), status))
        };
        // The third is one that closes connections.
        let of = |why: &str| format!("fault close was not carried out: {why}");
        assert!(told(0, false, Status::Completed).contains(&of("no connection matched when it fired")));
        assert!(told(3, false, Status::Completed).contains(&of("it selected 6 connections but acted on none of them")));
        assert!(!told(3, true, Status::Completed).iter().any(|text| text.contains("fault close")));
        assert!(told(0, false, Status::Aborted).is_empty());
    }

    #[test]
    fn a_crash_that_nobody_noticed_is_told() {
        let set = vec!["faults=[{at=\"1s\",inject={server_crash={}}}]".to_owned()];
        let plan = load(&Source::Bundled("default".to_owned()), &Overrides { set, ..Overrides::default() }).expect("a scenario");
        let told = |failed: bool| {
            let mut recorder = Recorder::new(&plan, Shard::WHOLE);
            let (second, client) = (Duration::from_secs(1), ClientIndex(0));
            recorder.on(second, &Event::Fired { fault: 0, firing: 0, selected: 0, eligible: None });
            if failed {
                recorder.on(second, &Event::Arrived { client, due: second });
                recorder.on(second, &Event::AttemptStarted { client, due: second });
                let (stage, outcome) = (Stage::Tcp, Outcome::Refused);
                recorder.on(second, &Event::AttemptFailed { client, stage, outcome, times: Stages::default(), fault: None });
            }
            on_nobody(&recorder.finish(Duration::from_secs(9), Status::Completed))
        };
        let why = "fault server_crash-1 was not carried out: it reached no connection and no attempt";
        assert_eq!((told(false), told(true)), (vec![why.to_owned()], Vec::new()));
    }
}
