//! The command line: `kubectl chaos VERB`.

use std::process::ExitCode;

fn main() -> ExitCode {
    chaos_kubectl::main()
}
