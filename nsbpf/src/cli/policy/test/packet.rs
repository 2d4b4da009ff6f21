//! A packet, by the words of a command line.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use nsbpf_common::policy::value::{ICMP, ICMPV6, IPV4, IPV6, TCP};
use nsbpf_common::policy::{ROUTED, Subject, field};

use super::places::{Places, common_bits, told_by};
use crate::cli::exit::Usage;
use crate::lab::policy::words;
use crate::policy::{End, Kind, Read};

#[derive(Debug, Args)]
#[command(next_help_heading = "The packet")]
pub(super) struct Packet {
    /// comes from this NAMESPACE or NAMESPACE/INTERFACE [default: through a router or the
    /// host; of a frame: whose MAC address sent it]
    #[arg(long, visible_alias = "in", value_name = "INTERFACE")]
    pub(super) from: Option<String>,
    /// is for this address, or for this namespace or interface
    #[arg(long, value_name = "ADDRESS", required_unless_present_any = ["hex", "pcap"])]
    to: Option<String>,
    /// has this source address [default: one of the interface]
    #[arg(long, value_name = "ADDRESS")]
    source: Option<IpAddr>,
    /// is of this protocol, by its name or number [default: tcp with a port, else ICMP]
    #[arg(long, value_name = "PROTOCOL", value_parser = words::protocol)]
    proto: Option<u64>,
    /// has this destination port
    #[arg(long)]
    port: Option<u16>,
    /// has this source port
    #[arg(long, value_name = "PORT", default_value_t = 49_152)]
    source_port: u16,
    /// has these TCP flags, as `syn`, `syn,ack` or `none`
    #[arg(long, default_value = "syn", value_parser = words::flags)]
    flags: u8,
    /// has this ICMP type and code, as `3/1` [default: an echo request]
    #[arg(long, value_name = "TYPE/CODE", value_parser = words::icmp)]
    icmp: Option<u16>,
    /// is in this VLAN [default: untagged]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=4094))]
    vlan: Option<u16>,
    /// has this code point
    #[arg(long, default_value = "0", value_parser = words::dscp)]
    dscp: u64,
    /// is this frame, in hexadecimal digits
    #[arg(long, value_name = "BYTES", conflicts_with_all = ["to", "source", "proto", "port", "icmp", "vlan", "pcap"])]
    pub(super) hex: Option<String>,
    /// is each one of this capture, pcap or pcapng
    #[arg(long, value_name = "FILE", conflicts_with_all = ["to", "source", "proto", "port", "icmp", "vlan"])]
    pub(super) pcap: Option<PathBuf>,
}

impl Packet {
    /// As it is to be understood.
    pub(super) fn subject(&self, places: &Places) -> Result<Read, Usage> {
        let typed = self.to.as_deref().unwrap_or_default();
        let towards: Option<IpAddr> = typed.parse().ok();
        let wanted = towards.or(self.source).map(|address| address.is_ipv4());
        let from = match &self.from {
            Some(word) => Some(places.find(word, towards)?.1),
            None => None,
        };
        let to = match towards {
            Some(to) => to,
            None => destination(typed, places, from, wanted)?,
        };
        let source = match (self.source, from) {
            (Some(source), _) => source,
            (None, Some(end)) => nearest_address(end, to).ok_or_else(|| {
                Usage(format!("no address of the sender is of the family of {to}"))
            })?,
            (None, None) => {
                let message = "say where it comes from: `--from`, or `--source`";
                return Err(Usage(message.to_owned()));
            }
        };
        if source.is_ipv4() != to.is_ipv4() {
            return Err(Usage(format!("{source} and {to} are of two families")));
        }
        let kind = if to.is_ipv4() { Kind::V4 } else { Kind::V6 };
        let mut subject = Subject::default();
        let mut put = |number, value| subject.set(number, value);
        put(field::PORT, from.map_or(ROUTED, told_by));
        put(field::VLAN, self.vlan.unwrap_or(0).into());
        put(field::ETHERTYPE, if kind == Kind::V4 { IPV4 } else { IPV6 });
        put(field::DSCP, self.dscp);
        for (address, first, rest) in [
            (source, field::SOURCE, field::SOURCE_REST),
            (to, field::DESTINATION, field::DESTINATION_REST),
        ] {
            let (high, low) = halves(address);
            put(first, high);
            put(rest, low);
        }
        let protocol = self.protocol(kind)?;
        put(field::PROTOCOL, protocol);
        if words::has_ports(protocol) {
            let Some(port) = self.port else {
                return Err(Usage("say which port it is for: `--port`".to_owned()));
            };
            put(field::DESTINATION_PORT, port.into());
            put(field::SOURCE_PORT, self.source_port.into());
        }
        let echo = if kind == Kind::V4 { 8 << 8 } else { 128 << 8 };
        if [(Kind::V4, ICMP), (Kind::V6, ICMPV6)].contains(&(kind, protocol)) {
            put(field::ICMP, u64::from(self.icmp.unwrap_or(echo)) + 1);
        }
        if protocol == TCP {
            subject.tcp_flags = self.flags;
        }
        Ok(Read { kind, subject, hides: false })
    }

    fn protocol(&self, kind: Kind) -> Result<u64, Usage> {
        let icmp = if kind == Kind::V4 { ICMP } else { ICMPV6 };
        let protocol = match self.proto {
            Some(protocol) => protocol,
            None if self.port.is_some() => TCP,
            None => icmp,
        };
        if self.port.is_some() && !words::has_ports(protocol) {
            return Err(Usage("a port is of tcp, udp or sctp".to_owned()));
        }
        if self.icmp.is_some() && protocol != icmp {
            let message = "a type of ICMP is of a packet of `--proto icmp`, or icmpv6 of IPv6";
            return Err(Usage(message.to_owned()));
        }
        Ok(protocol)
    }
}

/// An address of the interface that a word names, of a family that the sender has.
fn destination(
    word: &str,
    places: &Places,
    from: Option<&End>,
    wants_v4: Option<bool>,
) -> Result<IpAddr, Usage> {
    let near = from.and_then(|end| end.addresses.first().copied());
    let (_, end) = places.find(word, near)?;
    let fits = |address: &&IpAddr| {
        let is_v4 = address.is_ipv4();
        let sender_has =
            from.is_none_or(|end| end.addresses.iter().any(|it| it.is_ipv4() == is_v4));
        sender_has && wants_v4.is_none_or(|wants| wants == is_v4)
    };
    let found = end.addresses.iter().find(fits).copied();
    found.ok_or_else(|| Usage(format!("`{word}` has no address that the sender could reach")))
}

/// The address of an interface that is nearest to another.
fn nearest_address(end: &End, to: IpAddr) -> Option<IpAddr> {
    let fitting = end.addresses.iter().copied().filter(|own| own.is_ipv4() == to.is_ipv4());
    fitting.max_by_key(|own| common_bits(*own, to))
}

fn halves(address: IpAddr) -> (u64, u64) {
    match address {
        IpAddr::V4(address) => (address.to_bits().into(), 0),
        IpAddr::V6(address) => {
            let [high, low] = [address.to_bits() >> 64, address.to_bits() & u128::from(u64::MAX)];
            (u64::try_from(high).unwrap_or(0), u64::try_from(low).unwrap_or(0))
        }
    }
}

/// The bytes of a frame that hexadecimal digits say; what is between them is left out.
pub(super) fn hex(text: &str) -> Result<Vec<u8>, Usage> {
    let between = |character: &char| !character.is_whitespace() && *character != ':';
    let digits: Vec<char> = text.chars().filter(between).collect();
    let wrong = || Usage("a frame is an even number of hexadecimal digits".to_owned());
    let byte = |pair: &[char]| {
        let [high, low] = pair else { return None };
        u8::try_from(high.to_digit(16)? << 4 | low.to_digit(16)?).ok()
    };
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
    bytes.filter(|bytes| !bytes.is_empty()).ok_or_else(wrong)
}
