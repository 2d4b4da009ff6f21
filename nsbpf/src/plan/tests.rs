use super::*;
use crate::lab::Lab;
use crate::state::{End, IngressHook, Stray};

const QUICKSTART: &str = include_str!("../../../labs/quickstart.yaml");

const ROUTER: &str = include_str!("../../../labs/05-router.yaml");

fn settings(ingress: IngressHook) -> Settings {
    let ingress = Some(ingress);
    Settings { ingress, object: "digest".to_owned(), log: false }
}

fn wanted(source: &str, ingress: IngressHook, state: &State) -> Objects {
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
            Step::Remove(_) => {
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
    let changed = steps.iter().filter(|step| matches!(step, Step::Change { .. }));
    assert!(changed.clone().all(|step| matches!(step.key(), Key::Hook(..))));
    assert_eq!(changed.count(), 4);
    let removed: Vec<Key> =
        steps.iter().filter(|step| step.verb() == "remove").map(Step::key).collect();
    assert_eq!(removed, [Key::Datapath]);
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
