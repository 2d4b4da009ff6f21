//! The generator: run on live frames (`BPF_F_TEST_XDP_LIVE_FRAMES`, Linux 5.18), it
//! sends each out by an interface, as if the interface's namespace had sent it.

use aya_ebpf::Global;
use aya_ebpf::bindings::xdp_action::XDP_ABORTED;
use aya_ebpf::helpers::{bpf_get_prandom_u32, bpf_redirect};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use nsbpf_common::generator::{self, UDP_BYTES};

/// The interface that frames are sent out by, in the namespace of whoever runs the
/// program (`__xdp_do_redirect_frame`, Linux 6.18); the loader sets it.
#[unsafe(no_mangle)]
static GENERATOR_IFINDEX: Global<u32> = Global::new(0);

/// How many flows the frames are of; the loader sets it.
#[unsafe(no_mangle)]
static GENERATOR_FLOWS: Global<u32> = Global::new(1);

/// Where the UDP header is; the loader sets it.
#[unsafe(no_mangle)]
static GENERATOR_UDP: Global<u32> = Global::new(0);

/// Chooses a flow, and sends the frame.
#[xdp]
pub fn xdp_generator(context: XdpContext) -> u32 {
    let flows = GENERATOR_FLOWS.load();
    if flows > 1 && choose(&context, flows).is_none() {
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
