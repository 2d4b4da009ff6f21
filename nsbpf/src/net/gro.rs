//! Generic receive offload of an interface. A veth end that has it receives by
//! NAPI, without which frames that XDP sends to it are lost (`veth_xdp_xmit`, Linux
//! 6.18).

use std::io;
use std::os::fd::AsRawFd as _;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// Asks an interface's driver (`include/uapi/linux/sockios.h`).
const SIOCETHTOOL: libc::Ioctl = 0x8946;
/// Sets generic receive offload (`include/uapi/linux/ethtool.h`).
const ETHTOOL_SGRO: u32 = 0x2c;

/// `struct ethtool_value` (`include/uapi/linux/ethtool.h`).
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

/// Turns it on for an interface of the calling thread's network namespace.
pub fn turn_on(interface: &str) -> io::Result<()> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
    let mut value = EthtoolValue { command: ETHTOOL_SGRO, data: 1 };
    // SAFETY: all zeroes are a value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays 0.
    let room = request.ifr_name.len() - 1;
    if interface.len() > room {
        return Err(io::Error::from(io::ErrorKind::InvalidFilename));
    }
    for (to, byte) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = libc::c_char::from_ne_bytes([byte]);
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: the request is complete, and what it points to is what the command
    // takes; both live until the call returns.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
