//! bpf(2) for what aya 0.14 has no call for.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use aya::Pod;
use aya_obj::generated::{bpf_attr, bpf_cmd};

fn bpf(command: bpf_cmd, attributes: &mut bpf_attr) -> io::Result<libc::c_long> {
    // SAFETY: the attributes are as long as told; what they point to is the
    // caller's, who borrows it for the length of the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as libc::c_long,
            &raw mut *attributes,
            size_of::<bpf_attr>(),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn attributes() -> bpf_attr {
    // SAFETY: integers and arrays of integers, for which 0 is a value.
    unsafe { std::mem::zeroed() }
}

#[expect(clippy::cast_sign_loss, reason = "a file descriptor is not negative")]
fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd() as u32
}

/// Opens what is pinned there.
pub(super) fn open_pin(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attributes = attributes();
    attributes.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    let fd = bpf(bpf_cmd::BPF_OBJ_GET, &mut attributes)?;
    #[expect(clippy::cast_possible_truncation, reason = "a file descriptor is an int")]
    let fd = fd as libc::c_int;
    // SAFETY: the kernel has just opened it for this call, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Detaches a link, before the call returns. (Letting go of its last pin does so some
/// time after: `bpf_link_put`, Linux 6.18.)
pub(super) fn detach_link(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut attributes = attributes();
    attributes.link_detach.link_fd = number(link);
    bpf(bpf_cmd::BPF_LINK_DETACH, &mut attributes).map(drop)
}

/// Finds the key after `key`, or the first; `false` when there is none.
pub(super) fn next_key(
    map: BorrowedFd<'_>,
    key: Option<&[u8]>,
    next: &mut [u8],
) -> io::Result<bool> {
    let mut attributes = attributes();
    attributes.__bindgen_anon_2.map_fd = number(map);
    attributes.__bindgen_anon_2.key = key.map_or(0, |key| key.as_ptr() as u64);
    attributes.__bindgen_anon_2.__bindgen_anon_1.next_key = next.as_mut_ptr() as u64;
    match bpf(bpf_cmd::BPF_MAP_GET_NEXT_KEY, &mut attributes) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// What a batch is.
pub(super) struct Batch {
    /// Entries that were read.
    pub(super) entries: usize,
    /// Where the next one begins; `None` after the last.
    pub(super) next: Option<u32>,
}

/// Reads entries of a hash map whose keys and values are of these types: from a place on,
/// or from the beginning, as many as fit.
///
/// A bucket is read as a whole: one that does not fit is [`io::ErrorKind::StorageFull`]
/// (`__htab_map_lookup_and_delete_batch`, Linux 6.18).
pub(super) fn lookup_batch<K: Pod, V: Pod>(
    map: BorrowedFd<'_>,
    place: Option<u32>,
    keys: &mut [K],
    values: &mut [V],
) -> io::Result<Batch> {
    let mut next = 0_u32;
    let mut attributes = attributes();
    let count = keys.len().min(values.len());
    attributes.batch.map_fd = number(map);
    attributes.batch.in_batch = place.as_ref().map_or(0, |place| &raw const *place as u64);
    attributes.batch.out_batch = &raw mut next as u64;
    attributes.batch.keys = keys.as_mut_ptr() as u64;
    attributes.batch.values = values.as_mut_ptr() as u64;
    attributes.batch.count = u32::try_from(count).unwrap_or(u32::MAX);
    let done = bpf(bpf_cmd::BPF_MAP_LOOKUP_BATCH, &mut attributes);
    // SAFETY: an integer, which the kernel may have written.
    let entries = unsafe { attributes.batch.count } as usize;
    match done {
        Ok(_) => Ok(Batch { entries, next: Some(next) }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Batch { entries, next: None }),
        Err(error) => Err(error),
    }
}
