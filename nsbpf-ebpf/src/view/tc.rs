//! A packet at a tc hook.

use aya_ebpf::bindings::{__sk_buff, BPF_F_INGRESS};
use aya_ebpf::helpers::{
    bpf_redirect, bpf_redirect_peer, bpf_skb_change_head, bpf_skb_change_tail, bpf_skb_change_type,
    bpf_skb_load_bytes, bpf_skb_store_bytes,
};
use aya_ebpf::programs::TcContext;
use nsbpf_common::packet::{Packet, Segmentation, ethertype};
use nsbpf_common::route::{HOPS_V4, HOPS_V6};
use nsbpf_common::stats::Way;
use nsbpf_common::verifier::unknown;

use super::kernel::{is_more_than_the_bridge, read_kernel};
use super::{DONE, DONE_BYTES, load_4, load_direct, load_head};
use crate::maps::{
    ANSWER_SECRET, DEV_OFFSET, ENQUEUE_OFFSET, HOOKS_V4_OFFSET, HOOKS_V6_OFFSET, NET_OFFSET,
    NFCT_OFFSET, PORT_BASE, QDISC_OFFSET,
};
use crate::stage::pipeline::Forward;
use crate::stage::policy::hook::{Answered, Back, Judged};
use crate::stage::policy::prepare::prepare_tc;
use crate::stage::policy::reject::{self, Change, answer_tc, complete_answer, find_answer_tc};
use crate::stage::route::{Hops, Replay};

/// Hooks that what is forwarded passes (`include/uapi/linux/netfilter.h`).
const PRE_ROUTING: u32 = 0;
const FORWARD: u32 = 2;
const POST_ROUTING: u32 = 4;
/// `include/uapi/linux/if_packet.h`
const PACKET_HOST: u32 = 0;

/// Marks a packet that is sent to another hook of ours, where its bridge would have
/// left zeroes (`br_handle_frame`, Linux 6.18).
const REDIRECTED: u32 = 0x6e73_6270;
/// The same of one that the host's stack would have routed there.
const ROUTED: u32 = 0x6e73_6272;
/// The same of what the sender of a rejected packet is told.
const ANSWER: u32 = 0x6e73_6261;

/// A packet at a tc hook.
pub struct TcPacket {
    skb: *mut __sk_buff,
}

impl TcPacket {
    /// The packet of that context.
    #[inline(always)]
    pub fn new(context: &TcContext) -> Self {
        Self { skb: context.skb.skb }
    }

    /// The same, where a function is given the context.
    #[inline(always)]
    pub const fn at(skb: *mut __sk_buff) -> Self {
        Self { skb }
    }

    /// The interface whose hook this is.
    #[inline(always)]
    pub fn ifindex(&self) -> u32 {
        self.skb().ifindex
    }

    /// The interface that the packet came in by, in this namespace; 0 for one
    /// that begins here.
    #[inline(always)]
    pub fn ingress_ifindex(&self) -> u32 {
        self.skb().ingress_ifindex
    }

    /// Whether it has the MAC address of the interface that it came in by.
    #[inline(always)]
    pub fn is_for_this_host(&self) -> bool {
        self.skb().pkt_type == PACKET_HOST
    }

    /// Does to the packet what a router does; `false` if nothing was done. Only the first
    /// store can fail, for want of memory: what it makes writable reaches past the others.
    #[inline(always)]
    pub fn rewrite(&self, replay: &Replay) -> bool {
        let hops = match &replay.hops {
            Hops::V4(bytes) => self.store(HOPS_V4, bytes),
            Hops::V6(bytes) => self.store(HOPS_V6, bytes),
        };
        hops && self.store(0, &replay.macs)
    }

    #[inline(always)]
    fn store<const N: usize>(&self, offset: u16, bytes: &[u8; N]) -> bool {
        #[expect(clippy::cast_possible_truncation, reason = "a header is short")]
        let length = N as u32;
        // SAFETY: the buffer is as long as told.
        let result = unsafe {
            bpf_skb_store_bytes(self.skb.cast(), offset.into(), bytes.as_ptr().cast(), length, 0)
        };
        result == 0
    }

    /// Tells the hook of the device that the packet is redirected to.
    #[inline(always)]
    fn mark(&self, kind: u32, to: u16) {
        // SAFETY: as in `skb`; nobody else has a reference to the context.
        let skb = unsafe { &mut *self.skb };
        skb.cb[0] = kind;
        skb.cb[1] = PORT_BASE.load() + u32::from(to);
    }

    #[inline(always)]
    fn is_marked(&self, kind: u32) -> bool {
        let skb = self.skb();
        skb.cb[0] == kind && skb.cb[1] == skb.ifindex
    }

    /// The same packet, of which the compiler knows nothing: were there many loads, it would
    /// keep addresses of the context's fields, which the verifier does not allow.
    #[inline(always)]
    fn anew(&self) -> Self {
        Self { skb: unknown(self.skb as usize) as *mut __sk_buff }
    }

    #[inline(always)]
    fn skb(&self) -> &__sk_buff {
        // SAFETY: the context is valid until the program returns, and the
        // verifier rewrites and checks every access to it.
        unsafe { &*self.skb }
    }
}

impl Packet for TcPacket {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: u16) -> Option<[u8; N]> {
        let skb = self.anew();
        let skb = skb.skb();
        load_direct(skb.data as usize, skb.data_end as usize, offset).or_else(|| {
            // Headers that are not in the linear part: rare, and right.
            let mut bytes = [0; N];
            #[expect(clippy::cast_possible_truncation, reason = "a header is short")]
            let length = N as u32;
            // SAFETY: the buffer is as long as told.
            let result = unsafe {
                bpf_skb_load_bytes(
                    self.skb.cast(),
                    u32::from(offset),
                    bytes.as_mut_ptr().cast(),
                    length,
                )
            };
            (result == 0).then_some(bytes)
        })
    }

    #[inline(always)]
    fn head(&self) -> Option<[u64; 3]> {
        let skb = self.skb();
        load_head(skb.data as usize, skb.data_end as usize)
    }

    #[inline(always)]
    fn frame_bytes(&self) -> u32 {
        self.skb().len
    }

    #[inline(always)]
    fn vlan_beside_frame(&self) -> Option<u16> {
        let skb = self.skb();
        #[expect(clippy::cast_possible_truncation, reason = "16 bits in a field of 32")]
        let tci = skb.vlan_tci as u16;
        (skb.vlan_present != 0).then_some(tci)
    }

    #[inline(always)]
    fn is_service_vlan_beside_frame(&self) -> bool {
        let skb = self.skb();
        #[expect(clippy::cast_possible_truncation, reason = "16 bits in a field of 32")]
        let protocol = u16::from_be(skb.vlan_proto as u16);
        skb.vlan_present != 0 && protocol == ethertype::SERVICE_VLAN
    }

    #[inline(always)]
    fn segmentation(&self) -> Option<Segmentation> {
        let skb = self.skb();
        let payload_bytes = skb.gso_size;
        (payload_bytes != 0).then_some(Segmentation { payload_bytes, segments: skb.gso_segs })
    }
}

impl Forward for TcPacket {
    const REWRITES: bool = true;

    #[inline(always)]
    fn forward(&self, way: Way, to: u16) -> bool {
        let ifindex = PORT_BASE.load() + u32::from(to);
        match way {
            Way::Redirect => {
                self.mark(REDIRECTED, to);
                // SAFETY: it takes numbers only.
                unsafe { bpf_redirect(ifindex, 0) };
                true
            }
            Way::Peer => {
                // It would go along into the other namespace.
                // SAFETY: as in `skb`; nobody else has a reference to the context.
                unsafe { (*self.skb).mark = 0 };
                // It is for whom it is put before; kernels before 6.16 leave it as what the
                // port took it for.
                // SAFETY: the context is valid until the program returns.
                unsafe { bpf_skb_change_type(self.skb, PACKET_HOST) };
                // SAFETY: it takes numbers only.
                unsafe { bpf_redirect_peer(ifindex, 0) };
                true
            }
            Way::Bridge | Way::Xdp => false,
        }
    }

    #[inline(always)]
    fn is_tracked(&self) -> bool {
        let offset = NFCT_OFFSET.load();
        offset != 0 && read_kernel(self.skb as usize, offset) != 0
    }

    #[inline(always)]
    fn is_filtered(&self) -> bool {
        let [device, net] = [DEV_OFFSET.load(), NET_OFFSET.load()];
        let families = [HOOKS_V4_OFFSET.load(), HOOKS_V6_OFFSET.load()];
        if device == 0 || net == 0 || families.contains(&0) {
            return true;
        }
        let net = read_kernel(read_kernel(self.skb as usize, device), net);
        let at = |hook: u32| families.map(|hooks| read_kernel(net, hooks + 8 * hook));
        let [[before_v4, before_v6], between, after] =
            [at(PRE_ROUTING), at(FORWARD), at(POST_ROUTING)];
        between.into_iter().chain(after).any(|hooks| hooks != 0)
            || is_more_than_the_bridge(before_v4)
            || is_more_than_the_bridge(before_v6)
    }

    #[inline(always)]
    fn is_queued(&self) -> bool {
        let [device, discipline] = [DEV_OFFSET.load(), QDISC_OFFSET.load()];
        if device == 0 || discipline == 0 {
            return false;
        }
        let device = read_kernel(self.skb as usize, device);
        let discipline = read_kernel(device, discipline);
        // `noqueue_qdisc` has no such function (`net/sched/sch_generic.c`, Linux 6.18).
        discipline != 0 && read_kernel(discipline, ENQUEUE_OFFSET.load()) != 0
    }

    #[inline(always)]
    fn is_done(&self) -> bool {
        let skb = self.skb();
        let start = unknown(skb.data_meta as usize);
        start + DONE_BYTES <= skb.data as usize && load_4(start) == u64::from(DONE ^ skb.ifindex)
    }

    #[inline(always)]
    fn was_redirected(&self) -> bool {
        self.is_marked(REDIRECTED)
    }

    #[inline(always)]
    fn forward_routed(&self, way: Way, replay: &Replay) -> bool {
        if !self.rewrite(replay) || !self.forward(way, replay.to) {
            return false;
        }
        if matches!(way, Way::Redirect) {
            self.mark(ROUTED, replay.to);
        }
        true
    }

    #[inline(always)]
    fn was_routed(&self) -> bool {
        self.is_marked(ROUTED)
    }

    /// In the field by which queueing disciplines and their filters tell each other a
    /// class: 0 for none, and what they put there is theirs. It stays with the packet for
    /// as long as that is in the stack.
    #[inline(always)]
    fn note_port(&self, port: u16) {
        // SAFETY: as in `skb`; nobody else has a reference to the context.
        unsafe { (*self.skb).tc_index = u32::from(port) + 1 };
    }

    #[inline(always)]
    fn take_noted_port(&self) -> Option<u16> {
        let noted = self.skb().tc_index;
        if noted == 0 {
            return None;
        }
        // SAFETY: as in `skb`; nobody else has a reference to the context.
        unsafe { (*self.skb).tc_index = 0 };
        u16::try_from(noted - 1).ok()
    }
}

impl Change for TcPacket {
    #[inline(always)]
    fn cut(&self, length: u32) -> bool {
        // SAFETY: the context is valid until the program returns.
        unsafe { bpf_skb_change_tail(self.skb, length, 0) == 0 }
    }

    #[inline(always)]
    fn grow(&self, bytes: u32) -> bool {
        // SAFETY: likewise.
        unsafe { bpf_skb_change_head(self.skb, bytes, 0) == 0 }
    }

    #[inline(always)]
    fn write<const N: usize>(&self, offset: u16, bytes: &[u8; N]) -> bool {
        self.store(offset, bytes)
    }
}

impl Judged for TcPacket {
    #[inline(always)]
    fn prepare(&self, port: u16, domain: u16) -> bool {
        prepare_tc(self.skb, port, domain) != 0
    }

    #[inline(always)]
    fn answer(&self, port: u16, back: Back, to: u16) -> Option<Answered> {
        let mut bytes = 0;
        if find_answer_tc(self.skb) != 0 {
            complete_answer();
            bytes = answer_tc(self.skb);
        }
        reject::count(bytes);
        if bytes == 0 {
            return None;
        }
        self.mark(ANSWER, to);
        let secret = ANSWER_SECRET.load();
        #[expect(clippy::cast_possible_truncation, reason = "half of it each")]
        let halves = (secret as u32, (secret >> 32) as u32);
        // SAFETY: as in `skb`; nobody else has a reference to the context.
        let skb = unsafe { &mut *self.skb };
        (skb.cb[2], skb.cb[3]) = halves;
        let flags = if matches!(back, Back::Ingress) { BPF_F_INGRESS } else { 0 };
        // SAFETY: it takes numbers only.
        unsafe { bpf_redirect(PORT_BASE.load() + u32::from(port), flags.into()) };
        Some(Answered::ByHook)
    }

    #[inline(always)]
    fn is_answer(&self) -> bool {
        if !self.is_marked(ANSWER) {
            return false;
        }
        let skb = self.skb();
        let [low, high] = [skb.cb[2], skb.cb[3]].map(u64::from);
        let is_ours = low | high << 32 == ANSWER_SECRET.load();
        if is_ours {
            // Nobody in a namespace is to see it.
            // SAFETY: as in `skb`; nobody else has a reference to the context.
            let skb = unsafe { &mut *self.skb };
            (skb.cb[2], skb.cb[3]) = (0, 0);
        }
        is_ours
    }
}
