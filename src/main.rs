//! closestorm: the program. All of it is in the library, whose modules only the feature `internals` makes public.

fn main() -> std::process::ExitCode {
    closestorm::main()
}
