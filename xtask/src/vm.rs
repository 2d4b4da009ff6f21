//! The root tests on another kernel, in a virtual machine (tier 4).
//!
//! The machine gets the executables that run as root on this one, the programs
//! that they call and the libraries of all these, at the same paths. Its first
//! process is `vm-init`.

mod archive;
mod kernel;
mod machine;
mod modules;
mod packages;
mod release;

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use vm_init::{ORDERS, Orders, Outcome};

use crate::workspace;
use archive::Archive;
use kernel::Kernel;

/// What the tests call. What is missing here is missing there, and the tests say
/// so. `modprobe` is left out: the first process loads what there is.
const PROGRAMS: &[&str] = &[
    "arptables-legacy",
    "bridge",
    "cat",
    "env",
    "grep",
    "ip",
    "ip6tables-legacy",
    "iptables-legacy",
    "ls",
    "mkdir",
    "nft",
    "printf",
    "sh",
    "sleep",
    "tail",
    "tc",
    "tcpdump",
    "true",
];

/// What iptables loads by itself, on Debian and elsewhere.
const PLUGINS: [&str; 3] =
    ["/usr/lib/x86_64-linux-gnu/xtables", "/usr/lib64/xtables", "/usr/lib/xtables"];

/// Files that programs or tests read, where there are any.
const FILES: [&str; 4] = ["/etc/ld.so.cache", "/etc/passwd", "/etc/group", "/etc/protocols"];

/// What of the caller's environment matters to tests.
const PASSED_ON: [&str; 3] = ["PATH", "RUST_BACKTRACE", "RUST_LOG"];

/// What is to be run.
pub(crate) struct Tests<'a> {
    pub(crate) executable: &'a Path,
    pub(crate) arguments: Vec<String>,
    /// The folder of their package.
    pub(crate) folder: &'a Path,
    /// The binaries that they start.
    pub(crate) binaries: Vec<&'a Path>,
    /// `vm-init`.
    pub(crate) init: &'a Path,
}

/// Runs the tests on the kernel that `word` means: a suite of Debian's or a
/// version. Each line that they print is handed to `say`.
pub(crate) fn run(
    word: &str,
    tests: &Tests<'_>,
    say: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    if env::consts::ARCH != "x86_64" {
        bail!("there is no machine for {}: only for x86_64", env::consts::ARCH);
    }
    machine::ensure()?;
    let kernel = Kernel::find(word)?;
    let archive = kernel.folder.join("archive");
    pack(&kernel, tests)?.write(&archive)?;
    match machine::run(&kernel, &archive, say)? {
        Outcome::Success => Ok(()),
        Outcome::Failure => bail!("the tests ended with a failure"),
        Outcome::Broken => bail!("the machine came up, but the tests could not be run"),
    }
}

fn pack(kernel: &Kernel, tests: &Tests<'_>) -> Result<Archive> {
    let mut archive = Archive::default();
    // Standard input and output of the first process.
    archive.device(Path::new("/dev/console"), 5, 1);
    for folder in ["/proc", "/sys", "/run", "/tmp", "/root", "/etc"] {
        archive.folder(Path::new(folder));
    }
    archive.program(tests.init)?;
    archive.link(Path::new("/init"), tests.init);
    archive.program(tests.executable)?;
    for binary in &tests.binaries {
        archive.program(binary)?;
    }
    for program in PROGRAMS {
        match workspace::program(program) {
            Some(path) => archive.program(&path)?,
            None => eprintln!("there is no {program}: tests that need it are ignored"),
        }
    }
    for file in PLUGINS.iter().chain(&FILES).map(Path::new).filter(|file| file.exists()) {
        archive.bring(file)?;
    }
    // Labs that tests read when they run.
    archive.bring(&workspace::root().join("labs"))?;
    archive.folder(tests.folder);
    let mut loaded = Vec::new();
    for module in modules::wanted(&kernel.modules)? {
        let path = PathBuf::from(format!("/modules/{}.ko", module.name));
        archive.file(&path, module.image);
        loaded.push(path);
    }
    let orders = orders(tests, loaded)?;
    archive.file(Path::new(ORDERS), serde_json::to_vec(&orders).context("write the orders")?);
    Ok(archive)
}

fn orders(tests: &Tests<'_>, modules: Vec<PathBuf>) -> Result<Orders> {
    let text = |path: &Path| {
        path.to_str().map(str::to_owned).with_context(|| format!("{} is no text", path.display()))
    };
    let mut environment: BTreeMap<String, String> = PASSED_ON
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), env::var(name).ok()?)))
        .collect();
    environment.insert("HOME".to_owned(), "/root".to_owned());
    environment.insert("CARGO_MANIFEST_DIR".to_owned(), text(tests.folder)?);
    let program = text(tests.executable)?;
    Ok(Orders {
        modules,
        command: [program].into_iter().chain(tests.arguments.iter().cloned()).collect(),
        folder: tests.folder.to_owned(),
        environment,
    })
}
