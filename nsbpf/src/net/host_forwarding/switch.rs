//! The switches below `/proc/sys/net`, which shows the network namespace of the
//! thread that looks.

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::{Family, HostForwardingError, failed};
use crate::net::sysctl;

const FOLDER: &str = "/proc/sys/net";

/// A value that was changed, by us or as a side effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    pub(super) family: Family,
    /// Below `/proc/sys/net`.
    pub(super) file: String,
    /// The value before.
    was: String,
    /// The value since. The same where it is only putting back that would change
    /// it.
    set: String,
}

/// A value that a file is to have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Value {
    /// Below `/proc/sys/net`.
    file: String,
    value: String,
}

fn switch(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "ipv4/ip_forward",
        Family::Ipv6 => "ipv6/conf/all/forwarding",
    }
}

/// Whether the protocol is forwarded.
pub(super) fn is_on(family: Family) -> Result<bool, HostForwardingError> {
    let file = switch(family);
    match read(file)? {
        Some(value) => Ok(value != "0"),
        // Without IPv6 in the kernel there is no file.
        None => Err(failed("read", path(file))(io::ErrorKind::NotFound.into())),
    }
}

/// What turning on and later putting back changes that putting back alone would
/// not make as it is now. The switch is the last.
pub(super) fn changes(family: Family) -> Result<Vec<Change>, HostForwardingError> {
    let mut changes = Vec::new();
    let mut note = |file: String, was: String, set: &str| {
        changes.push(Change { family, file, was, set: set.to_owned() });
    };
    let conf = match family {
        Family::Ipv4 => "ipv4/conf",
        Family::Ipv6 => "ipv6/conf",
    };
    for interface in interfaces(conf)? {
        let file = format!("{conf}/{interface}/forwarding");
        let forwarding = read(&file)?.unwrap_or_default();
        let forwards = !["", "0"].contains(&forwarding.as_str());
        if forwards {
            note(file, forwarding, "1");
        }
        let accept = format!("{conf}/{interface}/accept_ra");
        if family == Family::Ipv6
            && !["default", "lo"].contains(&interface.as_str())
            && !forwards
            && read(&accept)?.as_deref() == Some("1")
        {
            note(accept, "1".to_owned(), "2");
        }
    }
    let redirects = "ipv4/conf/all/accept_redirects";
    if family == Family::Ipv4 && read(redirects)?.as_deref() == Some("0") {
        note(redirects.to_owned(), "0".to_owned(), "0");
    }
    let file = switch(family);
    note(file.to_owned(), read(file)?.unwrap_or_default(), "1");
    Ok(changes)
}

/// Forwards the protocol. Of the other changes those are made that were not
/// made yet.
pub(super) fn turn_on(family: Family, changes: &[Change]) -> Result<(), HostForwardingError> {
    for Change { file, was, set, .. } in changes.iter().filter(|change| change.family == family) {
        let is_to_do = file == switch(family) || was != set && read(file)?.as_ref() == Some(was);
        if is_to_do {
            write(file, set)?;
        }
    }
    Ok(())
}

/// What to write to undo changes: the switches first. What others changed
/// meanwhile has its value again in the end.
pub(super) fn overview(changes: &[Change]) -> Result<Vec<Value>, HostForwardingError> {
    let mut back = Vec::new();
    for Change { file, was, set, .. } in changes.iter().rev() {
        if let Some(now) = read(file)? {
            let value = if now == *set { was.clone() } else { now };
            back.push(Value { file: file.clone(), value });
        }
    }
    Ok(back)
}

/// Writes values. What is not there any more is left out.
pub(super) fn put_back(values: &[Value]) -> Result<(), HostForwardingError> {
    values.iter().try_for_each(|Value { file, value }| write(file, value))
}

/// Names below a `conf` folder, without the one that stands for all. One that is
/// no UTF-8 cannot be noted.
fn interfaces(conf: &str) -> Result<Vec<String>, HostForwardingError> {
    let folder = path(conf);
    let entries = fs::read_dir(&folder).map_err(failed("list", folder.clone()))?;
    let mut names = Vec::new();
    for entry in entries {
        match entry.map_err(failed("list", folder.clone()))?.file_name().into_string() {
            Ok(name) if name != "all" => names.push(name),
            Ok(_) => {}
            Err(name) => log::warn!("{}: not a name: {}", folder.display(), name.display()),
        }
    }
    Ok(names)
}

/// `None` when the file is not there: interfaces come and go.
fn read(file: &str) -> Result<Option<String>, HostForwardingError> {
    sysctl::read(&setting(file)).map_err(failed("read", path(file)))
}

fn write(file: &str, value: &str) -> Result<(), HostForwardingError> {
    match sysctl::write(&setting(file), value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        written => written.map_err(failed("write", path(file))),
    }
}

fn setting(file: &str) -> String {
    format!("net/{file}")
}

fn path(file: &str) -> PathBuf {
    Path::new(FOLDER).join(file)
}
