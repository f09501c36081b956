//! How a real client comes back: it is cut again and again, and its rules are found out.
//!
//! `host` is the server that it meets, `client` its process, `questions` has what is asked, `trials` asks it of all processes, `subject` of one, one after the other,
//! `wire_trials` those that are answered by what is on the wire, `syn_watch` sees what a closed port gets, `findings` has what was seen, `rules` says what is good, `judge` whether it does that, `words` tells it. What the waits say is the affair of `estimate`.

mod client;
pub mod findings;
mod host;
mod judge;
pub mod policy;
pub mod questions;
pub mod rules;
mod subject;
mod syn_watch;
pub mod trials;
mod wire_trials;
pub mod words;

pub use client::ClientCommand;
pub use findings::Findings;
pub use questions::{ClientSource, Questions, RefuseBy};
pub use trials::learn;
