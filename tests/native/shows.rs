//! The programs behind `cargo xtask demo` and `cargo xtask bench` work.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

/// It fails where victim and kernel disagree, a neighbour is touched, or something is left behind.
#[test]
fn the_demo_holds_what_it_shows() -> Result<()> {
    let demo = Path::new(env!("CARGO_BIN_EXE_demo"));
    let shown = Command::new(demo).arg(demo.with_file_name("chaos-agent")).output()?;
    let text = String::from_utf8_lossy(&shown.stdout);
    let complaint = String::from_utf8_lossy(&shown.stderr);
    ensure!(shown.status.success(), "{}\n{text}\n{complaint}", shown.status);
    ensure!(text.contains("nothing left") && !text.contains('\u{1b}'), "{text}");
    Ok(())
}

#[test]
fn the_benchmark_measures_everything_once() -> Result<()> {
    let measured = Command::new(env!("CARGO_BIN_EXE_bench")).arg("--quick").output()?;
    let text = String::from_utf8_lossy(&measured.stdout);
    let complaint = String::from_utf8_lossy(&measured.stderr);
    ensure!(measured.status.success(), "{}\n{complaint}", measured.status);
    ensure!(text.matches("### ").count() == 5 && !text.contains("NaN"), "{text}");
    Ok(())
}
