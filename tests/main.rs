//! One binary of integration tests: real processes and sockets, a module per theme.

mod interop;
mod scenarios;
mod target;
