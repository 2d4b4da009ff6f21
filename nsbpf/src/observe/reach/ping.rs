//! ICMP echo from one namespace to many addresses, over one raw socket: a raw
//! socket each would receive the replies of all the others too.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustix::net::{RecvFlags, recvfrom};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};

use super::pace::Pace;
use super::{ROUTE_PATIENCE, Seen, token};
use crate::net::NetNs;
use crate::net::icmp::{self, Message, Token};

/// Time from one try to the next.
const INTERVAL: Duration = Duration::from_millis(200);
/// Bytes that are read of a packet: a reply, or an error that quotes a request.
const PACKET_BYTES: usize = 512;

/// An address that is waited for.
struct Wait {
    address: IpAddr,
    patience: Duration,
    /// Nobody else knows it, so nobody else can answer.
    token: Token,
    /// When it is asked next.
    due: Instant,
    /// When it is given up: known once it was asked.
    deadline: Option<Instant>,
    answered: bool,
    /// What was said, other than an answer.
    said: Option<Seen>,
}

/// Pings addresses of one family; returns what came of each.
pub(super) async fn probe(
    netns: &NetNs,
    ipv4: bool,
    targets: &[(IpAddr, Duration)],
    pace: &Pace,
) -> io::Result<Vec<Seen>> {
    let (domain, protocol) =
        if ipv4 { (Domain::IPV4, Protocol::ICMPV4) } else { (Domain::IPV6, Protocol::ICMPV6) };
    let socket = netns.run(|| Socket::new(domain, Type::RAW, Some(protocol)))??;
    socket.set_nonblocking(true)?;
    // SAFETY: a socket keeps its descriptor open as long as it lives, and nothing
    // here takes or replaces it.
    let socket = unsafe { AsyncFd::register(socket) }?;
    let mut pings = Pings::new(socket, ipv4, targets)?;
    let mut turn = None;
    loop {
        let now = Instant::now();
        let Some(next) = pings.next(now) else { break };
        if next.due <= now && turn.is_none() {
            turn = Some(pace.turn());
        }
        if turn.is_some_and(|turn| turn <= now) {
            turn = None;
            pings.send(next.sequence, now);
        }
        let wake = turn.unwrap_or(next.due).min(next.end.unwrap_or(next.due));
        tokio::select! {
            biased;
            received = pings.receive() => received?,
            () = sleep_until(wake) => {}
        }
    }
    Ok(pings.seen())
}

/// What is to happen next.
struct Next {
    /// Who is asked,
    sequence: u16,
    /// and when.
    due: Instant,
    /// When the first one is given up.
    end: Option<Instant>,
}

struct Pings {
    socket: AsyncFd<Socket>,
    ipv4: bool,
    identifier: u16,
    /// The place of each is its sequence number.
    waits: Vec<Wait>,
}

impl Pings {
    fn new(
        socket: AsyncFd<Socket>,
        ipv4: bool,
        targets: &[(IpAddr, Duration)],
    ) -> io::Result<Self> {
        let now = Instant::now();
        let [high, low, ..] = token()?;
        let mut waits = Vec::with_capacity(targets.len());
        for (address, patience) in targets {
            waits.push(Wait {
                address: *address,
                patience: *patience,
                token: token()?,
                due: now,
                deadline: None,
                answered: false,
                said: None,
            });
        }
        Ok(Self { socket, ipv4, identifier: u16::from_be_bytes([high, low]), waits })
    }

    /// Who is asked next; `None` when all have answered or are given up.
    fn next(&self, now: Instant) -> Option<Next> {
        let waiting = || {
            (0..).zip(&self.waits).filter(|(_, wait)| {
                !wait.answered && wait.deadline.is_none_or(|deadline| deadline > now)
            })
        };
        let (sequence, wait) = waiting().min_by_key(|(_, wait)| wait.due)?;
        let end = waiting().filter_map(|(_, wait)| wait.deadline).min();
        Some(Next { sequence, due: wait.due, end })
    }

    /// Asks one of them.
    fn send(&mut self, sequence: u16, now: Instant) {
        let Some(wait) = self.waits.get_mut(usize::from(sequence)) else { return };
        let deadline = *wait.deadline.get_or_insert(now + wait.patience);
        wait.due = now + INTERVAL;
        let request = icmp::request(self.ipv4, self.identifier, sequence, wait.token);
        let target = SocketAddr::new(wait.address, 0).into();
        match self.socket.get_ref().send_to(&request, &target) {
            Ok(_) => {}
            // A full queue: the next try comes.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                let said = Seen::not_sent(&error);
                if said == Seen::NoRoute {
                    let soon = deadline - wait.patience + ROUTE_PATIENCE;
                    wait.deadline = Some(deadline.min(soon));
                }
                wait.said = Some(said);
            }
        }
    }

    /// Takes what the socket has.
    async fn receive(&mut self) -> io::Result<()> {
        let mut ready = self.socket.readable().await?;
        let mut buffer = [0; PACKET_BYTES];
        let received = ready
            .try_io(|socket| Ok(recvfrom(socket.get_ref(), &mut buffer[..], RecvFlags::DONTWAIT)?));
        match received {
            Ok(Ok((length, _, from))) => {
                let from = from.and_then(|from| SocketAddr::try_from(from).ok());
                if let (Some(from), Some(message)) =
                    (from, icmp::parse(self.ipv4, &buffer[..length.min(PACKET_BYTES)]))
                {
                    hear(&mut self.waits, self.identifier, message, from.ip());
                }
            }
            // An error of an earlier request: it says so in a message too.
            Ok(Err(error)) => log::debug!("ping: {error}"),
            // Nothing there any more.
            Err(_) => {}
        }
        Ok(())
    }

    fn seen(self) -> Vec<Seen> {
        let seen = |wait: Wait| match wait.said {
            _ if wait.answered => Seen::Answer,
            Some(said) => said,
            None => Seen::Silence(wait.patience),
        };
        self.waits.into_iter().map(seen).collect()
    }
}

/// Takes what somebody says for an answer only if it is from where it was asked
/// for, and carries what only the one asked can know.
fn hear(waits: &mut [Wait], ours: u16, message: Message, from: IpAddr) {
    let (Message::Reply { identifier, sequence, .. }
    | Message::Unreachable { identifier, sequence, .. }) = message;
    let Some(wait) = waits.get_mut(usize::from(sequence)).filter(|_| identifier == ours) else {
        return;
    };
    match message {
        Message::Reply { token, .. } => {
            wait.answered |= token == wait.token && from == wait.address;
        }
        Message::Unreachable { why, target, .. } if target == wait.address => {
            wait.said = Some(Seen::Unreachable { why, by: from });
        }
        Message::Unreachable { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_was_asked_can_answer() {
        let address = IpAddr::from([10, 0, 0, 2]);
        let stranger = IpAddr::from([10, 0, 0, 3]);
        let token = *b"0123456789abcdef";
        let mut waits = [Wait {
            address,
            patience: INTERVAL,
            token,
            due: Instant::now(),
            deadline: None,
            answered: false,
            said: None,
        }];
        let good = |identifier, sequence, token| Message::Reply { identifier, sequence, token };
        for (message, from) in [
            (good(7, 0, token), stranger),
            (good(7, 0, [0; 16]), address),
            (good(8, 0, token), address),
            (good(7, 1, token), address),
        ] {
            hear(&mut waits, 7, message, from);
            assert!(!waits[0].answered, "{message:?} from {from}");
        }
        let why = "host unreachable";
        let error = |target| Message::Unreachable { why, target, identifier: 7, sequence: 0 };
        hear(&mut waits, 7, error(stranger), stranger);
        assert_eq!(waits[0].said, None);
        hear(&mut waits, 7, error(address), stranger);
        assert_eq!(waits[0].said, Some(Seen::Unreachable { why, by: stranger }));
        hear(&mut waits, 7, good(7, 0, token), address);
        assert!(waits[0].answered);
    }
}
