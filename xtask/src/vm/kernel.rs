//! A kernel with its modules, kept below target/ once it was fetched.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{packages::Apt, release::Release};
use crate::workspace;

/// An unpacked kernel.
pub(super) struct Kernel {
    pub(super) image: PathBuf,
    /// The folder with its modules.
    pub(super) modules: PathBuf,
    /// Where things about it may be kept.
    pub(super) folder: PathBuf,
}

impl Kernel {
    /// The kernel that `word` means, fetched unless it was before. Removing its
    /// folder is how to get a newer one.
    pub(super) fn find(word: &str) -> Result<Self> {
        let release = Release::parse(word)?;
        let folder = workspace::kernels()?.join(word);
        let root = folder.join("root");
        if !root.is_dir() {
            eprintln!("fetching the kernel of {}: 25 to 50 MB", release.suite);
            let apt = Apt::new(&folder, &release.suite)?;
            let part = folder.join("part");
            apt.unpack(&release, &part)?;
            fs::rename(&part, &root).with_context(|| format!("keep {}", root.display()))?;
        }
        let modules = ["lib/modules", "usr/lib/modules"]
            .iter()
            .find_map(|modules| only_folder(&root.join(modules)))
            .with_context(|| format!("there are no modules in {}", root.display()))?;
        // From Linux 7 the kernel is beside its modules.
        let image = [root.join("boot"), modules.clone()]
            .iter()
            .find_map(|folder| image(folder))
            .with_context(|| format!("there is no kernel in {}", root.display()))?;
        Ok(Self { image, modules, folder })
    }
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn only_folder(folder: &Path) -> Option<PathBuf> {
    entries(folder).find(|entry| entry.is_dir())
}

fn image(folder: &Path) -> Option<PathBuf> {
    let is_image = |name: &str| name == "vmlinuz" || name.starts_with("vmlinuz-");
    entries(folder)
        .find(|entry| entry.file_name().and_then(|name| name.to_str()).is_some_and(is_image))
}
