//! `nsbpf fastpath`: how packets travel over the bridges of a lab that is up, shown and
//! changed.

use std::collections::BTreeMap;

use anyhow::bail;
use clap::{Args, Subcommand};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use nsbpf_common::stats::Way;
use serde::Serialize;

use super::as_it_is::{as_it_is, change, set_ways};
use super::counting::counting;
use super::exit::Usage;
use super::no_lab::no_lab;
use super::quantity::bytes;
use super::say::{count, millis, say, warn_of_filters};
use super::view::Format;
use super::{privilege, settings};
use crate::apply::{Converged, survey};
use crate::lab::{InterfaceId, Name, nearest};
use crate::observe::fastpath as paths;
use crate::observe::fastpath::FastPathReport;
use crate::state::State;
use crate::store::Store;

/// Show or change how packets travel over the bridges of a lab that is up
#[derive(Debug, Args)]
pub(super) struct FastPath {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the fast path of each interface, and how much takes it
    Show(Show),
    /// Change it, under traffic; `nsbpf up` leads back to what the lab's file says
    Set(Set),
}

#[derive(Debug, Args)]
struct Show {
    /// The lab, by its name
    #[arg(value_parser = Name::new)]
    lab: Name,
    /// How to show it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Args)]
struct Set {
    /// The lab, by its name
    #[arg(value_parser = Name::new)]
    lab: Name,
    /// `bridge`, `redirect`, `peer` or `xdp`
    #[arg(value_parser = settings::fastpath)]
    fastpath: Way,
    /// Only for what these interfaces send, as NAMESPACE/INTERFACE [default: all]
    #[arg(long = "interface", value_name = "INTERFACE")]
    interfaces: Vec<String>,
}

impl FastPath {
    pub(super) fn run(self) -> anyhow::Result<()> {
        privilege::prepare()?;
        match self.verb {
            Verb::Show(show) => show.run(),
            Verb::Set(set) => set.run(),
        }
    }
}

fn look(lab: &Name, store: &Store) -> anyhow::Result<State> {
    let state = survey(store)?.state;
    if state.objects.is_empty() {
        return Err(no_lab(lab));
    }
    Ok(state)
}

#[derive(Serialize)]
struct Shown {
    lab: String,
    interfaces: Vec<FastPathReport>,
}

impl Show {
    fn run(self) -> anyhow::Result<()> {
        let Self { lab, format } = self;
        let store = Store::new(&lab);
        let state = look(&lab, &store)?;
        counting(&lab, &state)?;
        let interfaces = paths::report(&store, &state)?;
        let text = match format {
            Format::Json => serde_json::to_string(&Shown { lab: lab.to_string(), interfaces })?,
            Format::Table if interfaces.is_empty() => {
                format!("{lab}: no interface is on a bridge")
            }
            Format::Table => table(&interfaces),
        };
        Ok(say(&text)?)
    }
}

fn table(interfaces: &[FastPathReport]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    let header = ["INTERFACE", "BRIDGE", "FAST PATH", "PACKETS", "BYTES", "BY THE BRIDGE", "BYTES"];
    table.set_header(header);
    for FastPathReport { interface, bridge, fastpath, sent, bridged } in interfaces {
        table.add_row([
            interface.clone(),
            bridge.clone(),
            (*fastpath).to_owned(),
            sent.packets.to_string(),
            bytes(sent.bytes),
            bridged.packets.to_string(),
            bytes(bridged.bytes),
        ]);
    }
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

impl Set {
    /// The lab as it is, with the ways that its interfaces are to have: the same steps as
    /// ever lead there.
    fn run(self) -> anyhow::Result<()> {
        let Self { lab: name, fastpath, interfaces } = self;
        let store = Store::new(&name);
        let lock = store.lock_in_turn()?;
        let state = look(&name, &store)?;
        let datapath = counting(&name, &state)?.clone();
        let (mut lab, settings) = as_it_is(&store, &state, &datapath)?;
        let mut ways: BTreeMap<InterfaceId, Way> = paths::ways(&state).collect();
        choose(&mut ways, fastpath, &interfaces)?;
        set_ways(&mut lab, &ways);
        let Converged { steps, programs, offloading, filtering, took, .. } =
            change(store, lock, lab, settings)?;
        let took = millis(took);
        match steps {
            0 => say(&format!("{name}: nothing to change ({took})"))?,
            _ => say(&format!(
                "{name}: {} after {took} ({})",
                fastpath.name(),
                count(steps, "step")
            ))?,
        }
        let lines = [programs.map(|it| it.to_string()), offloading.map(|it| it.to_string())];
        for line in lines.into_iter().flatten() {
            say(&format!("{name}: {line}"))?;
        }
        warn_of_filters(&name, &filtering)?;
        Ok(())
    }
}

/// Gives the interfaces that are meant the new way.
fn choose(
    ways: &mut BTreeMap<InterfaceId, Way>,
    fastpath: Way,
    interfaces: &[String],
) -> anyhow::Result<()> {
    if ways.is_empty() {
        bail!("no interface of the lab is on a bridge: there is nothing to pass by");
    }
    if interfaces.is_empty() {
        for way in ways.values_mut() {
            *way = fastpath;
        }
    }
    for wanted in interfaces {
        let Some((_, way)) = ways.iter_mut().find(|(id, _)| id.to_string() == *wanted) else {
            let names: Vec<String> = ways.keys().map(ToString::to_string).collect();
            let help = nearest(wanted, names.iter().map(String::as_str));
            let help = help.unwrap_or_else(|| format!("there are {}", names.join(", ")));
            let message = format!("no interface `{wanted}` is on a bridge of the lab: {help}");
            return Err(Usage(message).into());
        };
        *way = fastpath;
    }
    Ok(())
}
