//! What is built: the same as a lab of nsbpf's and as commands of iproute2's.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// The name of the lab.
pub(super) const LAB: &str = "bench";

/// How namespaces are wired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Shape {
    /// All on one bridge, each with an IPv4 and an IPv6 address.
    Bridge,
    /// In pairs, by a veth each, with the same addresses.
    Pairs,
}

/// The addresses of the namespace with that number, counted from 0. Room for
/// 65,000: hosts 1 to 250 of a third byte each.
fn addresses(number: usize) -> [String; 2] {
    let (third, fourth) = (number / 250, number % 250 + 1);
    [format!("10.9.{third}.{fourth}/16"), format!("fd09::{:x}/64", number + 1)]
}

/// The lab file.
pub(super) fn lab(shape: Shape, namespaces: usize) -> String {
    let mut text = format!("name: {LAB}\n");
    if shape == Shape::Bridge {
        text.push_str("bridges: { br0: {} }\n");
    }
    text.push_str("namespaces:\n");
    for number in 0..namespaces {
        let [v4, v6] = addresses(number);
        let wire = match shape {
            Shape::Bridge => "bridge: br0, ".to_owned(),
            // One end says it.
            Shape::Pairs if number % 2 == 0 => format!("peer: n{}/eth0, ", number + 1),
            Shape::Pairs => String::new(),
        };
        writeln!(
            text,
            "  n{number}: {{ interfaces: {{ eth0: {{ {wire}addresses: [{v4}, \"{v6}\"] }} }} }}"
        )
        .expect("writing to a string");
    }
    text
}

/// What a careful person would have iproute2 do, in its order: ends created where
/// they belong, no duplicate address detection, the bridge up first.
pub(super) struct Commands {
    /// In the namespace that all is made from.
    pub(super) outside: Vec<String>,
    /// Inside each namespace, under its name, once all of `outside` is done.
    pub(super) inside: Vec<(String, Vec<String>)>,
}

/// The commands for a shape, each as `ip` takes it.
pub(super) fn commands(shape: Shape, namespaces: usize) -> Commands {
    let mut outside = Vec::new();
    if shape == Shape::Bridge {
        outside.push("link add br0 type bridge".to_owned());
        outside.push("link set br0 up".to_owned());
    }
    outside.extend((0..namespaces).map(|number| format!("netns add n{number}")));
    for number in 0..namespaces {
        match shape {
            Shape::Bridge => {
                outside.push(format!(
                    "link add n{number}-eth0 master br0 type veth peer name eth0 netns n{number}"
                ));
                outside.push(format!("link set n{number}-eth0 up"));
            }
            Shape::Pairs if number % 2 == 0 => outside.push(format!(
                "link add eth0 netns n{number} type veth peer name eth0 netns n{}",
                number + 1
            )),
            Shape::Pairs => {}
        }
    }
    let inside = |number| {
        let [v4, v6] = addresses(number);
        let commands = vec![
            "link set lo up".to_owned(),
            format!("address add {v4} dev eth0"),
            format!("address add {v6} dev eth0 nodad"),
            "link set eth0 up".to_owned(),
        ];
        (format!("n{number}"), commands)
    };
    Commands { outside, inside: (0..namespaces).map(inside).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_build_the_same() {
        for shape in [Shape::Bridge, Shape::Pairs] {
            let lab = lab(shape, 600);
            let Commands { outside, inside } = commands(shape, 600);
            let veths = outside.iter().filter(|command| command.contains("type veth")).count();
            assert_eq!(veths, if shape == Shape::Bridge { 600 } else { 300 });
            assert_eq!(outside.iter().filter(|command| command.starts_with("netns")).count(), 600);
            for (name, commands) in inside {
                let line = lab.lines().find(|line| line.starts_with(&format!("  {name}: ")));
                let line = line.expect("every namespace is in the lab");
                for command in commands.iter().filter_map(|text| text.strip_prefix("address add "))
                {
                    let address = command.split(' ').next().unwrap();
                    assert!(line.contains(address), "{address} is not in {line}");
                }
            }
        }
    }
}
