//! Parameters of an injection, checked, with defaults filled in.

use crate::units::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// Of `ValueShape::Duration`.
    Duration(Duration),
    /// Of `ValueShape::Bytes`.
    Bytes(Bytes),
    /// Of `ValueShape::Whole`.
    Whole(u64),
    /// Of `ValueShape::Share`.
    Share(f64),
    /// Of `ValueShape::Text` and `ValueShape::Choice`.
    Text(String),
}

/// The parameters of an injection by name, checked and with defaults filled in; a parameter without default may be absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Values(pub BTreeMap<String, Value>);

impl Values {
    /// A duration; `None` where absent.
    pub fn duration(&self, name: &str) -> Option<Duration> {
        match self.0.get(name) {
            Some(Value::Duration(duration)) => Some(*duration),
            _ => None,
        }
    }

    /// A number of bytes; `None` where absent.
    pub fn bytes(&self, name: &str) -> Option<u64> {
        match self.0.get(name) {
            Some(Value::Bytes(bytes)) => Some(bytes.0),
            _ => None,
        }
    }

    /// A whole number; `None` where absent.
    pub fn whole(&self, name: &str) -> Option<u64> {
        match self.0.get(name) {
            Some(Value::Whole(number)) => Some(*number),
            _ => None,
        }
    }

    /// A share, 0 to 1; `None` where absent.
    pub fn share(&self, name: &str) -> Option<f64> {
        match self.0.get(name) {
            Some(Value::Share(share)) => Some(*share),
            _ => None,
        }
    }

    /// A text or word; `None` where absent.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A whole number that fits 16 bits, as a status code or an instance; `None` where absent.
    pub(super) fn short(&self, name: &str) -> Option<u16> {
        self.whole(name).and_then(|number| u16::try_from(number).ok())
    }
}
