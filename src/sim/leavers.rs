//! Requests of clients that are gone, with which a server is not done yet.

use super::server::Who;

/// No server.
const NOWHERE: u16 = u16::MAX;

/// Those, and with which server each is; the number of one is in an entry of the queue, and free again when that is due.
#[derive(Debug, Default)]
pub(super) struct Leavers {
    all: Vec<(u16, Who)>,
    free: Vec<u32>,
}

impl Leavers {
    pub(super) fn keep(&mut self, server: u16, who: Who) -> u32 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.all.push((NOWHERE, Who::default()));
            self.all.len() as u32 - 1
        });
        self.all[place as usize] = (server, who);
        place
    }

    /// Its entry of the queue is due.
    pub(super) fn take(&mut self, place: u32) -> (u16, Who) {
        self.free.push(place);
        std::mem::replace(&mut self.all[place as usize], (NOWHERE, Who::default()))
    }

    /// All that are with a server, which are with none from now on.
    pub(super) fn forget(&mut self, server: u16) -> Vec<Who> {
        let there = self.all.iter_mut().filter(|(of, _)| *of == server);
        there.map(|of| std::mem::replace(of, (NOWHERE, Who::default())).1).collect()
    }
}
