//! When bridges begin to flood multicast to new ports.
//!
//! An interface that comes up tells its multicast groups, again and again. Told
//! by a thousand to each other that is millions of packets, so flooding begins
//! when all has been said. The kernel would draw that out for many seconds; it
//! has been made to do it by now (`ready.rs`).

use std::time::{Duration, Instant};

use super::ready::Devices;
use super::requests::Requests;
use super::{Executor, failed};
use crate::apply::ApplyError;
use crate::net::{link, traffic};
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
        for step in steps {
            let (Step::Add(Object::Flood(flood)) | Step::Change { to: Object::Flood(flood), .. }) =
                step
            else {
                continue;
            };
            let Device { link: _, place, number } = &flood.device;
            let ifindex = self.slot(step)?.ifindex(*number);
            requests.push(step, place, link::set_multicast_flood(ifindex, true));
        }
        let ports = self.devices(steps)?;
        self.settle(&ports)?;
        if steps.len() >= MANY_PORTS {
            self.wait_until_quiet(&ports)?;
        }
        requests.send(&mut self.sockets)
    }

    /// Waits until nothing comes in by the ports any more, and not for long.
    fn wait_until_quiet(&mut self, ports: &Devices<'_>) -> Result<(), ApplyError> {
        let deadline = Instant::now() + QUIET_PATIENCE;
        let mut before = self.received(ports)?;
        while Instant::now() < deadline {
            std::thread::sleep(QUIET);
            let now = self.received(ports)?;
            if now == before {
                return Ok(());
            }
            before = now;
        }
        Ok(())
    }

    /// Packets that came in by the ports so far.
    fn received(&mut self, ports: &Devices<'_>) -> Result<u64, ApplyError> {
        let mut sum = 0;
        for (place, (step, links)) in ports {
            let socket = self.sockets.get(step, place)?;
            sum += traffic::received(socket, links).map_err(|error| failed(step, error))?;
        }
        Ok(sum)
    }
}
