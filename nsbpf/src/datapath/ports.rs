//! What the programs know of ports, and its end: with a port go its counters.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use aya::maps::xdp::{DevMap, XdpMapError};
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuHashMap, PerCpuValues};
use aya::util::nr_cpus;
use nsbpf_common::guard::OwnAddress;
use nsbpf_common::packet::ethertype;
use nsbpf_common::pair::{OUTSIDE, Pair};
use nsbpf_common::port::PortConfig;
use nsbpf_common::stats::{Cell, PortStats};

use super::load::{DEVICES, OWN_ADDRESSES, PAIR_CELLS, PAIR_TABLE, PORT_CONFIGS, PORT_STATS};
use super::{DatapathError, pairs};
use crate::state::{Datapath, Guard, Place, Port};
use crate::store::Store;

/// The ports of a datapath that is loaded.
pub struct Ports {
    configs: Array<MapData, PortConfig>,
    devices: DevMap<MapData>,
    addresses: HashMap<MapData, OwnAddress, u8>,
    /// What is in `addresses`, by port.
    known: BTreeMap<u16, BTreeSet<IpAddr>>,
    stats: PerCpuArray<MapData, PortStats>,
    pair_table: PerCpuArray<MapData, Cell>,
    pair_cells: PerCpuHashMap<MapData, Pair, Cell>,
    table_rows: u16,
}

impl Ports {
    /// Opens the maps of a lab.
    pub fn open(store: &Store, datapath: &Datapath) -> Result<Self, DatapathError> {
        let addresses: HashMap<_, OwnAddress, u8> = open(store, OWN_ADDRESSES)?;
        let mut known: BTreeMap<u16, BTreeSet<IpAddr>> = BTreeMap::new();
        for key in addresses.keys() {
            let key = key.map_err(map_error("read", OWN_ADDRESSES))?;
            known.entry(key.port).or_default().insert(address_of(&key));
        }
        Ok(Self {
            configs: open(store, PORT_CONFIGS)?,
            devices: open(store, DEVICES)?,
            addresses,
            known,
            stats: open(store, PORT_STATS)?,
            pair_table: open(store, PAIR_TABLE)?,
            pair_cells: open(store, PAIR_CELLS)?,
            table_rows: pairs::table_ports(datapath),
        })
    }

    /// All ports that the programs know. `place` tells where the device of a port is.
    pub fn all(&self, place: impl Fn(u16) -> Option<Place>) -> Result<Vec<Port>, DatapathError> {
        let mut ports = Vec::new();
        for number in 0..u16::try_from(self.configs.len()).unwrap_or(OUTSIDE) {
            let config = self.configs.get(&number.into(), 0);
            let config = config.map_err(map_error("read", PORT_CONFIGS))?;
            if !config.is_present() {
                continue;
            }
            let guard = config.is_guarded().then(|| {
                if config.guards_addresses() {
                    Guard::Addresses(self.known.get(&number).cloned().unwrap_or_default())
                } else {
                    Guard::Mac
                }
            });
            let direct_peer = config.direct_peer();
            let (way, handed_over) = (config.way(), config.is_handed_over());
            let router = config.is_router();
            let takes_xdp = self.takes_xdp(number)?.then(|| place(number)).flatten();
            let PortConfig { identity, mac, domain, .. } = config;
            ports.push(Port {
                number,
                identity,
                mac,
                direct_peer,
                domain,
                way,
                takes_xdp,
                guard,
                router,
                handed_over,
            });
        }
        Ok(ports)
    }

    fn takes_xdp(&self, number: u16) -> Result<bool, DatapathError> {
        match self.devices.get(number.into(), 0) {
            Ok(_) => Ok(true),
            Err(MapError::KeyNotFound) => Ok(false),
            Err(error) => Err(map_error("read", DEVICES)(error)),
        }
    }

    /// Tells the programs of a port, or what is new about it. Addresses first: a
    /// guard that comes on knows them.
    ///
    /// `ifindex` is the port's device, in the calling thread's network namespace if it is
    /// to take frames from XDP.
    pub fn set(&mut self, port: &Port, ifindex: u32) -> Result<(), DatapathError> {
        let Port {
            number,
            identity,
            mac,
            direct_peer,
            domain,
            way,
            takes_xdp,
            guard,
            router,
            handed_over,
        } = port;
        let mut config = PortConfig::new(*mac).of(*identity).within(*domain).by(*way);
        config = config.router(*router).handed_over(*handed_over);
        if takes_xdp.is_some() || self.takes_xdp(*number)? {
            self.set_device(*number, takes_xdp.as_ref().map_or(0, |_| ifindex))?;
        }
        if let Some(peer) = direct_peer {
            config = config.direct(*peer);
        }
        let none = BTreeSet::new();
        let wanted = match guard {
            None => &none,
            Some(Guard::Mac) => {
                config = config.guarded(false);
                &none
            }
            Some(Guard::Addresses(addresses)) => {
                config = config.guarded(true);
                addresses
            }
        };
        for address in wanted {
            let key = key_of(*number, *address);
            self.addresses.insert(key, 1, 0).map_err(map_error("write", OWN_ADDRESSES))?;
        }
        self.configs.set((*number).into(), config, 0).map_err(map_error("write", PORT_CONFIGS))?;
        self.forget_addresses(*number, wanted)?;
        self.known.insert(*number, wanted.clone());
        Ok(())
    }

    /// Tells the programs that a port's packets meet them at two hooks from now on, or no
    /// more.
    pub fn hand_over(&mut self, number: u16, is: bool) -> Result<(), DatapathError> {
        let config = self.configs.get(&number.into(), 0);
        let config = config.map_err(map_error("read", PORT_CONFIGS))?;
        if config.is_handed_over() == is {
            return Ok(());
        }
        let set = self.configs.set(number.into(), config.handed_over(is), 0);
        set.map_err(map_error("write", PORT_CONFIGS))
    }

    /// Forgets a port and all that was counted of it. What says that there is one
    /// goes last, so that nothing stays behind a forgetting that was cut short.
    pub fn forget(&mut self, number: u16) -> Result<(), DatapathError> {
        if self.takes_xdp(number)? {
            self.set_device(number, 0)?;
        }
        self.forget_addresses(number, &BTreeSet::new())?;
        self.forget_pairs(number)?;
        let zeros = zeros::<PortStats>()?;
        self.stats.set(number.into(), zeros, 0).map_err(map_error("write", PORT_STATS))?;
        let nothing = PortConfig::default();
        self.configs.set(number.into(), nothing, 0).map_err(map_error("write", PORT_CONFIGS))
    }

    /// 0 for no device (`__dev_map_alloc_node`, Linux 6.18).
    fn set_device(&mut self, number: u16, ifindex: u32) -> Result<(), DatapathError> {
        let set = self.devices.set(number.into(), ifindex, None, 0);
        set.map_err(|error| match error {
            XdpMapError::MapError(source) => map_error("write", DEVICES)(source),
            XdpMapError::ChainedProgramNotSupported => DatapathError::Missing(DEVICES),
        })
    }

    fn forget_addresses(
        &mut self,
        number: u16,
        but: &BTreeSet<IpAddr>,
    ) -> Result<(), DatapathError> {
        for address in self.known.remove(&number).unwrap_or_default().difference(but) {
            let removed = self.addresses.remove(&key_of(number, *address));
            removed.map_err(map_error("write", OWN_ADDRESSES))?;
        }
        Ok(())
    }

    fn forget_pairs(&mut self, number: u16) -> Result<(), DatapathError> {
        let ports = self.table_rows;
        for other in (0..ports).chain([OUTSIDE]) {
            for pair in [Pair { from: other, to: number }, Pair { from: number, to: other }] {
                let index = pair.index(ports);
                if index >= self.pair_table.len() {
                    continue;
                }
                let cells = self.pair_table.get(&index, 0);
                let cells = cells.map_err(map_error("read", PAIR_TABLE))?;
                // Most pairs never meet.
                if cells.iter().any(|cell| *cell != Cell::default()) {
                    let set = self.pair_table.set(index, zeros::<Cell>()?, 0);
                    set.map_err(map_error("write", PAIR_TABLE))?;
                }
            }
        }
        let keys: Result<Vec<_>, _> = self.pair_cells.keys().collect();
        for key in keys.map_err(map_error("read", PAIR_CELLS))? {
            if key.from == number || key.to == number {
                self.pair_cells.remove(&key).map_err(map_error("write", PAIR_CELLS))?;
            }
        }
        Ok(())
    }
}

/// A map that was pinned when the datapath was loaded.
pub(super) fn open<M>(store: &Store, map: &'static str) -> Result<M, DatapathError>
where
    M: TryFrom<Map, Error = MapError>,
{
    open_pin(store, map, map)
}

/// A map that is pinned under another name than its own.
pub(super) fn open_pin<M>(store: &Store, pin: &str, map: &'static str) -> Result<M, DatapathError>
where
    M: TryFrom<Map, Error = MapError>,
{
    let data = MapData::from_pin(store.pins().join(pin)).map_err(map_error("open", map))?;
    Map::from_map_data(data).and_then(M::try_from).map_err(map_error("open", map))
}

pub(super) fn map_error(
    operation: &'static str,
    map: &'static str,
) -> impl FnOnce(MapError) -> DatapathError {
    move |source| DatapathError::Map { operation, map, source: Box::new(source) }
}

pub(super) fn zeros<T: aya::Pod + Default>() -> Result<PerCpuValues<T>, DatapathError> {
    let cpus = nr_cpus().map_err(|(path, source)| DatapathError::Io {
        operation: "read",
        path: path.into(),
        source,
    })?;
    let zeros = vec![T::default(); cpus];
    PerCpuValues::try_from(zeros).map_err(|source| DatapathError::Io {
        operation: "count processors in",
        path: "/sys/devices/system/cpu/possible".into(),
        source,
    })
}

fn key_of(port: u16, address: IpAddr) -> OwnAddress {
    match address {
        IpAddr::V4(address) => OwnAddress::v4(port, address.octets()),
        IpAddr::V6(address) => OwnAddress::v6(port, address.octets()),
    }
}

fn address_of(key: &OwnAddress) -> IpAddr {
    match (key.family, key.address) {
        (ethertype::IPV4, [a, b, c, d, ..]) => IpAddr::from([a, b, c, d]),
        (_, address) => IpAddr::from(address),
    }
}
