//! What a packet weighs on a wire: a GSO packet as the segments it becomes.

use crate::abi::abi;
use crate::packet::{Packet, Segmentation, VLAN_BYTES};
use crate::stats::Cell;

/// Frames that a packet becomes, and their bytes.
///
/// All segments of a GSO packet but the last are as long as each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Weight {
    /// Frames, 1 or more.
    pub packets: u32,
    /// Bytes of each frame but the last.
    pub frame_bytes: u32,
    /// Bytes of the last frame.
    pub last_bytes: u32,
}

abi!(Weight, size = 12, align = 4);

impl Weight {
    /// The weight of a frame of so many bytes.
    #[inline(always)]
    #[must_use]
    pub const fn of_frame(bytes: u32) -> Self {
        Self { packets: 1, frame_bytes: bytes, last_bytes: bytes }
    }

    /// The weight of a packet that is one frame.
    #[inline(always)]
    #[must_use]
    pub fn of_one<P: Packet + ?Sized>(packet: &P) -> Self {
        Self::of_frame(packet.frame_bytes() + tag_beside(packet))
    }

    /// The weight of a GSO packet, of which so many bytes are headers in the frame
    /// that each segment gets.
    #[inline(always)]
    #[must_use]
    pub fn of_segments<P: Packet + ?Sized>(
        packet: &P,
        headers: u32,
        segmentation: Segmentation,
    ) -> Self {
        let Segmentation { payload_bytes, segments } = segmentation;
        let payload = packet.frame_bytes().saturating_sub(headers);
        let headers = headers + tag_beside(packet);
        let packets = match segments {
            0 => payload.div_ceil(payload_bytes).max(1),
            segments => segments,
        };
        // The sizes are not told, the sum is.
        let payload_bytes = match payload_bytes {
            Segmentation::BY_FRAGS => payload / packets,
            payload_bytes => payload_bytes,
        };
        let before_last = (packets - 1).wrapping_mul(payload_bytes);
        Self {
            packets,
            frame_bytes: headers + payload_bytes,
            last_bytes: headers + payload.saturating_sub(before_last),
        }
    }

    /// Packets and bytes, all together.
    #[inline(always)]
    #[must_use]
    pub fn cell(self) -> Cell {
        let before_last = u64::from(self.packets - 1) * u64::from(self.frame_bytes);
        Cell { packets: self.packets.into(), bytes: before_last + u64::from(self.last_bytes) }
    }
}

/// Bytes of the VLAN tag that the kernel keeps beside the frame.
#[inline(always)]
fn tag_beside<P: Packet + ?Sized>(packet: &P) -> u32 {
    if packet.vlan_beside_frame().is_some() { VLAN_BYTES.into() } else { 0 }
}
