//! One binary of integration tests: real processes and sockets, a module per theme.

mod cli;
mod scenarios;
mod target;
