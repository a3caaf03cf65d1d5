//! curl, with HTTP/1.1 and with HTTP/2, and nginx.

use std::{fs, process::Command};

use anyhow::Result;
use chaos_tests::{process::Process, require};

use super::{LINE, LINES, Scene, compare, is_installed};

const HTTP1: u16 = 80;
const HTTP2: u16 = 8080;

fn nginx(scene: &Scene) -> Result<Process> {
    let directory = scene.path().display();
    let settings = format!(
        "daemon off; master_process off; user root; pid {directory}/pid;
         error_log stderr; events {{}}
         http {{
             access_log off; root {directory}/files; sendfile off;
             server {{ listen {HTTP1}; }}
             server {{ listen {HTTP2} http2; }}
         }}"
    );
    fs::write(scene.path().join("nginx.conf"), settings)?;
    fs::create_dir(scene.path().join("files"))?;
    fs::write(scene.path().join("files/index.html"), LINE.repeat(LINES))?;
    let mut command = Command::new("nginx");
    command.arg("-c").arg(scene.path().join("nginx.conf"));
    scene.serve(command, &[HTTP1, HTTP2])
}

fn http(heading: &str) -> Result<()> {
    require!("curl"; is_installed("curl"));
    require!("nginx"; is_installed("nginx"));
    compare(heading, nginx)
}

#[test]
fn http_1() -> Result<()> {
    http("curl 7.88, HTTP/1.1")
}

#[test]
fn http_2() -> Result<()> {
    http("curl 7.88, HTTP/2")
}
