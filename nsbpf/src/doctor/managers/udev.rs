//! udev: it may rename links, change their address or size, and start a program
//! for each.

use std::path::Path;

use super::super::finding::Finding;
use super::settings::{LAB_LINKS, Section, files, parse};

const LINKS: &str = "udev link settings";
const RULES_SUBJECT: &str = "udev rules";
/// Where its rules are.
pub(super) const RULES: [&str; 4] =
    ["etc/udev/rules.d", "run/udev/rules.d", "usr/local/lib/udev/rules.d", "usr/lib/udev/rules.d"];
const LINK_FOLDERS: [&str; 4] = [
    "etc/systemd/network",
    "run/systemd/network",
    "usr/local/lib/systemd/network",
    "usr/lib/systemd/network",
];

pub(super) fn check(root: &Path, running: bool) -> Vec<Finding> {
    if !running {
        let why = "udev does not run in this network namespace";
        return vec![Finding::ok(LINKS, why), Finding::ok(RULES_SUBJECT, why)];
    }
    vec![check_links(root), check_rules(root)]
}

fn check_links(root: &Path) -> Finding {
    let files: Vec<_> = files(root, &LINK_FOLDERS, "link")
        .into_iter()
        .map(|(path, text)| (path, parse(&text)))
        .collect();
    let (mut harm, mut policy) = (Vec::new(), None);
    for link in LAB_LINKS {
        // The first file that is about a link is the one that counts.
        let first = files.iter().find(|(_, sections)| link.matches(sections));
        let Some((path, sections)) = first else {
            continue;
        };
        let path = path.display();
        for setting in changes(sections) {
            harm.push(format!("{path} says {setting} for {}", link.what));
        }
        let mut addresses = sections.iter().filter_map(|section| section.get("MACAddressPolicy"));
        policy = policy
            .or(addresses.next().map(|policy| format!("{path} says MACAddressPolicy={policy}")));
    }
    if !harm.is_empty() {
        return Finding::warning(
            LINKS,
            format!("{}: a link that it changes is no longer what the lab says", harm.join(", ")),
            "narrow down what its [Match] section is about: OriginalName=!… or Kind=!veth bridge",
        );
    }
    match policy {
        // udev changes addresses that the kernel made up, not those that a link was
        // born with at somebody's wish (`link_generate_new_hw_addr`, systemd 257).
        Some(policy) => Finding::ok(
            LINKS,
            format!("{policy}: links of labs are born with their address, which it leaves alone"),
        ),
        None => Finding::ok(LINKS, "nothing changes links of labs"),
    }
}

/// Settings that change what a lab has set.
fn changes(sections: &[Section]) -> Vec<String> {
    let link = sections.iter().filter(|section| section.name == "Link");
    link.flat_map(|section| {
        let fixed = ["Name", "MACAddress", "MTUBytes"].into_iter();
        let mut found: Vec<String> = fixed
            .filter_map(|key| section.get(key).map(|value| format!("{key}={value}")))
            .collect();
        // A name after the address suits every link; `keep` leaves given ones.
        if let Some(policy) = section.get("NamePolicy")
            && policy
                .split_whitespace()
                .take_while(|word| *word != "keep")
                .any(|word| word == "mac")
        {
            found.push(format!("NamePolicy={policy}"));
        }
        found
    })
    .collect()
}

fn check_rules(root: &Path) -> Finding {
    let mut found = Vec::new();
    for (path, text) in files(root, &RULES, "rules") {
        for rule in text.replace("\\\n", " ").lines().filter(|rule| touches_all(rule)) {
            found.push(format!("{}: {}", path.display(), rule.trim().escape_debug()));
        }
    }
    if found.is_empty() {
        return Finding::ok(RULES_SUBJECT, "none renames every link or starts a program for it");
    }
    Finding::warning(
        RULES_SUBJECT,
        format!(
            "a rule is about every link, which a lab of 1,000 namespaces makes thousands of: {}",
            found.join("; ")
        ),
        "add ENV{DEVTYPE}==…, KERNEL==… or DRIVERS==\"?*\" to the rule, and then udevadm control \
         --reload",
    )
}

/// Whether a rule renames network links, or starts a program for them, without
/// asking which they are.
fn touches_all(rule: &str) -> bool {
    let rule = rule.trim();
    if rule.starts_with('#') || !rule.contains("SUBSYSTEM==\"net\"") {
        return false;
    }
    let terms: Vec<&str> = rule.split(',').map(str::trim).collect();
    let acts = terms.iter().any(|term| {
        term.starts_with("RUN") || (term.starts_with("NAME=") && !term.starts_with("NAME=="))
    });
    let asks = terms.iter().any(|term| {
        let (key, rest) = term.split_at(term.find(['=', '!']).unwrap_or(term.len()));
        let compares = rest.starts_with("==") || rest.starts_with("!=");
        compares && !["SUBSYSTEM", "ACTION"].contains(&key)
    });
    acts && !asks
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::doctor::Severity;

    fn write(root: &Path, path: &str, text: &str) {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), text).unwrap();
    }

    fn links(text: &str) -> Finding {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "usr/lib/systemd/network/99-default.link", text);
        check_links(root.path())
    }

    #[test]
    fn the_shipped_settings_leave_links_of_labs_alone() {
        let shipped = "[Match]\nOriginalName=*\n[Link]\nNamePolicy=keep kernel database onboard \
                       slot path mac\n\
                       MACAddressPolicy=persistent\n";
        let finding = links(shipped);
        assert_eq!(finding.severity, Severity::Ok);
        assert!(finding.cause.contains("MACAddressPolicy=persistent"), "{}", finding.cause);
    }

    #[test]
    fn settings_that_change_every_link_are_found() {
        for setting in
            ["MTUBytes=9000", "Name=lan0", "MACAddress=02:00:00:00:00:01", "NamePolicy=mac"]
        {
            let finding = links(&format!("[Match]\nOriginalName=*\n[Link]\n{setting}\n"));
            assert_eq!(finding.severity, Severity::Warning, "{setting}");
            assert!(finding.cause.contains(setting), "{}", finding.cause);
        }
        assert_eq!(
            links("[Match]\nOriginalName=en*\n[Link]\nMTUBytes=9000\n").severity,
            Severity::Ok
        );
    }

    #[test]
    fn rules_about_every_link_are_found() {
        for rule in [
            "SUBSYSTEM==\"net\", ACTION==\"add\", RUN+=\"/bin/hotplug %k\"",
            "ACTION==\"add\", SUBSYSTEM==\"net\", NAME=\"lan0\"",
        ] {
            assert!(touches_all(rule), "{rule}");
        }
        for rule in [
            "# SUBSYSTEM==\"net\", RUN+=\"/bin/hotplug\"",
            "SUBSYSTEM==\"net\", KERNEL==\"eth*\", RUN+=\"/bin/hotplug\"",
            "SUBSYSTEM==\"net\", DRIVERS==\"?*\", NAME=\"lan0\"",
            "SUBSYSTEM==\"block\", RUN+=\"/bin/hotplug\"",
            "SUBSYSTEM==\"net\", TAG+=\"systemd\"",
        ] {
            assert!(!touches_all(rule), "{rule}");
        }
    }

    #[test]
    fn without_udev_its_files_do_nothing() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "etc/udev/rules.d/80-x.rules", "SUBSYSTEM==\"net\", RUN+=\"x\"\n");
        let severities = |running| {
            check(root.path(), running)
                .into_iter()
                .map(|finding| finding.severity)
                .collect::<Vec<_>>()
        };
        assert_eq!(severities(false), [Severity::Ok, Severity::Ok]);
        assert_eq!(severities(true), [Severity::Ok, Severity::Warning]);
    }
}
