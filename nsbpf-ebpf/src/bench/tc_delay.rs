//! A delay that is known: what the benchmark tests itself with.

use aya_ebpf::Global;
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;

/// Nanoseconds that every packet is kept; the loader sets it.
#[unsafe(no_mangle)]
static DELAY_NS: Global<u32> = Global::new(0);

/// Looks at the clock at most: each takes some tens of nanoseconds.
const LOOKS: u32 = 1 << 10;
/// `TCX_NEXT`, and `TC_ACT_UNSPEC`: the next program has its say.
const NEXT: i32 = -1;

/// Keeps a packet back by doing nothing, as a program does that takes so long.
#[classifier]
pub fn tc_delay(_: TcContext) -> i32 {
    let delay_ns = u64::from(DELAY_NS.load());
    // SAFETY: it takes nothing.
    let start = unsafe { bpf_ktime_get_ns() };
    for _ in 0..LOOKS {
        // SAFETY: it takes nothing.
        let now = unsafe { bpf_ktime_get_ns() };
        if now - start >= delay_ns {
            break;
        }
    }
    NEXT
}
