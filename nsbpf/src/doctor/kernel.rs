//! What labs need of the kernel, tried in a namespace that nothing else sees and
//! that goes away.

use std::io;
use std::path::Path;

use rustix::io::Errno;

use super::finding::Finding;
use crate::datapath::{self, Trial};
use crate::net::{NetNs, Netlink, features, nftables};
use crate::state::IngressHook;

const NAMESPACE: &str = "network namespaces";
const VETH: &str = "veth pairs";
const BRIDGE: &str = "bridges";
const VLANS: &str = "VLAN filtering";
const CLSACT: &str = "tc hooks";
const IPV6: &str = "IPv6";
const MASQUERADE: &str = "masquerading";
const PROGRAMS: &str = "eBPF programs";
const COMPILER: &str = "eBPF compiler";
const ATTACH: &str = "programs at tc hooks";
const TCX: &str = "TCX";
const XDP: &str = "XDP";
const BTF: &str = "BTF";

const BTF_FILE: &str = "/sys/kernel/btf/vmlinux";

/// What came of a trial.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Tried<T = ()> {
    /// It works, and is like this.
    Works(T),
    /// It does not, and why.
    Fails(String),
    /// It was not tried for want of something else.
    #[default]
    Not,
}

impl<T> Tried<T> {
    fn to_unit(&self) -> Tried {
        match self {
            Self::Works(_) => Tried::Works(()),
            Self::Fails(why) => Tried::Fails(why.clone()),
            Self::Not => Tried::Not,
        }
    }
}

impl<T, E: std::fmt::Display> From<Result<T, E>> for Tried<T> {
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(works) => Self::Works(works),
            Err(error) => Self::Fails(error.to_string()),
        }
    }
}

/// What the kernel said to all of it.
#[derive(Debug, Default)]
struct Seen {
    veth: Tried,
    /// Whether a bridge can tell VLANs apart.
    bridge: Tried<bool>,
    clsact: Tried,
    /// Whether it is on; `None` where the kernel has none.
    ipv6: Tried<Option<bool>>,
    masquerade: Tried,
    /// Whether programs are compiled, not interpreted.
    programs: Tried<bool>,
    attach: Tried,
    /// The other way to tc hooks.
    tcx: Tried,
    xdp: Tried,
}

pub(super) fn check() -> Vec<Finding> {
    let mut findings = match NetNs::scratch(look) {
        Ok(seen) => {
            let mut findings = vec![Finding::ok(NAMESPACE, "one was made")];
            findings.extend(judge(&seen));
            findings
        }
        Err(error) => vec![judge_no_namespace(&error)],
    };
    findings.push(judge_btf(Path::new(BTF_FILE).exists(), Path::new("/sys/kernel").exists()));
    findings
}

/// Tries everything, in a namespace where that harms nobody.
fn look() -> Seen {
    let mut seen = Seen {
        ipv6: features::ipv6().into(),
        masquerade: nftables::probe().into(),
        tcx: datapath::probe_tcx().into(),
        ..Seen::default()
    };
    let mut trial = load(&mut seen);
    let mut netlink = match Netlink::open() {
        Ok(netlink) => netlink,
        Err(error) => {
            seen.veth = Err(error).into();
            return seen;
        }
    };
    seen.bridge = features::make_bridge(&mut netlink).into();
    seen.veth = features::make_veth(&mut netlink).into();
    if seen.veth != Tried::Works(()) {
        return seen;
    }
    seen.clsact = features::add_clsact(&mut netlink).into();
    let Some(trial) = trial.as_mut() else {
        return seen;
    };
    if let (Tried::Works(()), Ok(program)) = (&seen.clsact, trial.tc()) {
        seen.attach = features::attach(&mut netlink, program).into();
    }
    seen.xdp = trial.load_xdp().and_then(|()| trial.attach_xdp(features::VETH)).into();
    seen
}

/// Loads the programs, and says what came of it.
fn load(seen: &mut Seen) -> Option<Trial> {
    // It names what is missing; loading says only that something is.
    if let Err(missing) = datapath::probe(IngressHook::Tc) {
        seen.programs = Err(missing).into();
        return None;
    }
    let (programs, trial) = match Trial::new().and_then(|mut trial| Ok((trial.load_tc()?, trial))) {
        Ok((jitted, trial)) => (Ok(jitted), Some(trial)),
        Err(error) => (Err(error), None),
    };
    seen.programs = programs.into();
    trial
}

fn judge_no_namespace(error: &io::Error) -> Finding {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::PERM | Errno::ACCESS) => Finding::unknown(
            NAMESPACE,
            "what the kernel can do was not tried: making a network namespace takes root \
             (CAP_SYS_ADMIN)",
        ),
        Some(Errno::NOSPC) => Finding::problem(
            NAMESPACE,
            format!("no more can be made: {error}"),
            "sysctl -w user.max_net_namespaces=10000, or take labs down: nsbpf ls",
        ),
        _ => Finding::problem(
            NAMESPACE,
            format!("none can be made: {error}"),
            "a kernel with CONFIG_NET_NS=y",
        ),
    }
}

fn judge(seen: &Seen) -> Vec<Finding> {
    let Seen { veth, bridge, clsact, ipv6, masquerade, programs, attach, tcx, xdp } = seen;
    let needed = |subject, tried: &Tried, cure: &str| {
        judge_one(tried, subject, |why| Finding::problem(subject, why, cure))
    };
    let optional = |subject, tried: &Tried, lost: &str, cure: &str| {
        judge_one(tried, subject, |why| Finding::warning(subject, format!("{why}: {lost}"), cure))
    };
    // Labs take the other way then.
    let clsact_or_tcx = |subject, tried: &Tried, cure: &str| match tcx {
        Tried::Works(()) => optional(subject, tried, "programs are attached by TCX", cure),
        _ => needed(subject, tried, cure),
    };
    let mut findings = vec![
        needed(VETH, veth, "a kernel with CONFIG_VETH: modprobe veth"),
        needed(BRIDGE, &bridge.to_unit(), "a kernel with CONFIG_BRIDGE: modprobe bridge"),
        clsact_or_tcx(CLSACT, clsact, "a kernel with CONFIG_NET_SCH_INGRESS: modprobe sch_ingress"),
        needed(
            PROGRAMS,
            &programs.to_unit(),
            "run nsbpf where no container or sandbox forbids bpf(2), on a kernel with \
             CONFIG_BPF_SYSCALL=y",
        ),
        clsact_or_tcx(ATTACH, attach, "a kernel with CONFIG_NET_CLS_BPF: modprobe cls_bpf"),
        judge_one(tcx, TCX, |why| Finding::ok(TCX, format!("{why}: labs take clsact"))),
        optional(XDP, xdp, "`--hook xdp` does not work", "`--hook tc`, or Linux 5.9 or later"),
        optional(
            MASQUERADE,
            masquerade,
            "labs cannot share this host's address",
            "a kernel with CONFIG_NF_TABLES, CONFIG_NF_NAT and CONFIG_NFT_MASQ: modprobe nft_masq",
        ),
        judge_ipv6(ipv6),
    ];
    if let Tried::Works(vlans) = bridge {
        findings.push(if *vlans {
            Finding::ok(VLANS, "a bridge took it")
        } else {
            Finding::warning(
                VLANS,
                "a bridge did not take it: labs have no VLANs",
                "a kernel with CONFIG_BRIDGE_VLAN_FILTERING=y",
            )
        });
    }
    if let Tried::Works(jitted) = programs {
        findings.push(judge_compiler(*jitted));
    }
    findings
}

fn judge_one(tried: &Tried, subject: &'static str, bad: impl FnOnce(&str) -> Finding) -> Finding {
    match tried {
        Tried::Works(()) => Finding::ok(subject, "tried"),
        Tried::Fails(why) => bad(why),
        Tried::Not => Finding::unknown(subject, "not tried: what it needs is missing"),
    }
}

fn judge_ipv6(ipv6: &Tried<Option<bool>>) -> Finding {
    let lost = "labs have no IPv6";
    match ipv6 {
        Tried::Works(Some(true)) => Finding::ok(IPV6, "on in new namespaces"),
        Tried::Works(Some(false)) => Finding::warning(
            IPV6,
            format!("net.ipv6.conf.default.disable_ipv6 = 1 in new namespaces: {lost}"),
            "start the kernel without ipv6.disable_ipv6=1; or, if it says so where doctor runs and \
             net.core.devconf_inherit_init_net is not 0: \
             sysctl -w net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0",
        ),
        Tried::Works(None) => Finding::warning(
            IPV6,
            format!("there is no /proc/sys/net/ipv6: {lost}"),
            "a kernel with CONFIG_IPV6, started without ipv6.disable=1",
        ),
        Tried::Fails(why) => Finding::unknown(IPV6, why),
        Tried::Not => Finding::unknown(IPV6, "not tried"),
    }
}

fn judge_compiler(jitted: bool) -> Finding {
    if jitted {
        return Finding::ok(COMPILER, "programs were compiled");
    }
    Finding::warning(
        COMPILER,
        "the kernel interprets programs (net.core.bpf_jit_enable = 0, or it has no compiler): \
         each packet takes several times as long in them",
        "sysctl -w net.core.bpf_jit_enable=1, or a kernel with CONFIG_BPF_JIT=y",
    )
}

fn judge_btf(there: bool, sysfs: bool) -> Finding {
    match (there, sysfs) {
        (true, _) => Finding::ok(BTF, BTF_FILE),
        (false, false) => Finding::unknown(BTF, "there is no /sys/kernel: mount a sysfs"),
        (false, true) => Finding::warning(
            BTF,
            format!(
                "there is no {BTF_FILE}: programs cannot read the kernel's own \
                 structures; counters do not need it"
            ),
            "a kernel with CONFIG_DEBUG_INFO_BTF=y",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Severity;

    fn good() -> Seen {
        Seen {
            veth: Tried::Works(()),
            bridge: Tried::Works(true),
            clsact: Tried::Works(()),
            ipv6: Tried::Works(Some(true)),
            masquerade: Tried::Works(()),
            programs: Tried::Works(true),
            attach: Tried::Works(()),
            tcx: Tried::Works(()),
            xdp: Tried::Works(()),
        }
    }

    fn severity(seen: &Seen, subject: &str) -> Option<Severity> {
        let findings = judge(seen);
        findings.iter().find(|finding| finding.subject == subject).map(|finding| finding.severity)
    }

    #[test]
    fn a_kernel_that_can_do_all_is_well() {
        assert!(judge(&good()).iter().all(|finding| finding.severity == Severity::Ok));
    }

    #[test]
    fn what_labs_are_made_of_is_a_problem_and_the_rest_a_warning() {
        let no = || Tried::Fails("Operation not supported".to_owned());
        let seen = Seen { clsact: no(), ..good() };
        assert_eq!(severity(&seen, CLSACT), Some(Severity::Warning));
        let seen = Seen { clsact: no(), tcx: no(), ..good() };
        assert_eq!(severity(&seen, CLSACT), Some(Severity::Problem));
        let seen = Seen { tcx: no(), ..good() };
        assert_eq!(severity(&seen, TCX), Some(Severity::Ok));
        let seen =
            Seen { veth: no(), clsact: Tried::Not, attach: Tried::Not, xdp: Tried::Not, ..good() };
        assert_eq!(severity(&seen, VETH), Some(Severity::Problem));
        assert_eq!(severity(&seen, CLSACT), Some(Severity::Unknown));
        let seen = Seen { masquerade: no(), xdp: no(), bridge: Tried::Works(false), ..good() };
        for subject in [MASQUERADE, XDP, VLANS] {
            assert_eq!(severity(&seen, subject), Some(Severity::Warning), "{subject}");
        }
        assert_eq!(severity(&seen, BRIDGE), Some(Severity::Ok));
        let seen = Seen { programs: Tried::Fails("no".to_owned()), ..good() };
        assert_eq!(severity(&seen, PROGRAMS), Some(Severity::Problem));
        assert_eq!(severity(&seen, COMPILER), None);
    }

    #[test]
    fn interpreted_programs_and_missing_ipv6_are_warnings() {
        let seen = Seen { programs: Tried::Works(false), ipv6: Tried::Works(None), ..good() };
        assert_eq!(severity(&seen, COMPILER), Some(Severity::Warning));
        assert_eq!(severity(&seen, IPV6), Some(Severity::Warning));
    }

    #[test]
    fn without_root_nothing_is_said_to_be_missing() {
        let finding = judge_no_namespace(&Errno::PERM.into());
        assert_eq!(finding.severity, Severity::Unknown);
        assert_eq!(judge_no_namespace(&Errno::NOSPC.into()).severity, Severity::Problem);
    }

    #[test]
    fn btf_is_missed_only_where_it_would_show() {
        assert_eq!(judge_btf(true, true).severity, Severity::Ok);
        assert_eq!(judge_btf(false, true).severity, Severity::Warning);
        assert_eq!(judge_btf(false, false).severity, Severity::Unknown);
    }
}
