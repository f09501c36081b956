//! `closestorm __guard`: starts servers, and ends them when closestorm ends. Started by closestorm itself.

use crate::sut::command::guard;

/// the guard, until closestorm has ended and all that it started has ended.
pub fn main() -> u8 {
    guard::main()
}
