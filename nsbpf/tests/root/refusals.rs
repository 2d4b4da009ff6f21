//! Bad input and bad surroundings: a clear error, the right exit code, and an
//! unchanged machine.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use libtest_mimic::Failed;

use crate::Test;
use crate::command::{Done, finish, nsbpf, run};
use crate::world::{everything, ip, ip_json};

pub(crate) const TESTS: &[Test] = &[
    ("refusals::without_root", without_root),
    ("refusals::without_a_capability", without_a_capability),
    ("refusals::without_bpf", without_bpf),
    ("refusals::a_mistyped_lab", mistyped),
    ("refusals::a_lab_that_is_not_there", not_there),
    ("refusals::somebody_elses_namespace", foreign_netns),
    ("refusals::somebody_elses_bridge", foreign_bridge),
    ("refusals::somebody_elses_link_by_a_host_ends_name", foreign_host_end),
    ("refusals::a_subnet_that_the_host_is_in", foreign_subnet),
    ("refusals::another_labs_namespace", another_labs_namespace),
    ("refusals::a_failed_step_is_undone", undone),
];

/// Runs nsbpf, which must fail that way and change nothing.
#[track_caller]
fn refused(done: impl FnOnce() -> Done, code: i32, says: &[&str]) -> Done {
    let before = everything();
    let done = done();
    assert_eq!(done.code, Some(code), "{}", done.err);
    for text in says {
        assert!(done.err.contains(text), "{text:?} is not in {:?}", done.err);
    }
    assert_eq!(everything(), before);
    assert!(!std::fs::exists("/run/nsbpf").unwrap(), "/run/nsbpf is there");
    done
}

fn without_root() -> Result<(), Failed> {
    let nobody =
        || finish(nsbpf(&["run", "--duration", "1s"]).stderr(Stdio::piped()).uid(65534).gid(65534));
    let done = refused(nobody, 4, &["CAP_NET_ADMIN", "Run it as root: `sudo nsbpf …`."]);
    assert_eq!(done.err.lines().count(), 1, "{}", done.err);
    Ok(())
}

fn without_a_capability() -> Result<(), Failed> {
    let mut command = nsbpf(&["run", "--duration", "1s"]);
    command.stderr(Stdio::piped());
    // SAFETY: only a system call between fork and exec.
    unsafe { command.pre_exec(drop_sys_admin) };
    refused(|| finish(&mut command), 4, &["CAP_SYS_ADMIN", "start it privileged"]);
    Ok(())
}

fn drop_sys_admin() -> io::Result<()> {
    const CAP_SYS_ADMIN: libc::c_ulong = 21;
    // SAFETY: takes plain numbers.
    match unsafe { libc::prctl(libc::PR_CAPBSET_DROP, CAP_SYS_ADMIN, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A kernel without bpf(2), played by a seccomp filter.
fn without_bpf() -> Result<(), Failed> {
    let mut command = nsbpf(&["run", "--duration", "1s"]);
    command.stderr(Stdio::piped());
    // SAFETY: only system calls between fork and exec.
    unsafe { command.pre_exec(forbid_bpf) };
    refused(
        || finish(&mut command),
        4,
        &["this kernel does not load eBPF maps", "CONFIG_BPF_SYSCALL"],
    );
    Ok(())
}

/// For a process about to be executed: bpf(2) does not exist for it.
pub(crate) fn forbid_bpf() -> io::Result<()> {
    const fn statement(code: u32, k: u32) -> libc::sock_filter {
        libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
    }
    let is_bpf = libc::sock_filter {
        jf: 1,
        ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::SYS_bpf as u32)
    };
    let mut filter = [
        // The number of the system call is the first field.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        is_bpf,
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program outlives the call.
    let result =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn run_text(lab: &str) -> Done {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lab.yaml");
    std::fs::write(&path, lab).unwrap();
    run(&["run", path.to_str().unwrap(), "--duration", "100ms"])
}

fn mistyped() -> Result<(), Failed> {
    let lab = "name: a\nbridges:\n  br0: {}\nnamespaces:\n  n0:\n    interfces: {}\n";
    let says = [
        "unknown key `interfces`",
        "lab.yaml:6:5",
        "did you mean `interfaces`?",
        "6 |     interfces",
    ];
    refused(|| run_text(lab), 2, &says);
    Ok(())
}

fn not_there() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let binary = folder.path().join("binary.yaml");
    std::fs::write(&binary, b"name: \xff\n")?;
    let says = ["binary.yaml is not UTF-8 text: byte 6 is not"];
    refused(|| run(&["run", binary.to_str().unwrap()]), 2, &says);
    refused(|| run(&["run", "/dev/zero"]), 2, &["/dev/zero is longer than 16 MiB"]);
    refused(|| run(&["run", "/"]), 2, &["read /: Is a directory"]);
    refused(|| run(&["run", "/dev/null"]), 2, &["the file ends too early"]);
    refused(|| run(&["run", "/nowhere/lab.yaml"]), 2, &["read /nowhere/lab.yaml", "No such file"]);
    Ok(())
}

fn foreign_netns() -> Result<(), Failed> {
    ip(&["netns", "add", "vnet1"]);
    let says =
        ["a network namespace `vnet1` exists already", "was not made by nsbpf", "left as it is"];
    refused(|| run(&["run"]), 1, &says);
    ip(&["netns", "delete", "vnet1"]);
    // `ip netns` made it a mount.
    rustix::mount::unmount("/run/netns", rustix::mount::UnmountFlags::DETACH)?;
    Ok(())
}

fn foreign_bridge() -> Result<(), Failed> {
    ip(&["link", "add", "br0", "type", "bridge"]);
    refused(
        || run(&["run"]),
        1,
        &["bridge br0 needs the interface name `br0`", "ip link delete br0"],
    );
    ip(&["link", "delete", "br0"]);
    Ok(())
}

fn foreign_host_end() -> Result<(), Failed> {
    ip(&["link", "add", "vnet0-eth0", "type", "bridge"]);
    let says = ["the bridge's end of vnet0/eth0 needs the interface name `vnet0-eth0`"];
    refused(|| run(&["run"]), 1, &says);
    ip(&["link", "delete", "vnet0-eth0"]);
    Ok(())
}

fn foreign_subnet() -> Result<(), Failed> {
    let text = "name: gateway\nbridges: { br0: { addresses: [10.0.0.254/24, 'fd00::fe/64'] } }\n\
        namespaces: { n0: {} }\n";
    ip(&["link", "add", "lan0", "type", "bridge"]);
    // Neither addresses of no subnet nor what every link has is in the way.
    for address in ["10.0.0.9/32", "fe80::9/64", "10.0.1.1/24"] {
        ip(&["address", "add", address, "dev", "lan0"]);
    }
    ip(&["link", "set", "lan0", "up"]);
    let done = run_text(text);
    assert_eq!(done.code, Some(0), "{}", done.err);
    for address in ["10.0.0.9/16", "fd00::9/48"] {
        ip(&["address", "add", address, "dev", "lan0"]);
        let subnet: ipnet::IpNet = address.parse()?;
        let subnet = subnet.trunc().to_string();
        let says = ["br0 is to have the address", &subnet, "Choose another subnet"];
        refused(|| run_text(text), 1, &says);
        ip(&["address", "delete", address, "dev", "lan0"]);
    }
    ip(&["link", "delete", "lan0"]);
    Ok(())
}

fn another_labs_namespace() -> Result<(), Failed> {
    let mut running = crate::command::Running::start(&[]);
    running.up();
    let lab = "name: other\nbridges: { br1: {} }\nnamespaces:\n  vnet0: {}\n";
    let done = run_text(lab);
    assert_eq!(done.code, Some(1), "{}", done.err);
    assert!(
        done.err.contains("`vnet0` exists already and belongs to the lab `quickstart`"),
        "{}",
        done.err
    );
    running.signal(rustix::process::Signal::INT);
    let (status, errors) = running.end();
    assert!(status.success(), "{errors}");
    Ok(())
}

/// Something that no plan can see coming: the interface index that the lab will
/// ask for is taken.
fn undone() -> Result<(), Failed> {
    let mut running = crate::command::Running::start(&[]);
    running.up();
    let index = ip_json(&["link", "show", "vnet1-eth0"])[0]["ifindex"].to_string();
    running.signal(rustix::process::Signal::INT);
    running.end();
    ip(&["link", "add", "foreign", "index", &index, "type", "bridge"]);
    let says = ["create interface vnet1/eth0: File exists", "What had been done was undone."];
    refused(|| run(&["run"]), 1, &says);
    ip(&["link", "delete", "foreign"]);
    Ok(())
}
