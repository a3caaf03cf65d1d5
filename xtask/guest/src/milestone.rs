//! The lines by which the guest tells how far it came.

use std::fmt;

/// Begins a milestone, also in the middle of a line that the job did not finish.
const MARK: &str = "\u{1e}chaos-guest: ";

/// How far the guest came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Milestone {
    /// The root directory is in place and the command is about to start.
    Started,
    /// The command ended with this exit code, 128 + n when signal n killed it.
    Exited(u8),
    /// The command could not be run, because the machine could not be made ready.
    Broken(String),
}

impl Milestone {
    /// Where the part of `output` ends that can be handed to [`Self::split`]: all of it that no
    /// milestone has begun in, or up to the end of the line that one may be on. `None` when more has
    /// to come first.
    #[must_use]
    pub fn find_end(output: &[u8]) -> Option<usize> {
        if output.is_empty() {
            return None;
        }
        match output.iter().position(|byte| MARK.as_bytes()[0] == *byte) {
            None => Some(output.len()),
            Some(at) => {
                let end = output[at..].iter().position(|&byte| byte == b'\n');
                end.map(|end| at + end + 1).or((at > 0).then_some(at))
            }
        }
    }

    /// Splits a line of the second serial line: what the job printed, and the milestone after it.
    #[must_use]
    pub fn split(line: &[u8]) -> (&[u8], Option<Self>) {
        let Some(at) = line.windows(MARK.len()).rposition(|window| window == MARK.as_bytes())
        else {
            return (line, None);
        };
        match str::from_utf8(&line[at + MARK.len()..]).ok().and_then(Self::parse) {
            None => (line, None),
            milestone => (&line[..at], milestone),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('\n')?;
        if text == "started" {
            Some(Self::Started)
        } else if let Some(code) = text.strip_prefix("exit ") {
            code.parse().ok().map(Self::Exited)
        } else {
            text.strip_prefix("broken: ").map(|reason| Self::Broken(reason.to_owned()))
        }
    }
}

/// The line with its end.
impl fmt::Display for Milestone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => writeln!(f, "{MARK}started"),
            Self::Exited(code) => writeln!(f, "{MARK}exit {code}"),
            Self::Broken(reason) => writeln!(f, "{MARK}broken: {}", reason.replace('\n', " ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_back() {
        let milestones = [
            Milestone::Started,
            Milestone::Exited(0),
            Milestone::Exited(255),
            Milestone::Broken("mount 9p: ENODEV".to_owned()),
        ];
        for milestone in milestones {
            let line = format!("unfinished{milestone}");
            assert_eq!(
                Milestone::split(line.as_bytes()),
                (b"unfinished".as_slice(), Some(milestone))
            );
        }
    }

    #[test]
    fn other_lines_are_the_jobs() {
        for line in ["chaos-guest: exit 0\n", "\u{1e}chaos-guest: exit 256\n", "\n", ""] {
            assert_eq!(Milestone::split(line.as_bytes()), (line.as_bytes(), None));
        }
        let cut = b"\x1echaos-guest: exit 1".as_slice();
        assert_eq!(Milestone::split(cut), (cut, None));
    }

    #[test]
    fn output_is_passed_on_until_a_milestone_may_have_begun() {
        let ends = [
            ("", None),
            ("prompt$ ", Some(8)),
            ("prompt$ \u{1e}cha", Some(8)),
            ("\u{1e}cha", None),
            ("a\u{1e}chaos-guest: exit 0\nb", Some(22)),
        ];
        for (output, end) in ends {
            assert_eq!(Milestone::find_end(output.as_bytes()), end, "{output:?}");
        }
    }

    #[test]
    fn a_reason_stays_on_one_line() {
        let line = Milestone::Broken("two\nlines".to_owned()).to_string();
        assert_eq!(line.matches('\n').count(), 1);
        assert_eq!(
            Milestone::split(line.as_bytes()).1,
            Some(Milestone::Broken("two lines".to_owned()))
        );
    }
}
