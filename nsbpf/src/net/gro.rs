//! Generic receive offload of an interface, for who knows it by its name.

use std::io;

use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::offload::Ethtool;
use crate::state::Feature;

/// Turns it on for an interface of the calling thread's network namespace.
pub fn turn_on(interface: &str) -> io::Result<()> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
    let ifindex = name_to_index(socket, interface)?;
    Ethtool::open()
        .and_then(|mut ethtool| ethtool.set(ifindex, &[(Feature::Gro, true)].into()))
        .map_err(io::Error::other)
}
