//! What a run is of: a scenario, or a URL with options, of which a scenario is made, shown and saved.

use super::super::{console, exit};
use crate::address;
use crate::cli::Run;
use crate::plan::Plan;
use crate::scenario::{Errors, MadeScenario, Overrides, Source, UrlScenario};
use anyhow::Context;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

/// Where the plan comes from.
pub(super) struct RunSource {
    source: Source,
    /// What stands for the secrets of the command line.
    variables: BTreeMap<String, String>,
    /// The scenario that was made of a URL.
    made: Option<String>,
}

impl RunSource {
    /// Reads the argument and what belongs to it.
    ///
    /// # Errors
    /// Options of a URL without one.
    pub(super) fn of(args: &Run) -> anyhow::Result<RunSource> {
        let source = Source::of(args.scenario.as_deref());
        let Source::Url(url) = &source else {
            let Some((option, instead)) = args.url.first() else {
                return Ok(RunSource { source, variables: BTreeMap::new(), made: None });
            };
            let word = args.scenario.as_deref();
            let perhaps = word.and_then(address::perhaps).filter(|_| word.is_some_and(|word| !Path::new(word).exists()));
            return Err(exit::Usage(match (word, perhaps) {
                (_, Some(url)) => format!("{option} belongs to a URL, and this is none: write {}", crate::secret::mask_address(&url)),
                (Some(_), None) => format!("{option} belongs to a URL, and this is a scenario: {instead}"),
                (None, None) => format!("{option} belongs to a URL, and there is none: closestorm run ws://HOST:PORT/ {option} …"),
            })
            .into());
        };
        if args.url.message_rate.is_some() && args.url.message.is_none() {
            return Err(exit::Usage("--message-rate needs --message: what is to be sent?".to_owned()).into());
        }
        if args.url.save.is_some() && !args.changes.set.is_empty() {
            let why = "--save writes what the options of a URL make, without --set: leave one of them out, or change the saved file";
            return Err(exit::Usage(why.to_owned()).into());
        }
        let MadeScenario { name, text, variables } = UrlScenario {
            address: url.clone(),
            clients: args.changes.clients,
            duration: args.changes.duration,
            seed: args.changes.seed,
            rate: args.url.rate,
            message: args.url.message.clone(),
            message_rate: args.url.message_rate,
            headers: args.url.headers().map_err(exit::Usage)?,
            subprotocols: args.url.subprotocol.clone(),
            insecure: args.url.insecure,
            reconnect: args.url.reconnect.clone(),
        }
        .make();
        // One variable cannot stand inside another.
        if text.contains(":-${CLOSESTORM_") {
            let why =
                "a secret as the default of a variable would be written into the scenario: set the variable, and leave its default out";
            return Err(exit::Usage(why.to_owned()).into());
        }
        Ok(RunSource { source: Source::Text { name, text: text.clone() }, variables, made: Some(text) })
    }

    /// Makes the plan, with these changes.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(super) fn load(&self, overrides: &Overrides) -> Result<Plan, Errors> {
        if self.made.is_none() {
            return console::load_source(&self.source, overrides, &self.variables);
        }
        // They stand in it.
        let mut overrides = Overrides { clients: None, duration: None, ..overrides.clone() };
        // These hold what was typed here.
        overrides.trust.env.extend(self.variables.keys().cloned());
        console::load_source(&self.source, &overrides, &self.variables)
    }

    /// Shows and saves the scenario that was made.
    ///
    /// # Errors
    /// There is a file of this name, or it cannot be written.
    pub(super) fn tell(&self, args: &Run) -> anyhow::Result<()> {
        let Some(text) = &self.made else { return Ok(()) };
        if !args.output.quiet {
            let set = args.changes.set.iter().map(|set| format!("# With --set {}\n", crate::scenario::shown_set(set))).collect::<String>();
            // A closed stderr keeps nobody from the run.
            let _ = writeln!(io::stderr(), "{set}{text}");
        }
        let Some(path) = &args.url.save else { return Ok(()) };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let file = args.url.message.as_deref().and_then(|message| message.strip_prefix("file:"));
        if folder.is_some() && file.is_some_and(|file| Path::new(file).is_relative()) {
            let why = "--save into another folder: a scenario looks for its files beside itself, so write the whole path behind `file:`";
            return Err(exit::Usage(why.to_owned()).into());
        }
        super::super::init::write_new(path, text).with_context(|| format!("cannot save the scenario as {}", path.display()))?;
        if !args.output.quiet {
            let _ = writeln!(io::stderr(), "saved as {}; run it with: closestorm run {}", path.display(), path.display());
        }
        Ok(())
    }
}
