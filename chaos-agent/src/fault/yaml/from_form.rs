//! A form to its fault.

use std::collections::BTreeMap;

use serde_saphyr::{Location, Spanned};

use super::{
    form::{Delay, End, Form},
    scalar::Leaf,
};
use crate::fault::{
    check::check,
    mistake::{Clause, Mistake, Problem},
    model::{Call, Chance, DnsAnswer, Fault, HowOften, Latency, Peer, Side, Spread, Verb},
    value::{
        chance, duration, name, number, peer, rate,
        spread::spread,
        word::{self, Word},
    },
};

/// A mistake and the node it is in.
pub(super) struct Misplaced {
    pub location: Location,
    pub mistake: Mistake,
}

/// Reads leaves; collects what is wrong with them, and where each clause stands.
#[derive(Default)]
struct Builder {
    places: BTreeMap<Clause, Location>,
    wrong: Vec<Misplaced>,
}

/// The form's fault, or everything that is wrong with it. `location` is the whole fault's.
pub(super) fn fault(form: &Form, location: Location) -> Result<Fault, Vec<Misplaced>> {
    let mut builder = Builder::default();
    let Some(verb) = builder.verb(form, location) else { return Err(builder.wrong) };
    let mut fault = Fault::new(verb);
    fault.shadow = form.shadow.as_ref().is_some_and(|shadow| shadow.value);
    fault.chance = builder.chance(form, &fault);
    fault.direction = builder.optional(Clause::Direction, &form.direction, Word::expect);
    fault.protocol = builder.optional(Clause::Protocol, &form.protocol, Word::expect);
    fault.peer = builder.peer(form);
    fault.under = builder.optional(Clause::Under, &form.under, name::path);
    fault.container = builder.optional(Clause::Container, &form.container, name::container);
    fault.after = builder.optional(Clause::After, &form.after, duration::parse);
    fault.duration = builder.optional(Clause::For, &form.duration, duration::parse);
    let count = |word: &str| number::count("atMost:", word);
    fault.at_most = builder.optional(Clause::AtMost, &form.at_most, count);
    let count = |word: &str| number::count("atMostPerSecond:", word);
    let clause = Clause::AtMostPerSecond;
    fault.at_most_per_second = builder.optional(clause, &form.at_most_per_second, count);
    let seed = |word: &str| number::integer("seed:", word);
    fault.seed = builder.optional(Clause::Seed, &form.seed, seed);
    if builder.wrong.is_empty() {
        for problem in check(&fault) {
            let place = builder.places.get(&problem.clause).copied().unwrap_or(location);
            builder.wrong.push(Misplaced { location: place, mistake: problem.mistake });
        }
    }
    if builder.wrong.is_empty() { Ok(fault) } else { Err(builder.wrong) }
}

impl Builder {
    fn wrong(&mut self, location: Location, mistake: Mistake) {
        self.wrong.push(Misplaced { location, mistake });
    }

    /// Reads a leaf; `None` when it is wrong.
    fn leaf<T>(
        &mut self,
        clause: Clause,
        leaf: &Leaf,
        parse: impl FnOnce(&str) -> Result<T, Mistake>,
    ) -> Option<T> {
        self.places.insert(clause, leaf.referenced);
        parse(&leaf.value.to_string()).map_err(|mistake| self.wrong(leaf.referenced, mistake)).ok()
    }

    fn optional<T>(
        &mut self,
        clause: Clause,
        leaf: &Option<Leaf>,
        parse: impl FnOnce(&str) -> Result<T, Mistake>,
    ) -> Option<T> {
        leaf.as_ref().and_then(|leaf| self.leaf(clause, leaf, parse))
    }

    /// Reads every leaf of a list; `None` when one of them is wrong.
    fn list<T>(
        &mut self,
        leaves: &[Leaf],
        parse: impl Fn(&str) -> Result<T, Mistake>,
    ) -> Option<Vec<T>> {
        let before = self.wrong.len();
        let mut read = Vec::with_capacity(leaves.len());
        for leaf in leaves {
            match parse(&leaf.value.to_string()) {
                Ok(value) => read.push(value),
                Err(mistake) => self.wrong(leaf.referenced, mistake),
            }
        }
        (self.wrong.len() == before).then_some(read)
    }

    fn calls(&mut self, calls: &Spanned<Vec<Leaf>>) -> Option<Vec<Call>> {
        self.places.insert(Clause::Calls, calls.referenced);
        self.list(&calls.value, Call::from_name)
    }

    /// The one verb; `None` when there is none, there are several, or a part is wrong.
    fn verb(&mut self, form: &Form, location: Location) -> Option<Verb> {
        let present: Vec<(&Row, Location)> =
            VERBS.iter().filter_map(|row| Some((row, (row.place)(form)?))).collect();
        let (row, place) = match present[..] {
            [present] => present,
            [] => {
                let mistake = Mistake::new("the verb is missing").help(
                    "one of drop, corrupt, delay, duplicate, reorder, limit, reset, fail, \
                           failDns, slow, kill, skewClock; without parts: `drop: {}`",
                );
                self.wrong(location, mistake);
                return None;
            }
            [(first, _), (second, place), ..] => {
                let (first, second) = (first.field, second.field);
                let mistake = Mistake::new(format!("both `{first}` and `{second}` in one fault"))
                    .help("write a fault for each");
                self.wrong(place, mistake);
                return None;
            }
        };
        self.places.insert(Clause::Verb, place);
        let before = self.wrong.len();
        let verb = (row.build)(self, form);
        verb.filter(|_| self.wrong.len() == before)
    }

    fn delay(&mut self, form: &Form) -> Option<Verb> {
        let Spanned { value: parts, referenced, .. } = form.delay.as_ref()?;
        let latency = self.latency(parts, *referenced);
        let name = self.optional(Clause::Name, &parts.dns, name::dns);
        latency.map(|latency| match name {
            Some(name) => Verb::DelayDns { latency, name },
            None => Verb::Delay(latency),
        })
    }

    fn reorder(&mut self, form: &Form) -> Option<Verb> {
        let parts = &form.reorder.as_ref()?.value;
        self.leaf(Clause::By, &parts.by, duration::parse).map(|by| Verb::Reorder { by })
    }

    fn limit(&mut self, form: &Form) -> Option<Verb> {
        let parts = &form.limit.as_ref()?.value;
        let rate = self.leaf(Clause::Rate, &parts.rate, rate::parse);
        let per_flow = parts.per_flow;
        rate.map(|bits_per_second| Verb::Limit { bits_per_second, per_flow })
    }

    fn fail(&mut self, form: &Form) -> Option<Verb> {
        let parts = &form.fail.as_ref()?.value;
        self.places.insert(Clause::With, parts.with.referenced);
        let calls = self.calls(&parts.calls);
        let errnos = self.list(&parts.with.value, word::weighted_errno);
        calls.zip(errnos).map(|(calls, errnos)| Verb::Fail { calls, errnos })
    }

    fn fail_dns(&mut self, form: &Form) -> Option<Verb> {
        let parts = &form.fail_dns.as_ref()?.value;
        let answer = self.leaf(Clause::With, &parts.with, DnsAnswer::expect);
        let name = self.leaf(Clause::Name, &parts.name, name::dns);
        answer.zip(name).map(|(answer, name)| Verb::FailDns { answer, name })
    }

    fn slow(&mut self, form: &Form) -> Option<Verb> {
        let parts = &form.slow.as_ref()?.value;
        let calls = self.calls(&parts.calls);
        let length = self.leaf(Clause::By, &parts.by, duration::parse);
        let jitter = self.optional(Clause::Jitter, &parts.jitter, duration::parse);
        calls.zip(length).map(|(calls, by)| Verb::Slow { calls, by, jitter })
    }

    fn kill(&mut self, form: &Form) -> Option<Verb> {
        let parts = &form.kill.as_ref()?.value;
        self.calls(&parts.calls).map(|calls| Verb::Kill { calls })
    }

    fn skew_clock(&mut self, form: &Form) -> Option<Verb> {
        let parts = &form.skew_clock.as_ref()?.value;
        let offset = self.leaf(Clause::By, &parts.by, duration::offset);
        offset.map(|offset_ns| Verb::SkewClock { offset_ns })
    }

    fn latency(&mut self, parts: &Delay, place: Location) -> Option<Latency> {
        let by = self.optional(Clause::By, &parts.by, duration::parse);
        let one_of = parts.one_of.as_ref().map(|list| {
            self.places.insert(Clause::By, list.referenced);
            self.list(&list.value, word::weighted_latency).unwrap_or_default()
        });
        let file = self.optional(Clause::By, &parts.file, name::file);
        let jitter = self.optional(Clause::Jitter, &parts.jitter, duration::parse);
        let shape = self.optional(Clause::Distribution, &parts.distribution, Word::expect);
        let correlation =
            self.optional(Clause::Correlation, &parts.correlation, chance::correlation);
        let several = match (file, one_of) {
            (Some(path), latencies) => {
                Some(Spread::File { path, latencies: latencies.unwrap_or_default() })
            }
            (None, one_of) => one_of.map(Spread::OneOf),
        };
        match spread(by, several, jitter, shape) {
            Ok(Some(spread)) => return Some(Latency { spread, correlation }),
            Ok(None) if parts.by.is_none() && parts.file.is_none() => {
                let mistake = Mistake::new("the field `by` is missing")
                    .help("or `oneOf` with a list, or `file`");
                self.wrong(place, mistake);
            }
            Ok(None) => {}
            Err(Problem { clause, mistake }) => {
                self.wrong(self.places.get(&clause).copied().unwrap_or(place), mistake);
            }
        }
        None
    }

    fn chance(&mut self, form: &Form, fault: &Fault) -> Chance {
        let mut chance = fault.chance;
        if let (Some(_), Some(every)) = (&form.chance, &form.every) {
            let mistake = Mistake::new("both `chance` and `every` in one fault");
            self.wrong(every.referenced, mistake.help("one of the two"));
            return chance;
        }
        let how = self
            .optional(Clause::Chance, &form.chance, chance::percentage)
            .or_else(|| self.optional(Clause::Chance, &form.every, chance::ordinal));
        let bursts = self.optional(Clause::Bursts, &form.bursts_of, chance::burst);
        match chance::in_bursts(how.unwrap_or(HowOften::Always), bursts) {
            Ok(how) => chance.how = how,
            Err(mistake) => {
                let place = form.bursts_of.as_ref().map(|leaf| leaf.referenced);
                self.wrong(place.unwrap_or(Location::UNKNOWN), mistake);
            }
        }
        chance.of = self.optional(Clause::Unit, &form.of, Word::expect).unwrap_or(chance.of);
        chance
    }

    fn peer(&mut self, form: &Form) -> Option<Peer> {
        let ends = [
            form.to.as_ref().map(|end| (Side::To, end.referenced, &end.value)),
            form.from.as_ref().map(|end| (Side::From, end.referenced, &end.value)),
        ];
        let bare = form.ports.as_ref().map(|ports| {
            (
                Side::Either,
                ports.referenced,
                End { networks: vec![], pods: vec![], ports: ports.value.clone() },
            )
        });
        let either = bare.as_ref().map(|(side, place, end)| (*side, *place, end));
        let mut present = ends.into_iter().chain([either]).flatten();
        let (side, place, end) = present.next()?;
        if let Some((_, second, _)) = present.next() {
            let mistake = Mistake::new("a fault has only one peer")
                .help("one of `to`, `from` and `ports`; write a fault for each");
            self.wrong(second, mistake);
            return None;
        }
        let clause = if side == Side::Either { Clause::Port } else { Clause::Peer };
        self.places.insert(clause, place);
        let networks = self.list(&end.networks, peer::network);
        let pods = self.list(&end.pods, name::pod);
        let ports = self.list(&end.ports, peer::ports).map(peer::join_ports);
        let networks = networks?.into_iter().collect();
        let pods = pods?.into_iter().map(|pod| (pod, Default::default())).collect();
        Some(Peer { side, networks, pods, ports: ports? })
    }
}

/// A verb of the YAML form.
struct Row {
    field: &'static str,
    /// Where it stands, if it is there.
    place: fn(&Form) -> Option<Location>,
    /// `None` where a part is wrong, or it is not there.
    build: fn(&mut Builder, &Form) -> Option<Verb>,
}

fn place<T>(verb: &Option<Spanned<T>>) -> Option<Location> {
    verb.as_ref().map(|verb| verb.referenced)
}

/// In the order in which they are told.
const VERBS: [Row; 12] = [
    Row {
        field: "drop",
        place: |form| place(&form.drop),
        build: |_, form| form.drop.as_ref().map(|_| Verb::Drop),
    },
    Row {
        field: "corrupt",
        place: |form| place(&form.corrupt),
        build: |_, form| {
            form.corrupt.as_ref().map(|parts| Verb::Corrupt { silent: parts.value.silent })
        },
    },
    Row { field: "delay", place: |form| place(&form.delay), build: Builder::delay },
    Row {
        field: "duplicate",
        place: |form| place(&form.duplicate),
        build: |_, form| form.duplicate.as_ref().map(|_| Verb::Duplicate),
    },
    Row { field: "reorder", place: |form| place(&form.reorder), build: Builder::reorder },
    Row { field: "limit", place: |form| place(&form.limit), build: Builder::limit },
    Row {
        field: "reset",
        place: |form| place(&form.reset),
        build: |_, form| form.reset.as_ref().map(|_| Verb::Reset),
    },
    Row { field: "fail", place: |form| place(&form.fail), build: Builder::fail },
    Row { field: "failDns", place: |form| place(&form.fail_dns), build: Builder::fail_dns },
    Row { field: "slow", place: |form| place(&form.slow), build: Builder::slow },
    Row { field: "kill", place: |form| place(&form.kill), build: Builder::kill },
    Row { field: "skewClock", place: |form| place(&form.skew_clock), build: Builder::skew_clock },
];
