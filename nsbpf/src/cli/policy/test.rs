//! `nsbpf policy test`: which rule decides on a packet, and why, without sending it.

mod capture;
mod packet;
mod places;
mod report;

use std::path::{Path, PathBuf};

use clap::Args;
use nsbpf_common::policy::{Action, Subject};

use self::packet::{Packet, hex};
use self::places::Places;
use self::report::Tested;
use super::super::exit::Usage;
use super::super::no_lab::no_lab;
use super::super::say::{count, say};
use super::super::view::Format;
use super::super::{lab_file, privilege};
use crate::apply::survey;
use crate::lab::{Lab, Name, Policy};
use crate::policy::{Kind, compile, subject};
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
        let (lab, places) = match (lab, file) {
            (_, Some(file)) => {
                let lab = lab_file::read(&file)?;
                let places = Places::of_lab(&lab);
                (lab, places)
            }
            (Some(name), None) => {
                privilege::prepare()?;
                let store = Store::new(&name);
                let lab = lab_file::kept(&store)?;
                let state = survey(&store)?.state;
                if state.objects.is_empty() {
                    return Err(no_lab(&name));
                }
                let places = Places::of_state(&lab, &state);
                (lab, places)
            }
            (None, None) => return Err(Usage("name a lab, or its file".to_owned()).into()),
        };
        let policy = policy(&lab, rules)?;
        let ruleset = compile(&policy, &places.ends)?;
        let tested = Tested { policy: &policy, ruleset: &ruleset, ends: &places.ends };
        if let Some(file) = &packet.pcap {
            return all_of(file, &packet, &places, &tested, format);
        }
        let (kind, subject) = match &packet.hex {
            Some(bytes) => {
                let frame = hex(bytes)?;
                read(&frame, &packet, &places)?
            }
            None => packet.subject(&places)?,
        };
        let report = tested.report(kind, &subject);
        match format {
            Format::Table => say(&report.text())?,
            Format::Json => say(&serde_json::to_string(&report)?)?,
        }
        Ok(())
    }
}

fn policy(lab: &Lab, rules: Option<PathBuf>) -> anyhow::Result<Policy> {
    if let Some(file) = rules {
        let (source, name) = lab_file::read_rules(&file)?;
        return Ok(lab.read_policy(&source, &name)?);
    }
    let none = || Usage(format!("the lab `{}` has no policy: everything passes", lab.name));
    lab.policy.clone().ok_or_else(|| none().into())
}

/// A frame, as it comes in where that is said, else where its sender is.
fn read(frame: &[u8], packet: &Packet, places: &Places) -> anyhow::Result<(Kind, Subject)> {
    let from = match &packet.from {
        Some(from) => places.port(from)?,
        None => places.sender(frame),
    };
    Ok(subject::read(frame, from))
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
        let (kind, subject) = read(frame, packet, places)?;
        let mut report = tested.report(kind, &subject);
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
