//! Labs that nobody would write, and labs that somebody might: whatever is in the
//! file, the parser answers soon, at a place of the file, and what it accepts can
//! be planned.
//!
//! `PROPTEST_CASES=100000 cargo test --release -p nsbpf lab::tests::fuzz` tries more.

mod made;
mod mutation;

use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::lab::spec::LabSpec;
use crate::lab::{Lab, LabError, Source};
use crate::plan::tests::carry_out;
use crate::plan::{Settings, desired, diff};
use crate::state::{Attach, IngressHook, State};
use mutation::{mutated, mutation};

/// Longest that a lab of less than 64 KiB takes to parse; a lab with a count of
/// thousands is a large lab, however small its file.
const SOON: Duration = Duration::from_secs(1);
/// Namespaces that a lab of a small file has without a count.
const SMALL: usize = 2000;

/// The labs that mutations begin with.
fn seeds() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../labs");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let labs = files.iter().map(|file| std::fs::read_to_string(file).unwrap());
    let reference = include_str!("../../../../docs/lab-reference.md").split("```yaml\n").skip(1);
    let examples = reference.map(|rest| rest.split("```").next().unwrap().to_owned());
    labs.chain(examples).collect()
}

/// Every line of an error is at a place that the file has, and the excerpt is of
/// the same place.
fn assert_placed(source: &str, error: &LabError) {
    let (told, shown) = (error.to_string(), error.render());
    assert!(!told.is_empty() && !shown.is_empty());
    // A carriage return alone ends a line of YAML, too.
    let ended = source.replace("\r\n", "\n").replace('\r', "\n");
    let lines: Vec<&str> = ended.split('\n').collect();
    for line in told.lines() {
        let rest = line.strip_prefix("lab.yaml:").unwrap_or_else(|| panic!("{line}\nin {told}"));
        let mut parts = rest.splitn(3, ':').map(str::parse::<usize>);
        let (Some(Ok(row)), Some(Ok(column))) = (parts.next(), parts.next()) else { continue };
        assert!(row >= 1 && row <= lines.len(), "{line}: {source:?}");
        let width = lines[row - 1].chars().count();
        assert!(column >= 1 && column <= width + 1, "{line}: {source:?}");
        assert!(
            shown.contains(&format!("lab.yaml:{row}:{column}\n")),
            "{told}\n{shown}\n{source:?}"
        );
    }
}

fn settings() -> Settings {
    Settings {
        ingress: Some(IngressHook::Tc),
        attach: Attach::Clsact,
        object: "digest".to_owned(),
        fastpath: None,
        flows: crate::plan::DEFAULT_FLOWS,
        log: false,
        rules_file: None,
    }
}

/// Leads a machine to a lab; then nothing is left to do.
fn assert_reached(lab: &Lab, state: &mut State) {
    for namespace in &lab.namespaces {
        if matches!(
            namespace.adopted,
            Some(Source::File(_) | Source::Pid(_) | Source::Container(_))
        ) {
            state.found.insert(namespace.name.clone(), 4_026_532_000);
        }
    }
    let wanted = desired(lab, &settings(), state).unwrap();
    carry_out(state, &diff(&wanted, state).unwrap());
    assert_eq!(state.objects, wanted);
    assert_eq!(desired(lab, &settings(), state).unwrap(), wanted);
    assert_eq!(diff(&wanted, state).unwrap(), []);
}

fn assert_sound(source: &str) {
    let begin = Instant::now();
    let parsed = Lab::parse(source, "lab.yaml");
    let took = begin.elapsed();
    let small = parsed.as_ref().is_ok_and(|lab| lab.namespaces.len() < SMALL)
        || LabSpec::parse(source).is_ok_and(|spec| {
            let counts = spec.namespaces.0.iter().filter_map(|(_, one)| one.count.as_ref());
            counts.map(|count| u64::from(count.value)).sum::<u64>() < SMALL as u64
        })
        || LabSpec::parse(source).is_err();
    assert!(!small || took < SOON, "{took:?}: {source:?}");
    match parsed {
        Err(error) => assert_placed(source, &error),
        Ok(lab) if small => assert_reached(&lab, &mut State::default()),
        Ok(_) => {}
    }
}

proptest! {
    // What failed is printed, and becomes a test of its own.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_labs_are_answered_soundly(
        seed in any::<prop::sample::Index>(),
        mutations in prop::collection::vec(mutation(), 0..12),
    ) {
        let seeds = seeds();
        let source = mutated(&seeds[seed.index(seeds.len())], &mutations, &seeds);
        prop_assume!(source.len() < 1 << 16);
        assert_sound(&source);
    }

    #[test]
    fn text_is_answered_soundly(source in "(?s).{0,200}") {
        assert_sound(&source);
    }

    #[test]
    fn any_made_lab_becomes_any_other(from in made::lab(), to in made::lab()) {
        let mut state = State::default();
        for source in [from, to] {
            match Lab::parse(&source, "lab.yaml") {
                Err(error) => panic!("{source}{error}"),
                Ok(lab) => assert_reached(&lab, &mut state),
            }
        }
    }
}
