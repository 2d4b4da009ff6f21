//! `nsbpf schema`: the lab language, as editors read it.

use clap::Args;

use super::say::say;
use crate::lab;

#[derive(Debug, Args)]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let Self {} = self;
        Ok(say(&format!("{:#}", lab::schema()))?)
    }
}
