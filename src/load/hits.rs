//! Who may be hit: one place has the budget of hits of a run. Servers and worker processes ask it before they act; a process that has all
//! clients has it itself.

use crate::event::Event;
use crate::load::context::Shared;
use crate::plan::{Budget, Firing, Plan, Shard};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

/// In which all workers must say how many connections a firing could hit: then it is divided among those that did.
pub(crate) const ASKED_WITHIN: Duration = Duration::from_secs(1);

/// What a worker asks before it acts for a firing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ask {
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
    pub(crate) ask: Ask,
    /// See [`Ask`].
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
        budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks; `otherwise` where nothing bounds the fault.
    async fn ask(&self, firing: Firing, ask: Ask, otherwise: u64) -> u64 {
        match self {
            Hits::Here(budget) => {
                let mut budget = Self::here(budget);
                match ask {
                    Ask::Begin => budget.begin(firing).into(),
                    Ask::Draw(eligible) => budget.draw(firing, eligible),
                    Ask::One => budget.take_one(firing).into(),
                    Ask::GiveBack(hits) => {
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
        self.ask(firing, Ask::Begin, 1).await > 0
    }

    /// How many of those that are eligible now in this process a firing hits; they are taken.
    pub(crate) async fn draw(&self, firing: Firing, eligible: usize) -> u64 {
        self.ask(firing, Ask::Draw(eligible as u64), eligible as u64).await
    }

    /// One more could be hit by a firing. Whether it is.
    pub(crate) async fn take_one(&self, firing: Firing) -> bool {
        self.ask(firing, Ask::One, 1).await > 0
    }

    /// Hits that were drawn, and not carried out.
    pub(crate) async fn give_back(&self, firing: Firing, hits: u64) {
        self.ask(firing, Ask::GiveBack(hits), 0).await;
    }

    /// A firing is over.
    pub(crate) fn end(&self, firing: Firing) {
        if let Hits::Here(budget) = self {
            Self::here(budget).end(firing);
        }
    }

    /// How many of those that are eligible in each part a firing hits.
    fn draw_from(&self, firing: Firing, parts: &[u64]) -> Vec<u64> {
        match self {
            Hits::Here(budget) => Self::here(budget).draw_from(firing, parts),
            Hits::There { .. } => vec![0; parts.len()],
        }
    }
}

/// A firing whose connections are with several workers, until all have said how many they have.
struct Gathering {
    until: Instant,
    said: BTreeMap<u32, (u64, oneshot::Sender<u64>)>,
}

/// Answers the questions of `workers` workers, to the end of the run. One that does not say in time how many connections it has is told, and
/// not waited for again before it speaks.
pub(crate) async fn answer(shared: Arc<Shared>, workers: u32, mut questions: mpsc::UnboundedReceiver<Question>) {
    let mut gathering: BTreeMap<Firing, Gathering> = BTreeMap::new();
    let (mut divided, mut mute) = (BTreeSet::new(), BTreeSet::new());
    loop {
        let next = gathering.values().map(|gathering| gathering.until).min();
        let question = tokio::select! {
            // What was said in time counts, however late it is heard.
            biased;
            question = questions.recv() => match question {
                Some(question) => Some(question),
                None => return,
            },
            () = async { sleep_until(next.unwrap_or_else(Instant::now)).await }, if next.is_some() => None,
        };
        if let Some(Question { worker, firing, ask, answer }) = question {
            mute.remove(&worker);
            match ask {
                Ask::Draw(eligible) if !divided.contains(&firing) => {
                    let new = || Gathering { until: Instant::now() + ASKED_WITHIN, said: BTreeMap::new() };
                    gathering.entry(firing).or_insert_with(new).said.insert(worker, (eligible, answer));
                }
                // One that comes late takes from what is left.
                ask => {
                    let hits = shared.hits.ask(firing, ask, 0).await;
                    let _ = answer.send(hits);
                }
            }
        }
        let now = Instant::now();
        let complete = |of: &Gathering| (0..workers).all(|worker| of.said.contains_key(&worker) || mute.contains(&worker));
        let over: Vec<_> = gathering.iter().filter(|(_, of)| complete(of) || of.until <= now).map(|(firing, _)| *firing).collect();
        for firing in over {
            let Some(Gathering { said, .. }) = gathering.remove(&firing) else { continue };
            divided.insert(firing);
            let missing: Vec<_> = (0..workers).filter(|worker| !said.contains_key(worker)).collect();
            let (parts, answers): (Vec<_>, Vec<_>) = said.into_values().unzip();
            let hits = shared.hits.draw_from(firing, &parts);
            // Who is gone meanwhile needs no answer.
            answers.into_iter().zip(hits).for_each(|(answer, hits)| _ = answer.send(hits));
            for worker in missing {
                let why = format!("worker {} of {workers} did not answer within {} s", worker + 1, ASKED_WITHIN.as_secs());
                shared.journal.record(&Event::NotCarriedOut { fault: Some(firing.fault), firing: firing.number, why });
                mute.insert(worker);
            }
        }
    }
}
