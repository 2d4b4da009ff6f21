//! `exec` and `shell` from outside: the command is what the caller sees, and the
//! namespace is what the command sees.

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};

use libtest_mimic::Failed;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::Test;
use crate::command::{Done, finish, nsbpf, run};

pub(crate) const TESTS: &[Test] = &[
    ("exec::the_end_is_the_commands_own", || in_lab(ends)),
    ("exec::the_process_is_the_commands_own", || in_lab(process)),
    ("exec::arguments_and_streams_pass_unchanged", || in_lab(passed)),
    ("exec::the_namespace_is_what_it_sees", || in_lab(sees)),
    ("exec::bpffs_stays_reachable", || in_lab(bpffs)),
    ("exec::its_own_files_in_etc", || in_lab(|| with_etc(own_files))),
    ("exec::what_may_not_be_in_etc_netns", || in_lab(|| with_etc(bad_files))),
    ("exec::what_cannot_be_started", || in_lab(cannot_start)),
    ("exec::names_that_are_none", || in_lab(unknown)),
    ("exec::without_a_lab_or_a_right", without),
    ("exec::a_shell", || in_lab(shell)),
];

const LAB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../labs/quickstart.yaml");
const VNET0: &str = "quickstart/vnet0";

/// Runs a test while the quickstart lab is up.
fn in_lab(test: fn() -> Result<(), Failed>) -> Result<(), Failed> {
    assert_eq!(run(&["up", LAB]).code, Some(0));
    test()?;
    let down = run(&["down", "quickstart"]);
    assert!(down.out.contains("nothing of it is left"), "{}{}", down.out, down.err);
    Ok(())
}

/// Runs a test with an `/etc` of its own: that of the host is not touched.
fn with_etc(test: fn() -> Result<(), Failed>) -> Result<(), Failed> {
    mount("tests", "/etc", "tmpfs", MountFlags::empty(), Some(c"mode=0755"))?;
    fs::create_dir_all("/etc/netns/vnet0")?;
    fs::write("/etc/resolv.conf", "outside\n")?;
    test()?;
    unmount("/etc", UnmountFlags::DETACH)?;
    Ok(())
}

fn exec(command: &[&str]) -> Command {
    nsbpf(&[&["exec", VNET0, "--"], command].concat())
}

fn done(command: &[&str]) -> Done {
    finish(exec(command).stdout(Stdio::piped()).stderr(Stdio::piped()))
}

/// What a command prints that must end well and without a warning.
#[track_caller]
fn output(command: &[&str]) -> String {
    let done = done(command);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "{command:?}");
    done.out
}

/// Fails unless the command ended so, and said so.
#[track_caller]
fn refused(done: &Done, code: i32, says: &str) {
    assert_eq!(done.code, Some(code), "{}", done.err);
    assert!(done.err.contains(says), "{says:?} is not in {:?}", done.err);
    assert!(done.out.is_empty(), "{}", done.out);
}

fn ends() -> Result<(), Failed> {
    for code in [0, 1, 42, 255] {
        let status = exec(&["sh", "-c", &format!("exit {code}")]).status()?;
        assert_eq!(status.code(), Some(code));
    }
    for signal in [Signal::KILL, Signal::PIPE] {
        let number = signal.as_raw();
        let status = exec(&["sh", "-c", &format!("kill -{number} $$")]).status()?;
        assert_eq!(status.signal(), Some(number));
    }
    Ok(())
}

fn process() -> Result<(), Failed> {
    // Its number is that of nsbpf, so that signals reach it.
    let mut command = exec(&["sh", "-c", "echo $$; exec cat"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut number = vec![0; child.id().to_string().len()];
    child.stdout.as_mut().expect("a pipe").read_exact(&mut number)?;
    assert_eq!(String::from_utf8(number)?, child.id().to_string());
    kill_process(Pid::from_child(&child), Signal::TERM)?;
    assert_eq!(child.wait()?.signal(), Some(Signal::TERM.as_raw()));
    // Neither limits nor ignored signals of nsbpf's show in it.
    let mut limited = Command::new("sh");
    limited.args(["-c", r#"ulimit -Sn 99; exec "$@""#, "sh"]).arg(exec(&[]).get_program());
    limited.args(["exec", VNET0, "--", "sh", "-c", "ulimit -Sn; grep SigIgn: /proc/self/status"]);
    let shown = finish(limited.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let outside = Command::new("grep").args(["SigIgn:", "/proc/self/status"]).output()?;
    let outside = String::from_utf8(outside.stdout)?;
    assert_eq!(shown.out, format!("99\n{outside}"), "{}", shown.err);
    Ok(())
}

fn passed() -> Result<(), Failed> {
    let words = ["a b", "$HOME", "", "*", "-v", "--help", "--", "a;b"];
    let printed = output(&[&["printf", "<%s>"], &words[..]].concat());
    assert_eq!(printed, words.map(|word| format!("<{word}>")).concat());
    let mut command = exec(&["cat"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().expect("a pipe").write_all(b"in and out")?;
    assert_eq!(child.wait_with_output()?.stdout, b"in and out");
    let place = output(&["sh", "-c", "echo $NSBPF_LAB $NSBPF_NAMESPACE"]);
    assert_eq!(place, "quickstart vnet0\n");
    Ok(())
}

fn sees() -> Result<(), Failed> {
    let shown: Value = serde_json::from_str(&output(&["ip", "-json", "address", "show", "eth0"]))?;
    assert_eq!(shown[0]["addr_info"][0]["local"], "10.0.0.1", "{shown}");
    assert_eq!(output(&["ls", "/sys/class/net"]), "eth0\nlo\n");
    assert!(fs::exists("/sys/class/net/vnet0-eth0")?, "/sys outside is as before");
    let may_write = || output(&["sh", "-c", "grep ' /sys sysfs r[ow],' /proc/mounts | tail -1"]);
    assert!(may_write().contains(" rw,"), "{}", may_write());
    // Who made it read-only, in a container say, does not lose that.
    mount_remount("/sys", MountFlags::RDONLY | MountFlags::BIND, "")?;
    assert!(may_write().contains(" ro,"), "{}", may_write());
    mount_remount("/sys", MountFlags::BIND, "")?;
    Ok(())
}

fn bpffs() -> Result<(), Failed> {
    mount("tests", "/sys/fs/bpf", "bpf", MountFlags::empty(), None)?;
    fs::create_dir("/sys/fs/bpf/outside")?;
    output(&["sh", "-c", "test -d /sys/fs/bpf/outside && mkdir /sys/fs/bpf/inside"]);
    assert!(fs::exists("/sys/fs/bpf/inside")?, "it is the same file system");
    unmount("/sys/fs/bpf", UnmountFlags::DETACH)?;
    Ok(())
}

fn own_files() -> Result<(), Failed> {
    fs::write("/etc/netns/vnet0/resolv.conf", "inside\n")?;
    assert_eq!(output(&["cat", "/etc/resolv.conf"]), "inside\n");
    assert_eq!(fs::read_to_string("/etc/resolv.conf")?, "outside\n");
    let other = run(&["exec", "quickstart/vnet1", "--", "cat", "/etc/resolv.conf"]);
    assert_eq!(other.out, "outside\n", "{}", other.err);

    // Links on either side: within the folder, and in /etc to wherever.
    fs::rename("/etc/netns/vnet0/resolv.conf", "/etc/netns/vnet0/real")?;
    symlink("real", "/etc/netns/vnet0/resolv.conf")?;
    fs::remove_file("/etc/resolv.conf")?;
    fs::write("/run/resolv.conf", "outside\n")?;
    symlink("/run/resolv.conf", "/etc/resolv.conf")?;
    let linked = done(&["cat", "/etc/resolv.conf"]);
    assert_eq!((linked.code, linked.out.as_str()), (Some(0), "inside\n"), "{}", linked.err);
    assert_eq!(
        linked.err,
        "warning: /etc/netns/vnet0/real is not used: there is no /etc/real that it could hide\n"
    );
    assert_eq!(fs::read_to_string("/etc/resolv.conf")?, "outside\n");
    fs::remove_file("/run/resolv.conf")?;
    Ok(())
}

fn bad_files() -> Result<(), Failed> {
    fs::write("/etc/secret", "")?;
    for target in ["/etc/secret", "../../secret", "loop", "/proc/self/fd/0"] {
        symlink(target, "/etc/netns/vnet0/loop")?;
        refused(
            &done(&["true"]),
            1,
            "/etc/netns/vnet0/loop is a link that does not end in its folder",
        );
        fs::remove_file("/etc/netns/vnet0/loop")?;
    }
    fs::create_dir("/etc/netns/vnet0/secret")?;
    refused(&done(&["true"]), 1, "/etc/netns/vnet0/secret: ");
    fs::remove_dir("/etc/netns/vnet0/secret")?;
    fs::set_permissions("/etc/netns/vnet0", Permissions::from_mode(0o777))?;
    refused(&done(&["true"]), 1, "nobody else may write to it");
    fs::remove_dir("/etc/netns/vnet0")?;
    symlink("/run", "/etc/netns/vnet0")?;
    refused(&done(&["true"]), 1, "open /etc/netns/vnet0: ");
    Ok(())
}

fn cannot_start() -> Result<(), Failed> {
    refused(&done(&["nsbpf-no-such"]), 127, "error: nsbpf-no-such: command not found");
    refused(&done(&["/run/no-such"]), 127, "/run/no-such: command not found");
    refused(&done(&[""]), 127, "command not found");
    let text = "/run/text";
    fs::write(text, "echo a shell reads this\n")?;
    refused(&done(&[text]), 126, "/run/text: Permission denied");
    refused(&done(&["/run"]), 126, "Permission denied");
    fs::set_permissions(text, Permissions::from_mode(0o755))?;
    refused(&done(&[text]), 126, "Exec format error");
    fs::write(text, "#!/run/no-such\n")?;
    refused(&done(&[text]), 126, "its interpreter is not there");
    fs::remove_file(text)?;
    Ok(())
}

fn unknown() -> Result<(), Failed> {
    for (target, code, says) in [
        ("quikstart/vnet0", 1, "there is no lab `quikstart`: did you mean `quickstart`?"),
        ("quickstart/vnet9", 1, "there is no namespace `vnet9` in the lab `quickstart`: did you"),
        ("quickstart/web", 1, "possible here: `vnet0`, `vnet1`"),
        ("vnet0", 2, "as in `quickstart/vnet0`"),
        ("quickstart/vnet0/eth0", 2, "as in `quickstart/vnet0`"),
        ("../vnet0", 2, "the lab's name: "),
        ("quickstart/..", 2, "the namespace's name: "),
    ] {
        refused(&run(&["exec", target, "--", "true"]), code, says);
        refused(&run(&["shell", target]), code, says);
    }
    refused(&run(&["exec", VNET0]), 2, "COMMAND");
    refused(&run(&["exec", VNET0, "--"]), 2, "COMMAND");
    Ok(())
}

fn without() -> Result<(), Failed> {
    refused(&done(&["true"]), 1, "there is no lab `quickstart`: no lab is up");
    assert!(!fs::exists("/run/nsbpf")?, "it only looks");
    let mut nobody = exec(&["true"]);
    nobody.stdout(Stdio::piped()).stderr(Stdio::piped()).uid(65534).gid(65534);
    refused(&finish(&mut nobody), 4, "CAP_NET_ADMIN");
    Ok(())
}

fn shell() -> Result<(), Failed> {
    for set in [None, Some(""), Some("/bin/sh")] {
        let mut command = nsbpf(&["shell", VNET0]);
        match set {
            Some(shell) => command.env("SHELL", shell),
            None => command.env_remove("SHELL"),
        };
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut script = child.stdin.take().expect("a pipe");
        script.write_all(b"echo $NSBPF_LAB/$NSBPF_NAMESPACE; ls /sys/class/net; exit 5\n")?;
        let output = child.wait_with_output()?;
        assert_eq!(output.status.code(), Some(5));
        assert_eq!(String::from_utf8(output.stdout)?, "quickstart/vnet0\neth0\nlo\n");
    }
    let mut command = nsbpf(&["shell", VNET0]);
    command.env("SHELL", "/run/no-such").stdout(Stdio::piped()).stderr(Stdio::piped());
    refused(&finish(&mut command), 127, "/run/no-such: command not found");
    Ok(())
}
