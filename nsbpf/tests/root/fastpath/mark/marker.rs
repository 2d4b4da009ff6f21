//! A program of somebody else's that marks what comes in by a device.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::world::tc;

/// Commands of bpf(2) and a kind of program (`include/uapi/linux/bpf.h`).
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_OBJ_PIN: libc::c_long = 6;
const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;

/// The first fields of `union bpf_attr` for each command.
#[repr(C)]
struct Load {
    kind: u32,
    instructions: u32,
    code: u64,
    license: u64,
    /// No log of the verifier's, and nothing besides.
    rest: [u64; 12],
}

#[repr(C)]
struct Pin {
    path: u64,
    program: u32,
    flags: u32,
}

fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<u32> {
    // SAFETY: the attributes are as long as told, and what they point to lives as long.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attributes, size_of::<T>()) };
    u32::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Has a filter mark what comes in by a device, before others look at it.
pub(super) fn add(device: &str, mark: u32) -> io::Result<()> {
    let [b0, b1, b2, b3] = mark.to_le_bytes();
    // r2 = mark; skb->mark = r2; return TC_ACT_UNSPEC.
    let code: [[u8; 8]; 4] = [
        [0xb7, 0x02, 0, 0, b0, b1, b2, b3],
        [0x63, 0x21, 8, 0, 0, 0, 0, 0],
        [0xb7, 0x00, 0, 0, 0xff, 0xff, 0xff, 0xff],
        [0x95, 0, 0, 0, 0, 0, 0, 0],
    ];
    let program = bpf(
        BPF_PROG_LOAD,
        &Load {
            kind: BPF_PROG_TYPE_SCHED_CLS,
            instructions: code.len() as u32,
            code: code.as_ptr() as u64,
            license: c"GPL".as_ptr() as u64,
            rest: [0; 12],
        },
    )?;
    let folder = tempfile::tempdir()?;
    mount("tests", folder.path(), "bpf", MountFlags::empty(), None)?;
    let path = folder.path().join("marker");
    let added = pinned(program, &path, device);
    // SAFETY: it was opened above, and nobody else has it.
    unsafe { libc::close(program as i32) };
    unmount(folder.path(), UnmountFlags::DETACH)?;
    added
}

fn pinned(program: u32, path: &Path, device: &str) -> io::Result<()> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    bpf(BPF_OBJ_PIN, &Pin { path: name.as_ptr() as u64, program, flags: 0 })?;
    let path = path.to_str().expect("a path");
    tc(&[
        "filter",
        "add",
        "dev",
        device,
        "ingress",
        "pref",
        "10",
        "bpf",
        "da",
        "object-pinned",
        path,
    ]);
    Ok(())
}
