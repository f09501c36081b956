//! One binary of integration tests, a module per theme.

mod scenarios;
