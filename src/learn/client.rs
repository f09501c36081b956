//! The process of a client, under the guard: it ends with us, whatever ends us.

use crate::sut::command::ready::tail;
use crate::sut::command::{Error, Guard, Signal, Spec};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::sleep;

/// What stands for the address of the server in a command.
const URL: &str = "{url}";
/// How long a connection of a process that has ended may take to be seen.
pub(super) const LAST_WORDS: Duration = Duration::from_millis(300);

/// How to start a client.
#[derive(Clone, Debug)]
pub struct ClientCommand {
    /// Program and arguments, in which [`URL`] stands for the address.
    pub argv: Vec<String>,
    /// The folder that gets what processes print, each of those side by side in a file of its own: see [`ClientCommand::output`].
    pub folder: PathBuf,
}

impl ClientCommand {
    /// The file that gets what the process of this slot, from 0, and its successors print.
    pub fn output(&self, slot: u16) -> PathBuf {
        self.folder.join(format!("client-{}.log", slot + 1))
    }
}

/// A client that can be started again.
pub(super) struct Client<'a> {
    guard: &'a Guard,
    slot: u16,
    command: &'a ClientCommand,
    running: bool,
}

impl<'a> Client<'a> {
    pub(super) fn new(guard: &'a Guard, slot: u16, command: &'a ClientCommand) -> Client<'a> {
        Client { guard, slot, command, running: false }
    }

    /// Ends what runs, and starts a fresh one that is to connect to `url`.
    ///
    /// # Errors
    /// The program cannot be started, or the guard is gone.
    pub(super) async fn start_fresh(&mut self, url: &str) -> Result<(), Error> {
        if std::mem::replace(&mut self.running, false) {
            match self.guard.signal(self.slot, Signal::SIGKILL).await {
                // It had ended by itself.
                Ok(_) | Err(Error::NotRunning) => {}
                Err(error) => return Err(error),
            }
            self.guard.wait_gone(self.slot).await?;
        }
        let argv = self.command.argv.iter().map(|word| word.replace(URL, url)).collect();
        let env = BTreeMap::from([("URL".to_owned(), url.to_owned())]);
        self.guard.start(self.slot, Spec { argv, env, workdir: None, output: self.command.output(self.slot) }).await?;
        self.running = true;
        Ok(())
    }

    /// Waits until it has ended by itself, and what it did last has been seen: how.
    ///
    /// # Errors
    /// The guard is gone.
    pub(super) async fn ended(&self) -> Result<String, Error> {
        self.guard.wait_gone(self.slot).await?;
        sleep(LAST_WORDS).await;
        Ok(self.guard.wait_exit(self.slot).await?.how.to_string())
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// The guard is gone.
    pub(super) async fn gone(&self) -> Result<(), Error> {
        self.guard.wait_gone(self.slot).await.map(drop)
    }

    /// The end of what it printed.
    pub(super) fn printed(&self) -> String {
        tail(&self.command.output(self.slot), 0)
    }
}
