//! Trouble made on purpose: `doctor` names it, and what it says helps does help.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{Resource, Rlimit, setrlimit};
use serde_json::Value;

use crate::Test;
use crate::command::{Done, finish, nsbpf, ran, run};
use crate::refusals::forbid_bpf;
use crate::world::{everything, netns, udp};

const CLEAN: &str = "doctor::a_clean_namespace_has_no_problem";
const DOCKER: &str = "doctor::a_forward_policy_eats_bridged_frames";
const BRIDGE_TABLE: &str = "doctor::a_bridge_table_eats_frames";
const LEGACY: &str = "doctor::legacy_iptables_count_as_well";
const ARP: &str = "doctor::legacy_arptables_count_as_well";

pub(crate) const TESTS: &[Test] = &[
    (CLEAN, clean),
    (DOCKER, docker),
    (BRIDGE_TABLE, bridge_table),
    (LEGACY, legacy),
    (ARP, arp),
    ("doctor::a_strict_reverse_path_filter", reverse_path),
    ("doctor::without_root_it_says_what_it_did_not_see", without_root),
    ("doctor::a_kernel_without_bpf", without_bpf),
    ("doctor::a_low_limit_of_open_files", low_limit),
    ("doctor::network_manager_without_a_rule", network_manager),
];

const LAB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../labs/quickstart.yaml");
const CALLS: &str = "/proc/sys/net/bridge";

/// What a test takes that is not there.
pub(crate) fn why_not(test: &str) -> Option<&'static str> {
    let lacks = |program: &str| {
        !Command::new(program).arg("-V").output().is_ok_and(|done| done.status.success())
    };
    match test {
        DOCKER | BRIDGE_TABLE | CLEAN if lacks("nft") => Some("needs nftables"),
        LEGACY if lacks("iptables-legacy") => Some("needs iptables"),
        LEGACY if !Path::new("/proc/net/ip_tables_names").exists() => {
            Some("needs a kernel with legacy iptables")
        }
        ARP if lacks("arptables-legacy") => Some("needs arptables"),
        ARP if !Path::new("/proc/net/arp_tables_names").exists() => {
            Some("needs a kernel with legacy arptables")
        }
        DOCKER | LEGACY | ARP if !Path::new(CALLS).exists() => Some("needs br_netfilter"),
        _ => None,
    }
}

/// What doctor found, which must end with that code.
#[track_caller]
fn doctor(code: i32) -> Vec<Value> {
    findings(&run(&["doctor", "--format", "json"]), code)
}

#[track_caller]
fn findings(done: &Done, code: i32) -> Vec<Value> {
    assert_eq!(done.code, Some(code), "{}{}", done.out, done.err);
    assert_eq!(done.err, "");
    done.out.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
}

/// The findings about a subject.
fn about<'a>(findings: &'a [Value], subject: &str) -> Vec<&'a Value> {
    findings.iter().filter(|finding| finding["subject"] == subject).collect()
}

#[track_caller]
fn severity(findings: &[Value], subject: &str) -> String {
    match about(findings, subject).as_slice() {
        [finding] => finding["severity"].as_str().expect("a word").to_owned(),
        other => panic!("{subject}: {other:?}"),
    }
}

/// The one problem, of which cause and cure say these words.
#[track_caller]
fn problem<'a>(findings: &'a [Value], causes: &[&str]) -> &'a str {
    let problems: Vec<&Value> =
        findings.iter().filter(|finding| finding["severity"] == "problem").collect();
    let [problem] = problems.as_slice() else {
        panic!("{problems:?}");
    };
    assert_eq!(problem["subject"], "packet filter");
    let cause = problem["cause"].as_str().expect("a cause");
    for text in causes {
        assert!(cause.contains(text), "{text:?} is not in {cause:?}");
    }
    problem["cure"].as_str().expect("a cure")
}

/// Runs a command that doctor or a test says, without a shell.
#[track_caller]
fn execute(command: &str) {
    let (words, block) = command.split_once('\'').unwrap_or((command, ""));
    let mut words: Vec<&str> = words.split_whitespace().collect();
    words.extend(block.strip_suffix('\''));
    let done = Command::new(words[0]).args(&words[1..]).output().expect("start it");
    assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Does what `sysctl -w` would.
#[track_caller]
fn set(command: &str) {
    for setting in command.strip_prefix("sysctl -w ").expect("a sysctl").split_whitespace() {
        let (name, value) = setting.split_once('=').expect("a setting");
        fs::write(Path::new("/proc/sys").join(name.replace('.', "/")), value).expect(name);
    }
}

fn set_calls(value: &str) {
    for which in ["iptables", "ip6tables", "arptables"] {
        // Where there is none, no bridge calls the filter.
        let _ = fs::write(format!("{CALLS}/bridge-nf-call-{which}"), value);
    }
}

/// Whether datagrams get from one namespace of the lab to the other. Such as do
/// not are given a while.
fn passes() -> bool {
    let [from, to]: [IpAddr; 2] =
        ["10.0.0.1", "10.0.0.2"].map(|text| text.parse().expect("an address"));
    let receiver = udp(&netns("vnet1"), to);
    let sender = udp(&netns("vnet0"), from);
    receiver.set_read_timeout(Some(Duration::from_millis(20))).expect("set a time-out");
    let target = receiver.local_addr().expect("an address");
    let deadline = Instant::now() + Duration::from_secs(1);
    while Instant::now() < deadline {
        // Nobody may have answered for the address yet.
        let _ = sender.send_to(b"hello", target);
        if receiver.recv(&mut [0; 16]).is_ok() {
            return true;
        }
    }
    false
}

#[track_caller]
/// By the bridge: what is done to it holds at once.
fn up() {
    ran(&["up", LAB, "--fastpath", "bridge"]);
}

#[track_caller]
fn down() {
    ran(&["down", "--all"]);
}

fn clean() -> Result<(), Failed> {
    set_calls("0");
    set("sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0");
    let ruleset = || Command::new("nft").args(["list", "ruleset"]).output().map(|done| done.stdout);
    let before = (everything(), ruleset()?);
    let findings = doctor(0);
    assert_eq!((everything(), ruleset()?), before, "it only looks");
    for subject in [
        "br_netfilter",
        "packet filter",
        "fast paths",
        "reverse path filter",
        "network namespaces",
        "veth pairs",
        "bridges",
        "tc hooks",
        "eBPF programs",
        "programs at tc hooks",
        "NetworkManager",
        "udev rules",
    ] {
        assert_eq!(severity(&findings, subject), "ok", "{findings:?}");
    }
    let text = run(&["doctor"]);
    assert_eq!(text.code, Some(0));
    assert!(text.out.contains("\nok       veth pairs: tried\n"), "{}", text.out);
    assert!(text.out.lines().last().is_some_and(|line| line.starts_with("0 problems, ")));
    Ok(())
}

/// As Docker leaves a host.
fn docker() -> Result<(), Failed> {
    set_calls("1");
    up();
    assert!(passes());
    execute("nft add table ip filter");
    execute(
        "nft 'add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'",
    );
    assert!(!passes());
    let findings = doctor(1);
    let cure = problem(
        &findings,
        &["FORWARD of table ip filter", "policy drop", "net.bridge.bridge-nf-call-iptables = 1"],
    );
    for subject in ["br_netfilter", "fast paths"] {
        assert_eq!(severity(&findings, subject), "warning");
    }
    let (first, second) = cure.split_once(", or ").expect("two cures");
    execute(&second.replace("BRIDGE", "br0"));
    assert!(passes());
    execute("nft flush chain ip filter FORWARD");
    assert!(!passes());
    set(first);
    assert!(passes());
    // What is routed is still dropped.
    assert_eq!(severity(&doctor(0), "packet filter"), "warning");
    execute("nft delete table ip filter");
    assert_eq!(severity(&doctor(0), "packet filter"), "ok");
    down();
    Ok(())
}

fn bridge_table() -> Result<(), Failed> {
    set_calls("0");
    up();
    execute("nft add table bridge guard");
    execute(
        "nft 'add chain bridge guard frames { type filter hook forward priority 0; policy drop; }'",
    );
    assert!(!passes());
    let findings = doctor(1);
    execute(problem(&findings, &["chain frames of table bridge guard", "frames between ports"]));
    assert!(passes());
    assert_eq!(severity(&doctor(0), "packet filter"), "ok");
    execute("nft delete table bridge guard");
    down();
    Ok(())
}

fn legacy() -> Result<(), Failed> {
    set_calls("1");
    up();
    assert_eq!(severity(&doctor(0), "packet filter"), "ok");
    let names = fs::read_to_string("/proc/thread-self/net/ip_tables_names")?;
    assert_eq!(names, "", "looking made a table");
    execute("iptables-legacy -P FORWARD DROP");
    assert!(!passes());
    let findings = doctor(1);
    let cure = problem(&findings, &["FORWARD chain of iptables-legacy has policy DROP"]);
    let (first, second) = cure.split_once(", or ").expect("two cures");
    execute(&second.replace("BRIDGE", "br0"));
    assert!(passes());
    execute("iptables-legacy -F FORWARD");
    set(first);
    assert!(passes());
    execute("iptables-legacy -P FORWARD ACCEPT");
    execute("ip6tables-legacy -P FORWARD DROP");
    problem(&doctor(1), &["ip6tables-legacy", "bridge-nf-call-ip6tables = 1"]);
    down();
    Ok(())
}

/// Nobody can be reached whose address is not known yet.
fn arp() -> Result<(), Failed> {
    set_calls("1");
    up();
    execute("arptables-legacy -P FORWARD DROP");
    assert!(!passes());
    let findings = doctor(1);
    let cure = problem(&findings, &["arptables-legacy", "bridge-nf-call-arptables = 1"]);
    let (first, second) = cure.split_once(", or ").expect("two cures");
    set(first);
    assert!(passes());
    assert_eq!(severity(&doctor(0), "packet filter"), "ok");
    execute(second);
    set_calls("1");
    assert_eq!(severity(&doctor(0), "packet filter"), "ok");
    down();
    Ok(())
}

fn reverse_path() -> Result<(), Failed> {
    set("sysctl -w net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.default.rp_filter=0");
    let findings = run(&["doctor", "--format", "json"]);
    let findings: Vec<Value> = findings.out.lines().flat_map(serde_json::from_str).collect();
    let [finding] = about(&findings, "reverse path filter")[..] else {
        panic!("{findings:?}");
    };
    assert_eq!(finding["severity"], "warning");
    set(finding["cure"].as_str().expect("a cure"));
    assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/conf/all/rp_filter")?, "2\n");
    assert_eq!(severity(&doctor(0), "reverse path filter"), "ok");
    Ok(())
}

fn doctor_command() -> Command {
    let mut command = nsbpf(&["doctor", "--format", "json"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn without_root() -> Result<(), Failed> {
    let findings = findings(&finish(doctor_command().uid(65534).gid(65534)), 0);
    for subject in ["packet filter", "fast paths", "network namespaces"] {
        assert_eq!(severity(&findings, subject), "unknown", "{findings:?}");
    }
    assert_eq!(severity(&findings, "number of namespaces"), "ok");
    Ok(())
}

fn without_bpf() -> Result<(), Failed> {
    let mut command = doctor_command();
    // SAFETY: only system calls between fork and exec.
    unsafe { command.pre_exec(forbid_bpf) };
    let findings = findings(&finish(&mut command), 1);
    assert_eq!(severity(&findings, "eBPF programs"), "problem");
    assert_eq!(severity(&findings, "programs at tc hooks"), "unknown");
    assert_eq!(severity(&findings, "tc hooks"), "ok");
    Ok(())
}

fn low_limit() -> Result<(), Failed> {
    let lower = || -> io::Result<()> {
        let limit = Some(1024);
        Ok(setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit })?)
    };
    let mut command = doctor_command();
    // SAFETY: only a system call between fork and exec.
    unsafe { command.pre_exec(lower) };
    let findings = findings(&finish(&mut command), 0);
    assert_eq!(severity(&findings, "open files of a process"), "warning");
    assert_eq!(severity(&doctor(0), "open files of a process"), "ok");
    Ok(())
}

/// A process that only bears the name.
fn pretender() -> io::Result<Child> {
    let path = "/run/NetworkManager";
    fs::copy("/bin/sleep", path)?;
    Command::new(path).arg("60").spawn()
}

fn network_manager() -> Result<(), Failed> {
    let hidden: Vec<&str> = ["/etc", "/usr/lib/NetworkManager"]
        .into_iter()
        .filter(|folder| Path::new(folder).is_dir())
        .collect();
    for folder in &hidden {
        mount("tests", *folder, "tmpfs", MountFlags::empty(), None)?;
    }
    let mut daemon = pretender()?;
    assert_eq!(severity(&doctor(0), "NetworkManager"), "warning");
    fs::create_dir_all("/etc/NetworkManager/conf.d")?;
    let cure = "[keyfile]\nunmanaged-devices+=driver:veth\n";
    fs::write("/etc/NetworkManager/conf.d/90-nsbpf.conf", cure)?;
    assert_eq!(severity(&doctor(0), "NetworkManager"), "ok");
    fs::remove_file("/etc/NetworkManager/conf.d/90-nsbpf.conf")?;
    daemon.kill()?;
    daemon.wait()?;
    assert_eq!(severity(&doctor(0), "NetworkManager"), "ok");
    for folder in hidden {
        unmount(folder, UnmountFlags::DETACH)?;
    }
    Ok(())
}
