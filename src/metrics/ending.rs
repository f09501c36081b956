//! Endings: the client's account and the server's, joined by client and connection, and counted by what they have in common.
//!
//! Either account may come first, and the server's may never come: it was killed, or is not embedded.

use super::outage::{Acted, LATE_US};
use super::peak::{Close, Peaks};
use super::told_apart::ToldApart;
use crate::close::{Cause, Ending, Initiator, TcpEnd, TlsEnd};
use crate::fault::Side;
use crate::plan::LocalRow;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// A connection: the row of its client, and its number.
type ConnectionKey = (LocalRow, u32);

/// Accounts that wait for their other half; beyond this the oldest is counted alone. About 25 MB.
const PENDING: usize = 262_144;
/// So many more places than accounts that wait may be in their order.
const LEFT_BEHIND: usize = 4_096;
/// Distinct reasons that are told apart; further ones count as [`OTHER`].
const REASONS: usize = 1_000;
/// Stands for reasons beyond the bound.
pub const OTHER: &str = "(other)";

/// What endings are counted by. Faults and cohorts by index in the plan.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EndingKey {
    /// Cohort.
    pub cohort: u16,
    /// Both sides' knowledge of why.
    pub cause: Cause,
    /// The fault that last acted on the connection.
    pub fault: Option<u16>,
    /// Who started it.
    pub initiator: Initiator,
    /// Received by the client; where nobody saw that, sent to it.
    pub wire_received: Option<u16>,
    /// Sent by the client.
    pub wire_sent: Option<u16>,
    /// As the client saw it; `None`: nobody saw the client's side.
    pub tcp_end: Option<TcpEnd>,
    /// As the client saw it; `None` on ws, and where nobody saw the client's side.
    pub tls_end: Option<TlsEnd>,
    /// The client's received bytes were cut inside a frame; `None`: nobody saw the client's side.
    pub mid_frame: Option<bool>,
    /// As the client saw it, or who saw the connection.
    pub clean: bool,
    /// Reported to the client's user; `None`: nobody saw the client's side.
    pub client_code: Option<u16>,
    /// The server's account.
    pub server: Option<ServerSide>,
}

/// What is counted of a server's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ServerSide {
    /// Reported to the server's user.
    pub code: u16,
    /// As the server saw it.
    pub tcp_end: TcpEnd,
    /// As the server saw it; `None` on ws.
    pub tls_end: Option<TlsEnd>,
    /// Received by the server.
    pub wire_received: Option<u16>,
    /// As the server saw it.
    pub clean: bool,
}

impl ServerSide {
    fn of(ending: &Ending) -> ServerSide {
        let Ending { code, tcp_end, tls_end, wire_received, clean, .. } = *ending;
        ServerSide { code, tcp_end, tls_end, wire_received, clean }
    }
}

impl EndingKey {
    /// The codes in it that come from outside.
    fn codes(&self) -> impl Iterator<Item = u16> {
        let server = self.server.map(|server| [Some(server.code), server.wire_received]).unwrap_or_default();
        [self.wire_received, self.wire_sent, self.client_code, server[0], server[1]].into_iter().flatten()
    }

    /// With the names of its codes.
    pub(super) fn named(self, told: &ToldApart) -> EndingKey {
        if !told.has_others() {
            return self;
        }
        let name = |code: Option<u16>| code.map(|code| told.name(code));
        let server = |side: ServerSide| ServerSide { code: told.name(side.code), wire_received: name(side.wire_received), ..side };
        EndingKey {
            wire_received: name(self.wire_received),
            wire_sent: name(self.wire_sent),
            client_code: name(self.client_code),
            server: self.server.map(server),
            ..self
        }
    }
}

/// A counted ending: the first second of the interval of the client's account, and what it is counted by.
pub type Counted = (u32, EndingKey);

/// What the server process of a connection has suffered of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suffered {
    /// Nothing, or nothing that keeps it from telling how its connections end.
    Nothing,
    /// It is stopped, or asked to end: it may tell later, or never.
    Stop,
    /// It is gone: it tells nothing any more.
    Crash,
}

#[derive(Clone, Debug)]
struct ServerEndings {
    side: ServerSide,
    cause: Cause,
    initiator: Initiator,
}

#[derive(Clone, Debug, Default)]
struct Half {
    /// Offset, µs; the first second of its interval, and the account.
    client: Option<(u64, Counted)>,
    server: Option<ServerEndings>,
    /// The last fault that acted on the connection, as far as known.
    acted: Option<Acted>,
    /// A fault on server processes that acted on the connection: what speaks for a server that was killed.
    killed: Option<u16>,
}

/// What all endings of a run come to.
#[derive(Debug)]
pub struct Finished {
    /// Endings by interval and key.
    pub counts: BTreeMap<Counted, u64>,
    /// Which of their codes are told apart.
    pub told: ToldApart,
    /// With which reasons.
    pub reasons: Reasons,
    /// Connections of which only the server gave an account, in no order, with the cause that it names.
    pub alone: Vec<(ConnectionKey, Cause)>,
    /// What was counted for peaks.
    pub peaks: Option<Peaks>,
}

/// The joining of accounts, and the counts.
#[derive(Clone, Debug)]
pub struct Endings {
    /// Whether the accounts of a server, or what its injector tells, may come at all.
    joins: bool,
    /// Whether accounts of a server may.
    server_tells: bool,
    pending: HashMap<ConnectionKey, Half>,
    order: VecDeque<ConnectionKey>,
    /// Those for which no server will tell anything, since when, µs: only what the injector tells may come late.
    brief: VecDeque<(u64, ConnectionKey)>,
    counts: BTreeMap<Counted, u64>,
    told: ToldApart,
    /// What was counted last and how often in a row, not in `counts` yet: endings come in crowds of the same.
    last: Option<(Counted, u64)>,
    /// The same for `reasons`.
    last_reason: (u16, String, u64),
    reasons: Reasons,
    /// Where a peak of closes is expected.
    peaks: Option<Peaks>,
}

impl Endings {
    /// `joins`: a server or its injector will report about connections.
    pub fn new(joins: bool) -> Endings {
        Endings {
            joins,
            server_tells: true,
            pending: HashMap::new(),
            order: VecDeque::new(),
            brief: VecDeque::new(),
            counts: BTreeMap::new(),
            told: ToldApart::default(),
            last: None,
            last_reason: (0, String::new(), 0),
            reasons: Reasons::default(),
            peaks: None,
        }
    }

    /// Whether the server's account of what ends from now on may come after the client's.
    pub(super) fn await_server(&mut self, may_come: bool) {
        self.joins = may_come;
    }

    /// Whether there is a server that tells of its own: otherwise only its injector does.
    pub(super) fn of_server(mut self, tells: bool) -> Endings {
        self.server_tells = tells;
        self
    }

    /// Counts closes for these peaks, too.
    pub fn counting(mut self, peaks: Option<Peaks>) -> Endings {
        self.peaks = peaks;
        self
    }

    /// Tells the codes apart that are the scenario's own, however many others come.
    pub(super) fn telling_apart(mut self, own: impl IntoIterator<Item = u16>) -> Endings {
        self.told = ToldApart::new(own);
        self
    }

    /// The client's account, at an offset in µs and in the interval with this first second. `acted`: the last fault that did so on the connection,
    /// if any did, and what the server process suffered of it.
    pub(super) fn client(
        &mut self,
        (at, second): (u64, u32),
        who: ConnectionKey,
        cohort: u16,
        ending: &Ending,
        (acted, suffered): (Option<Acted>, Suffered),
    ) {
        self.count_brief(at);
        self.reason(ending.code, &ending.reason);
        let key = EndingKey {
            cohort,
            cause: ending.cause,
            fault: None,
            initiator: ending.initiator,
            wire_received: ending.wire_received,
            wire_sent: ending.wire_sent,
            tcp_end: Some(ending.tcp_end),
            tls_end: ending.tls_end,
            mid_frame: Some(ending.mid_frame),
            clean: ending.clean,
            client_code: Some(ending.code),
            server: None,
        };
        let half = if self.pending.is_empty() { Half::default() } else { self.pending.remove(&who).unwrap_or_default() };
        let killed = acted.filter(|_| suffered != Suffered::Nothing).map(|acted| acted.fault);
        let half = Half { client: Some((at, (second, key))), server: half.server, acted, killed: killed.or(half.killed) };
        if !self.joins || half.server.is_some() {
            return self.fold(half);
        }
        if suffered == Suffered::Crash || !self.server_tells {
            self.brief.push_back((at, who));
        }
        self.wait(who, half);
    }

    /// Counts those alone of which nothing will be told any more.
    fn count_brief(&mut self, now: u64) {
        while let Some((_, who)) = self.brief.front().copied().filter(|(since, _)| since + LATE_US <= now) {
            self.brief.pop_front();
            if let Some(half) = self.pending.remove(&who) {
                self.fold(half);
            }
        }
    }

    fn reason(&mut self, code: u16, reason: &str) {
        let (last_code, last, count) = &mut self.last_reason;
        // Most have none; comparing two of no length by `memcmp` is strangely slow, 70 ns.
        if *last_code == code && (last.is_empty() && reason.is_empty() || last == reason) {
            *count += 1;
            return;
        }
        if *count > 0 {
            self.reasons.count(*last_code, last, *count);
        }
        self.last_reason = (code, reason.to_owned(), 1);
    }

    /// The server's account.
    pub fn server(&mut self, who: ConnectionKey, ending: &Ending) {
        let server = ServerEndings { side: ServerSide::of(ending), cause: ending.cause, initiator: ending.initiator };
        let half = self.pending.remove(&who).unwrap_or_default();
        let half = Half { server: Some(server), ..half };
        if half.client.is_none() { self.wait(who, half) } else { self.fold(half) }
    }

    /// A fault acted on a connection whose client may have reported its end already; `suffered`: what its server process did of it.
    pub(super) fn acted(&mut self, who: ConnectionKey, acted: Acted, suffered: Suffered) {
        if self.pending.is_empty() {
            return;
        }
        let Some(half) = self.pending.get_mut(&who) else { return };
        let end = half.client.as_ref().map(|(end, _)| *end);
        if suffered == Suffered::Crash {
            // Whatever it suffered before, its server is gone.
            end.into_iter().for_each(|end| self.brief.push_back((end.max(acted.at), who)));
        }
        if end.is_some_and(|end| !acted.counts_until(end)) {
            return;
        }
        if half.acted.is_none_or(|last| last.at <= acted.at) {
            half.acted = Some(acted);
        }
        if suffered != Suffered::Nothing {
            half.killed = Some(acted.fault);
        }
    }

    /// Client accounts so far, by code.
    pub(super) fn codes(&self) -> BTreeMap<u16, u64> {
        let mut codes: BTreeMap<u16, u64> = self.reasons.counts.iter().map(|(code, reasons)| (*code, reasons.values().sum())).collect();
        let (code, _, count) = &self.last_reason;
        if *count > 0 {
            *codes.entry(*code).or_default() += count;
        }
        codes
    }

    /// Counts all that still wait.
    pub fn finish(mut self) -> Finished {
        let mut alone = Vec::new();
        for (who, half) in std::mem::take(&mut self.pending) {
            if let (None, Some(server)) = (&half.client, &half.server) {
                alone.push((who, server.cause));
            }
            self.fold(half);
        }
        if let Some((last, count)) = self.last.take() {
            self.count(last, count);
        }
        if self.told.cut() {
            self.name_again();
        }
        // Whatever it is, it makes the present one count.
        self.reason(0, OTHER);
        Finished { counts: self.counts, told: self.told, reasons: self.reasons, alone, peaks: self.peaks }
    }

    fn wait(&mut self, who: ConnectionKey, half: Half) {
        self.pending.insert(who, half);
        self.order.push_back(who);
        while self.pending.len() > PENDING {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some(half) = self.pending.remove(&oldest) {
                self.fold(half);
            }
        }
        // Joined pairs leave their place in the order behind.
        if self.order.len() > 2 * self.pending.len() + LEFT_BEHIND {
            self.order.retain(|who| self.pending.contains_key(who));
        }
    }

    /// A connection of a client of which nobody tells, by the account of its server; `None`: the server is gone, too.
    pub(super) fn seen_by_server(&mut self, (at, second): (u64, u32), cohort: u16, ending: Option<&Ending>, acted: Option<Acted>) {
        if let Some(ending) = ending {
            self.reason(ending.code, &ending.reason);
        }
        let cause = match (ending, acted) {
            (Some(ending), _) => ending.cause,
            (None, Some(acted)) => Cause::Fault(acted.fault),
            (None, None) => Cause::Remote,
        };
        let key = EndingKey {
            cohort,
            cause,
            fault: Acted::fault_of(acted, at, cause),
            initiator: ending.map_or(Initiator::None, |ending| ending.initiator),
            wire_received: ending.and_then(|ending| ending.wire_sent),
            wire_sent: ending.and_then(|ending| ending.wire_received),
            tcp_end: None,
            tls_end: None,
            mid_frame: None,
            clean: ending.is_some_and(|ending| ending.clean),
            client_code: None,
            server: ending.map(ServerSide::of),
        };
        self.fold_key(at, (second, key));
    }

    fn fold(&mut self, half: Half) {
        let Some((at, (second, key))) = half.client else { return };
        let mut key = joined(key, half.server.as_ref(), half.killed);
        key.fault = Acted::fault_of(half.acted, at, key.cause);
        self.fold_key(at, (second, key));
    }

    fn fold_key(&mut self, at: u64, counted: Counted) {
        if let Some(peaks) = &mut self.peaks {
            accounts(&counted.1).for_each(|close| peaks.close(at, close));
        }
        match &mut self.last {
            Some((last, count)) if *last == counted => *count += 1,
            last => {
                if let Some((last, count)) = last.replace((counted, 1)) {
                    self.count(last, count);
                }
            }
        }
    }

    fn count(&mut self, (second, key): Counted, n: u64) {
        let mut seen: Vec<u16> = Vec::new();
        let mut fewer = false;
        for code in key.codes() {
            if !seen.contains(&code) {
                seen.push(code);
                fewer |= self.told.meet(code, n);
            }
        }
        if fewer {
            self.name_again();
        }
        *self.counts.entry((second, key.named(&self.told))).or_default() += n;
    }

    /// Puts together what is not told apart any more.
    fn name_again(&mut self) {
        for ((second, key), n) in std::mem::take(&mut self.counts) {
            *self.counts.entry((second, key.named(&self.told))).or_default() += n;
        }
    }
}

/// What each side saw of an ending, as far as it is known.
fn accounts(key: &EndingKey) -> impl Iterator<Item = Close> {
    let account = |side, reported, wire, (tcp_end, tls_end), clean| Close {
        cohort: key.cohort,
        fault: key.fault,
        cause: key.cause,
        side,
        reported,
        wire,
        tcp_end,
        tls_end,
        clean,
    };
    let client = key.client_code.zip(key.tcp_end);
    let client = client.map(|(code, end)| account(Side::Client, code, key.wire_received, (end, key.tls_end), key.clean));
    let server = key.server.map(|of| account(Side::Server, of.code, of.wire_received, (of.tcp_end, of.tls_end), of.clean));
    [client, server].into_iter().flatten()
}

/// The client's account completed by what the server's side knows.
///
/// A client that only saw its peer end the connection learns why it did so: from the server's account the fault or the server's own
/// deadline, or, where the server was killed and cannot give one, from the injector the fault.
fn joined(mut key: EndingKey, server: Option<&ServerEndings>, killed: Option<u16>) -> EndingKey {
    let cause = match server {
        Some(server) => {
            key.server = Some(server.side);
            if key.initiator == Initiator::None && key.cause.is_of_peer() {
                key.initiator = server.initiator;
            }
            server.cause
        }
        None => killed.map_or(Cause::Remote, Cause::Fault),
    };
    if key.cause.is_of_peer() && cause != Cause::Remote {
        key.cause = cause;
    }
    key
}

/// Pairs of reported code and reason, with a bound.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reasons {
    distinct: usize,
    counts: BTreeMap<u16, BTreeMap<String, u64>>,
}

impl Reasons {
    /// Counts `n` connections that were told this.
    pub fn count(&mut self, code: u16, reason: &str, n: u64) {
        let of_code = self.counts.entry(code).or_default();
        if let Some(count) = of_code.get_mut(reason) {
            *count += n;
            return;
        }
        let reason = if self.distinct < REASONS { reason } else { OTHER };
        self.distinct += 1;
        *of_code.entry(reason.to_owned()).or_default() += n;
    }

    /// Adds the counts of another.
    pub fn add(&mut self, other: &Reasons) {
        for (code, reasons) in &other.counts {
            reasons.iter().for_each(|(reason, n)| self.count(*code, reason, *n));
        }
    }

    /// The `n` most frequent: code, reason, count; equal counts by code and reason.
    pub fn top(&self, n: usize) -> Vec<(u16, &str, u64)> {
        let mut all: Vec<_> =
            self.counts.iter().flat_map(|(code, reasons)| reasons.iter().map(|(reason, count)| (*code, reason.as_str(), *count))).collect();
        all.sort_by_key(|row| std::cmp::Reverse(row.2)); // stable, so ties keep the order of the map
        all.truncate(n);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::super::told_apart::OTHER_CODE;
    use super::*;

    fn account(cause: Cause, initiator: Initiator, code: u16) -> Ending {
        Ending {
            cause,
            initiator,
            wire_received: Some(code),
            wire_sent: Some(code),
            tcp_end: TcpEnd::Fin,
            tls_end: None,
            mid_frame: false,
            clean: true,
            code,
            reason: "bye".to_owned(),
            bytes_after: 0,
        }
    }

    #[test]
    fn accounts_join_in_either_order() {
        let (client, server) = (account(Cause::Remote, Initiator::None, 1001), account(Cause::Fault(2), Initiator::Server, 1001));
        let run = |client_first: bool| {
            let mut endings = Endings::new(true);
            if client_first {
                endings.client((4_000_000, 4), (LocalRow(7), 1), 0, &client, (None, Suffered::Nothing));
            }
            endings.server((LocalRow(7), 1), &server);
            if !client_first {
                endings.client((4_000_000, 4), (LocalRow(7), 1), 0, &client, (None, Suffered::Nothing));
            }
            endings.finish()
        };
        let Finished { counts, reasons, alone, .. } = run(true);
        assert_eq!(counts, run(false).counts);
        let ((second, key), count) = counts.iter().next().unwrap();
        assert_eq!((*second, *count, alone.len()), (4, 1, 0));
        assert_eq!((key.cause, key.initiator, key.server.unwrap().code), (Cause::Fault(2), Initiator::Server, 1001));
        assert_eq!(reasons.top(20), [(1001, "bye", 1)]);
    }

    #[test]
    fn a_killed_server_is_spoken_for_by_the_injector_even_late() {
        let mut endings = Endings::new(true);
        endings.client((0, 0), (LocalRow(0), 1), 0, &account(Cause::Remote, Initiator::Server, 1006), (None, Suffered::Nothing));
        endings.acted((LocalRow(0), 1), Acted { at: 0, fault: 5 }, Suffered::Stop);
        endings.client(
            (0, 0),
            (LocalRow(1), 1),
            0,
            &account(Cause::Stay, Initiator::Client, 1000),
            (Some(Acted { at: 0, fault: 5 }), Suffered::Stop),
        );
        endings.server((LocalRow(9), 9), &account(Cause::Remote, Initiator::Client, 1000));
        let Finished { counts, alone, .. } = endings.finish();
        let causes: Vec<_> = counts.keys().map(|(_, key)| (key.cause, key.server)).collect();
        assert_eq!(causes, [(Cause::Fault(5), None), (Cause::Stay, None)]);
        assert_eq!(alone, [((LocalRow(9), 9), Cause::Remote)]);
    }

    #[test]
    fn a_peer_that_chooses_ever_new_codes_fills_no_memory_and_no_ending_is_lost() {
        let mut endings = Endings::new(false).telling_apart([1000, 4999]);
        let mut random = crate::seed::Seed(9).stream("codes");
        for n in 0..100_000 {
            let code = [4999, 3500, 3000 + random.below(2000) as u16][n % 3];
            let at = n as u64 * 1_000;
            endings.client(
                (at, (at / 1_000_000) as u32),
                (LocalRow(7), 1),
                0,
                &account(Cause::Remote, Initiator::Server, code),
                (None, Suffered::Nothing),
            );
            assert!(endings.counts.len() < 50_000);
        }
        let Finished { counts, told, reasons, .. } = endings.finish();
        let of = |code: u16| counts.iter().filter(|((_, key), _)| key.client_code == Some(code)).map(|(_, n)| n).sum::<u64>();
        let codes: std::collections::BTreeSet<_> = counts.keys().filter_map(|(_, key)| key.client_code).collect();
        assert_eq!(counts.values().sum::<u64>(), 100_000);
        assert!(told.has_others() && codes.len() <= 202 && of(OTHER_CODE) > 25_000, "{} codes, {} others", codes.len(), of(OTHER_CODE));
        assert!(of(4999) >= 33_334 && of(3500) >= 33_333, "the frequent ones keep their own counts");
        assert!(counts.keys().all(|(_, key)| key.wire_received == key.client_code && key.wire_sent == key.wire_received));
        assert_eq!(reasons.top(9_999).iter().map(|row| row.2).sum::<u64>(), 100_000);
    }

    #[test]
    fn reasons_are_bounded() {
        let mut reasons = Reasons::default();
        (0..2_500).for_each(|i| reasons.count(4000, &i.to_string(), 1));
        assert_eq!(reasons.top(1), [(4000, OTHER, 1_500)]);
        assert_eq!(reasons.top(9_999).len(), REASONS + 1);
    }

    #[test]
    fn waiting_accounts_are_bounded_and_none_is_lost() {
        let mut endings = Endings::new(true);
        let ending = account(Cause::Remote, Initiator::Server, 1000);
        let n = PENDING as u32 + 10;
        (0..n).for_each(|client| endings.client((0, 0), (LocalRow(client), 1), 0, &ending, (None, Suffered::Nothing)));
        assert_eq!(endings.pending.len(), PENDING);
        assert!(endings.order.len() <= 2 * PENDING + LEFT_BEHIND);
        assert_eq!(endings.finish().counts.values().sum::<u64>(), u64::from(n));
    }

    #[test]
    fn nobody_waits_for_a_server_that_is_gone_nor_for_one_that_tells_nothing() {
        let ending = account(Cause::Remote, Initiator::None, 1006);
        let crash = (Some(Acted { at: 0, fault: 5 }), Suffered::Crash);
        let minutes = |n: u64| n * LATE_US;
        for (tells, acted) in [(true, crash), (false, (None, Suffered::Nothing))] {
            let mut endings = Endings::new(true).of_server(tells);
            (0..10).for_each(|n| endings.client((minutes(n), 0), (LocalRow(n as u32), 1), 0, &ending, acted));
            assert_eq!((endings.pending.len(), endings.brief.len()), (1, 1));
            assert_eq!(endings.finish().counts.values().sum::<u64>(), 10);
        }
        // One that runs may tell at any time, until it is killed.
        let mut endings = Endings::new(true);
        (0..10).for_each(|n| endings.client((minutes(n), 0), (LocalRow(n as u32), 1), 0, &ending, (None, Suffered::Nothing)));
        assert_eq!(endings.pending.len(), 10);
        (0..10).for_each(|n| endings.acted((LocalRow(n), 1), Acted { at: minutes(20), fault: 5 }, Suffered::Crash));
        endings.client((minutes(20) + 9, 0), (LocalRow(0), 2), 0, &ending, (None, Suffered::Nothing));
        assert_eq!(endings.pending.len(), 11, "what it had told may be on its way");
        endings.client((minutes(21), 0), (LocalRow(0), 3), 0, &ending, (None, Suffered::Nothing));
        assert_eq!(endings.pending.len(), 2);
        let Finished { counts, .. } = endings.finish();
        assert!(counts.keys().all(|(_, key)| key.cause == Cause::Remote), "it came too late to have ended them");
    }

    #[test]
    fn joined_accounts_leave_little_behind() {
        let mut endings = Endings::new(true);
        let ending = account(Cause::Remote, Initiator::Server, 1000);
        for n in 0..10 * LEFT_BEHIND as u32 {
            endings.client((0, 0), (LocalRow(n), 1), 0, &ending, (None, Suffered::Nothing));
            endings.server((LocalRow(n), 1), &ending);
            assert!(endings.pending.is_empty() && endings.order.len() <= LEFT_BEHIND + 2);
        }
    }
}
