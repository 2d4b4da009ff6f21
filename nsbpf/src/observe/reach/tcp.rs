//! A TCP connection from a namespace.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::ear::Ear;
use super::pace::Pace;
use super::{Probe, ROUTE_PATIENCE, Seen};
use crate::net::NetNs;
use crate::net::icmp::Token;

/// Time of one try. The kernel itself would try again after 1 and 3 s.
const TRY: Duration = Duration::from_millis(900);
/// Of a wish that is to fail: several tries in its short time.
const SHORT_TRY: Duration = Duration::from_millis(300);
/// Time from a try that failed at once to the next.
const PAUSE: Duration = Duration::from_millis(200);

/// Connects, again and again until it is clear what comes of it.
pub(super) async fn probe(
    netns: &NetNs,
    probe: &Probe,
    port: u16,
    ear: Option<&Ear>,
    pace: &Pace,
) -> Seen {
    if let Some(Ear::None(error)) = ear {
        return Seen::Unknown(format!("nobody can listen there: {error}"));
    }
    let target = SocketAddr::new(probe.trial.address, port);
    pace.wait().await;
    let start = Instant::now();
    let mut deadline = start + probe.patience;
    let once = if probe.patience > TRY * 2 { TRY } else { SHORT_TRY };
    let mut said = Seen::Silence(probe.patience);
    while Instant::now() < deadline {
        let end = deadline.min(Instant::now() + once);
        match timeout_at(end, connect(netns, target)).await {
            Ok(Ok(stream)) => match ear {
                Some(Ear::Tcp(token)) => return greeting(&stream, token, deadline).await,
                _ => return Seen::Answer,
            },
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                return if ear.is_some() { Seen::Refused } else { Seen::NobodyListens };
            }
            Ok(Err(error)) => {
                said = Seen::not_sent(&error);
                if said == Seen::NoRoute {
                    deadline = deadline.min(start + ROUTE_PATIENCE);
                }
                sleep(PAUSE).await;
            }
            // Too slow.
            Err(_) => {}
        }
    }
    said
}

async fn connect(netns: &NetNs, target: SocketAddr) -> io::Result<TcpStream> {
    let socket = netns
        .run(|| Socket::new(Domain::for_address(target), Type::STREAM, Some(Protocol::TCP)))??;
    socket.set_nonblocking(true)?;
    TcpSocket::from_std_stream(socket.into()).connect(target).await
}

/// Whether it is us who accepted.
async fn greeting(stream: &TcpStream, token: &Token, deadline: Instant) -> Seen {
    let mut heard: Vec<u8> = Vec::new();
    let hear = async {
        while heard.len() < token.len() {
            stream.readable().await?;
            let mut buffer = [0; size_of::<Token>()];
            match stream.try_read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => heard.extend(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        io::Result::Ok(())
    };
    // One who connects at the last moment gets a moment more.
    let left = deadline.saturating_duration_since(Instant::now()).max(SHORT_TRY);
    match timeout(left, hear).await {
        Ok(Ok(())) if heard == token => Seen::Answer,
        Err(_) if heard.is_empty() => Seen::NoWayBack,
        _ => Seen::Stranger,
    }
}
