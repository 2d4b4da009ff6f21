//! Following a flow: what its packets tell of it.

use super::{Flow, TcpState, tcp_flag};
use crate::packet::protocol;
use crate::policy::Judgement;

/// Packets in one direction after which a flow without connections counts as one that
/// lasts, although nobody answered.
const LASTING_PACKETS: u64 = 4;

/// For how long nothing may come of a flow until what comes then is of another one, in
/// nanoseconds: as the kernel's own connection tracking has it
/// (`net/netfilter/nf_conntrack_proto_*.c`, Linux 6.18).
pub mod timeout {
    const SECOND: u64 = 1_000_000_000;
    /// TCP, when one end asked.
    pub const SYN_SENT: u64 = 120 * SECOND;
    /// TCP, when the other agreed.
    pub const SYN_RECEIVED: u64 = 60 * SECOND;
    /// TCP, when both did.
    pub const ESTABLISHED: u64 = 5 * 24 * 3600 * SECOND;
    /// TCP, when one end or both have nothing more to say, or one broke it off.
    pub const CLOSING: u64 = 120 * SECOND;
    /// TCP whose beginning was not seen.
    pub const PICKED_UP: u64 = 300 * SECOND;
    /// UDP without an answer.
    pub const UDP: u64 = 30 * SECOND;
    /// UDP with one.
    pub const UDP_ANSWERED: u64 = 120 * SECOND;
    /// ICMP.
    pub const ICMP: u64 = 30 * SECOND;
    /// Anything else.
    pub const OTHER: u64 = 600 * SECOND;
}

impl Flow {
    /// Whether both ends are known to take part, or it lasts anyhow: all but TCP once it is
    /// answered or has some packets; a TCP connection once who began answers the answer,
    /// because any port answers who asks, and be it to refuse. One whose beginning was not
    /// seen counts as answered when both ends spoke.
    #[inline(always)]
    #[must_use]
    pub fn is_settled(&self, ip_protocol: u8) -> bool {
        const NONE: u8 = TcpState::None as u8;
        const ESTABLISHED: u8 = TcpState::Established as u8;
        const CLOSING: u8 = TcpState::Closing as u8;
        let [one, other] = [self.directions[0].packets, self.directions[1].packets];
        let answered = one > 0 && other > 0;
        if ip_protocol == protocol::TCP {
            answered && matches!(self.tcp_state, NONE | ESTABLISHED | CLOSING)
        } else {
            answered || one + other >= LASTING_PACKETS
        }
    }

    /// Whether packets that are no more than that ([`FlowPacket::is_plain`]) change
    /// nothing but how many there were.
    #[inline(always)]
    #[must_use]
    pub const fn is_steady(&self) -> bool {
        self.tcp_state != TcpState::SynSent as u8 && self.tcp_state != TcpState::SynReceived as u8
    }

    /// Whether a packet with these flags begins a new connection where an old one was.
    #[inline(always)]
    #[must_use]
    pub const fn begins_anew(&self, flags: u8) -> bool {
        let begins = flags & (tcp_flag::SYN | tcp_flag::ACK) == tcp_flag::SYN;
        begins && self.tcp_state == TcpState::Closed as u8
    }

    /// Follows a TCP connection: a packet with these flags went in a direction.
    #[inline(always)]
    pub fn follow(&mut self, direction: u8, flags: u8, now_ns: u64) {
        use tcp_flag::{ACK, FIN, RST, SYN};
        const SYN_SENT: u8 = TcpState::SynSent as u8;
        const SYN_RECEIVED: u8 = TcpState::SynReceived as u8;
        const CLOSED: u8 = TcpState::Closed as u8;
        if flags & RST != 0 {
            self.tcp_state = CLOSED;
            return;
        }
        let initiator = direction == self.initiator;
        match (flags & (SYN | ACK), self.tcp_state) {
            (SYN, 0) if initiator => self.tcp_state = SYN_SENT,
            (both, SYN_SENT) if both == SYN | ACK && !initiator => self.tcp_state = SYN_RECEIVED,
            (ACK, SYN_RECEIVED) if initiator => {
                self.tcp_state = TcpState::Established as u8;
                let took = now_ns.saturating_sub(self.first_seen_ns);
                self.handshake_ns = u32::try_from(took).unwrap_or(u32::MAX);
            }
            _ => {}
        }
        if flags & FIN != 0 && self.tcp_state != 0 {
            self.finished |= 1 << (direction & 1);
            let closed = self.finished == 0b11;
            self.tcp_state = if closed { CLOSED } else { TcpState::Closing as u8 };
        }
    }

    /// Notes that a packet went on in a direction. Who sent the first one that did began
    /// the flow.
    #[inline(always)]
    pub fn pass(&mut self, direction: u8) {
        if self.passed == 0 {
            self.initiator = direction;
        }
        let passed = self.passed | 1 << (direction & 1);
        if self.passed != passed {
            self.passed = passed;
        }
    }

    /// Begins once more, with a packet that goes on in that direction, and keeps what was
    /// counted.
    #[inline(always)]
    pub fn reopen(&mut self, direction: u8) {
        (self.tcp_state, self.finished, self.handshake_ns) = (TcpState::None as u8, 0, 0);
        (self.initiator, self.passed) = (direction, 0);
        for direction in &mut self.directions {
            direction.judgement = Judgement::NONE;
        }
    }

    /// Whether a packet went on in a direction.
    #[inline(always)]
    #[must_use]
    pub const fn has_passed(&self, direction: u8) -> bool {
        self.passed & (1 << (direction & 1)) != 0
    }

    /// Whether a packet that goes on in a direction, and is no reply, begins the flow once
    /// more: the other end began it, or nothing came of it for too long.
    #[inline(always)]
    #[must_use]
    pub const fn begins_otherwise(&self, direction: u8, ip_protocol: u8, now_ns: u64) -> bool {
        let is_other = direction != self.initiator;
        self.passed != 0 && (is_other || !self.is_alive(ip_protocol, now_ns))
    }

    /// Whether what comes at that time is of the flow, and not of another one with the same
    /// ends.
    #[inline(always)]
    #[must_use]
    pub const fn is_alive(&self, ip_protocol: u8, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.last_seen_ns) < self.timeout_ns(ip_protocol)
    }

    /// For how long nothing may come of it: see [`timeout`].
    #[inline(always)]
    #[must_use]
    pub const fn timeout_ns(&self, ip_protocol: u8) -> u64 {
        const SYN_SENT: u8 = TcpState::SynSent as u8;
        const SYN_RECEIVED: u8 = TcpState::SynReceived as u8;
        const ESTABLISHED: u8 = TcpState::Established as u8;
        const CLOSING: u8 = TcpState::Closing as u8;
        const CLOSED: u8 = TcpState::Closed as u8;
        match (ip_protocol, self.tcp_state) {
            (protocol::TCP, SYN_SENT) => timeout::SYN_SENT,
            (protocol::TCP, SYN_RECEIVED) => timeout::SYN_RECEIVED,
            (protocol::TCP, ESTABLISHED) => timeout::ESTABLISHED,
            (protocol::TCP, CLOSING | CLOSED) => timeout::CLOSING,
            (protocol::TCP, _) => timeout::PICKED_UP,
            (protocol::UDP, _) if self.passed == 0b11 => timeout::UDP_ANSWERED,
            (protocol::UDP, _) => timeout::UDP,
            (protocol::ICMP | protocol::ICMPV6, _) => timeout::ICMP,
            _ => timeout::OTHER,
        }
    }

    /// Whether a packet in that direction could be a reply, at that time: the other end
    /// began the flow, and a packet of its went on.
    ///
    /// Of TCP it has to go with what was seen: what would begin a connection is a reply only
    /// to the other end's beginning (both may begin at the same time: RFC 9293, section
    /// 3.5), and agreeing to one only where that was seen. Anything else answers a
    /// beginning, because who knows of an older connection does (RFC 5961, section 4).
    #[inline(always)]
    #[must_use]
    pub fn may_be_reply(&self, direction: u8, ip_protocol: u8, flags: u8, now_ns: u64) -> bool {
        use tcp_flag::{ACK, SYN};
        const NONE: u8 = TcpState::None as u8;
        const SYN_SENT: u8 = TcpState::SynSent as u8;
        if self.passed == 0 || direction == self.initiator || !self.is_alive(ip_protocol, now_ns) {
            return false;
        }
        match flags & (SYN | ACK) {
            SYN => self.tcp_state == SYN_SENT,
            both if both == SYN | ACK => self.tcp_state != NONE,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::tcp_flag::{ACK, FIN, RST, SYN};

    const SECOND: u64 = 1_000_000_000;
    const TCP: u8 = protocol::TCP;
    const UDP: u8 = protocol::UDP;

    /// A flow after packets that went on, each in a direction and with flags, one a second.
    fn after(packets: &[(u8, u8)]) -> Flow {
        let mut flow = Flow::default();
        flow.begin(packets[0].0, SECOND);
        for (time, (direction, flags)) in (1..).zip(packets) {
            flow.pass(*direction);
            flow.see(time * SECOND);
            flow.follow(*direction, *flags, time * SECOND);
        }
        flow
    }

    fn is_reply(flow: &Flow, direction: u8, flags: u8) -> bool {
        flow.may_be_reply(direction, TCP, flags, flow.last_seen_ns + SECOND)
    }

    #[test]
    fn a_reply_needs_a_beginning_that_went_on() {
        let mut denied = Flow::default();
        denied.begin(0, SECOND);
        for flags in [0, ACK, SYN | ACK, RST] {
            assert!(!is_reply(&denied, 1, flags), "{flags}");
        }
        let asked = after(&[(0, SYN)]);
        // Who agrees, refuses, begins too, or knows of an older connection.
        for flags in [SYN | ACK, RST | ACK, SYN, ACK] {
            assert!(is_reply(&asked, 1, flags), "{flags}");
        }
        assert!(!is_reply(&asked, 0, SYN), "what the same end sends is none");
    }

    #[test]
    fn what_would_begin_a_connection_is_no_reply_in_one() {
        let open = after(&[(0, SYN), (1, SYN | ACK), (0, ACK)]);
        assert!(is_reply(&open, 1, ACK) && is_reply(&open, 1, FIN | ACK));
        assert!(!is_reply(&open, 1, SYN));
        let closed = after(&[(0, SYN), (1, SYN | ACK), (0, ACK), (0, FIN | ACK), (1, FIN | ACK)]);
        assert!(is_reply(&closed, 1, ACK) && !is_reply(&closed, 1, SYN));
        // Of one whose beginning was not seen nobody is asked to agree.
        let picked_up = after(&[(0, ACK)]);
        assert!(is_reply(&picked_up, 1, ACK) && !is_reply(&picked_up, 1, SYN | ACK));
    }

    #[test]
    fn both_may_begin_at_once() {
        let both = after(&[(0, SYN), (1, SYN), (0, SYN | ACK), (1, SYN | ACK), (0, ACK)]);
        assert_eq!(both.tcp_state(), TcpState::Established);
    }

    #[test]
    fn a_flow_ends_after_its_time() {
        for (flow, of_protocol, timeout) in [
            (after(&[(0, SYN)]), TCP, timeout::SYN_SENT),
            (after(&[(0, SYN), (1, SYN | ACK)]), TCP, timeout::SYN_RECEIVED),
            (after(&[(0, SYN), (1, SYN | ACK), (0, ACK)]), TCP, timeout::ESTABLISHED),
            (after(&[(0, SYN), (1, RST)]), TCP, timeout::CLOSING),
            (after(&[(0, ACK)]), TCP, timeout::PICKED_UP),
            (after(&[(0, 0)]), UDP, timeout::UDP),
            (after(&[(0, 0), (1, 0)]), UDP, timeout::UDP_ANSWERED),
            (after(&[(0, 0)]), protocol::ICMP, timeout::ICMP),
            (after(&[(0, 0)]), 47, timeout::OTHER),
        ] {
            let end = flow.last_seen_ns + timeout;
            assert!(flow.may_be_reply(1, of_protocol, ACK, end - 1));
            assert!(!flow.may_be_reply(1, of_protocol, ACK, end), "{of_protocol}");
            assert!(flow.begins_otherwise(0, of_protocol, end));
            assert!(!flow.begins_otherwise(0, of_protocol, end - 1));
        }
    }

    #[test]
    fn who_sends_the_first_packet_that_goes_on_begins() {
        let mut flow = Flow::default();
        // What is denied began the entry.
        flow.begin(1, SECOND);
        assert!(!flow.begins_otherwise(0, TCP, SECOND));
        flow.pass(0);
        assert_eq!((flow.initiator, flow.has_passed(0), flow.has_passed(1)), (0, true, false));
        assert!(is_reply(&flow, 1, ACK) && flow.begins_otherwise(1, TCP, SECOND));
        flow.directions[0].packets = 7;
        flow.reopen(1);
        flow.pass(1);
        assert_eq!((flow.initiator, flow.directions[0].packets), (1, 7));
        assert!(is_reply(&flow, 0, ACK) && !is_reply(&flow, 1, ACK));
    }
}
