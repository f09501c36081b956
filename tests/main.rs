//! One binary of integration tests: real processes and sockets, a module per theme.

mod scenarios;
mod target;
