//! Names that the kernel and the file system can hold.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// Bytes of an interface name at most (`IFNAMSIZ` less the final zero).
pub(super) const MAX_INTERFACE_BYTES: usize = 15;
/// Bytes of any other name at most. An alias holds three of them in 255 bytes
/// (`IFALIASZ`).
pub(super) const MAX_BYTES: usize = 63;

/// Why a name cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("a name cannot be empty")]
    Empty,
    /// Means something else to the kernel.
    #[error("the kernel uses this name itself")]
    Reserved,
    /// More bytes than fit.
    #[error("at most {0} bytes fit")]
    TooLong(usize),
    /// A character outside the portable set.
    #[error("{0:?} cannot be in a name: use letters, digits, `-`, `_` and `.`")]
    Character(char),
    /// Starts like an option or a hidden file.
    #[error("a name starts with a letter, a digit or `_`")]
    Start,
}

/// The loopback interface, and what stands for others under `/proc/sys/net`.
pub(super) const RESERVED_INTERFACES: &[&str] = &["lo", "all", "default"];

fn check(name: &str, max_bytes: usize, reserved: &[&str]) -> Result<(), NameError> {
    if reserved.contains(&name) {
        return Err(NameError::Reserved);
    }
    let first = name.chars().next().ok_or(NameError::Empty)?;
    if let Some(character) = name
        .chars()
        .find(|character| !character.is_ascii_alphanumeric() && !"-_.".contains(*character))
    {
        return Err(NameError::Character(character));
    }
    if !first.is_ascii_alphanumeric() && first != '_' {
        return Err(NameError::Start);
    }
    if name.len() > max_bytes {
        return Err(NameError::TooLong(max_bytes));
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $max:expr, $reserved:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks a name.
            pub fn new(name: &str) -> Result<Self, NameError> {
                check(name, $max, $reserved).map(|()| Self(name.into()))
            }

            /// The name as a string.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(&self.0)
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// The name of a lab or a namespace: a file name that needs no quoting, at
    /// most 63 bytes.
    Name,
    MAX_BYTES,
    &[]
);

name!(
    /// The name of an interface or a bridge: as [`Name`], at most 15 bytes.
    InterfaceName,
    MAX_INTERFACE_BYTES,
    RESERVED_INTERFACES
);

name!(
    /// The name of a rule of a policy: as [`Name`].
    RuleName,
    MAX_BYTES,
    &[]
);

impl Serialize for RuleName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl InterfaceName {
    /// The name of the end of an interface that is a port of a bridge: `namespace-interface`, or,
    /// where that is too long, as much of it as fits and a hash of the whole.
    /// The full name is in the link's alias.
    #[must_use]
    pub fn of_port(namespace: &Name, interface: &Self) -> Self {
        const HASH_DIGITS: usize = 6;
        let full = format!("{namespace}-{interface}");
        if full.len() <= MAX_INTERFACE_BYTES {
            return Self(full.into());
        }
        let prefix = &full[..MAX_INTERFACE_BYTES - HASH_DIGITS - 1];
        let mut hash = fnv1a(full.as_bytes());
        let digits: String = (0..HASH_DIGITS)
            .map(|_| {
                let digit = (hash % 36) as u32;
                hash /= 36;
                char::from_digit(digit, 36).unwrap_or('0')
            })
            .collect();
        Self(format!("{prefix}-{digits}").into())
    }
}

impl Name {
    /// A number that follows from the name alone.
    #[must_use]
    pub fn hash(&self) -> u64 {
        fnv1a(self.0.as_bytes())
    }
}

/// The 64-bit FNV-1a hash: names derived from it must not change from one
/// release to the next, which the standard library's hasher does not promise.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_a_name() {
        for name in ["a", "vnet0", "web-1", "_x", "a.b", "0"] {
            assert!(Name::new(name).is_ok(), "{name}");
        }
        for (name, error) in [
            ("", NameError::Empty),
            ("a/b", NameError::Character('/')),
            ("a b", NameError::Character(' ')),
            ("br%d", NameError::Character('%')),
            ("é", NameError::Character('é')),
            ("..", NameError::Start),
            ("-rf", NameError::Start),
        ] {
            assert_eq!(Name::new(name), Err(error), "{name}");
        }
        for name in ["lo", "all", "default"] {
            assert_eq!(InterfaceName::new(name), Err(NameError::Reserved));
        }
        assert!(InterfaceName::new("123456789012345").is_ok());
        assert_eq!(InterfaceName::new("1234567890123456"), Err(NameError::TooLong(15)));
    }

    #[test]
    fn host_ends_fit_and_differ() {
        let eth0 = InterfaceName::new("eth0").unwrap();
        let host_end = |name: &str| InterfaceName::of_port(&Name::new(name).unwrap(), &eth0);
        assert_eq!(host_end("vnet0").as_str(), "vnet0-eth0");
        let long = [host_end("a-long-name-1"), host_end("a-long-name-2")];
        for name in &long {
            assert!(name.as_str().starts_with("a-long-n-"), "{name}");
            assert!(InterfaceName::new(name.as_str()).is_ok(), "{name}");
        }
        assert_ne!(long[0], long[1]);
        // Pinned: a lab that is up must be found again by the next release.
        assert_eq!(long[0].as_str(), "a-long-n-pj4o4h");
    }
}
