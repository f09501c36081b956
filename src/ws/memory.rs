//! Memory for messages: one budget of the process, from which connections take what their buffers hold beyond a little.
//!
//! Where it does not suffice, the connection that holds most is told to end: whoever asks for more need not be the one that had too much.

use crate::lock::lock;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

/// What every connection may hold without asking, in bytes; beyond it accounts are kept in steps of as much.
const STEP: usize = 64 * 1024;

/// The budget of this process.
static BUDGET: MessageMemory = MessageMemory::new();

/// Sets how many bytes the messages of this process may take together. Without it there is no limit.
pub(crate) fn set_limit(bytes: usize) {
    BUDGET.limit.store(bytes, Ordering::Relaxed);
}

/// How many bytes they may take; the largest number: without limit.
pub(crate) fn limit() -> usize {
    BUDGET.limit.load(Ordering::Relaxed)
}

#[derive(Debug)]
struct MessageMemory {
    limit: AtomicUsize,
    used: AtomicUsize,
    /// Whoever holds something, by a number of its own.
    accounts: Mutex<(u64, BTreeMap<u64, Arc<Account>>)>,
}

#[derive(Debug, Default)]
struct Account {
    bytes: AtomicUsize,
    /// It must end, and what it held is not counted any more.
    ended: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl MessageMemory {
    const fn new() -> Self {
        MessageMemory { limit: AtomicUsize::new(usize::MAX), used: AtomicUsize::new(0), accounts: Mutex::new((0, BTreeMap::new())) }
    }

    /// Ends who holds most, until the rest is within the limit.
    fn reclaim(&self) {
        let accounts = lock(&self.accounts);
        while self.used.load(Ordering::Relaxed) > self.limit.load(Ordering::Relaxed) {
            let held = accounts.1.values().filter(|account| !account.ended.load(Ordering::Relaxed));
            let Some(largest) = held.max_by_key(|account| account.bytes.load(Ordering::Relaxed)) else { return };
            largest.ended.store(true, Ordering::Relaxed);
            self.used.fetch_sub(largest.bytes.load(Ordering::Relaxed), Ordering::Relaxed);
            if let Some(waker) = lock(&largest.waker).take() {
                waker.wake();
            }
        }
    }
}

/// What one connection holds of a budget. Nothing is kept of it while that is little.
#[derive(Debug)]
pub(super) struct Share {
    budget: &'static MessageMemory,
    account: Option<(u64, Arc<Account>)>,
}

impl Default for Share {
    fn default() -> Self {
        Share { budget: &BUDGET, account: None }
    }
}

impl Share {
    /// Holds `bytes` from now on, rounded up to whole steps; nothing where they are less than one.
    pub(super) fn set(&mut self, bytes: usize) {
        if bytes < STEP && self.account.is_none() {
            return;
        }
        let bytes = if bytes < STEP { 0 } else { bytes.next_multiple_of(STEP) };
        let budget = self.budget;
        let (_, account) = self.account.get_or_insert_with(|| {
            let mut accounts = lock(&budget.accounts);
            accounts.0 += 1;
            let (number, account) = (accounts.0, Arc::<Account>::default());
            accounts.1.insert(number, account.clone());
            (number, account)
        });
        let before = account.bytes.load(Ordering::Relaxed);
        if bytes == before || account.ended.load(Ordering::Relaxed) {
            return;
        }
        account.bytes.store(bytes, Ordering::Relaxed);
        if bytes < before {
            budget.used.fetch_sub(before - bytes, Ordering::Relaxed);
        } else if budget.used.fetch_add(bytes - before, Ordering::Relaxed) + bytes - before > budget.limit.load(Ordering::Relaxed) {
            budget.reclaim();
        }
    }

    /// Whether anything is kept of it.
    pub(super) fn is_charged(&self) -> bool {
        self.account.is_some()
    }

    /// Whether its connection must end. If not, the task of `cx` is woken when it must.
    pub(super) fn must_end(&self, cx: &Context<'_>) -> bool {
        let Some((_, account)) = &self.account else { return false };
        let mut waker = lock(&account.waker);
        if account.ended.load(Ordering::Relaxed) {
            return true;
        }
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        false
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Some((number, account)) = self.account.take() else { return };
        let mut accounts = lock(&self.budget.accounts);
        accounts.1.remove(&number);
        if !account.ended.load(Ordering::Relaxed) {
            self.budget.used.fetch_sub(account.bytes.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(limit: usize) -> &'static MessageMemory {
        let budget = Box::leak(Box::new(MessageMemory::new()));
        budget.limit.store(limit, Ordering::Relaxed);
        budget
    }

    fn holding(budget: &'static MessageMemory, bytes: usize) -> Share {
        let mut share = Share { budget, account: None };
        share.set(bytes);
        share
    }

    fn ended(share: &Share) -> bool {
        share.must_end(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn who_holds_most_must_end_and_not_who_asks_last() {
        let budget = budget(10 * STEP);
        let (little, most) = (holding(budget, 3 * STEP), holding(budget, 6 * STEP));
        assert!(!ended(&little) && !ended(&most));
        let last = holding(budget, 2 * STEP);
        assert!(!ended(&little) && ended(&most) && !ended(&last));
        assert_eq!(budget.used.load(Ordering::Relaxed), 5 * STEP);
        drop((little, most, last));
        assert_eq!(budget.used.load(Ordering::Relaxed), 0, "given back once");
    }

    #[test]
    fn small_buffers_are_not_accounted_for_and_what_shrinks_is_given_back() {
        let budget = budget(10 * STEP);
        let small: Vec<_> = (0..100).map(|_| holding(budget, STEP - 1)).collect();
        assert!(small.iter().all(|share| !share.is_charged()));
        let mut large = holding(budget, 10 * STEP);
        assert!(!ended(&large));
        large.set(1);
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
        let alone = holding(budget, 11 * STEP);
        assert!(ended(&alone) && !ended(&large), "one message that is larger than all of it");
    }
}
