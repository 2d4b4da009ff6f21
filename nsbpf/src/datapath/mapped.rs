//! An array map of the kernel, mapped into memory: read and written without a call.

use std::ops::Deref;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU64, Ordering};

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
        Self::map(store, name, name, ProtFlags::READ)
    }

    /// One that is pinned under another name than its own.
    pub(super) fn open_pin(
        store: &Store,
        pin: &str,
        name: &'static str,
    ) -> Result<Self, DatapathError> {
        Self::map(store, pin, name, ProtFlags::READ)
    }

    fn map(
        store: &Store,
        pin: &str,
        name: &'static str,
        protection: ProtFlags,
    ) -> Result<Self, DatapathError> {
        let map = MapData::from_pin(store.pins().join(pin)).map_err(map_error("open", name))?;
        let info = map.info().map_err(map_error("look at", name))?;
        let (entries, size) = (info.max_entries() as usize, info.value_size() as usize);
        if size != size_of::<T>() {
            let wrong = MapError::InvalidValueSize { size, expected: size_of::<T>() };
            return Err(map_error("open", name)(wrong));
        }
        // SAFETY: memory of its own, wherever the kernel puts it.
        let mapped =
            unsafe { mmap(null_mut(), entries * size, protection, MapFlags::SHARED, map.fd(), 0) };
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
        let entry = self.entry(number);
        // SAFETY: aligned, as the kernel maps whole pages. Any bytes are a value, and a
        // processor may write them meanwhile.
        unsafe { entry.read_volatile() }
    }

    fn entry(&self, number: usize) -> NonNull<T> {
        assert!(number < self.entries, "there is no entry {number}");
        // SAFETY: inside of what was mapped.
        unsafe { self.start.add(number) }
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        let bytes = self.entries * size_of::<T>();
        // SAFETY: what `open` mapped, to which nothing leads any more.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), bytes) };
    }
}

/// The same, to be written.
pub(super) struct Writable<T>(Mapped<T>);

impl<T: Pod> Writable<T> {
    pub(super) fn open_pin(
        store: &Store,
        pin: &str,
        name: &'static str,
    ) -> Result<Self, DatapathError> {
        Mapped::map(store, pin, name, ProtFlags::READ | ProtFlags::WRITE).map(Self)
    }

    pub(super) fn set(&mut self, number: usize, value: T) {
        let entry = self.0.entry(number);
        // SAFETY: aligned, as the kernel maps whole pages; a processor that reads it
        // meanwhile takes any bytes for a value.
        unsafe { entry.write_volatile(value) };
    }

    /// Writes entries that follow each other, which no program reads meanwhile.
    pub(super) fn fill(&mut self, first: usize, values: &[T]) {
        let Some(last) = values.len().checked_sub(1) else { return };
        self.0.entry(first + last);
        let start = self.0.entry(first).as_ptr();
        // SAFETY: as many entries are inside of what was mapped, and no slice of ours is.
        unsafe { start.copy_from_nonoverlapping(values.as_ptr(), values.len()) };
    }
}

impl Writable<u64> {
    /// Writes an entry after all that was written before, as a whole.
    pub(super) fn publish(&mut self, number: usize, value: u64) {
        let entry = self.0.entry(number).as_ptr();
        // SAFETY: aligned, and mapped for as long as this lives; programs read it as one
        // word.
        let entry = unsafe { AtomicU64::from_ptr(entry) };
        entry.store(value, Ordering::Release);
    }
}

impl<T> Deref for Writable<T> {
    type Target = Mapped<T>;

    fn deref(&self) -> &Mapped<T> {
        &self.0
    }
}
