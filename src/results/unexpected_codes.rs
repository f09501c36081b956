//! Surprises: endings whose reported code the catalogue does not expect of the fault behind them.
//!
//! An ending is held against the row of the fault it belongs to, which is that of `closes.csv`: the last that acted on the connection. A kind
//! that ends nothing expects nothing. Where another fault is the cause, its codes are allowed too. Endings by a deadline or by a `stay`
//! have their own reason and are no surprise.

use super::record::SurpriseRow;
use crate::close::{Cause, MemoryLimit};
use crate::fault::expected_codes::ExpectedCodes;
use crate::metrics::book::Results;
use crate::metrics::ending::EndingKey;
use crate::metrics::meta::FaultMeta;
use std::collections::BTreeMap;

/// All of a run, the most frequent first.
pub(super) fn surprises(results: &Results) -> Vec<SurpriseRow> {
    let mut counts: BTreeMap<(u16, &str, u16), (Vec<u16>, u64)> = BTreeMap::new();
    for ((_, key), count) in &results.endings {
        for (fault, side, expected, observed) in unexpected(&results.meta.faults, key) {
            counts.entry((fault, side, observed)).or_insert((expected, 0)).1 += count;
        }
    }
    let row = |((fault, side, observed), (expected, count)): ((u16, &str, u16), (Vec<u16>, u64))| {
        let meta = &results.meta.faults[usize::from(fault)];
        SurpriseRow { fault: meta.id.clone(), kind: meta.kind.to_owned(), side: side.to_owned(), expected, observed, count }
    };
    let mut rows: Vec<_> = counts.into_iter().map(row).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.count));
    rows
}

/// The sides whose code is not among the expected: fault, side, expected, observed.
fn unexpected(faults: &[FaultMeta], key: &EndingKey) -> Vec<(u16, &'static str, Vec<u16>, u16)> {
    let (cause, fault) = match (key.cause, key.fault) {
        (Cause::Fault(cause), Some(fault)) => (Some(cause), fault),
        (Cause::Remote | Cause::Limit(MemoryLimit::MaxMessage), Some(fault)) => (None, fault),
        (Cause::Stay | Cause::Deadline(_) | Cause::Dialogue(_) | Cause::Limit(MemoryLimit::Memory), _) | (_, None) => return Vec::new(),
    };
    let second = cause.filter(|cause| *cause != fault);
    let sides = [("client", key.client_code), ("server", key.server.map(|server| server.code))];
    let surprising = |(side, observed): (&'static str, Option<u16>)| {
        let mut expected = codes(&faults[usize::from(fault)], side)?;
        if let Some(second) = second {
            expected.extend(codes(&faults[usize::from(second)], side)?);
        }
        let observed = observed.filter(|code| !expected.contains(code))?;
        Some((fault, side, expected, observed))
    };
    sides.into_iter().filter_map(surprising).collect()
}

fn codes(fault: &FaultMeta, side: &str) -> ExpectedCodes {
    if fault.side == side { fault.told.own.clone() } else { fault.told.peer.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::close::{Initiator, TcpEnd};
    use crate::fault::{Values, row};
    use crate::metrics::ending::ServerSide;

    fn fault(kind: &'static str, side: &'static str) -> FaultMeta {
        let told = (row(kind).expect("in the catalogue").told)(&Values::default());
        FaultMeta {
            id: kind.to_owned(),
            kind,
            side,
            holds: false,
            process: false,
            crashes: false,
            by_close: false,
            acts: crate::fault::Acts::AtOnce,
            pick: crate::plan::Pick::All,
            kills: true,
            told,
        }
    }

    fn key(cause: Cause, fault: Option<u16>, client_code: u16, server: Option<u16>) -> EndingKey {
        let side = |code| ServerSide { code, tcp_end: TcpEnd::Fin, tls_end: None, wire_received: None, clean: false };
        EndingKey {
            cohort: 0,
            cause,
            fault,
            initiator: Initiator::Server,
            wire_received: None,
            wire_sent: None,
            tcp_end: Some(TcpEnd::Fin),
            tls_end: None,
            mid_frame: Some(false),
            clean: false,
            client_code: Some(client_code),
            server: server.map(side),
        }
    }

    #[test]
    fn only_codes_that_no_row_expects_are_surprises() {
        let faults =
            [fault("close_code", "server"), fault("latency", "client"), fault("drop_rst", "client"), fault("server_crash", "server")];
        let deadline = Cause::Deadline(crate::close::Deadline::Pong);
        for (what, key, expected) in [
            ("the code and its echo", key(Cause::Fault(0), Some(0), 1001, Some(1001)), vec![]),
            ("the client is told nothing", key(Cause::Fault(0), Some(0), 1006, Some(1001)), vec![("client", 1006)]),
            ("an answer with another code", key(Cause::Fault(0), Some(0), 1001, Some(1000)), vec![("server", 1000)]),
            ("a second fault cut it", key(Cause::Fault(0), Some(2), 1006, Some(1006)), vec![]),
            ("a slow path ends nothing", key(Cause::Remote, Some(1), 1002, Some(1006)), vec![("client", 1002), ("server", 1006)]),
            ("a deadline has its own reason", key(deadline, Some(1), 1006, None), vec![]),
            ("nobody injected", key(Cause::Remote, None, 1001, None), vec![]),
            ("a killed server says nothing", key(Cause::Fault(3), Some(3), 1006, None), vec![]),
        ] {
            let found: Vec<_> = unexpected(&faults, &key).into_iter().map(|(_, side, _, code)| (side, code)).collect();
            assert_eq!(found, expected, "{what}");
        }
    }
}
