//! closestorm
fn main() {}
