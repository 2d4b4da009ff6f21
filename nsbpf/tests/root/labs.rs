//! Every lab of the repository does what it says, by the commands that a user has.

use libtest_mimic::Failed;
use serde_json::Value;

use crate::Test;
use crate::command::ran;

macro_rules! labs {
    ($($name:literal),* $(,)?) => {
        pub(crate) const TESTS: &[Test] =
            &[$((concat!("labs::", $name), || plays(concat!($name, ".yaml")))),*,
              ("labs::none_is_forgotten", || none_is_forgotten(&[$($name),*]))];
    };
}

labs!(
    "quickstart",
    "01-veth-pair",
    "02-routes",
    "03-bridge",
    "04-many",
    "05-router",
    "06-vlan",
    "07-uplink",
    "08-apart",
    "09-policy",
);

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../labs");

/// Why a lab cannot be up here.
pub(crate) fn why_not(name: &str) -> Option<&'static str> {
    if name == "labs::06-vlan" { crate::vlan::why_not_here() } else { None }
}

/// Up, as expected, nothing to change, as drawn, and down.
fn plays(file: &str) -> Result<(), Failed> {
    let path = format!("{FOLDER}/{file}");
    ran(&["up", &path]);
    assert!(ran(&["plan", &path]).ends_with(": nothing to change\n"));
    let labs: Value = serde_json::from_str(&ran(&["ls", "--format", "json"]))?;
    let name = labs["lab"].as_str().ok_or("ls told of no lab")?;
    let checked = ran(&["check", name]);
    assert!(checked.contains("as expected"), "{checked}");
    // A picture has a node for each namespace and bridge, and an edge for each pair.
    let count = |key: &str| labs[key].as_u64().unwrap_or_default();
    let picture = ran(&["graph", name, "--format", "dot"]);
    let nodes = picture.lines().filter(|line| line.contains("[label=") && !line.contains(" -- "));
    assert_eq!(nodes.count() as u64, count("namespaces") + count("bridges"), "{picture}");
    let edges = picture.lines().filter(|line| line.contains(" -- ")).count();
    let mermaid = ran(&["graph", name]);
    assert_eq!(mermaid.lines().filter(|line| line.contains("---|")).count(), edges, "{mermaid}");
    assert!(edges > 0, "{picture}");
    ran(&["down", name]);
    Ok(())
}

fn none_is_forgotten(tested: &[&str]) -> Result<(), Failed> {
    for file in std::fs::read_dir(FOLDER)? {
        let path = file?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        assert!(tested.contains(&name.as_str()), "{name} is not tested");
    }
    Ok(())
}
