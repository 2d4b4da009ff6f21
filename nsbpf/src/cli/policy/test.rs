//! `nsbpf policy test`: which rule decides on a packet, and why, without sending it.

mod capture;
mod packet;
mod places;
mod report;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use nsbpf_common::policy::Action;

use self::packet::{Packet, hex};
use self::places::Places;
use self::report::Tested;
use super::look;
use crate::apply::survey_for;
use crate::cli::as_it_is::as_it_is;
use crate::cli::exit::Usage;
use crate::cli::lab_file;
use crate::cli::say::{count, say};
use crate::cli::view::Format;
use crate::lab::{Lab, Name};
use crate::plan::desired;
use crate::policy::{Read, Source};
use crate::state::{self, Key, Object};
use crate::store::Store;

/// Tell which rule decides on a packet, and why, without sending anything
///
/// The packet is one that begins something: replies to what was allowed are not asked, as
/// long as the policy's `established` is true.
#[derive(Debug, Args)]
pub(super) struct Test {
    /// The lab, by its name
    #[arg(value_parser = Name::new, required_unless_present = "file", conflicts_with = "file")]
    lab: Option<Name>,
    /// Ask a lab that need not be up, by its file
    #[arg(long, value_name = "LAB")]
    file: Option<PathBuf>,
    /// Ask these rules, not those that the lab has
    #[arg(long, value_name = "RULES")]
    rules: Option<PathBuf>,
    /// How to show it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    packet: Packet,
}

impl Test {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let Self { lab, file, rules, format, packet } = self;
        let (source, places) = match (lab, file) {
            (_, Some(file)) => of_file(&file, rules)?,
            (Some(name), None) => of_lab(&name, rules)?,
            (None, None) => return Err(Usage("name a lab, or its file".to_owned()).into()),
        };
        let tested =
            Tested { policy: &source.policy, ruleset: source.compiled()?, ends: &source.ends };
        if let Some(file) = &packet.pcap {
            return all_of(file, &packet, &places, &tested, format);
        }
        let read = match &packet.hex {
            Some(bytes) => {
                let frame = hex(bytes)?;
                read(&frame, &packet, &places)?
            }
            None => packet.subject(&places)?,
        };
        let report = tested.report(&read);
        match format {
            Format::Table => say(&report.text())?,
            Format::Json => say(&serde_json::to_string(&report)?)?,
        }
        Ok(())
    }
}

/// What a lab's file says, and other rules if there are.
fn of_file(file: &Path, rules: Option<PathBuf>) -> anyhow::Result<(Arc<Source>, Places)> {
    let mut lab = lab_file::read(file)?;
    replace_rules(&mut lab, rules)?;
    let places = Places::of_lab(&lab);
    let policy = lab.policy.take().ok_or_else(|| no_policy(&lab.name))?;
    Ok((Arc::new(Source::new(policy, places.ends.clone(), None)), places))
}

/// What is in force in a lab that is up, or would be with other rules.
fn of_lab(name: &Name, rules: Option<PathBuf>) -> anyhow::Result<(Arc<Source>, Places)> {
    let store = Store::new(name);
    let (state, datapath) = look(name, &store)?;
    let (mut lab, settings) = as_it_is(&store, &state, &datapath)?;
    replace_rules(&mut lab, rules)?;
    let state = survey_for(&store, &lab)?.state;
    match desired(&lab, &settings, &state)?.remove(&Key::Policy) {
        Some(Object::Policy(state::Policy { source: Some(source), .. })) => {
            let places = Places::of_state(source.ends.clone(), &state);
            Ok((source, places))
        }
        _ => Err(no_policy(name).into()),
    }
}

fn replace_rules(lab: &mut Lab, rules: Option<PathBuf>) -> anyhow::Result<()> {
    if let Some(file) = rules {
        let (source, name) = lab_file::read_rules(&file)?;
        lab.policy = Some(lab.read_policy(&source, &name)?);
    }
    Ok(())
}

fn no_policy(lab: &Name) -> Usage {
    Usage(format!("the lab `{lab}` has no policy: everything passes"))
}

/// A frame, as it comes in where that is said, else where its sender is.
fn read(frame: &[u8], packet: &Packet, places: &Places) -> anyhow::Result<Read> {
    let from = match &packet.from {
        Some(from) => places.port(from)?,
        None => places.sender(frame),
    };
    Ok(Read::frame(frame, from))
}

/// A line for each packet of a capture, and how many there were of what.
fn all_of(
    file: &Path,
    packet: &Packet,
    places: &Places,
    tested: &Tested<'_>,
    format: Format,
) -> anyhow::Result<()> {
    let mut counts = Action::ALL.map(|action| (action, 0_u64));
    let mut number = 0_u64;
    capture::each(file, |frame| {
        number += 1;
        let mut report = tested.report(&read(frame, packet, places)?);
        report.number = Some(number);
        for (action, count) in &mut counts {
            *count += u64::from(action.name() == report.verdict);
        }
        match format {
            Format::Table => say(&report.line())?,
            Format::Json => say(&serde_json::to_string(&report)?)?,
        }
        Ok(())
    })?;
    if format == Format::Table {
        let some = counts.iter().filter(|(_, count)| *count > 0);
        let counts: Vec<String> =
            some.map(|(action, count)| format!("{} {count}", action.name())).collect();
        let counts =
            if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) };
        say(&format!(
            "{} of {}{counts}",
            count(usize::try_from(number)?, "packet"),
            file.display()
        ))?;
    }
    Ok(())
}
