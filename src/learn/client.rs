//! The process of a client, under the guard: it ends with us, whatever ends us.

use crate::sut::command::ready::tail;
use crate::sut::command::{Error, Guard, Signal, Spec};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What stands for the address of the server in a command.
const URL: &str = "{url}";

/// How to start a client.
#[derive(Clone, Debug)]
pub struct ClientCommand {
    /// Program and arguments, in which [`URL`] stands for the address.
    pub argv: Vec<String>,
    /// The file that gets what it prints.
    pub output: PathBuf,
}

/// A client that can be started again.
pub(super) struct Client<'a> {
    guard: &'a Guard,
    slot: u16,
    spec: Spec,
    running: bool,
}

impl<'a> Client<'a> {
    pub(super) fn new(guard: &'a Guard, slot: u16, command: &ClientCommand, url: &str) -> Client<'a> {
        let argv = command.argv.iter().map(|word| word.replace(URL, url)).collect();
        let env = BTreeMap::from([("URL".to_owned(), url.to_owned())]);
        Client { guard, slot, spec: Spec { argv, env, workdir: None, output: command.output.clone() }, running: false }
    }

    /// Takes the command of another one; the process that runs is still ours to end.
    pub(super) fn take_over(&mut self, other: Client<'a>) {
        self.spec = other.spec;
    }

    /// Ends what runs, and starts a fresh one.
    ///
    /// # Errors
    /// The program cannot be started, or the guard is gone.
    pub(super) async fn start_fresh(&mut self) -> Result<(), Error> {
        if std::mem::replace(&mut self.running, false) {
            match self.guard.signal(self.slot, Signal::SIGKILL).await {
                // It had ended by itself.
                Ok(_) | Err(Error::NotRunning) => {}
                Err(error) => return Err(error),
            }
            self.guard.wait_gone(self.slot).await?;
        }
        self.guard.start(self.slot, self.spec.clone()).await?;
        self.running = true;
        Ok(())
    }

    /// The end of what it printed.
    pub(super) fn printed(&self) -> String {
        tail(&self.spec.output, 0)
    }
}
