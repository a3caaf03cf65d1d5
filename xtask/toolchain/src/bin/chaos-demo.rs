//! `./x demo`: what `cargo xtask demo` does, without the other commands of the project.

use std::process::ExitCode;

fn main() -> ExitCode {
    match chaos_toolchain::demo::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
