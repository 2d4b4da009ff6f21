//! TCP over a path: the labs that are up for it, as [`apply`](crate::apply) leaves
//! them, and connections.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::mode::{MODES, Mode};
use super::testbed::Testbed;
use super::{BenchError, Options, io_error};

/// How long anything may take: a path that loses all must not be waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The labs of all paths that TCP is measured on, up.
pub(super) fn testbeds(options: &Options) -> Result<Vec<Testbed>, BenchError> {
    let is_wanted = |mode: &&Mode| options.modes.iter().any(|name| name == mode.name);
    let modes = MODES.iter().filter(is_wanted).filter(|mode| mode.tcp.is_some());
    modes.enumerate().map(|(number, mode)| Testbed::new(mode, number)).collect()
}

/// Connects the sender to the receiver, which has the second of the two. Neither waits
/// for more to send.
pub(super) fn connect(testbed: &Testbed) -> Result<(TcpStream, TcpStream), BenchError> {
    let connect = || {
        let listener =
            testbed.receiver.netns.run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)))??;
        let port = listener.local_addr()?.port();
        let address = SocketAddr::from((testbed.mode.wiring.receiver(), port));
        let near =
            testbed.sender.netns.run(|| TcpStream::connect_timeout(&address, PATIENCE))??;
        let (far, _) = listener.accept()?;
        for stream in [&near, &far] {
            stream.set_nodelay(true)?;
            stream.set_write_timeout(Some(PATIENCE))?;
        }
        near.set_read_timeout(Some(PATIENCE))?;
        Ok((near, far))
    };
    connect().map_err(failed(testbed))
}

/// What went wrong with a connection.
pub(super) fn failed(testbed: &Testbed) -> impl FnOnce(io::Error) -> BenchError {
    io_error(format!("talk TCP in mode {}", testbed.mode.name))
}
