//! The programs behind `cargo xtask demo` and `cargo xtask bench` work.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use chaos_tests::machine::Shared;

use crate::agent::has_frames;

/// It fails where victim and kernel disagree, a neighbour is touched, or something is left behind.
#[test]
fn the_demo_holds_what_it_shows() -> Result<()> {
    let demo = Path::new(env!("CARGO_BIN_EXE_demo"));
    let shown =
        Command::new(demo).arg("machine").arg(demo.with_file_name("chaos-agent")).output()?;
    let text = String::from_utf8_lossy(&shown.stdout);
    let complaint = String::from_utf8_lossy(&shown.stderr);
    ensure!(shown.status.success(), "{}\n{text}\n{complaint}", shown.status);
    let counted = text.matches("injected").count();
    let refused = text.matches("refused").count();
    ensure!(counted + refused == 5, "five faults are shown:\n{text}");
    ensure!(refused == 0 || !frames_work()?, "a fault was refused:\n{text}");
    ensure!(text.contains("nothing left") && !text.contains('\u{1b}'), "{text}");
    Ok(())
}

#[test]
fn the_benchmark_measures_everything_once() -> Result<()> {
    let measured = Command::new(env!("CARGO_BIN_EXE_bench")).arg("--quick").output()?;
    let text = String::from_utf8_lossy(&measured.stdout);
    let complaint = String::from_utf8_lossy(&measured.stderr);
    ensure!(measured.status.success(), "{}\n{complaint}", measured.status);
    ensure!(text.matches("### ").count() == 6 && !text.contains("NaN"), "{text}");
    Ok(())
}

/// The demo's one fault that older kernels lack needs it. The machine is given back at once: the
/// demo wants it for itself.
fn frames_work() -> Result<bool> {
    let shared = Shared::acquire()?;
    Ok(has_frames(&shared).is_ok())
}
