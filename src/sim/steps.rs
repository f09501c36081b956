//! The opening steps of a dialogue: a message each way, as far as a step sends and awaits one, each within its time.

use super::pair::{CLIENT, PairCommand, PairItem, SERVER};
use super::row::ClientState;
use super::talks::OpenStep;
use super::{What, World, nanos};
use crate::close::{Cause, Deadline};
use crate::dialogue::{Dialogue, LATE_STEP};
use crate::event::{ClientIndex, Event};

impl<'a> World<'a> {
    fn script(&self, client: u32) -> Option<&'a Dialogue> {
        let plan = self.plan;
        plan.cohorts[usize::from(self.rows[client as usize].cohort)].script.as_deref()
    }

    /// Whether messages by the clock have to wait for steps.
    pub(super) fn awaits_steps(&self, client: u32) -> bool {
        self.script(client).is_some_and(Dialogue::awaits_steps)
    }

    /// Whether a client's opening steps are not done.
    pub(super) fn is_at_step(&self, client: u32) -> bool {
        !self.steps.is_empty() && self.steps.get(&client).is_some_and(|at| at.attempt == self.rows[client as usize].attempts)
    }

    /// An open connection begins its steps.
    pub(super) fn begin_steps(&mut self, client: u32) {
        if self.script(client).is_some_and(|script| !script.open.is_empty()) && self.rows[client as usize].state.is_open() {
            self.step(client, 0);
        }
    }

    /// Carries out steps from this one on, up to one that waits.
    fn step(&mut self, client: u32, from: usize) {
        let Some(script) = self.script(client) else { return };
        let mut said = false;
        for (index, step) in (0..).zip(&script.open).skip(from) {
            if let Some(send) = step.send.as_ref().or(step.resume.as_ref()) {
                said = true;
                let bytes = u32::try_from(send.size()).unwrap_or(u32::MAX);
                self.record(self.now, &Event::Said { client: ClientIndex(client), bytes });
            }
            if let Some(expect) = &step.expect {
                self.steps.insert(client, OpenStep { attempt: self.rows[client as usize].attempts, step: index });
                let until = self.now.saturating_add(nanos(expect.within));
                self.push_for(until, client, What::StepLate, index.into());
                return self.await_step(client, index, said);
            }
        }
        if self.steps.remove(&client).is_some() {
            self.begin_schedule(client);
            if self.tracker(client).on_dialogue() {
                self.ready(client);
            }
        }
    }

    /// The answer of a step is under way: behind what the client said, or else right behind what the server said last.
    fn await_step(&mut self, client: u32, step: u16, said: bool) {
        match (self.pairs.of(client), said) {
            (Some(slot), true) => self.tend(slot, |pair, scene| pair.say(scene, CLIENT, PairItem::Step(step))),
            (Some(slot), false) => self.tend(slot, |pair, scene| pair.tell(scene, SERVER, PairCommand::Say(PairItem::StepAnswer(step)))),
            (None, true) => self.fly(client, Some(step)),
            (None, false) => self.met(client, step),
        }
    }

    /// What a step waits for arrives.
    pub(super) fn met(&mut self, client: u32, step: u16) {
        self.record(self.now, &Event::Heard { client: ClientIndex(client), bytes: 0 });
        if self.is_at_step(client) && self.steps.get(&client).is_some_and(|at| at.step == step) {
            self.step(client, usize::from(step) + 1);
        }
    }

    /// What a client says before it leaves by itself.
    pub(super) fn last_word(&mut self, client: u32) {
        if let Some(leave) = self.script(client).and_then(|script| script.leave.as_ref()) {
            let bytes = u32::try_from(leave.size()).unwrap_or(u32::MAX);
            self.record(self.now, &Event::Said { client: ClientIndex(client), bytes });
        }
    }

    /// The time of a step is over: its client closes, if it still waits.
    pub(super) fn step_late(&mut self, client: u32, step: u32) {
        let waits = self.is_at_step(client) && self.steps.get(&client).is_some_and(|at| u32::from(at.step) == step);
        let open = matches!(self.rows[client as usize].state, ClientState::Open | ClientState::Troubled);
        let Some(script) = self.script(client).filter(|_| waits && open) else { return };
        let number = script.first_step.saturating_add(u16::try_from(step).unwrap_or(u16::MAX));
        self.client_closes(client, Cause::Deadline(Deadline::Dialogue(number)), Some(LATE_STEP), "");
    }
}
