//! Requests of clients that are gone, with which a server is not done yet.

use super::server::Who;
use super::slab::Slab;

/// Those, and with which server each is; the number of one is in an entry of the queue.
#[derive(Debug, Default)]
pub(super) struct Leavers(Slab<Option<(u16, Who)>>);

impl Leavers {
    pub(super) fn keep(&mut self, server: u16, who: Who) -> u32 {
        self.0.keep(Some((server, who)))
    }

    /// Its entry of the queue is due; `None` if it is with no server any more.
    pub(super) fn take(&mut self, place: u32) -> Option<(u16, Who)> {
        self.0.take(place)
    }

    /// All that are with a server, which are with none from now on.
    pub(super) fn forget(&mut self, server: u16) -> Vec<Who> {
        self.0.iter_mut().filter_map(|of| of.take_if(|(at, _)| *at == server)).map(|(_, who)| who).collect()
    }
}
