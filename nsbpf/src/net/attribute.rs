//! Netlink attributes: a length and a kind of 16 bits each in the machine's order,
//! then a value. Numbers of nf_tables are in network order, those of generic netlink
//! in the machine's (*native*).

/// Bytes of an attribute's header (`struct nlattr`).
const HEADER_BYTES: usize = 4;
/// The value is attributes again (`NLA_F_NESTED`).
const NESTED: u16 = 0x8000;
/// What of the kind is no flag (`NLA_TYPE_MASK`).
const KIND: u16 = 0x3fff;

/// Attributes being written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes(Vec<u8>);

impl Attributes {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        // Everything that is written here is below a few KiB.
        let length = u16::try_from(HEADER_BYTES + value.len()).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    pub(super) fn number(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(super) fn native(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    pub(super) fn text(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes)
    }

    pub(super) fn nested(self, kind: u16, inner: &Self) -> Self {
        self.bytes(kind | NESTED, &inner.0)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The attributes in the kernel's answer: kind and value. What is cut off is
/// left out.
pub(super) fn read(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let [low, high, kind @ ..] = *bytes.first_chunk::<HEADER_BYTES>()?;
        let length = usize::from(u16::from_ne_bytes([low, high]));
        let value = bytes.get(HEADER_BYTES..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes(kind) & KIND, value))
    })
}

/// The value of the attribute of that kind.
pub(super) fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    read(bytes).find_map(|(found, value)| (found == kind).then_some(value))
}

pub(super) fn number(bytes: &[u8], kind: u16) -> Option<u32> {
    find(bytes, kind)?.try_into().ok().map(u32::from_be_bytes)
}

pub(super) fn native_u16(bytes: &[u8], kind: u16) -> Option<u16> {
    find(bytes, kind)?.try_into().ok().map(u16::from_ne_bytes)
}

pub(super) fn text(bytes: &[u8], kind: u16) -> Option<String> {
    find(bytes, kind).map(until_zero)
}

/// The text before the final zero.
pub(super) fn until_zero(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let inner = Attributes::new().number(1, 7);
        let outer = Attributes::new().text(3, "abc").nested(4, &inner).bytes(5, &[9]);
        // Each begins at a multiple of four, the padding is not counted.
        assert_eq!(outer.as_bytes().len(), 8 + 12 + 8);
        assert_eq!(text(outer.as_bytes(), 3).as_deref(), Some("abc"));
        assert_eq!(find(outer.as_bytes(), 4), Some(inner.as_bytes()));
        assert_eq!(number(inner.as_bytes(), 1), Some(7));
        assert_eq!(find(outer.as_bytes(), 5), Some(&[9][..]));
        assert_eq!(find(outer.as_bytes(), 6), None);
    }

    #[test]
    fn what_is_cut_off_is_left_out() {
        let whole = Attributes::new().number(1, 7).number(2, 8);
        for length in 0..whole.as_bytes().len() {
            let read: Vec<_> = read(&whole.as_bytes()[..length]).collect();
            assert_eq!(read.len(), length / 8, "{length} bytes");
        }
        // A length that would not move on.
        assert_eq!(read(&[0, 0, 1, 0]).count(), 0);
    }
}
