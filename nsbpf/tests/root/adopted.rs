//! Namespaces of others, found by name, process or container: wired, and left as
//! they were.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use libtest_mimic::Failed;
use nsbpf::net::NetNs;
use nsbpf::net::echo::Echo;
use nsbpf::state::IngressHook;

use crate::Test;
use crate::command::run;
use crate::engine::{Up, lab};
use crate::world::{Foreign, ip, reaches};

pub(crate) const TESTS: &[Test] = &[
    ("adopted::a_namespace_is_wired_and_left", adopted),
    ("adopted::a_process_is_wired", process),
    ("adopted::a_container_is_asked_for", container),
];

fn adopted() -> Result<(), Failed> {
    let foreign = Foreign::new("theirs");
    ip(&["-netns", "theirs", "link", "add", "own0", "type", "veth", "peer", "name", "own1"]);
    let before = ip(&["-netns", "theirs", "-brief", "address"]);
    let text = "name: adopt\nbridges: { br0: {} }\nnamespaces:\n  \
        guest:\n    netns: theirs\n    interfaces:\n      \
        eth7: { bridge: br0, addresses: [10.0.0.1/24] }\n      \
        eth8: { peer: ours/eth8, addresses: [10.0.8.1/24] }\n    \
        routes: [{ to: 192.0.2.0/24, via: 10.0.0.2 }]\n  \
        ours:\n    interfaces:\n      \
        eth0: { bridge: br0, addresses: [10.0.0.2/24] }\n      \
        eth8: { addresses: [10.0.8.2/24] }\n";
    let adopt = lab(text);
    let up = Up::new(&adopt);
    up.converge(&adopt, IngressHook::Tc);
    assert_eq!(up.converge(&adopt, IngressHook::Tc).steps, 0);
    assert!(reaches("theirs", "10.0.0.2"));
    assert!(reaches("ours", "10.0.8.1"));
    // Somebody else's interface name there is refused before anything is touched.
    let taken = lab(&text.replace("eth7", "own0"));
    let error = up.try_converge(&taken, IngressHook::Tc).unwrap_err().to_string();
    assert!(error.contains("the interface name `own0` in namespace guest"), "{error}");
    assert!(reaches("theirs", "10.0.0.2"));
    // Another namespace takes its place under the same name.
    drop(foreign);
    let foreign = Foreign::new("theirs");
    ip(&["-netns", "theirs", "link", "add", "own0", "type", "veth", "peer", "name", "own1"]);
    up.converge(&adopt, IngressHook::Tc);
    assert!(reaches("theirs", "10.0.0.2"));
    assert!(reaches("ours", "10.0.8.1"));
    up.down();
    assert_eq!(
        ip(&["-netns", "theirs", "-brief", "address"]).lines().count(),
        before.lines().count()
    );
    let left = ip(&["-netns", "theirs", "-brief", "link"]);
    assert!(!left.contains("eth"), "{left}");
    drop(foreign);
    let up = Up::new(&adopt);
    // One that is not there.
    let error = up.try_converge(&adopt, IngressHook::Tc).unwrap_err().to_string();
    assert!(error.starts_with("namespace guest: /run/netns/theirs is not there: start"), "{error}");
    // The host's own.
    let host = text.replace("netns: theirs", "netns: /proc/thread-self/ns/net");
    let error = up.try_converge(&lab(&host), IngressHook::Tc).unwrap_err().to_string();
    assert!(error.contains("shares the host's network"), "{error}");
    // No namespace, or one of another kind.
    for file in ["/etc/passwd", "/proc/self/ns/mnt"] {
        let other = lab(&text.replace("netns: theirs", &format!("netns: {file}")));
        let error = up.try_converge(&other, IngressHook::Tc).unwrap_err().to_string();
        assert!(error.contains(&format!("{file} holds no network namespace")), "{error}");
    }
    up.down();
    Ok(())
}

/// A process that sleeps in a namespace of its own, until this goes.
struct Sleeper(Child);

impl Sleeper {
    fn new() -> Self {
        let foreign = Foreign::new("sleeper");
        let child = Command::new("ip")
            .args(["netns", "exec", "sleeper", "sleep", "100"])
            .stdin(Stdio::null())
            .spawn()
            .expect("start sleep");
        let own = format!("/proc/{}/ns/net", child.id());
        let target = std::fs::read_link("/proc/thread-self/ns/net").expect("a namespace");
        // `ip` enters the namespace before it becomes `sleep`.
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        while std::fs::read_link(&own).is_ok_and(|link| link == target) {
            assert!(std::time::Instant::now() < deadline, "sleep did not start");
            std::thread::yield_now();
        }
        drop(foreign);
        Self(child)
    }
}

impl Sleeper {
    fn netns(&self) -> NetNs {
        let file = format!("/proc/{}/ns/net", self.0.id());
        NetNs::find(file.as_ref()).expect("open a namespace").expect("a namespace")
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.kill().expect("end sleep");
        self.0.wait().expect("wait for sleep");
    }
}

fn process() -> Result<(), Failed> {
    let sleeper = Sleeper::new();
    let text = format!(
        "name: adopt\nbridges: {{ br0: {{ addresses: [10.0.0.254/24] }} }}\nnamespaces:\n  \
        guest: {{ pid: {}, interfaces: {{ eth0: {{ bridge: br0, addresses: [10.0.0.1/24] }} }} }}\n",
        sleeper.0.id()
    );
    let adopt = lab(&text);
    let up = Up::new(&adopt);
    up.converge(&adopt, IngressHook::Tc);
    let inside = sleeper.netns();
    let mut echo = Echo::new(&inside, "10.0.0.254".parse().unwrap(), 7)?;
    assert!(echo.ping(Duration::from_secs(2))?.is_some());
    let done = run(&["exec", "adopt/guest", "--", "ip", "-brief", "address"]);
    assert_eq!(done.code, Some(0), "{}{}", done.out, done.err);
    assert!(done.out.contains("10.0.0.1/24"), "{}", done.out);
    up.down();
    let links = std::fs::read_to_string(format!("/proc/{}/net/dev", sleeper.0.id()))?;
    assert!(!links.contains("eth0"), "{links}");
    Ok(())
}

/// The program that knows containers is played by a file of that name.
fn container() -> Result<(), Failed> {
    let sleeper = Sleeper::new();
    let folder = tempfile::tempdir()?;
    let podman = folder.path().join("podman");
    let tell = |what: &str| -> std::io::Result<()> {
        std::fs::write(&podman, format!("#!/bin/sh\n[ \"$5\" = web ] && {what}\n"))?;
        std::fs::set_permissions(&podman, std::fs::Permissions::from_mode(0o755))
    };
    tell(&format!("echo {}", sleeper.0.id()))?;
    let file = tempfile::NamedTempFile::new()?;
    let text = "name: adopt\nbridges: { br0: { addresses: [10.0.0.254/24] } }\nnamespaces:\n  \
        guest: { container: web, interfaces: { eth0: { bridge: br0, addresses: [10.0.0.1/24] } } }\n";
    std::fs::write(&file, text)?;
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH")?);
    let nsbpf = |arguments: &[&str]| {
        let mut command = crate::command::nsbpf(arguments);
        command.env("PATH", &path).stdout(Stdio::piped()).stderr(Stdio::piped());
        crate::command::finish(&mut command)
    };
    let lab_file = file.path().to_str().unwrap();
    let done = nsbpf(&["up", lab_file]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    let mut echo = Echo::new(&sleeper.netns(), "10.0.0.254".parse().unwrap(), 7)?;
    assert!(echo.ping(Duration::from_secs(2))?.is_some());
    assert_eq!(run(&["down", "adopt"]).code, Some(0));
    for (answer, expected) in [
        ("echo 0", "container web: it is not running"),
        ("echo '1; rm'", "container web: it is not running"),
        ("{ echo no such container >&2; exit 125; }", "podman: no such container"),
    ] {
        tell(answer)?;
        let done = nsbpf(&["up", lab_file]);
        assert_eq!(done.code, Some(1));
        assert!(done.err.contains(expected), "{}", done.err);
    }
    Ok(())
}
