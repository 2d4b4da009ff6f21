//! How the stages see a packet: [`Packet`] for the tc and the XDP context.

use core::arch::asm;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::bindings::{__sk_buff, BPF_F_INGRESS, xdp_md};
use aya_ebpf::helpers::{
    bpf_probe_read_kernel, bpf_redirect, bpf_redirect_peer, bpf_skb_change_head,
    bpf_skb_change_tail, bpf_skb_change_type, bpf_skb_load_bytes, bpf_skb_store_bytes,
    bpf_xdp_adjust_head, bpf_xdp_adjust_meta, bpf_xdp_adjust_tail,
};
use aya_ebpf::programs::{TcContext, XdpContext};
use nsbpf_common::packet::{Packet, Segmentation, ethertype};
use nsbpf_common::route::{HOPS_V4, HOPS_V6};
use nsbpf_common::stats::Way;
use nsbpf_common::verifier::unknown;

use crate::maps::{
    ANSWER_SECRET, DEV_OFFSET, DEVICES, ENQUEUE_OFFSET, FIRST_HOOK_OFFSET, HOOKS_V4_OFFSET,
    HOOKS_V6_OFFSET, NET_OFFSET, NFCT_OFFSET, PORT_BASE, PRIORITY_OFFSET, QDISC_OFFSET,
};
use crate::stage::pipeline::{Back, Forward};
use crate::stage::policy::prepare::{prepare_tc, prepare_xdp};
use crate::stage::policy::reject::{
    self, Change, answer_tc, answer_xdp, complete_answer, find_answer_tc, find_answer_xdp,
};
use crate::stage::route::{Hops, Replay};

/// Offsets past this are not looked at. The verifier wants a bound that a mask
/// proves; the longest chain of headers that the parser follows ends below it.
const OFFSET_MASK: usize = 0x7fff;

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

/// What XDP writes before a packet that it has done all about, but for the interface, and
/// how long that is. A packet keeps it on its way through other interfaces.
const DONE: u32 = 0x6e73_6264;
const DONE_BYTES: usize = 4;
const DONE_ROOM: i32 = 4;

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

    #[inline(always)]
    fn takes_back(&self) -> bool {
        let secret = ANSWER_SECRET.load();
        let skb = self.skb();
        let [low, high] = [skb.cb[2], skb.cb[3]].map(u64::from);
        let is = self.is_marked(ANSWER) && low | high << 32 == secret;
        if is {
            // Nobody in a namespace is to see it.
            // SAFETY: as in `skb`; nobody else has a reference to the context.
            let skb = unsafe { &mut *self.skb };
            (skb.cb[2], skb.cb[3]) = (0, 0);
        }
        is
    }

    #[inline(always)]
    fn prepare(&self, port: u16, domain: u16) {
        prepare_tc(self.skb, port, domain);
    }

    #[inline(always)]
    fn answer(&self, port: u16, way: Back, to: u16) -> Option<u16> {
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
        let flags = if matches!(way, Back::Ingress) { BPF_F_INGRESS } else { 0 };
        // SAFETY: it takes numbers only.
        unsafe { bpf_redirect(PORT_BASE.load() + u32::from(port), flags.into()) };
        // It is counted where it goes by.
        Some(0)
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
    fn prepare(&self, port: u16, domain: u16) {
        prepare_xdp(self.frame, port, domain);
    }

    #[inline(always)]
    fn answer(&self, port: u16, _way: Back, _to: u16) -> Option<u16> {
        // By a redirect: after XDP_TX the other end is woken only where it has a program of
        // XDP itself (`veth_xdp_flush`, Linux 6.18).
        let is_taken = DEVICES.redirect(port.into(), XDP_DROP.into()).is_ok();
        let mut bytes = 0;
        if is_taken && find_answer_xdp(self.frame) != 0 {
            complete_answer();
            bytes = answer_xdp(self.frame);
        }
        reject::count(bytes);
        u16::try_from(bytes).ok().filter(|bytes| *bytes != 0)
    }

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

/// Whether among hooks are others than that of `br_netfilter`, which is there as soon as a
/// namespace has a bridge, and decides nothing (`ip_sabotage_in`, Linux 6.18): before all
/// others, and in no table.
#[inline(always)]
fn is_more_than_the_bridge(hooks: usize) -> bool {
    /// A function, and what it is called with.
    const HOOK_BYTES: u32 = 16;
    const FIRST: usize = 1 << 31;
    let [first, priority] = [FIRST_HOOK_OFFSET.load(), PRIORITY_OFFSET.load()];
    if hooks == 0 {
        return false;
    }
    let is_one = first != 0 && priority != 0 && read_kernel(hooks, 0) & 0xffff == 1;
    if !is_one || read_kernel(hooks, first + 8) != 0 {
        return true;
    }
    // Behind them is where each is told of.
    let about = read_kernel(hooks, first + HOOK_BYTES);
    read_kernel(about, priority) & 0xffff_ffff != FIRST
}

/// Reads a word of the kernel's; 0 if there is none.
#[inline(always)]
fn read_kernel(address: usize, offset: u32) -> usize {
    let address = address.wrapping_add(offset as usize) as *const usize;
    // SAFETY: the helper takes any address, and says when there is nothing.
    unsafe { bpf_probe_read_kernel(address) }.unwrap_or(0)
}

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
