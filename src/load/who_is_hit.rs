//! Answers, to the end of a run, what workers ask of the budget of hits: a firing whose connections are with several is divided among them.

use crate::event::Event;
use crate::load::context::RunContext;
use crate::load::hits::{ASKED_WITHIN, HitsQuestion, Question};
use crate::plan::Firing;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

/// A firing whose connections are with several workers, until all have said how many they have.
struct Gathering {
    until: Instant,
    said: BTreeMap<u32, (u64, oneshot::Sender<u64>)>,
}

/// Answers the questions of `workers` workers, to the end of the run. One that does not say in time how many connections it has is told, and
/// not waited for again before it speaks.
pub(crate) async fn answer(shared: Arc<RunContext>, workers: u32, mut questions: mpsc::UnboundedReceiver<Question>) {
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
                HitsQuestion::Draw(eligible) if !divided.contains(&firing) => {
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
