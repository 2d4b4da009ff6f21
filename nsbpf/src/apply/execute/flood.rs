//! When bridges begin to flood multicast to new ports.

use std::time::{Duration, Instant};

use super::Executor;
use super::requests::Requests;
use crate::apply::ApplyError;
use crate::datapath::StatsReader;
use crate::net::link;
use crate::plan::Step;
use crate::state::{Device, Object};

/// Ports that come up together from which on their multicast is waited for: the
/// square of their number is what the bridge would copy.
const MANY_PORTS: usize = 100;
/// Time without a packet that counts as quiet: several times what passes between
/// two reports of an interface (`net/netns.rs` sets 10 ms).
const QUIET: Duration = Duration::from_millis(50);
/// How long quiet is waited for at most.
const QUIET_PATIENCE: Duration = Duration::from_secs(1);

impl Executor<'_> {
    pub(super) fn flood(&mut self, steps: &[Step]) -> Result<(), ApplyError> {
        let mut requests = Requests::default();
        let mut ports = Vec::new();
        for step in steps {
            let (Step::Add(Object::Flood(flood)) | Step::Change { to: Object::Flood(flood), .. }) =
                step
            else {
                continue;
            };
            let Device { link: _, place, number } = &flood.device;
            let ifindex = self.slot(step)?.ifindex(*number);
            requests.push(step, place, link::set_multicast_flood(ifindex, true));
            ports.push(*number);
        }
        if ports.len() >= MANY_PORTS {
            self.wait_until_quiet(&ports);
        }
        requests.send(&mut self.sockets)
    }

    /// Waits until the interfaces that just came up have told their multicast
    /// groups: until their counters stand still, and not for long.
    fn wait_until_quiet(&self, ports: &[u16]) {
        let Ok(reader) = StatsReader::open(self.store) else { return };
        let sent = || -> u64 {
            let stats = ports.iter().filter_map(|port| reader.read(*port).ok());
            stats.map(|stats| stats.tx.total().packets).sum()
        };
        let deadline = Instant::now() + QUIET_PATIENCE;
        let mut before = sent();
        while Instant::now() < deadline {
            std::thread::sleep(QUIET);
            let now = sent();
            if now == before {
                return;
            }
            before = now;
        }
    }
}
