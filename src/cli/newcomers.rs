//! The command line of those who begin: a URL in place of a scenario, and the commands that help with the first one.

use super::{Changes, Format};
use crate::units::{Rate, UnitError};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Options of `run` that belong to a URL.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Options of a URL")]
pub struct UrlArgs {
    /// Clients that connect per second, as 50/s [default: all within a tenth of the run].
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub rate: Option<Rate>,
    /// Message that each client sends again and again; if the server answers, round trips are measured. hex:, base64: and file: send binary.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub message: Option<String>,
    /// How often each client sends the message [default: 1/s].
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub message_rate: Option<Rate>,
    /// Header of the opening handshake, as 'Authorization: Bearer ${TOKEN}'; can be repeated. ${NAME} is a variable of the environment.
    #[arg(long, short = 'H', value_name = "NAME: VALUE")]
    pub header: Vec<String>,
    /// Subprotocol to offer, as graphql-transport-ws. Can be repeated.
    #[arg(long, value_name = "NAME")]
    pub subprotocol: Vec<String>,
    /// Accept any certificate.
    #[arg(long)]
    pub insecure: bool,
    /// How clients come back: the name of a preset, or none; `closestorm presets` lists them.
    #[arg(long, value_name = "PRESET")]
    pub reconnect: Option<String>,
    /// Also write the scenario that is made of URL and options to this file, which must not exist.
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
}

impl UrlArgs {
    /// The first that was given, and what a scenario has in its place.
    pub fn first(&self) -> Option<(&'static str, &'static str)> {
        [
            (self.rate.is_some(), "--rate", "change its `arrive`, as --set 'clients.NAME.arrive.rate=50/s'"),
            (self.message.is_some(), "--message", "change its `traffic`, as --set 'clients.NAME.traffic={send={message=\"hi\"}}'"),
            (self.message_rate.is_some(), "--message-rate", "change its `traffic`, as --set 'clients.NAME.traffic.echo.rate=5/s'"),
            (!self.header.is_empty(), "--header", "change its `headers`, as --set 'clients.NAME.headers.X-Name=\"value\"'"),
            (!self.subprotocol.is_empty(), "--subprotocol", "change its `subprotocols`, as --set 'clients.NAME.subprotocols=[\"v1\"]'"),
            (self.insecure, "--insecure", "set the key of its target, as --set target.url.insecure=true"),
            (self.reconnect.is_some(), "--reconnect", "change its `reconnect`, as --set clients.NAME.reconnect=phoenix"),
            (self.save.is_some(), "--save", "`closestorm scenarios NAME > mine.toml` writes a bundled one to a file"),
        ]
        .into_iter()
        .find_map(|(given, option, instead)| given.then_some((option, instead)))
    }

    /// Names and values.
    ///
    /// # Errors
    /// One that is no header, or that is there twice.
    pub fn headers(&self) -> Result<Vec<(String, String)>, String> {
        let mut all: Vec<(String, String)> = Vec::new();
        for header in &self.header {
            // A value without a name may be a secret.
            let Some((name, value)) = header.split_once(':') else {
                return Err("--header has a name and a value with a colon between them, as 'X-Name: value'".to_owned());
            };
            let name = name.trim();
            if all.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
                return Err(format!("--header {name} is given twice: a header has one value"));
            }
            all.push((name.to_owned(), value.trim().to_owned()));
        }
        Ok(all)
    }
}

fn rate(text: &str) -> Result<Rate, UnitError> {
    let rate: Rate = text.parse()?;
    if rate.0 > 0.0 && rate.0 <= 1e6 {
        return Ok(rate);
    }
    Err(UnitError { found: format!("\"{text}\" is out of bounds"), fix: "it is above \"0/s\" and at most \"1000000/s\"".to_owned() })
}

/// What somebody wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum InitQuestion {
    /// Does everybody come back after a deployment, and who notices?
    Deploy,
    /// What happens when the server crashes under all its clients?
    Crash,
    /// Who notices a connection that is dead although nobody closed it?
    HalfOpen,
    /// How many clients does the server take?
    Capacity,
    /// Does my own client come back as it should?
    Client,
}

/// Arguments of `init`.
#[derive(Debug, Args)]
pub struct Init {
    /// File to write, which must not exist [default: QUESTION.toml].
    #[arg(value_name = "FILE", requires = "question")]
    pub file: Option<PathBuf>,
    /// What the scenario is to answer.
    #[arg(long, value_enum, value_name = "QUESTION")]
    pub question: Option<InitQuestion>,
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// A scenario file, the name of a bundled scenario, or a URL: does it fit this machine?
    #[arg(value_name = "SCENARIO")]
    pub scenario: Option<String>,
    /// Changes to the scenario.
    #[command(flatten)]
    pub changes: Changes,
    /// Output format.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
}

/// What a schema describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// A scenario file.
    Scenario,
    /// `summary.json` of a run folder.
    Summary,
}

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub struct Schema {
    /// What it describes.
    #[arg(value_enum, value_name = "WHAT")]
    pub of: SchemaOf,
}

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// Whose completions.
    #[arg(value_enum, value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub struct Man {
    /// Folder for the pages; it is made if it does not exist. Pages of the same name are replaced.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}
