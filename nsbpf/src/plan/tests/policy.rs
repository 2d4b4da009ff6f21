//! Policies among the other objects of a lab.

use super::*;
use crate::state::PolicyRoom;

const POLICY: &str =
    "policy: { default: deny, rules: [{ from: vnet0, to: vnet1, action: allow }] }\n";

fn tracking() -> Settings {
    Settings { flows: 1 << 12, ..settings(IngressHook::Tc) }
}

fn wanted_with(source: &str, state: &State) -> Objects {
    let lab = Lab::parse(source, "lab.yaml").unwrap();
    desired(&lab, &tracking(), state).unwrap()
}

/// A policy with more rules than there is room for at first.
fn large() -> String {
    let rules: Vec<String> = (1..=3000)
        .map(|port| format!("{{ to: vnet1, proto: tcp, ports: {port}, action: deny }}"))
        .collect();
    format!("{QUICKSTART}policy: {{ rules: [{}] }}\n", rules.join(", "))
}

fn room(objects: &Objects) -> Option<PolicyRoom> {
    match objects.get(&Key::Datapath) {
        Some(Object::Datapath(datapath)) => datapath.policy,
        _ => panic!("no datapath"),
    }
}

#[test]
fn a_policy_comes_goes_and_changes() {
    let labs = [
        QUICKSTART.to_owned(),
        format!("{QUICKSTART}{POLICY}"),
        format!("{QUICKSTART}{}", POLICY.replace("deny", "allow")),
        format!("{}{POLICY}", QUICKSTART.replace("10.0.0.2/24", "10.0.0.3/24")),
        large(),
    ];
    for from in &labs {
        for to in &labs {
            let mut state = State::default();
            for lab in [from, to] {
                let target = wanted_with(lab, &state);
                let steps = diff(&target, &state).unwrap();
                // No packet comes in before it is in force, by any program that is to be.
                let place = |is: fn(&Step) -> bool| steps.iter().position(is);
                let put = place(|step| {
                    matches!(
                        step,
                        Step::Add(Object::Policy(_)) | Step::Change { to: Object::Policy(_), .. }
                    )
                });
                let hook = place(|step| {
                    matches!(
                        step,
                        Step::Add(Object::Hook(_)) | Step::Change { to: Object::Hook(_), .. }
                    )
                });
                assert!(put.is_none() || hook.is_none() || put < hook, "{steps:?}");
                carry_out(&mut state, &steps);
                assert_eq!(state.objects, target);
                assert_eq!(diff(&wanted_with(lab, &state), &state).unwrap(), []);
            }
        }
    }
}

#[test]
fn other_rules_are_one_step_while_they_fit() {
    let mut state = State::default();
    let first = wanted_with(&format!("{QUICKSTART}{POLICY}"), &state);
    let steps = diff(&first, &state).unwrap();
    carry_out(&mut state, &steps);
    let other = format!("{QUICKSTART}{}", POLICY.replace("deny", "allow"));
    let steps = diff(&wanted_with(&other, &state), &state).unwrap();
    assert!(matches!(&steps[..], [Step::Change { to: Object::Policy(_), .. }]), "{steps:?}");
    // More than fit: other programs, with other maps for the policy and the same else.
    let larger = wanted_with(&large(), &state);
    assert!(room(&larger).unwrap().slots >= 6001);
    let steps = diff(&larger, &state).unwrap();
    assert_eq!(Replacement::of(&steps), Some(Replacement::InPlace));
    carry_out(&mut state, &steps);
    // What became smaller keeps its room, and what is gone needs none.
    assert_eq!(room(&wanted_with(&other, &state)), room(&larger));
    assert_eq!(room(&wanted_with(QUICKSTART, &state)), None);
    // The same policy in other maps has to be put there.
    let Some(Object::Datapath(datapath)) = state.objects.get_mut(&Key::Datapath) else {
        panic!("no datapath");
    };
    datapath.policy = None;
    let steps = diff(&larger, &state).unwrap();
    assert!(steps.iter().any(|step| step.key() == Key::Policy), "{steps:?}");
}

#[test]
fn what_was_cut_short_is_done_once_more() {
    let mut state = State::default();
    let target = wanted_with(&format!("{QUICKSTART}{POLICY}"), &state);
    let steps = diff(&target, &state).unwrap();
    carry_out(&mut state, &steps);
    let Some(Object::Policy(policy)) = state.objects.get_mut(&Key::Policy) else {
        panic!("no policy");
    };
    policy.settled = false;
    let steps = diff(&target, &state).unwrap();
    assert!(matches!(&steps[..], [Step::Change { to: Object::Policy(_), .. }]), "{steps:?}");
}

#[test]
fn a_policy_needs_programs_and_flows() {
    let lab = Lab::parse(&format!("{QUICKSTART}{POLICY}"), "lab.yaml").unwrap();
    let refused = |settings| desired(&lab, &settings, &State::default()).unwrap_err();
    assert_eq!(refused(settings(IngressHook::Tc)), PlanError::PolicyWithoutFlows);
    let none = Settings { ingress: None, ..tracking() };
    assert_eq!(refused(none), PlanError::PolicyWithoutDatapath);
}

/// Without a policy nobody asks who they are.
#[test]
fn a_policy_is_told_which_ports_are_routers() {
    let routers = |source: &str| {
        let wanted = wanted_with(source, &State::default());
        let is_router = |object: &&Object| {
            matches!(object, Object::Port(crate::state::Port { router: true, .. }))
        };
        wanted.values().filter(is_router).count()
    };
    assert_eq!(routers(ROUTER), 0);
    assert_eq!(routers(&format!("{ROUTER}policy: {{ default: deny }}\n")), 2);
}
