//! What is measured, and what the figures should be.

use std::time::Instant;

use anyhow::Result;
use chaos_fault::Fault;
use chaos_tests::{
    cgroup::TestCgroup,
    injector::{Injector, parse},
};

use crate::{
    calls,
    rounds::{Effort, Samples, alternate},
    scene::{Courier, Crowd, Scene},
};

/// Batches before those that count, to fill caches after something else has run.
const WARM_UP: u32 = 2;

/// With the target, 250.
const CROWD: usize = 249;
/// With the target, 50.
const SHARING: usize = 49;

/// Figures that belong together.
pub struct Section {
    pub title: &'static str,
    /// What one operation is: "ns a datagram".
    pub unit: &'static str,
    pub rows: Vec<Row>,
}

pub struct Row {
    pub what: &'static str,
    pub figures: Samples,
    /// To the section's first row, round by round.
    pub ratio: Option<Samples>,
    /// The ratio is to be at most this.
    pub aim: Option<f64>,
}

/// A state of the machine to measure in.
struct Variant {
    what: &'static str,
    faults: Vec<Fault>,
    /// How many targets beside the one have them, too.
    others: usize,
    aim: Option<f64>,
}

impl Variant {
    fn new(what: &'static str, faults: &str) -> Result<Self> {
        Ok(Self { what, faults: parse(faults)?, others: 0, aim: None })
    }

    fn crowd(self, others: usize) -> Self {
        Self { others, ..self }
    }

    fn aim(self, ratio: f64) -> Self {
        Self { aim: Some(ratio), ..self }
    }
}

pub fn run(effort: Effort) -> Result<Vec<Section>> {
    let scene = Scene::new()?;
    let crowd = scene.crowd(CROWD)?;
    let injector = Injector::new(scene.probe.path())?;
    let mut bench = Bench { effort, injector, scene: &scene, crowd };
    Ok(vec![
        bench.targets_packets()?,
        bench.bystanders_packets()?,
        bench.drops()?,
        bench.connects()?,
        bench.arming()?,
        bench.calls()?,
    ])
}

/// What the targets in a network namespace cost others there, and one of them that is alone.
pub fn beside(effort: Effort) -> Result<Vec<Section>> {
    let scene = Scene::new()?;
    let crowd = scene.crowd(SHARING)?;
    let injector = Injector::new(scene.probe.path())?;
    let mut bench = Bench { effort, injector, scene: &scene, crowd };
    Ok(vec![
        bench.beside_leaving()?,
        bench.beside_arriving()?,
        bench.alone_leaving()?,
        bench.alone_arriving()?,
    ])
}

struct Bench<'a> {
    effort: Effort,
    scene: &'a Scene,
    injector: Injector,
    /// Other cgroups, with a process each in the sender's network namespace.
    crowd: Crowd,
}

impl Bench<'_> {
    fn targets_packets(&mut self) -> Result<Section> {
        progress("packets of a target");
        let mut courier = self.scene.courier(&self.scene.sender)?;
        let port = courier.ready.port;
        let variants = [
            Variant::new("no program", "")?,
            Variant::new("a rule for another protocol", "drop egress tcp")?,
            Variant::new(
                "a rule for this port, another network",
                &format!("drop egress udp to 192.0.2.0/24 port {port}"),
            )?
            .aim(1.10),
            Variant::new("64 rules, networks and ports mixed", &sixty_four_rules())?.aim(1.30),
            Variant::new("a rule that matches and spares", "drop 0.000001% egress udp")?,
            Variant::new(
                "a rule on frames (tcx), another network",
                &format!("corrupt egress udp to 192.0.2.0/24 port {port}"),
            )?,
            Variant::new(
                "a delay, another network",
                &format!("delay 100ms egress udp to 192.0.2.0/24 port {port}"),
            )?
            .aim(1.10),
        ];
        let rows = self.send(&self.scene.sender, &mut courier, variants)?;
        Ok(Section { title: "A target's packet that no rule hits", unit: "ns a datagram", rows })
    }

    fn bystanders_packets(&mut self) -> Result<Section> {
        progress("packets of a bystander");
        // The target has a process, and so the network namespace that the bystander is in, too.
        let _target = self.scene.courier(&self.scene.sender)?;
        let mut courier = self.scene.courier(&self.scene.bystander)?;
        let variants = [
            Variant::new("nothing armed", "")?,
            Variant::new("another cgroup armed: packets", "drop egress udp ; drop ingress udp")?
                .aim(1.05),
            Variant::new("another cgroup armed: connect", "fail connect with EIO")?.aim(1.05),
            Variant::new("250 cgroups armed: packets", "drop egress udp ; drop ingress udp")?
                .crowd(CROWD)
                .aim(1.05),
            Variant::new("250 cgroups armed: connect", "fail connect with EIO")?
                .crowd(CROWD)
                .aim(1.05),
        ];
        let rows = self.send(&self.scene.sender, &mut courier, variants)?;
        Ok(Section {
            title: "A packet of a process outside the target",
            unit: "ns a datagram",
            rows,
        })
    }

    fn beside_leaving(&mut self) -> Result<Section> {
        progress("frames of a bystander that leave");
        let _target = self.scene.courier(&self.scene.sender)?;
        let mut courier = self.scene.courier(&self.scene.bystander)?;
        let variants = frames_of_others("corrupt egress udp", 1.10)?;
        let rows = self.send(&self.scene.sender, &mut courier, variants)?;
        let title = "A packet that leaves a process beside targets with faults on frames";
        Ok(Section { title, unit: "ns a datagram", rows })
    }

    fn beside_arriving(&mut self) -> Result<Section> {
        progress("frames of a bystander that arrive");
        let _target = self.scene.courier(&self.scene.sender)?;
        let mut courier = self.scene.courier_to(&self.scene.bystander)?;
        let variants = frames_of_others("corrupt ingress udp", 1.35)?;
        let rows = self.send(&self.scene.sender, &mut courier, variants)?;
        let title = "A packet that arrives for a process beside targets with faults on frames";
        Ok(Section { title, unit: "ns a datagram", rows })
    }

    fn alone_leaving(&mut self) -> Result<Section> {
        progress("frames of a target that leave");
        let mut courier = self.scene.courier(&self.scene.sender)?;
        let port = courier.ready.port;
        let variants = own_frames(&format!("corrupt egress udp to 192.0.2.0/24 port {port}"))?;
        let rows = self.send(&self.scene.sender, &mut courier, variants)?;
        let title = "A packet that leaves the only target, and that no rule hits";
        Ok(Section { title, unit: "ns a datagram", rows })
    }

    fn alone_arriving(&mut self) -> Result<Section> {
        progress("frames of a target that arrive");
        // A courier leaves the place where it receives.
        let _target = self.scene.courier(&self.scene.sender)?;
        let mut courier = self.scene.courier_to(&self.scene.sender)?;
        let variants = own_frames("corrupt ingress udp from 192.0.2.0/24")?;
        let rows = self.send(&self.scene.sender, &mut courier, variants)?;
        let title = "A packet that arrives for the only target, and that no rule hits";
        Ok(Section { title, unit: "ns a datagram", rows })
    }

    /// Measures a courier's datagrams, none of which may get lost, while `target` is armed.
    fn send<const N: usize>(
        &mut self,
        target: &TestCgroup,
        courier: &mut Courier,
        variants: [Variant; N],
    ) -> Result<Vec<Row>> {
        let Effort { rounds, batches, .. } = self.effort;
        let samples = alternate(rounds, N, |variant| {
            self.armed(target, &variants[variant], || {
                courier.send(WARM_UP, false)?;
                courier.send(batches, false)
            })
        })?;
        Ok(rows(variants, samples))
    }

    fn drops(&mut self) -> Result<Section> {
        progress("drops at ingress");
        let Effort { rounds, batches, .. } = self.effort;
        // iptables leaves its tables in the namespace, so it gets hosts of its own.
        let filtered = Scene::new()?;
        let mut behind_iptables = filtered.courier(&filtered.sender)?;
        let port = behind_iptables.ready.port;
        filtered.iptables(&format!("-A INPUT -p udp --dport {port} -j DROP"))?;
        let mut courier = self.scene.courier(&self.scene.sender)?;
        let drop = format!("drop ingress udp to port {}", courier.ready.port);
        let variants = [
            Variant::new("iptables -p udp --dport PORT -j DROP", "")?,
            Variant::new("drop ingress udp to port PORT", &drop)?,
            Variant::new("nothing, delivered", "")?,
        ];
        let receiver = &self.scene.receiver;
        let samples = alternate(rounds, variants.len(), |variant| {
            self.armed(receiver, &variants[variant], || {
                let (courier, lost) = match variant {
                    0 => (&mut behind_iptables, true),
                    1 => (&mut courier, true),
                    _ => (&mut courier, false),
                };
                courier.send(WARM_UP, lost)?;
                courier.send(batches, lost)
            })
        })?;
        let rows = rows(variants, samples);
        Ok(Section { title: "A datagram lost at the receiver", unit: "ns a datagram", rows })
    }

    fn connects(&mut self) -> Result<Section> {
        progress("connects");
        let Effort { rounds, batches, .. } = self.effort;
        let mut courier = self.scene.courier(&self.scene.sender)?;
        let port = courier.ready.closed_port;
        let variants = [
            Variant::new("refused by the server, over veth", "")?,
            Variant::new(
                "a rule for this port, another network",
                &format!("fail connect with ETIMEDOUT to 192.0.2.0/24 port {port}"),
            )?,
            Variant::new(
                "fail connect with ECONNREFUSED",
                &format!("fail connect with ECONNREFUSED to port {port}"),
            )?,
        ];
        let sender = &self.scene.sender;
        let samples = alternate(rounds, variants.len(), |variant| {
            self.armed(sender, &variants[variant], || {
                courier.connect(WARM_UP)?;
                courier.connect(batches / 4 + 1)
            })
        })?;
        let rows = rows(variants, samples);
        Ok(Section { title: "A TCP connect that fails", unit: "ns a connect", rows })
    }

    fn arming(&mut self) -> Result<Section> {
        progress("arming");
        // With a process the target has a network namespace, which frames need.
        let _process = self.scene.courier(&self.scene.sender)?;
        let [arm_one, disarm_one] = self.arm_and_disarm("drop egress udp")?;
        let [arm_many, _] = self.arm_and_disarm(&sixty_four_rules())?;
        let [arm_frames, disarm_frames] = self.arm_and_disarm("corrupt egress udp")?;
        let row = |what, figures| Row { what, figures, ratio: None, aim: None };
        let rows = vec![
            row("arm: one rule, one hook", arm_one),
            row("disarm it", disarm_one),
            row("arm: 64 rules, one hook", arm_many),
            row("arm: frames (tcx) on two interfaces", arm_frames),
            row("disarm them", disarm_frames),
        ];
        Ok(Section { title: "Arming and disarming", unit: "ms", rows })
    }

    fn calls(&self) -> Result<Section> {
        progress("calls answered in user space");
        calls::measure(self.effort)
    }

    fn arm_and_disarm(&mut self, faults: &str) -> Result<[Samples; 2]> {
        let faults = parse(faults)?;
        let (mut armed, mut disarmed) = (Vec::new(), Vec::new());
        for _ in 0..self.effort.repetitions {
            let target = self.injector.target(self.scene.sender.path())?;
            let start = Instant::now();
            self.injector.arm(target, &faults)?;
            armed.push(milliseconds(start));
            let start = Instant::now();
            self.injector.disarm();
            disarmed.push(milliseconds(start));
        }
        Ok([armed.into_iter().collect(), disarmed.into_iter().collect()])
    }

    /// Runs `measure` while `target` has the variant's faults; with none, nothing is attached.
    fn armed<T>(
        &mut self,
        target: &TestCgroup,
        Variant { faults, others, .. }: &Variant,
        measure: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        if faults.is_empty() {
            return measure();
        }
        self.injector.arm(self.injector.target(target.path())?, faults)?;
        self.injector.arm_crowd(&self.crowd.cgroups[..*others], faults)?;
        let measured = measure();
        self.injector.disarm_crowd(*others);
        self.injector.disarm();
        measured
    }
}

/// `aim` is for many targets.
fn frames_of_others(faults: &str, aim: f64) -> Result<[Variant; 3]> {
    Ok([
        Variant::new("nothing armed", "")?,
        Variant::new("another cgroup armed", faults)?,
        Variant::new("50 cgroups armed", faults)?.crowd(SHARING).aim(aim),
    ])
}

fn own_frames(fault: &str) -> Result<[Variant; 2]> {
    Ok([Variant::new("no program", "")?, Variant::new("a rule for another network", fault)?])
}

/// The figures of variants; ratios are to the first.
fn rows<const N: usize>(variants: [Variant; N], samples: Vec<Samples>) -> Vec<Row> {
    let base = samples.first().cloned();
    let described = variants.into_iter().zip(samples).enumerate();
    let rows = described.map(|(index, (Variant { what, aim, .. }, figures))| {
        let ratio = base.as_ref().filter(|_| index > 0).map(|base| figures.over(base));
        Row { what, figures, ratio, aim }
    });
    rows.collect()
}

/// Every dimension that a rule can look at, and none of these rules matches what a courier sends
/// (UDP from 10.200.0.1 to 10.200.0.2, ports of the ephemeral range).
fn sixty_four_rules() -> String {
    let rules = (0..16).map(|n| {
        format!(
            "drop egress udp to 10.{n}.0.0/16 port {}\n\
             drop 1% egress to 192.0.{n}.0/24\n\
             drop egress tcp to 10.200.0.0/16 port 443\n\
             drop udp port {}\n",
            1000 + n,
            2000 + n,
        )
    });
    rules.collect()
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1000.0
}

fn progress(what: &str) {
    eprintln!("measuring {what} ...");
}
