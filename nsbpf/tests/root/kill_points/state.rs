//! What a lab is made of, so that two ways to it can be compared.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::command::run;
use crate::world::ip_json;

/// How long the kernel may take for what it does by itself: carrier, its own
/// addresses.
const PATIENCE: Duration = Duration::from_secs(10);

/// Everything that a lab which is up is made of, as nsbpf shows it, as iproute2
/// does, and as files.
fn state() -> Value {
    let shown = run(&["show", super::NAME, "--format", "json"]);
    let shown: Value = serde_json::from_str(&shown.out).unwrap_or_default();
    let names = shown["namespaces"].as_array().into_iter().flatten();
    let namespaces: Vec<Value> = names
        .filter_map(|namespace| namespace["name"].as_str())
        .map(|name| {
            json!({
                "features": crate::offloads::of_all(name),
                "links": links(&["-netns", name]),
                "routes": ip_json(&["-netns", name, "route", "show", "table", "all"]),
                "routes6": ip_json(&["-netns", name, "-6", "route", "show", "table", "all"]),
            })
        })
        .collect();
    let mut files = Vec::new();
    for folder in ["/run/nsbpf", "/run/netns"] {
        list(Path::new(folder), &mut files);
    }
    json!({ "shown": shown, "host": links(&[]), "namespaces": namespaces, "files": files })
}

/// Links and their addresses, without what tells how often something was made
/// rather than what it is.
fn links(of: &[&str]) -> Vec<Value> {
    let links = ip_json(&[of, &["-details", "address"]].concat());
    let links = links.as_array().expect("links").iter();
    links
        .map(|link| {
            let mut kept = json!({
                "addresses": link["addr_info"].as_array().into_iter().flatten()
                    .map(|info| json!([info["local"], info["prefixlen"], info["protocol"]]))
                    .collect::<Vec<_>>(),
                "xdp": [link["xdp"]["mode"], link["xdp"]["prog"]["name"]],
                "multicast_flood": link["linkinfo"]["info_slave_data"]["mcast_flood"],
                "kind": link["linkinfo"]["info_kind"],
            });
            for key in [
                "ifindex",
                "ifname",
                "flags",
                "mtu",
                "qdisc",
                "master",
                "operstate",
                "group",
                "ifalias",
                "address",
                "inet6_addr_gen_mode",
            ] {
                kept[key] = link[key].clone();
            }
            kept
        })
        .collect()
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            list(&path, files);
        }
        files.push(path);
    }
}

/// Fails unless the lab comes to one of these states.
#[track_caller]
pub(super) fn comes_to(expected: &[Value], point: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = state();
        if expected.contains(&now) {
            return;
        }
        if Instant::now() > deadline {
            let mut differences = Vec::new();
            compare("", &now, &expected[0], &mut differences);
            panic!("{point}: up made another lab:\n{}", differences.join("\n"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The state of an undisturbed lab, once it stands still.
pub(super) fn settled() -> Value {
    let complete = |state: &Value| {
        let namespaces = state["namespaces"].as_array().expect("namespaces");
        namespaces.iter().all(|namespace| namespace.to_string().contains("fe80:"))
            && !state.to_string().contains("NO-CARRIER")
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = state();
        if complete(&now) && state() == now {
            return now;
        }
        assert!(Instant::now() < deadline, "the lab does not come to rest: {now:#}");
    }
}

/// Where two states differ.
fn compare(place: &str, now: &Value, expected: &Value, differences: &mut Vec<String>) {
    match (now, expected) {
        (Value::Object(now), Value::Object(expected)) if now.keys().eq(expected.keys()) => {
            for (key, value) in now {
                compare(&format!("{place}/{key}"), value, &expected[key], differences);
            }
        }
        (Value::Array(now), Value::Array(expected)) if now.len() == expected.len() => {
            for (index, value) in now.iter().enumerate() {
                compare(&format!("{place}/{index}"), value, &expected[index], differences);
            }
        }
        _ if now != expected => differences.push(format!("{place}: {now}, expected {expected}")),
        _ => {}
    }
}
