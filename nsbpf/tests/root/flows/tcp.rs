//! Connections: what passed of them, and how they stand.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nsbpf::net::NetNs;
use nsbpf::state::IngressHook;
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use super::{PATIENCE, ground, listed, only, only_of, sum};
use crate::truth::{V4, V6, sent};
use crate::world::{ip, ip_json};

/// Ethernet and TCP with timestamps, without IP.
const HEADER_BYTES: u64 = 14 + 32;
/// What a SYN has besides: MSS, SACK permitted, window scale.
const SYN_EXTRA_BYTES: u64 = 8;

pub(super) fn followed() -> Result<(), Failed> {
    follow(IngressHook::Tc)
}

pub(super) fn followed_under_xdp() -> Result<(), Failed> {
    follow(IngressHook::Xdp)
}

fn follow(ingress: IngressHook) -> Result<(), Failed> {
    let ground = ground(ingress);
    let [a, b] = ground.namespaces();
    // Who begins is told right whichever address is the lower.
    one((a, V4.a), (b, V4.b), HEADER_BYTES + 20)?;
    one((b, V4.b), (a, V4.a), HEADER_BYTES + 20)?;
    one((b, V6.b), (a, V6.a), HEADER_BYTES + 40)?;
    unanswered(a)?;
    ground.down();
    Ok(())
}

fn one(
    (client, from): (&NetNs, &str),
    (server, to): (&NetNs, &str),
    header_bytes: u64,
) -> Result<(), Failed> {
    const THERE: usize = 1_000_000;
    const BACK: usize = 1_000;
    let listener = server.run(|| TcpListener::bind(SocketAddr::new(to.parse().unwrap(), 0)))??;
    let address = listener.local_addr()?;
    let before = Instant::now();
    let mut near = client.run(|| TcpStream::connect(address))??;
    let took = before.elapsed();
    let (mut far, _) = listener.accept()?;
    let reading = std::thread::spawn(move || far.read_exact(&mut vec![0; THERE]).map(|()| far));
    near.write_all(&vec![0x6e; THERE])?;
    let mut far = reading.join().expect("the reader")?;
    far.write_all(&[0x6e; BACK])?;
    near.read_exact(&mut [0; BACK])?;
    let flow = until(|| {
        let flow = only_of(near.local_addr()?);
        // Who accepts was not there yet when the kernel agreed to the connection.
        let sockets = [(&near, "sent", 0), (&far, "received", 1)];
        let same = sockets.into_iter().all(|(socket, of_end, more)| {
            sent(socket).is_ok_and(|(segments, bytes)| {
                let segments = segments + more;
                let bytes = bytes + segments * header_bytes + SYN_EXTRA_BYTES;
                sum(&flow[of_end]) == (segments, bytes)
            })
        });
        Ok(if same {
            Ok(flow)
        } else {
            Err(format!(
                "{flow:#}: not what the sockets sent: {:?}",
                sockets.map(|(socket, ..)| sent(socket).ok())
            ))
        })
    })?;
    assert_eq!((&flow["from"]["address"], &flow["to"]["address"]), (&json!(from), &json!(to)));
    assert_eq!((&flow["tcp_state"], &flow["settled"]), (&json!("established"), &json!(true)));
    assert_eq!(flow["to"]["port"], address.port());
    let handshake = Duration::from_secs_f64(flow["handshake_us"].as_f64().ok_or("RTT")? / 1e6);
    // The last packet of the handshake may be counted after `connect` is done.
    let slack = Duration::from_millis(50);
    assert!(handshake > Duration::ZERO && handshake < took + slack, "{handshake:?} of {took:?}");
    near.shutdown(std::net::Shutdown::Write)?;
    becomes(near.local_addr()?, "closing")?;
    drop(far);
    becomes(near.local_addr()?, "closed")?;
    assert_eq!(
        only(&["--state", "closed", "--host", from, "--port", &address.port().to_string()])["tcp_state"],
        "closed"
    );
    Ok(())
}

fn becomes(socket: SocketAddr, state: &str) -> Result<Value, Failed> {
    until(|| {
        let flow = only_of(socket);
        Ok(if flow["tcp_state"] == state {
            Ok(flow)
        } else {
            Err(format!("{flow:#}: not {state}"))
        })
    })
}

/// Looks again until it is as it should be.
fn until(look: impl Fn() -> Result<Result<Value, String>, Failed>) -> Result<Value, Failed> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look()? {
            Ok(value) => return Ok(value),
            Err(why) => assert!(Instant::now() < deadline, "{why}"),
        }
    }
}

fn unanswered(client: &NetNs) -> Result<(), Failed> {
    let link = ip_json(&["-netns", "b", "link", "show", "eth0"]);
    let mac = link[0]["address"].as_str().ok_or("a MAC address")?;
    ip(&["-netns", "a", "neigh", "replace", "10.0.0.99", "lladdr", mac, "dev", "eth0"]);
    let socket = client.run(|| Socket::new(Domain::IPV4, Type::STREAM, None))??;
    socket.set_nonblocking(true)?;
    let to: SocketAddr = "10.0.0.99:80".parse()?;
    socket.connect(&to.into()).expect_err("it is under way");
    let flow = only(&["--state", "syn-sent"]);
    assert_eq!((&flow["to"]["address"], &flow["settled"]), (&json!("10.0.0.99"), &json!(false)));
    assert_eq!((&flow["handshake_us"], &flow["received"]["packets"]), (&json!(null), &json!(0)));
    assert_eq!(flow["to"]["namespace"], json!(null));
    Ok(())
}

/// A connection with the ports of one that is over.
pub(super) fn begins_anew() -> Result<(), Failed> {
    let ground = ground(IngressHook::Tc);
    let [a, b] = ground.namespaces();
    let listener = b.run(|| TcpListener::bind("10.0.0.2:7000"))??;
    let mut ages = Vec::new();
    for (bytes, reset) in [(100_000, false), (1_000, true), (500, false), (10, false)] {
        let near = a.run(|| -> std::io::Result<Socket> {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            socket.bind(&"10.0.0.1:7001".parse::<SocketAddr>().unwrap().into())?;
            socket.connect(&"10.0.0.2:7000".parse::<SocketAddr>().unwrap().into())?;
            Ok(socket)
        })??;
        let (mut far, _) = listener.accept()?;
        let mut near: TcpStream = near.into();
        near.write_all(&vec![0x6e; bytes])?;
        far.read_exact(&mut vec![0; bytes])?;
        let flow = becomes(near.local_addr()?, "established")?;
        let (packets, told) = sum(&flow["sent"]);
        let headers = packets * (HEADER_BYTES + 20) + SYN_EXTRA_BYTES;
        assert_eq!(told, bytes as u64 + headers, "{flow:#}");
        assert!(flow["handshake_us"].as_f64() > Some(0.0), "{flow:#}");
        ages.push(flow["age_seconds"].as_f64().ok_or("an age")?);
        if reset {
            Socket::from(far).set_linger(Some(Duration::ZERO))?;
        } else {
            // Who is done first has to wait, and it is not who chose the port.
            drop(far);
            assert_eq!(near.read(&mut [0; 1])?, 0);
        }
        if reset {
            assert!(near.read(&mut [0; 1]).is_err());
        }
        drop(near);
        becomes("10.0.0.1:7001".parse()?, "closed")?;
    }
    assert!(ages.iter().all(|age| *age < 1.0), "{ages:?}");
    assert_eq!(listed(&["--port", "7001"]).len(), 1);
    drop(listener);
    ground.down();
    Ok(())
}
