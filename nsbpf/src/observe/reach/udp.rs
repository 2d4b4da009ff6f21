//! A UDP datagram from a namespace, and its way back.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::ear::Ear;
use super::pace::Pace;
use super::{Probe, ROUTE_PATIENCE, Seen, token};
use crate::net::NetNs;
use crate::net::icmp::Token;

/// Time from one try to the next.
const INTERVAL: Duration = Duration::from_millis(200);

/// Sends a token, again and again, until it comes back or time is up.
pub(super) async fn probe(
    netns: &NetNs,
    probe: &Probe,
    port: u16,
    ear: Option<&Ear>,
    pace: &Pace,
) -> Seen {
    let ear = match ear {
        Some(ear @ Ear::Udp(_)) => ear,
        Some(Ear::Taken) => {
            return Seen::Unknown("somebody in the namespace uses this port".to_owned());
        }
        Some(Ear::None(error)) => {
            return Seen::Unknown(format!("nobody can listen there: {error}"));
        }
        Some(Ear::Tcp(_)) | None => return Seen::Unknown("nobody answers there".to_owned()),
    };
    pace.wait().await;
    exchange(netns, probe, port, ear)
        .await
        .unwrap_or_else(|error| Seen::Unknown(format!("a socket for UDP: {error}")))
}

async fn exchange(netns: &NetNs, probe: &Probe, port: u16, ear: &Ear) -> io::Result<Seen> {
    let target = SocketAddr::new(probe.trial.address, port);
    let socket = open(netns, target)?;
    let token = token()?;
    ear.expect(token);
    let start = Instant::now();
    let mut deadline = start + probe.patience;
    let (mut connected, mut said) = (false, None);
    while Instant::now() < deadline {
        let next = deadline.min(Instant::now() + INTERVAL);
        match say(&socket, target, &mut connected, &token).await {
            Ok(()) => {}
            // What a datagram before came to.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                said = Some(Seen::Refused);
            }
            Err(error) => {
                let not_sent = Seen::not_sent(&error);
                if not_sent == Seen::NoRoute {
                    deadline = deadline.min(start + ROUTE_PATIENCE);
                }
                said = Some(not_sent);
            }
        }
        match timeout_at(next, answer(&socket, &token)).await {
            Ok(Ok(())) => return Ok(Seen::Answer),
            Ok(Err(error)) => {
                said = Some(match error.kind() {
                    io::ErrorKind::ConnectionRefused => Seen::Refused,
                    _ => Seen::not_sent(&error),
                });
                sleep_until(next).await;
            }
            Err(_) => {}
        }
    }
    if ear.heard(&token) {
        return Ok(Seen::NoWayBack);
    }
    Ok(said.unwrap_or(Seen::Silence(probe.patience)))
}

fn open(netns: &NetNs, target: SocketAddr) -> io::Result<UdpSocket> {
    let any = match target {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = netns.run(|| std::net::UdpSocket::bind((any, 0)))??;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// Connected, so that the kernel takes answers from nobody else; that fails as
/// long as there is no route.
async fn say(
    socket: &UdpSocket,
    target: SocketAddr,
    connected: &mut bool,
    token: &Token,
) -> io::Result<()> {
    if !*connected {
        socket.connect(target).await?;
        *connected = true;
    }
    socket.send(token).await.map(drop)
}

async fn answer(socket: &UdpSocket, token: &Token) -> io::Result<()> {
    loop {
        // One byte more, so that a longer one is seen to be.
        let mut buffer = [0; size_of::<Token>() + 1];
        let length = socket.recv(&mut buffer).await?;
        if buffer[..length] == *token {
            return Ok(());
        }
    }
}
