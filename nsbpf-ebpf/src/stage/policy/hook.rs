//! Hook: what a policy needs of the hook that a packet is at.

/// Where an answer goes back, at the device behind a port.
#[derive(Clone, Copy)]
pub enum Back {
    /// To where the packet came from: out of the device.
    Egress,
    /// The other way: the packet was about to leave by the device.
    Ingress,
}

/// What became of an answer.
#[derive(Clone, Copy)]
pub enum Answered {
    /// It goes by another hook of ours, which counts it.
    ByHook,
    /// It has so many bytes, and goes by no hook.
    Bytes(u16),
}

/// A packet that can be judged, and answered.
pub trait Judged {
    /// Puts what the packet is judged by, which came in by a port, where all functions find
    /// it; says whether it hides some of that.
    fn prepare(&self, port: u16, domain: u16) -> bool;

    /// Tells who sent the packet that it ended, at the device of a port: the packet becomes
    /// that, and goes back. `to` is the port whose device's hook it passes.
    fn answer(&self, port: u16, back: Back, to: u16) -> Option<Answered>;

    /// Whether a packet is such an answer on its way back. That is known of it no more
    /// afterwards.
    fn is_answer(&self) -> bool {
        false
    }
}
