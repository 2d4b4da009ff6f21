//! What the kernel half's manifests inherit from the workspace's.
//!
//! Neither `Cargo.lock` nor the inheriting manifest shows the features that a
//! dependency is taken with, or the edition; both change the object.

use std::{collections::BTreeSet, fs, path::Path};

use toml::{Table, Value};

use crate::Error;

/// The parts of the workspace's manifest that the manifests among `sources` take
/// over, one line each, sorted.
pub(crate) fn inherited(workspace: &Path, sources: &[&str]) -> Result<Vec<String>, Error> {
    let root = read(&workspace.join("Cargo.toml"))?;
    let mut lines = BTreeSet::new();
    let manifests = sources.iter().filter(|source| source.ends_with("/Cargo.toml"));
    for manifest in manifests {
        let manifest = read(&workspace.join(manifest))?;
        lines.extend(of_package(&root, &manifest));
    }
    Ok(lines.into_iter().collect())
}

fn of_package(root: &Table, manifest: &Table) -> Vec<String> {
    let workspace = root.get("workspace");
    let inherits = |value: &Value| value.get("workspace").and_then(Value::as_bool) == Some(true);
    let mut lines = Vec::new();
    let mut take_over = |section: &str, wanted: &dyn Fn(&str) -> bool| {
        let entries = manifest.get(section).and_then(Value::as_table);
        for (name, value) in entries.into_iter().flatten() {
            if wanted(name) && inherits(value) {
                let shared = workspace.and_then(|workspace| workspace.get(section)?.get(name));
                lines.push(format!("{section}.{name} = {}", Shown(shared)));
            }
        }
    };
    // Versions are in the lock file's lines; the rest of a package's entry is prose.
    take_over("package", &|name| name == "edition");
    take_over("dependencies", &|_| true);
    take_over("build-dependencies", &|_| true);
    lines
}

/// A value in a form that does not depend on how its table was laid out.
struct Shown<'a>(Option<&'a Value>);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(value) => write!(formatter, "{value}"),
            None => formatter.write_str("nothing"),
        }
    }
}

fn read(path: &Path) -> Result<Table, Error> {
    let text = fs::read_to_string(path).map_err(Error::read(path))?;
    text.parse().map_err(Error::malformed::<toml::de::Error>(path))
}

#[cfg(test)]
mod tests {
    use super::of_package;

    fn lines(root: &str, manifest: &str) -> Vec<String> {
        of_package(&root.parse().unwrap(), &manifest.parse().unwrap())
    }

    const MANIFEST: &str = "package.edition.workspace = true\npackage.license.workspace = true\n\
                            [dependencies]\naya.workspace = true\nown = \"1\"\n";

    #[test]
    fn only_what_is_inherited() {
        let root = "[workspace.package]\nedition = \"2024\"\nlicense = \"MIT\"\n\
                    [workspace.dependencies]\naya = \"0.2\"\nown = \"9\"\n";
        let expected = ["package.edition = \"2024\"", "dependencies.aya = \"0.2\""];
        assert_eq!(lines(root, MANIFEST), expected);
    }

    #[test]
    fn layout_of_the_table_does_not_count() {
        let inline = "[workspace.dependencies]\naya = { version = \"0.2\", features = [\"x\"] }\n";
        let long = "[workspace.dependencies.aya]\nfeatures = [\"x\"]\nversion = \"0.2\"\n";
        assert_eq!(lines(inline, MANIFEST), lines(long, MANIFEST));
    }
}
