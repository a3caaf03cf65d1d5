//! Reading what the test harness prints.

use std::{fmt, process::ExitCode};

/// How a test begins the line that says why it did not run.
const SKIPPED: &str = "skipped: ";

/// The results of several test programs.
#[derive(Debug, Default)]
pub struct Report {
    passed: usize,
    failed: usize,
    ignored: usize,
    /// The test whose output is being read.
    current: Option<String>,
    /// Why tests did nothing, each with the test's name.
    skipped: Vec<String>,
    /// Test programs that did not compile or ended before they counted their tests.
    broken: Vec<String>,
}

impl Report {
    /// Takes one line of the harness's output.
    pub fn read(&mut self, line: &str) {
        if let Some(result) = line.strip_prefix("test result: ") {
            self.passed += count(result, "passed");
            self.failed += count(result, "failed");
            self.ignored += count(result, "ignored");
            self.current = None;
        } else if let Some(name) =
            line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----"))
        {
            self.current = Some(name.to_owned());
        } else if let Some(name) = &self.current
            && let Some(reason) = line.strip_prefix(SKIPPED)
        {
            self.skipped.push(format!("{name}: {reason}"));
        }
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

/// The number before `word` in a line such as `ok. 3 passed; 0 failed; 1 ignored; …`.
fn count(result: &str, word: &str) -> usize {
    let words: Vec<&str> = result.split([' ', ';', '.']).filter(|word| !word.is_empty()).collect();
    let pair = words.windows(2).find(|pair| pair[1] == word);
    pair.and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
}

/// Why tests were skipped and what broke; last, alone on its line, the sum.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, failed, ignored, current: _, skipped, broken } = self;
        writeln!(f)?;
        for reason in skipped {
            writeln!(f, "skipped {reason}")?;
        }
        for program in broken {
            writeln!(f, "broken: {program}")?;
        }
        if *ignored > 0 {
            writeln!(f, "{ignored} ignored")?;
        }
        writeln!(f, "{passed} passed, {failed} failed")
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
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.1s",
            "test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
        ]);
        assert_eq!(report.to_string(), "\n1 ignored\n13 passed, 2 failed\n");
        assert_eq!(report.exit_code(), ExitCode::FAILURE);
    }

    #[test]
    fn reasons_are_kept_with_the_name_of_the_test() {
        let report = report(&[
            "skipped: stones over water",
            "successes:",
            "---- tcx::corrupts stdout ----",
            "skipped: tcx is missing on 6.1",
            "test result: ok. 1 passed; 0 failed; 0 ignored",
        ]);
        let text = report.to_string();
        assert_eq!(text, "\nskipped tcx::corrupts: tcx is missing on 6.1\n1 passed, 0 failed\n");
        assert_eq!(report.exit_code(), ExitCode::SUCCESS);
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
