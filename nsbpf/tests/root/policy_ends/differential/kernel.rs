//! A program of the kernel half, and the maps that it judges by.

use aya::maps::{Array, MapData, PerCpuArray, PerCpuValues};
use aya::programs::{Program, TestRun, TestRunOptions};
use aya::util::nr_cpus;
use aya::{Ebpf, EbpfLoader, Pod};
use libtest_mimic::Failed;
use nsbpf::datapath::OBJECT;
use nsbpf::lab::Policy;
use nsbpf::policy::Ruleset;
use nsbpf_common::policy::{Condition, Decision, PolicyHead, Rare, RuleSetting, RuleStats};
use nsbpf_common::port::PortConfig;

use super::{Expected, PORT, RULES};
use crate::programs::KERNEL_OFFSETS;

/// In a test run the packet comes from the loopback interface.
const LOOPBACK: u32 = 1;
const PASSED: [u32; 2] = [u32::MAX, 2];
const NODES: u32 = 1 << 17;
const CONDITIONS: u32 = 1 << 14;
const FLOWS: u32 = 1 << 12;
const PLACES: u32 = 1 << 8;

pub(super) struct Kernel {
    ebpf: Ebpf,
    pub(super) program: &'static str,
    generation: u64,
    /// What each slot counts if all is well: packets and bytes.
    counts: Vec<(u64, u64)>,
}

/// What became of a packet.
pub(super) struct Told {
    pub(super) passes: bool,
    /// Whether the rule that decided counted it.
    pub(super) is_counted: bool,
}

impl Kernel {
    pub(super) fn load(program: &'static str) -> Result<Self, Failed> {
        let cpus = u32::try_from(nr_cpus().map_err(|(_, error)| error)?)?;
        let (nothing, on, places, ticks) = (0_u32, 1_u8, PLACES, 1_u32 << 20);
        let base = LOOPBACK.wrapping_sub(PORT.into());
        let mut loader = EbpfLoader::new();
        for of in KERNEL_OFFSETS {
            loader.override_global(of, &nothing, true);
        }
        let slots = RULES as u32 + 1;
        let mut ebpf = loader
            .override_global("PORT_BASE", &base, true)
            .override_global("POLICY", &on, true)
            .override_global("TRACK_FLOWS", &on, true)
            .override_global("RECENT_PLACES", &places, true)
            .override_global("TELL_TICKS", &ticks, true)
            .map_max_entries("PORT_STATS", u32::from(PORT) + 1)
            .map_max_entries("PORT_CONFIGS", u32::from(PORT) + 1)
            .map_max_entries("FLOWS", FLOWS)
            .map_max_entries("NEW_FLOWS", FLOWS)
            .map_max_entries("RECENT_FLOWS", PLACES * cpus)
            .map_max_entries("RECENT_RESTS", PLACES * cpus)
            .map_max_entries("POLICY_NODES", NODES)
            .map_max_entries("POLICY_CONDS", CONDITIONS)
            .map_max_entries("POLICY_RARES", CONDITIONS)
            .map_max_entries("RULE_SETTINGS", slots)
            .map_max_entries("RULE_STATS", slots)
            .load(OBJECT)?;
        match ebpf.program_mut(program).expect(program) {
            Program::SchedClassifier(program) => program.load()?,
            Program::Xdp(program) => program.load()?,
            other => panic!("a program of kind {:?}", other.prog_type()),
        }
        let counts = vec![(0, 0); slots as usize];
        Ok(Self { ebpf, program, generation: 0, counts })
    }

    fn fill<T: Pod>(&mut self, name: &str, values: &[T]) -> Result<(), Failed> {
        let mut map: Array<_, T> = self.ebpf.map_mut(name).expect(name).try_into()?;
        for (place, value) in (0..).zip(values) {
            map.set(place, value, 0)?;
        }
        Ok(())
    }

    /// Puts a policy in force, in the half of the tables that indices begin in.
    pub(super) fn put(
        &mut self,
        policy: &Policy,
        ruleset: &Ruleset,
        is_router: bool,
    ) -> Result<(), Failed> {
        let config = PortConfig::new([2, 0, 0, 0, 0, 2]).router(is_router);
        let mut map: Array<_, PortConfig> =
            self.ebpf.map_mut("PORT_CONFIGS").expect("PORT_CONFIGS").try_into()?;
        map.set(PORT.into(), config, 0)?;
        self.fill("POLICY_NODES", &ruleset.compiled.nodes)?;
        self.fill::<Condition>("POLICY_CONDS", &ruleset.compiled.conditions)?;
        self.fill::<Rare>("POLICY_RARES", &ruleset.compiled.rares)?;
        self.fill("RULE_SETTINGS", &vec![RuleSetting::default(); self.counts.len()])?;
        let mut head = PolicyHead::default()
            .about_arp(ruleset.about_arp)
            .about_discovery(ruleset.about_discovery);
        head.roots = ruleset.compiled.roots;
        head.default = Decision::new(policy.default.action(), false, 0);
        self.fill("POLICY_HEADS", &[head])?;
        self.generation += 2;
        self.fill("POLICY_NOW", &[self.generation])?;
        Ok(())
    }

    fn slot(&mut self, slot: u32) -> Result<(u64, u64), Failed> {
        let map = self.ebpf.map_mut("RULE_STATS").expect("RULE_STATS");
        let map: PerCpuArray<&mut MapData, RuleStats> = map.try_into()?;
        let values: PerCpuValues<RuleStats> = map.get(&slot, 0)?;
        let add = |sum: (u64, u64), it: &RuleStats| (sum.0 + it.packets, sum.1 + it.bytes);
        Ok(values.iter().fold((0, 0), add))
    }

    pub(super) fn judge(&mut self, frame: &[u8], expected: Expected) -> Result<Told, Failed> {
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        let program = self.ebpf.program(self.program).expect("a program");
        let (result, passed) = match program {
            Program::SchedClassifier(program) => (program.test_run(options), PASSED[0]),
            Program::Xdp(program) => (program.test_run(options), PASSED[1]),
            other => panic!("a program of kind {:?}", other.prog_type()),
        };
        let result = result.map_err(|error| format!("{error:?}"))?;
        let mut is_counted = true;
        if let Some((slot, _)) = expected {
            let count = &mut self.counts[slot as usize];
            count.0 += 1;
            count.1 += frame.len() as u64;
            let count = *count;
            is_counted = self.slot(slot)? == count;
        }
        Ok(Told { passes: result.return_value == passed, is_counted })
    }

    /// Fails unless each rule counted what it should have.
    pub(super) fn adds_up(&mut self) -> Result<(), Failed> {
        for slot in 0..self.counts.len() as u32 {
            assert_eq!(self.slot(slot)?, self.counts[slot as usize], "rule {slot}");
        }
        Ok(())
    }
}
