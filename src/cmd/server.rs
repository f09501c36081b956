//! `closestorm __server`: one instance of the embedded server. Started by closestorm itself.

use crate::server;

/// One instance of the embedded server, until it is told to stop or closestorm is gone.
///
/// # Errors
/// None: the server prints what is wrong, and its exit code says that something was.
pub fn main() -> u8 {
    server::main()
}
