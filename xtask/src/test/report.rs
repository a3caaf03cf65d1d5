//! Reading what the test harness prints.

use std::{
    fmt,
    process::ExitCode,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

/// How a test begins the line that says why it did not run.
const SKIPPED: &str = "skipped: ";

/// From which time on a test is named as a slow one.
const SLOW: Duration = Duration::from_secs(10);
/// Slow tests that are named.
const MOST_SLOW: usize = 25;

/// The results of several test programs.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    passed: usize,
    failed: usize,
    ignored: usize,
    /// Those of `passed` that could not run here and said why: the harness knows no third outcome.
    passed_idly: usize,
    /// The test whose output is being read.
    current: Option<String>,
    /// Whether what is being read is the output of tests that failed.
    in_failures: bool,
    /// The tests that failed.
    failures: Vec<Failure>,
    /// Why tests did nothing, each with the test's name.
    skipped: Vec<String>,
    /// Test programs that did not compile or ended before they counted their tests.
    broken: Vec<String>,
    /// When the test before, or the harness, was last heard of.
    #[serde(skip)]
    heard: Option<Instant>,
    /// The tests that took [`SLOW`] or longer. Of programs that run several tests at once this is the time
    /// between the ends of two of them.
    slow: Vec<(Duration, String)>,
}

/// A test that failed.
#[derive(Debug, Serialize, Deserialize)]
struct Failure {
    name: String,
    /// What it printed.
    output: Vec<String>,
}

impl Report {
    /// Takes one line of the harness's output.
    pub fn read(&mut self, line: &str) {
        if let Some(result) = line.strip_prefix("test result: ") {
            self.passed += count(result, "passed");
            self.failed += count(result, "failed");
            self.ignored += count(result, "ignored");
            self.current = None;
            self.in_failures = false;
        } else if line.starts_with("running ") {
            self.heard = Some(Instant::now());
        } else if let "successes:" | "failures:" = line {
            self.current = None;
            self.in_failures = line == "failures:";
        } else if let Some(name) =
            line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----"))
        {
            self.current = Some(name.to_owned());
            // Where a program printed into the line of the outcome, the test is named here alone.
            if self.in_failures && !self.failures.iter().any(|failure| failure.name == name) {
                self.failures.push(Failure { name: name.to_owned(), output: Vec::new() });
            }
        } else if let Some(reason) = line.strip_prefix(SKIPPED) {
            // Said once; what else it says is not counted.
            if let Some(name) = self.current.take() {
                self.skipped.push(format!("{name}: {reason}"));
                self.passed_idly += 1;
            }
        } else if self.in_failures {
            self.take_output(line);
        } else if let Some((name, outcome)) = outcome(line) {
            self.take_time(name);
            if outcome == "FAILED" {
                self.failures.push(Failure { name: name.to_owned(), output: Vec::new() });
            } else if let Some(reason) = outcome.strip_prefix("ignored (") {
                let reason = reason.strip_suffix(')').unwrap_or(reason);
                self.skipped.push(format!("{name}: {reason}"));
            }
        }
    }

    /// Keeps a line of a failed test's output, to be shown where nobody has to look for it.
    fn take_output(&mut self, line: &str) {
        let named = |failure: &&mut Failure| Some(&failure.name) == self.current.as_ref();
        if let Some(failure) = self.failures.iter_mut().rev().find(named) {
            failure.output.push(line.to_owned());
        }
    }

    /// Notes how long the test took that has just ended.
    fn take_time(&mut self, name: &str) {
        let now = Instant::now();
        let took = self.heard.replace(now).map_or(Duration::ZERO, |heard| now - heard);
        if took >= SLOW {
            self.slow.push((took, name.to_owned()));
        }
    }

    /// Adds what ran elsewhere, with the names of its tests under `place`.
    pub fn add(&mut self, place: &str, mut other: Self) {
        let named = |name: &mut String| *name = format!("{place}: {name}");
        other.failures.iter_mut().for_each(|failure| named(&mut failure.name));
        other.skipped.iter_mut().for_each(named);
        other.broken.iter_mut().for_each(named);
        other.slow.iter_mut().for_each(|(_, name)| named(name));
        self.add_all(other);
    }

    /// Adds the results of another process.
    pub fn add_all(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.passed_idly += other.passed_idly;
        self.failures.extend(other.failures);
        self.skipped.extend(other.skipped);
        self.broken.extend(other.broken);
        self.slow.extend(other.slow);
    }

    /// Takes note of a test program that failed without a failed test; it counts as one.
    pub fn broke(&mut self, what: String) {
        self.failed += 1;
        self.broken.push(what);
    }

    /// Tests that failed.
    pub fn failed(&self) -> usize {
        self.failed
    }

    /// Success if every test passed and there was one.
    pub fn exit_code(&self) -> ExitCode {
        if self.failed == 0 && self.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// The name and the outcome in a line such as `test tcx::corrupts ... FAILED`. A harness may align outcomes.
fn outcome(line: &str) -> Option<(&str, &str)> {
    let (name, outcome) = line.strip_prefix("test ")?.split_once(" ... ")?;
    Some((name.trim_end(), outcome))
}

/// Leaves out a backtrace's frames that are not in a file of this project: there are dozens of them, and
/// who shows the end of a long output shows nothing else.
fn without_foreign_frames(output: &[String]) -> impl Iterator<Item = &str> {
    let place = |index: usize| output.get(index)?.trim_start().strip_prefix("at ");
    let is_foreign = move |index: usize| match (is_frame(&output[index]), place(index)) {
        (true, _) => !place(index + 1).is_some_and(|place| place.starts_with("./")),
        (false, Some(place)) => !place.starts_with("./"),
        (false, None) => false,
    };
    (0..output.len()).filter(move |index| !is_foreign(*index)).map(|index| output[index].as_str())
}

/// Whether a line such as `  24: native::layers::copies` names a function in a backtrace.
fn is_frame(line: &str) -> bool {
    let number = line.trim_start().split_once(": ").map_or("", |(number, _)| number);
    line.starts_with(' ') && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// The number before `word` in a line such as `ok. 3 passed; 0 failed; 1 ignored; …`.
fn count(result: &str, word: &str) -> usize {
    let words: Vec<&str> = result.split([' ', ';', '.']).filter(|word| !word.is_empty()).collect();
    let pair = words.windows(2).find(|pair| pair[1] == word);
    pair.and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
}

/// Which tests were slow, why some were skipped, which failed and what broke; last, alone on its line, the
/// sum.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, failed, ignored, passed_idly, failures, skipped, broken, slow, .. } =
            self;
        writeln!(f)?;
        let mut slow: Vec<_> = slow.iter().collect();
        slow.sort_by_key(|(took, _)| std::cmp::Reverse(*took));
        for (took, name) in slow.into_iter().take(MOST_SLOW) {
            writeln!(f, "{:>4} s {name}", took.as_secs())?;
        }
        for reason in skipped {
            writeln!(f, "skipped {reason}")?;
        }
        for Failure { name, output } in failures {
            writeln!(f, "failed {name}")?;
            for line in without_foreign_frames(output).filter(|line| !line.is_empty()) {
                writeln!(f, "    {line}")?;
            }
        }
        for program in broken {
            writeln!(f, "broken: {program}")?;
        }
        if *passed_idly > 0 {
            writeln!(f, "{passed_idly} skipped")?;
        }
        if *ignored > 0 {
            writeln!(f, "{ignored} ignored")?;
        }
        // Once more where they are seen first, however much they have printed.
        if failures.len() > 1 {
            let names: Vec<&str> = failures.iter().map(|failure| failure.name.as_str()).collect();
            writeln!(f, "failed: {}", names.join(", "))?;
        }
        writeln!(f, "{} passed, {failed} failed", passed - passed_idly)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(lines: &[&str]) -> Report {
        let mut report = Report::default();
        for line in lines {
            report.read(line);
        }
        report
    }

    #[test]
    fn results_of_several_programs_are_added() {
        let report = report(&[
            "running 4 tests",
            "test a ... ok",
            "test b::c ... FAILED",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.1s",
            "test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
        ]);
        assert_eq!(report.to_string(), "\nfailed b::c\n1 ignored\n13 passed, 2 failed\n");
        assert_eq!(report.exit_code(), ExitCode::FAILURE);
    }

    #[test]
    fn reasons_are_kept_with_the_name_of_the_test() {
        let report = report(&[
            "skipped: stones over water",
            "successes:",
            "---- tcx::corrupts stdout ----",
            "skipped: tcx is missing on 6.1",
            "test result: ok. 3 passed; 0 failed; 0 ignored",
        ]);
        assert_eq!(
            report.to_string(),
            "\nskipped tcx::corrupts: tcx is missing on 6.1\n1 skipped\n2 passed, 0 failed\n"
        );
        assert_eq!(report.exit_code(), ExitCode::SUCCESS);
    }

    #[test]
    fn a_harness_of_our_own_says_why_it_ignored_a_test() {
        let report = report(&[
            "test drop    ... ok",
            "test corrupt ... ignored (`corrupt` needs tcx (6.6))",
            "test fail    ... FAILED",
            "test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured",
        ]);
        assert_eq!(
            report.to_string(),
            "\nskipped corrupt: `corrupt` needs tcx (6.6)\nfailed fail\n1 ignored\n\
             1 passed, 1 failed\n"
        );
    }

    #[test]
    fn results_from_elsewhere_are_named_after_the_place() {
        let mut here = report(&["test result: ok. 5 passed; 0 failed; 0 ignored"]);
        let there = report(&[
            "test a ... FAILED",
            "---- b stdout ----",
            "skipped: no tcx",
            "test result: FAILED. 2 passed; 1 failed; 1 ignored",
        ]);
        here.add("debian-6.1", there);
        assert_eq!(
            here.to_string(),
            "\nskipped debian-6.1: b: no tcx\nfailed debian-6.1: a\n1 skipped\n1 ignored\n\
             6 passed, 1 failed\n"
        );
    }

    #[test]
    fn what_a_failed_test_printed_is_shown_at_the_end() {
        let report = report(&[
            "test a ... FAILED",
            "test b ... ok",
            "successes:",
            "---- b stdout ----",
            "all well",
            "successes:",
            "    b",
            "failures:",
            "---- a stdout ----",
            "left: 1",
            "",
            "right: 2",
            "failures:",
            "    a",
            "test result: FAILED. 1 passed; 1 failed; 0 ignored",
        ]);
        let printed = "\nfailed a\n    left: 1\n    right: 2\n1 passed, 1 failed\n";
        assert_eq!(report.to_string(), printed);
    }

    #[test]
    fn a_test_whose_outcome_is_printed_over_is_named_all_the_same() {
        let report = report(&[
            "test a ... net.ipv4.ip_forward = 1",
            "FAILED",
            "failures:",
            "---- a stdout ----",
            "left: 1",
            "failures:",
            "    a",
            "test result: FAILED. 1 passed; 1 failed; 0 ignored",
        ]);
        assert_eq!(report.to_string(), "\nfailed a\n    left: 1\n1 passed, 1 failed\n");
    }

    #[test]
    fn of_a_backtrace_the_projects_own_frames_are_shown() {
        let report = report(&[
            "test a ... FAILED",
            "failures:",
            "---- a stdout ----",
            "Error: arm \"drop\"",
            "  24: <alloc::vec::Vec<u8>>::from_iter",
            "             at /rustc/58cf/library/core/src/result.rs:2160:9",
            "  25: native::layers::copies",
            "             at ./native/layers/mod.rs:291:50",
            "  26: main",
            "test result: FAILED. 0 passed; 1 failed; 0 ignored",
        ]);
        let printed = "\nfailed a\n    Error: arm \"drop\"\n      25: native::layers::copies\n\
                       \x20                at ./native/layers/mod.rs:291:50\n0 passed, 1 failed\n";
        assert_eq!(report.to_string(), printed);
    }

    #[test]
    fn all_that_failed_are_named_beside_the_sum() {
        let report = report(&[
            "test a ... FAILED",
            "test b ... FAILED",
            "failures:",
            "---- a stdout ----",
            "left: 1",
            "---- b stdout ----",
            "left: 2",
            "test result: FAILED. 1 passed; 2 failed; 0 ignored",
        ]);
        let printed = "\nfailed a\n    left: 1\nfailed b\n    left: 2\nfailed: a, b\n\
                       1 passed, 2 failed\n";
        assert_eq!(report.to_string(), printed);
    }

    #[test]
    fn slow_tests_are_named_the_slowest_first() {
        let slow = |seconds, name: &str| Report {
            slow: vec![(Duration::from_secs(seconds), name.to_owned())],
            ..Report::default()
        };
        let mut here = slow(12, "a");
        here.add("debian-6.1", slow(130, "b"));
        let printed = "\n 130 s debian-6.1: b\n  12 s a\n0 passed, 0 failed\n";
        assert_eq!(here.to_string(), printed);
    }

    #[test]
    fn no_test_and_a_crash_are_failures() {
        assert_eq!(Report::default().exit_code(), ExitCode::FAILURE);
        let mut report = report(&["test result: ok. 5 passed; 0 failed; 0 ignored"]);
        report.broke("cargo test: signal 6".to_owned());
        assert_eq!(report.to_string(), "\nbroken: cargo test: signal 6\n5 passed, 1 failed\n");
        assert_eq!(report.exit_code(), ExitCode::FAILURE);
    }
}
