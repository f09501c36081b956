//! One binary of integration tests: real processes and sockets, a module per theme.

mod interop;
mod readme;
mod scenarios;
mod target;
mod tidy;
