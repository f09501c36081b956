//! A preset in words, for `closestorm presets` and `closestorm presets NAME`.

use super::presets::{Preset, Verified};
use super::{Anchor, CapStage, Decision, Driver, Jitter, Loss, NextAddress, Policy, Reset, ScheduleKind, ServesWhen, TableEnd, WholeDraw};
use crate::event::GiveUp;
use crate::units::duration_ms;
use std::time::Duration;

/// Columns of text beside the labels.
const TEXT_WIDTH: usize = 100;
/// Delays shown for each draw.
const SHOWN: usize = 7;

/// The first delays of a client that was connected for `lived`, was cut, and whose attempts all fail at once; every draw is `u`.
///
/// At most `count` of them, and why it gave up if it did before.
pub(super) fn delays(policy: &Policy, u: f64, lived: Duration, count: usize) -> (Vec<Duration>, Option<GiveUp>) {
    let random = &mut || u;
    let mut history = policy.start(random);
    history.attempt_started(Duration::ZERO);
    history.opened(Duration::ZERO);
    history.ready();
    let mut now = lived;
    let mut loss = Loss::Closed { code: crate::close::ABNORMAL };
    let mut waits = Vec::new();
    loop {
        match policy.decide(&mut history, &loss, now, random) {
            Decision::GiveUp(why) => return (waits, Some(why)),
            Decision::Wait(_) if waits.len() == count => return (waits, None),
            Decision::Wait(wait) => {
                waits.push(wait);
                now += wait;
                history.attempt_started(now);
            }
        }
        loss = Loss::Failed;
    }
}

impl Preset {
    /// One line for the list of presets.
    pub fn summary(&self) -> String {
        let jitter = match self.policy.jitter {
            Jitter::None if self.policy.base_per_client.is_some() => "random base per client",
            Jitter::None => "no jitter",
            _ => "jitter",
        };
        let (waits, end) = delays(&self.policy, 0.5, LONG, 4);
        let waits = waits.into_iter().map(text).chain(end.is_none().then(|| "…".to_owned())).collect::<Vec<_>>().join(", ");
        let schedule = if waits.is_empty() { String::new() } else { format!("{waits}; {jitter}; ") };
        format!("{schedule}gives up: {} ({})", gives_up(&self.policy), self.package())
    }

    /// All that is known of it, as lines of a label and a text, and a scenario snippet that uses it.
    pub fn describe(&self) -> String {
        let policy = &self.policy;
        let mut lines = vec![("package", self.package())];
        if policy.kind != ScheduleKind::None {
            lines.extend(schedule_lines(policy));
            let note = self.facts.reset_note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
            lines.push(("reset", reset(policy) + &note));
        }
        lines.push(("ready", ready(policy)));
        lines.push(("gives up", gives_up(policy)));
        lines.extend(code_lines(policy));
        lines.extend(policy.blind_until_ready.map(|blind| ("ends unready", ends_unready(blind))));
        lines.push(("connect timeout", connect_timeout(policy)));
        lines.extend(self.facts.connect_timeout_note.clone().map(|note| ("", note)));
        lines.push(("heartbeat", heartbeat(policy)));
        lines.push(("silent death", self.detection()));
        let resume = if policy.resume { "resumes its earlier sessions" } else { "always a full handshake" };
        let note = self.facts.resume_note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
        lines.push(("TLS", resume.to_owned() + &note));
        let note = self.facts.next_address_note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
        lines.push(("addresses", next_address(policy.next_address) + &note));
        lines.extend(self.other_facts());
        lines.push(("verified", verified(self.facts.verified).to_owned()));
        lines.extend(self.facts.measured.clone().map(|measured| ("measured", measured)));
        lines.push(("source", self.facts.source.clone()));
        let body: String = lines.into_iter().map(|(label, text)| paragraph(label, &text)).collect();
        format!("{}\n\n{body}\n  [clients.web]\n  count = 1000\n  reconnect = \"{}\"\n", self.id, self.id)
    }

    fn package(&self) -> String {
        format!("{} {}", self.facts.package, self.facts.version)
    }

    fn detection(&self) -> String {
        let facts = super::find(self.facts.alias_of.as_ref().unwrap_or(&self.id)).map_or(&self.facts, |preset| &preset.facts);
        match (facts.detect_min_ms, facts.detect_max_ms) {
            (Some(min), Some(max)) => format!("noticed after {} to {}", of_ms(min), of_ms(max)),
            _ => "not noticed by the library".to_owned(),
        }
    }

    fn other_facts(&self) -> Vec<(&'static str, String)> {
        let facts = &self.facts;
        let deadline = |what: &str, ms: Option<f64>| ms.map(|ms| ("not modelled", format!("{what} within {}", of_ms(ms))));
        let rejoin = facts.rejoin_table_ms.as_ref().map(|table| table.iter().map(|ms| of_ms(*ms)).collect::<Vec<_>>().join(", "));
        let budget = (facts.budget_tokens, facts.budget_cost, facts.budget_refund);
        let retry_after = match facts.retry_after_extra_cap_ms {
            Some(ms) => format!("lengthens a delay by at most {} (not modelled)", of_ms(ms)),
            None => "not honoured".to_owned(),
        };
        [
            Some(("Retry-After", retry_after)),
            (!facts.stop_messages.is_empty()).then(|| ("not modelled", format!("stops after: {}", facts.stop_messages.join("; ")))),
            facts.http_requests_per_attempt.filter(|n| *n > 1).map(|n| ("not modelled", format!("{n} HTTP requests per attempt"))),
            deadline("protocol handshake", facts.handshake_timeout_ms),
            deadline("hello of the server", facts.hello_timeout_ms),
            deadline("protocol ready", facts.ready_timeout_ms),
            rejoin.map(|table| ("not modelled", format!("rejoin after {table}: {}", facts.rejoin_note.as_deref().unwrap_or_default()))),
            match budget {
                (Some(size), Some(cost), Some(refund)) => {
                    Some(("not modelled", format!("bucket of {size} tokens, a retry costs {cost}, a success gives back {refund}")))
                }
                _ => None,
            },
            facts.immediate_note.clone().map(|note| ("note", note)),
            Some(("note", facts.note.clone())).filter(|(_, note)| !note.is_empty()),
            facts.extra_note.clone().map(|note| ("note", note)),
            facts.alias_of.as_ref().map(|id| ("note", format!("behaves as {id}"))),
            (!facts.aliases.is_empty()).then(|| ("also called", facts.aliases.join(", "))),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Connected for so long that delays counted from the last attempt are past.
pub(super) const LONG: Duration = Duration::from_secs(3600);

fn schedule_lines(policy: &Policy) -> Vec<(&'static str, String)> {
    let mut lines = vec![("schedule", schedule(policy)), ("jitter", jitter(policy))];
    let shown = [("= 0", 0.0), ("= 0.5", 0.5), ("near 1", 0.999_999)].map(|(label, u)| (label, delays(policy, u, LONG, SHOWN)));
    let same = shown[0].1 == shown[1].1 && shown[1].1 == shown[2].1;
    for (index, (label, (waits, end))) in shown.into_iter().enumerate().take(if same { 1 } else { 3 }) {
        let mut words: Vec<String> = waits.into_iter().map(text).collect();
        words.push(if end.is_some() { "gives up".to_owned() } else { "…".to_owned() });
        let label = if same { String::new() } else { format!("  (U {label})") };
        lines.push((if index == 0 { "first delays" } else { "" }, words.join(", ") + &label));
    }
    lines.push(("", "U is the draw; of a client cut after a long connection, all attempts refused".to_owned()));
    let anchor = match policy.anchor {
        Anchor::Close => "the loss or failure",
        Anchor::AttemptStart => "the start of the previous attempt; at once when that is past",
    };
    lines.push(("counted from", anchor.to_owned()));
    if let Some(phase2) = policy.phase2 {
        let [after, first, every] = [phase2.after, phase2.first, phase2.every].map(text);
        lines.push(("then", format!("{after} after the first attempt: once after {first}, then every {every}, no jitter")));
    }
    lines
}

fn schedule(policy: &Policy) -> String {
    let base = match policy.base_per_client {
        Some((lo, hi)) => format!("b (drawn once per client from {} to {})", text(lo), text(hi)),
        None => text(policy.base),
    };
    let plus = if policy.exp0 == 0 { "k".to_owned() } else { format!("(k + {})", policy.exp0) };
    let main = match policy.kind {
        ScheduleKind::None => "none".to_owned(),
        ScheduleKind::Fixed => format!("always {base}"),
        ScheduleKind::Linear => format!("{base} + {} · k", text(policy.step)),
        ScheduleKind::Exponential if policy.jitter == Jitter::Decorrelated => {
            format!("from {base} to {} times the previous delay", policy.factor)
        }
        ScheduleKind::Exponential => format!("{base} · {}^{plus}", policy.factor),
        ScheduleKind::Poll(polling) => format!(
            "a timer of {base} · {}^min(n, {}) that also runs while connected; attempts at a tick when no message came for {}, \
             not sooner than {} after the loss",
            policy.factor,
            policy.max_exponent.unwrap_or(u32::MAX),
            text(polling.stale),
            text(polling.min_disconnected)
        ),
        ScheduleKind::Table => {
            let end = if policy.table_end == TableEnd::Stop { "" } else { ", the last one for ever" };
            policy.table.iter().map(|entry| text(*entry)).collect::<Vec<_>>().join(", ") + end
        }
    };
    let cap = policy.cap.map(|cap| match policy.cap_stage {
        CapStage::Raw => format!(", at most {} before jitter", text(cap)),
        CapStage::Final => format!(", at most {} after jitter", text(cap)),
        CapStage::Both => format!(", at most {} before and after jitter", text(cap)),
    });
    let lead: Vec<String> =
        policy.lead.iter().map(|(lo, hi)| if lo == hi { text(*lo) } else { format!("{} to {}", text(*lo), text(*hi)) }).collect();
    let lead = if lead.is_empty() { String::new() } else { format!("{}, then ", lead.join(", ")) };
    format!("{lead}{main}{}", cap.unwrap_or_default())
}

fn jitter(policy: &Policy) -> String {
    let main = match policy.jitter {
        Jitter::None if policy.base_per_client.is_some() => "only in the base: each client is periodic".to_owned(),
        Jitter::None => "none".to_owned(),
        Jitter::Mult { lo, hi } => match policy.kind {
            ScheduleKind::Poll(polling) => format!("times {lo} to {hi}, at n = 0 times {lo} to {}, uniform", polling.jitter_hi_n0),
            _ => format!("times {lo} to {hi}, uniform"),
        },
        Jitter::Add { lo, hi } => format!("plus {} to {}, uniform", text(lo), text(hi)),
        Jitter::OffsetFull { offset } => format!("{} plus a uniform share of the raw delay", text(offset)),
        Jitter::Between { offset } => format!("uniform from {} to the raw delay", text(offset)),
        Jitter::Comb10 { x } => format!("comb: ten bands within ±{} %, half of the range never occurs", x * 100.0),
        Jitter::Decorrelated => "decorrelated: uniform from the base to a multiple of the previous delay".to_owned(),
    };
    let whole = match policy.jitter_int {
        Some(WholeDraw::Inclusive | WholeDraw::Exclusive) => ", whole milliseconds",
        None => "",
    };
    let first = if policy.jitter_first { "" } else { ", not in the first delay" };
    let compounds = if policy.jitter_compounds { ", compounding" } else { "" };
    let redraw = if policy.redraw { ", drawn again after each sleep until not longer" } else { "" };
    format!("{main}{whole}{first}{compounds}{redraw}")
}

fn reset(policy: &Policy) -> String {
    match policy.reset {
        Reset::Open => "when the connection opens".to_owned(),
        Reset::Ready => "when the connection is ready".to_owned(),
        Reset::Uptime => format!("after {} open", text(policy.reset_uptime)),
        Reset::HttpOk => "at any HTTP answer".to_owned(),
        Reset::None => "never".to_owned(),
    }
}

/// When its clients count as back, where neither scenario nor echo traffic says it.
fn ready(policy: &Policy) -> String {
    match policy.ready {
        ServesWhen::Open => "when open".to_owned(),
        ServesWhen::Message => "with the first message of the server".to_owned(),
        ServesWhen::Uptime => format!("when open for {}", text(policy.reset_uptime)),
    }
}

fn gives_up(policy: &Policy) -> String {
    if policy.kind == ScheduleKind::None {
        return "at once: it does not reconnect".to_owned();
    }
    let table = (policy.kind == ScheduleKind::Table && policy.table_end == TableEnd::Stop).then_some(policy.table.len() as u32);
    let retries = policy.max_retries.map_or(table, |max| Some(table.map_or(max, |table| table.min(max))));
    let mut when = Vec::new();
    when.extend(retries.map(|n| format!("after {n} retries")));
    when.extend(policy.stop_on_connect_error.then(|| "when an attempt fails".to_owned()));
    when.extend((!policy.retry_initial && !policy.stop_on_connect_error).then(|| "when the very first attempt fails".to_owned()));
    when.extend(policy.retry_http_status.as_ref().map(|retried| {
        let retried: Vec<String> = retried.iter().map(u16::to_string).collect();
        format!("when rejected with an HTTP status other than {}", retried.join(", "))
    }));
    if when.is_empty() { "never".to_owned() } else { when.join("; ") }
}

fn code_lines(policy: &Policy) -> Vec<(&'static str, String)> {
    let stop = if policy.stop_codes.is_empty() { "none: comes back after every code".to_owned() } else { policy.stop_codes.to_string() };
    let others = [("at once after", &policy.immediate_codes), ("1 s after", &policy.backoff1s_codes)];
    let others = others.into_iter().filter(|(_, codes)| !codes.is_empty()).map(|(label, codes)| (label, format!("status codes {codes}")));
    if policy.kind == ScheduleKind::None { Vec::new() } else { std::iter::once(("stop codes", stop)).chain(others).collect() }
}

impl Policy {
    /// When it abandons an attempt, in words; `None`: never.
    pub fn patience(&self) -> Option<String> {
        let timeout = self.connect_timeout?;
        let growth = if timeout.factor > 1.0 { format!(", times {} per failed attempt", timeout.factor) } else { String::new() };
        let cap = timeout.cap.map(|cap| format!(", at most {}", text(cap))).unwrap_or_default();
        Some(format!("{}{growth}{cap}", text(timeout.first)))
    }
}

/// What ends an attempt that nobody answers.
fn next_address(next: NextAddress) -> String {
    match next {
        NextAddress::Never => "uses one address of a name".to_owned(),
        NextAddress::Refused => "tries the next address of a name when one refuses".to_owned(),
        NextAddress::Abandoned(after) => {
            format!("tries the next address of a name when one refuses, or does not answer within {}: that one is given up", text(after))
        }
        NextAddress::Raced(after) => format!(
            "tries the next address of a name when one refuses, or does not answer within {}; the first that answers is taken",
            text(after)
        ),
    }
}

fn connect_timeout(policy: &Policy) -> String {
    let none = "none in the library: the kernel ends a TCP connect after about 134 s, an opening handshake is waited for without end";
    policy.patience().map_or(none.to_owned(), |patience| format!("{patience}, from the start of the attempt"))
}

/// What becomes of a connection that ends before it is ready.
fn ends_unready(blind: Duration) -> String {
    let when = if blind.is_zero() { "at once".to_owned() } else { format!("{} after it began", text(blind)) };
    format!("a failed attempt, noticed {when}")
}

fn heartbeat(policy: &Policy) -> String {
    let Some(heartbeat) = policy.heartbeat else { return "none".to_owned() };
    let who = match heartbeat.by {
        Driver::Client => "the client",
        Driver::Server => "the server",
    };
    let interval =
        if heartbeat.interval.is_zero() { "at its own interval".to_owned() } else { format!("every {}", text(heartbeat.interval)) };
    format!("{who}, {interval}, timeout {}", text(heartbeat.timeout))
}

fn verified(verified: Verified) -> &'static str {
    match verified {
        Verified::Run => "the real library was run: delay sequence; all else read from its source",
        Verified::Source => "read from the source, not run",
        Verified::Spec => "from a specification, or our own choice",
    }
}

/// A label and its text, wrapped with a hanging indent.
fn paragraph(label: &str, text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() || line.chars().count() + word.chars().count() < TEXT_WIDTH => {
                line.push_str(if line.is_empty() { "" } else { " " });
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    let labels = std::iter::once(label).chain(std::iter::repeat(""));
    lines.into_iter().zip(labels).map(|(line, label)| format!("  {label:<17}{line}\n")).collect()
}

fn of_ms(ms: f64) -> String {
    text(duration_ms(ms))
}

/// Rounded to whole milliseconds, as `500ms` or `1.5s`.
fn text(duration: Duration) -> String {
    let ms = (duration.as_secs_f64() * 1000.0).round() as u64;
    if ms == 0 { "0s".to_owned() } else { format!("{:?}", Duration::from_millis(ms)) }
}

#[cfg(test)]
mod tests {
    use crate::reconnect::{find, presets};

    #[test]
    fn a_preset_describes_itself() {
        insta::assert_snapshot!(find("socket.io-client").unwrap().describe(), @r#"
        socket.io-client

          package          socket.io-client 4.8.4
          schedule         1s · 2^k, at most 5s after jitter
          jitter           comb: ten bands within ±50 %, half of the range never occurs
          first delays     1s, 2s, 4s, 5s, 5s, 5s, 5s, … (U = 0)
                           1.25s, 2.5s, 5s, 5s, 5s, 5s, 5s, … (U = 0.5)
                           1.499s, 2.999s, 5s, 5s, 5s, 5s, 5s, … (U near 1)
                           U is the draw; of a client cut after a long connection, all attempts refused
          counted from     the loss or failure
          reset            when the connection is ready (on the OPEN packet of engine.io, the first message)
          ready            with the first message of the server
          gives up         never
          stop codes       none: comes back after every code
          ends unready     a failed attempt, noticed 20s after it began
          connect timeout  20s, from the start of the attempt
                           option timeout 20000, from the attempt to the OPEN packet of engine.io; run: 20.0 s, also when the
                           WebSocket opens and no packet comes
          heartbeat        the server, every 25s, timeout 20s
          silent death     noticed after 20s to 45s
          TLS              resumes its earlier sessions
          addresses        tries the next address of a name when one refuses, or does not answer within 250ms: that one is
                           given up (autoSelectFamily of Node 20 and newer, on which it runs: measured 2026-11-27 on Node
                           20.20.2 with ws 8.23.0, 253 ms from an address that swallows SYNs to the next; the last is waited
                           for)
          Retry-After      not honoured
          not modelled     stops after: socket.io DISCONNECT packet; socket.io CONNECT_ERROR packet
          note             a WebSocket that ends before the OPEN packet is noticed only when the connect timeout passes (with
                           polling first, its HTTP request fails at once). comb10: one U gives both size and sign: sign = -
                           when floor(10U) is even, + when odd; d = raw -/+ floor(U*x*raw). Cap is applied AFTER jitter, so
                           retry 5 and later are exactly 5000 ms. Server DISCONNECT packet and CONNECT_ERROR packet stop
                           automatic reconnection.
          note             default transports are polling first then upgrade: a failed attempt costs 1 HTTP request; a
                           successful one costs about 4 requests (GET open, POST connect, GET poll, WS upgrade). With
                           transports=[websocket] it is 1.
          verified         the real library was run: delay sequence; all else read from its source
          measured         2026-11-26, Node 20.20.2 with ws 8.23.0, transports = [websocket], U = 0.37: opened and closed or
                           cut before the OPEN packet: not noticed until the 20 s are over, 21203, 22392, 24769 ms apart;
                           server killed: 1196, 2376, 4743, 5058, 5004 ms; first connect refused: 1241, 2393, 4750, 5032 ms
          source           npm socket.io-client 4.8.4 build/cjs/manager.js:62-72,354-412 + build/cjs/contrib/backo2.js:29-37;
                           engine.io-client 6.6.8 build/cjs/socket.js:412-432; server defaults engine.io 6.6.12
                           build/server.js:48-50

          [clients.web]
          count = 1000
          reconnect = "socket.io-client"
        "#);
    }

    #[test]
    fn every_description_has_its_lines_and_a_snippet() {
        for preset in presets() {
            let told = preset.describe();
            for label in ["package", "gives up", "connect timeout", "heartbeat", "silent death", "TLS", "Retry-After", "verified", "source"]
            {
                assert!(told.lines().any(|line| line.starts_with(&format!("  {label:<17}"))), "{}: {label}", preset.id);
            }
            assert!(told.ends_with(&format!("reconnect = \"{}\"\n", preset.id)));
            assert!(!preset.summary().is_empty());
        }
    }
}
