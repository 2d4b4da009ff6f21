//! What the kernel is asked for when it loads the programs.

use std::collections::BTreeSet;
use std::time::Duration;

use aya::programs::{Program, ProgramInfo, SchedClassifier, Xdp};
use aya_obj::generated::bpf_insn;
use libtest_mimic::Failed;
use nsbpf::datapath::OBJECT;

use super::{Switches, load};

/// Verified instructions of a program at most.
const INSTRUCTIONS: u32 = 200_000;
/// Time that loading all of them takes a processor at most: the budget of the three large
/// ones, and half of that again for a busy machine.
const LOAD_MILLISECONDS: u128 = 900;
/// Verified instructions, and the time that loading takes, with all switches on.
pub(super) fn instructions() -> Result<(), Failed> {
    let start = processor_time();
    // All that can be on.
    let all = Switches {
        guard: true,
        direct_links: true,
        fast_paths: true,
        host_routes: true,
        flows: true,
        policy: true,
        ..Switches::default()
    };
    let ebpf = load(&all)?;
    let took = processor_time().saturating_sub(start).as_millis();
    println!("loading took {took} ms of a processor");
    assert!(took < LOAD_MILLISECONDS || is_emulated(), "loading took {took} ms");
    for (name, program) in ebpf.programs() {
        let info = match program {
            Program::SchedClassifier(program) => SchedClassifier::info(program)?,
            Program::Xdp(program) => Xdp::info(program)?,
            other => panic!("a program of kind {:?}", other.prog_type()),
        };
        let Some(count) = ProgramInfo::verified_instruction_count(&info) else {
            println!("{name}: this kernel, older than 5.16, does not tell");
            continue;
        };
        println!("{name}: {count} verified instructions");
        assert!(count <= INSTRUCTIONS, "{name}: {count} verified instructions");
    }
    Ok(())
}

/// What this thread took of a processor: the kernel verifies in its system calls.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap()
}

/// The stack that a chain of calls takes at most.
pub(super) fn stack() -> Result<(), Failed> {
    const LIMIT: u32 = 400;
    let mut object = aya_obj::Object::parse(OBJECT)?;
    let sections = object.functions.keys().map(|(section, _)| *section).collect();
    object.relocate_calls(&sections)?;
    let mut seen = 0;
    for (name, program) in &object.programs {
        // With all functions that it calls behind it.
        let instructions = &object.functions[&program.function_key()].instructions;
        let deepest = chain(instructions, 0, &starts(instructions));
        println!("{name}: {deepest} bytes of stack");
        assert!(deepest <= LIMIT, "{name}: {deepest} bytes of stack");
        seen = seen.max(deepest);
    }
    assert!(seen > 0, "nothing was found");
    Ok(())
}

/// Where the call of an instruction leads that is at a place, if it is the call of a function.
fn called(at: usize, instruction: bpf_insn) -> Option<usize> {
    const CALL: u8 = 0x85;
    const OF_A_FUNCTION: u8 = 1;
    let is_call = instruction.code == CALL && instruction.src_reg() == OF_A_FUNCTION;
    is_call.then(|| (at + 1).checked_add_signed(instruction.imm as isize)).flatten()
}

/// Where functions start.
fn starts(instructions: &[bpf_insn]) -> BTreeSet<usize> {
    let calls = instructions.iter().enumerate();
    calls.filter_map(|(at, instruction)| called(at, *instruction)).collect()
}

/// The stack of the function that starts there, and of the deepest chain of what it calls.
fn chain(instructions: &[bpf_insn], start: usize, starts: &BTreeSet<usize>) -> u32 {
    let end = starts.range(start + 1..).next().copied().unwrap_or(instructions.len());
    let function = &instructions[start..end];
    let own = function.windows(2).map(|pair| below_frame(pair[0], pair[1])).max().unwrap_or(0);
    let calls = function.iter().enumerate();
    let deepest = calls
        .filter_map(|(at, instruction)| called(start + at, *instruction))
        .map(|callee| chain(instructions, callee, starts))
        .max();
    own + deepest.unwrap_or(0)
}

/// How far below the frame pointer (r10) an instruction reaches: as the address of a
/// load or a store, or copied and moved by the next one.
fn below_frame(one: bpf_insn, next: bpf_insn) -> u32 {
    const FRAME: u8 = 10;
    const COPY: u8 = 0xbf;
    const ADD: u8 = 0x07;
    let below = |offset: i32| offset.min(0).unsigned_abs();
    match one.code & 0x07 {
        // BPF_LDX, BPF_ST and BPF_STX
        1 if one.src_reg() == FRAME => below(one.off.into()),
        2 | 3 if one.dst_reg() == FRAME => below(one.off.into()),
        _ if one.code == COPY && one.src_reg() == FRAME && next.code == ADD => below(next.imm),
        _ => 0,
    }
}

/// Whether the processor is one of qemu's, whose time is not to be compared.
fn is_emulated() -> bool {
    std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|about| about.contains("QEMU TCG CPU"))
}
