//! All entries of a hash map, thousands with one call: one by one, a million take
//! seconds.

use std::collections::HashSet;
use std::hash::Hash;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd as _, BorrowedFd};

use aya::Pod;
use aya::maps::{HashMap, Map, MapData, MapError};
use aya::sys::SyscallError;

use super::DatapathError;
use super::ports::map_error;
use super::syscall::{self, Batch};
use crate::store::Store;

/// How entries are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// So many at a time (`BPF_MAP_LOOKUP_BATCH`, Linux 5.6), or more where that is too few
    /// for what the map keeps together.
    Batches(usize),
    /// One by one, as any kernel can.
    Keys,
}

impl Default for Reading {
    /// Half a megabyte of values, which a processor's cache holds.
    fn default() -> Self {
        Self::Batches(1 << 12)
    }
}

/// A hash map that is pinned.
pub(super) struct Table<K, V> {
    map: Map,
    name: &'static str,
    room: u32,
    types: PhantomData<(K, V)>,
}

impl<K: Pod + Default + Eq + Hash, V: Pod + Default> Table<K, V> {
    pub(super) fn open(store: &Store, name: &'static str) -> Result<Self, DatapathError> {
        let open = || -> Result<_, MapError> {
            let data = MapData::from_pin(store.pins().join(name))?;
            let room = data.info()?.max_entries();
            let map = Map::from_map_data(data)?;
            // The kernel writes keys and values as long as the map's.
            HashMap::<_, K, V>::try_from(&map)?;
            Ok((map, room))
        };
        let (map, room) = open().map_err(map_error("open", name))?;
        Ok(Self { map, name, room, types: PhantomData })
    }

    /// Entries that it has room for.
    pub(super) fn room(&self) -> u32 {
        self.room
    }

    /// An entry, if there is one.
    pub(super) fn get(&self, key: &K) -> Result<Option<V>, DatapathError> {
        let map = HashMap::<_, K, V>::try_from(&self.map).map_err(map_error("read", self.name))?;
        match map.get(key, 0) {
            Ok(value) => Ok(Some(value)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(map_error("read", self.name)(error)),
        }
    }

    /// Visits each entry. One that is made or goes meanwhile may be among them or not; the
    /// others are, once.
    pub(super) fn each(
        &self,
        reading: Reading,
        visit: impl FnMut(&K, &V),
    ) -> Result<(), DatapathError> {
        match reading {
            Reading::Batches(entries) => self.by_batches(entries, visit),
            Reading::Keys => self.by_keys(visit),
        }
        .map_err(map_error("read", self.name))
    }

    fn by_batches(&self, entries: usize, mut visit: impl FnMut(&K, &V)) -> Result<(), MapError> {
        let map = self.fd()?;
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        let mut size = entries.max(1);
        let mut place = None;
        loop {
            keys.resize(size, K::default());
            values.resize(size, V::default());
            match syscall::lookup_batch(map, place, &mut keys, &mut values) {
                Ok(Batch { entries, next }) => {
                    for (key, value) in keys.iter().zip(&values).take(entries) {
                        visit(key, value);
                    }
                    if next.is_none() {
                        return Ok(());
                    }
                    place = next;
                }
                Err(error)
                    if error.kind() == io::ErrorKind::StorageFull && size <= self.room as usize =>
                {
                    size *= 2;
                }
                Err(error) if place.is_none() && is_unknown(&error) => return self.by_keys(visit),
                Err(io_error) => {
                    return Err(SyscallError { call: "bpf_map_lookup_batch", io_error }.into());
                }
            }
        }
    }

    /// An entry that goes while it is visited sends the walk back to the start
    /// (`htab_map_get_next_key`, Linux 6.18): what comes twice is passed over, and a walk
    /// that never arrives ends.
    fn by_keys(&self, mut visit: impl FnMut(&K, &V)) -> Result<(), MapError> {
        let map = HashMap::<_, K, V>::try_from(&self.map)?;
        let mut seen = HashSet::new();
        for entry in map.iter().take(2 * self.room as usize) {
            let (key, value) = entry?;
            if seen.insert(key) {
                visit(&key, &value);
            }
        }
        Ok(())
    }

    fn fd(&self) -> Result<BorrowedFd<'_>, MapError> {
        match &self.map {
            Map::HashMap(data) | Map::LruHashMap(data) => Ok(data.fd().as_fd()),
            _ => Err(MapError::KeyNotFound),
        }
    }
}

/// Whether the kernel does not know such calls, or not for such maps.
fn is_unknown(error: &io::Error) -> bool {
    /// The kernel's `ENOTSUPP`, which libc does not know.
    const NOT_SUPPORTED: i32 = 524;
    matches!(error.raw_os_error(), Some(libc::EINVAL | NOT_SUPPORTED))
}
