//! The lab that is measured: namespaces on a bridge, as many as are asked for.

use std::fmt::Write as _;

use nsbpf::lab::Lab;
use nsbpf::plan::{DEFAULT_FLOWS, Settings, desired};
use nsbpf::state::{Attach, IngressHook, Objects, State};

/// Its source. Each namespace is written out, with an address of each family, so that
/// there is as much to read as there is to make.
pub(crate) fn source(namespaces: u16) -> String {
    let mut source = "name: bridged\nbridges:\n  br0: {}\nnamespaces:\n".to_owned();
    for number in 1..=namespaces {
        let [high, low] = number.to_be_bytes();
        // Writing to a string does not fail.
        let _ = writeln!(
            source,
            "  ns{number}:\n    interfaces:\n      eth0: {{ bridge: br0, addresses: [10.0.{high}.{low}/16, \"fd00::{number:x}/64\"] }}"
        );
    }
    source
}

/// The lab itself.
pub(crate) fn lab(namespaces: u16) -> Lab {
    let lab = Lab::parse(&source(namespaces), "bridged.yaml").expect("the lab is sound");
    assert_eq!(lab.namespaces.len(), usize::from(namespaces));
    lab
}

/// Its objects, on a machine that has nothing of it, with the datapath as `nsbpf up` sets
/// it up if nobody says otherwise.
pub(crate) fn objects(lab: &Lab) -> Objects {
    let settings = Settings {
        ingress: Some(IngressHook::Tc),
        attach: Attach::Tcx,
        object: "digest".to_owned(),
        fastpath: None,
        flows: DEFAULT_FLOWS,
        log: false,
        rules_file: None,
    };
    desired(lab, &settings, &State::default()).expect("nothing is in its way")
}

/// A machine that has them.
pub(crate) fn up(objects: &Objects) -> State {
    State { objects: objects.clone(), ..State::default() }
}
