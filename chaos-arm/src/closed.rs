//! Keeps the ledgers that are closed until whoever sums them up asks for them.

use chaos_api::{Closed, Ended, Ledgers, Notice, TargetReport};

/// More than can be closed between two questions of somebody who asks each second. Beyond that they are only numbered.
const MOST: usize = 16_384;

/// Ledgers to which nothing is added any more, in their order.
#[derive(Debug, Default)]
pub(crate) struct ClosedLedgers {
    kept: Vec<Closed>,
    dropped: u64,
}

impl ClosedLedgers {
    /// Takes in what the keeper tells.
    pub fn heard(&mut self, notice: &Notice) {
        match notice {
            Notice::Ended(Ended { id, report, .. })
            | Notice::Disarmed(Ended { id, report, .. }) => {
                self.put(Closed::Target(id.clone(), report.clone()));
            }
            Notice::Injected(_) | Notice::Lost(..) => {}
        }
    }

    /// Takes in the faults of a target that others have replaced.
    pub fn replaced(&mut self, report: TargetReport) {
        self.put(Closed::Faults(report));
    }

    fn put(&mut self, closed: Closed) {
        if self.kept.len() < MOST {
            self.kept.push(closed);
        } else {
            self.dropped += 1;
        }
    }

    /// Hands over what is kept.
    pub fn take(&mut self) -> Ledgers {
        let Self { kept, dropped } = std::mem::take(self);
        Ledgers { closed: kept, dropped, armed: None }
    }
}

#[cfg(test)]
mod tests {
    use chaos_api::ArmedId;

    use super::*;

    #[test]
    fn what_nobody_asks_for_is_numbered_at_last() {
        let mut closed = ClosedLedgers::default();
        let id = ArmedId("cli:1".to_owned());
        let ended = Ended { id: id.clone(), why: "halt".into(), is_gone: false, report: None };
        for _ in 0..MOST + 2 {
            closed.heard(&Notice::Disarmed(ended.clone()));
        }
        closed.heard(&Notice::Lost(id.clone(), 1));
        let Ledgers { closed: kept, dropped, armed } = closed.take();
        assert_eq!((kept.len(), dropped, armed), (MOST, 2, None));
        assert_eq!(kept[0], Closed::Target(id, None));
        assert_eq!(closed.take(), Ledgers::default());
    }
}
