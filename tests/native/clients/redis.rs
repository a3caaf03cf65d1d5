//! redis-cli.

use std::process::Command;

use anyhow::{Result, ensure};
use chaos_tests::{process::Process, require};

use super::{LINE, LINES, Scene, compare, is_installed};

const PORT: u16 = 6379;

/// A server that has the text under the key `text`.
fn server(scene: &Scene) -> Result<Process> {
    let mut command = Command::new("redis-server");
    command.args(["--port", &PORT.to_string(), "--bind", &scene.pair.server_end.v4.to_string()]);
    command.args(["--save", "", "--protected-mode", "no"]).arg("--dir").arg(scene.path());
    let server = scene.serve(command, &[PORT])?;
    std::fs::write(scene.path().join("text"), LINE.repeat(LINES))?;
    let set =
        format!("redis-cli -h server.example.com -x SET text <{}/text", scene.path().display());
    let said = scene.run(&set)?;
    ensure!(said.output == b"OK\n", "SET: {}", said.errors);
    Ok(server)
}

#[test]
fn redis_cli() -> Result<()> {
    require!("redis-cli"; is_installed("redis-cli"));
    require!("redis-server"; is_installed("redis-server"));
    compare("redis-cli 7.0", server)
}
