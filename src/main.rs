//! `kestack`: the program.

use std::process::ExitCode;

fn main() -> ExitCode {
    kestack::main()
}
