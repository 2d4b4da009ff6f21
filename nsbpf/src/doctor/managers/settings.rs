//! Files of sections, keys and values, in folders of which one hides the other,
//! and which links they are about.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};

/// A section, and its keys in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) entries: Vec<(String, String)>,
}

impl Section {
    /// The last value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        let mut entries = self.entries.iter().rev();
        entries.find_map(|(name, value)| (name == key).then_some(value.as_str()))
    }
}

/// The sections of a file.
pub(super) fn parse(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for line in text.replace("\\\n", " ").lines().map(str::trim) {
        if line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            sections.push(Section { name: name.to_owned(), entries: Vec::new() });
        } else if let (Some((key, value)), Some(section)) =
            (line.split_once('='), sections.last_mut())
        {
            section.entries.push((key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    sections
}

/// The files of that extension, by name: one hides those of its name in later
/// folders, and so does a link to `/dev/null`.
pub(super) fn files(root: &Path, folders: &[&str], extension: &str) -> Vec<(PathBuf, String)> {
    let mut found = BTreeMap::new();
    for folder in folders {
        let entries = fs::read_dir(root.join(folder)).into_iter().flatten().flatten();
        for entry in entries {
            let path = entry.path();
            if path.extension().is_some_and(|found| found == extension) {
                found.entry(entry.file_name()).or_insert(path);
            }
        }
    }
    // One that cannot be read says nothing.
    found
        .into_values()
        .filter_map(|path| fs::read(&path).ok().map(|text| (path, text)))
        .map(|(path, text)| (path, String::from_utf8_lossy(&text).into_owned()))
        .collect()
}

/// A link of a lab, as a `[Match]` section sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct LabLink {
    /// What it is, for people.
    pub(super) what: &'static str,
    name: &'static str,
    /// Its kind, which is also what its driver is called.
    kind: &'static str,
}

/// One of each kind. Their names are the lab's; these are the built-in one's.
pub(super) const LAB_LINKS: [LabLink; 2] = [
    LabLink { what: "host-side ends of veth pairs", name: "vnet0-eth0", kind: "veth" },
    LabLink { what: "bridges", name: "br0", kind: "bridge" },
];

impl LabLink {
    /// Whether a file is about it: all of its `[Match]` holds. What is asked of
    /// anything else (a path, an address, a machine) is taken not to hold.
    pub(super) fn matches(self, sections: &[Section]) -> bool {
        let mut entries = sections
            .iter()
            .filter(|section| section.name == "Match")
            .flat_map(|section| &section.entries);
        entries.all(|(key, value)| match key.as_str() {
            "Name" | "OriginalName" => any(value, self.name),
            "Kind" | "Driver" => any(value, self.kind),
            "Type" => any(value, "ether"),
            _ => false,
        })
    }
}

/// Whether one of the patterns fits; with `!` before them, whether none does.
fn any(patterns: &str, text: &str) -> bool {
    let (patterns, wanted) =
        patterns.strip_prefix('!').map_or((patterns, true), |patterns| (patterns, false));
    patterns.split_whitespace().any(|pattern| fits(pattern, text)) == wanted
}

/// Whether a shell's pattern fits.
pub(super) fn fits(pattern: &str, text: &str) -> bool {
    let (Ok(pattern), Ok(text)) = (CString::new(pattern), CString::new(text)) else {
        return false;
    };
    // SAFETY: both are strings that end, and are only read.
    unsafe { libc::fnmatch(pattern.as_ptr(), text.as_ptr(), 0) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_and_their_entries() {
        let text = "# note\n[Match]\nName = a b\n\n[Link]\nMTUBytes=1\nMTUBytes=2\n; note\n";
        let sections = parse(text);
        assert_eq!(sections.len(), 2);
        assert_eq!(sections[0].entries, [("Name".to_owned(), "a b".to_owned())]);
        assert_eq!(sections[1].get("MTUBytes"), Some("2"));
        assert_eq!(sections[1].get("Name"), None);
    }

    #[test]
    fn a_link_is_matched_by_all_that_is_asked() {
        let [veth, bridge] = LAB_LINKS;
        let matches =
            |link: LabLink, text: &str| link.matches(&parse(&format!("[Match]\n{text}\n")));
        assert!(matches(veth, "Name=*"));
        assert!(matches(veth, "Type=ether"));
        assert!(matches(veth, "Name=en* vnet?-*"));
        assert!(matches(bridge, "Name=!en*"));
        assert!(!matches(veth, "Name=en*"));
        assert!(!matches(veth, "Name=!vnet*"));
        assert!(!matches(veth, "Name=*\nDriver=bridge"));
        assert!(!matches(bridge, "Name=*\nPath=pci-*"));
        assert!(matches(bridge, "Driver=veth bridge"));
    }

    #[test]
    fn a_file_hides_its_namesakes() {
        let root = tempfile::tempdir().unwrap();
        for (folder, file, text) in [
            ("etc", "a.link", "mine"),
            ("usr", "a.link", "theirs"),
            ("usr", "b.link", "b"),
            ("usr", "c.conf", "c"),
        ] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
            fs::write(root.path().join(folder).join(file), text).unwrap();
        }
        let found: Vec<String> =
            files(root.path(), &["etc", "usr"], "link").into_iter().map(|(_, text)| text).collect();
        assert_eq!(found, ["mine", "b"]);
    }
}
