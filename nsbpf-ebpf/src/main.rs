//! The kernel half: programs at the hooks of a port's host-side end.
//!
//! A file a hook, each a thin entry over the [`stage`]s, which know no hook and
//! meet in per-CPU scratch memory. An entry only maps what the stages say to its
//! hook's return code. What the [`bench`]mark is made of is a thing of its own.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![feature(core_intrinsics)]
#![expect(internal_features, reason = "atomic additions: this target has no atomic types")]
// The types and sections here are the kernel's to see, not a crate's.
#![expect(unreachable_pub, reason = "aya's macros make items public for the linker")]
#![expect(clippy::needless_pass_by_value, reason = "aya's macros hand the context over")]

mod answer;
mod bench;
mod maps;
mod route_egress;
mod route_ingress;
mod stage;
mod tc_egress;
mod tc_ingress;
mod view;
mod xdp_ingress;

/// Nothing here can panic: were it wrong, the verifier would refuse the loop.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Helpers that tc programs need are for GPL-compatible programs only.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
