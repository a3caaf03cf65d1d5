//! A web server that sends files by sendfile(2).

use std::fs;

use anyhow::{Context, Result};
use chaos_tests::{machine::Shared, require};

use super::{Scene, contents, require_paths};
use crate::seccomp::Ran;

const NGINX: &str = "/usr/sbin/nginx";

/// Starts the server, asks it once it listens, and ends it.
const SCRIPT: &str = r#"
"$0" -p "$1" -c "$1/nginx.conf" & server=$!
until [ -S "$1/socket" ] || ! kill -0 $server; do sleep 0.05; done
curl -sS -m 20 -o "$1/answer" --unix-socket "$1/socket" http://server/source 2>&1; echo "exit code $?"
kill $server
wait $server
"#;

fn configuration(root: &str, served: &str) -> String {
    format!(
        "daemon off; master_process off; worker_processes 1;
         pid {root}/pid; error_log {root}/errors;
         events {{ }}
         http {{
             sendfile on; access_log off;
             client_body_temp_path {root}/temporary; proxy_temp_path {root}/temporary;
             fastcgi_temp_path {root}/temporary; uwsgi_temp_path {root}/temporary;
             scgi_temp_path {root}/temporary;
             server {{ listen unix:{root}/socket; root {served}; }}
         }}"
    )
}

#[test]
fn a_server_fails_on_a_broken_disk_and_serves_from_a_full_one() -> Result<()> {
    require_paths!();
    let there = |path: &str| fs::metadata(path).map(drop).map_err(|_| format!("no {path}"));
    require!("nginx"; there(NGINX));
    require!("curl"; there("/usr/bin/curl"));
    let _machine = Shared::acquire()?;
    for (what, is_served) in [("write with ENOSPC", true), ("read with EIO", false)] {
        let scene = Scene::new()?;
        let root = scene.path("other")?;
        let root = root.to_str().context("a path in UTF-8")?;
        let served = scene.path("full")?;
        let text = configuration(root, served.to_str().context("a path in UTF-8")?);
        fs::write(format!("{root}/nginx.conf"), text)?;
        let ran = Ran::under(&scene.fault(what)?, &[], &["sh", "-c", SCRIPT, NGINX, root])?;
        let answer = fs::read(format!("{root}/answer")).unwrap_or_default();
        let errors = fs::read_to_string(format!("{root}/errors")).unwrap_or_default();
        assert_eq!(answer == contents(), is_served, "{what}: {:?} {errors}", ran.lines);
        let said_so = ran.lines.iter().any(|line| line == "exit code 0");
        assert_eq!(said_so, is_served, "{what}: {:?} {errors}", ran.lines);
        let (matched, injected) = ran.counts(0);
        assert_eq!((matched > 0, matched), (!is_served, injected), "{what}: {}", ran.ledger);
    }
    Ok(())
}
