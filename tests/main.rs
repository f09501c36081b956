//! One binary of integration tests: real processes and sockets, a module per theme.

mod api;
mod cli;
mod common;
mod console;
mod documents;
mod embedded;
mod load;
mod maps;
mod proofs;
mod proxy;
mod readme;
mod scenarios;
mod seeds;
mod symptoms;
mod target;
