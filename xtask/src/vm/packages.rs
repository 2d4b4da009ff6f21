//! Debian's kernels, by an apt of our own: its lists, its packages and its sources
//! are below target/, and what this machine has installed does not matter.
//!
//! The mirror is whichever this machine's own apt uses for Debian.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use super::release::Release;
use crate::command;

/// Signs all suites; where it is missing, apt's trusted keys have to do.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// What depends on the newest kernel of a suite.
const NEWEST: &str = "linux-image-cloud-amd64";

/// The packages that are a kernel, among those that it depends on. From Linux 7 it
/// is in several.
const PARTS: [&str; 3] = ["linux-image-", "linux-binary-", "linux-modules-"];

/// An apt of one suite.
pub(super) struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// Sets it up below `folder`, with fresh lists.
    pub(super) fn new(folder: &Path, suite: &str) -> Result<Self> {
        let apt = Self { folder: folder.join("apt") };
        for part in ["state/lists/partial", "cache/archives/partial"] {
            let part = apt.folder.join(part);
            fs::create_dir_all(&part).with_context(|| format!("make {}", part.display()))?;
        }
        let signed = if Path::new(KEYRING).exists() {
            format!("[signed-by={KEYRING}] ")
        } else {
            String::new()
        };
        let source = format!("deb {signed}{} {suite} main\n", mirror(suite)?);
        let [sources, configuration] =
            ["sources.list", "apt.conf"].map(|file| apt.folder.join(file));
        let at = apt.folder.display();
        let settings = format!(
            "Dir::State \"{at}/state\";\n\
            Dir::State::status \"/dev/null\";\n\
            Dir::Cache \"{at}/cache\";\n\
            Dir::Etc::sourcelist \"{at}/sources.list\";\n\
            Dir::Etc::sourceparts \"-\";\n\
            APT::Architecture \"amd64\";\n\
            APT::Sandbox::User \"root\";\n"
        );
        for (file, text) in [(sources, source), (configuration, settings)] {
            fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
        }
        command::run(apt.command("apt-get").args(["--quiet", "--quiet", "update"]))?;
        Ok(apt)
    }

    /// Downloads the packages of the newest kernel of that release, and unpacks
    /// them below `root`.
    pub(super) fn unpack(&self, release: &Release, root: &Path) -> Result<()> {
        let packages = self.folder.join("packages");
        // What an earlier attempt left is not to be mixed in.
        for folder in [packages.as_path(), root] {
            if folder.exists() {
                fs::remove_dir_all(folder)
                    .with_context(|| format!("remove {}", folder.display()))?;
            }
            fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        }
        let mut download = self.command("apt-get");
        download.args(["--quiet", "--quiet", "download"]).args(self.parts(release)?);
        command::run(download.current_dir(&packages))?;
        for package in files(&packages)? {
            let mut unpack = Command::new("dpkg-deb");
            command::run(unpack.arg("--extract").arg(package).arg(root))?;
        }
        fs::remove_dir_all(&packages).with_context(|| format!("remove {}", packages.display()))
    }

    fn parts(&self, release: &Release) -> Result<Vec<String>> {
        let whole = match &release.version {
            None => NEWEST.to_owned(),
            Some(version) => self.newest_of(version)?,
        };
        let mut query = self.command("apt-cache");
        let listed = output(query.args(["depends", "--recurse", "--important", &whole]))?;
        // What a package depends on is indented below it, and is listed itself.
        let parts: Vec<String> = listed
            .lines()
            .filter(|line| *line != NEWEST && PARTS.iter().any(|part| line.starts_with(part)))
            .map(str::to_owned)
            .collect();
        if parts.is_empty() {
            bail!("{whole} depends on no kernel");
        }
        Ok(parts)
    }

    /// The package of the newest kernel whose version begins so.
    fn newest_of(&self, version: &str) -> Result<String> {
        let mut query = self.command("apt-cache");
        let listed = output(query.args(["pkgnames", &format!("linux-image-{version}")]))?;
        let candidates = listed.lines().filter(|name| name.ends_with("-cloud-amd64"));
        let newest = candidates.max_by_key(|name| numbers(name));
        newest.map(str::to_owned).with_context(|| format!("there is no kernel {version}"))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.folder.join("apt.conf")).stdin(Stdio::null());
        command
    }
}

/// Where this machine gets Debian from.
fn mirror(suite: &str) -> Result<String> {
    let label = if suite.ends_with("-security") { "Debian-Security" } else { "Debian" };
    let mut query = Command::new("apt-get");
    query.args(["indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages"]);
    let listed = output(&mut query)?;
    let mut repositories = listed.lines().filter_map(|line| line.split_once(' '));
    let found = repositories.find(|(labelled, _)| *labelled == label);
    let (_, uri) = found.with_context(|| {
        format!("none of this machine's sources of packages, updated, is labelled {label}")
    })?;
    Ok(uri.to_owned())
}

/// The numbers in a name, which sort as versions do.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|character: char| !character.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect()
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.with_context(|| format!("list {}", folder.display()))?;
    Ok(entries.into_iter().map(|entry| entry.path()).collect())
}

fn output(command: &mut Command) -> Result<String> {
    let shown = command::shown(command);
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("start `{shown}`"))?;
    if !output.status.success() {
        bail!("`{shown}` failed ({})", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("what `{shown}` says"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_sort_as_numbers() {
        let names =
            ["linux-image-6.18.9+deb13-cloud-amd64", "linux-image-6.18.15+deb13-cloud-amd64"];
        assert_eq!(names.into_iter().max_by_key(|name| numbers(name)), Some(names[1]));
    }
}
