//! The `payi` program; all of it is in the library beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    payi_cli::run(std::env::args_os())
}
