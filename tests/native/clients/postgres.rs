//! psql.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    process::Stdio,
};

use anyhow::{Context, Result, ensure};
use chaos_tests::{process::Process, require};
use nix::{sys::signal::Signal, unistd::User};

use super::{PATIENCE, Scene, compare, is_installed};
use crate::databases::postgres::{USER, as_user, programs};

const PORT: u16 = 5432;

/// A server that believes everybody. Dropping it ends it, so that its shared memory goes, too.
struct Server(Process);

impl Server {
    fn start(scene: &Scene) -> Result<Self> {
        let programs = programs().map_err(anyhow::Error::msg)?;
        let directory = scene.path().join("postgres");
        fs::create_dir(&directory)?;
        fs::set_permissions(scene.path(), fs::Permissions::from_mode(0o755))?;
        let user = User::from_name(USER)?.context("PostgreSQL's user")?;
        chown(&directory, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        let data = directory.join("cluster");
        let made = as_user(&programs.join("initdb"))
            .args(["--no-sync", "--auth=trust", "--no-locale", "--pgdata"])
            .arg(&data)
            .current_dir(&directory)
            .stdout(Stdio::null())
            .status()?;
        ensure!(made.success(), "initdb: {made}");
        allow_all(&data)?;
        let mut command = as_user(&programs.join("postgres"));
        let address = scene.pair.server_end.v4;
        command.args(["-c", &format!("listen_addresses={address}"), "-c", "port=5432"]);
        command.args(["-c", "unix_socket_directories=", "-c", "fsync=off", "-D"]).arg(&data);
        command.current_dir(&directory);
        Ok(Self(scene.serve(command, &[PORT])?))
    }
}

fn allow_all(data: &Path) -> Result<()> {
    let line = "host all all 0.0.0.0/0 trust\n";
    fs::write(data.join("pg_hba.conf"), line).context("say who may connect")
}

impl Drop for Server {
    fn drop(&mut self) {
        // An "immediate shutdown".
        let ended = self.0.signal(Signal::SIGQUIT).and_then(|()| self.0.wait(PATIENCE));
        if let Err(error) = ended {
            eprintln!("PostgreSQL did not end: {error:#}");
        }
    }
}

#[test]
fn psql() -> Result<()> {
    require!("psql"; is_installed("psql"));
    require!("PostgreSQL"; programs().map(drop));
    compare("psql 15", Server::start)
}
