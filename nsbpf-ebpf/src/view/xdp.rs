//! A frame at an XDP hook.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::{bpf_xdp_adjust_head, bpf_xdp_adjust_meta, bpf_xdp_adjust_tail};
use aya_ebpf::programs::XdpContext;
use nsbpf_common::packet::Packet;
use nsbpf_common::stats::Way;
use nsbpf_common::verifier::unknown;

use super::{DONE, DONE_BYTES, DONE_ROOM, OFFSET_MASK, load_direct, load_head};
use crate::maps::DEVICES;
use crate::stage::pipeline::Forward;
use crate::stage::policy::hook::{Answered, Back, Judged};
use crate::stage::policy::prepare::prepare_xdp;
use crate::stage::policy::reject::{self, Change, answer_xdp, complete_answer, find_answer_xdp};

/// A frame at an XDP hook.
pub struct XdpPacket {
    frame: *mut xdp_md,
}

impl XdpPacket {
    /// The frame of that context.
    #[inline(always)]
    pub fn new(context: &XdpContext) -> Self {
        Self { frame: context.as_ptr().cast() }
    }

    /// The same, where a function is given the context.
    #[inline(always)]
    pub const fn at(frame: *mut xdp_md) -> Self {
        Self { frame }
    }

    /// The interface whose hook this is.
    #[inline(always)]
    pub fn ifindex(&self) -> u32 {
        self.frame().ingress_ifindex
    }

    /// The same frame, as for [`TcPacket::anew`].
    #[inline(always)]
    fn anew(&self) -> Self {
        Self { frame: unknown(self.frame as usize) as *mut xdp_md }
    }

    #[inline(always)]
    fn frame(&self) -> &xdp_md {
        // SAFETY: the context is valid until the program returns, and the
        // verifier rewrites and checks every access to it.
        unsafe { &*self.frame }
    }
}

impl Packet for XdpPacket {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: u16) -> Option<[u8; N]> {
        let frame = self.anew();
        let frame = frame.frame();
        load_direct(frame.data as usize, frame.data_end as usize, offset)
    }

    #[inline(always)]
    fn head(&self) -> Option<[u64; 3]> {
        let frame = self.frame();
        load_head(frame.data as usize, frame.data_end as usize)
    }

    #[inline(always)]
    fn frame_bytes(&self) -> u32 {
        let frame = self.frame();
        frame.data_end.wrapping_sub(frame.data)
    }
}

impl Change for XdpPacket {
    #[inline(always)]
    fn cut(&self, length: u32) -> bool {
        let bytes = unknown(self.anew().frame_bytes() as usize);
        #[expect(clippy::cast_possible_truncation, reason = "a frame is short")]
        let less = length.wrapping_sub(bytes as u32).cast_signed();
        // SAFETY: the context is valid until the program returns.
        unsafe { bpf_xdp_adjust_tail(self.frame, less) == 0 }
    }

    #[inline(always)]
    fn grow(&self, bytes: u32) -> bool {
        // SAFETY: likewise.
        unsafe { bpf_xdp_adjust_head(self.frame, bytes.cast_signed().wrapping_neg()) == 0 }
    }

    #[inline(always)]
    fn write<const N: usize>(&self, offset: u16, bytes: &[u8; N]) -> bool {
        let frame = self.anew();
        let frame = frame.frame();
        let start = unknown(frame.data as usize + (unknown(offset.into()) & OFFSET_MASK));
        if start + N > frame.data_end as usize {
            return false;
        }
        // SAFETY: the bytes are there: the verifier sees the comparison.
        unsafe { (start as *mut [u8; N]).write_unaligned(*bytes) };
        true
    }
}

impl Forward for XdpPacket {
    #[inline(always)]
    fn forward(&self, way: Way, to: u16) -> bool {
        // A port that takes no frames from XDP has no device there.
        matches!(way, Way::Xdp) && DEVICES.redirect(to.into(), XDP_PASS.into()).is_ok()
    }

    #[inline(always)]
    fn set_done(&self) {
        // SAFETY: the context is valid until the program returns.
        if unsafe { bpf_xdp_adjust_meta(self.frame, -DONE_ROOM) } != 0 {
            return;
        }
        let frame = self.frame();
        let done = DONE ^ frame.ingress_ifindex;
        let start = unknown(frame.data_meta as usize);
        if start + DONE_BYTES <= frame.data as usize {
            // SAFETY: the room was made just now, and the verifier sees the comparison.
            unsafe { (start as *mut u32).write(done) };
        }
    }
}

impl Judged for XdpPacket {
    #[inline(always)]
    fn prepare(&self, port: u16, domain: u16) -> bool {
        prepare_xdp(self.frame, port, domain) != 0
    }

    #[inline(always)]
    fn answer(&self, port: u16, _back: Back, _to: u16) -> Option<Answered> {
        // By a redirect: after XDP_TX the other end is woken only where it has a program of
        // XDP itself (`veth_xdp_flush`, Linux 6.18).
        let is_taken = DEVICES.redirect(port.into(), XDP_DROP.into()).is_ok();
        let mut bytes = 0;
        if is_taken && find_answer_xdp(self.frame) != 0 {
            complete_answer();
            bytes = answer_xdp(self.frame);
        }
        reject::count(bytes);
        u16::try_from(bytes).ok().filter(|bytes| *bytes != 0).map(Answered::Bytes)
    }
}
