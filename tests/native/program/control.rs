//! A running agent and its socket: what the verbs do, and what nobody may do.

use std::{
    fs::{self, Permissions},
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use chaos_tests::{
    cgroup::TestCgroup,
    job::{Call, Repeated},
    machine::Shared,
    process::Place,
    tally::Tally,
    victim::Victim,
};
use nix::{libc, sys::signal::Signal};
use serde_json::Value;

use crate::daemon::{Daemon, PATIENCE, Talk, command, complaint, path};

/// Nobody listens at port 1, and nothing but a fault says ENETDOWN.
const FAULT: &str = "fail connect with ENETDOWN to 127.0.0.0/8 for 10m";

/// The number that distributions give to `nobody`.
const NOBODY: libc::uid_t = 65534;

struct Scene {
    daemon: Daemon,
    cgroup: TestCgroup,
    directory: tempfile::TempDir,
    shared: Shared,
}

impl Scene {
    fn new() -> Result<Self> {
        Self::with(&[])
    }

    fn with(options: &[&str]) -> Result<Self> {
        let shared = Shared::acquire()?;
        let directory = tempfile::tempdir()?;
        let daemon = Daemon::start(&shared, &directory.path().join("agent.sock"), options)?;
        Ok(Self { daemon, cgroup: TestCgroup::new(&shared, "armed")?, directory, shared })
    }

    fn connects(&self, number: u64) -> Result<Tally> {
        connects(&self.cgroup, number)
    }
}

/// What a victim sees that connects to a closed port of its own host.
fn connects(cgroup: &TestCgroup, number: u64) -> Result<Tally> {
    let to = SocketAddr::from(([127, 0, 0, 1], 1));
    let connect = Repeated::Connect { to, nonblocking: false, timeout: PATIENCE };
    Ok(Victim::run(Call::new(connect, number), Place::here().cgroup(cgroup))?.total())
}

#[test]
fn many_clients_keep_nobody_from_ending_faults() -> Result<()> {
    let scene = Scene::new()?;
    let Scene { daemon, cgroup, .. } = &scene;
    let ids = [daemon.arm(cgroup, FAULT)?, daemon.arm(cgroup, FAULT)?];
    // They say nothing, and keep their places.
    let silent = (0..32).map(|_| daemon.talk()).collect::<Result<Vec<_>>>()?;
    let refused = daemon.verb(&["list"])?;
    ensure!(complaint(&refused).contains("32 clients"), "{refused:?}");
    assert_eq!(daemon.json(&["disarm", &ids[0]])?["id"], ids[0]);
    assert_eq!(daemon.json(&["halt"])?[0]["id"], ids[1]);
    drop(silent);
    Ok(())
}

#[test]
fn what_is_armed_is_listed_shown_and_disarmed() -> Result<()> {
    let scene = Scene::new()?;
    let Scene { daemon, cgroup, .. } = &scene;
    assert_eq!(scene.connects(10)?.failed_with("ENETDOWN"), 0);
    let id = daemon.arm(cgroup, FAULT)?;
    assert_eq!((id.as_str(), daemon.ids()?), ("cli:1", vec![id.clone()]));
    assert_eq!(scene.connects(100)?.failed_with("ENETDOWN"), 100);

    let shown = daemon.json(&["show", &id])?;
    let fault = &shown["faults"][0];
    assert_eq!(fault["fault"], FAULT);
    assert_eq!(fault["counts"]["injected"], 100);
    assert_eq!(fault["hooks"][0], "cgroup/connect4");
    let table = daemon.verb(&["list"])?;
    let table = String::from_utf8(table.stdout)?;
    ensure!(table.contains("cli:1") && table.contains("active"), "{table}");

    let ended = daemon.json(&["disarm", &id])?;
    assert_eq!(ended["report"]["faults"][0]["counts"]["injected"], 100);
    assert_eq!(scene.connects(10)?.failed_with("ENETDOWN"), 0);
    assert_eq!(daemon.ids()?, Vec::<String>::new());
    let again = daemon.verb(&["disarm", &id])?;
    ensure!(again.status.code() == Some(1), "{}", complaint(&again));
    ensure!(complaint(&again).contains("no target is armed as cli:1"), "{}", complaint(&again));
    Ok(())
}

#[test]
fn a_target_is_known_by_its_name_as_long_as_that_says_which() -> Result<()> {
    let scene = Scene::new()?;
    let Scene { daemon, cgroup, .. } = &scene;
    daemon.arm(cgroup, FAULT)?;
    let target = daemon.json(&["list"])?[0]["target"].as_str().context("a target")?.to_owned();
    assert_eq!(daemon.json(&["show", &target])?["id"], "cli:1");
    let second = daemon.verb(&["arm", "--cgroup", path(cgroup)?, "--fault", "drop to port 9"])?;
    ensure!(complaint(&second).contains("also has cli:1 (`fail connect"), "{}", complaint(&second));
    for verb in ["show", "disarm", "follow"] {
        let refused = daemon.verb(&[verb, &target])?;
        let complaint = complaint(&refused);
        ensure!(
            complaint.contains("armed more than once: say which of cli:1, cli:2"),
            "{complaint}"
        );
    }
    daemon.json(&["disarm", "cli:2"])?;
    assert_eq!(daemon.json(&["disarm", &target])?["id"], "cli:1");
    assert_eq!(daemon.ids()?, Vec::<String>::new());
    Ok(())
}

/// Not at once: whoever arms a fault makes the traffic for it afterwards.
#[test]
fn what_nothing_matches_is_said_after_some_seconds() -> Result<()> {
    let scene = Scene::new()?;
    let Scene { daemon, cgroup, .. } = &scene;
    let faults = format!("{FAULT}; fail bind with EIO; drop to port 9 after 5m");
    let id = daemon.arm(cgroup, &faults)?;
    let told = || -> Result<Vec<bool>> {
        let shown = daemon.json(&["show", &id])?;
        let faults = shown["faults"].as_array().into_iter().flatten();
        Ok(faults.map(|fault| fault.get("unmatched").is_some()).collect())
    };
    assert_eq!(told()?, [false; 3]);
    assert_eq!(scene.connects(1)?.failed_with("ENETDOWN"), 1);
    let give_up = Instant::now() + PATIENCE;
    while told()? != [false, true, false] {
        ensure!(Instant::now() < give_up, "{}", daemon.json(&["show", &id])?);
        thread::sleep(Duration::from_millis(100));
    }
    let listed = String::from_utf8(daemon.verb(&["list"])?.stdout)?;
    let line = "cli:1: nothing matched `fail bind with EIO`: the target had done it when";
    ensure!(listed.contains(line) && listed.matches("nothing matched").count() == 1, "{listed}");
    let ended = String::from_utf8(daemon.verb(&["disarm", &id])?.stdout)?;
    ensure!(ended.matches("nothing matched").count() == 1, "{ended}");
    Ok(())
}

/// What stands against it, and on a line of its own what to do.
#[test]
fn a_refusal_has_two_lines() -> Result<()> {
    let scene = Scene::new()?;
    let Scene { daemon, cgroup, .. } = &scene;
    let refused =
        daemon.verb(&["arm", "--cgroup", path(cgroup)?, "--fault", "drop in container app"])?;
    let complaint = complaint(&refused);
    let lines: Vec<&str> = complaint.lines().collect();
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(
        lines,
        [
            "error: `drop in container app`: `in container app`: the target is not a pod",
            "  help: leave `in container` out: the fault is for the whole target"
        ]
    );
    Ok(())
}

#[test]
fn halt_ends_everything_and_the_agent_goes_on() -> Result<()> {
    let scene = Scene::new()?;
    let Scene { daemon, cgroup, shared, .. } = &scene;
    let other = TestCgroup::new(shared, "other")?;
    daemon.arm(cgroup, FAULT)?;
    daemon.arm(&other, FAULT)?;
    let halted = daemon.json(&["halt"])?;
    assert_eq!(halted.as_array().map(Vec::len), Some(2));
    assert_eq!(scene.connects(10)?.failed_with("ENETDOWN"), 0);
    assert_eq!(connects(&other, 10)?.failed_with("ENETDOWN"), 0);
    assert_eq!(daemon.arm(cgroup, FAULT)?, "cli:3");
    Ok(())
}

#[test]
fn every_injection_is_told_and_so_is_the_end() -> Result<()> {
    let scene = Scene::new()?;
    let Scene { daemon, cgroup, .. } = &scene;
    let id = daemon.arm(cgroup, FAULT)?;
    let mut talk = daemon.talk()?;
    assert_eq!(talk.ask(br#"{"version":1,"command":{"follow":{}}}"#)?, "following");
    assert_eq!(scene.connects(20)?.failed_with("ENETDOWN"), 20);
    daemon.json(&["disarm", &id])?;
    for _ in 0..20 {
        let told = talk.hear()?.context("the agent hung up")?;
        let injected = &told["event"]["injected"];
        assert_eq!(injected["id"], id.as_str(), "{told}");
        assert_eq!((&injected["fault"], &injected["event"]), (&FAULT.into(), &"connect".into()));
        assert_eq!(injected["destination"]["address"], "127.0.0.1");
        assert_eq!(
            (&injected["destination"]["port"], &injected["errno"]),
            (&1.into(), &"ENETDOWN".into())
        );
    }
    let told = talk.hear()?.context("the agent hung up")?;
    assert_eq!(told["event"]["ended"]["id"], id.as_str(), "{told}");
    Ok(())
}

#[test]
fn a_sample_says_how_much_it_leaves_out() -> Result<()> {
    /// More than a ring holds, in less time than passes between two looks at it.
    const MANY: u64 = 20_000;
    let scene = Scene::new()?;
    let Scene { daemon, cgroup, .. } = &scene;
    let id = daemon.arm(cgroup, FAULT)?;
    let mut talk = daemon.talk()?;
    let follow = format!(r#"{{"version":1,"command":{{"follow":{{"id":"{id}"}}}}}}"#);
    assert_eq!(talk.ask(follow.as_bytes())?, "following");
    assert_eq!(scene.connects(MANY)?.failed_with("ENETDOWN"), MANY);
    daemon.json(&["disarm", &id])?;
    let (mut told, mut lost) = (0, 0);
    while let Some(answer) = talk.hear()? {
        let event = &answer["event"];
        if event.get("injected").is_some() {
            told += 1;
        } else if let Some(missing) = event.get("lost") {
            lost += missing["number"].as_u64().context("a number is lost")?;
        } else {
            assert_eq!(event["ended"]["report"]["faults"][0]["counts"]["injected"], MANY);
        }
    }
    assert_eq!(told + lost, MANY, "{told} told, {lost} lost");
    ensure!(told > 0 && lost > 0, "{told} told, {lost} lost");
    Ok(())
}

#[test]
fn follow_prints_a_line_an_injection_until_the_end() -> Result<()> {
    let scene = Scene::new()?;
    let Scene { daemon, cgroup, .. } = &scene;
    let id = daemon.arm(cgroup, FAULT)?;
    let mut follower = daemon.spawn(&["follow", &id])?;
    // It does not say when it has begun to listen.
    let line = loop {
        scene.connects(1)?;
        if let Ok(line) = follower.line(Duration::from_millis(1500)) {
            break line;
        }
    };
    ensure!(line.contains("cli:1") && line.contains("→ 127.0.0.1:1 ENETDOWN"), "{line}");
    daemon.json(&["disarm", &id])?;
    let last = follower.remaining_lines().last().context("nothing was said of the end")?;
    ensure!(last.contains("cli:1 ended: user 0, process"), "{last}");
    ensure!(follower.wait(PATIENCE)?.success());
    Ok(())
}

#[test]
fn a_cgroup_that_vanishes_ends_its_faults() -> Result<()> {
    let Scene { daemon, cgroup, directory: _directory, shared: _shared } = Scene::new()?;
    let id = daemon.arm(&cgroup, FAULT)?;
    let mut talk = daemon.talk()?;
    assert_eq!(talk.ask(br#"{"version":1,"command":{"follow":{}}}"#)?, "following");
    drop(cgroup);
    let told = talk.hear()?.context("the agent hung up")?;
    assert_eq!(told["event"]["ended"]["id"], id.as_str());
    assert_eq!(told["event"]["ended"]["why"], "its cgroup is gone");
    assert_eq!(daemon.ids()?, Vec::<String>::new());
    Ok(())
}

#[test]
fn malformed_requests_are_answered_and_change_nothing() -> Result<()> {
    let scene = Scene::new()?;
    let Scene { daemon, cgroup, .. } = &scene;
    let id = daemon.arm(cgroup, FAULT)?;
    let target = format!(r#"{{"cgroup":"{}"}}"#, path(cgroup)?);
    let arm = |faults: &str| {
        let faults = Value::from(faults);
        format!(r#"{{"version":1,"command":{{"arm":{{"target":{target},"faults":{faults}}}}}}}"#)
    };
    let mut talk = daemon.talk()?;
    for (line, kind) in [
        ("", "malformed"),
        ("halt", "malformed"),
        (r#"{"command":"halt"}"#, "malformed"),
        (r#"{"version":1,"command":"halt","now":true}"#, "malformed"),
        (r#"{"version":1,"command":{"halt":{"id":"cli:1"}}}"#, "malformed"),
        (r#"{"version":2,"command":"halt"}"#, "version"),
        (r#"{"version":1,"command":{"disarm":{"id":"cli:2"}}}"#, "unknown-id"),
        (r#"{"version":1,"command":{"follow":{"id":"cli:2"}}}"#, "unknown-id"),
    ] {
        let refused = talk.ask(line.as_bytes())?["refused"].clone();
        assert_eq!(refused["kind"], kind, "{line}: {refused}");
        if line.contains("follow") {
            talk = daemon.talk()?;
        }
    }
    assert_eq!(talk.ask(b"\xff\xfe\x00")?["refused"]["kind"], "malformed");
    assert_eq!(talk.ask(arm("explode").as_bytes())?["refused"]["kind"], "faults");
    assert_eq!(talk.ask(arm("").as_bytes())?["refused"]["kind"], "faults");
    assert_eq!(talk.ask(arm("skew clock by +1d").as_bytes())?["refused"]["kind"], "plan");
    assert_eq!(talk.ask(arm("drop for 2h").as_bytes())?["refused"]["kind"], "plan");

    assert_eq!(daemon.ids()?, [id]);
    assert_eq!(scene.connects(10)?.failed_with("ENETDOWN"), 10);
    Ok(())
}

#[test]
fn a_file_of_latencies_is_sent_along() -> Result<()> {
    let scene = Scene::new()?;
    // As many, and as long, as there can be.
    let lines: String =
        (0..5000).map(|n| format!("10s{:03}ms123us{:03}ns\n", n / 10, n % 1000)).collect();
    let file = scene.directory.path().join("latencies.txt");
    fs::write(&file, lines)?;
    let fault =
        |seed: u32| format!("shadow delay from file {} egress for 10m seed {seed}", file.display());
    let faults = [1, 2, 3, 4].map(fault);
    let id = scene.daemon.arm(&scene.cgroup, &faults.join("; "))?;
    let shown = scene.daemon.json(&["show", &id])?;
    for (index, fault) in faults.iter().enumerate() {
        assert_eq!(shown["faults"][index]["fault"], fault.as_str());
    }
    Ok(())
}

#[test]
fn lines_that_are_too_long_are_not_read() -> Result<()> {
    let scene = Scene::new()?;
    let mut talk = scene.daemon.talk()?;
    // Behind the limit nobody reads, so that saying may fail; the answer comes all the same.
    drop(talk.say(&vec![b'x'; 1 << 20]));
    let refused = talk.hear()?.context("the agent hung up without a word")?;
    assert_eq!(refused["refused"]["message"], "a request has at most 262144 bytes");
    assert!(matches!(talk.hear(), Ok(None) | Err(_)));
    assert_eq!(scene.daemon.ids()?, Vec::<String>::new());
    Ok(())
}

#[test]
fn silent_clients_keep_nobody_waiting_and_are_bounded() -> Result<()> {
    // Eight of these have places that are kept for `halt` and `disarm`: what they ask for is not known yet.
    const CLIENTS: usize = 32 + 8;
    let scene = Scene::new()?;
    let mut silent = Vec::new();
    for _ in 0..CLIENTS {
        let mut talk = scene.daemon.talk()?;
        // Begun and never finished.
        talk.ask(br#"{"version":1,"command":"list"}"#)?;
        silent.push(talk);
    }
    let refused = scene.daemon.verb(&["list"])?;
    ensure!(complaint(&refused).contains("32 clients"), "{refused:?}");
    drop(silent.remove(0));
    // The place is given back when the agent sees the connection closed.
    while scene.daemon.verb(&["list"])?.status.code() != Some(0) {
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

#[test]
fn other_users_are_refused() -> Result<()> {
    let scene = Scene::new()?;
    let socket = scene.directory.path().join("agent.sock");
    // As if somebody had opened it for everybody.
    fs::set_permissions(scene.directory.path(), Permissions::from_mode(0o755))?;
    let mode = fs::metadata(&socket)?.permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    fs::set_permissions(&socket, Permissions::from_mode(0o666))?;
    let refused = thread::scope(|scope| scope.spawn(|| as_nobody(&socket)).join())
        .map_err(|_| anyhow::anyhow!("the client panicked"))??;
    assert_eq!(refused["refused"]["kind"], "forbidden", "{refused}");
    assert_eq!(scene.daemon.ids()?, Vec::<String>::new());
    Ok(())
}

/// Asks for the end of everything as another user. Ends the calling thread's rights for good.
fn as_nobody(socket: &Path) -> Result<Value> {
    // The system call itself changes this thread only; the library's function changes all.
    // SAFETY: it takes three integers.
    let changed = unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
    ensure!(changed == 0, "setresuid: {}", std::io::Error::last_os_error());
    let mut talk = Talk::begin(socket)?;
    // It is refused before it has said anything.
    drop(talk.say(br#"{"version":1,"command":"halt"}"#));
    talk.hear()?.context("the agent hung up without a word")
}

#[test]
fn there_is_one_agent_a_socket() -> Result<()> {
    let scene = Scene::new()?;
    let socket = scene.directory.path().join("agent.sock");
    let second = command().args(["agent", "--standalone", "--socket"]).arg(&socket).output()?;
    assert_eq!(second.status.code(), Some(1));
    let expected = format!("another agent (process {})", scene.daemon.process.pid());
    ensure!(complaint(&second).contains(&expected), "{}", complaint(&second));
    assert_eq!(scene.daemon.ids()?, Vec::<String>::new());
    Ok(())
}

#[test]
fn sigterm_disarms_and_prints_the_ledgers() -> Result<()> {
    let mut scene = Scene::new()?;
    let id = scene.daemon.arm(&scene.cgroup, FAULT)?;
    assert_eq!(scene.connects(30)?.failed_with("ENETDOWN"), 30);
    let mut follower = scene.daemon.talk()?;
    assert_eq!(follower.ask(br#"{"version":1,"command":{"follow":{}}}"#)?, "following");
    scene.daemon.process.signal(Signal::SIGTERM)?;
    let printed: String = scene.daemon.process.remaining_lines().collect();
    assert_eq!(scene.daemon.process.wait(PATIENCE)?.code(), Some(0));
    let ended: Value = serde_json::from_str(&printed)?;
    assert_eq!(ended[0]["id"], id.as_str());
    assert_eq!(ended[0]["report"]["faults"][0]["counts"]["injected"], 30);
    assert_eq!(scene.connects(10)?.failed_with("ENETDOWN"), 0);
    ensure!(fs::read_dir(scene.directory.path())?.next().is_none(), "something stays behind");
    let mut last = None;
    while let Some(told) = follower.hear()? {
        last = Some(told);
    }
    let last = last.context("a follower was not told")?;
    assert_eq!(last["event"]["ended"]["why"], "the agent is shutting down", "{last}");

    let gone = scene.daemon.verb(&["list"])?;
    assert_eq!(gone.status.code(), Some(1));
    ensure!(complaint(&gone).contains("no agent listens at"), "{}", complaint(&gone));
    Ok(())
}

#[test]
fn a_killed_agent_leaves_a_socket_that_the_next_one_replaces() -> Result<()> {
    let mut scene = Scene::new()?;
    let socket = scene.directory.path().join("agent.sock");
    scene.daemon.arm(&scene.cgroup, FAULT)?;
    assert_eq!(scene.connects(10)?.failed_with("ENETDOWN"), 10);
    scene.daemon.process.signal(Signal::SIGKILL)?;
    scene.daemon.process.wait(PATIENCE)?;
    ensure!(socket.exists(), "it had no time to remove it");
    scene.daemon = Daemon::start(&scene.shared, &socket, &[])?;
    assert_eq!(scene.daemon.ids()?, Vec::<String>::new());
    assert_eq!(scene.connects(10)?.failed_with("ENETDOWN"), 0);
    Ok(())
}

#[test]
fn the_node_sets_limits() -> Result<()> {
    let limits = ["--most-targets", "1", "--longest", "1m", "--default-duration", "30s"];
    let scene = Scene::with(&limits)?;
    let Scene { daemon, cgroup, shared, .. } = &scene;
    let arm = |cgroup: &TestCgroup, fault: &str| -> Result<String> {
        let refused = daemon.verb(&["arm", "--cgroup", path(cgroup)?, "--fault", fault])?;
        assert_eq!(refused.status.code(), Some(1), "{}", complaint(&refused));
        Ok(complaint(&refused))
    };
    let refused = arm(cgroup, "drop for 2m")?;
    ensure!(refused.contains("drop for 2m"), "{refused}");
    daemon.arm(cgroup, "drop egress udp")?;
    let fault = &daemon.json(&["show", "cli:1"])?["faults"][0];
    let [began, ends] = ["began", "ends"].map(|name| fault[name].as_u64());
    assert_eq!(ends.zip(began).map(|(ends, began)| ends - began), Some(30_000_000_000));
    let other = TestCgroup::new(shared, "other")?;
    let refused = arm(&other, "drop")?;
    ensure!(refused.contains("no more than 1 armed at once"), "{refused}");
    Ok(())
}
