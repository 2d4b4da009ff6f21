//! The file system that a machine begins with: files of this machine at the paths
//! that they have here, and a few of its own.
//!
//! Programs are taken as they are, with the libraries that the dynamic linker
//! finds for them here. So the tests are the executables that ran on this machine.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::{Component, Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use cpio::newc::{self, Builder, ModeFileType};
use object::read::elf::{ElfFile64, ProgramHeader as _};

/// More than this many links on the way to a file are a loop.
const LINKS: usize = 40;

enum Entry {
    Folder,
    /// A symbolic link and what it says.
    Link(PathBuf),
    /// A file of this machine.
    Copy {
        source: PathBuf,
        mode: u32,
    },
    File {
        content: Vec<u8>,
    },
    /// A character device by its major and minor number.
    Device(u32, u32),
}

/// What goes into the archive. Folders come before what is in them: they sort so.
#[derive(Default)]
pub(super) struct Archive {
    entries: BTreeMap<PathBuf, Entry>,
}

impl Archive {
    /// A folder, with those that it is in.
    pub(super) fn folder(&mut self, path: &Path) {
        for folder in path.ancestors().filter(|folder| folder.parent().is_some()) {
            self.entries.entry(folder.to_owned()).or_insert(Entry::Folder);
        }
    }

    pub(super) fn device(&mut self, path: &Path, major: u32, minor: u32) {
        self.put(path, Entry::Device(major, minor));
    }

    pub(super) fn file(&mut self, path: &Path, content: Vec<u8>) {
        self.put(path, Entry::File { content });
    }

    pub(super) fn link(&mut self, path: &Path, target: &Path) {
        self.put(path, Entry::Link(target.to_owned()));
    }

    fn put(&mut self, path: &Path, entry: Entry) {
        if let Some(folder) = path.parent() {
            self.folder(folder);
        }
        self.entries.insert(path.to_owned(), entry);
    }

    /// A file or folder of this machine, and all links on the way to it.
    pub(super) fn bring(&mut self, path: &Path) -> Result<()> {
        self.try_bring(path).with_context(|| format!("bring {}", path.display()))
    }

    fn try_bring(&mut self, path: &Path) -> Result<()> {
        let mut at = PathBuf::from("/");
        let mut ahead: Vec<PathBuf> = reversed(path);
        let mut links = 0;
        let mut is_folder = true;
        while let Some(name) = ahead.pop() {
            if name.as_os_str() == ".." {
                at.pop();
                continue;
            }
            let here = at.join(&name);
            let about = fs::symlink_metadata(&here)?;
            if about.is_symlink() {
                let target = fs::read_link(&here)?;
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                ahead.extend(reversed(&target));
                self.put(&here, Entry::Link(target));
                links += 1;
                if links > LINKS {
                    bail!("its links go round");
                }
            } else if about.is_dir() {
                at = here;
            } else {
                let mode = about.permissions().mode();
                self.put(&here, Entry::Copy { source: here.clone(), mode });
                is_folder = false;
            }
        }
        if is_folder {
            self.folder(&at);
            for entry in fs::read_dir(&at)? {
                self.try_bring(&entry?.path())?;
            }
        }
        Ok(())
    }

    /// A program of this machine, with its libraries.
    pub(super) fn program(&mut self, path: &Path) -> Result<()> {
        self.bring(path)?;
        for library in
            libraries(path).with_context(|| format!("ask what {} needs", path.display()))?
        {
            self.bring(&library)?;
        }
        Ok(())
    }

    /// Writes it as the kernel reads it.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let file = File::create(path).with_context(|| format!("make {}", path.display()))?;
        let mut out = BufWriter::new(file);
        for (number, (name, entry)) in (1..).zip(&self.entries) {
            add(&mut out, number, name, entry)
                .with_context(|| format!("pack {}", name.display()))?;
        }
        newc::trailer(&mut out).and_then(Write::flush).context("end the archive")
    }
}

/// The components of a path, last one first.
fn reversed(path: &Path) -> Vec<PathBuf> {
    let names = path.components().rev();
    names
        .filter(|name| matches!(name, Component::Normal(_) | Component::ParentDir))
        .map(|name| PathBuf::from(name.as_os_str()))
        .collect()
}

fn add(out: &mut impl Write, number: u32, path: &Path, entry: &Entry) -> Result<()> {
    let name = path.strip_prefix("/")?.to_str().context("its name is no text")?;
    let builder = Builder::new(name).ino(number);
    let (builder, content) = match entry {
        Entry::Folder => {
            (builder.mode(0o755).set_mode_file_type(ModeFileType::Directory), Vec::new())
        }
        Entry::Link(target) => (
            builder.mode(0o777).set_mode_file_type(ModeFileType::Symlink),
            target.as_os_str().as_bytes().to_owned(),
        ),
        Entry::Copy { source, mode } => (
            builder.mode(mode & 0o777).set_mode_file_type(ModeFileType::Regular),
            fs::read(source)?,
        ),
        Entry::File { content } => {
            (builder.mode(0o644).set_mode_file_type(ModeFileType::Regular), content.clone())
        }
        Entry::Device(major, minor) => (
            builder
                .mode(0o600)
                .set_mode_file_type(ModeFileType::Char)
                .rdev_major(*major)
                .rdev_minor(*minor),
            Vec::new(),
        ),
    };
    let mut file = builder.write(out, u32::try_from(content.len()).context("it is too big")?);
    io::copy(&mut content.as_slice(), &mut file)?;
    file.finish()?;
    Ok(())
}

/// What the dynamic linker would load for a program, itself included.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let Some(linker) = linker(program)? else {
        return Ok(Vec::new());
    };
    let output = Command::new(&linker).arg("--list").arg(program).output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    // `libc.so.6 => /lib/libc.so.6 (0x7f…)`, or only the path, or no file at all.
    let listed = String::from_utf8(output.stdout)?;
    let paths = listed.lines().filter_map(|line| {
        let (found, _) = line.split_once(" (")?;
        let path = found.rsplit_once("=> ").map_or(found, |(_, path)| path).trim();
        path.starts_with('/').then(|| path.into())
    });
    Ok(paths.chain([linker]).collect())
}

/// The dynamic linker that a program names; `None` for a script or a static one.
fn linker(program: &Path) -> Result<Option<PathBuf>> {
    let content = fs::read(program)?;
    if !content.starts_with(b"\x7fELF") {
        return Ok(None);
    }
    let file: ElfFile64 = ElfFile64::parse(&*content)?;
    let endian = file.endian();
    for header in file.elf_program_headers() {
        if let Some(path) = header.interpreter(endian, &*content)? {
            return Ok(Some(std::str::from_utf8(path)?.into()));
        }
    }
    Ok(None)
}
