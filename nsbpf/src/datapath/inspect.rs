//! What the kernel tells of programs and maps that are loaded.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use aya::maps::{MapError, MapInfo, MapType};
use aya::programs::{ProgramError, ProgramInfo, loaded_programs};
use aya::sys::{Stats, SyscallError, enable_stats};

use super::load;
use super::{DatapathError, syscall};
use crate::state::HookPoint;
use crate::store::Store;

/// A program that is loaded.
#[derive(Clone, Debug)]
pub struct LoadedProgram {
    /// Its id.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Instructions that the verifier looked at; `None` before Linux 5.16.
    pub verified_instructions: Option<u32>,
    /// Bytes of machine code; 0 where the kernel interprets it.
    pub jitted_bytes: u32,
    /// Bytes of memory that it takes besides.
    pub memory_bytes: u32,
    /// How long it ran while the kernel measured.
    pub run_time: Duration,
    /// How often it ran meanwhile.
    pub runs: u64,
    /// Ids of its maps.
    pub maps: Vec<u32>,
}

/// A map that is loaded.
#[derive(Clone, Debug)]
pub struct LoadedMap {
    /// Its id.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// What kind it is.
    pub kind: String,
    /// Bytes of a key.
    pub key_bytes: u32,
    /// Bytes of a value, a CPU.
    pub value_bytes: u32,
    /// Entries that it has room for.
    pub max_entries: u32,
    /// Entries that are there; `None` where all of them always are.
    pub entries: Option<u32>,
    /// Bytes of memory that it takes.
    pub memory_bytes: u64,
}

/// The lab's program for a hook.
pub fn loaded_program(store: &Store, point: HookPoint) -> Result<LoadedProgram, DatapathError> {
    let name = load::program_name(point);
    let look = || -> Result<LoadedProgram, ProgramError> {
        let info = ProgramInfo::from_pin(store.pins().join(name))?;
        Ok(LoadedProgram {
            id: info.id(),
            name: info.name_as_str().unwrap_or(name).to_owned(),
            verified_instructions: info.verified_instruction_count(),
            jitted_bytes: info.size_jitted(),
            memory_bytes: info.memory_locked()?,
            run_time: info.run_time(),
            runs: info.run_count(),
            maps: info.map_ids()?.unwrap_or_default(),
        })
    };
    look().map_err(|source| DatapathError::Program {
        operation: "look at",
        program: name,
        source: Box::new(source),
    })
}

/// The name of a program; empty when it has none, or is gone.
#[must_use]
pub fn name_of_program(id: u32) -> String {
    let program = loaded_programs().flatten().find(|info| info.id() == id);
    program.and_then(|info| info.name_as_str().map(str::to_owned)).unwrap_or_default()
}

/// A map of that id.
pub fn loaded_map(id: u32) -> Result<LoadedMap, DatapathError> {
    let failed = |source: MapError| DatapathError::Map {
        operation: "look at",
        map: "of a program",
        source: Box::new(source),
    };
    let info = MapInfo::from_id(id).map_err(failed)?;
    let kind = info.map_type().map_err(failed)?;
    let map = info.fd().map_err(failed)?;
    let map = map.as_fd();
    let read = |operation| {
        let path = fdinfo(map);
        move |source| DatapathError::Io { operation, path: path.into(), source }
    };
    Ok(LoadedMap {
        id,
        name: info.name_as_str().unwrap_or_default().to_owned(),
        kind: format!("{kind:?}"),
        key_bytes: info.key_size(),
        value_bytes: info.value_size(),
        max_entries: info.max_entries(),
        entries: if fills(kind) {
            let entries = entries(map, info.key_size(), info.max_entries());
            Some(entries.map_err(read("count the entries of the map behind"))?)
        } else {
            None
        },
        memory_bytes: memory(map).map_err(read("read"))?,
    })
}

/// Has the kernel measure how long programs run, all of the machine's, for as long as
/// this is held. Costs each run some tens of nanoseconds.
///
/// # Errors
/// The kernel cannot (before Linux 5.8).
pub fn measure() -> Result<OwnedFd, DatapathError> {
    enable_stats(Stats::RunTime)
        .map_err(|SyscallError { io_error, .. }| DatapathError::Measure(io_error))
}

fn fills(kind: MapType) -> bool {
    matches!(
        kind,
        MapType::Hash
            | MapType::LruHash
            | MapType::PerCpuHash
            | MapType::LruPerCpuHash
            | MapType::LpmTrie
            | MapType::HashOfMaps
            | MapType::DevMapHash
    )
}

/// Counts the keys of a map that others may change meanwhile.
fn entries(map: BorrowedFd<'_>, key_bytes: u32, max_entries: u32) -> io::Result<u32> {
    let mut key = vec![0; key_bytes as usize];
    let mut next = key.clone();
    let mut count = 0;
    // An entry that goes sends the walk back to the start (`htab_map_get_next_key`,
    // Linux 6.18).
    while count < max_entries
        && syscall::next_key(map, (count > 0).then_some(key.as_slice()), &mut next)?
    {
        std::mem::swap(&mut key, &mut next);
        count += 1;
    }
    Ok(count)
}

fn fdinfo(map: BorrowedFd<'_>) -> String {
    format!("/proc/self/fdinfo/{}", map.as_raw_fd())
}

/// Bytes that a map takes (`bpf_map_show_fdinfo`, Linux 6.18).
pub(super) fn memory(map: BorrowedFd<'_>) -> io::Result<u64> {
    let text = fs::read_to_string(fdinfo(map))?;
    let bytes = text.lines().find_map(|line| line.strip_prefix("memlock:"));
    bytes
        .and_then(|bytes| bytes.trim().parse().ok())
        .ok_or_else(|| io::Error::other("it does not say how much memory the map takes"))
}
