//! What clients miss in their outages, by messages with numbers: which outage a missed message belongs to, and where it was counted, so that
//! it can be taken back when the message comes after all.
//!
//! An outage is told of by the first message with a number on a later connection. It goes on being told of, over further connections too,
//! until the client's next outage begins, or it leaves by itself.

use crate::plan::LocalRow;
use std::collections::{BTreeMap, VecDeque};

/// Places of a client at which messages were counted as missed and may still come: 16 KiB of memory. A place is a second, the fault and the outage, so
/// that these are many minutes without a second in which nothing was missed. The oldest are forgotten first, and what comes of them stays missed.
const GAPS: usize = 512;

/// What is told of the first client that has more.
pub(super) const FORGOTTEN: &str = "a client missed messages in more than 512 places: the oldest stay missed, and messages that come for them after \
                                    all count as duplicated";

/// Messages are counted by second.
const SECOND_US: u64 = 1_000_000;

/// What an outage cost a client: its fault, and messages missed.
pub(super) type OutageLoss = (Option<u16>, u64);

/// Messages that were counted as missed at one place.
#[derive(Clone, Debug)]
struct MissedGap {
    /// When the last of them was, µs, and of which fault.
    at: u64,
    fault: Option<u16>,
    /// How many of them have not come since.
    left: u64,
    /// The client was away when they should have come: in the outage with this number.
    outage: Option<u32>,
}

#[derive(Clone, Debug, Default)]
struct ClientLosses {
    /// Number of the last outage.
    number: u32,
    /// It is the reason why a client was away before its present connection.
    is_out: bool,
    /// It got messages with numbers before: what it misses in the outage can be known.
    is_followed: bool,
    /// What is known of it: only once a message with a number came.
    told: Option<OutageLoss>,
    gaps: VecDeque<MissedGap>,
    /// When the last one was counted that is forgotten, µs.
    forgotten: Option<u64>,
}

impl ClientLosses {
    /// Whether its last outage has a loss that is not settled, known or not.
    fn is_unsettled(&self) -> bool {
        self.told.is_some() || self.is_out && self.is_followed
    }
}

/// Of all clients whose messages have numbers and that had an outage or missed something.
#[derive(Debug, Default)]
pub(super) struct Losses {
    clients: BTreeMap<LocalRow, ClientLosses>,
}

impl Losses {
    /// An outage begins; `followed`: the client got messages with numbers before. What the one before came to, if there was one whose loss counts;
    /// `None` in it where that will not be known, because no message with a number came between the two.
    pub(super) fn begin(&mut self, row: LocalRow, followed: bool) -> Option<Option<OutageLoss>> {
        let client = self.clients.entry(row).or_default();
        let before = client.is_unsettled().then(|| client.told.take());
        (client.number, client.is_out, client.is_followed) = (client.number.wrapping_add(1), true, followed);
        before
    }

    /// The client ends its connection by itself: what it misses from now on is no outage's, unless nothing was told of one before.
    pub(super) fn leave(&mut self, row: LocalRow) -> Option<OutageLoss> {
        let client = self.clients.get_mut(&row)?;
        client.is_out &= client.told.is_none();
        client.told.take()
    }

    /// The first message with a number on a connection came; `fault`: of the client's last outage. Whether it was in one.
    pub(super) fn back(&mut self, row: LocalRow, fault: Option<u16>) -> bool {
        let Some(client) = self.clients.get_mut(&row).filter(|client| client.is_out) else { return false };
        client.told.get_or_insert((fault, 0));
        true
    }

    /// So many messages were missed, and counted at `at` µs with this fault; `away`: in the outage, if there was one. Whether the client has them in more
    /// places than are kept, for the first time.
    pub(super) fn miss(&mut self, row: LocalRow, (at, fault): (u64, Option<u16>), left: u64, away: bool) -> bool {
        if left == 0 {
            return false;
        }
        let client = self.clients.entry(row).or_default();
        let told = client.told.as_mut().filter(|_| away);
        let outage = told.map(|(_, missed)| {
            *missed = missed.saturating_add(left);
            client.number
        });
        let place = |gap: &MissedGap| (gap.at / SECOND_US, gap.fault, gap.outage);
        let gap = MissedGap { at, fault, left, outage };
        if let Some(last) = client.gaps.back_mut().filter(|last| place(last) == place(&gap)) {
            (last.at, last.left) = (at, last.left.saturating_add(left));
            return false;
        }
        let told = client.forgotten.is_some();
        if client.gaps.len() == GAPS {
            client.forgotten = client.gaps.pop_front().map(|gap| gap.at);
        }
        client.gaps.push_back(gap);
        client.forgotten.is_some() && !told
    }

    /// A message came that was found missing at `found` µs. Where it was counted: when, and with which fault; `None`: that is forgotten.
    pub(super) fn late(&mut self, row: LocalRow, found: u64) -> Option<(u64, Option<u16>)> {
        let client = self.clients.get_mut(&row)?;
        if client.forgotten.is_some_and(|at| found <= at) {
            return None;
        }
        // It was counted when it was found, or a moment later.
        let place = client.gaps.partition_point(|gap| gap.at < found);
        let place = if place < client.gaps.len() { place } else { client.gaps.len().checked_sub(1)? };
        let gap = &mut client.gaps[place];
        gap.left = gap.left.saturating_sub(1);
        let (counted, outage, left) = ((gap.at, gap.fault), gap.outage, gap.left);
        if left == 0 {
            client.gaps.remove(place);
        }
        if let Some((_, missed)) = client.told.as_mut().filter(|_| outage == Some(client.number)) {
            *missed = missed.saturating_sub(1);
        }
        Some(counted)
    }

    /// The end of the measurement: what all outages came to that are not settled yet; `None` where that is not known, because no message with a
    /// number came after them.
    pub(super) fn finish(&mut self) -> impl Iterator<Item = (LocalRow, Option<OutageLoss>)> + use<> {
        let all = std::mem::take(&mut self.clients).into_iter();
        all.filter(|(_, client)| client.is_unsettled()).map(|(row, client)| (row, client.told))
    }

    /// What the places of all clients take, bytes.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.clients.values().map(|client| client.gaps.capacity() * size_of::<MissedGap>()).sum()
    }
}
