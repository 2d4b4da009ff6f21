//! Hashing of a word, where a small table is enough and collisions cost little.

/// The place of a word among so many, by multiplication with the golden ratio
/// (Knuth, The Art of Computer Programming, 6.4).
#[inline(always)]
#[must_use]
pub(crate) const fn spread(word: u64, places: u32) -> u32 {
    let high = word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    ((high * places as u64) >> 32) as u32
}
