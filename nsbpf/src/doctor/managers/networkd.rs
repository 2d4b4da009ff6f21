//! systemd-networkd: it configures links that one of its files is about, and a
//! broad one is about those of labs.

use std::path::Path;

use super::super::finding::Finding;
use super::settings::{LAB_LINKS, files, parse};

const SUBJECT: &str = "systemd-networkd";
const FOLDERS: [&str; 4] = [
    "etc/systemd/network",
    "run/systemd/network",
    "usr/local/lib/systemd/network",
    "usr/lib/systemd/network",
];

const CURE: &str = "write /etc/systemd/network/05-nsbpf.network with the lines `[Match]`, \
                    `Driver=veth bridge`, `[Link]` and `Unmanaged=yes` (or narrow down what \
                    the other matches), and then networkctl reload";

pub(super) fn check(root: &Path, running: bool) -> Finding {
    if !running {
        return Finding::ok(SUBJECT, "does not run in this network namespace");
    }
    let files: Vec<_> = files(root, &FOLDERS, "network")
        .into_iter()
        .map(|(path, text)| (path, parse(&text)))
        .collect();
    let mut taken = Vec::new();
    for link in LAB_LINKS {
        // The first file that is about a link is the one that counts.
        let first = files.iter().find(|(_, sections)| link.matches(sections));
        let Some((path, sections)) = first else {
            continue;
        };
        let unmanaged = sections.iter().filter(|section| section.name == "Link").any(|section| {
            section
                .get("Unmanaged")
                .is_some_and(|value| ["1", "yes", "true", "on"].contains(&value))
        });
        if !unmanaged {
            taken.push(format!("{} is about {}", path.display(), link.what));
        }
    }
    if taken.is_empty() {
        return Finding::ok(SUBJECT, "runs, and none of its files is about links of labs");
    }
    Finding::warning(
        SUBJECT,
        format!(
            "it runs, and {}: it may take them off their bridge or give them addresses",
            taken.join(", ")
        ),
        CURE,
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::doctor::Severity;

    fn write(root: &Path, file: &str, text: &str) {
        fs::create_dir_all(root.join(FOLDERS[0])).unwrap();
        fs::write(root.join(FOLDERS[0]).join(file), text).unwrap();
    }

    #[test]
    fn a_broad_file_takes_links_and_the_cure_keeps_them() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "10-wired.network", "[Match]\nName=en*\n[Network]\nDHCP=yes\n");
        assert_eq!(check(root.path(), true).severity, Severity::Ok);
        write(root.path(), "20-all.network", "[Match]\nType=ether\n[Network]\nDHCP=yes\n");
        let finding = check(root.path(), true);
        assert_eq!(finding.severity, Severity::Warning);
        assert!(finding.cause.contains("20-all.network is about bridges"), "{}", finding.cause);
        assert_eq!(check(root.path(), false).severity, Severity::Ok);
        write(
            root.path(),
            "05-nsbpf.network",
            "[Match]\nDriver=veth bridge\n[Link]\nUnmanaged=yes\n",
        );
        assert_eq!(check(root.path(), true).severity, Severity::Ok);
    }
}
