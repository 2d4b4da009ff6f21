//! nftables on a bridge, as nsbpf's policy is measured beside it: what `nft` makes of a text.
//!
//! A table of bridges is about all bridges of a network namespace. So each sleeps but in its
//! own path's turn.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};

use super::mode::Filter;
use super::{BenchError, io_error, rules};

/// A table, as long as its network namespace is there.
#[derive(Debug)]
pub(super) struct Firewall {
    table: String,
}

impl Firewall {
    /// Makes the table of a path; `None` if it has none, or nobody here knows nftables.
    pub(super) fn load(
        filter: Filter,
        number: usize,
        many: u32,
    ) -> Result<Option<Self>, BenchError> {
        let table = format!("bench{number}");
        let text = match filter {
            Filter::None | Filter::Policy(_) => return Ok(None),
            Filter::Linear(amount) => rules::linear(&table, amount.count(many)),
            Filter::Set(amount) => rules::set(&table, amount.count(many)),
        };
        Ok(nft(&text)?.then_some(Self { table }))
    }

    /// Packets of all bridges pass it from now on.
    pub(super) fn wake(&self) -> Result<(), BenchError> {
        nft(&format!("add table bridge {}\n", self.table)).map(drop)
    }

    /// They do not.
    pub(super) fn sleep(&self) -> Result<(), BenchError> {
        nft(&format!("add table bridge {} {{ flags dormant; }}\n", self.table)).map(drop)
    }
}

/// Has `nft` read a text; `false` if there is no such program.
fn nft(text: &str) -> Result<bool, BenchError> {
    let failed = || io_error("run nft");
    let mut command = Command::new("nft");
    command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        spawned => spawned.map_err(failed())?,
    };
    // It reads all before it says anything.
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(text.as_bytes()));
    let done = child.wait_with_output().map_err(failed())?;
    if done.status.success() {
        written.map_err(failed())?;
        return Ok(true);
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let why = format!("{}: {}", done.status, said.lines().next().unwrap_or_default());
    Err(failed()(io::Error::other(why)))
}
