//! Runs Debian's Prometheus.

use std::{fs, net::SocketAddr, process::Command};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Place, Process};

/// A server. Dropping it kills it, and removes what it has written.
pub struct PrometheusServer {
    _process: Process,
    _directory: TempDir,
}

impl PrometheusServer {
    /// Starts a server with this configuration, which answers at `address` soon. `command` starts the program, without
    /// arguments; all files are in `directory`, where the configuration may name some that are there already.
    ///
    /// # Errors
    /// When the configuration can't be written, or the program can't be started.
    pub fn start(
        mut command: Command,
        directory: TempDir,
        configuration: &Value,
        address: SocketAddr,
    ) -> Result<Self> {
        let file = directory.path().join("prometheus.yaml");
        // YAML includes JSON.
        fs::write(&file, configuration.to_string()).context("write Prometheus' configuration")?;
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=error");
        let process = Process::spawn(command, Place::here())?;
        Ok(Self { _process: process, _directory: directory })
    }
}
