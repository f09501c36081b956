//! How a real client comes back: it is cut again and again, and its rules are found out.
//!
//! `host` is the server that it meets, `client` its process, `trials` asks the questions one after the other, `findings` has what was seen,
//! `rules` judges it, `words` tells it. What the waits say is the affair of `estimate`.

mod client;
pub mod findings;
mod host;
pub mod rules;
pub mod trials;
pub mod words;

pub use client::ClientCommand;
pub use findings::Findings;
pub use trials::{Questions, learn};
