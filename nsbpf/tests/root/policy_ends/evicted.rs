//! What becomes of connections whose entries are gone, or that others crowd.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use aya::Pod;
use aya::maps::{Array, HashMap, Map, MapData, MapError};
use libtest_mimic::Failed;
use nsbpf::datapath::FlowsReader;
use nsbpf::net::NetNs;
use nsbpf::plan::Settings;
use nsbpf_common::flow::{Flow, FlowKey, RecentFlow, RecentRest};
use nsbpf_common::stats::Way;

use super::arena::{Arena, LAB, by};
use super::connections::{B, Ends, OUT, station};
use super::packet::{ACK, SYN};
use super::sockets::{FAMILIES, address};
use crate::world::netns;

const PATIENCE: Duration = Duration::from_secs(5);

fn pinned(arena: &Arena, name: &str) -> MapData {
    MapData::from_pin(arena.up.store.pins().join(name)).expect(name)
}

fn flows(arena: &Arena, name: &str) -> HashMap<MapData, FlowKey, Flow> {
    Map::from_map_data(pinned(arena, name)).and_then(HashMap::try_from).expect(name)
}

/// Forgets all flows, as if others had taken their places.
fn forget(arena: &Arena) {
    // What processors keep first: it would come back.
    for name in ["RECENT_FLOWS", "RECENT_RESTS"] {
        match name {
            "RECENT_FLOWS" => clear::<RecentFlow>(arena, name),
            _ => clear::<RecentRest>(arena, name),
        }
    }
    for name in ["FLOWS", "NEW_FLOWS"] {
        let mut flows = flows(arena, name);
        let keys: Vec<FlowKey> = flows.keys().filter_map(Result::ok).collect();
        for key in keys {
            match flows.remove(&key) {
                Ok(()) | Err(MapError::KeyNotFound) => {}
                Err(error) => panic!("{name}: {error}"),
            }
        }
    }
}

fn clear<T: Pod>(arena: &Arena, name: &str) {
    let map = Map::from_map_data(pinned(arena, name)).expect(name);
    let mut places = Array::<_, T>::try_from(map).expect(name);
    for place in 0..places.len() {
        // SAFETY: zeros are a value of what the kernel makes of zeros.
        let nothing: T = unsafe { std::mem::zeroed() };
        places.set(place, nothing, 0).expect(name);
    }
}

/// Has all flows be as old as that.
fn age(arena: &Arena, by: Duration) {
    clear::<RecentFlow>(arena, "RECENT_FLOWS");
    clear::<RecentRest>(arena, "RECENT_RESTS");
    for name in ["FLOWS", "NEW_FLOWS"] {
        let mut flows = flows(arena, name);
        let all: Vec<(FlowKey, Flow)> = flows.iter().filter_map(Result::ok).collect();
        for (key, mut flow) in all {
            flow.last_seen_ns = flow.last_seen_ns.saturating_sub(by.as_nanos() as u64);
            flows.insert(key, flow, 0).expect(name);
        }
    }
}

/// A connection, ends as their sockets are.
fn connected((client, server): (&NetNs, &NetNs), to: IpAddr) -> io::Result<[TcpStream; 2]> {
    let listener = server.run(|| TcpListener::bind((to, 0)))??;
    let at: SocketAddr = listener.local_addr()?;
    let near = client.run(|| TcpStream::connect_timeout(&at, PATIENCE))??;
    let (far, _) = listener.accept()?;
    for stream in [&near, &far] {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
    }
    Ok([near, far])
}

fn says(from: &mut TcpStream, to: &mut TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4];
    from.write_all(b"data")?;
    to.read_exact(&mut buffer)
}

/// Who may begin goes on as if nothing had been, and so the other end does.
pub(super) fn picked_up(way: Way) -> Result<(), Failed> {
    let arena = Arena::new(way);
    arena.set("default: deny", &[OUT]);
    let [a, b] = ["a", "b"].map(netns);
    for [_, to, _] in FAMILIES {
        let [mut near, mut far] = connected((&a, &b), address(to))?;
        for _ in 0..10 {
            says(&mut near, &mut far)?;
            says(&mut far, &mut near)?;
        }
        forget(&arena);
        says(&mut near, &mut far)?;
        says(&mut far, &mut near)?;
        // The other end speaks first: it says so until the one is heard of again.
        forget(&arena);
        far.write_all(b"late")?;
        near.write_all(b"data")?;
        let mut buffer = [0; 4];
        far.read_exact(&mut buffer)?;
        near.read_exact(&mut buffer)?;
        assert_eq!(&buffer, b"late");
    }
    for ends in Ends::both(&arena) {
        let of = ends.connection(4000);
        ends.open(&of);
        forget(&arena);
        ends.back(&of(ACK).back(), false);
        ends.there(&of(ACK), true);
        ends.back(&of(ACK).back(), true);
    }
    too_old(&arena);
    drop((a, b));
    arena.down();
    Ok(())
}

/// What comes too late is no reply.
fn too_old(arena: &Arena) {
    const SECOND: Duration = Duration::from_secs(1);
    // Nothing is older than the machine.
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    if now.tv_sec < 300 {
        println!("this kernel has not been up for five minutes: nothing can be too old");
        return;
    }
    for ends in Ends::both(arena) {
        let of = ends.connection(4100);
        let there = ends.base.udp(4100, 53);
        let ping = ends.base.ping();
        let begin = |answered: bool| {
            ends.there(&of(SYN), true);
            ends.there(&there, true);
            ends.there(&ping, true);
            if answered {
                ends.back(&of(SYN | ACK).back(), true);
                ends.back(&there.back(), true);
                ends.back(&ping.pong().back(), true);
            }
        };
        begin(false);
        age(arena, 29 * SECOND);
        ends.back(&there.back(), true);
        ends.back(&ping.pong().back(), true);
        ends.back(&of(SYN | ACK).back(), true);
        forget(arena);
        begin(false);
        age(arena, 31 * SECOND);
        ends.back(&there.back(), false);
        ends.back(&ping.pong().back(), false);
        age(arena, 90 * SECOND);
        ends.back(&of(SYN | ACK).back(), false);
        // Whoever may begin begins anew.
        begin(true);
        age(arena, 61 * SECOND);
        ends.back(&of(ACK).back(), false);
        ends.back(&there.back(), true);
        age(arena, 121 * SECOND);
        ends.back(&there.back(), false);
        // One that is open stays so for days.
        forget(arena);
        ends.open(&of);
        age(arena, 100_000 * SECOND);
        ends.back(&of(ACK).back(), true);
        forget(arena);
    }
}

/// Connections are there while others are asked for from everywhere: all of them.
pub(super) fn flooded(way: Way) -> Result<(), Failed> {
    const CONNECTIONS: usize = 100;
    const ROOM: u32 = 1 << 13;
    let arena = Arena::with(LAB, &Settings { flows: ROOM, ..by(way) });
    // What is allowed is remembered, as what is denied is.
    let any = "{ name: any, from: c, action: allow }";
    arena.set("default: deny", &[OUT, any]);
    let room =
        ["FLOWS", "NEW_FLOWS"].map(|name| pinned(&arena, name).info().expect(name).max_entries());
    let flood = 3 * room[0].max(room[1]);
    let [a, b] = ["a", "b"].map(netns);
    let mut streams = Vec::new();
    for [_, to, _] in FAMILIES {
        for _ in 0..CONNECTIONS / 2 {
            let [mut near, mut far] = connected((&a, &b), address(to))?;
            says(&mut near, &mut far)?;
            streams.push([near, far]);
        }
    }
    let reader = FlowsReader::open(&arena.up.store)?;
    let mut source = 1_u32;
    for (from, what, rule) in [("c/eth0", "allowed", "any"), (B, "denied", "default")] {
        let (begun, counted) = (reader.events()?.begun, arena.counts()[rule].0);
        let mut syn = Ends::both(&arena)[0].base.tcp(1, 80, SYN);
        syn.macs = [station(2), station(7)];
        let mut frame = syn.bytes(0);
        frame.truncate(60);
        for _ in 0..flood {
            // From anywhere: a linear congruential generator (Numerical Recipes).
            source = source.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            frame[27..30].copy_from_slice(&source.to_be_bytes()[..3]);
            frame[34..36].copy_from_slice(&source.to_be_bytes()[..2]);
            arena.send_frame(from, &frame);
        }
        let deadline = Instant::now() + PATIENCE;
        let judged = || arena.counts()[rule].0 - counted;
        // A busy machine may drop some before they are counted.
        while judged() < u64::from(flood) * 8 / 10 {
            assert!(Instant::now() < deadline, "{} were {what}", judged());
        }
        let begun = reader.events()?.begun - begun;
        // What is denied takes no room from anybody.
        assert_eq!(begun > u64::from(flood) / 2, what == "allowed", "{begun} began");
        // The end that could not begin one speaks first.
        let survivors = streams
            .iter_mut()
            .filter_map(|[near, far]| {
                near.set_read_timeout(Some(Duration::from_millis(100))).ok()?;
                says(far, near).and_then(|()| says(near, far)).ok()
            })
            .count();
        println!(
            "{survivors} of {CONNECTIONS} connections survive {flood} SYNs that are {what}, with \
             room for {room:?} flows"
        );
        assert_eq!(survivors, CONNECTIONS, "{what}");
    }
    drop((reader, streams, a, b));
    arena.down();
    Ok(())
}
