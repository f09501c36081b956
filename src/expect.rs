//! Expectations: `metric{label=value,…} stat op value-with-unit`, parsed and checked against the list of metrics.

/// One expectation.
#[derive(Clone, Debug, PartialEq)]
pub struct Expectation {
    /// As written.
    pub text: String,
}
