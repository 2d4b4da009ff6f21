//! What the datapath decides on a packet.

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes the kernel's way.
    Pass,
    /// It went another way, and the kernel was told where.
    Forwarded,
    /// It ends here, and its sender is told.
    Answered,
    /// It ends here, and is counted under the reason.
    Drop(Reason),
}

/// Why a packet was dropped. Every drop has one, and a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// Its source MAC address is not the interface's.
    SpoofedMac,
    /// Its source IPv4 or IPv6 address is none of the interface's.
    SpoofedAddress,
    /// An ARP packet that tells of another's address.
    SpoofedArp,
    /// An IPv6 neighbour discovery packet that tells of another's address, or
    /// that a router is there.
    SpoofedNeighbour,
    /// The policy denies it.
    Denied,
    /// The policy rejects it.
    Rejected,
    /// There were more than the policy allows in a time.
    Limited,
    /// A fragment whose packet's first one was not seen, where the policy denies what it
    /// does not name.
    Headless,
}

impl Reason {
    /// Every reason, in the order of its number.
    pub const ALL: [Self; 8] = [
        Self::SpoofedMac,
        Self::SpoofedAddress,
        Self::SpoofedArp,
        Self::SpoofedNeighbour,
        Self::Denied,
        Self::Rejected,
        Self::Limited,
        Self::Headless,
    ];

    /// Reasons that the counters have room for, so that a new one does not change
    /// their layout.
    pub const ROOM: usize = 8;

    /// One word or two, as they are shown.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SpoofedMac => "spoofed-mac",
            Self::SpoofedAddress => "spoofed-address",
            Self::SpoofedArp => "spoofed-arp",
            Self::SpoofedNeighbour => "spoofed-neighbour",
            Self::Denied => "denied",
            Self::Rejected => "rejected",
            Self::Limited => "limited",
            Self::Headless => "headless-fragment",
        }
    }
}

const _: () = assert!(Reason::ALL.len() <= Reason::ROOM);
