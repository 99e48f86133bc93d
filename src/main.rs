//! The `metadsl` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    metadsl::cli::main()
}
