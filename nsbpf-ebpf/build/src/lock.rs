//! Which locked packages the kernel half is made of.

use std::collections::{BTreeMap, BTreeSet};

/// One line a package that `root` depends on, itself included: name, version and
/// checksum (none for the workspace's own), sorted.
pub(crate) fn closure(lock: &str, root: &str) -> Result<Vec<String>, String> {
    let lock: toml::Table = lock.parse().map_err(|error: toml::de::Error| error.to_string())?;
    let packages = lock.get("package").and_then(toml::Value::as_array);
    let mut by_name: BTreeMap<&str, Vec<&toml::Value>> = BTreeMap::new();
    for package in packages.into_iter().flatten() {
        by_name.entry(text(package, "name")?).or_default().push(package);
    }
    let mut lines = BTreeSet::new();
    let mut waiting = vec![root];
    while let Some(reference) = waiting.pop() {
        let package = resolve(&by_name, reference)?;
        let line = format!(
            "{} {} {}",
            text(package, "name")?,
            text(package, "version")?,
            text(package, "checksum").unwrap_or("-"),
        );
        if lines.insert(line) {
            let dependencies = package.get("dependencies").and_then(toml::Value::as_array);
            waiting.extend(dependencies.into_iter().flatten().filter_map(toml::Value::as_str));
        }
    }
    Ok(lines.into_iter().collect())
}

/// A dependency is a name, and where that is ambiguous also a version, and where
/// that is too also a source.
fn resolve<'a>(
    by_name: &BTreeMap<&str, Vec<&'a toml::Value>>,
    reference: &str,
) -> Result<&'a toml::Value, String> {
    let mut words = reference.split(' ');
    let name = words.next().unwrap_or_default();
    let version = words.next();
    let source = words.next().map(|source| source.trim_matches(['(', ')']));
    let matches = |package: &&&toml::Value| {
        version.is_none_or(|version| text(package, "version") == Ok(version))
            && source.is_none_or(|source| text(package, "source") == Ok(source))
    };
    let candidates = by_name.get(name).into_iter().flatten();
    let found = candidates.copied().find(|package| matches(&package));
    found.ok_or_else(|| format!("package `{reference}` is not locked"))
}

fn text<'a>(package: &'a toml::Value, key: &str) -> Result<&'a str, String> {
    let value = package.get(key).and_then(toml::Value::as_str);
    value.ok_or_else(|| format!("a package has no {key}"))
}

#[cfg(test)]
mod tests {
    use super::closure;

    const LOCK: &str = r#"
        version = 4
        [[package]]
        name = "half"
        version = "0.1.0"
        dependencies = ["left", "syn 2.0.0"]
        [[package]]
        name = "left"
        version = "1.0.0"
        source = "registry"
        checksum = "aa"
        dependencies = ["half"]
        [[package]]
        name = "syn"
        version = "1.0.0"
        checksum = "bb"
        [[package]]
        name = "syn"
        version = "2.0.0"
        checksum = "cc"
        [[package]]
        name = "unrelated"
        version = "9.0.0"
    "#;

    #[test]
    fn only_what_the_root_reaches() {
        let lines = closure(LOCK, "half").unwrap();
        assert_eq!(lines, ["half 0.1.0 -", "left 1.0.0 aa", "syn 2.0.0 cc"]);
    }

    #[test]
    fn an_unlocked_dependency_is_named() {
        let error = closure(LOCK, "absent").unwrap_err();
        assert!(error.contains("`absent`"), "{error}");
    }
}
