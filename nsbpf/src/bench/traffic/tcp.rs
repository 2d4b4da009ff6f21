//! TCP connections over a path.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::bench::ip::Ip;
use crate::bench::testbed::Testbed;
use crate::bench::{BenchError, io_error};

/// How long anything may take: a path that loses all must not be waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Connects the sender to the receiver, which has the second of the two. Neither waits
/// for more to send.
pub(super) fn connect(testbed: &Testbed, ip: Ip) -> Result<(TcpStream, TcpStream), BenchError> {
    let connect = || {
        let (listener, address) = listen(testbed, ip)?;
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

/// A socket of the receiver's that the sender can connect to, and its address.
pub(super) fn listen(testbed: &Testbed, ip: Ip) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = testbed.receiver.netns.run(|| TcpListener::bind((ip.any(), 0)))??;
    let port = listener.local_addr()?.port();
    Ok((listener, SocketAddr::from((testbed.mode.wiring.receiver_by(ip), port))))
}

/// What went wrong with a connection.
pub(super) fn failed(testbed: &Testbed) -> impl FnOnce(io::Error) -> BenchError {
    io_error(format!("talk TCP in mode {}", testbed.mode.name))
}
