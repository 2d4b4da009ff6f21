//! Replacing this process by another program.
//!
//! Not by the standard library: the C library beneath it hands whatever the
//! kernel cannot execute to `/bin/sh`.

use std::convert::Infallible;
use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::ptr;

/// Where programs are looked for when the environment does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The program did not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum CannotStart {
    #[error("{0}: command not found")]
    NotFound(String),
    #[error("{program}: {source}")]
    NotExecutable { program: String, source: io::Error },
    #[error("{0}: its interpreter is not there")]
    NoInterpreter(String),
}

impl CannotStart {
    /// What a shell's exit code would be.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound(_) => 127,
            Self::NotExecutable { .. } | Self::NoInterpreter(_) => 126,
        }
    }
}

/// Becomes the program that a command names, with more in its environment.
/// Returns only if it cannot be started.
pub(super) fn replace(command: &[OsString], more: &[(&str, &str)]) -> CannotStart {
    let program = command.first().map(OsString::as_os_str).unwrap_or_default();
    let shown = program.display().to_string();
    // SAFETY: no handler is installed, so none can run at a bad time.
    unsafe {
        // Rust's runtime ignores it, and what is ignored stays so.
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
    let mut denied = None;
    for file in candidates(program) {
        let Err(source) = execute(&file, command, more);
        match source.raw_os_error() {
            Some(libc::ENOENT) if file.is_file() => {
                return CannotStart::NoInterpreter(shown);
            }
            // As a shell does: the next folder may have it.
            Some(libc::ENOENT | libc::ENOTDIR) => {}
            Some(libc::EACCES) => denied = Some(source),
            _ => return CannotStart::NotExecutable { program: shown, source },
        }
    }
    match denied {
        Some(source) => CannotStart::NotExecutable { program: shown, source },
        None => CannotStart::NotFound(shown),
    }
}

/// Files that a program's name may mean, in the order to try.
fn candidates(program: &OsStr) -> Vec<PathBuf> {
    if program.is_empty() {
        return Vec::new();
    }
    if program.as_bytes().contains(&b'/') {
        return vec![program.into()];
    }
    let path = env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    env::split_paths(&path).map(|folder| folder.join(program)).collect()
}

fn execute(file: &Path, command: &[OsString], more: &[(&str, &str)]) -> io::Result<Infallible> {
    let file = CString::new(file.as_os_str().as_bytes())?;
    let arguments = c_strings(command.iter().cloned())?;
    let kept = env::vars_os().filter(|(name, _)| more.iter().all(|(new, _)| name != new));
    let new = more.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let environment = c_strings(kept.chain(new).map(|(mut variable, value)| {
        variable.push("=");
        variable.push(value);
        variable
    }))?;
    let [arguments, environment] = [&arguments, &environment].map(|strings| {
        strings.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect::<Vec<_>>()
    });
    // SAFETY: all strings end with a zero and both lists with a null pointer, and
    // they outlive the call.
    unsafe { libc::execve(file.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    Err(io::Error::last_os_error())
}

fn c_strings(strings: impl Iterator<Item = OsString>) -> io::Result<Vec<CString>> {
    strings.map(|text| Ok(CString::new(text.into_vec())?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_not_searched_for() {
        assert_eq!(candidates("./a".as_ref()), [PathBuf::from("./a")]);
        assert!(candidates("".as_ref()).is_empty());
        assert!(candidates("sh".as_ref()).iter().all(|file| file.ends_with("sh")));
    }
}
