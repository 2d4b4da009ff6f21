//! `up`, `plan`, `down` and `ls` from outside.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nsbpf::net::echo::Echo;
use serde_json::Value;

use crate::Test;
use crate::command::{self, ended, ran};
use crate::tracer::{Kind, trace};
use crate::world::{ip, ip_json, netns};

pub(crate) const TESTS: &[Test] = &[
    ("verbs::up_stays_until_down", up_stays),
    ("verbs::a_second_up_writes_nothing", second_up),
    ("verbs::plan_tells_and_does_nothing", plan),
    ("verbs::run_does_not_take_down_what_is_to_stay", run_refuses),
    ("verbs::a_failed_up_leaves_the_lab_as_it_was", failed_up),
    ("verbs::down_of_nothing", down_of_nothing),
    ("verbs::everybody_has_a_turn", turns),
    ("verbs::show_agrees_with_ip", show),
    ("verbs::a_killed_run_can_be_kept_or_taken_down", after_a_kill),
    ("verbs::stats_tell_what_crossed", stats),
];

const LAB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../labs/quickstart.yaml");

fn up_stays() -> Result<(), Failed> {
    assert!(ran(&["up", LAB]).contains("quickstart is up after"));
    ip(&["netns", "exec", "vnet0", "true"]);
    assert!(ran(&["up", LAB]).contains("nothing to change"));
    let listed: Value = serde_json::from_str(&ran(&["ls", "--format", "json"]))?;
    assert_eq!(listed["lab"], "quickstart");
    assert_eq!((&listed["namespaces"], &listed["hooks"]), (&2.into(), &4.into()));
    assert!(ran(&["down", "quickstart"]).contains("nothing of it is left"));
    assert_eq!(ran(&["ls"]), "no lab is up\n");
    Ok(())
}

fn second_up() -> Result<(), Failed> {
    const WRITTEN_TO: [Kind; 6] =
        [Kind::Netlink, Kind::Mount, Kind::File, Kind::Sysctl, Kind::Bpf, Kind::Namespace];
    /// Maps, programs and BTF that aya makes to find out what the kernel can. They
    /// last no longer than the process, unless pinned or attached, which is seen.
    const TRIED: [&str; 3] = ["bpf command 0", "bpf command 5", "bpf command 18"];
    let router = concat!(env!("CARGO_MANIFEST_DIR"), "/../labs/05-router.yaml");
    for settings in [&[][..], &["--hook", "xdp"], &["--fastpath", "xdp"]] {
        let up = [&["up", router], settings].concat();
        let first = trace(&up);
        assert!(first.status.success(), "{}", first.err);
        for kind in WRITTEN_TO {
            assert!(first.count(kind) > 0, "no write to {kind:?} was seen");
        }
        assert_eq!(first.count(Kind::Other), 0, "{:?}", first.writes);
        let second = trace(&up);
        assert!(second.status.success(), "{}", second.err);
        assert!(second.out.contains("nothing to change"), "{}", second.out);
        let writes = second.writes.iter().map(ToString::to_string);
        let writes: Vec<String> = writes.filter(|write| !TRIED.contains(&&**write)).collect();
        assert!(writes.is_empty(), "it wrote:\n{}", writes.join("\n"));
        ran(&["down", "router"]);
    }
    Ok(())
}

fn plan() -> Result<(), Failed> {
    let shown = ended(&["plan", LAB], 3).out;
    assert!(shown.lines().all(|line| line.starts_with("+ ")), "{shown}");
    assert!(shown.contains("+ interface vnet0/eth0"), "{shown}");
    assert!(!std::fs::exists("/run/nsbpf")?, "it only looks");
    ran(&["up", LAB]);
    assert_eq!(ran(&["plan", LAB]), "quickstart: nothing to change\n");
    ip(&["link", "set", "vnet0-eth0", "nomaster"]);
    let shown = ended(&["plan", LAB], 3).out;
    assert_eq!(shown.lines().next(), Some("~ interface vnet0/eth0"));
    let report: Value = serde_json::from_str(&ended(&["plan", LAB, "--format", "json"], 3).out)?;
    assert_eq!(report["steps"][0]["object"], "interface vnet0/eth0");
    assert_eq!(report["steps"][0]["action"], "change");
    ran(&["down", "--all"]);
    Ok(())
}

fn run_refuses() -> Result<(), Failed> {
    ran(&["up", LAB]);
    let refused = ended(&["run", "--duration", "10ms"], 1).err;
    assert!(refused.contains("`nsbpf down quickstart` does"), "{refused}");
    ip(&["netns", "exec", "vnet0", "true"]);
    ran(&["down", "quickstart"]);
    ended(&["run", "--hook", "none"], 2);
    let refused = ended(&["up", LAB, "--hook", "none", "--fastpath", "xdp"], 2).err;
    assert!(refused.contains("`--fastpath xdp` needs them"), "{refused}");
    assert_eq!(ran(&["ls"]), "no lab is up\n");
    Ok(())
}

fn down_of_nothing() -> Result<(), Failed> {
    assert!(ended(&["down", "nowhere"], 1).err.contains("there is no lab `nowhere`"));
    assert_eq!(ran(&["down", "--all"]), "no lab is up\n");
    ended(&["down"], 2);
    ended(&["down", "../etc"], 2);
    Ok(())
}

/// The kernel gives an interface its own address some time after it is up.
#[track_caller]
fn wait_for_link_local(namespace: &str, device: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !ip(&["-netns", namespace, "address", "show", device]).contains("fe80:") {
        assert!(Instant::now() < deadline, "{namespace}/{device} has no link-local address");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// An interface that was deleted and made again by undoing has the kernel's own
/// address too, and the lab is none the wiser.
fn failed_up() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let edited = folder.path().join("lab.yaml");
    std::fs::write(&edited, std::fs::read_to_string(LAB)?.replace("vnet1", "vnet2"))?;
    ran(&["up", LAB]);
    wait_for_link_local("vnet1", "eth0");
    let index = ip_json(&["link", "show", "vnet1-eth0"])[0]["ifindex"].as_u64().unwrap() + 1;
    ip(&["link", "add", "foreign", "index", &index.to_string(), "type", "bridge"]);
    let refused = ended(&["up", edited.to_str().unwrap()], 1).err;
    assert!(refused.contains("What had been done was undone."), "{refused}");
    ip(&["link", "delete", "foreign"]);
    wait_for_link_local("vnet1", "eth0");
    assert_eq!(ran(&["plan", LAB]), "quickstart: nothing to change\n");
    ran(&["down", "quickstart"]);
    Ok(())
}

fn show() -> Result<(), Failed> {
    let router = concat!(env!("CARGO_MANIFEST_DIR"), "/../labs/05-router.yaml");
    ran(&["up", router]);
    for (namespace, device) in
        [("left", "eth0"), ("right", "eth0"), ("router", "left"), ("router", "right")]
    {
        wait_for_link_local(namespace, device);
    }
    let report: Value = serde_json::from_str(&ran(&["show", "router", "--format", "json"]))?;
    let namespaces = report["namespaces"].as_array().expect("namespaces");
    assert_eq!(namespaces.len(), 3);
    for namespace in namespaces {
        let name = namespace["name"].as_str().expect("a name");
        assert_eq!(namespace["router"], name == "router");
        for interface in namespace["interfaces"].as_array().expect("interfaces") {
            let device = interface["name"].as_str().expect("a name");
            let shown = &ip_json(&["-netns", name, "address", "show", device])[0];
            assert_eq!(interface["mac"], shown["address"]);
            assert_eq!(interface["up"], true);
            let mut addresses: Vec<String> = shown["addr_info"]
                .as_array()
                .expect("addresses")
                .iter()
                .map(|info| format!("{}/{}", info["local"].as_str().unwrap(), info["prefixlen"]))
                .collect();
            let told = interface["addresses"].as_array().expect("addresses");
            let mut told: Vec<&str> = told.iter().filter_map(Value::as_str).collect();
            addresses.sort();
            told.sort_unstable();
            assert_eq!(told, addresses);
            let host = &ip_json(&["link", "show", interface["far_end"].as_str().unwrap()])[0];
            assert_eq!(interface["bridge"], host["master"]);
            let mut hooks = vec!["tc ingress", "tc egress"];
            if namespace["name"] == "router" {
                hooks.extend(["route ingress", "route egress"]);
            }
            assert_eq!(interface["hooks"], serde_json::json!(hooks));
        }
    }
    let text = ran(&["show", "router"]);
    assert!(text.contains("  namespace router, router\n"), "{text}");
    assert!(text.contains("    route to 0.0.0.0/0 via 10.1.0.254 (eth0)\n"), "{text}");
    assert!(ended(&["graph", "ruoter"], 1).err.contains("did you mean `router`?"));
    ran(&["down", "router"]);
    assert!(ended(&["show", "router"], 1).err.contains("there is no lab `router`"));
    Ok(())
}

fn after_a_kill() -> Result<(), Failed> {
    for kept in [true, false] {
        let mut running = command::Running::start(&[]);
        running.up();
        running.signal(rustix::process::Signal::KILL);
        running.end();
        if kept {
            assert!(ran(&["up", LAB]).contains("nothing to change"));
            ended(&["run", "--duration", "10ms"], 1);
        }
        ran(&["down", "quickstart"]);
    }
    Ok(())
}

/// Who comes while another is at the lab waits, and finds it as that one left it.
fn turns() -> Result<(), Failed> {
    let file = tempfile::NamedTempFile::new()?;
    let text = "name: turns\nbridges: { br0: {} }\nnamespaces:\n  \
        a: { count: 20, interfaces: { eth0: { bridge: br0, addresses: [10.0.0.0/24] } } }\n";
    std::fs::write(&file, text)?;
    let path = file.path().to_str().ok_or("a path in UTF-8")?;
    let at_once = |arguments: [&str; 2]| -> Result<Vec<String>, Failed> {
        let start =
            |_| command::nsbpf(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let started = (0..3).map(start).collect::<Result<Vec<_>, _>>()?;
        let said = started.into_iter().map(|child| {
            let output = child.wait_with_output()?;
            let said = [output.stdout, output.stderr].concat();
            Ok(String::from_utf8_lossy(&said).into_owned())
        });
        said.collect()
    };
    let said = at_once(["up", path])?;
    let count = |what: &str| said.iter().filter(|said| said.contains(what)).count();
    assert_eq!((count("turns is up after"), count("nothing to change")), (1, 2), "{said:?}");
    let said = at_once(["down", "turns"])?;
    let count = |what: &str| said.iter().filter(|said| said.contains(what)).count();
    assert_eq!((count("turns is down after"), count("there is no lab")), (1, 2), "{said:?}");
    Ok(())
}

fn stats() -> Result<(), Failed> {
    ran(&["up", LAB]);
    let mut echo = Echo::new(&netns("vnet0"), "10.0.0.2".parse()?, 7)?;
    let answered =
        (0..20).filter(|_| echo.ping(Duration::from_secs(2)).is_ok_and(|it| it.is_some()));
    assert_eq!(answered.count(), 20);
    let read = || -> Value {
        serde_json::from_str(&ran(&["stats", "quickstart", "--format", "json"])).expect("an object")
    };
    let [near, far] = [0, 1].map(|place| read()["interfaces"][place].clone());
    assert_eq!(
        (&near["interface"], &far["interface"]),
        (&"vnet0/eth0".into(), &"vnet1/eth0".into())
    );
    // Twenty requests and twenty replies of 98 bytes. The bridge itself may tell its ports
    // meanwhile that it listens to other bridges (`br_ip4_multicast_join_snoopers`): 54.
    let number = |tally: &Value, what: &str| tally[what].as_u64().expect("a number");
    for (one, other) in [(&near["tx"], &far["rx"]), (&far["tx"], &near["rx"])] {
        assert_eq!(one["ipv4"]["packets"], 20);
        let more = number(&other["ipv4"], "packets") - 20;
        let bytes = number(&other["ipv4"], "bytes") - number(&one["ipv4"], "bytes");
        assert!(more <= 2 && bytes == 54 * more, "{one}, {other}");
        assert_eq!(one["packets_per_second"], Value::Null);
    }
    assert!(ran(&["stats", "quickstart"]).contains("quickstart (tx/rx by family)"));
    // A reader that has seen enough ends it, and the rates come with the second look.
    let mut command = command::nsbpf(&["stats", "quickstart", "--format", "json", "--watch=20ms"]);
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("a pipe")?).lines();
    let second: Value = serde_json::from_str(&lines.nth(1).ok_or("two frames")??)?;
    assert!(second["interfaces"][0]["tx"]["packets_per_second"].is_number(), "{second}");
    drop(lines);
    assert!(child.wait()?.success());
    ran(&["up", LAB, "--hook", "none"]);
    let done = ended(&["stats", "quickstart"], 1);
    assert!(done.err.contains("counts nothing: no programs are loaded"), "{}", done.err);
    ran(&["down", "quickstart"]);
    Ok(())
}
