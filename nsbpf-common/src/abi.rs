//! The binary contract between the two halves.

/// Raised whenever a map's key or value, a global, or the meaning of one
/// changes. aya does not compare the layout of a pinned map with the one it
/// expects, so the user half compares this number instead and rebuilds the
/// datapath when it differs.
pub const ABI_VERSION: u32 = 5;

/// Pins down the size and alignment of a type that lives in a map, and makes it
/// `aya::Pod` for the user half.
///
/// The type must be `#[repr(C)]` or `#[repr(transparent)]`, hold nothing but
/// fixed-width integers and arrays of them, and have no padding that is not
/// spelled out as a field: the size asserted here is what catches a slip.
macro_rules! abi {
    ($type:ty, size = $size:expr, align = $align:expr) => {
        const _: () = assert!(size_of::<$type>() == $size);
        const _: () = assert!(align_of::<$type>() == $align);

        #[cfg(feature = "user")]
        // SAFETY: by the contract of this macro the type is plain integers
        // without padding, so every bit pattern is a value of it.
        unsafe impl aya::Pod for $type {}
    };
}

pub(crate) use abi;
