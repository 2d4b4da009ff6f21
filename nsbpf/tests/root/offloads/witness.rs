//! What `ethtool -k` would show, by the requests that it made before there was netlink.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;

use rustix::net::{AddressFamily, SocketType, socket};
use serde_json::{Value, json};

use crate::world::{ip_json, netns};

/// `include/uapi/linux/sockios.h` and `include/uapi/linux/ethtool.h`, from here on.
const SIOCETHTOOL: libc::Ioctl = 0x8946;
const SET_TX_CHECKSUM: u32 = 0x17;
const GET_STRINGS: u32 = 0x1b;
const SET_TSO: u32 = 0x1f;
const SET_GRO: u32 = 0x2c;
const GET_FEATURES: u32 = 0x3a;
const FEATURE_NAMES: u32 = 4;
const NAME_BYTES: usize = 32;
/// More features than kernels have.
const ROOM: usize = 128;

/// A feature of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Feature {
    pub(crate) changeable: bool,
    pub(crate) wanted: bool,
    pub(crate) active: bool,
}

pub(crate) type Features = BTreeMap<String, Feature>;

/// Those of an interface in a namespace.
#[track_caller]
pub(crate) fn features(namespace: &str, interface: &str) -> Features {
    netns(namespace).run(|| features_here(interface)).expect("enter a namespace")
}

/// Those of an interface in the calling thread's namespace.
pub(crate) fn features_here(interface: &str) -> Features {
    // `struct ethtool_gstrings`: command, set, length, names.
    let mut strings = vec![0_u32; 3 + ROOM * NAME_BYTES / 4];
    strings[..2].copy_from_slice(&[GET_STRINGS, FEATURE_NAMES]);
    request(interface, &mut strings);
    let count = strings[2] as usize;
    assert!(count <= ROOM, "{count} features");
    let bytes: Vec<u8> = strings[3..].iter().flat_map(|word| word.to_ne_bytes()).collect();
    // `struct ethtool_gfeatures`: command, size, then of each 32 features which can be
    // changed, are wanted, are active, and never change.
    let mut blocks = vec![0_u32; 2 + ROOM / 32 * 4];
    blocks[..2].copy_from_slice(&[GET_FEATURES, (ROOM / 32) as u32]);
    request(interface, &mut blocks);
    let names = bytes.chunks(NAME_BYTES).take(count).enumerate();
    names
        .filter(|(_, name)| name[0] != 0)
        .map(|(place, name)| {
            let end = name.iter().position(|byte| *byte == 0).unwrap_or(NAME_BYTES);
            let is = |which: usize| blocks[2 + place / 32 * 4 + which] >> (place % 32) & 1 == 1;
            let feature = Feature { changeable: is(0), wanted: is(1), active: is(2) };
            (String::from_utf8_lossy(&name[..end]).into_owned(), feature)
        })
        .collect()
}

/// Those of all interfaces in a namespace, to be compared.
pub(crate) fn of_all(namespace: &str) -> Value {
    let links = ip_json(&["-netns", namespace, "link", "show"]);
    let names = links.as_array().into_iter().flatten().filter_map(|link| link["ifname"].as_str());
    names
        .map(|name| {
            let features = features(namespace, name);
            let on = features.iter().filter(|(_, one)| one.active).map(|(name, _)| name);
            let wanted = features.iter().filter(|(_, one)| one.wanted).map(|(name, _)| name);
            json!([name, on.collect::<Vec<_>>(), wanted.collect::<Vec<_>>()])
        })
        .collect()
}

/// What could be set before features had names.
#[derive(Clone, Copy)]
pub(crate) enum Legacy {
    TxChecksum = SET_TX_CHECKSUM as isize,
    Tso = SET_TSO as isize,
    Gro = SET_GRO as isize,
}

/// Sets a feature, as somebody else would.
#[track_caller]
pub(crate) fn set(namespace: &str, interface: &str, feature: Legacy, on: bool) {
    let set = || request(interface, &mut [feature as u32, u32::from(on)]);
    netns(namespace).run(set).expect("enter a namespace");
}

fn request(interface: &str, buffer: &mut [u32]) {
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None).expect("open a socket");
    // SAFETY: all zeroes are a value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, byte) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = libc::c_char::from_ne_bytes([byte]);
    }
    request.ifr_ifru.ifru_data = buffer.as_mut_ptr().cast();
    // SAFETY: the buffer has room for what the command answers with, as the callers see
    // to, and outlives the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    assert_eq!(done, 0, "{interface}: {}", std::io::Error::last_os_error());
}
