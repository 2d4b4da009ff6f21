//! What a packet weighs on a wire: a GSO packet as the segments it becomes.

use crate::abi::abi;
use crate::packet::{Packet, Segmentation, VLAN_BYTES};
use crate::stats::{Cell, Size};

/// Frames that a packet becomes, and their bytes.
///
/// All segments of a GSO packet but the last are as long as each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Weight {
    /// Frames, 1 or more, and the bytes of all of them.
    pub cell: Cell,
    /// Number of the [`Size`] of each frame but the last.
    pub frame_size: u32,
    /// Number of the size of the last frame.
    pub last_size: u32,
}

abi!(Weight, size = 24, align = 8);

impl Weight {
    /// The weight of a frame of so many bytes.
    #[inline(always)]
    #[must_use]
    pub const fn of_frame(bytes: u32) -> Self {
        let size = Size::of(bytes);
        Self { cell: Cell { packets: 1, bytes: bytes as u64 }, frame_size: size, last_size: size }
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
        let others = packets - 1;
        let frame_bytes = headers + payload_bytes;
        let last_bytes = headers + payload.saturating_sub(others.wrapping_mul(payload_bytes));
        let bytes = u64::from(others) * u64::from(frame_bytes) + u64::from(last_bytes);
        Self {
            cell: Cell { packets: packets.into(), bytes },
            frame_size: Size::of(frame_bytes),
            last_size: Size::of(last_bytes),
        }
    }
}

/// Bytes of the VLAN tag that the kernel keeps beside the frame.
#[inline(always)]
pub(crate) fn tag_beside<P: Packet + ?Sized>(packet: &P) -> u32 {
    if packet.vlan_beside_frame().is_some() { VLAN_BYTES.into() } else { 0 }
}
