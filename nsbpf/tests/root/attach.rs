//! Ways to attach: each counts exactly, and a lab moves from one to the other.

use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nsbpf::datapath::{has_link, probe_tcx, tcx_programs};
use nsbpf::plan::{Replacement, Settings};
use nsbpf::state::{Attach, HookPoint, IngressHook};
use nsbpf_common::stats::Way;

use crate::Test;
use crate::command::run;
use crate::engine::{lab, settings};
use crate::truth::{Ground, LAB, V4, V6, exchange_is_exact};
use crate::upgrade::flooded;
use crate::world::{ip_json, tc};

pub(crate) const TESTS: &[Test] = &[
    ("attach::tcx_counts_exactly", || counts_exactly(LAB, IngressHook::Tc)),
    ("attach::tcx_egress_beside_xdp_counts_exactly", || counts_exactly(LAB, IngressHook::Xdp)),
    ("attach::tcx_inside_namespaces_counts_exactly", || counts_exactly(PAIR, IngressHook::Tc)),
    ("attach::a_lab_moves_from_way_to_way", moves),
    ("attach::a_move_loses_no_packet_and_counts_nearly_all", move_under_a_flood),
    ("attach::a_link_of_a_device_that_is_gone_is_made_anew", dead_link),
    ("attach::the_command_has_a_say", by_command),
];

/// Begins the names of tests that take TCX.
const WITH_TCX: &[&str] = &[
    "attach::",
    "foreign::a_port_of_others",
    "foreign::filters_before_and_after",
    "kill_points::up_goes_on_after_a_killed_replacement",
    "kill_points::up_goes_on_after_a_killed_switch_to",
    "log::what_programs_say",
    "upgrade::maps_of_another_layout",
    "upgrade::one_that_fails_goes_back_by_links",
    "upgrade::under_a_flood_by_tcx",
];

/// Why a test cannot run here.
pub(crate) fn why_not(test: &str) -> Option<&'static str> {
    static HAS_TCX: LazyLock<bool> = LazyLock::new(|| probe_tcx().is_ok());
    let takes = WITH_TCX.iter().any(|begin| test.starts_with(begin));
    (takes && !*HAS_TCX).then_some("this kernel has no TCX")
}

/// Two interfaces without a bridge: each has the other's hooks.
const PAIR: &str = "
name: pair
namespaces:
  a: { interfaces: { eth0: { peer: b/eth0, addresses: [10.0.0.1/24, 'fd00::1/64'] } } }
  b: { interfaces: { eth0: { addresses: [10.0.0.2/24, 'fd00::2/64'] } } }
";

/// A lab of that name without interfaces.
const NEITHER: &str = "name: truth\nbridges: { br0: {} }\nnamespaces: { c: {} }\n";

pub(crate) fn by(attach: Attach, ingress: IngressHook) -> Settings {
    Settings { attach, ..settings(ingress) }
}

fn counts_exactly(source: &str, ingress: IngressHook) -> Result<(), Failed> {
    let tcx = by(Attach::Tcx, ingress);
    let ground = Ground::with(source, &tcx);
    for family in [V4, V6] {
        exchange_is_exact(&ground, family)?;
    }
    assert_eq!(ground.up.converge_with(&lab(source), &tcx).steps, 0);
    ground.down();
    Ok(())
}

/// What outsiders see at the hooks of `a-eth0`: filters, and links.
fn seen() -> [usize; 2] {
    let index = ip_json(&["link", "show", "a-eth0"])[0]["ifindex"].as_u64().expect("an index");
    let filters = ["ingress", "egress"].map(|way| {
        let shown = tc(&["filter", "show", "dev", "a-eth0", way]);
        shown.lines().filter(|line| line.contains("handle 0x1 ")).count()
    });
    let links = [HookPoint::TcIngress, HookPoint::TcEgress]
        .map(|point| tcx_programs(index as u32, point).map_or(0, |programs| programs.len()));
    [filters.iter().sum(), links.iter().sum()]
}

fn moves() -> Result<(), Failed> {
    let ground = Ground::with(LAB, &by(Attach::Clsact, IngressHook::Tc));
    let lab = lab(LAB);
    assert_eq!(seen(), [2, 0]);
    for (way, expected) in [(Attach::Tcx, [0, 2]), (Attach::Clsact, [2, 0]), (Attach::Tcx, [0, 2])]
    {
        let before = ground.read();
        let settings = by(way, IngressHook::Tc);
        let moved = ground.up.converge_with(&lab, &settings);
        assert_eq!(moved.programs, Some(Replacement::InPlace));
        assert_eq!(seen(), expected, "{way:?}");
        assert_eq!(ground.up.converge_with(&lab, &settings).steps, 0);
        let after = ground.read();
        for (before, after) in before.iter().zip(&after) {
            assert!(after.tx.total().packets >= before.tx.total().packets, "counters began anew");
        }
        exchange_is_exact(&ground, V4)?;
    }
    ground.down();
    Ok(())
}

/// There is no way from one way to the other in one step: what passes in between is
/// not counted, or twice, and passes all the same.
fn move_under_a_flood() -> Result<(), Failed> {
    const MOVES: u64 = 4;
    /// Traffic of that time may be off, a move: 0.3 ms are, if nobody takes the
    /// processor away in between. Without care it is an RCU grace period, some 15 ms.
    const AT_MOST: Duration = Duration::from_millis(5);
    let lab = lab(LAB);
    for (from, to) in [(Attach::Clsact, Attach::Tcx), (Attach::Tcx, Attach::Clsact)] {
        let (mut sent, mut counted) = (0, [0; 2]);
        let mut took = Duration::ZERO;
        for _ in 0..MOVES {
            // What gives a device that is up a queueing discipline stops it meanwhile
            // (`qdisc_graft`, Linux 6.18), so it has one from its birth here.
            let ground = Ground::with(LAB, &by(Attach::Clsact, IngressHook::Tc));
            ground.up.converge_with(&lab, &by(from, IngressHook::Tc));
            let start = Instant::now();
            let (one, counts) = flooded(&ground, |_| {
                ground.up.converge_with(&lab, &by(to, IngressHook::Tc));
            });
            took += start.elapsed();
            sent += one;
            for (sum, count) in counted.iter_mut().zip(counts) {
                *sum += count;
            }
            ground.down();
        }
        let at_most = sent * MOVES * AT_MOST.as_micros() as u64 / took.as_micros() as u64;
        for counted in counted {
            match to {
                Attach::Tcx => assert!(counted <= sent, "{counted} of {sent}"),
                Attach::Clsact => assert!(counted >= sent, "{counted} of {sent}"),
            }
            assert!(counted.abs_diff(sent) <= at_most, "to {to:?}: {counted} of {sent}, {at_most}");
        }
    }
    Ok(())
}

/// A link's pin outlives the device, and the next device of that port is another.
fn dead_link() -> Result<(), Failed> {
    for ingress in [IngressHook::Tc, IngressHook::Xdp] {
        // Without fast paths: there is nothing about the programs that edits change.
        let tcx = Settings { fastpath: Some(Way::Bridge), ..by(Attach::Tcx, ingress) };
        let ground = Ground::with(LAB, &tcx);
        let other = LAB.replace(" a: { interfaces: { eth0:", " a: { interfaces: { eth1:");
        assert_ne!(other, LAB);
        // The new interface gets the number of the old one.
        ground.up.converge_with(&lab(NEITHER), &tcx);
        let points = [HookPoint::ingress(ingress), HookPoint::TcEgress];
        let linked = || points.map(|point| has_link(&ground.up.store, point, 1));
        assert_eq!(linked(), [true; 2]);
        ground.up.converge_with(&lab(&other), &tcx);
        assert_eq!(ground.up.converge_with(&lab(&other), &tcx).steps, 0);
        // Other programs leave no link that holds the ones before.
        ground.up.converge_with(&lab(NEITHER), &tcx);
        let newer = Settings { object: "newer".to_owned(), ..tcx.clone() };
        ground.up.converge_with(&lab(NEITHER), &newer);
        assert_eq!(linked(), [false; 2]);
        ground.up.converge_with(&lab(LAB), &tcx);
        assert_eq!(ground.up.converge_with(&lab(LAB), &tcx).steps, 0);
        let ground = ground.renewed();
        exchange_is_exact(&ground, V4)?;
        ground.down();
    }
    Ok(())
}

fn by_command() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("lab.yaml");
    std::fs::write(&path, LAB)?;
    let path = path.to_str().ok_or("a path")?;
    let up = |arguments: &[&str]| {
        let done = run(&[&["up", path], arguments].concat());
        assert_eq!(done.code, Some(0), "{arguments:?}: {}", done.err);
        done.out
    };
    let pins = Path::new("/run/nsbpf/labs/truth/bpf/datapath");
    let linked = || pins.join("tcx_egress_link_1").exists();
    up(&["--attach", "clsact"]);
    assert!(!linked());
    // Who has no wish keeps what there is.
    assert!(up(&[]).contains("nothing to change"));
    let moved = up(&["--attach", "tcx"]);
    assert!(moved.contains("truth: programs replaced in place, counters kept\n"), "{moved}");
    assert!(linked());
    assert!(up(&["--attach", "tcx"]).contains("nothing to change"));
    assert_eq!(run(&["plan", path, "--attach", "clsact"]).code, Some(3));
    assert!(up(&[]).contains("nothing to change"));
    up(&["--attach", "clsact"]);
    assert!(!linked());
    assert_eq!(run(&["down", "truth"]).code, Some(0));
    // What there is a choice of is TCX, if its waits can be hurried.
    up(&[]);
    let is_off = |path| std::fs::read_to_string(path).is_ok_and(|text| text == "0\n");
    assert_eq!(linked(), is_off("/sys/kernel/rcu_normal"));
    assert!(is_off("/sys/kernel/rcu_expedited"));
    assert_eq!(run(&["down", "truth"]).code, Some(0));
    Ok(())
}
