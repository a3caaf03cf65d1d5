//! The log: to standard error, chosen by `CHAOS_LOG`.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use super::sparing::Sparing;

/// The environment variable with the filter.
const VARIABLE: &str = "CHAOS_LOG";

/// Sends `tracing` events, and those of `log` (the BPF programs' among them), to standard error.
/// Warnings that repeat are held back. `default` is the level where `CHAOS_LOG` says nothing.
pub fn init(default: &str) {
    // Without rights aya warns of every probe that the kernel denies; our own error says it once.
    let default = format!("{default},aya=error");
    let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new(default));
    let color = std::io::stderr().is_terminal()
        && anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(color)
        .event_format(Sparing::new(tracing_subscriber::fmt::format().with_target(false)))
        .init();
    tracing::debug!(
        version = env!("CARGO_PKG_VERSION"),
        architecture = std::env::consts::ARCH,
        debug_assertions = cfg!(debug_assertions),
        "chaos-agent"
    );
}
