//! The modules that tests need, with all that these depend on.
//!
//! Packages carry no `modules.dep`: it is made when they are installed. But each
//! module names what it depends on.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use object::{Object as _, ObjectSection as _};

/// What nsbpf uses and what its tests make trouble with. Some are built into some
/// kernels, others are in none: the tests find out what that means for them.
#[rustfmt::skip]
const WANTED: &[&str] = &[
    // Devices.
    "8021q", "bridge", "dummy", "ifb", "macvlan", "netkit", "tun", "veth", "vxlan",
    // Traffic control.
    "act_bpf", "act_mirred", "cls_bpf", "sch_fq", "sch_fq_codel", "sch_htb", "sch_ingress",
    "sch_netem", "sch_tbf",
    // Packet filters.
    "br_netfilter", "nf_tables", "nft_chain_nat", "nft_compat", "nft_counter", "nft_ct",
    "nft_limit", "nft_masq", "nft_meta_bridge", "nft_reject_inet",
    "arp_tables", "arptable_filter", "ip6_tables", "ip6table_filter", "ip_tables",
    "iptable_filter", "xt_physdev", "xt_tcpudp",
];

/// A module, ready to be loaded.
pub(super) struct Module {
    pub(super) name: String,
    pub(super) image: Vec<u8>,
}

/// The wanted ones that there are below `folder`, each after what it depends on.
pub(super) fn wanted(folder: &Path) -> Result<Vec<Module>> {
    let mut files = BTreeMap::new();
    index(folder, &mut files)?;
    let mut order = Order { files, seen: BTreeSet::new(), modules: Vec::new() };
    for name in WANTED {
        order.add(name)?;
    }
    Ok(order.modules)
}

struct Order {
    files: BTreeMap<String, PathBuf>,
    seen: BTreeSet<String>,
    modules: Vec<Module>,
}

impl Order {
    fn add(&mut self, name: &str) -> Result<()> {
        let Some(file) = self.files.get(name) else {
            return Ok(());
        };
        if !self.seen.insert(name.to_owned()) {
            return Ok(());
        }
        let image = read(file)?;
        let needed = needed(&image).with_context(|| format!("look into {}", file.display()))?;
        for name in needed {
            self.add(&name)?;
        }
        self.modules.push(Module { name: name.to_owned(), image });
        Ok(())
    }
}

/// Finds the modules below a folder, by name.
fn index(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("list {}", folder.display()))?;
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            index(&path, files)?;
        } else if let Some((name, "ko" | "ko.xz")) =
            name(&path).and_then(|name| name.split_once('.'))
        {
            // The kernel makes no difference between the two.
            files.insert(name.replace('-', "_"), path);
        }
    }
    Ok(())
}

fn name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

fn read(file: &Path) -> Result<Vec<u8>> {
    if file.extension().is_none_or(|extension| extension != "xz") {
        return fs::read(file).with_context(|| format!("read {}", file.display()));
    }
    let output = Command::new("xz").args(["--decompress", "--stdout"]).arg(file).output();
    let output = output.context("start xz")?;
    if !output.status.success() {
        bail!("xz --decompress {}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}

/// The names of those that a module depends on.
fn needed(image: &[u8]) -> Result<Vec<String>> {
    let file = object::File::parse(image)?;
    let about = file.section_by_name(".modinfo").context("it has no .modinfo")?.data()?;
    let depends = about
        .split(|byte| *byte == 0)
        .find_map(|field| field.strip_prefix(b"depends="))
        .unwrap_or_default();
    let names = String::from_utf8_lossy(depends);
    Ok(names
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect())
}
