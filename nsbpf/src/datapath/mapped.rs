//! An array map of the kernel, mapped into memory: read without a call.

use std::ptr::{NonNull, null_mut};

use aya::Pod;
use aya::maps::{MapData, MapError};
use aya::sys::SyscallError;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::DatapathError;
use super::ports::map_error;
use crate::store::Store;

/// A map of numbers in memory, as it is from moment to moment.
pub(super) struct Mapped<T> {
    start: NonNull<T>,
    pub(super) entries: usize,
}

impl<T: Pod> Mapped<T> {
    pub(super) fn open(store: &Store, name: &'static str) -> Result<Self, DatapathError> {
        let map = MapData::from_pin(store.pins().join(name)).map_err(map_error("open", name))?;
        let info = map.info().map_err(map_error("look at", name))?;
        let (entries, size) = (info.max_entries() as usize, info.value_size() as usize);
        if size != size_of::<T>() {
            let wrong = MapError::InvalidValueSize { size, expected: size_of::<T>() };
            return Err(map_error("open", name)(wrong));
        }
        // SAFETY: memory of its own, wherever the kernel puts it.
        let mapped = unsafe {
            mmap(null_mut(), entries * size, ProtFlags::READ, MapFlags::SHARED, map.fd(), 0)
        };
        let start = mapped.map_err(|error| {
            let io_error = error.into();
            map_error("read", name)(SyscallError { call: "mmap", io_error }.into())
        })?;
        match NonNull::new(start.cast()) {
            Some(start) => Ok(Self { start, entries }),
            None => Err(DatapathError::Missing(name)),
        }
    }

    pub(super) fn at(&self, number: usize) -> T {
        assert!(number < self.entries, "there is no entry {number}");
        // SAFETY: inside of what was mapped.
        let entry = unsafe { self.start.add(number) };
        // SAFETY: aligned, as the kernel maps whole pages. Any bytes are a value, and a
        // processor may write them meanwhile.
        unsafe { entry.read_volatile() }
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        let bytes = self.entries * size_of::<T>();
        // SAFETY: what `open` mapped, to which nothing leads any more.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), bytes) };
    }
}
