//! Who listens where a probe goes to: a server that is there, or we ourselves
//! for as long as the probe takes.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

use super::{Probe, token};
use crate::lab::{Name, Way};
use crate::net::NetNs;
use crate::net::icmp::Token;

/// Connections that wait to be accepted at most.
const BACKLOG: i32 = 256;
/// Connections that are held at most: only strangers make more.
const MAX_HELD: usize = 1024;

/// Who listens at an address and port.
pub(super) enum Ear {
    /// We do, and say this to who connects.
    Tcp(Token),
    /// We do, and send back what is meant for us.
    Udp(Arc<Mutex<Letters>>),
    /// Somebody of the lab does.
    Taken,
    /// Nobody: we cannot.
    None(io::Error),
}

/// Datagrams that are meant for us.
#[derive(Default)]
pub(super) struct Letters {
    awaited: HashSet<Token>,
    arrived: HashSet<Token>,
}

impl Ear {
    /// Waits for a datagram with that token.
    pub(super) fn expect(&self, token: Token) {
        if let Self::Udp(letters) = self {
            letters.lock().unwrap_or_else(PoisonError::into_inner).awaited.insert(token);
        }
    }

    /// Whether that datagram arrived.
    pub(super) fn heard(&self, token: &Token) -> bool {
        match self {
            Self::Udp(letters) => {
                letters.lock().unwrap_or_else(PoisonError::into_inner).arrived.contains(token)
            }
            _ => false,
        }
    }
}

/// Who listens where some probes go to.
pub(super) struct Ears {
    ears: BTreeMap<(Name, IpAddr, Way), Ear>,
    /// Ends with this.
    _listening: JoinSet<()>,
}

impl Ears {
    /// Listens wherever a probe goes to and nobody listens yet.
    pub(super) fn open(namespaces: &BTreeMap<Name, NetNs>, probes: &[Probe]) -> Self {
        let mut ears = BTreeMap::new();
        let mut listening = JoinSet::new();
        for probe in probes {
            let Some(to) = &probe.trial.to else { continue };
            let (Some(netns), address) = (namespaces.get(to), probe.trial.address) else {
                continue;
            };
            let key = (to.clone(), address, probe.way);
            if probe.way == Way::Ping || ears.contains_key(&key) {
                continue;
            }
            let ear = match probe.way {
                Way::Ping => continue,
                Way::Tcp(port) => tcp(netns, SocketAddr::new(address, port), &mut listening),
                Way::Udp(port) => udp(netns, SocketAddr::new(address, port), &mut listening),
            };
            let ear = match ear {
                Ok(ear) => ear,
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ear::Taken,
                Err(error) => Ear::None(error),
            };
            ears.insert(key, ear);
        }
        Self { ears, _listening: listening }
    }

    /// Who listens where the probe goes to; `None` outside the lab.
    pub(super) fn of(&self, probe: &Probe) -> Option<&Ear> {
        let to = probe.trial.to.clone()?;
        self.ears.get(&(to, probe.trial.address, probe.way))
    }
}

fn tcp(netns: &NetNs, place: SocketAddr, listening: &mut JoinSet<()>) -> io::Result<Ear> {
    let listener: std::net::TcpListener = netns
        .run(|| {
            let socket =
                Socket::new(Domain::for_address(place), Type::STREAM, Some(Protocol::TCP))?;
            // Not in the way of what earlier connections left.
            socket.set_reuse_address(true)?;
            socket.bind(&place.into())?;
            socket.listen(BACKLOG)?;
            io::Result::Ok(socket)
        })??
        .into();
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let token = token()?;
    listening.spawn(async move {
        // Held, so that who connected closes first: the port is free afterwards,
        // and no connection of ours lingers there (TIME_WAIT).
        let mut held = Vec::new();
        loop {
            match listener.accept().await.and_then(|(stream, _)| stream.into_std()) {
                Ok(mut stream) => {
                    let socket = socket2::SockRef::from(&stream);
                    // Failing means that it is gone already.
                    let _ = socket.set_linger(Some(Duration::ZERO));
                    let _ = stream.write(&token);
                    if held.len() < MAX_HELD {
                        held.push(stream);
                    }
                }
                // Too many open files, say: by strangers, as ours are few.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    });
    Ok(Ear::Tcp(token))
}

fn udp(netns: &NetNs, place: SocketAddr, listening: &mut JoinSet<()>) -> io::Result<Ear> {
    let socket = netns.run(|| std::net::UdpSocket::bind(place))??;
    socket.set_nonblocking(true)?;
    let socket = UdpSocket::from_std(socket)?;
    let letters = Arc::new(Mutex::new(Letters::default()));
    let shared = Arc::clone(&letters);
    listening.spawn(async move {
        loop {
            // One byte more, so that a longer one is seen to be.
            let mut buffer = [0; size_of::<Token>() + 1];
            // Errors are those of earlier answers.
            let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
            let Ok(token) = Token::try_from(&buffer[..length]) else { continue };
            let ours = {
                let mut letters = shared.lock().unwrap_or_else(PoisonError::into_inner);
                let ours = letters.awaited.contains(&token);
                if ours {
                    letters.arrived.insert(token);
                }
                ours
            };
            if ours {
                // If it does not get away, the next try's may.
                let _ = socket.try_send_to(&token, from);
            }
        }
    });
    Ok(Ear::Udp(letters))
}
