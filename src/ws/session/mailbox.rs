//! What reaches a connection from outside while it lives: messages that are due, faults, reverts.
//!
//! One mailbox per client or server connection; an idle one is a few words of memory.

use crate::fault::{ConnectionEffects, InjectionStep};
use crate::lock::lock;
use crate::plan::Firing;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::Instant;

/// A fault as it reaches a connection.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct FiredInjection {
    /// Which firing of which fault.
    pub firing: Firing,
    /// Holds until reverted.
    pub gate: ConnectionEffects,
    /// Carried out once.
    pub steps: Vec<InjectionStep>,
    /// Another dose of the same injection tells when it acts.
    #[serde(default)]
    pub quiet: bool,
}

/// Something to do.
#[derive(Clone, Debug)]
pub(crate) enum SessionCommand {
    /// A message of this side was due at this offset.
    Due(Duration),
    /// A fault selected this connection.
    Inject(Arc<FiredInjection>),
    /// A firing of a fault is over.
    Revert(Firing),
    /// The server shuts down gracefully: close with this code and reason, on behalf of a fault.
    Close {
        /// Fault, by index in the plan.
        fault: u16,
        /// Status code.
        code: u16,
        /// Reason.
        reason: Arc<str>,
    },
}

/// Mailbox of one connection.
#[derive(Debug, Default)]
pub(crate) struct Control(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// A message that was due when there was nothing else to do: nearly all that ever comes needs no memory beside this.
    due: Option<Duration>,
    /// What came after it.
    queue: VecDeque<SessionCommand>,
    waker: Option<Waker>,
    /// When the first Close frame of the connection was sent or came, and when the one that answers it.
    closing: Option<Box<(Instant, Option<Instant>)>>,
}

impl Inner {
    fn push(&mut self, command: SessionCommand) {
        match command {
            SessionCommand::Due(due) if self.due.is_none() && self.queue.is_empty() => self.due = Some(due),
            command => self.queue.push_back(command),
        }
    }

    fn pop(&mut self) -> Option<SessionCommand> {
        self.due.take().map(SessionCommand::Due).or_else(|| self.queue.pop_front())
    }
}

impl Control {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic in one client must not poison the others' mailboxes.
        lock(&self.0)
    }

    /// Notes how far the closing handshake of the connection has come; `None`: there is none.
    pub(crate) fn note_closing(&self, closing: Option<(Instant, Option<Instant>)>) {
        self.inner().closing = closing.map(Box::new);
    }

    /// When the first Close frame of the connection was sent or came, and when the one that answers it.
    pub(crate) fn closing(&self) -> Option<(Instant, Option<Instant>)> {
        self.inner().closing.as_deref().copied()
    }

    /// Puts a command in and wakes the connection.
    pub(crate) fn send(&self, command: SessionCommand) {
        let waker = {
            let mut inner = self.inner();
            inner.push(command);
            inner.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The next command, if there is one.
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<SessionCommand> {
        let mut inner = self.inner();
        match inner.pop() {
            Some(command) => Poll::Ready(command),
            None => {
                if !inner.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                    inner.waker = Some(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }

    /// Waits for the next command. Cancel-safe.
    pub(crate) async fn next(&self) -> SessionCommand {
        poll_fn(|cx| self.poll_next(cx)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_come_in_the_order_in_which_they_were_sent() {
        let control = Control::default();
        let mut cx = Context::from_waker(Waker::noop());
        let mut next = || match control.poll_next(&mut cx) {
            Poll::Ready(SessionCommand::Due(due)) => Some(due.as_secs()),
            Poll::Ready(SessionCommand::Revert(firing)) => Some(firing.number.into()),
            _ => None,
        };
        let due = |second| control.send(SessionCommand::Due(Duration::from_secs(second)));
        due(1);
        due(2);
        assert_eq!(next(), Some(1));
        due(3); // behind the second, though the place of the first is free
        control.send(SessionCommand::Revert(Firing { fault: 0, number: 4 }));
        assert_eq!((next(), next(), next(), next()), (Some(2), Some(3), Some(4), None));
        control.send(SessionCommand::Revert(Firing { fault: 0, number: 5 }));
        due(6);
        assert_eq!((next(), next(), next()), (Some(5), Some(6), None));
    }
}
