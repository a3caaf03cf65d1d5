//! Tells what became of a target: notes, counts, and a sample of its injections.

use std::{sync::Arc, time::Duration};

use chaos_api::{Counts, FaultReport, SlotCounts, clock::boot_now};
use chaos_ebpf_common::{ledger::Count, record::Record};
use chaos_plan::nanoseconds;

use super::{ArmError, Armed, rule::ArmedRule};
use crate::{
    arm::{frames::TextFrames, sample::Sample, symlinks, unmatched, unmatched::About},
    cgroup::{Target, TargetKind},
};

/// What came out of the ring.
pub(in crate::arm) struct Drained {
    /// With the canonical sentence of the fault that each belongs to.
    pub records: Vec<(Arc<str>, Record)>,
    /// How many the ring could not keep.
    pub lost: u64,
}

/// A fault that others have replaced.
pub(in crate::arm) struct Gone {
    sentence: Arc<str>,
    slot: u32,
    /// What it has counted in all; `None` where that is not known any more.
    pub counts: Option<Counts>,
}

impl Gone {
    /// Whether a report from before is about it.
    pub fn is(&self, report: &FaultReport) -> bool {
        self.slot == report.slot && *self.sentence == report.fault
    }
}

impl Armed {
    /// Of the rules that were in force before, those that are not any more.
    pub(super) fn gone(&self, before: &[ArmedRule]) -> Vec<Gone> {
        let in_slot = |slot| self.rules.iter().find(|rule| rule.slot == slot);
        let gone = before.iter().filter_map(|rule| {
            let counts = match in_slot(rule.slot) {
                Some(now) if now.sentence == rule.sentence => return None,
                // There was no other slot left, and the one that has it now counts from 0.
                Some(_) => None,
                None => self.counts(rule).ok().map(Counts::from),
            };
            Some(Gone { sentence: rule.sentence.clone(), slot: rule.slot, counts })
        });
        gone.collect()
    }

    /// What people should know of the target: what was noted when it was found, and where it is not
    /// served.
    pub(in crate::arm) fn notes(&self) -> Vec<String> {
        let mut notes = self.target.notes.clone();
        notes.extend(self.frames.iter().flat_map(TextFrames::notes));
        notes.extend(self.translations.all().map(str::to_owned));
        if self.open_files.is_some() {
            notes.push("the files that the target has open are still being looked at".to_owned());
        }
        let missed = self.missed();
        if missed > 0 {
            notes.push(format!(
                "of this target's calls up to {missed} may have been missed, neither failed nor counted: while a task \
                 is preempted in the program that decides, the kernel asks it about no other call on that processor"
            ));
        }
        if let Some(symlinks) = &self.symlinks {
            let sights = symlinks.sights(Duration::ZERO);
            notes
                .extend(sights.iter().filter_map(|(path, sight)| symlinks::path_note(path, sight)));
        }
        notes
    }

    /// How many of the target's calls the programs have missed at most.
    pub(in crate::arm) fn missed(&self) -> u64 {
        // What cannot be asked for is not known to be missed.
        self.text.missed_at_most().unwrap_or_default()
    }

    /// What was counted for a rule, wherever it is decided.
    pub(super) fn counts(&self, rule: &ArmedRule) -> Result<SlotCounts, ArmError> {
        match &self.shared {
            Some(shared) if rule.planned.is_by_seccomp() => Ok(shared.counts(rule.slot)),
            _ => {
                // First, as each has been counted as injected before.
                let lost = self.frames.as_ref().zip(self.text.slot(rule.slot));
                let lost = lost.map_or(0, |(frames, slot)| frames.lost(slot));
                let mut counts = self.text.counts(rule.slot)?;
                let injected = counts.entry(Count::Injected).or_default();
                let lost = lost.min(*injected);
                *injected -= lost;
                *counts.entry(Count::Overflow).or_default() += lost;
                Ok(counts)
            }
        }
    }

    /// What was counted, rule by rule; `is_last` where nothing more is to come.
    pub(in crate::arm) fn ledger(&self, is_last: bool) -> Result<Vec<FaultReport>, ArmError> {
        let now = boot_now();
        let patience = if is_last { 0 } else { nanoseconds(unmatched::PATIENCE) };
        let mut reports: Vec<FaultReport> = Vec::with_capacity(self.rules.len());
        for rule in &self.rules {
            let counts = Counts::from(self.counts(rule)?);
            let ends = rule.ends();
            let in_force = unmatched::in_force(rule.starts(), ends, rule.counted_since, now);
            let is_over = in_force > 0 && now >= ends;
            let is_unmatched =
                counts.matched == 0 && (is_over || in_force > 0 && in_force >= patience);
            let before = || {
                let hits = |report: &FaultReport| report.counts.injected > 0;
                let before = self.rules.iter().zip(&reports).filter(|(_, report)| hits(report));
                before
                    .map(|(before, _)| &before.planned)
                    .find(|before| unmatched::is_behind(&rule.planned, before))
            };
            let unmatched = is_unmatched.then(|| {
                let about = self.about(rule);
                unmatched::reasons(&rule.planned, before().map(|before| &before.fault), about)
            });
            reports.push(FaultReport {
                fault: rule.sentence.to_string(),
                index: rule.planned.index,
                hooks: rule.planned.hooks.clone(),
                calls: rule.planned.calls.iter().map(ToString::to_string).collect(),
                seed: rule.planned.seed,
                phase: rule.phase(now),
                began: rule.began,
                ends,
                slot: rule.slot,
                notes: rule.planned.notes.clone(),
                unmatched,
                counts,
            });
        }
        Ok(reports)
    }

    /// What may be why nothing has matched a rule.
    pub(super) fn about(&self, rule: &ArmedRule) -> About<'_> {
        let Target { cgroup, kind, .. } = &self.target;
        About {
            nat: self.translations.of(rule.slot),
            is_empty: *kind != TargetKind::Child && !cgroup.is_populated(),
            may_have_been_moved: matches!(kind, TargetKind::Pid(_) | TargetKind::Cgroup),
        }
    }

    /// Injections since the last call, as far as the ring kept them.
    pub(in crate::arm) fn drain(&mut self) -> Result<Drained, ArmError> {
        self.drain_by(Sample::lost)
    }

    /// The same after [`Armed::suspend`], when nothing more is to come.
    pub(in crate::arm) fn drain_at_last(&mut self) -> Result<Drained, ArmError> {
        self.drain_by(Sample::lost_at_last)
    }

    pub(super) fn drain_by(
        &mut self,
        lost: fn(&mut Sample, u64) -> u64,
    ) -> Result<Drained, ArmError> {
        let mut acts = Vec::with_capacity(self.rules.len());
        for rule in &self.rules {
            let counts = Counts::from(self.counts(rule)?);
            acts.push((rule.slot, counts.injected + counts.shadowed));
        }
        let mut drained = Drained { records: Vec::new(), lost: 0 };
        let mut records = self.text.drain_records();
        if let Some(shared) = &self.shared {
            records.extend(shared.drain(&mut self.drained));
        }
        for record in records {
            self.samples.entry(record.slot).or_default().drained();
            // A record of a rule that has just been replaced is nobody's.
            if let Some(rule) = self.rules.iter().find(|rule| rule.slot == record.slot) {
                drained.records.push((rule.sentence.clone(), record));
            }
        }
        for (slot, acts) in acts {
            drained.lost += lost(self.samples.entry(slot).or_default(), acts);
        }
        Ok(drained)
    }
}
