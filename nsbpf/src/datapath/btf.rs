//! Where fields of the kernel's structures are, as the kernel itself tells (BTF). The
//! compiler that makes the kernel half writes no relocations for them.

use std::fs;

/// The types of the running kernel.
const KERNEL: &str = "/sys/kernel/btf/vmlinux";
const MAGIC: u16 = 0xeb9f;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
/// Bytes of a type without what its kind has besides (`struct btf_type`).
const TYPE_BYTES: usize = 12;
/// Structures in structures that are followed.
const MAX_DEPTH: usize = 8;

/// Types, parsed as far as it takes to find fields.
pub(super) struct Btf {
    types: Vec<u8>,
    strings: Vec<u8>,
    /// Where each type is, by its number.
    places: Vec<usize>,
}

impl Btf {
    /// Those of the running kernel; `None` where it does not tell.
    pub(super) fn of_kernel() -> Option<Self> {
        Self::parse(&fs::read(KERNEL).ok()?)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let magic = u16::from_ne_bytes(*bytes.first_chunk()?);
        let header = word(bytes, 4)?;
        let section = |offset: usize| {
            let start = header.checked_add(word(bytes, offset)?)?;
            bytes.get(start..start.checked_add(word(bytes, offset + 4)?)?)
        };
        let (types, strings) = (section(8)?.to_vec(), section(16)?.to_vec());
        if magic != MAGIC {
            return None;
        }
        // Number 0 is no type.
        let mut places = vec![usize::MAX];
        let mut place = 0;
        while place < types.len() {
            places.push(place);
            place = place.checked_add(TYPE_BYTES + more(info(&types, place)?)?)?;
        }
        Some(Self { types, strings, places })
    }

    /// Bytes from a structure's start to its field, be that in a structure or union
    /// without a name inside; `None` where there is no such field.
    pub(super) fn offset(&self, structure: &str, field: &str) -> Option<u32> {
        let is_it = |place: &&usize| {
            info(&self.types, **place).is_some_and(|info| kind(info) == STRUCT)
                && self.name(**place) == Some(structure.as_bytes())
        };
        let place = self.places.iter().skip(1).find(is_it)?;
        self.within(*place, field.as_bytes(), MAX_DEPTH)
    }

    fn within(&self, place: usize, field: &[u8], depth: usize) -> Option<u32> {
        let info = info(&self.types, place)?;
        if depth == 0 || !matches!(kind(info), STRUCT | UNION) {
            return None;
        }
        let members = (0..info & 0xffff).map(|number| place + TYPE_BYTES + number as usize * 12);
        for member in members {
            let bits = word(&self.types, member + 8)?;
            // With the flag the upper byte is the width of a bit field.
            let bits = if info >> 31 == 1 { bits & 0x00ff_ffff } else { bits };
            let offset = u32::try_from(bits / 8).ok()?;
            let name = self.name(member)?;
            if name == field {
                return Some(offset);
            }
            if name.is_empty() {
                let inner = *self.places.get(word(&self.types, member + 4)?)?;
                if let Some(inner) = self.within(inner, field, depth - 1) {
                    return Some(offset + inner);
                }
            }
        }
        None
    }

    fn name(&self, place: usize) -> Option<&[u8]> {
        self.strings.get(word(&self.types, place)?..)?.split(|byte| *byte == 0).next()
    }
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    usize::try_from(u32::from_ne_bytes(*bytes)).ok()
}

fn info(types: &[u8], place: usize) -> Option<u32> {
    word(types, place.checked_add(4)?).and_then(|info| u32::try_from(info).ok())
}

fn kind(info: u32) -> u32 {
    (info >> 24) & 0x1f
}

/// Bytes that a type has besides, by its kind (`include/uapi/linux/btf.h`).
fn more(info: u32) -> Option<usize> {
    let members = (info & 0xffff) as usize;
    Some(match kind(info) {
        1 | 14 | 17 => 4,
        3 => 12,
        STRUCT | UNION | 15 | 19 => members * 12,
        6 | 13 => members * 8,
        2 | 7..=12 | 16 | 18 => 0,
        // A kind of later kernels.
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_running_kernel_are_found() {
        let Some(btf) = Btf::of_kernel() else { return };
        // In a union in a structure in a union without names.
        assert_eq!(btf.offset("sk_buff", "dev"), Some(16));
        assert_eq!(btf.offset("sk_buff", "next"), Some(0));
        assert!(btf.offset("net_device", "qdisc").is_some_and(|offset| offset > 0));
        assert_eq!(btf.offset("sk_buff", "no such field"), None);
        assert_eq!(btf.offset("no such structure", "dev"), None);
    }

    #[test]
    fn what_is_no_btf_is_refused() {
        assert!(Btf::parse(&[]).is_none());
        assert!(
            Btf::parse(&[0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255]).is_none()
        );
        assert!(Btf::parse(&[0; 64]).is_none());
    }
}
