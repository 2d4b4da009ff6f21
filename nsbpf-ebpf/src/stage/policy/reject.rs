//! Reject: the sender of a packet is told that it ended.

use aya_ebpf::bindings::{__sk_buff, xdp_md};
use nsbpf_common::answer::{Answer, Kind};
use nsbpf_common::packet::Packet;
use nsbpf_common::policy::RuleSetting;

use super::{event, limit, seen};
use crate::maps::{ANSWERED, ANSWERS, NEXT_DUE};
use crate::stage::clock;
use crate::view::{TcPacket, XdpPacket};

/// Turns a packet at a tc hook into what its sender is told: how many bytes that has, or 0
/// if there is nothing to tell. A function of its own in the program, which the verifier
/// looks at once.
///
/// A checksum that was left to the hardware stays so for the kernel, which trusts the answer
/// as it trusted the packet.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn answer_tc(context: *mut __sk_buff) -> u64 {
    become_answer(&TcPacket::at(context)).unwrap_or(0).into()
}

/// Finds out what there is to tell, before that: 0 for nothing.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn find_answer_tc(context: *mut __sk_buff) -> u64 {
    find_answer(&TcPacket::at(context)).is_some().into()
}

/// The same of a frame at an XDP hook.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn answer_xdp(context: *mut xdp_md) -> u64 {
    become_answer(&XdpPacket::at(context)).unwrap_or(0).into()
}

/// The same as [`find_answer_tc`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn find_answer_xdp(context: *mut xdp_md) -> u64 {
    find_answer(&XdpPacket::at(context)).is_some().into()
}

/// Completes what was found. Likewise.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn complete_answer() -> u64 {
    if let (Some(seen), Some(answer)) = (seen(), answer()) {
        answer.complete(&seen.flow.key, seen.flow.direction);
    }
    0
}

/// Counts whether a rejected packet was answered, by how long the answer is.
#[inline(always)]
pub fn count(bytes: u64) {
    event(|events| if bytes == 0 { &mut events.unanswered } else { &mut events.answered });
}

/// A packet that can become another.
pub trait Change: Packet {
    /// Ends after so many bytes from now on.
    fn cut(&self, length: u32) -> bool;
    /// Has so many bytes more before it.
    fn grow(&self, bytes: u32) -> bool;
    /// Has other bytes at an offset.
    fn write<const N: usize>(&self, offset: u16, bytes: &[u8; N]) -> bool;
}

#[inline(always)]
fn find_answer(packet: &impl Change) -> Option<()> {
    let (seen, answer) = (seen()?, answer()?);
    answer.find(packet, seen);
    (!matches!(answer.kind(), Kind::None) && is_due()).then_some(())
}

#[inline(always)]
fn answer() -> Option<&'static mut Answer> {
    let answer = ANSWERS.get_ptr_mut(0)?;
    // SAFETY: this CPU's own, and the packet's own.
    Some(unsafe { &mut *answer })
}

#[inline(always)]
fn become_answer(packet: &impl Change) -> Option<u16> {
    let answer = answer()?;
    // Tags that are followed end before that.
    let network = answer.network & 0x1f;
    let [destination, source]: [[u8; 6]; 2] = [packet.load(0)?, packet.load(6)?];
    let kind = answer.kind();
    let (length, before) = if kind.has_quote() {
        (network + answer.quoted, kind.header_bytes())
    } else {
        (network + kind.header_bytes(), 0)
    };
    if !packet.cut(length.into()) || before != 0 && !packet.grow(before.into()) {
        return None;
    }
    if before != 0 {
        for place in (12..22).step_by(2) {
            if place < network && !packet.write::<2>(place, &packet.load(before + place)?) {
                return None;
            }
        }
    }
    let headers = answer.headers();
    let written = match kind {
        Kind::ResetV4 => packet.write::<40>(network, headers.first_chunk()?),
        Kind::ResetV6 => packet.write::<60>(network, headers.first_chunk()?),
        Kind::UnreachableV4 => packet.write::<28>(network, headers.first_chunk()?),
        _ => packet.write::<48>(network, headers.first_chunk()?),
    };
    (written && packet.write(0, &source) && packet.write(6, &destination))
        .then_some(length + before)
}

/// Whether not too many were answered just now.
#[inline(always)]
fn is_due() -> bool {
    let RuleSetting { burst_ns, .. } = RuleSetting::ANSWERS;
    let Some(due_ns) = NEXT_DUE.get_ptr_mut(ANSWERED) else { return false };
    // SAFETY: one word, which is exchanged as a whole.
    let due_ns = unsafe { &mut *due_ns };
    limit::takes(due_ns, RuleSetting::ANSWERS.cost_ns(1, 0), burst_ns, clock::now_ns())
}
