//! `nsbpf ls`: the labs of this host.

use clap::Args;
use comfy_table::{Table, presets};
use serde::Serialize;

use super::privilege;
use super::say::say;
use super::view::Format;
use crate::apply::survey;
use crate::state::{Object, State};
use crate::store::Store;

#[derive(Debug, Args)]
pub(super) struct Ls {
    /// How to show the labs
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Why a lab is there.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Standing {
    /// `up` made it.
    Up,
    /// A command is at it.
    InUse,
    /// A command that was killed left it: `gc` takes it away.
    Left,
}

impl Standing {
    fn of(store: &Store) -> anyhow::Result<Self> {
        Ok(if store.is_locked()? {
            Self::InUse
        } else if store.is_kept() {
            Self::Up
        } else {
            Self::Left
        })
    }

    fn shown(self) -> String {
        match self {
            Self::Up => "up",
            Self::InUse => "in use",
            Self::Left => "left by a killed command",
        }
        .to_owned()
    }
}

#[derive(Serialize)]
struct Row {
    lab: String,
    state: Standing,
    namespaces: usize,
    interfaces: usize,
    bridges: usize,
    hooks: usize,
}

impl Ls {
    pub(super) fn run(self) -> anyhow::Result<()> {
        privilege::prepare()?;
        let mut rows = Vec::new();
        for lab in Store::labs()? {
            let store = Store::new(&lab);
            rows.push(row(lab.to_string(), Standing::of(&store)?, &survey(&store)?.state));
        }
        match self.format {
            Format::Json => rows.iter().try_for_each(|row| {
                let line = serde_json::to_string(row)?;
                Ok(say(&line)?)
            }),
            Format::Table => Ok(say(&table(&rows))?),
        }
    }
}

fn row(lab: String, standing: Standing, state: &State) -> Row {
    let count = |wanted: fn(&Object) -> bool| {
        state.objects.values().filter(|object| wanted(object)).count()
    };
    Row {
        lab,
        state: standing,
        namespaces: count(|object| matches!(object, Object::Netns(_) | Object::Adopted(_))),
        interfaces: state
            .objects
            .values()
            .map(|object| match object {
                Object::Veth(veth) => veth.ports().count(),
                _ => 0,
            })
            .sum(),
        bridges: count(|object| matches!(object, Object::Bridge(_))),
        hooks: count(|object| matches!(object, Object::Hook(_))),
    }
}

fn table(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "no lab is up".to_owned();
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["LAB", "NAMESPACES", "INTERFACES", "BRIDGES", "HOOKS", "STATE"]);
    for Row { lab, state, namespaces, interfaces, bridges, hooks } in rows {
        let numbers = [namespaces, interfaces, bridges, hooks].map(ToString::to_string);
        table.add_row([std::slice::from_ref(lab), &numbers, &[state.shown()]].concat());
    }
    table.trim_fmt()
}
