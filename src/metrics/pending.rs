//! Messages that wait for their echo: when each was due and sent, so that one that never comes is known to have waited so long.
//!
//! One list per client, of the connection that is open; all lists share one store. A client whose cohort awaits no echo has none, and so has
//! one that has sent nothing and comes after all that have; another with nothing under way costs 16 bytes. An echo is nearly always that of the oldest message, or of one of the newest where some were
//! lost, so it is looked for from both ends.

use crate::dialogue::PENDING_MAX;
use crate::plan::LocalRow;

const NONE: u32 = u32::MAX;

/// When a message was due and when it was sent, µs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) due: u64,
    pub(super) sent: u64,
}

#[derive(Clone, Copy, Debug)]
struct PendingNode {
    message: Message,
    /// The one sent after it, or the next unused one.
    newer: u32,
    older: u32,
}

/// The messages of one client.
#[derive(Clone, Copy, Debug)]
struct List {
    oldest: u32,
    newest: u32,
    count: u32,
    /// Of the same connection, cut early.
    forgotten: u32,
}

const EMPTY: List = List { oldest: NONE, newest: NONE, count: 0, forgotten: 0 };

/// The lists of one cohort.
#[derive(Debug)]
struct Lists {
    /// Row of its first client.
    first: u32,
    /// It awaits echoes.
    echoes: bool,
    /// Of its clients up to the last one that has sent something.
    lists: Vec<List>,
}

/// What waits, of all clients.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// By cohort.
    cohorts: Vec<Lists>,
    nodes: Vec<PendingNode>,
    /// The first unused node.
    unused: u32,
}

impl Pending {
    /// For cohorts whose first clients have these rows, and which await echoes or do not.
    pub(super) fn new(cohorts: impl Iterator<Item = (u32, bool)>) -> Pending {
        let cohorts = cohorts.map(|(first, echoes)| Lists { first, echoes, lists: Vec::new() }).collect();
        Pending { cohorts, nodes: Vec::new(), unused: NONE }
    }

    fn list(&mut self, cohort: u16, row: LocalRow) -> Option<&mut List> {
        let Lists { first, lists, .. } = self.cohorts.get_mut(usize::from(cohort))?;
        lists.get_mut((row.0 - *first) as usize)
    }

    /// A message was sent. Returns the oldest of the connection, if that is one too many.
    #[inline]
    pub(super) fn send(&mut self, cohort: u16, row: LocalRow, message: Message) -> Option<Message> {
        let Lists { first, echoes, lists } = self.cohorts.get_mut(usize::from(cohort))?;
        let place = (row.0 - *first) as usize;
        if *echoes && place >= lists.len() {
            lists.resize(place + 1, EMPTY);
        }
        let newest = self.list(cohort, row)?.newest;
        let place = self.store(PendingNode { message, newer: NONE, older: newest });
        let list = self.list(cohort, row)?;
        list.newest = place;
        list.count += 1;
        if list.oldest == NONE {
            list.oldest = place;
        }
        let (count, oldest) = (list.count, list.oldest);
        if let Some(node) = self.nodes.get_mut(newest as usize) {
            node.newer = place;
        }
        if count <= PENDING_MAX {
            return None;
        }
        if let Some(list) = self.list(cohort, row) {
            list.forgotten += 1;
        }
        Some(self.remove(cohort, row, oldest))
    }

    /// An echo came. Whether its message waited for it.
    #[inline]
    pub(super) fn echo(&mut self, cohort: u16, row: LocalRow, message: Message) -> bool {
        let Some(List { oldest, newest, .. }) = self.list(cohort, row).copied() else { return false };
        let (mut from_oldest, mut from_newest) = (oldest, newest);
        while from_oldest != NONE && from_newest != NONE {
            for at in [from_oldest, from_newest] {
                if self.nodes[at as usize].message == message {
                    self.remove(cohort, row, at);
                    return true;
                }
            }
            let (old, new) = (&self.nodes[from_oldest as usize], &self.nodes[from_newest as usize]);
            // Both have met: all were looked at.
            if from_oldest == from_newest || old.newer == from_newest {
                return false;
            }
            (from_oldest, from_newest) = (old.newer, new.older);
        }
        false
    }

    /// No echo can come any more: all that waited, the oldest first, and how many of the connection were cut before.
    pub(super) fn cut(&mut self, cohort: u16, row: LocalRow) -> (Vec<Message>, u32) {
        let Some(list) = self.list(cohort, row) else { return (Vec::new(), 0) };
        let List { mut oldest, forgotten, count, .. } = std::mem::replace(list, EMPTY);
        let mut messages = Vec::with_capacity(count as usize);
        while let Some(node) = self.nodes.get(oldest as usize).copied() {
            messages.push(node.message);
            self.free(oldest);
            oldest = node.newer;
        }
        (messages, forgotten)
    }

    fn store(&mut self, node: PendingNode) -> u32 {
        match self.nodes.get_mut(self.unused as usize) {
            Some(free) => {
                let place = std::mem::replace(&mut self.unused, free.newer);
                *free = node;
                place
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() as u32 - 1
            }
        }
    }

    fn free(&mut self, place: u32) {
        self.nodes[place as usize].newer = std::mem::replace(&mut self.unused, place);
    }

    /// Takes a node out of the list of its client.
    fn remove(&mut self, cohort: u16, row: LocalRow, place: u32) -> Message {
        let PendingNode { message, newer, older } = self.nodes[place as usize];
        if let Some(node) = self.nodes.get_mut(newer as usize) {
            node.older = older;
        }
        if let Some(node) = self.nodes.get_mut(older as usize) {
            node.newer = newer;
        }
        if let Some(list) = self.list(cohort, row) {
            list.count -= 1;
            if list.oldest == place {
                list.oldest = newer;
            }
            if list.newest == place {
                list.newest = older;
            }
        }
        self.free(place);
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(us: u64) -> Message {
        Message { due: us, sent: us + 1 }
    }

    #[test]
    fn echoes_in_any_order_find_their_message_once() {
        let mut pending = Pending::new([(0, false), (3, true)].into_iter());
        (0..6).for_each(|us| assert_eq!(pending.send(1, LocalRow(4), at(us)), None));
        assert!(!pending.echo(1, LocalRow(3), at(0)), "of another client");
        for us in [0, 5, 2] {
            assert!(pending.echo(1, LocalRow(4), at(us)) && !pending.echo(1, LocalRow(4), at(us)), "{us}");
        }
        assert_eq!(pending.cut(1, LocalRow(4)), (vec![at(1), at(3), at(4)], 0));
        assert_eq!(pending.cut(1, LocalRow(4)), (Vec::new(), 0));
        assert!(!pending.echo(1, LocalRow(4), at(1)), "its connection is gone");
        // What was given back is used again.
        (0..6).for_each(|us| assert_eq!(pending.send(1, LocalRow(3), at(us)), None));
        assert_eq!((pending.nodes.len(), pending.cut(1, LocalRow(3)).0.len()), (6, 6));
        // Nobody waits where no echo is awaited.
        assert_eq!(
            (pending.send(0, LocalRow(1), at(1)), pending.echo(0, LocalRow(1), at(1)), pending.cut(0, LocalRow(1)).0.len()),
            (None, false, 0)
        );
    }

    #[test]
    fn beyond_the_bound_the_oldest_is_cut_and_counted() {
        let mut pending = Pending::new([(0, true)].into_iter());
        let over = 5;
        let cut: Vec<_> = (0..u64::from(PENDING_MAX) + over).filter_map(|us| pending.send(0, LocalRow(0), at(us))).collect();
        assert_eq!(cut, (0..over).map(at).collect::<Vec<_>>());
        assert!(!pending.echo(0, LocalRow(0), at(0)) && pending.echo(0, LocalRow(0), at(over)));
        let (rest, forgotten) = pending.cut(0, LocalRow(0));
        assert_eq!((rest.len() as u32, forgotten), (PENDING_MAX - 1, over as u32));
        assert_eq!(pending.nodes.len() as u32, PENDING_MAX + 1);
    }
}
