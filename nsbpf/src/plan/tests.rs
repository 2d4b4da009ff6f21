mod policy;

use super::*;
use crate::lab::{InterfaceName, Lab};
use crate::state::{Attach, End, IngressHook, Stray};

const QUICKSTART: &str = include_str!("../../../labs/quickstart.yaml");

const ROUTER: &str = include_str!("../../../labs/05-router.yaml");

pub(crate) fn settings(ingress: IngressHook) -> Settings {
    let ingress = Some(ingress);
    Settings {
        ingress,
        attach: Attach::Clsact,
        object: "digest".to_owned(),
        fastpath: None,
        flows: 0,
        log: false,
        rules_file: None,
    }
}

pub(crate) fn wanted(source: &str, ingress: IngressHook, state: &State) -> Objects {
    let lab = Lab::parse(source, "lab.yaml").unwrap();
    desired(&lab, &settings(ingress), state).unwrap()
}

/// A kernel that does as it is told, and takes with an object what hangs on it.
pub(crate) fn carry_out(state: &mut State, steps: &[Step]) {
    for step in steps {
        match step {
            Step::Add(object) => {
                assert!(!state.objects.contains_key(&step.key()), "{} twice", step.key());
                for parent in parents(object) {
                    assert!(state.objects.contains_key(&parent), "{} before {parent}", step.key());
                }
                state.objects.insert(step.key(), object.clone());
            }
            Step::Change { from, to } => {
                assert_eq!(state.objects.insert(step.key(), to.clone()).as_ref(), Some(from));
            }
            Step::Remove(_) | Step::Retire(_) => {
                let gone = step.key();
                assert!(state.objects.remove(&gone).is_some(), "{gone} is not there");
                state.objects.retain(|_, object| !parents(object).contains(&gone));
            }
        }
    }
}

/// A machine on which the lab is up.
fn up(source: &str, ingress: IngressHook) -> State {
    let mut state = State::default();
    let steps = diff(&wanted(source, ingress, &state), &state).unwrap();
    carry_out(&mut state, &steps);
    state
}

#[test]
fn any_lab_becomes_any_other() {
    let labs = [
        QUICKSTART.to_owned(),
        "name: quickstart\nnamespaces: { lonely: {} }\n".to_owned(),
        QUICKSTART.replace("vnet1", "other").replace("10.0.0.1/24", "10.0.0.9/24"),
        QUICKSTART.replace("br0", "br7"),
        ROUTER.replace("name: router", "name: quickstart"),
        ROUTER.replace("name: router", "name: quickstart").replace("router: true", "router: false"),
        QUICKSTART.replace("br0: {}", "br0: { mtu: 9000 }"),
        QUICKSTART.replace("bridge: br0", "bridge: br0\n        queues: 4"),
        format!("{QUICKSTART}fastpath: xdp\n"),
        QUICKSTART.replace("[10.0.0.1/24]", "[10.0.0.1/24]\n        fastpath: xdp"),
        format!("{QUICKSTART}      eth1: {{ bridge: br0 }}\n  vnet2: {{}}\n"),
    ];
    for from in &labs {
        for to in &labs {
            for ingress in [IngressHook::Tc, IngressHook::Xdp] {
                let mut state = up(from, IngressHook::Tc);
                let target = wanted(to, ingress, &state);
                let steps = diff(&target, &state).unwrap();
                carry_out(&mut state, &steps);
                assert_eq!(state.objects, target);
                assert_eq!(wanted(to, ingress, &state), target, "numbers moved");
                assert_eq!(diff(&target, &state).unwrap(), []);
            }
        }
    }
}

#[test]
fn down_takes_everything_in_reverse() {
    let mut state = up(QUICKSTART, IngressHook::Tc);
    let steps = diff(&Objects::new(), &state).unwrap();
    let keys: Vec<String> = steps.iter().map(|step| step.key().to_string()).collect();
    assert_eq!(
        keys,
        [
            "datapath",
            "interface vnet1/eth0",
            "interface vnet0/eth0",
            "bridge br0",
            "namespace vnet1",
            "namespace vnet0",
            "lab folder"
        ]
    );
    carry_out(&mut state, &steps);
    assert!(state.objects.is_empty());
}

#[test]
fn an_edit_leaves_the_rest_alone() {
    let state = up(QUICKSTART, IngressHook::Tc);
    let edited = QUICKSTART.replace("10.0.0.2/24", "10.0.0.3/24");
    let steps = diff(&wanted(&edited, IngressHook::Tc, &state), &state).unwrap();
    let shown: Vec<String> =
        steps.iter().map(|step| format!("{} {}", step.verb(), step.key())).collect();
    assert_eq!(
        shown,
        ["remove address 10.0.0.2/24 of vnet1/eth0", "create address 10.0.0.3/24 of vnet1/eth0"]
    );
}

#[test]
fn a_new_object_replaces_the_programs_in_place() {
    let state = up(QUICKSTART, IngressHook::Tc);
    let lab = Lab::parse(QUICKSTART, "lab.yaml").unwrap();
    let newer = Settings { object: "newer".to_owned(), ..settings(IngressHook::Tc) };
    let steps = diff(&desired(&lab, &newer, &state).unwrap(), &state).unwrap();
    assert!(steps.iter().all(|step| matches!(step, Step::Change { .. })));
    // Loaded before any of them is attached.
    assert_eq!(steps[0].key(), Key::Datapath);
    assert!(steps[1..].iter().all(|step| matches!(step.key(), Key::Hook(..))));
    assert_eq!(steps.len(), 1 + 4);
    assert_eq!(Replacement::of(&steps), Some(Replacement::InPlace));
}

#[test]
fn another_way_to_attach_moves_every_hook_in_place() {
    let state = up(QUICKSTART, IngressHook::Tc);
    let lab = Lab::parse(QUICKSTART, "lab.yaml").unwrap();
    let tcx = Settings { attach: Attach::Tcx, ..settings(IngressHook::Tc) };
    let steps = diff(&desired(&lab, &tcx, &state).unwrap(), &state).unwrap();
    let moved = |step: &Step| match step {
        Step::Change { from: Object::Hook(from), to: Object::Hook(to) } => {
            (from.attach, to.attach) == (Some(Attach::Clsact), Some(Attach::Tcx))
        }
        _ => false,
    };
    assert_eq!(steps.iter().filter(|step| moved(step)).count(), 4);
    assert!(steps.iter().all(|step| matches!(step, Step::Change { .. })));
}

#[test]
fn what_a_killed_replacement_left_is_replaced_once_more() {
    let mut state = up(QUICKSTART, IngressHook::Tc);
    let target = state.objects.clone();
    let Some(Object::Datapath(datapath)) = state.objects.get_mut(&Key::Datapath) else {
        panic!("no datapath");
    };
    datapath.settled = false;
    let steps = diff(&target, &state).unwrap();
    assert_eq!(steps.len(), 1 + 4, "{steps:?}");
    carry_out(&mut state, &steps);
    assert_eq!(state.objects, target);
}

#[test]
fn other_maps_are_made_anew_and_it_is_said_why() {
    let state = up(QUICKSTART, IngressHook::Tc);
    for (change, why) in [
        ((|was| was.abi = 0) as fn(&mut Datapath), "the maps' layout was version 0 and is "),
        (|was| was.port_capacity = 1, "the maps had room for 1 ports and have it for 64"),
    ] {
        let mut older = state.clone();
        let Some(Object::Datapath(datapath)) = older.objects.get_mut(&Key::Datapath) else {
            panic!("no datapath");
        };
        change(datapath);
        let steps = diff(&state.objects, &older).unwrap();
        let Some(said) = Replacement::of(&steps) else { panic!("{steps:?}") };
        assert!(said.to_string().starts_with(&format!("counters start anew: {why}")), "{said}");
    }
}

#[test]
fn another_ones_xdp_program_is_refused_only_where_ours_is_to_be() {
    let mut state = up(QUICKSTART, IngressHook::Tc);
    let id = InterfaceId {
        namespace: Name::new("vnet0").unwrap(),
        interface: InterfaceName::new("eth0").unwrap(),
    };
    let program = ForeignProgram { id: 7, name: "theirs".to_owned() };
    state.foreign_xdp.insert(id, program);
    assert_eq!(diff(&wanted(QUICKSTART, IngressHook::Tc, &state), &state).unwrap(), []);
    let xdp = wanted(QUICKSTART, IngressHook::Xdp, &state);
    let error = diff(&xdp, &state).unwrap_err().to_string();
    for says in ["vnet0/eth0", "`theirs`, id 7", "`ip link set dev vnet0-eth0 xdp off`"] {
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn a_grown_lab_keeps_its_datapath_while_it_fits() {
    let state = up(QUICKSTART, IngressHook::Tc);
    let grown = format!("{QUICKSTART}  more: {{ interfaces: {{ eth0: {{ bridge: br0 }} }} }}\n");
    let steps = diff(&wanted(&grown, IngressHook::Tc, &state), &state).unwrap();
    assert!(steps.iter().all(|step| step.key() != Key::Datapath), "{steps:?}");
}

#[test]
fn what_others_have_is_refused_before_anything_is_planned() {
    let mut state = State::default();
    let target = wanted(QUICKSTART, IngressHook::Tc, &state);
    state.foreign_netns.insert("vnet1".to_owned(), Owner::Stranger);
    let error = diff(&target, &state).unwrap_err().to_string();
    assert!(error.contains("`vnet1` exists already and was not made by nsbpf"), "{error}");
    state.foreign_netns.clear();
    let name = (Place::Host, "vnet0-eth0".to_owned());
    state.foreign_links.insert(name, Owner::Lab("other".to_owned()));
    let error = diff(&target, &state).unwrap_err().to_string();
    assert!(error.contains("belongs to the lab `other`"), "{error}");
}

#[test]
fn a_stray_link_goes() {
    let mut state = up(QUICKSTART, IngressHook::Tc);
    let target = state.objects.clone();
    let stray = Stray { place: Place::Host, ifindex: 7, name: "half".to_owned() };
    let stray = Object::Stray(stray);
    state.objects.insert(stray.key(), stray.clone());
    assert_eq!(diff(&target, &state).unwrap(), [Step::Remove(stray)]);
}

#[test]
fn what_others_added_to_an_interface_stays() {
    let mut state = up(QUICKSTART, IngressHook::Tc);
    let target = state.objects.clone();
    let Some(Object::Address(mine)) =
        target.values().find(|object| matches!(object, Object::Address(_)))
    else {
        panic!("no address");
    };
    let foreign = Address { address: "10.9.9.9/24".parse().unwrap(), ours: false, ..mine.clone() };
    let foreign = Object::Address(foreign);
    state.objects.insert(foreign.key(), foreign);
    assert_eq!(diff(&target, &state).unwrap(), []);
}

#[test]
fn a_renamed_inner_end_is_made_anew() {
    let mut state = up(QUICKSTART, IngressHook::Tc);
    let target = state.objects.clone();
    for object in state.objects.values_mut() {
        if let Object::Veth(Veth { near: Some(End { name, .. }), .. }) = object {
            "renamed".clone_into(name);
        }
    }
    let steps = diff(&target, &state).unwrap();
    carry_out(&mut state, &steps);
    assert_eq!(state.objects, target);
}

#[test]
fn slots_step_aside() {
    let free = wanted(QUICKSTART, IngressHook::Tc, &State::default());
    let Some(Object::Folder(slot)) = free.get(&Key::Folder) else { panic!("no folder") };
    let state = State { taken_slots: [slot.get()].into(), ..State::default() };
    let aside = wanted(QUICKSTART, IngressHook::Tc, &state);
    let Some(Object::Folder(other)) = aside.get(&Key::Folder) else { panic!("no folder") };
    assert_ne!(slot, other);
    let full = State { taken_slots: (1..=0x7fff).collect(), ..State::default() };
    let lab = Lab::parse(QUICKSTART, "lab.yaml").unwrap();
    let error = desired(&lab, &settings(IngressHook::Tc), &full).unwrap_err();
    assert_eq!(error, PlanError::NoSlot(0x7fff));
}

/// What each interface of a lab has to do itself: who sends by XDP, and who is sent to.
#[test]
fn offloads_are_off_where_xdp_is_around() {
    let one = QUICKSTART.replace("[10.0.0.1/24]", "[10.0.0.1/24]\n        fastpath: xdp");
    let all = format!("{QUICKSTART}fastpath: xdp\n");
    let elsewhere = format!("{one}  vnet2: {{ interfaces: {{ eth0: {{ bridge: br1 }} }} }}\n")
        .replace("br0: {}", "br0: {}\n  br1: {}");
    for (source, ingress, expected) in [
        (QUICKSTART, IngressHook::Tc, &[][..]),
        (QUICKSTART, IngressHook::Xdp, &[]),
        (&all, IngressHook::Tc, &[("vnet0/eth0", true, true), ("vnet1/eth0", true, true)]),
        (&all, IngressHook::XdpGeneric, &[]),
        (&one, IngressHook::Tc, &[("vnet0/eth0", true, true), ("vnet1/eth0", false, true)]),
        (&elsewhere, IngressHook::Tc, &[("vnet0/eth0", true, true), ("vnet1/eth0", false, true)]),
    ] {
        let wanted = wanted(source, ingress, &State::default());
        let offloads: Vec<_> = wanted
            .values()
            .filter_map(|object| match object {
                Object::Offloads(it) => {
                    Some((it.id.to_string(), it.sends_finished, it.receives_by_napi))
                }
                _ => None,
            })
            .collect();
        let expected =
            expected.iter().map(|(id, sends, receives)| (id.to_string(), *sends, *receives));
        assert_eq!(offloads, expected.collect::<Vec<_>>(), "{source} {ingress:?}");
    }
}

/// What XDP tells the senders of rejected packets reaches them.
#[test]
fn who_rejects_under_xdp_can_answer() {
    for (ingress, action, answers) in [
        (IngressHook::Tc, "reject", false),
        (IngressHook::Xdp, "deny", false),
        (IngressHook::Xdp, "reject", true),
        (IngressHook::XdpGeneric, "reject", true),
    ] {
        let source = format!("{QUICKSTART}policy: {{ rules: [{{ action: {action} }}] }}\n");
        let lab = Lab::parse(&source, "lab.yaml").unwrap();
        let settings = Settings { flows: 1 << 10, ..settings(ingress) };
        let wanted = desired(&lab, &settings, &State::default()).unwrap();
        let ports = || {
            wanted.values().filter_map(|object| match object {
                Object::Port(port) => Some(port.takes_xdp.is_some()),
                _ => None,
            })
        };
        assert!(ports().count() > 0 && ports().all(|takes| takes == answers), "{ingress:?}");
    }
}

#[test]
fn it_is_said_when_offloads_go_and_when_they_are_back() {
    let all = format!("{QUICKSTART}fastpath: xdp\n");
    let one = QUICKSTART.replace("[10.0.0.1/24]", "[10.0.0.1/24]\n        fastpath: xdp");
    let said = |from: &str, to: &str| {
        let state = if from.is_empty() { State::default() } else { up(from, IngressHook::Tc) };
        let steps = diff(&wanted(to, IngressHook::Tc, &state), &state).unwrap();
        Offloading::of(&steps)
    };
    let changed = |off, back| Some(Offloading { off, back });
    assert_eq!(said("", QUICKSTART), None);
    assert_eq!(said("", &all), changed(2, 0));
    assert_eq!(said(&all, &all), None);
    assert_eq!(said(&all, &one), changed(0, 1));
    assert_eq!(said(&one, &all), changed(1, 0));
    assert_eq!(said(&all, QUICKSTART), changed(0, 2));
    // They go with their interface.
    assert_eq!(said(&all, "name: quickstart\nnamespaces: { vnet0: {} }\n"), None);
    assert!(changed(1, 2).unwrap().to_string().contains("on 1 interface, as XDP needs it"));
}
