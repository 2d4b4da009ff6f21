//! How the stages see a packet: [`Packet`](nsbpf_common::packet::Packet) for the tc and the
//! XDP context.

mod kernel;
mod tc;
mod xdp;

use core::arch::asm;

use nsbpf_common::verifier::unknown;

pub use tc::TcPacket;
pub use xdp::XdpPacket;

/// Offsets past this are not looked at. The verifier wants a bound that a mask
/// proves; the longest chain of headers that the parser follows ends below it.
const OFFSET_MASK: usize = 0x7fff;

/// What XDP writes before a packet that it has done all about, but for the interface, and
/// how long that is. A packet keeps it on its way through other interfaces.
const DONE: u32 = 0x6e73_6264;
const DONE_BYTES: usize = 4;
const DONE_ROOM: i32 = 4;

/// Reads the first words of a packet that has them.
#[inline(always)]
fn load_head(data: usize, end: usize) -> Option<[u64; 3]> {
    let start = unknown(data);
    if start + 24 > end {
        return None;
    }
    Some([load_8(start), load_8(start + 8), load_8(start + 16)])
}

/// Reads `N` bytes at an offset, if they lie before `end`.
#[inline(always)]
fn load_direct<const N: usize>(data: usize, end: usize, offset: u16) -> Option<[u8; N]> {
    // The barriers keep the compiler from dropping the mask, which it can prove
    // needless and the verifier cannot, and from checking one register and
    // reading through another.
    const { assert!(N <= 16) };
    let start = unknown(data + (unknown(usize::from(offset)) & OFFSET_MASK));
    if start + N > end {
        return None;
    }
    let mut bytes = [0; N];
    let mut at = 0;
    // Without loops: the compiler would keep one, and the bytes on the stack.
    if N - at >= 8 {
        bytes[at..at + 8].copy_from_slice(&load_8(start + at).to_le_bytes());
        at += 8;
    }
    if N - at >= 8 {
        bytes[at..at + 8].copy_from_slice(&load_8(start + at).to_le_bytes());
        at += 8;
    }
    if N - at >= 4 {
        bytes[at..at + 4].copy_from_slice(&load_4(start + at).to_le_bytes()[..4]);
        at += 4;
    }
    if N - at >= 2 {
        bytes[at..at + 2].copy_from_slice(&load_2(start + at).to_le_bytes()[..2]);
        at += 2;
    }
    if N > at {
        bytes[at] = load_1(start + at).to_le_bytes()[0];
    }
    Some(bytes)
}

/// Loads through packet pointers, written out so that a whole word is one
/// instruction whatever the alignment: as plain reads of bytes they would be as
/// many instructions as bytes. The rest of the register is 0.
macro_rules! load {
    ($name:ident, $template:literal) => {
        #[inline(always)]
        fn $name(address: usize) -> u64 {
            let value: u64;
            // SAFETY: the caller compared the address with the packet's end, and
            // the verifier checks that it did. What is there is read before
            // anything is written, so that it counts as a value, not as memory.
            unsafe {
                asm!($template, out(reg) value, in(reg) address, options(pure, nomem, nostack));
            }
            value
        }
    };
}

load!(load_1, "{0} = *(u8 *)({1} + 0)");
load!(load_2, "{0} = *(u16 *)({1} + 0)");
load!(load_4, "{0} = *(u32 *)({1} + 0)");
load!(load_8, "{0} = *(u64 *)({1} + 0)");
