//! NetworkManager: it may take a veth end for a network card and ask for a lease
//! on it.

use std::fs;
use std::path::Path;

use super::super::finding::Finding;
use super::settings::{files, fits, parse};
use super::udev::RULES;

const SUBJECT: &str = "NetworkManager";
const FOLDERS: [&str; 3] =
    ["etc/NetworkManager/conf.d", "run/NetworkManager/conf.d", "usr/lib/NetworkManager/conf.d"];
const MAIN_FILE: &str = "etc/NetworkManager/NetworkManager.conf";

const CURE: &str = "write /etc/NetworkManager/conf.d/90-nsbpf.conf with the two lines \
                    `[keyfile]` and `unmanaged-devices+=driver:veth`, and then nmcli general \
                    reload";

pub(super) fn check(root: &Path, running: bool, udev: bool) -> Finding {
    let mut texts: Vec<(String, String)> = files(root, &FOLDERS, "conf")
        .into_iter()
        .map(|(path, text)| (path.display().to_string(), text))
        .collect();
    if let Ok(text) = fs::read_to_string(root.join(MAIN_FILE)) {
        texts.push((format!("/{MAIN_FILE}"), text));
    }
    let by_setting = texts.iter().find(|(_, text)| unmanages_veth(text));
    let by_rule = || {
        files(root, &RULES, "rules")
            .into_iter()
            .find(|(_, text)| rule_unmanages_veth(text))
            .map(|(path, _)| path.display().to_string())
    };
    // Rules take a daemon of their own.
    let why = by_setting.map(|(path, _)| path.clone()).or_else(|| by_rule().filter(|_| udev));
    judge(running, why)
}

/// `why` is the file that makes it leave veth ends alone.
fn judge(running: bool, why: Option<String>) -> Finding {
    match (running, why) {
        (false, _) => Finding::ok(SUBJECT, "does not run in this network namespace"),
        (true, Some(file)) => {
            Finding::ok(SUBJECT, format!("runs, and {file} keeps it from veth ends"))
        }
        (true, None) => Finding::warning(
            SUBJECT,
            "it runs, and none of its settings (unmanaged-devices, managed=0) and no udev rule \
             (NM_UNMANAGED) keeps it from the host-side ends of veth pairs: it may configure them",
            CURE,
        ),
    }
}

fn unmanages_veth(text: &str) -> bool {
    parse(text).iter().any(|section| {
        if section.name == "keyfile" {
            let mut entries = section.entries.iter();
            return entries.any(|(key, value)| {
                key.trim_end_matches('+').trim_end() == "unmanaged-devices" && names_veth(value)
            });
        }
        section.name.starts_with("device")
            && section.get("managed").is_some_and(|managed| ["0", "no", "false"].contains(&managed))
            && section.get("match-device").is_some_and(names_veth)
    })
}

/// Whether a list of devices has any veth end in it, whatever its name.
fn names_veth(list: &str) -> bool {
    let mut entries = list.split([';', ',']).map(str::trim);
    entries.any(|entry| match entry.split_once(':') {
        None => entry == "*",
        Some(("driver", driver)) => fits(driver, "veth"),
        Some(("type", kind)) => kind == "veth",
        Some(("interface-name", name)) => name == "*",
        Some(_) => false,
    })
}

fn rule_unmanages_veth(text: &str) -> bool {
    text.lines().map(str::trim).any(|line| {
        !line.starts_with('#')
            && line.contains("\"veth\"")
            && line.contains("ENV{NM_UNMANAGED}=\"1\"")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Severity;

    fn write(root: &Path, path: &str, text: &str) {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), text).unwrap();
    }

    #[test]
    fn it_is_a_warning_where_it_runs_without_a_rule() {
        let root = tempfile::tempdir().unwrap();
        write(
            root.path(),
            MAIN_FILE,
            "[main]\nplugins=keyfile\n\n[keyfile]\nunmanaged-devices=interface-name:docker*\n",
        );
        let finding = check(root.path(), true, true);
        assert_eq!(finding.severity, Severity::Warning);
        assert!(finding.cure.unwrap().contains("unmanaged-devices+=driver:veth"));
        assert_eq!(check(root.path(), false, true).severity, Severity::Ok);
    }

    #[test]
    fn the_cure_cures() {
        let root = tempfile::tempdir().unwrap();
        let path = "etc/NetworkManager/conf.d/90-nsbpf.conf";
        write(root.path(), path, "[keyfile]\nunmanaged-devices+=driver:veth\n");
        assert_eq!(check(root.path(), true, false).severity, Severity::Ok);
    }

    #[test]
    fn other_ways_to_say_it() {
        for text in [
            "[keyfile]\nunmanaged-devices=mac:00:11:22:33:44:55;driver:ve*\n",
            "[keyfile]\nunmanaged-devices=*,except:type:wifi\n",
            "[device-labs]\nmatch-device=type:veth\nmanaged=0\n",
        ] {
            assert!(unmanages_veth(text), "{text}");
        }
        for text in [
            "[keyfile]\nunmanaged-devices=interface-name:veth*\n",
            "[device-labs]\nmatch-device=driver:veth\nmanaged=1\n",
            "[device]\nmatch-device=driver:veth\n",
        ] {
            assert!(!unmanages_veth(text), "{text}");
        }
    }

    #[test]
    fn its_udev_rule_works_only_with_udev() {
        let root = tempfile::tempdir().unwrap();
        write(
            root.path(),
            "usr/lib/udev/rules.d/85-nm-unmanaged.rules",
            "# veth\nENV{ID_NET_DRIVER}==\"veth\", ENV{NM_UNMANAGED}=\"1\"\n",
        );
        assert_eq!(check(root.path(), true, true).severity, Severity::Ok);
        assert_eq!(check(root.path(), true, false).severity, Severity::Warning);
    }
}
