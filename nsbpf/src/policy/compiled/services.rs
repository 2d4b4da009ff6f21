//! Rules as people write them: hosts, networks and ports of a bridge to services.

use nsbpf_common::policy::value::TCP;
use nsbpf_common::policy::{Condition, field};

pub(crate) fn conditions(count: u32) -> impl Iterator<Item = Condition> {
    let rule = |number: u32| {
        let mut condition = Condition::ANY;
        let mut set = |field: u32, low: u64, high: u64| {
            condition.lows[field as usize] = low;
            condition.highs[field as usize] = high;
        };
        let mixed = u64::from(number.wrapping_mul(0x9e37_79b9));
        let network = 0x0a00_0000 | (mixed & 0x00ff_ff00);
        match number % 4 {
            0 => set(field::SOURCE, network, network | 0xff),
            1 => set(field::SOURCE, network | (mixed >> 24), network | (mixed >> 24)),
            2 => set(field::PORT, mixed % 1000, mixed % 1000),
            _ => {}
        }
        if !number.is_multiple_of(5) {
            let to = 0x0a00_0000 | ((mixed >> 8) & 0x00ff_ffff);
            set(field::DESTINATION, to, to);
        }
        set(field::PROTOCOL, TCP, TCP);
        let port = u64::from(number % 1024);
        set(field::DESTINATION_PORT, port, port + u64::from(number % 3) * 100);
        condition
    };
    (0..count).map(rule)
}
