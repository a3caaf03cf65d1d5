//! Makes profiles that tell the agent of calls, and otherwise do what another profile does. Pure.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

const ALLOW: &str = "SCMP_ACT_ALLOW";
const NOTIFY: &str = "SCMP_ACT_NOTIFY";

/// Where the agent listens, as `manifests/seccomp/daemonset.yaml` has it.
const LISTENER: &str = "/run/chaos-agent-seccomp/listener.sock";

/// What the agent reads the names of the calls after.
const METADATA: &str = "chaos-agent:";

/// Calls that the agent is told of. Not `write`: runc itself writes between putting the filter on and
/// starting the container, and refuses such a profile.
#[rustfmt::skip]
const CALLS: &[&str] = &[
    "accept", "accept4", "access", "brk", "chmod", "chown", "connect", "copy_file_range", "creat",
    "faccessat", "faccessat2", "fallocate", "fchmod", "fchmodat", "fchown", "fchownat",
    "fdatasync", "flock", "fstat", "fsync", "ftruncate", "getdents64", "getrandom", "link",
    "linkat", "listen", "lseek", "lstat", "madvise", "memfd_create", "mkdir", "mkdirat", "mmap",
    "mprotect", "mremap", "msync", "newfstatat", "open", "openat", "openat2", "pread64", "preadv",
    "preadv2", "pwrite64", "pwritev", "pwritev2", "readlink", "readlinkat", "readv", "recvfrom",
    "recvmmsg", "recvmsg", "rename", "renameat", "renameat2", "rmdir", "sendfile", "sendmmsg",
    "sendmsg", "sendto", "socket", "stat", "statfs", "statx", "symlink", "symlinkat", "sync",
    "sync_file_range", "truncate", "unlink", "unlinkat", "writev",
];

/// Calls that runc makes itself at the start of a container: without the agent, that hangs.
const AT_A_PRICE: &[&str] = &["close", "read"];

/// A seccomp profile in the form of the runtime specification. Fields that are not named here are an
/// error, as they could not be kept.
/// <https://github.com/opencontainers/runtime-spec/blob/v1.2.0/config-linux.md#seccomp>
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Profile {
    default_action: String,
    architectures: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    listener_path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    listener_metadata: Option<String>,
    syscalls: Vec<Rule>,
}

/// What becomes of some calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    names: Vec<String>,
    action: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    errno_ret: Option<u32>,
    /// Conditions that must all hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    args: Vec<Condition>,
}

/// A condition on an argument of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Condition {
    index: u32,
    value: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value_two: Option<u64>,
    op: String,
}

impl Profile {
    /// As it lies in a file.
    pub fn to_json(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self).context("write a profile")?;
        Ok(format!("{text}\n"))
    }
}

/// The profiles of `manifests/seccomp` with their file names, where `default` is that of the runtime.
pub fn shipped(default: &Profile) -> Result<[(&'static str, Profile); 3]> {
    let everything = [CALLS, AT_A_PRICE].concat();
    Ok([
        ("chaos-agent.json", told_of(default, CALLS)?),
        ("chaos-agent-read.json", told_of(default, &everything)?),
        ("chaos-agent-unconfined.json", unconfined(default, CALLS)),
    ])
}

/// Tells the agent of `calls` where `profile` allows them, under the same conditions; what it denies
/// stays denied.
fn told_of(profile: &Profile, calls: &[&str]) -> Result<Profile> {
    let is_listed = |name: &String| calls.contains(&name.as_str());
    let mut syscalls = Vec::new();
    let mut told = BTreeSet::new();
    for rule in &profile.syscalls {
        if rule.action != ALLOW {
            syscalls.push(rule.clone());
            continue;
        }
        let (listed, others): (Vec<_>, Vec<_>) = rule.names.iter().cloned().partition(is_listed);
        told.extend(listed.iter().cloned());
        for (names, action) in [(others, ALLOW), (listed, NOTIFY)] {
            if !names.is_empty() {
                syscalls.push(Rule { names, action: action.to_owned(), ..rule.clone() });
            }
        }
    }
    if let Some(denied) = calls.iter().find(|&&call| !told.contains(call)) {
        bail!("the runtime's default profile does not allow `{denied}`: take it off the list");
    }
    Ok(listening(Profile { syscalls, ..profile.clone() }, calls))
}

/// Tells the agent of `calls` and allows everything else.
fn unconfined(like: &Profile, calls: &[&str]) -> Profile {
    let rule =
        Rule { names: sorted(calls), action: NOTIFY.to_owned(), errno_ret: None, args: Vec::new() };
    let default_action = ALLOW.to_owned();
    listening(Profile { default_action, syscalls: vec![rule], ..like.clone() }, calls)
}

fn listening(profile: Profile, calls: &[&str]) -> Profile {
    Profile {
        listener_path: Some(LISTENER.to_owned()),
        listener_metadata: Some(format!("{METADATA}{}", sorted(calls).join(","))),
        ..profile
    }
}

fn sorted(calls: &[&str]) -> Vec<String> {
    let calls: BTreeSet<&str> = calls.iter().copied().collect();
    calls.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use super::*;

    /// By call: under which conditions what becomes of it.
    type ByCall = BTreeMap<String, Vec<(String, Option<u32>, Vec<String>)>>;

    fn by_call(profile: &Profile) -> ByCall {
        let mut by_call = ByCall::new();
        for Rule { names, action, errno_ret, args } in &profile.syscalls {
            let args: Vec<String> = args.iter().map(|arg| format!("{arg:?}")).collect();
            for name in names {
                by_call.entry(name.clone()).or_default().push((
                    action.clone(),
                    *errno_ret,
                    args.clone(),
                ));
            }
        }
        by_call
    }

    /// What a profile does when the agent lets every call go on.
    fn without_agent(profile: &Profile) -> Profile {
        let mut profile =
            Profile { listener_path: None, listener_metadata: None, ..profile.clone() };
        for rule in &mut profile.syscalls {
            if rule.action == NOTIFY {
                rule.action = ALLOW.to_owned();
            }
        }
        profile
    }

    fn read(name: &str) -> Profile {
        let path = super::super::directory().join(name);
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    }

    const DEFAULT: &str = r#"{
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [
            {"names": ["fsync", "getpid"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["socket"], "action": "SCMP_ACT_ALLOW",
             "args": [{"index": 0, "value": 38, "op": "SCMP_CMP_LT"}]},
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}
        ]
    }"#;

    #[test]
    fn listed_calls_are_told_of_under_the_conditions_that_allow_them() {
        let default: Profile = serde_json::from_str(DEFAULT).unwrap();
        let told = told_of(&default, &["socket", "fsync"]).unwrap();
        assert_eq!(told.default_action, default.default_action);
        assert_eq!(told.listener_metadata.as_deref(), Some("chaos-agent:fsync,socket"));
        let actions: Vec<(&str, &str, usize)> = told
            .syscalls
            .iter()
            .map(|rule| (&*rule.names[0], &*rule.action, rule.args.len()))
            .collect();
        assert_eq!(
            actions,
            [
                ("getpid", ALLOW, 0),
                ("fsync", NOTIFY, 0),
                ("socket", NOTIFY, 1),
                ("clone3", "SCMP_ACT_ERRNO", 0),
            ]
        );
        assert_eq!(by_call(&without_agent(&told)), by_call(&default));
    }

    #[test]
    fn what_the_default_denies_is_never_told_of() {
        let default: Profile = serde_json::from_str(DEFAULT).unwrap();
        for denied in ["clone3", "mount"] {
            let refused = told_of(&default, &["fsync", denied]).unwrap_err().to_string();
            assert!(refused.contains(denied), "{refused}");
        }
    }

    #[test]
    fn a_field_that_would_be_lost_is_an_error() {
        let more = DEFAULT.replacen("\"syscalls\"", "\"flags\": [], \"syscalls\"", 1);
        assert!(serde_json::from_str::<Profile>(&more).is_err());
    }

    #[test]
    fn the_files_are_what_is_composed_from_one_default() {
        let default = without_agent(&read("chaos-agent.json"));
        for (name, composed) in shipped(&default).unwrap() {
            let file = read(name);
            assert_eq!(by_call(&file), by_call(&composed), "{name}: run `./x profiles`");
            assert_eq!(file.listener_metadata, composed.listener_metadata, "{name}");
            assert_eq!(file.default_action, composed.default_action, "{name}");
        }
    }

    #[test]
    fn without_the_agent_the_files_deny_what_the_default_denies() {
        for name in ["chaos-agent.json", "chaos-agent-read.json"] {
            let profile = without_agent(&read(name));
            assert_eq!(profile.default_action, "SCMP_ACT_ERRNO", "{name}");
            let by_call = by_call(&profile);
            for denied in
                ["unshare", "setns", "mount", "bpf", "keyctl", "userfaultfd", "io_uring_setup"]
            {
                assert!(!by_call.contains_key(denied), "{name}: {denied}");
            }
            // A new user namespace by clone, and sockets of AF_VSOCK (40), are not among what is allowed.
            assert!(by_call["clone"].iter().all(|(_, _, conditions)| !conditions.is_empty()));
            assert!(by_call["socket"].iter().all(|(_, _, conditions)| conditions.len() == 1));
        }
    }
}
