//! What the kernel is asked for when it loads the programs.

use aya::programs::{Program, ProgramInfo, SchedClassifier, Xdp};
use aya_obj::generated::bpf_insn;
use libtest_mimic::Failed;
use nsbpf::datapath::OBJECT;

use super::{Switches, load};

/// Verified instructions of a program at most.
const INSTRUCTIONS: u32 = 200_000;
/// Time for loading all of them at most: twice the budget, for a busy machine.
const LOAD_MILLISECONDS: u128 = 600;
/// Verified instructions, and the time that loading takes, with all switches on.
pub(super) fn instructions() -> Result<(), Failed> {
    let start = std::time::Instant::now();
    // All that can be on.
    let all = Switches {
        guard: true,
        direct_links: true,
        fast_paths: true,
        host_routes: true,
        flows: true,
        ..Switches::default()
    };
    let ebpf = load(&all)?;
    let took = start.elapsed().as_millis();
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

/// The stack of all functions of the object together is more than any chain of
/// calls can take.
pub(super) fn stack() -> Result<(), Failed> {
    const LIMIT: u32 = 400;
    let object = aya_obj::Object::parse(OBJECT)?;
    let depth = |function: &aya_obj::Function| {
        let instructions = function.instructions.iter();
        instructions
            .clone()
            .zip(instructions.skip(1))
            .map(|(one, next)| below_frame(*one, *next))
            .max()
    };
    // A program is a function too; the others are what programs call.
    let (mut programs, mut called) = (0, 0);
    for function in object.functions.values() {
        let depth = depth(function).unwrap_or_default();
        if object.programs.contains_key(&function.name) {
            println!("{}: {depth} bytes of stack", function.name);
            programs = programs.max(depth);
        } else {
            called += depth;
        }
    }
    assert!(programs > 0, "nothing was found");
    assert!(
        programs + called <= LIMIT,
        "{programs} bytes of stack, and {called} of what is called"
    );
    Ok(())
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
