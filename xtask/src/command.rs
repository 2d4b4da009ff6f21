//! Starting programs, in the open.

use std::{
    env,
    ffi::OsStr,
    process::{Command, ExitStatus},
};

use anyhow::{Context as _, Result, bail};

use crate::workspace;

/// The cargo that runs us, in the workspace.
pub(crate) fn cargo() -> Command {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(workspace::root());
    command
}

/// Prints `command` to standard error: standard output belongs to what is run.
pub(crate) fn announce(command: &Command) {
    eprintln!("+ {}", shown(command));
}

/// Prints and runs `command`, which has to succeed.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    if !status.success() {
        bail!("`{}` failed ({status})", shown(command));
    }
    Ok(())
}

/// Prints and runs `command`.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    announce(command);
    command.status().with_context(|| format!("start `{}`", shown(command)))
}

/// The command as one would type it, as near as makes no difference to a reader.
pub(crate) fn shown(command: &Command) -> String {
    let set = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}={}", name.to_string_lossy(), quoted(value?))));
    let program = match command.get_program() {
        program if Some(program) == env::var_os("CARGO").as_deref() => "cargo".to_owned(),
        program => quoted(program),
    };
    let words = set.chain([program]).chain(command.get_args().map(quoted));
    words.collect::<Vec<_>>().join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    if word.is_empty() || word.contains([' ', '"', '\'', '\\', '$', ';', '&', '|', '<', '>']) {
        format!("'{}'", word.replace('\'', r"'\''"))
    } else {
        word.into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_shown_as_typed() {
        let mut command = Command::new("cargo");
        command.args(["install", "a b", ""]).env("LLVM_PREFIX", "/usr/lib/llvm-22");
        assert_eq!(shown(&command), "LLVM_PREFIX=/usr/lib/llvm-22 cargo install 'a b' ''");
    }
}
