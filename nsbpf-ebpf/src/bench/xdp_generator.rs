//! The generator: run on live frames (`BPF_F_TEST_XDP_LIVE_FRAMES`, Linux 5.18), it
//! sends each out by an interface, as if the interface's namespace had sent it.

use aya_ebpf::Global;
use aya_ebpf::bindings::xdp_action::XDP_ABORTED;
use aya_ebpf::helpers::{bpf_get_prandom_u32, bpf_redirect};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use nsbpf_common::generator::{self, ENDLESS, ENDLESS_ENDS, IPV4_BYTES, UDP_BYTES};

/// The interface that frames are sent out by, in the namespace of whoever runs the
/// program (`__xdp_do_redirect_frame`, Linux 6.18); the loader sets it.
#[unsafe(no_mangle)]
static GENERATOR_IFINDEX: Global<u32> = Global::new(0);

/// How many flows the frames are of, or that there is no end of them; the loader sets it.
#[unsafe(no_mangle)]
static GENERATOR_FLOWS: Global<u32> = Global::new(1);

/// Where the UDP header is; the loader sets it.
#[unsafe(no_mangle)]
static GENERATOR_UDP: Global<u32> = Global::new(0);

/// Chooses a flow, and sends the frame.
#[xdp]
pub fn xdp_generator(context: XdpContext) -> u32 {
    let chosen = match GENERATOR_FLOWS.load() {
        0 | 1 => Some(()),
        ENDLESS => begin(&context, false),
        ENDLESS_ENDS => begin(&context, true),
        flows => choose(&context, flows),
    };
    if chosen.is_none() {
        return XDP_ABORTED;
    }
    // SAFETY: it takes numbers only.
    let verdict = unsafe { bpf_redirect(GENERATOR_IFINDEX.load(), 0) };
    u32::try_from(verdict).unwrap_or(XDP_ABORTED)
}

/// The kernel gives the same memory to one frame after the other and does not put
/// it back to what it was, so that every frame needs its flow.
#[inline(always)]
fn choose(context: &XdpContext, flows: u32) -> Option<()> {
    let udp = context.data() + GENERATOR_UDP.load() as usize;
    if udp + UDP_BYTES > context.data_end() {
        return None;
    }
    // SAFETY: it takes nothing.
    let number = unsafe { bpf_get_prandom_u32() } % flows;
    // SAFETY: compared with the packet's end above, and bytes need no alignment.
    let udp = unsafe { &mut *(udp as *mut [u8; UDP_BYTES]) };
    generator::put_flow(udp, number);
    Some(())
}

/// A flow that was not there before. No headers are between that of IPv4 and that of UDP.
#[inline(always)]
fn begin(context: &XdpContext, is_elsewhere: bool) -> Option<()> {
    const TO_UDP: u32 = 20;
    let header = context.data() + GENERATOR_UDP.load().checked_sub(TO_UDP)? as usize;
    if header + IPV4_BYTES > context.data_end() {
        return None;
    }
    // SAFETY: it takes nothing.
    let number = unsafe { bpf_get_prandom_u32() };
    // SAFETY: likewise.
    let destination = is_elsewhere.then(|| unsafe { bpf_get_prandom_u32() });
    // SAFETY: compared with the packet's end above, and bytes need no alignment.
    let header = unsafe { &mut *(header as *mut [u8; IPV4_BYTES]) };
    generator::put_new_flow(header, number, destination);
    Some(())
}
