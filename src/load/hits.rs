//! Who may be hit: one place has the budget of hits of a run. Servers and worker processes ask it before they act; a process that has all
//! clients has it itself.

use crate::lock::lock;
use crate::plan::{Budget, Firing, Plan, Shard};
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// In which all workers must say how many connections a firing could hit: then it is divided among those that did.
pub(crate) const ASKED_WITHIN: Duration = Duration::from_secs(1);

/// What a worker asks before it acts for a firing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum HitsQuestion {
    /// Does it begin? 1: yes; 0: its fault has used up its hits.
    Begin,
    /// So many connections could be hit now: how many are? Answered when all workers have said so.
    Draw(u64),
    /// One more connection or attempt could be hit: is it?
    One,
    /// So many of those that were to be hit were gone. The answer says nothing.
    GiveBack(u64),
}

/// A question of a worker, and where the answer goes.
pub(crate) struct Question {
    /// Of which worker, from 0.
    pub(crate) worker: u32,
    /// Which firing.
    pub(crate) firing: Firing,
    /// What.
    pub(crate) ask: HitsQuestion,
    /// See [`HitsQuestion`].
    pub(crate) answer: oneshot::Sender<u64>,
}

/// The budget of hits, as a process that injects faults sees it.
#[derive(Debug)]
pub(crate) enum Hits {
    /// It is here.
    Here(Mutex<Budget>),
    /// Another process has it. `worker`: who asks.
    There {
        /// By fault: those that need not ask.
        unbounded: Vec<bool>,
        questions: mpsc::UnboundedSender<Question>,
        worker: u32,
    },
}

impl Hits {
    /// Those of a plan, or of a shard of it.
    pub(crate) fn new(plan: &Plan, shard: Shard) -> Self {
        Hits::Here(Mutex::new(Budget::new(&plan.faults, plan.seed, shard)))
    }

    /// Those that another process has, which takes questions from `questions`.
    pub(crate) fn of_another(plan: &Plan, worker: u32, questions: mpsc::UnboundedSender<Question>) -> Self {
        Hits::There { unbounded: plan.faults.iter().map(|fault| !fault.is_bounded()).collect(), questions, worker }
    }

    /// Whether somebody else has them.
    pub(crate) fn are_elsewhere(&self) -> bool {
        matches!(self, Hits::There { .. })
    }

    fn here(budget: &Mutex<Budget>) -> MutexGuard<'_, Budget> {
        lock(budget)
    }

    /// Asks; `otherwise` where nothing bounds the fault.
    pub(super) async fn ask(&self, firing: Firing, ask: HitsQuestion, otherwise: u64) -> u64 {
        match self {
            Hits::Here(budget) => {
                let mut budget = Self::here(budget);
                match ask {
                    HitsQuestion::Begin => budget.begin(firing).into(),
                    HitsQuestion::Draw(eligible) => budget.draw(firing, eligible),
                    HitsQuestion::One => budget.take_one(firing).into(),
                    HitsQuestion::GiveBack(hits) => {
                        budget.give_back(firing, hits);
                        0
                    }
                }
            }
            Hits::There { unbounded, .. } if unbounded.get(usize::from(firing.fault)).is_none_or(|unbounded| *unbounded) => otherwise,
            Hits::There { questions, worker, .. } => {
                let (answer, answered) = oneshot::channel();
                let _ = questions.send(Question { worker: *worker, firing, ask, answer });
                // Nobody answers any more when the run is over.
                answered.await.unwrap_or(0)
            }
        }
    }

    /// A firing begins, unless its fault has used up its hits. Whether it does.
    pub(crate) async fn begin(&self, firing: Firing) -> bool {
        self.ask(firing, HitsQuestion::Begin, 1).await > 0
    }

    /// How many of those that are eligible now in this process a firing hits; they are taken.
    pub(crate) async fn draw(&self, firing: Firing, eligible: usize) -> u64 {
        self.ask(firing, HitsQuestion::Draw(eligible as u64), eligible as u64).await
    }

    /// One more could be hit by a firing. Whether it is.
    pub(crate) async fn take_one(&self, firing: Firing) -> bool {
        self.ask(firing, HitsQuestion::One, 1).await > 0
    }

    /// Hits that were drawn, and not carried out.
    pub(crate) async fn give_back(&self, firing: Firing, hits: u64) {
        self.ask(firing, HitsQuestion::GiveBack(hits), 0).await;
    }

    /// A firing is over.
    pub(crate) fn end(&self, firing: Firing) {
        if let Hits::Here(budget) = self {
            Self::here(budget).end(firing);
        }
    }

    /// How many of those that are eligible in each part a firing hits.
    pub(super) fn draw_from(&self, firing: Firing, parts: &[u64]) -> Vec<u64> {
        match self {
            Hits::Here(budget) => Self::here(budget).draw_from(firing, parts),
            Hits::There { .. } => vec![0; parts.len()],
        }
    }
}
