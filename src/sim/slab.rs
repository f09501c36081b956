//! What an entry of the queue names by its number, because the entry has no room for it.

/// Values by number; that of one is free again when it was taken.
#[derive(Debug, Default)]
pub(super) struct Slab<T> {
    all: Vec<T>,
    free: Vec<u32>,
}

impl<T: Default> Slab<T> {
    /// The number of a value from now on.
    pub(super) fn keep(&mut self, value: T) -> u32 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.all.push(T::default());
            self.all.len() as u32 - 1
        });
        self.all[place as usize] = value;
        place
    }

    /// Its entry of the queue is due.
    pub(super) fn take(&mut self, place: u32) -> T {
        self.free.push(place);
        std::mem::take(&mut self.all[place as usize])
    }

    /// All of them, and what numbers that are free stand for.
    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, T> {
        self.all.iter_mut()
    }
}
