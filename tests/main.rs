//! One binary of integration tests: real processes and sockets, a module per theme.

mod api;
mod cli;
mod common;
#[allow(dead_code, reason = "the console blocks, which run elsewhere, read more of them")]
mod documents;
mod embedded;
mod load;
mod maps;
mod proofs;
mod proxy;
mod readme;
mod scenarios;
mod schemas;
mod seeds;
mod symptoms;
mod target;
