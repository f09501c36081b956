//! The policy that was learnt, as `reconnect = { … }` of a scenario.

use super::findings::{Findings, Return, StayedAway};
use super::rules::{Judgement, RULES};
use crate::close::{ABNORMAL, NO_STATUS};
use crate::estimate::busy_ms;
use crate::reconnect::{CapStage, ConnectTimeout, Jitter, Policy, Reset, ScheduleKind, TableEnd};
use crate::units::{duration_ms, ms, print_duration};
use std::time::Duration;

/// `reconnect = { … }` of a scenario.
pub fn toml(policy: &Policy) -> String {
    let time = |time: Duration| format!("\"{}\"", print_duration(time));
    let times = |times: &[Duration]| format!("[{}]", times.iter().map(|one| time(*one)).collect::<Vec<_>>().join(", "));
    let mut inner = Vec::new();
    let mut beside = Vec::new();
    let word = match policy.kind {
        ScheduleKind::None => return "reconnect = \"none\"".to_owned(),
        ScheduleKind::Fixed | ScheduleKind::Poll(_) => {
            inner.push(format!("delay = {}", time(policy.base)));
            "fixed"
        }
        ScheduleKind::Linear => {
            inner.extend([format!("base = {}", time(policy.base)), format!("step = {}", time(policy.step))]);
            "linear"
        }
        ScheduleKind::Exponential => {
            inner.extend([format!("base = {}", time(policy.base)), format!("factor = {:?}", (policy.factor * 1e4).round() / 1e4)]);
            "exponential"
        }
        ScheduleKind::Table => {
            inner.push(format!("delays = {}", times(&policy.table)));
            if policy.table_end != TableEnd::Repeat {
                inner.push(format!("end = \"{}\"", policy.table_end));
            }
            "table"
        }
    };
    let cap = policy.cap.map(|cap| format!("cap = {}", time(cap)));
    if matches!(policy.kind, ScheduleKind::Linear | ScheduleKind::Exponential) {
        inner.extend(cap)
    } else {
        beside.extend(cap)
    }
    if policy.cap.is_some() && policy.cap_stage != CapStage::Raw {
        beside.push(format!("cap_stage = \"{}\"", policy.cap_stage));
    }
    let (jitter, numbers) = jitter(&policy.jitter);
    let jitter = format!("jitter = \"{jitter}\"");
    if policy.kind == ScheduleKind::Exponential {
        inner.push(jitter)
    } else {
        beside.push(jitter)
    }
    beside.extend(numbers);
    if let Some((lo, hi)) = policy.base_per_client {
        beside.push(format!("base_per_client = {}", times(&[lo, hi])));
    }
    if !policy.lead.is_empty() {
        let lead: Vec<String> = policy.lead.iter().map(|(lo, hi)| times(&[*lo, *hi])).collect();
        beside.push(format!("lead = [{}]", lead.join(", ")));
    }
    if let Some(most) = policy.max_retries {
        beside.push(format!("max_retries = {most}"));
    }
    if !policy.stop_codes.is_empty() {
        let codes: Vec<String> = policy.stop_codes.to_string().split(", ").map(|code| format!("\"{code}\"")).collect();
        beside.push(format!("stop_codes = [{}]", codes.join(", ")));
    }
    beside.extend(beyond_waits(policy));
    let all: Vec<String> = std::iter::once(format!("{word} = {{ {} }}", inner.join(", "))).chain(beside).collect();
    format!("reconnect = {{ {} }}", all.join(", "))
}

/// What is no affair of waits: when it begins anew, what it does after HTTP statuses, how long an attempt may take.
fn beyond_waits(policy: &Policy) -> Vec<String> {
    let mut beside = Vec::new();
    if policy.reset != Policy::fixed(Duration::ZERO).reset {
        beside.push(format!("reset = \"{}\"", policy.reset));
    }
    if policy.reset == Reset::Uptime {
        beside.push(format!("reset_uptime = \"{}\"", print_duration(policy.reset_uptime)));
    }
    if policy.stop_on_connect_error {
        beside.push("stop_on_connect_error = true".to_owned());
    }
    if let Some(retried) = &policy.retry_http_status {
        beside.push(format!("retry_http_status = {retried:?}"));
    }
    if let Some(ConnectTimeout { first, factor, cap }) = &policy.connect_timeout {
        beside.push(format!("connect_timeout = \"{}\"", print_duration(*first)));
        if *factor > 1.0 {
            beside.push(format!("connect_timeout_factor = {factor:?}"));
            beside.extend(cap.map(|cap| format!("connect_timeout_cap = \"{}\"", print_duration(cap))));
        }
    }
    beside
}

/// The word of a jitter, and its numbers as settings.
pub fn jitter(jitter: &Jitter) -> (&'static str, Vec<String>) {
    let time = |name: &str, time: &Duration| format!("{name} = \"{}\"", print_duration(*time));
    // To four digits, which is more than any interval tells, and with a point, as TOML wants it.
    let number = |name: &str, number: f64| format!("{name} = {:?}", (number * 1e4).round() / 1e4);
    match jitter {
        Jitter::None => ("none", Vec::new()),
        full if *full == Jitter::FULL => ("full", Vec::new()),
        equal if *equal == Jitter::EQUAL => ("equal", Vec::new()),
        Jitter::Mult { lo, hi } => ("mult", vec![number("jitter_lo", *lo), number("jitter_hi", *hi)]),
        Jitter::Add { lo, hi } => ("add", vec![time("jitter_lo", lo), time("jitter_hi", hi)]),
        Jitter::OffsetFull { offset } => ("offset_full", vec![time("offset", offset)]),
        Jitter::Between { offset } => ("between", vec![time("offset", offset)]),
        Jitter::Comb10 { x } => ("comb10", vec![number("jitter_x", *x)]),
        Jitter::Decorrelated => ("decorrelated", Vec::new()),
    }
}

/// The policy that was found, with what only the questions say: after which codes and statuses it stays away, when it begins anew, when it gives
/// up, and how long an attempt may take.
pub fn policy(found: &Findings) -> Option<Policy> {
    let mut policy = found.fit.as_ref()?.policy.clone();
    let away: Vec<String> = found
        .codes
        .iter()
        .filter(|after| after.back.wait().is_none() && ![NO_STATUS, ABNORMAL].contains(&after.code))
        .map(|after| after.code.to_string())
        .collect();
    policy.stop_codes = crate::reconnect::Codes::parse(&away).unwrap_or_default();
    // Of statuses nobody asked about it is said that they are final, where some are: so does the model.
    let (back, away): (Vec<_>, Vec<_>) = found.statuses.iter().partition(|(_, back)| back.wait().is_some());
    policy.retry_http_status = (!away.is_empty()).then(|| back.iter().map(|(status, _)| *status).collect());
    // After so much it did begin anew, and not after so little.
    if counts_on(found) {
        (policy.reset, policy.reset_uptime) = (Reset::Uptime, found.held);
    }
    policy.connect_timeout =
        found.unanswered.and_then(Return::wait).map(|time| ConnectTimeout { first: whole(time), factor: 1.0, cap: None });
    policy.max_retries = max_retries(found);
    Some(policy)
}

/// After how many attempts it gave up; `None`: never, or it may only have waited for longer than somebody waited for it.
fn max_retries(found: &Findings) -> Option<u32> {
    let least = found.gave_up.iter().map(|away| away.attempts).min()?;
    let next = next_wait(found)?;
    let for_good = |away: &StayedAway| away.attempts == least && away.within.is_none_or(|within| next < within);
    // A process that died early is none that gave up.
    (least as usize == found.attempts() && found.gave_up.iter().any(for_good)).then_some(least)
}

/// The longest wait that could have come after those that were seen; `None`: too few waits.
fn next_wait(found: &Findings) -> Option<Duration> {
    let (fit, attempts, longest) = (found.fit.as_ref()?, found.attempts(), ms(found.longest()));
    let next = match fit.laws(attempts + 1).get(attempts) {
        // A single wait says nothing of growth.
        _ if attempts < 2 => longest,
        Some(law) => law.iter().map(|piece| piece.hi_ms).fold(longest, f64::max),
        // It depends on the wait before it.
        None => (fit.policy.factor * longest).min(fit.policy.cap.map_or(f64::INFINITY, ms)),
    };
    Some(duration_ms(next + busy_ms(next)))
}

/// Whether its waits go on growing over connections that were cut right after they opened.
fn counts_on(found: &Findings) -> bool {
    RULES.iter().any(|rule| rule.name == "stable-reset" && matches!(rule.judge(found, None), Judgement::Pass(_)))
}

/// What people write for a time that was seen a little late, or whose begin was: whole tenths of a second, where it is a second or more.
fn whole(time: Duration) -> Duration {
    let grain = if time >= Duration::from_secs(1) { 100 } else { 10 };
    Duration::from_millis((time.as_millis() as u64 + grain / 5) / grain * grain).max(Duration::from_millis(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimate::SeenOutage;
    use crate::reconnect::{Codes, presets};

    const MINUTE: Duration = Duration::from_secs(60);

    /// What the questions say beside the waits.
    #[test]
    fn what_a_client_does_after_statuses_and_short_connections_is_in_its_policy() {
        let waits = |waits: &[f64]| SeenOutage { client: 1, waits_ms: waits.to_vec() };
        let growing = waits(&[100.0, 200.0, 400.0, 800.0]);
        let mut found = Findings {
            held: Duration::from_secs(6),
            outages: vec![growing.clone(), growing.clone(), growing.clone()],
            short_lived: vec![growing.clone()],
            statuses: [401, 403, 404, 429, 503]
                .map(|status| (status, if status < 429 { Return::NotWithin(MINUTE) } else { Return::After(Duration::from_secs(1)) }))
                .to_vec(),
            unanswered: Some(Return::After(Duration::from_millis(4_003))),
            ..Findings::default()
        };
        found.fit = crate::estimate::fit(&found.outages, crate::seed::Seed(1));
        let learnt = policy(&found).unwrap();
        assert_eq!(learnt.retry_http_status, Some(vec![429, 503]));
        assert_eq!((learnt.reset, learnt.reset_uptime), (Reset::Uptime, Duration::from_secs(6)));
        assert_eq!(learnt.connect_timeout.map(|timeout| timeout.first), Some(Duration::from_secs(4)));
        found.short_lived = vec![waits(&[100.0, 100.0, 100.0, 100.0])];
        found.statuses.iter_mut().for_each(|(_, back)| *back = Return::After(Duration::from_secs(1)));
        let learnt = policy(&found).unwrap();
        assert_eq!((learnt.retry_http_status, learnt.reset), (None, Reset::Ready));
    }

    /// Whoever waits for longer than somebody waited for it has not given up.
    #[test]
    fn it_gave_up_where_it_would_have_come_in_time_or_its_process_ended() {
        let seen = |waits_ms: &[f64], within: Option<u64>| {
            let outages = vec![SeenOutage { client: 1, waits_ms: waits_ms.to_vec() }; 6];
            let fit = crate::estimate::fit(&outages, crate::seed::Seed(1));
            let away = StayedAway { attempts: waits_ms.len() as u32, within: within.map(Duration::from_secs) };
            policy(&Findings { outages, fit, gave_up: vec![away; 6], ..Findings::default() }).unwrap().max_retries
        };
        let steep = [1_000.0, 6_000.0, 36_000.0];
        assert_eq!(seen(&steep, Some(113)), None, "the next wait would have been 216 s");
        assert_eq!(seen(&steep, Some(240)), Some(3));
        assert_eq!(seen(&steep, None), Some(3));
        assert_eq!(seen(&[1_000.0; 5], Some(40)), Some(5));
        assert_eq!(seen(&[2_000.0], Some(40)), Some(1));
    }

    #[test]
    fn a_time_is_what_people_write_where_it_or_its_begin_is_seen_late() {
        for (seen, written) in [(4_003, 4_000), (3_000, 3_000), (2_984, 3_000), (2_960, 2_900), (512, 510), (499, 500), (3, 1)] {
            assert_eq!(whole(Duration::from_millis(seen)), Duration::from_millis(written), "{seen}");
        }
    }

    /// What is printed is what a scenario reads.
    #[test]
    fn a_printed_policy_is_read_back() {
        let own = Policy {
            lead: vec![(Duration::ZERO, Duration::from_secs(5))],
            stop_codes: Codes::parse(&["1008", "4400"]).unwrap(),
            max_retries: Some(5),
            reset: Reset::Uptime,
            reset_uptime: Duration::from_secs(6),
            retry_http_status: Some(vec![429, 503]),
            connect_timeout: Some(ConnectTimeout { first: Duration::from_secs(4), factor: 1.5, cap: Some(Duration::from_secs(30)) }),
            ..Policy::exponential(
                Duration::from_millis(130),
                1.7,
                Some(Duration::from_secs(2)),
                Jitter::Mult { lo: 0.6699999999, hi: 1.33 },
            )
        };
        let simple = presets()
            .map(|preset| preset.policy.clone())
            .filter(|policy| !matches!(policy.kind, ScheduleKind::Poll(_) | ScheduleKind::None));
        for policy in simple.chain([own]) {
            let text = format!("duration = \"5s\"\n[target.embedded]\n[clients.web]\ncount = 1\n{}\n", toml(&policy));
            let plan = crate::scenario::load(
                &crate::scenario::Source::Text { name: "learned".to_owned(), text: text.clone() },
                &crate::scenario::Overrides::default(),
            )
            .unwrap_or_else(|errors| panic!("{errors}\n{text}"));
            let read = &plan.cohorts[0].reconnect;
            assert_eq!(
                (
                    read.kind,
                    read.base,
                    read.step,
                    &read.table,
                    read.cap,
                    read.cap_stage,
                    &read.lead,
                    read.base_per_client,
                    read.max_retries
                ),
                (
                    policy.kind,
                    policy.base,
                    policy.step,
                    &policy.table,
                    policy.cap,
                    policy.cap_stage,
                    &policy.lead,
                    policy.base_per_client,
                    policy.max_retries
                ),
                "{text}"
            );
            assert!((read.factor - policy.factor).abs() < 1e-3, "{text}");
            assert_eq!(std::mem::discriminant(&read.jitter), std::mem::discriminant(&policy.jitter), "{text}");
            assert_eq!(
                (&read.stop_codes, read.reset, &read.retry_http_status, read.stop_on_connect_error, read.table_end),
                (&policy.stop_codes, policy.reset, &policy.retry_http_status, policy.stop_on_connect_error, policy.table_end),
                "{text}"
            );
            assert_eq!(read.connect_timeout, policy.connect_timeout, "{text}");
            assert!(policy.reset != Reset::Uptime || read.reset_uptime == policy.reset_uptime, "{text}");
        }
    }
}
