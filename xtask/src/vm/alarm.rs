//! What the kernel logs when something is wrong with it.

/// Parts of log lines, with what they mean.
const ALARMS: [(&str, &str); 10] = [
    ("Kernel panic - not syncing", "kernel panic"),
    ("self-detected stall on CPU", "RCU stall"),
    ("detected stalls on CPUs/tasks", "RCU stall"),
    ("detected expedited stalls", "RCU stall"),
    ("BUG: soft lockup", "soft lockup"),
    ("hard LOCKUP", "hard lockup"),
    ("blocked for more than", "hung task"),
    ("Oops:", "kernel oops"),
    ("BUG: ", "kernel bug"),
    // The kernel calls a cgroup's own limit "Memory cgroup out of memory".
    ("Out of memory: Killed process", "out of memory"),
];

/// What a line of the kernel's log says is wrong, if anything.
pub fn find(line: &str) -> Option<&'static str> {
    ALARMS.iter().find(|(part, _)| line.contains(part)).map(|&(_, meaning)| meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_are_recognised() {
        for (line, meaning) in [
            ("[    2.1] Kernel panic - not syncing: Attempted to kill init!", "kernel panic"),
            ("[   30.0] rcu: INFO: rcu_preempt self-detected stall on CPU", "RCU stall"),
            ("[   30.0] rcu: INFO: rcu_sched detected stalls on CPUs/tasks:", "RCU stall"),
            ("[   50.0] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [a:1]", "soft lockup"),
            ("[  250.0] INFO: task tee:99 blocked for more than 120 seconds.", "hung task"),
            ("[    9.0] BUG: kernel NULL pointer dereference, address: 0", "kernel bug"),
            ("[    9.0] Out of memory: Killed process 7 (a) total-vm:1kB", "out of memory"),
        ] {
            assert_eq!(find(line), Some(meaning), "{line}");
        }
    }

    #[test]
    fn other_lines_are_not() {
        for line in [
            "[    0.1] rcu: Hierarchical RCU implementation.",
            "[    9.0] Memory cgroup out of memory: Killed process 7 (a) total-vm:1kB",
            "[    1.0] overlayfs: null uuid detected in lower fs '/', falling back",
        ] {
            assert_eq!(find(line), None, "{line}");
        }
    }
}
